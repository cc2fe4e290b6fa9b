"""What stands before every application served over HTTP, MCP's and the API alike.

Who asks is found in auth/; here is what may be asked without that, and what is refused before it.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Final, Protocol

from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway_metrics_mcp.auth.middleware import AuthMiddleware, Refuse
from gateway_metrics_mcp.auth.policies import AuthPolicy
from gateway_metrics_mcp.errors import (
    BusyError,
    RefusedCallerError,
    RefusedRequestError,
    SettingsError,
)
from gateway_metrics_mcp.runtime.limits import ConcurrencyLimiter
from gateway_metrics_mcp.runtime.metrics import CONTENT_TYPE, Metrics, write_metrics
from gateway_metrics_mcp.runtime.network import LOOPBACK_HOSTS, is_loopback
from gateway_metrics_mcp.runtime.readiness import Readiness
from gateway_metrics_mcp.runtime.tasks import ShutdownScope
from gateway_metrics_mcp.settings import Settings

LIVE: Final = "/livez"
READY: Final = "/readyz"
METRICS: Final = "/metrics"
RETRY_AFTER_S: Final = 5

_REFUSED: Final = 400
_FRESH: Final = {"cache-control": "no-store"}
_NO_PACKAGE: Final = "no metrics here: pip install 'gateway-metrics-mcp[ops]'\n"
_SWITCHED_OFF: Final = "no metrics here: they are switched off\n"


class Service(Protocol):
    """A server behind the middleware: what it counts, whether it can answer, and how it ends."""

    meter: Metrics
    readiness: Readiness
    calls: ShutdownScope


def add_middleware(
    app: Starlette,
    service: Service,
    settings: Settings,
    policy: AuthPolicy,
    *,
    security: TransportSecuritySettings | None,
    refuse: Refuse | None = None,
    host_advice: str = "set --allowed-host",
    open_paths: Collection[str] = (),
) -> None:
    """Put the whole stack before the application; without `security` any Host is served.

    Starlette's last is the outermost. Operators' paths come before all checks: probes bring an
    address as Host, and no token. Who asks is told last, so that a foreign page learns nothing.
    """
    refuse = refuse or partial(write_refusal, challenge=policy.challenge)
    app.router.routes.extend(policy.routes())
    app.add_middleware(AuthMiddleware, policy=policy, refuse=refuse, open_paths=open_paths)
    if security is not None:
        check = TransportSecurityMiddleware(security)
        app.add_middleware(HostOriginMiddleware, check=check, refuse=refuse, advice=host_advice)
    app.add_middleware(ConcurrencyLimitMiddleware, most=settings.connections, refuse=refuse)
    if settings.cors_origin:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origin,
            allow_methods=("GET", "POST"),
            allow_headers=("*",),
            expose_headers=("Mcp-Session-Id", "WWW-Authenticate"),
        )
    app.add_middleware(OperationsMiddleware, service=service, has_metrics=settings.metrics)


def write_refusal(error: RefusedRequestError, challenge: str) -> Response:
    """The refusal as OAuth has it; what to bring stands in both the body and the header."""
    headers = {"Cache-Control": "no-store"}
    if isinstance(error, RefusedCallerError) and error.status in (401, 403):
        mark = f', error="{error.error}"' if error.error else ""
        headers["WWW-Authenticate"] = f"{challenge}{mark}"
    if error.status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    body = {"error": error.error or error.code, "error_description": str(error)}
    return JSONResponse(body, error.status, headers=headers)


class OperationsMiddleware:
    """Answers the operators' paths before anything else of the application is asked.

    Nothing that stands there names a caller, a value or an address.
    """

    def __init__(self, app: ASGIApp, service: Service, *, has_metrics: bool) -> None:
        self._app = app
        self._service = service
        self._has_metrics = has_metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] in (LIVE, READY, METRICS):
            await (await self._answer(Request(scope)))(scope, receive, send)
        else:
            await self._pass_on(scope, receive, send)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application's answer; what it refuses is counted, and what it has to send yet."""
        meter = self._service.meter

        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= _REFUSED:
                meter.refusals[message["status"]] += 1
            await send(message)

        is_message = scope["method"] == "POST"
        meter.requests_in_flight += is_message
        try:
            await self._app(scope, receive, watch)
        finally:
            meter.requests_in_flight -= is_message

    async def _answer(self, request: Request) -> Response:
        path = request.scope["path"]
        if request.method not in ("GET", "HEAD"):
            return PlainTextResponse("GET only\n", 405, headers={"allow": "GET, HEAD"})
        if path == LIVE:
            return JSONResponse({"status": "alive"}, headers=_FRESH)
        return await self._ready() if path == READY else self._show_metrics()

    async def _ready(self) -> Response:
        obstacle = await self._service.readiness.find_obstacle()
        if obstacle is None:
            return JSONResponse({"status": "ready"}, headers=_FRESH)
        return JSONResponse({"status": "not ready", "reason": obstacle}, 503, headers=_FRESH)

    def _show_metrics(self) -> Response:
        if not self._has_metrics:
            return PlainTextResponse(_SWITCHED_OFF, 404)
        try:
            text = write_metrics(self._service.meter)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "prometheus_client":
                raise
            return PlainTextResponse(_NO_PACKAGE, 404)
        return Response(text, media_type=CONTENT_TYPE, headers=_FRESH)


