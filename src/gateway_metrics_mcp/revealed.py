"""Secrets in a backend's address, which others can read in the process list."""

from __future__ import annotations

import re
from typing import Final

_SCHEME: Final = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]*):/{1,3}")
_HOST: Final = re.compile(r"(?:[^:]*|\[[0-9a-fA-F:.]*\])(?::\d+)?")
_GATEWAYS: Final = ("http", "https")
_OF_ENGINE: Final = (
    "the backend's address holds a password, which others can read in the process list. Give"
    " user@host, and put the password into GATEWAY_METRICS_CLICKHOUSE_PASSWORD, or its file's name"
    " into GATEWAY_METRICS_CLICKHOUSE_PASSWORD_FILE"
)
_OF_GATEWAY: Final = (
    "the gateway's address holds a user name, a password or a token, which others can read in the"
    " process list. Give the address alone, and put the token into TFY_API_KEY, or its file's name"
    " into --token-file"
)
_IN_QUERY: Final = (
    "the backend's address has a ?query in which a secret may stand. Give the address alone"
    " (?secure=true is known to clickhouse://), and passwords and tokens apart"
)


def explain_revealed(address: str) -> str | None:
    """What to do about the secret in an address, without repeating it; None if there is none.

    What an address of this kind never has is taken for one: a login before a gateway's host, a
    parameter other than `secure`.
    """
    scheme = _SCHEME.match(address)
    rest = address[scheme.end() :] if scheme else address
    kind = scheme[1].lower() if scheme else ""
    is_gateway = kind in _GATEWAYS
    if _has_login(rest, is_gateway=is_gateway, is_address=scheme is not None):
        return _OF_GATEWAY if is_gateway else _OF_ENGINE
    return _IN_QUERY if scheme and _has_parameters(rest) else None


def _has_login(rest: str, *, is_gateway: bool, is_address: bool) -> bool:
    """Whether a password stands before the host; of a gateway, a user name is one as well."""
    if is_gateway:
        return "@" in rest
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    login, at, _ = host.rpartition("@")
    if at:
        return ":" in login
    # A password with a slash in it ends the host too early: the true one comes later.
    after = rest.rpartition("@")[2] if "@" in rest else None
    return is_address and after is not None and (":" in after or not _HOST.fullmatch(host))


def _has_parameters(rest: str) -> bool:
    _, _, query = rest.partition("?")
    names = [part.partition("=")[0] for part in re.split("[&;]", query.partition("#")[0]) if part]
    return any(name != "secure" for name in names)
