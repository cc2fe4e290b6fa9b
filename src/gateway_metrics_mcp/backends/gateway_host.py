"""The gateway's address: which ones a token may be sent to. Imports no HTTP library."""

from __future__ import annotations

import os
import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from gateway_metrics_mcp.errors import SettingsError

EXAMPLE_HOST: Final = "https://<org>.truefoundry.cloud"

_VISIBLE: Final = re.compile(r"[!-~]+")
_NOT_IN_PATHS: Final = re.compile(r'["<>\\^`{|}]')


def read_host(text: str) -> str:
    """The address of the control plane, without a slash at its end; a path prefix is kept.

    Raises:
        SettingsError: if it is no address, or one that a token must not be sent to. The
            address itself is not repeated: it may hold a password.
    """
    text = text.strip()
    if not _VISIBLE.fullmatch(text) or _NOT_IN_PATHS.search(text):
        raise SettingsError(f"the gateway's host is no address. Give {EXAMPLE_HOST}")
    if "?" in text or "#" in text:
        raise SettingsError("the gateway's host has a query or a fragment: give the address alone")
    if "@" in text:
        raise SettingsError(
            "the gateway's host has a user name in it: give the address alone, and the token apart"
        )
    parts = _split(text)
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise SettingsError(
            "the gateway's host begins with http://, where anyone on the way could read the "
            "token: give https:// (http:// is for this machine alone, such as localhost)"
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _split(text: str) -> SplitResult:
    """The parts of an address that has a scheme of ours, a host and a port that can exist."""
    wrong = f"the gateway's host is no address. Give {EXAMPLE_HOST}"
    try:
        parts = urlsplit(text)
        is_known = parts.scheme in ("http", "https")
        is_port = parts.port != 0 and not parts.netloc.endswith(":")
        has_name = bool((parts.hostname or "").encode("idna"))
    except ValueError:
        raise SettingsError(wrong) from None
    if not (is_known and is_port and has_name):
        raise SettingsError(wrong)
    return parts


def is_loopback(name: str | None) -> bool:
    """Whether a host name means this machine."""
    try:
        return name == "localhost" or ip_address(name or "").is_loopback
    except ValueError:
        return False


def find_proxy(host: str) -> str | None:
    """The environment's proxy for the address, if there is one that may carry the request.

    TLS passes a proxy unread. A request without TLS stays on this machine: it goes through a
    proxy here, but round one elsewhere, which could read the token.

    Raises:
        SettingsError: if a login there ends the address too early; nothing of it is repeated.
        ValueError: if a variable holds no address.
    """
    parts, found = urlsplit(host), getproxies()
    proxy = found.get(parts.scheme) or found.get("all")
    if not proxy or proxy_bypass(parts.netloc):
        return None
    address = proxy if "://" in proxy else f"http://{proxy}"
    proxy_parts = urlsplit(address)
    if "@" in proxy_parts.path + proxy_parts.query + proxy_parts.fragment:
        raise SettingsError(
            f"the proxy's address in {_name_proxy(parts.scheme)} has a login with / ? or # in it:"
            " percent-encode it"
        )
    if parts.scheme == "http" and not is_loopback(proxy_parts.hostname):
        return None
    return address


def describe_proxy(host: str) -> str | None:
    """The proxy for the address and what names it, for operators; None where there is none.

    Its user name and password are left out.

    Raises:
        SettingsError, ValueError: as `find_proxy`.
    """
    address = find_proxy(host)
    if address is None:
        return None
    proxy = urlsplit(address)
    port = "" if proxy.port is None else f":{proxy.port}"
    return f"{proxy.hostname}{port}, from {_name_proxy(urlsplit(host).scheme)}"


def _name_proxy(scheme: str) -> str:
    """Where the proxy's address comes from."""
    kinds = (f"{scheme}_proxy", "all_proxy")
    names = [name for kind in kinds for name in (kind, kind.upper())]
    return next((name for name in names if os.environ.get(name)), "the system's settings")
