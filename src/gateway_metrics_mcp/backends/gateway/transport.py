"""Connections to the gateway, kept for one caller each, and bounded unpacking of responses.

One connection is used without the pool of httpx's own transport.
"""

from __future__ import annotations

import asyncio
import ssl
import zlib
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator
from time import monotonic
from typing import Final, cast

import anyio
import httpcore
import httpx

from gateway_metrics_mcp.errors import ResponseTooLargeError, UnreadableResponseError

KEEPALIVE_S: Final = 30
_MOST_IDLE: Final = 200


class RequestBody:
    """A request body that detects a response which arrived before the request was sent.

    Bytes that a gateway sends after the end of a response would be read as the response to the
    next request on that connection, which httpx does not check. Such a response is read without a
    turn of the event loop; a real one has to come from the network, which takes a turn.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.has_waited = False
        """Whether the event loop has turned since the body was sent."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.has_waited = False
        yield self._content
        asyncio.get_running_loop().call_soon(setattr, self, "has_waited", True)


class IdleTransports:
    """Idle transports, each reused only by the caller that used it before.

    A late or misdirected response therefore never reaches another caller.
    """

    def __init__(self) -> None:
        self._idle: deque[tuple[bytes, float, httpx.AsyncBaseTransport]] = deque()

    def take(self, owner: bytes) -> httpx.AsyncBaseTransport | None:
        """The transport that this owner put back last; None without one."""
        for position in range(len(self._idle) - 1, -1, -1):
            if self._idle[position][0] == owner:
                transport = self._idle[position][2]
                del self._idle[position]
                return transport
        return None

    async def put(self, owner: bytes, transport: httpx.AsyncBaseTransport) -> None:
        """Keep a transport; close those that are expired or too many."""
        now = monotonic()
        expired = now - KEEPALIVE_S
        self._idle.append((owner, now, transport))
        # Checked again after each: others may be taken while one is being closed.
        while self._idle and (len(self._idle) > _MOST_IDLE or self._idle[0][1] < expired):
            await self._idle.popleft()[2].aclose()

    async def aclose(self) -> None:
        """Close all idle transports."""
        while self._idle:
            await self._idle.popleft()[2].aclose()


async def unpack(chunks: AsyncIterable[bytes], encoding: str, limit: int) -> AsyncIterator[bytes]:
    """The decompressed body; never more than `limit` + 1 bytes are decompressed.

    httpx's own decoder decompresses a whole chunk, which a gzip bomb makes a thousand times
    larger, and accepts a gzip stream that ends early.

    Raises:
        ResponseTooLargeError: if the body exceeds the limit.
        UnreadableResponseError: if the encoding is unknown, damaged or cut short.
    """
    if encoding not in ("identity", "gzip"):
        raise UnreadableResponseError("the gateway's answer has an encoding that was not requested")
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS) if encoding == "gzip" else None
    size = 0
    async for chunk in chunks:
        try:
            part = chunk if unpacker is None else unpacker.decompress(chunk, limit - size + 1)
        except zlib.error:
            raise UnreadableResponseError("the gateway's answer is not valid gzip") from None
        size += len(part)
        if size > limit:
            raise ResponseTooLargeError(
                f"the gateway's answer is larger than {limit:,} bytes: ask for a shorter time "
                "range, a wider interval or fewer groups"
            )
        yield part
        if unpacker is not None and unpacker.unused_data:
            raise UnreadableResponseError("the gateway's answer continues after its gzip data ends")
    if unpacker is not None and not unpacker.eof:
        raise UnreadableResponseError("the gateway's answer ends before its gzip data does")


_ERRORS: Final = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
)
"""The base classes of httpcore's errors; httpx has each of them under the same name."""


class ConnectionTransport(httpx.AsyncBaseTransport):
    """Sends one request at a time to one origin, over one HTTP/1.1 connection without a proxy.

    A pool of one connection has nothing to choose from, and its bookkeeping takes about a seventh
    of a request's processor time. The connection is opened with the first request, and again if it
    has expired, was closed by either side, or has unread bytes in its socket.
    """

    def __init__(self, url: httpx.URL, tls: ssl.SSLContext) -> None:
        self._origin = _target(url).origin
        self._tls = tls
        self._connection: httpcore.AsyncHTTPConnection | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The response; read and close its body before the next request.

        Raises:
            httpx.TransportError: as httpx's own transport does; the connection is closed then.
        """
        sent = httpcore.Request(
            request.method,
            _target(request.url),
            headers=request.headers.raw,
            content=cast("AsyncIterable[bytes]", request.stream),
            extensions=request.extensions,
        )
        connection = await self._connect()
        try:
            response = await connection.handle_async_request(sent)
        except BaseException as error:
            with anyio.CancelScope(shield=True):
                await self.aclose()
            if isinstance(error, _ERRORS):
                raise _translate(error) from error
            raise
        return httpx.Response(response.status, headers=response.headers, stream=_Body(response))

    async def aclose(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.aclose()

    async def _connect(self) -> httpcore.AsyncHTTPConnection:
        """The kept connection if it is usable, else a new one that is not open yet."""
        kept = self._connection
        if kept is not None and kept.is_available() and not kept.has_expired():
            return kept
        await self.aclose()
        self._connection = httpcore.AsyncHTTPConnection(
            self._origin, ssl_context=self._tls, keepalive_expiry=KEEPALIVE_S
        )
        return self._connection


class _Body(httpx.AsyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._response.aiter_stream():
                yield part
        except _ERRORS as error:
            raise _translate(error) from error

    async def aclose(self) -> None:
        # Shielded: a cancelled close would leave a half-read connection open.
        with anyio.CancelScope(shield=True):
            await self._response.aclose()


def _target(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(
        scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
    )


def _translate(error: Exception) -> httpx.TransportError:
    """The error of httpx that corresponds to one of httpcore."""
    translated: httpx.TransportError = getattr(httpx, type(error).__name__)(str(error))
    return translated
