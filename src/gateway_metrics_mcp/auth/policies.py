"""Whose rights a request over HTTP has: from its headers to the caller, in one place.

One policy per server, made of the settings; nothing of a request but its headers counts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from starlette.routing import BaseRoute

from gateway_metrics_mcp.auth.credentials import (
    BEARER_HEADER,
    TOKEN_HEADER,
    Headers,
    RefusedCallerError,
    caller_of_token,
    read_bearer,
    read_header,
    refuse_illegal,
)
from gateway_metrics_mcp.auth.tokens import ExpiredTokenError, TokenFile, UnknownTokenError
from gateway_metrics_mcp.query.caller import LOCAL, Caller

_BEARER: Final = 'Bearer realm="gateway-metrics"'
_API_KEY: Final = f'ApiKey realm="gateway-metrics", header="{TOKEN_HEADER}"'


@dataclass(frozen=True, slots=True)
class Identity:
    """Who stands behind a request.

    Questions are asked as `caller`; a connection belongs to its `owner`. They differ where all
    ask with one token of the server's.
    """

    caller: Caller
    owner: Caller


class Book(Protocol):
    """A file of the operator's."""

    def reload(self) -> None:
        """Read it again; if it is wrong, all stays as it was."""
        ...


class AuthPolicy(ABC):
    """Who may ask, and by what."""

    challenge: str = _BEARER
    """What a refusal asks for, in the words of `WWW-Authenticate`."""
    notice: str | None = None
    """What an operator has to know at the start."""
    books: Sequence[Book] = ()

    @abstractmethod
    async def identify(self, headers: Headers) -> Identity:
        """Who sent these headers.

        Raises:
            RefusedCallerError: if nobody who may ask did; no token is in its text.
        """

    def reload(self) -> None:
        """Read the operator's files again."""
        for book in self.books:
            book.reload()

    def routes(self) -> Sequence[BaseRoute]:
        """What a client may read to find out how to get a token."""
        return ()


class OpenPolicy(AuthPolicy):
    """Everyone is the local caller: for engines on loopback."""

    def __init__(self, notice: str | None) -> None:
        self.notice = notice

    async def identify(self, headers: Headers) -> Identity:  # noqa: ARG002 - all are alike
        """The local caller."""
        return Identity(LOCAL, LOCAL)


class GatewayTokenPolicy(AuthPolicy):
    """Each brings a gateway token, which alone is sent to the gateway."""

    def __init__(self, *, takes_bearer: bool) -> None:
        self._takes_bearer = takes_bearer
        self.challenge = f"{_API_KEY}, {_BEARER}" if takes_bearer else _API_KEY

    async def identify(self, headers: Headers) -> Identity:
        """The caller with the token of the request."""
        token = read_header(headers, TOKEN_HEADER)
        bearer = read_bearer(headers) if self._takes_bearer else None
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
        caller = caller_of_token(given)
        return Identity(caller, caller)


class TokenFilePolicy(AuthPolicy):
    """Each brings a bearer token that the operator gave out.

    `shared` is the caller that all of them ask as, where the server's own token is shared.
    """

    def __init__(
        self,
        book: TokenFile,
        *,
        shared: Caller | None = None,
        notice: str | None = None,
    ) -> None:
        self._book = book
        self.books = (book,)
        self._shared = shared
        self.notice = notice

    async def identify(self, headers: Headers) -> Identity:
        """The caller whom the tokens file names."""
        header = read_header(headers, BEARER_HEADER)
        try:
            owner = self._book.current().caller_of(header, datetime.now(UTC))
        except UnknownTokenError as error:
            refused = RefusedCallerError(str(error), error="invalid_token" if header else None)
        except ExpiredTokenError as error:
            refused = RefusedCallerError(str(error), error="invalid_token")
        else:
            return Identity(self._shared or owner, owner)
        raise refused
