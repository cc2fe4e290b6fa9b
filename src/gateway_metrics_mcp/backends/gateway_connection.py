"""One connection to the gateway, kept open: httpx's transport without the pool it goes through."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterable, AsyncIterator
from typing import Final, cast

import httpcore
import httpx

KEEPALIVE_S: Final = 30
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
    here each request in flight has a connection to itself.
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
        except Exception as error:
            raise _translate(error) from error

    async def aclose(self) -> None:
        await self._response.aclose()


def _target(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(
        scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
    )


def _translate(error: Exception) -> Exception:
    """Httpx's error for httpcore's of the same name; others as they are."""
    if not isinstance(error, _ERRORS):
        return error
    return cast("Exception", getattr(httpx, type(error).__name__)(str(error)))
