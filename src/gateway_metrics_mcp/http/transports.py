"""MCP over HTTP: streamable HTTP and the older SSE transport, behind the common middleware."""

from __future__ import annotations

from typing import Final

from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette

from gateway_metrics_mcp.auth.factory import build_policy
from gateway_metrics_mcp.auth.policies import AuthPolicy
from gateway_metrics_mcp.http.middleware import KnownHosts, add_middleware, read_hosts
from gateway_metrics_mcp.query.validation import MOST_BYTES
from gateway_metrics_mcp.server.app import MetricsServer
from gateway_metrics_mcp.settings import Settings

# HeadersMiddleware has checked Host and Origin of every request, on every path.
_CHECKED: Final = TransportSecuritySettings(enable_dns_rebinding_protection=False)


def build_http_app(
    server: MetricsServer, settings: Settings, policy: AuthPolicy | None = None
) -> Starlette:
    """Build streamable HTTP at `/mcp`; `policy` defaults to that of the settings.

    Raises:
        SettingsError: if the address needs `--allowed-host`, or the policy cannot be built.
    """
    known = read_hosts(settings)
    # Stateless: replicas work without sticky sessions, and the SDK would keep each session that
    # a client does not close for 30 minutes. No JSON responses: they drop progress silently.
    app = server.streamable_http_app(
        stateless_http=True, transport_security=_CHECKED, max_request_body_size=MOST_BYTES
    )
    return _serve(server, app, settings, policy, known)


def build_sse_app(
    server: MetricsServer, settings: Settings, policy: AuthPolicy | None = None
) -> Starlette:
    """Build the older SSE transport at `/sse`; `policy` defaults to that of the settings.

    Raises:
        SettingsError: if the address needs `--allowed-host`, or the policy cannot be built.
    """
    known = read_hosts(settings)
    app = server.sse_app(transport_security=_CHECKED, max_request_body_size=MOST_BYTES)
    # Each SSE connection enters the server's lifespan, so without this the backend would close
    # whenever the last client disconnects.
    app.router.lifespan_context = lambda _: server.hold()
    return _serve(server, app, settings, policy, known, needs_streams=True)


def _serve(
    server: MetricsServer,
    app: Starlette,
    settings: Settings,
    policy: AuthPolicy | None,
    known: KnownHosts,
    *,
    needs_streams: bool = False,
) -> Starlette:
    server.is_served = True
    policy = policy or build_policy(settings)
    add_middleware(app, server, settings, policy, known=known, needs_streams=needs_streams)
    return app
