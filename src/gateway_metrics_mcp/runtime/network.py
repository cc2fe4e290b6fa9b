"""Loopback addresses, which need neither TLS for tokens nor authentication, and open files."""

from __future__ import annotations

import sys
from contextlib import suppress
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


_OWN_FILES: Final = 256


def count_own_files(most: int | None = None) -> int:
    """The open files kept for everything but connections from callers; `most` is the limit."""
    most = _limit_files() if most is None else most
    return min(_OWN_FILES, most // 4)


def count_connections() -> int:
    """How many connections from callers the process's limit of open files leaves room for."""
    most = _limit_files()
    return most - count_own_files(most)


def allow_connections(wanted: int) -> int:
    """Raise the limit of open files for so many connections; the number that it allows."""
    if count_connections() < wanted and sys.platform != "win32":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        files = wanted + _OWN_FILES
        if most != resource.RLIM_INFINITY:
            files = min(files, most)
        with suppress(OSError, ValueError):  # the system has a lower limit of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))
    return count_connections()


def _limit_files() -> int:
    if sys.platform == "win32":
        return sys.maxsize  # which has no such limit
    import resource

    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if most == resource.RLIM_INFINITY else most
