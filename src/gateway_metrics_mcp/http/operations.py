"""What operators ask of the process over HTTP: is it up, can it answer, what has it done."""

from __future__ import annotations

from typing import Final

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway_metrics_mcp.runtime.limits import BusyError, ConcurrencyLimiter
from gateway_metrics_mcp.runtime.metrics import Metrics
from gateway_metrics_mcp.runtime.readiness import Readiness
from gateway_metrics_mcp.settings import Settings

LIVE: Final = "/livez"
READY: Final = "/readyz"
METRICS: Final = "/metrics"

_REFUSED: Final = 400
_FRESH: Final = {"cache-control": "no-store"}
_LATER: Final = {"retry-after": "5", "cache-control": "no-store"}
_CROWDED: Final = {
    "error": "busy",
    "error_description": "too many requests at once: ask again in a few seconds",
}
_NO_PACKAGE: Final = "no metrics here: pip install 'gateway-metrics-mcp[ops]'\n"
_SWITCHED_OFF: Final = "no metrics here: they are switched off\n"


class Operations:
    """Answers the operators' paths before anything else of the application is asked.

    Probes come with an address as Host and without a token, so neither is looked at; nothing
    that stands here names a caller, a value or an address.
    """

    def __init__(
        self, app: ASGIApp, *, readiness: Readiness, meter: Metrics, has_metrics: bool
    ) -> None:
        self._app = app
        self._readiness = readiness
        self._meter = meter
        self._has_metrics = has_metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = await self._answer(Request(scope))
        if answer is not None:
            await answer(scope, receive, send)
            return
        await self._pass_on(scope, receive, send)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application's answer; what it refuses is counted, and what it has to send yet."""

        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= _REFUSED:
                self._meter.refusals[message["status"]] += 1
            await send(message)

        brings = scope["method"] == "POST"
        self._meter.requests_in_flight += brings
        try:
            await self._app(scope, receive, watch)
        finally:
            self._meter.requests_in_flight -= brings

    async def _answer(self, request: Request) -> Response | None:
        path = request.scope["path"]
        if path not in (LIVE, READY, METRICS):
            return None
        if request.method not in ("GET", "HEAD"):
            return PlainTextResponse("GET only\n", 405, headers={"allow": "GET, HEAD"})
        if path == LIVE:
            return JSONResponse({"status": "alive"}, headers=_FRESH)
        return await self._ready() if path == READY else self._show_metrics()

    async def _ready(self) -> Response:
        obstacle = await self._readiness.find_obstacle()
        if obstacle is None:
            return JSONResponse({"status": "ready"}, headers=_FRESH)
        return JSONResponse({"status": "not ready", "reason": obstacle}, 503, headers=_FRESH)

    def _show_metrics(self) -> Response:
        if not self._has_metrics:
            return PlainTextResponse(_SWITCHED_OFF, 404)
        try:
            from gateway_metrics_mcp.runtime.prometheus import (
                CONTENT_TYPE,  # an extra
                write_metrics,  # an extra
            )
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "prometheus_client":
                raise
            return PlainTextResponse(_NO_PACKAGE, 404)
        return Response(write_metrics(self._meter), media_type=CONTENT_TYPE, headers=_FRESH)


class Crowd:
    """At most so many requests at once, and as many open streams beside them.

    They are counted apart: idle streams must not keep out the messages of their own clients.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
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
            await JSONResponse(_CROWDED, 503, headers=_LATER)(scope, receive, send)


def add_outer_layers(
    app: Starlette, settings: Settings, readiness: Readiness, meter: Metrics
) -> None:
    """What stands before all checks: what browsers ask about them, and the operators' paths."""
    app.add_middleware(Crowd, most=settings.connections)
    if settings.cors_origin:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origin,
            allow_methods=("GET", "POST"),
            allow_headers=("*",),
            expose_headers=("Mcp-Session-Id", "WWW-Authenticate"),
        )
    app.add_middleware(Operations, readiness=readiness, meter=meter, has_metrics=settings.metrics)
