"""One connection to the gateway, kept open: httpx's transport without the pool it goes through."""

from __future__ import annotations

import ssl
import zlib
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator
from time import monotonic
from typing import Final, cast

import httpcore
import httpx

from gateway_metrics_mcp.errors import ResponseTooLargeError, UnreadableResponseError

_KEEPALIVE_S: Final = 30
_MOST_IDLE: Final = 200
_ERRORS: Final = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
)
"""What httpcore raises, with all that is made of these; httpx has each under the same name."""


class ConnectionTransport(httpx.AsyncBaseTransport):
    """Sends one request at a time over one connection, which is opened anew once it is closed.

    A pool of httpcore's takes as long for its own upkeep as a request over a connection does;
    here each request in flight has a connection to itself. What came after the end of an answer
    belongs to nobody: that connection is not used again.
    """

    def __init__(self, url: httpx.URL, tls: ssl.SSLContext) -> None:
        self._origin = _target(url).origin
        self._tls = tls
        self._connection: httpcore.AsyncHTTPConnection | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The response; its body is to be read, and closed, before the next request.

        Raises:
            httpx.TransportError: as httpx's own transports do.
        """
        wanted = httpcore.Request(
            request.method,
            _target(request.url),
            headers=request.headers.raw,
            content=cast("AsyncIterable[bytes]", request.stream),
            extensions=request.extensions,
        )
        connection = await self._connect()
        try:
            response = await connection.handle_async_request(wanted)
        except Exception as error:
            raise _translate(error) from error
        return httpx.Response(response.status, headers=response.headers, stream=_Body(response))

    async def aclose(self) -> None:
        """Close the connection, if it is open."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.aclose()

    async def _connect(self) -> httpcore.AsyncHTTPConnection:
        """The open connection, unless it was closed meanwhile, by either side."""
        kept = self._connection
        is_whole = kept is not None and kept.is_available() and not kept.has_expired()
        if kept is not None and is_whole and not _has_rest(kept):
            return kept
        await self.aclose()
        self._connection = httpcore.AsyncHTTPConnection(
            self._origin, ssl_context=self._tls, keepalive_expiry=_KEEPALIVE_S
        )
        return self._connection


class _Body(httpx.AsyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._response.aiter_stream():
                yield part
        except Exception as error:
            raise _translate(error) from error

    async def aclose(self) -> None:
        await self._response.aclose()


class IdleTransports:
    """Transports between two requests, each for whoever used it before and for nobody else.

    What a gateway sends too late, or a proxy mixes up, then reaches no other caller.
    """

    def __init__(self) -> None:
        self._idle: deque[tuple[bytes, float, httpx.AsyncBaseTransport]] = deque()

    def take(self, owner: bytes) -> httpx.AsyncBaseTransport | None:
        """The one that this owner put back last."""
        for position in range(len(self._idle) - 1, -1, -1):
            if self._idle[position][0] == owner:
                transport = self._idle[position][2]
                del self._idle[position]
                return transport
        return None

    async def put(self, owner: bytes, transport: httpx.AsyncBaseTransport) -> None:
        """Keep one; those that nobody came back for are closed."""
        now = monotonic()
        expired = now - _KEEPALIVE_S
        self._idle.append((owner, now, transport))
        # While one is being closed, others may be taken.
        while self._idle and (len(self._idle) > _MOST_IDLE or self._idle[0][1] < expired):
            await self._idle.popleft()[2].aclose()

    async def aclose(self) -> None:
        """Close all."""
        while self._idle:
            await self._idle.popleft()[2].aclose()


def _has_rest(connection: httpcore.AsyncHTTPConnection) -> bool:
    """Whether bytes were read beyond the last answer; httpcore asks only the socket for them."""
    rest, _ = connection._connection._h11_state.trailing_data  # type: ignore[union-attr]  # noqa: SLF001
    return bool(rest)


def _target(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(
        scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
    )


def _translate(error: Exception) -> Exception:
    """Httpx's error for httpcore's of the same name; others as they are."""
    if not isinstance(error, _ERRORS):
        return error
    return cast("Exception", getattr(httpx, type(error).__name__)(str(error)))


_GZIP: Final = 31  # zlib's word for: a gzip header, the largest window


async def unpack(chunks: AsyncIterable[bytes], encoding: str, limit: int) -> AsyncIterator[bytes]:
    """The body's bytes; at most `limit` and one more are ever unpacked.

    httpx's own decoder unpacks a whole chunk, a thousandfold where it is meant to harm, and
    takes a gzip stream that ends early for a whole one.

    Raises:
        ResponseTooLargeError: once the unpacked bytes are more than the limit.
        UnreadableResponseError: if the packing is unknown, damaged or cut short.
    """
    if encoding not in ("identity", "gzip"):
        raise UnreadableResponseError("the gateway's answer is packed in a way nobody asked for")
    unpacker = zlib.decompressobj(_GZIP) if encoding == "gzip" else None
    size = 0
    async for chunk in chunks:
        try:
            part = chunk if unpacker is None else unpacker.decompress(chunk, limit - size + 1)
        except zlib.error:
            raise UnreadableResponseError("the gateway's answer is no sound gzip") from None
        size += len(part)
        if size > limit:
            raise ResponseTooLargeError(
                f"the gateway's answer is larger than {limit:,} bytes: ask for a shorter time "
                "range, a wider interval or fewer groups"
            )
        yield part
        if unpacker is not None and unpacker.unused_data:
            raise UnreadableResponseError("the gateway's answer goes on after its gzip end")
    if unpacker is not None and not unpacker.eof:
        raise UnreadableResponseError("the gateway's answer ends before its gzip does")