class ConcurrencyLimitMiddleware:
    """At most so many requests at once, and as many open streams beside them.

    They are counted apart: idle streams must not keep out the messages of their own clients.
    """

    def __init__(self, app: ASGIApp, most: int, refuse: Refuse) -> None:
        self._app = app
        self._refuse = refuse
        self._streams = ConcurrencyLimiter(most, patience_s=0)
        self._requests = ConcurrencyLimiter(most, patience_s=0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or say when to come back."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limiter = self._streams if scope["method"] == "GET" else self._requests
        try:
            async with limiter.acquire():
                await self._app(scope, receive, send)
        except BusyError:
            text = "too many requests at once: ask again in a few seconds"
            refused = RefusedRequestError(text, status=503, error="busy")
            await self._refuse(refused)(scope, receive, send)


class HostOriginMiddleware:
    """Refuses a foreign Host or Origin on every path: a page in a browser here must not ask.

    The check is the SDK's; its own SSE transport makes it too late, and logs a traceback for each.
    """

    def __init__(
        self, app: ASGIApp, check: TransportSecurityMiddleware, refuse: Refuse, advice: str
    ) -> None:
        self._app = app
        self._check = check
        self._refuse = refuse
        self._texts = {
            421: f"this host is not served: {advice}",
            403: "this origin is not served: set --allowed-origin",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on."""
        wrong = None
        if scope["type"] == "http":
            wrong = await self._check.validate_request(Request(scope))
        if wrong is None:
            await self._app(scope, receive, send)
            return
        text = self._texts[wrong.status_code]
        refused = RefusedRequestError(text, status=wrong.status_code, error="not_served")
        await self._refuse(refused)(scope, receive, send)


def read_security(settings: Settings) -> TransportSecuritySettings:
    """Which Host and Origin are served; both are checked whatever address is listened on.

    Raises:
        SettingsError: if the address is not loopback and no host is allowed for it.
    """
    own = f"[{settings.host}]" if ":" in settings.host else settings.host
    if not is_loopback(settings.host):
        if not settings.allowed_host:
            raise SettingsError(
                f"listening on {settings.host} needs --allowed-host with the name clients use,"
                " such as --allowed-host metrics.example.com"
            )
        own = LOOPBACK_HOSTS[0]  # what a wildcard address is called is not known here
    hosts = dict.fromkeys((*LOOPBACK_HOSTS, own, *settings.allowed_host))
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=[form for host in hosts for form in (host, f"{host}:*")],
        allowed_origins=[
            form
            for host in hosts
            for scheme in ("http", "https")
            for form in (f"{scheme}://{host}", f"{scheme}://{host}:*")
        ]
        + [*settings.allowed_origin, *settings.cors_origin],
    )
