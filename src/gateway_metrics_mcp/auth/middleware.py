"""The door of the HTTP transports: a request passes with its caller, or is answered 401 or 403."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from typing import Any, Final

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.mcpserver import Context
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway_metrics_mcp.auth.credentials import BEARER_HEADER, TOKEN_HEADER, RefusedCallerError
from gateway_metrics_mcp.auth.policies import AuthPolicy, Identity
from gateway_metrics_mcp.errors import GatewayMetricsError, InternalError
from gateway_metrics_mcp.query.caller import ASKED_FOR, LOCAL, Caller

logger = logging.getLogger(__name__)

_KEY: Final = "gateway_metrics_mcp.caller"
_OWNER: Final = "gateway_metrics_mcp.owner"
_OPEN_PATHS: Final = ("/livez", "/readyz", "/metrics")
_WELL_KNOWN: Final = "/.well-known/"
_SECRET_HEADERS: Final = (TOKEN_HEADER.lower().encode(), BEARER_HEADER.lower().encode())


class AuthMiddleware:
    """Lets requests in with their caller.

    What comes after it sees no token: the headers that carry one are taken off. It names the
    owner in the SDK's own way, so that the SDK keeps a connection to who opened it.
    """

    def __init__(self, app: ASGIApp, callers: AuthPolicy) -> None:
        self._app = app
        self._callers = callers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] == "lifespan" or is_open(scope.get("path", "")):
            await self._app(scope, receive, send)
            return
        try:
            identity = await self._callers.identify(scope["headers"])
        except RefusedCallerError as error:
            refused = error
        except GatewayMetricsError as error:
            logger.warning("who asks could not be told: %s", error)
            text = "who asks cannot be told at present: ask again later"
            refused = RefusedCallerError(text, status=503, error="temporarily_unavailable")
        else:
            await self._app(_admit(scope, identity), receive, send)
            return
        await _refuse(refused, self._callers.challenge)(scope, receive, send)


def is_open(path: str) -> bool:
    """Whether anyone may have what is there: probes, and how to get a token."""
    return path in _OPEN_PATHS or path.startswith(_WELL_KNOWN)


def find_caller(scope: Mapping[str, Any]) -> Caller | None:
    """Who sent the request, if the guard let it in."""
    found = scope.get(_KEY)
    return found if isinstance(found, Caller) else None


def caller_of(context: Context[Any, Any] | None, *, is_served: bool) -> Caller:
    """Who asks: the caller of the very request that carried the message.

    `is_served` says that the server answers over HTTP: then nobody is the local caller by default.
    Who stands behind the caller is noted for the limits of the task that asks.

    Raises:
        InternalError: if a request came past the guard.
    """
    request = None if context is None else context.request_context.request
    caller = None if request is None else find_caller(request.scope)
    if request is not None and caller is not None:
        ASKED_FOR.set(request.scope[_OWNER])
        return caller
    if is_served or request is not None:
        raise InternalError("a fault of this server: nobody was found to have asked")
    return LOCAL


def _admit(scope: Scope, identity: Identity) -> Scope:
    kept = [(name, value) for name, value in scope["headers"] if name not in _SECRET_HEADERS]
    name = _digest(identity.owner)
    user = AuthenticatedUser(AccessToken(token="", client_id=name, scopes=[]))
    return {**scope, "headers": kept, _KEY: identity.caller, _OWNER: name, "user": user}


def _digest(owner: Caller) -> str:
    """A name for these very rights: with others, a connection is not the same one's."""
    rights = (
        owner.subject,
        owner.subject_type,
        sorted(owner.teams),
        owner.is_tenant_admin,
        owner.token,
    )
    return hashlib.sha256(repr(rights).encode("utf-8", "surrogatepass")).hexdigest()


def _refuse(error: RefusedCallerError, challenge: str) -> ASGIApp:
    """The refusal; what to bring stands in both the body and `WWW-Authenticate`."""
    code = error.error or error.code
    headers = {"Cache-Control": "no-store"}
    if error.status in (401, 403):
        mark = f', error="{error.error}"' if error.error else ""
        headers["WWW-Authenticate"] = f"{challenge}{mark}"
    if error.status == 503:
        headers["Retry-After"] = "5"
    body = {"error": code, "error_description": str(error)}
    return JSONResponse(body, error.status, headers=headers)
