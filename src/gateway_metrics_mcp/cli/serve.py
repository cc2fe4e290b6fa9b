"""The commands `serve` and `api`: start a server and run it until a signal.

Heavy modules are imported inside functions, so that each command loads only its own.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio

from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.query import API_PATH
from gateway_metrics_mcp.runtime.logs import announce
from gateway_metrics_mcp.runtime.network import allow_connections
from gateway_metrics_mcp.settings import (
    CLICKHOUSE_PASSWORD_FILE,
    PREFIX,
    Settings,
    flag_names,
    warn_of_readers,
)

if TYPE_CHECKING:
    from gateway_metrics_mcp.cli.front import Front

_GARBAGE_OBJECTS: Final = 50_000
"""New objects after which an HTTP server collects garbage. Python's 700 are less than two calls
make, and collecting took a sixth of a call's processor time. What is freed later is small: the
SDK's objects of a request refer to each other, its rows are not among them."""


def serve(settings: Settings, front: Front | None = None, config: str | None = None) -> int:
    """Serve MCP over stdio or HTTP until a signal or the end of stdin; returns the exit code.

    `front` answers a stdio client's first requests before the SDK can; `config` is the settings
    file.
    """
    if settings.transport == "stdio":
        # The thread that reads stdin cannot be interrupted: let Ctrl-C end the process at once.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if (
        front is not None
        and not front.is_answering
        and not (settings.transport == "stdio" and settings.front)
    ):
        front = None
    from gateway_metrics_mcp.server.app import build_server  # mcp takes half a second

    if front is not None:
        front.keep_for(*_list_files(settings, config))
    server = build_server(settings)
    gc.freeze()  # later collections skip everything imported so far
    gc.enable()
    if settings.transport != "stdio":
        return _serve_mcp(server, settings)
    with front or nullcontext():
        anyio.run(server.run_stdio_async)
    return 0


def _list_files(settings: Settings, config: str | None) -> tuple[list[str], list[str]]:
    """The files that a start reads: those whose text matters, and those with secrets."""
    named = {
        name: path for name in flag_names() if isinstance(path := getattr(settings, name), Path)
    }
    shown = [str(named.pop(name)) for name in ("catalog", "prompts") if name in named]
    if settings.hide_emails and settings.hide_emails_key is None:
        from gateway_metrics_mcp.server.masking import find_made_key  # the server has it already

        named["hide_emails_key"] = find_made_key()
    config = config or os.environ.get(f"{PREFIX}CONFIG")
    secrets = [*named.values(), *filter(None, [os.environ.get(CLICKHOUSE_PASSWORD_FILE)])]
    return [*shown, *filter(None, [config])], [str(path) for path in secrets]


def _serve_mcp(server: Any, settings: Settings) -> int:
    from gateway_metrics_mcp.auth.factory import build_policy  # likewise
    from gateway_metrics_mcp.http.transports import build_http_app, build_sse_app  # likewise

    settings = _fit_to_files(settings)
    is_sse = settings.transport == "sse"
    policy = build_policy(settings)
    app = (build_sse_app if is_sse else build_http_app)(server, settings, policy)
    return _run_app(app, server, settings, policy, "/sse" if is_sse else "/mcp")


def serve_api(settings: Settings) -> int:
    """Serve the metrics query API from an engine until a signal; returns the exit code."""
    from gateway_metrics_mcp.auth.factory import build_policy  # likewise
    from gateway_metrics_mcp.http.api import MetricsApi, build_api_app  # only for this command

    settings = _fit_to_files(settings)
    policy = build_policy(settings)
    api = MetricsApi(settings)
    return _run_app(build_api_app(api, settings, policy), api, settings, policy, API_PATH)


def _fit_to_files(settings: Settings) -> Settings:
    """The settings with as many places as connections can be open: half are for streams."""
    wanted = settings.connections
    # A tenth is room for connections that hold no place: refused ones, probes, half-open ones.
    possible = allow_connections(-(-wanted * 22 // 10)) * 10 // 22
    if possible >= wanted:
        return settings
    announce(
        f"too few files may be open for --connections {wanted}: {possible} requests and as many"
        f" streams are served at once. Raise `ulimit -n` to {wanted * 3}"
    )
    return settings.model_copy(update={"connections": possible})


def _run_app(app: Any, service: Any, settings: Settings, policy: Any, path: str) -> int:
    """Serve an application until a signal stops it."""
    from gateway_metrics_mcp.http.shutdown import GracefulServer  # only for HTTP

    # uvicorn would log request paths, and those of SSE contain session ids. Calls are logged by us.
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
    if policy.notice:
        announce(policy.notice)
    if policy.file is not None:
        warn_of_readers([policy.file.path])
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, lambda *_: policy.reload())
    server = GracefulServer(app, service, drain_s=settings.drain)
    # uvicorn raises the signal again when it ends. As an interrupt it is suppressed below, so that
    # the exit code of a requested stop is 0.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with listen(settings.host, settings.port) as listener, suppress(KeyboardInterrupt):
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        announce(f"listening at http://{host}:{listener.getsockname()[1]}{path}")
        gc.freeze()  # long-lived objects: scanning them on every collection would delay requests
        gc.set_threshold(_GARBAGE_OBJECTS)
        server.run([listener])
    gc.unfreeze()  # else the engine warns at exit about objects that were not freed
    return 0


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        SettingsError: if the address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        reason = error.strerror or "not possible"
        raise SettingsError(f"cannot listen on {host} port {port}: {reason}") from None
    # asyncio sets this only on sockets made with an explicit protocol. Without it the last part of
    # each response waits about 40 ms for the client's delayed acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
