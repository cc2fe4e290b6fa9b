"""Whose rights a request over HTTP has: from its headers to the caller, in one place.

One policy per server, made of the settings; nothing of a request but its headers counts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from starlette.routing import BaseRoute

from gateway_metrics_mcp.auth.credentials import (
    BEARER_HEADER,
    TOKEN_HEADER,
    Headers,
    read_bearer,
    read_header,
    refuse_illegal,
)
from gateway_metrics_mcp.auth.tokens import OperatorFile, Tokens
from gateway_metrics_mcp.errors import RefusedCallerError
from gateway_metrics_mcp.query.caller import LOCAL, Caller

_BEARER: Final = 'Bearer realm="gateway-metrics"'
_API_KEY: Final = f'ApiKey realm="gateway-metrics", header="{TOKEN_HEADER}"'
_SHOWN_DIGITS: Final = 12


class AuthPolicy(ABC):
    """Who may ask, and by what."""

    challenge: str = _BEARER
    """What a refusal asks for, in the words of `WWW-Authenticate`."""
    notice: str | None = None
    """What an operator has to know at the start."""
    is_open: bool = False
    """Whether a request needs nothing to be let in."""
    file: OperatorFile[Any] | None = None
    """The operator's file of callers."""

    @abstractmethod
    async def identify(self, headers: Headers) -> Caller:
        """Who sent these headers; its `owner` is who a connection belongs to.

        Raises:
            RefusedCallerError: if nobody who may ask did; no token is in its text.
        """

    def reload(self) -> None:
        """Read the operator's file again."""
        if self.file is not None:
            self.file.reload()

    def routes(self) -> Sequence[BaseRoute]:
        """What a client may read to find out how to get a token."""
        return ()


class OpenPolicy(AuthPolicy):
    """Everyone is the local caller: for engines on loopback."""

    is_open = True

    def __init__(self, notice: str | None = None) -> None:
        self.notice = notice

    async def identify(self, headers: Headers) -> Caller:  # noqa: ARG002 - all are alike
        """The local caller."""
        return name_owner(LOCAL)


class GatewayTokenPolicy(AuthPolicy):
    """Each brings a gateway token, which alone is sent to the gateway."""

    def __init__(self, *, takes_bearer: bool) -> None:
        self._takes_bearer = takes_bearer
        self.challenge = f"{_API_KEY}, {_BEARER}" if takes_bearer else _API_KEY

    async def identify(self, headers: Headers) -> Caller:
        """The caller with the token of the request."""
        token = read_header(headers, TOKEN_HEADER)
        bearer = read_bearer(read_header(headers, BEARER_HEADER)) if self._takes_bearer else None
        if token is not None and bearer is not None and token != bearer:
            raise RefusedCallerError(
                f"{TOKEN_HEADER} and {BEARER_HEADER} carry different tokens: send one of them",
                status=400,
                error="invalid_request",
            )
        if not (given := token or bearer):
            or_bearer = f" or {BEARER_HEADER}: Bearer <token>" if self._takes_bearer else ""
            raise RefusedCallerError(
                f"bring your own gateway token: the header {TOKEN_HEADER}: <token>{or_bearer}"
            )
        refuse_illegal(given, BEARER_HEADER if token is None else TOKEN_HEADER)
        # A short digest names whoever has no other name.
        subject = sha256(given.encode()).hexdigest()[:_SHOWN_DIGITS]
        return name_owner(Caller(subject, token=given))


class TokenFilePolicy(AuthPolicy):
    """Each brings a bearer token that the operator gave out.

    `shared` is the caller that all of them ask as, where the server's own token is shared.
    """

    def __init__(
        self,
        file: OperatorFile[Tokens],
        *,
        shared: Caller | None = None,
        notice: str | None = None,
    ) -> None:
        self.file: OperatorFile[Tokens] = file
        self._shared = shared
        self.notice = notice

    async def identify(self, headers: Headers) -> Caller:
        """The caller whom the tokens file names."""
        header = read_header(headers, BEARER_HEADER)
        owner = name_owner(self.file.current.find_caller(header, datetime.now(UTC)))
        return owner if self._shared is None else replace(self._shared, owner=owner.owner)


def name_owner(caller: Caller, subject: str | None = None) -> Caller:
    """The caller, named by these very rights: with others, a connection is another's.

    `subject` is who brought the token, where an operator's file says whose rights that is.
    """
    rights = (
        subject or caller.subject,
        caller.subject_type,
        sorted(caller.teams),
        caller.is_tenant_admin,
        caller.token,
    )
    name = sha256(repr(rights).encode("utf-8", "surrogatepass")).hexdigest()
    return replace(caller, owner=name)
