"""ASGI middleware that authenticates each request, and the lookup of its caller."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Final

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway_metrics_mcp.auth.tokens import BEARER_HEADER, TOKEN_HEADER
from gateway_metrics_mcp.errors import GatewayMetricsError, InternalError, RefusedRequestError
from gateway_metrics_mcp.query import Caller

if TYPE_CHECKING:  # stdio imports this module too; pydantic types would slow its start
    from gateway_metrics_mcp.auth.policies import AuthPolicy

logger = logging.getLogger(__name__)

Refuse = Callable[[RefusedRequestError], Response]

_KEY: Final = "gateway_metrics_mcp.caller"
_SECRET_HEADERS: Final = (TOKEN_HEADER.lower().encode(), BEARER_HEADER.lower().encode())


class AuthMiddleware:
    """Passes each request on with its caller, or refuses it.

    Not the SDK's BearerAuthBackend and RequireAuthMiddleware: they know only bearer tokens, leave
    the token on the request, and have no answer (503) for when the provider is down.
    """

    def __init__(
        self, app: ASGIApp, policy: AuthPolicy, refuse: Refuse, open_paths: Collection[str] = ()
    ) -> None:
        self._app = app
        self._policy = policy
        self._refuse = refuse
        self._open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Authenticate the request, unless its path is open or it is a lifespan event."""
        path = scope.get("path", "")
        # Below /.well-known/ clients read where to get a token (RFC 9728).
        is_open = path in self._open_paths or path.startswith("/.well-known/")
        if scope["type"] == "lifespan" or is_open:
            await self._app(scope, receive, send)
            return
        try:
            caller = await self._policy.identify(scope["headers"])
        except RefusedRequestError as error:
            refused = error
        except GatewayMetricsError as error:
            # The provider is down, which says nothing about the token: 503, not 401.
            logger.warning("the caller could not be authenticated: %s", error)
            text = "callers cannot be authenticated at present: ask again later"
            refused = RefusedRequestError(text, status=503, error="temporarily_unavailable")
        else:
            await self._app(_admit(scope, caller), receive, send)
            return
        await self._refuse(refused)(scope, receive, send)


def _admit(scope: Scope, caller: Caller) -> Scope:
    """The scope with its caller and without the token headers.

    The application never sees a token, so it cannot log or forward one. The owner becomes the
    SDK's `user`, by which the SDK refuses other callers' messages on an SSE connection.
    """
    kept = [(name, value) for name, value in scope["headers"] if name not in _SECRET_HEADERS]
    user = AuthenticatedUser(AccessToken(token="", client_id=caller.owner, scopes=[]))
    return {**scope, "headers": kept, _KEY: caller, "user": user}


def find_caller(scope: Scope) -> Caller:
    """The caller of an HTTP request.

    Raises:
        InternalError: if the request was not authenticated.
    """
    found = scope.get(_KEY)
    if not isinstance(found, Caller):
        raise InternalError("an internal error of this server: no caller was identified")
    return found


def find_owner(scope: Scope) -> str | None:
    """Whose share of the places an HTTP request takes; None if it was not authenticated."""
    found = scope.get(_KEY)
    return found.owner if isinstance(found, Caller) else None
