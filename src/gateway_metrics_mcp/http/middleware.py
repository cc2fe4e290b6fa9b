"""The middleware stack in front of MCP over HTTP and of the metrics API.

Authentication itself is in auth/; here are health, metrics, CORS and connection limits, and the
Host and Origin check.
"""

from __future__ import annotations

from collections import Counter
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
    RefusedCallerError,
    RefusedRequestError,
    SettingsError,
)
from gateway_metrics_mcp.runtime.concurrency import ShutdownScope
from gateway_metrics_mcp.runtime.metrics import CONTENT_TYPE, Metrics, write_metrics
from gateway_metrics_mcp.runtime.network import LOOPBACK_HOSTS, is_loopback
from gateway_metrics_mcp.runtime.readiness import Readiness
from gateway_metrics_mcp.settings import Settings

LIVE: Final = "/livez"
READY: Final = "/readyz"
METRICS: Final = "/metrics"
RETRY_AFTER_S: Final = 5

_FRESH: Final = {"cache-control": "no-store"}


class Service(Protocol):
    """What middleware and graceful shutdown need of the server: MCP's or the metrics API's."""

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
    """Add the whole stack to an application. Host and Origin are checked only with `security`.

    The order matters, and the last one added runs first. Health checks run before every check:
    probes send an IP address as Host, and no token. CORS runs before what refuses requests, so that
    pages can read refusals. The Host check runs before authentication, which may call the provider.
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
    """A refusal as an OAuth error (RFC 6750): JSON body and, for 401 and 403, the challenge."""
    headers = {"Cache-Control": "no-store"}
    if isinstance(error, RefusedCallerError) and error.status in (401, 403):
        mark = f', error="{error.error}"' if error.error else ""
        headers["WWW-Authenticate"] = f"{challenge}{mark}"
    if error.status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    body = {"error": error.error or error.code, "error_description": str(error)}
    return JSONResponse(body, error.status, headers=headers)


class OperationsMiddleware:
    """Answers `/livez`, `/readyz` and `/metrics`, and counts what the application refuses.

    They are open to all, so no response contains a caller, a value or an address.
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
        """Pass a request on, counting it while in flight, and its status if it is an error."""
        meter = self._service.meter

        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400:
                meter.refusals[message["status"]] += 1
            await send(message)

        # Only POST carries a call. A GET is an idle stream, for which shutdown must not wait.
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
            return PlainTextResponse("no metrics here: they are switched off\n", 404)
        try:
            text = write_metrics(self._service.meter)
        except ModuleNotFoundError as error:
            # The package is an extra; a module of ours that is missing is a fault and raised.
            if (error.name or "").partition(".")[0] != "prometheus_client":
                raise
            advice = "pip install 'gateway-metrics-mcp[ops]'"
            return PlainTextResponse(f"no metrics here: {advice}\n", 404)
        return Response(text, media_type=CONTENT_TYPE, headers=_FRESH)


class ConcurrencyLimitMiddleware:
    """Limits concurrent requests to `most`, and separately open streams (GET) to `most`.

    Separately, because idle SSE streams would otherwise use up the limit for messages.
    """

    def __init__(self, app: ASGIApp, most: int, refuse: Refuse) -> None:
        self._app = app
        self._most = most
        self._refuse = refuse
        self._running: Counter[bool] = Counter()
        """By whether it is a stream."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or refuse with `Retry-After`."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_stream = scope["method"] == "GET"
        if self._running[is_stream] >= self._most:  # no waiting: refused with Retry-After
            text = "too many requests at once: ask again in a few seconds"
            refused = RefusedRequestError(text, status=503, error="busy")
            await self._refuse(refused)(scope, receive, send)
            return
        self._running[is_stream] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._running[is_stream] -= 1


class HostOriginMiddleware:
    """Refuses an unknown Host or Origin on every path (DNS rebinding).

    The check is the SDK's, whose SSE transport runs it too late and logs a traceback each time.
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
            # Host names are case-insensitive; the SDK's check is not.
            headers = [(k, v.lower() if k == b"host" else v) for k, v in scope["headers"]]
            wrong = await self._check.validate_request(Request({**scope, "headers": headers}))
        if wrong is None:
            await self._app(scope, receive, send)
            return
        text = self._texts[wrong.status_code]
        refused = RefusedRequestError(text, status=wrong.status_code, error="not_served")
        await self._refuse(refused)(scope, receive, send)


def read_security(settings: Settings) -> TransportSecuritySettings:
    """The accepted Host and Origin headers, checked on any address and not only on loopback.

    Raises:
        SettingsError: if the address is not loopback and no host is allowed.
    """
    own = f"[{settings.host}]" if ":" in settings.host else settings.host
    if not is_loopback(settings.host):
        if not settings.allowed_host:
            raise SettingsError(
                f"listening on {settings.host} needs --allowed-host with the name clients use,"
                " such as --allowed-host metrics.example.com"
            )
        own = LOOPBACK_HOSTS[0]  # clients do not call an address such as 0.0.0.0 by that name
    hosts = dict.fromkeys(name.lower() for name in (*LOOPBACK_HOSTS, own, *settings.allowed_host))
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
