"""Which addresses a gateway may have."""

from __future__ import annotations

import pytest

from gateway_metrics_mcp.backends.gateway.address import read_host
from gateway_metrics_mcp.backends.gateway.backend import GatewayBackend
from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.query.catalog import Catalog


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("https://tenant.example.com", "https://tenant.example.com"),
        ("  https://tenant.example.com/ \n", "https://tenant.example.com"),
        ("HTTPS://tenant.example.com:8443/tfy//", "https://tenant.example.com:8443/tfy"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://127.0.0.1", "http://127.0.0.1"),
        ("http://[::1]:8000/", "http://[::1]:8000"),
    ],
)
def test_an_address_is_read_without_its_last_slash(text: str, host: str) -> None:
    assert read_host(text) == host
    assert read_host(host) == host


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not an address"),
        ("tenant.example.com", "not an address"),
        ("ftp://tenant.example.com", "not an address"),
        ("https://", "not an address"),
        ("https:///path", "not an address"),
        ("https://https://tenant.example.com", "not an address"),
        ("https://tenant.example.com:99999", "not an address"),
        ("https://tenant.example.com:0", "not an address"),
        ("https://tenant..example.com", "not an address"),
        (f"https://{'a' * 64}.example.com", "not an address"),
        ("https://tenant.exa\nmple.com", "not an address"),
        ("https://tenant.example.com\\.evil.example", "not an address"),
        ("https://tenänt.example.com", "not an address"),
        ("https://xn--a", "not an address"),
        ("https://256.1.1.1", "not an address"),
        ("https://[::1", "not an address"),
        ("https://ana:hush@tenant.example.com", "user name"),
        ("https://@tenant.example.com", "user name"),
        ("https://tenant.example.com?", "query or a fragment"),
        ("https://tenant.example.com/#top", "query or a fragment"),
        ("http://tenant.example.com", "https://"),
        ("http://localhost.example.com", "https://"),
        ("http://10.0.0.1", "https://"),
        ("http://0.0.0.0", "https://"),
    ],
)
def test_any_other_address_is_refused_without_being_shown(
    text: str, words: str, catalog: Catalog
) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        GatewayBackend(text, None, catalog)

    assert not [part for part in ("tenant", "ana", "hush") if part in str(caught.value)]
