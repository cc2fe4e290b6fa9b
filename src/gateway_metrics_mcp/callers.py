"""Whose rights a request over HTTP has: from its headers to the caller, in one place.

One policy per server, made of the settings; nothing of a request but its headers counts.
"""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from starlette.routing import BaseRoute

from gateway_metrics_mcp.access import LOCAL, Caller
from gateway_metrics_mcp.auth import ExpiredTokenError, TokenBook, UnknownTokenError
from gateway_metrics_mcp.errors import GatewayMetricsError, SettingsError
from gateway_metrics_mcp.settings import Settings

Headers = Sequence[tuple[bytes, bytes]]

TOKEN_HEADER: Final = "X-TFY-API-Key"  # noqa: S105 - the header's name
BEARER_HEADER: Final = "Authorization"
_VISIBLE: Final = re.compile(r"[!-~]*")
_LONGEST_TOKEN: Final = 16_384

_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1", "[::1]")
_SHOWN_DIGITS: Final = 12
_BEARER: Final = 'Bearer realm="gateway-metrics"'
_API_KEY: Final = f'ApiKey realm="gateway-metrics", header="{TOKEN_HEADER}"'


class RefusedCallerError(GatewayMetricsError):
    """A request without rights; `error` is RFC 6750's code, if it has one for this."""

    code = "unauthorized"

    def __init__(self, message: str, *, status: int = 401, error: str | None = None) -> None:
        self.status = status
        self.error = error
        super().__init__(message)


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


class Callers(ABC):
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


class OpenCallers(Callers):
    """Everyone is the local caller: for engines on loopback."""

    def __init__(self, notice: str | None) -> None:
        self.notice = notice

    async def identify(self, headers: Headers) -> Identity:  # noqa: ARG002 - all are alike
        """The local caller."""
        return Identity(LOCAL, LOCAL)


class GatewayTokenCallers(Callers):
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


class TokenFileCallers(Callers):
    """Each brings a bearer token that the operator gave out.

    `shared` is the caller that all of them ask as, where the server's own token is shared.
    """

    def __init__(
        self,
        book: TokenBook,
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


def open_callers(settings: Settings) -> Callers:
    """The policy of these settings.

    Raises:
        SettingsError: if they contradict each other, let in anyone from elsewhere, or name a
            file that cannot be used.
    """
    _check_choice(settings)
    if settings.oauth_issuer is not None:
        from gateway_metrics_mcp.callers_oauth import OAuthCallers  # noqa: PLC0415 - httpx, jwt

        return OAuthCallers(settings)
    if settings.is_remote:
        return _open_remote(settings)
    if settings.tokens is not None:
        return TokenFileCallers(TokenBook(settings.tokens))
    if settings.backend is None:  # there is nothing to ask
        return OpenCallers(None)
    if settings.host not in _LOOPBACK:
        raise SettingsError(f"listening on {settings.host} needs --tokens: anyone could ask")
    return OpenCallers("no --tokens: everyone who reaches it is a tenant admin")


def _open_remote(settings: Settings) -> Callers:
    if settings.auth_token_file is not None:
        if settings.token is None:
            raise SettingsError("--shared-token needs a gateway token to share: set TFY_API_KEY")
        notice = (
            "--shared-token: everyone in --auth-token-file asks with this server's gateway token"
            " and sees all that it may see"
        )
        book = TokenBook(settings.auth_token_file)
        return TokenFileCallers(book, shared=LOCAL, notice=notice)
    return GatewayTokenCallers(takes_bearer=settings.accept_gateway_bearer)


def _check_choice(settings: Settings) -> None:
    """Settings that do not go together, or not with the backend."""
    oauth = ("oauth_issuer", "oauth_audience", "oauth_subjects")
    missing = [name for name in oauth if getattr(settings, name) is None]
    has_oauth = len(missing) < len(oauth) or bool(settings.oauth_scope)
    if has_oauth and missing:
        raise SettingsError(f"OAuth needs {' and '.join(map(_flag, missing))} as well")
    if settings.shared_token != (settings.auth_token_file is not None):
        raise SettingsError(
            "--shared-token and --auth-token-file go together: who asks with this server's gateway"
            " token has to bring a token of their own, which `gateway-metrics-mcp token` makes"
        )
    ways = [
        name
        for name, is_chosen in (
            ("oauth_issuer", has_oauth),
            ("shared_token", settings.shared_token),
            ("accept_gateway_bearer", settings.accept_gateway_bearer),
            ("tokens", settings.tokens is not None),
        )
        if is_chosen
    ]
    if len(ways) > 1:
        chosen = " and ".join(map(_flag, ways))
        raise SettingsError(f"{chosen} are ways to tell who asks: choose one")
    wrong = {"tokens"} if settings.is_remote else {"shared_token", "accept_gateway_bearer"}
    if settings.backend is not None and (unfit := wrong.intersection(ways)):
        kind = "an engine" if settings.is_remote else "a remote gateway"
        raise SettingsError(f"{_flag(unfit.pop())} is for {kind}, which --backend does not name")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def caller_of_token(token: str, subject: str | None = None) -> Caller:
    """The caller with a gateway token; a short digest names whoever has no other name."""
    if subject is None:
        subject = hashlib.sha256(token.encode()).hexdigest()[:_SHOWN_DIGITS]
    return Caller(subject, token=token)


def find_fault(token: str) -> str | None:
    """Why no token can look like this one, as it follows "the token"; None if one can."""
    if len(token) > _LONGEST_TOKEN:
        return f"is longer than any token ({_LONGEST_TOKEN} letters)"
    return None if _VISIBLE.fullmatch(token) else "has a character that no token has"


def refuse_illegal(token: str, header: str, *, error: str | None = None) -> None:
    """Let a token pass that can be one.

    Raises:
        RefusedCallerError: if none can look like it.
    """
    if (fault := find_fault(token)) is None:
        return
    alone = "send the token alone"
    if len(token) <= _LONGEST_TOKEN:
        alone += ", without `Bearer` or quotes"
    raise RefusedCallerError(f"the token in {header} {fault}: {alone}", error=error)


def read_header(headers: Headers, name: str) -> str | None:
    """The value of a header; None if there is none, or an empty one.

    Raises:
        RefusedCallerError: if it stands there twice, so that nobody knows which one counts.
    """
    wanted = name.lower().encode()
    values = [value for key, value in headers if key.lower() == wanted]
    if len(values) > 1:
        raise RefusedCallerError(
            f"the header {name} stands there twice", status=400, error="invalid_request"
        )
    return values[0].decode("latin-1").strip() or None if values else None


def read_bearer(headers: Headers) -> str | None:
    """The bearer token of a request, if it has one."""
    scheme, _, token = (read_header(headers, BEARER_HEADER) or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
