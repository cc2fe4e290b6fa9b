"""One kept connection to the gateway, without the pool of httpx's own transport."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterable, AsyncIterator
from typing import Final, cast

import anyio
import httpcore
import httpx

from gateway_metrics_mcp.backends.gateway.transport import KEEPALIVE_S

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
