"""Finds credentials in a backend's address, where the process list would show them."""

from __future__ import annotations

import re
from typing import Final

_SCHEME: Final = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]*):/{1,3}")
_HOST: Final = re.compile(r"(?:[^:]*|\[[0-9a-fA-F:.]*\])(?::\d+)?")
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
    is_gateway = kind in ("http", "https")
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
