"""The HTTP server: its connections, and graceful shutdown.

At shutdown running calls get time to finish, then everything is closed.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from contextlib import suppress
from math import inf
from time import monotonic
from typing import Any, ClassVar, Final

import h11
import uvicorn
from sse_starlette.sse import AppStatus
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway_metrics_mcp.http.middleware import Service
from gateway_metrics_mcp.runtime.concurrency import STOPPING
from gateway_metrics_mcp.runtime.network import count_connections, count_own_files

logger = logging.getLogger(__name__)

_LOOK_EVERY_S: Final = 0.05
_QUIET_LOOKS: Final = 3
_FAREWELL_S: Final = 1
"""Time to send the responses of ended calls, and as much again to close the streams."""
_START: Final = "http.response.start"
_BACKLOG: Final = 128
"""Connections that wait until they are accepted."""
_TELL_EVERY_S: Final = 60


class _OneAtATime(FlowControl):
    """Reads no further while a request waits for the response to the one before it.

    uvicorn reads on whenever the application waits for a message, and keeps all that it has read.
    """

    def __init__(self, transport: asyncio.Transport, conn: h11.Connection) -> None:
        super().__init__(transport)
        self._conn = conn

    def resume_reading(self) -> None:
        """Read on, unless a request waits."""
        is_responding = self._conn.our_state in (h11.SEND_RESPONSE, h11.SEND_BODY)
        is_read = self._conn.their_state is h11.DONE
        if self.read_paused and not (is_responding and is_read and self._conn.trailing_data[0]):
            super().resume_reading()


class BoundedConnection(H11Protocol):
    """A connection with time limits for headers and for reading answers, which uvicorn's have not.

    Where the process's files run out, the one that has waited longest for its headers is closed.
    """

    headers_s: ClassVar[float] = 10
    """From the connection, or the last response, until the next request's headers are complete.

    Also the longest pause of a client who reads an answer: the request holds a place till the end.
    """
    _timer: asyncio.TimerHandle | None = None
    _unread = inf
    """Bytes that the client had not read yet at the last look."""
    began = 0.0

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way: the headers of the next are not complete."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: Any) -> None:
        """Make room for the connection, and start its time."""
        if len(self.connections) >= count_connections():
            idle = [c for c in self.connections if isinstance(c, BoundedConnection) and c.is_idle]
            oldest = min(idle, key=lambda c: c.began, default=None)
            if oldest is None:
                transport.abort()
            else:
                oldest.transport.abort()
                self.connections.discard(oldest)
        super().connection_made(transport)
        self.flow = _OneAtATime(transport, self.conn)
        self._start_time()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the time with the connection."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Start the time of the next request."""
        super().on_response_complete()
        self._start_time()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, and give up the request under way, whose response is cut off."""
        if not self.is_idle:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
            self._look_later()
        else:
            self.transport.abort()

    def pause_writing(self) -> None:
        """Start the time of a client who has not read what was sent."""
        super().pause_writing()
        self._unread = self.transport.get_write_buffer_size()
        self._look_later()

    def _start_time(self) -> None:
        self.began, self._unread = self.loop.time(), inf
        self._look_later()

    def _look_later(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(self.headers_s, self._close_idle)

    def _close_idle(self) -> None:
        """Close the connection unless a request is under way, or a response is still being read."""
        unread = self.transport.get_write_buffer_size()
        if not (self.is_idle or self.flow.write_paused or self.transport.is_closing()):
            return
        if 0 < unread < self._unread:
            self._unread = unread
            self._look_later()
        else:
            self.transport.abort()


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
        self._told_at = -inf
        config = uvicorn.Config(
            self._say_goodbye,
            interface="asgi3",
            # Not httptools, which uvicorn takes wherever it is installed: it reads headers without
            # any limit, before a caller is known. h11 refuses them beyond 64 KB.
            http=BoundedConnection,
            # asyncio accepts as many at a time. Of uvicorn's 2048 each would be a traceback where
            # no file is free.
            backlog=max(count_own_files() // 8, 1),
            log_config=None,
            timeout_graceful_shutdown=drain_s + 2 * _FAREWELL_S,
            server_header=False,
        )
        super().__init__(config)
        # sse-starlette's own handling of shutdown would end all streams at the signal.
        AppStatus.disable_automatic_graceful_drain()  # type: ignore[no-untyped-call]  # its own

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, with few lines in the log where connections cannot be accepted."""
        asyncio.get_running_loop().set_exception_handler(self._tell_fault)
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(_BACKLOG)  # in place of the number below

    def _tell_fault(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if getattr(context.get("exception"), "errno", None) not in (errno.EMFILE, errno.ENFILE):
            loop.default_exception_handler(context)
        elif loop.time() >= self._told_at + _TELL_EVERY_S:
            self._told_at = loop.time()
            logger.error(
                "no connection can be accepted: too many open files. Raise `ulimit -n`, or lower"
                " --connections"
            )

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
