"""The address of a gateway's control plane, and the proxy on the way to it."""

from __future__ import annotations

import os
import re
from typing import Final
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.runtime.network import is_loopback

EXAMPLE_HOST: Final = "https://<org>.truefoundry.cloud"


def read_host(text: str) -> str:
    """The control plane's address without a trailing slash; a path prefix is kept.

    Raises:
        SettingsError: if it is invalid, or a token must not be sent there. The message does not
            repeat the address, which may hold a password.
    """
    text = text.strip()
    if not re.fullmatch(r"[!-~]+", text) or re.search(r'["<>\\^`{|}]', text):
        raise SettingsError(f"the gateway's host is not an address. Give {EXAMPLE_HOST}")
    if "?" in text or "#" in text:
        raise SettingsError("the gateway's host has a query or a fragment: give the address alone")
    if "@" in text:
        raise SettingsError(
            "the gateway's host contains a user name: give the address alone, and the"
            " token separately"
        )
    parts = _split(text)
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise SettingsError(
            "the gateway's host begins with http://, where anyone on the way could read the "
            "token: give https:// (http:// is for this machine alone, such as localhost)"
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _split(text: str) -> SplitResult:
    """The parts of an http(s) address with a valid host and port."""
    wrong = f"the gateway's host is not an address. Give {EXAMPLE_HOST}"
    try:
        parts = urlsplit(text)
        is_known = parts.scheme in ("http", "https")
        is_port = parts.port != 0 and not parts.netloc.endswith(":")
        # Raises UnicodeError, a ValueError, for a name that no host can have.
        has_name = bool((parts.hostname or "").encode("idna"))
    except ValueError:
        raise SettingsError(wrong) from None
    if not (is_known and is_port and has_name):
        raise SettingsError(wrong)
    return parts


def find_proxy(host: str) -> str | None:
    """The environment's proxy for the address; None if there is none or it must not be used.

    A proxy cannot read TLS. A plain http request goes to loopback and carries the token, so it
    uses a proxy on this machine but bypasses any other.

    Raises:
        SettingsError: if a login in the variable needs percent-encoding; it is not repeated.
        ValueError: if the variable holds no valid address.
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
    """`<host>:<port>, from <variable>` of the proxy, for operators; None without a proxy.

    Its user name and password are omitted.

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
    """The variable that names the proxy."""
    kinds = (f"{scheme}_proxy", "all_proxy")
    names = [name for kind in kinds for name in (kind, kind.upper())]
    return next((name for name in names if os.environ.get(name)), "the system's settings")
