"""Reads tokens from HTTP headers and refuses malformed ones; does not look up whose they are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from gateway_metrics_mcp.errors import RefusedCallerError

Headers = Sequence[tuple[bytes, bytes]]

TOKEN_HEADER: Final = "X-TFY-API-Key"  # noqa: S105 - the header's name
BEARER_HEADER: Final = "Authorization"
_VISIBLE: Final = re.compile(r"[!-~]*")
_LONGEST_TOKEN: Final = 16_384


def find_fault(token: str) -> str | None:
    """What is malformed about a token, as it follows "the token"; None if nothing is."""
    if len(token) > _LONGEST_TOKEN:
        return f"is longer than any token ({_LONGEST_TOKEN} letters)"
    return None if _VISIBLE.fullmatch(token) else "has a character that no token has"


def refuse_illegal(token: str, header: str, *, error: str | None = None) -> None:
    """Check that a token is well formed.

    Raises:
        RefusedCallerError: if it is not; the message does not repeat it.
    """
    if (fault := find_fault(token)) is None:
        return
    alone = "send the token alone"
    if len(token) <= _LONGEST_TOKEN:
        alone += ", without `Bearer` or quotes"
    raise RefusedCallerError(f"the token in {header} {fault}: {alone}", error=error)


def read_header(headers: Headers, name: str) -> str | None:
    """The value of a header; None if it is missing or empty.

    Raises:
        RefusedCallerError: if it is sent twice: proxies disagree on which one counts.
    """
    wanted = name.lower().encode()
    values = [value for key, value in headers if key.lower() == wanted]
    if len(values) > 1:
        raise RefusedCallerError(
            f"the header {name} stands there twice", status=400, error="invalid_request"
        )
    return values[0].decode("latin-1").strip() or None if values else None


def read_bearer(header: str | None) -> str | None:
    """The bearer token of an Authorization header, or None."""
    scheme, _, token = (header or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
