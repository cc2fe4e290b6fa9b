"""What counts as this machine, where tokens may travel without TLS and anyone may ask."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final

LOOPBACK_HOSTS: Final = ("127.0.0.1", "localhost", "[::1]")
"""How clients on this machine spell it in a Host header."""


def is_loopback(host: str | None) -> bool:
    """Whether a host name or an address, bracketed or not, means this machine."""
    name = (host or "").removeprefix("[").removesuffix("]")
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False
