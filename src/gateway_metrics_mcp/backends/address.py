"""Backend addresses: parsing them, finding embedded credentials, and choosing a proxy."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.runtime.network import is_loopback

_SCHEME: Final = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]*):/{1,3}")
_HOST: Final = re.compile(r"(?:[^:]*|\[[0-9a-fA-F:.]*\])(?::\d+)?")
_GATEWAYS: Final = ("http", "https")
_OF_ENGINE: Final = (
    "the backend's address contains a password, which others can read in the process list. Give"
    " user@host, and put the password into GATEWAY_METRICS_CLICKHOUSE_PASSWORD, or its file's name"
    " into GATEWAY_METRICS_CLICKHOUSE_PASSWORD_FILE"
)
_OF_GATEWAY: Final = (
    "the gateway's address holds a user name, a password or a token, which others can read in the"
    " process list. Give the address alone, and put the token into TFY_API_KEY, or its file's name"
    " into --token-file"
)
_IN_QUERY: Final = (
    "the backend's address has a ?query that may contain a secret. Give the address alone"
    " (clickhouse:// takes ?secure=true), and passwords and tokens separately"
)


def find_embedded_credentials(address: str) -> str | None:
    """How to move a secret out of an address, without repeating it; None if there is none.

    The process list shows addresses to other users. Parts that a valid address never has count as
    secrets: a login before a gateway's host, a query parameter other than `secure`.
    """
    scheme = _SCHEME.match(address)
    rest = address[scheme.end() :] if scheme else address
    kind = scheme[1].lower() if scheme else ""
    is_gateway = kind in _GATEWAYS
    if _has_login(rest, is_gateway=is_gateway, is_address=scheme is not None):
        return _OF_GATEWAY if is_gateway else _OF_ENGINE
    return _IN_QUERY if scheme and _has_parameters(rest) else None


def _has_login(rest: str, *, is_gateway: bool, is_address: bool) -> bool:
    """Whether a password precedes the host; for a gateway, a user name counts as well."""
    if is_gateway:
        return "@" in rest
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    login, at, _ = host.rpartition("@")
    if at:
        return ":" in login
    # A `/` in a password ends the parsed host too early; the real host follows a later `@`.
    after = rest.rpartition("@")[2] if "@" in rest else None
    return is_address and after is not None and (":" in after or not _HOST.fullmatch(host))


def _has_parameters(rest: str) -> bool:
    _, _, query = rest.partition("?")
    names = [part.partition("=")[0] for part in re.split("[&;]", query.partition("#")[0]) if part]
    return any(name != "secure" for name in names)


SCHEMES: Final = ("clickhouse://", "clickhouses://")

_FORM: Final = "clickhouse://user@host:8123/database, with ?secure=true or clickhouses:// for TLS"
_REVEALED: Final = (
    "the backend's URL contains a password, which others can read in the process list. Put it into"
    " GATEWAY_METRICS_CLICKHOUSE_PASSWORD, or its file's name into"
    " GATEWAY_METRICS_CLICKHOUSE_PASSWORD_FILE"
)
_SWITCH: Final = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class Address:
    """A ClickHouse server's HTTP interface, with a user and a database; no password."""

    host: str
    port: int
    user: str
    database: str
    is_secure: bool

    @classmethod
    def read(cls, text: str) -> Self:
        """The address in a URL; the default port is 8123, or 8443 with TLS.

        Raises:
            SettingsError: if it is invalid or holds a password; the message repeats neither.
        """
        try:
            url = urlsplit(text)
            port, host = url.port, url.hostname
        except ValueError:
            raise SettingsError(f"the backend's URL cannot be read. Give {_FORM}") from None
        if url.password is not None:
            raise SettingsError(_REVEALED)
        database = unquote(url.path.removeprefix("/").removesuffix("/"))
        if not host or url.fragment or "/" in url.path[1:].removesuffix("/"):
            raise SettingsError(f"the backend's URL is not complete. Give {_FORM}")
        is_secure = _read_secure(url)
        return cls(
            host=host,
            port=port or (8443 if is_secure else 8123),
            user=unquote(url.username or "default"),
            database=database or "default",
            is_secure=is_secure,
        )

    def __str__(self) -> str:
        """`host:8123/database`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}/{self.database}"


def _read_secure(url: SplitResult) -> bool:
    # parse_qsl keeps blank values, so that `?password=` is refused as well.
    asked = dict(parse_qsl(url.query, keep_blank_values=True))
    if "password" in asked:
        raise SettingsError(_REVEALED)
    unknown = [name for name in asked if name != "secure"]
    if unknown or asked.get("secure", "true").lower() not in _SWITCH:
        raise SettingsError(f"the backend's URL takes ?secure=true and nothing else. Give {_FORM}")
    is_asked = _SWITCH[asked.get("secure", "false").lower()]
    return is_asked or url.scheme == "clickhouses"


EXAMPLE_HOST: Final = "https://<org>.truefoundry.cloud"

_VISIBLE: Final = re.compile(r"[!-~]+")
_NOT_IN_PATHS: Final = re.compile(r'["<>\\^`{|}]')


def read_host(text: str) -> str:
    """The control plane's address without a trailing slash; a path prefix is kept.

    Raises:
        SettingsError: if it is invalid, or a token must not be sent there. The message does not
            repeat the address, which may hold a password.
    """
    text = text.strip()
    if not _VISIBLE.fullmatch(text) or _NOT_IN_PATHS.search(text):
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
