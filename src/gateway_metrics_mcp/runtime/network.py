"""Loopback addresses, which need neither TLS for tokens nor authentication."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final

LOOPBACK_HOSTS: Final = ("127.0.0.1", "localhost", "[::1]")
"""The Host headers that clients on this machine send."""


def is_loopback(host: str | None) -> bool:
    """Whether a host name or IP address, bracketed or not, is loopback."""
    name = (host or "").removeprefix("[").removesuffix("]")
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False
