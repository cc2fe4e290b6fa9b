"""The server over HTTP: streamable HTTP and the older SSE, behind the checks that both need."""

from __future__ import annotations

from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway_metrics_mcp.auth.factory import build_policy
from gateway_metrics_mcp.auth.middleware import AuthMiddleware
from gateway_metrics_mcp.auth.policies import AuthPolicy
from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.http.operations import add_outer_layers
from gateway_metrics_mcp.query.validation import MOST_BYTES
from gateway_metrics_mcp.runtime.network import LOOPBACK_HOSTS, is_loopback
from gateway_metrics_mcp.server.app import MetricsServer
from gateway_metrics_mcp.settings import Settings


def build_http_app(
    server: MetricsServer, settings: Settings, callers: AuthPolicy | None = None
) -> Starlette:
    """Streamable HTTP at `/mcp`, without sessions; `callers` are those of the settings."""
    security = _security(settings)
    app = server.streamable_http_app(
        stateless_http=True, transport_security=security, max_request_body_size=MOST_BYTES
    )
    _add_guard(app, server, callers or build_policy(settings))
    app.add_middleware(HostOriginMiddleware, security=security)
    add_outer_layers(app, settings, server.readiness, server.meter)
    return app


def build_sse_app(
    server: MetricsServer, settings: Settings, callers: AuthPolicy | None = None
) -> Starlette:
    """The older SSE transport at `/sse`; `callers` are those of the settings."""
    security = _security(settings)
    app = server.sse_app(transport_security=security, max_request_body_size=MOST_BYTES)
    _add_guard(app, server, callers or build_policy(settings))
    app.add_middleware(HostOriginMiddleware, security=security)
    add_outer_layers(app, settings, server.readiness, server.meter)
    # Each connection enters the server's lifespan: between two the backend stays open.
    app.router.lifespan_context = lambda _: server.hold()
    return app


def _add_guard(app: Starlette, server: MetricsServer, callers: AuthPolicy) -> None:
    """Who asks, after the Host and Origin checks and before all else of the application."""
    server.is_served = True
    app.router.routes.extend(callers.routes())
    app.add_middleware(AuthMiddleware, callers=callers)


class HostOriginMiddleware:
    """Refuses a foreign Host or Origin on every path; the SDK's SSE logs a traceback for each."""

    def __init__(self, app: ASGIApp, security: TransportSecuritySettings) -> None:
        self._app = app
        self._check = TransportSecurityMiddleware(security)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on."""
        refusal = None
        if scope["type"] == "http":
            refusal = await self._check.validate_request(Request(scope))
        await (refusal or self._app)(scope, receive, send)


def _security(settings: Settings) -> TransportSecuritySettings:
    """Host and Origin are checked whatever address is listened on (DNS rebinding).

    Raises:
        SettingsError: if the address is not loopback and no host is allowed for it.
    """
    if not is_loopback(settings.host) and not settings.allowed_host:
        raise SettingsError(
            f"listening on {settings.host} needs --allowed-host with the name clients use, such"
            " as --allowed-host metrics.example.com"
        )
    hosts = [*LOOPBACK_HOSTS, *settings.allowed_host]
    if is_loopback(settings.host):  # such as 127.0.0.2, which clients then send as Host
        hosts.append(f"[{settings.host}]" if ":" in settings.host else settings.host)
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
