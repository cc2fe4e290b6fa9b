"""The commands that listen: serve and api."""

from __future__ import annotations

import gc
import logging
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import anyio

from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.runtime.logs import announce
from gateway_metrics_mcp.runtime.network import is_loopback
from gateway_metrics_mcp.settings import Settings


def serve(settings: Settings) -> int:
    """Serve MCP over stdio or HTTP; the exit code."""
    if settings.transport == "stdio":
        # The thread that reads stdin cannot be woken: the default action ends at once.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    gc.disable()  # the imports make objects that stay: looking for garbage costs a tenth of them
    from gateway_metrics_mcp.server.app import build_server  # mcp takes half a second

    server = build_server(settings)
    gc.freeze()
    gc.enable()
    if settings.transport == "stdio":
        anyio.run(server.run_stdio_async)
        return 0
    return _serve_http(server, settings)


def _serve_http(server: Any, settings: Settings) -> int:
    from gateway_metrics_mcp.auth.factory import build_policy  # likewise
    from gateway_metrics_mcp.http.transports import (
        build_http_app,  # likewise
        build_sse_app,  # likewise
    )

    # The paths of SSE hold its sessions; a line per call is ours to write.
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
    is_sse = settings.transport == "sse"
    callers = build_policy(settings)
    app = (build_sse_app if is_sse else build_http_app)(server, settings, callers)
    if callers.notice:
        announce(callers.notice)
    _reload_on_hangup(callers.reload)
    under_way = partial(getattr, server.meter, "under_way")
    return _run_app(app, settings, "/sse" if is_sse else "/mcp", under_way, server.calls.end)


def _reload_on_hangup(reload: Callable[[], None]) -> None:
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, lambda *_: reload())


def _run_app(
    app: Any,
    settings: Settings,
    path: str,
    calls_under_way: Callable[[], int] = lambda: 0,
    end_calls: Callable[[], None] = lambda: None,
) -> int:
    """Serve an application until a signal ends it."""
    from gateway_metrics_mcp.http.shutdown import GracefulServer  # only for HTTP

    server = GracefulServer(
        app, drain_s=settings.drain, calls_under_way=calls_under_way, end_calls=end_calls
    )
    # uvicorn sends itself the signal that ended it: an asked end is no failure.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with _listen(settings.host, settings.port) as listener, suppress(KeyboardInterrupt):
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        url = f"http://{host}:{listener.getsockname()[1]}{path}"
        announce(f"listening at {url}")
        gc.freeze()  # what is there by now stays: looking through it holds every request up
        server.run([listener])
    gc.unfreeze()  # the engine misses what is not freed at the end, and says so
    return 0


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = error.strerror or "not possible"
        raise SettingsError(f"cannot listen on {host} port {port}: {reason}") from None


def serve_api(settings: Settings) -> int:
    """Serve the metrics query API from an engine; the exit code."""
    from gateway_metrics_mcp.auth.tokens import TokenFile  # likewise
    from gateway_metrics_mcp.http.api import build_api  # only for this command
    from gateway_metrics_mcp.http.openapi import PATH  # likewise

    if settings.tokens is None and not is_loopback(settings.host):
        raise SettingsError(f"listening on {settings.host} needs --tokens: anyone could ask")
    book = TokenFile(settings.tokens)
    if settings.tokens is None:
        text = "no --tokens: everyone who reaches it is a tenant admin"
        announce(text)
    _reload_on_hangup(book.reload)
    return _run_app(build_api(settings, book.current), settings, PATH)
