"""Graceful shutdown over HTTP: running calls get time to finish, then everything is closed."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from time import monotonic
from typing import Any, Final

import uvicorn
from sse_starlette.sse import AppStatus

from gateway_metrics_mcp.http.middleware import Service
from gateway_metrics_mcp.runtime.concurrency import STOPPING

_LOOK_EVERY_S: Final = 0.05
_QUIET_LOOKS: Final = 3
_FAREWELL_S: Final = 1
"""Time to send the responses of ended calls, and as much again to close the streams."""
_START: Final = "http.response.start"


class GracefulServer(uvicorn.Server):
    """At a signal, streams stay open while calls are running, for up to `drain_s` seconds.

    sse-starlette would cut all streams at once, with the responses in them; waiting for all of them
    would hang on idle ones. Calls that are still running then are ended by the service with an
    error, and uvicorn cancels the rest, such as a request whose body never arrives.
    """

    def __init__(self, app: Any, service: Service, *, drain_s: int) -> None:
        self._app = app
        self._service = service
        self._drain_s = drain_s
        self._is_over = False
        config = uvicorn.Config(
            self._say_goodbye,
            interface="asgi3",
            # Not httptools, which uvicorn takes wherever it is installed: it reads headers without
            # any limit, before a caller is known. h11 refuses them beyond 64 KB.
            http="h11",
            log_config=None,
            timeout_graceful_shutdown=drain_s + 2 * _FAREWELL_S,
            server_header=False,
        )
        super().__init__(config)
        # sse-starlette's own handling of shutdown would end all streams at the signal.
        AppStatus.disable_automatic_graceful_drain()  # type: ignore[no-untyped-call]  # its own

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting connections, let running calls finish, and close."""
        ending = asyncio.create_task(self._end_streams())
        self._is_over = True
        await super().shutdown(sockets)
        ending.cancel()

    async def _end_streams(self) -> None:
        await self._quiet(self._drain_s)
        self._service.calls.end()
        await self._quiet(_FAREWELL_S)
        AppStatus.should_exit = True

    async def _quiet(self, patience_s: int) -> None:
        """Wait until several looks in a row find no call: an SSE response follows its call."""
        quiet, end = 0, monotonic() + patience_s
        while quiet < _QUIET_LOOKS and monotonic() < end:
            await asyncio.sleep(_LOOK_EVERY_S)
            quiet = 0 if self._service.meter.under_way else quiet + 1

    async def _say_goodbye(self, scope: Any, receive: Any, send: Any) -> None:
        """Run the application; a request cut off by shutdown still gets a 503, a stream its end."""
        has_begun = is_complete = False

        async def watch(message: Any) -> None:
            nonlocal has_begun, is_complete
            if has_begun and message["type"] == _START:
                return  # the SDK's SSE sends a second response after its stream
            has_begun = True
            is_complete = not message.get("more_body", message["type"] == _START)
            await send(message)

        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            await self._app(scope, receive, watch)
        except asyncio.CancelledError:
            if not self._is_over:
                raise
        if self._is_over and not is_complete:
            # The client may have disconnected.
            with suppress(asyncio.CancelledError, Exception):
                await _close(send, has_begun=has_begun)


async def _close(send: Any, *, has_begun: bool) -> None:
    """End a stream, or refuse a request that got no response yet."""
    text = b"" if has_begun else f"{STOPPING}\n".encode()
    if not has_begun:
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(text)).encode()),
            (b"retry-after", b"60"),
            (b"connection", b"close"),
        ]
        await send({"type": _START, "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": text})
