"""What counts as this machine."""

from __future__ import annotations

import pytest

from gateway_metrics_mcp.runtime.network import is_loopback


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "127.0.0.2", "127.255.255.254", "::1", "[::1]"]
)
def test_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [None, "", "::", "10.0.0.1", "[fe80::1]", "localhost.example.com", "127.0.0.1.nip.io"],
)
def test_other_machines(host: str | None) -> None:
    assert not is_loopback(host)
