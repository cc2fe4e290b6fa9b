"""Authentication policies: from a request's headers to its caller.

A server has one policy, chosen by its settings in factory.py. Only headers count: no session or
connection is proof of identity.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from starlette.routing import BaseRoute

from gateway_metrics_mcp.auth.tokens import (
    BEARER_HEADER,
    TOKEN_HEADER,
    Headers,
    OperatorFile,
    Tokens,
    read_bearer,
    read_header,
    refuse_illegal,
)
from gateway_metrics_mcp.errors import RefusedCallerError
from gateway_metrics_mcp.query import LOCAL, Caller

_BEARER: Final = 'Bearer realm="gateway-metrics"'
_API_KEY: Final = f'ApiKey realm="gateway-metrics", header="{TOKEN_HEADER}"'


class AuthPolicy(ABC):
    """Decides who sends a request, from its headers alone."""

    challenge: str = _BEARER
    """The `WWW-Authenticate` header of a refusal."""
    notice: str | None = None
    """A warning for the operator, printed at startup."""
    is_open: bool = False
    """Whether requests need no credentials."""
    file: OperatorFile[Any] | None = None
    """The tokens or subjects file, if the policy has one."""

    @abstractmethod
    async def identify(self, headers: Headers) -> Caller:
        """The caller that sent these headers.

        Raises:
            RefusedCallerError: if the credentials are missing or wrong; it repeats no token.
        """

    def reload(self) -> None:
        """Read the tokens or subjects file again; SIGHUP calls it."""
        if self.file is not None:
            self.file.reload()

    def routes(self) -> Sequence[BaseRoute]:
        """Routes that tell clients where to get a token; open to all."""
        return ()


class OpenPolicy(AuthPolicy):
    """No authentication: every request is the local caller's. For engines on loopback only."""

    is_open = True

    def __init__(self, notice: str | None = None) -> None:
        self.notice = notice

    async def identify(self, headers: Headers) -> Caller:  # noqa: ARG002 - open to all
        """The local caller."""
        return name_owner(LOCAL)


class GatewayTokenPolicy(AuthPolicy):
    """Callers send their own gateway token; the gateway is called with it and no other.

    `takes_bearer` also accepts it in `Authorization`. That is off by default, because the MCP
    specification forbids a server to forward tokens issued for itself.
    """

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
                f"send your own gateway token: the header {TOKEN_HEADER}: <token>{or_bearer}"
            )
        refuse_illegal(given, BEARER_HEADER if token is None else TOKEN_HEADER)
        # A gateway token does not name its owner, so a short digest serves as the subject.
        subject = sha256(given.encode()).hexdigest()[:12]
        return name_owner(Caller(subject, token=given))


class TokenFilePolicy(AuthPolicy):
    """Callers send a bearer token that the tokens file lists.

    With `shared` (`--shared-token`), all of them run as that caller.
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
        """The caller of the token; with `shared`, the shared caller with this owner."""
        header = read_header(headers, BEARER_HEADER)
        owner = name_owner(self.file.current.find_caller(header, datetime.now(UTC)))
        return owner if self._shared is None else replace(self._shared, owner=owner.owner)


def name_owner(caller: Caller, subject: str | None = None) -> Caller:
    """The caller with a digest of subject, rights and token as its owner.

    The rights are part of it so that a connection opened before a change of rights is refused
    afterwards. `subject` is the token's own, if it differs from the caller's.
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
