"""What is ours about connections to the gateway: who may use a kept one, how much is unpacked."""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator
from time import monotonic
from typing import Final

import httpx

from gateway_metrics_mcp.errors import ResponseTooLargeError, UnreadableResponseError

KEEPALIVE_S: Final = 30
_MOST_IDLE: Final = 200


class RequestBody:
    """A request's body that tells an answer which was there before the request was sent.

    What a gateway sends after the end of an answer would be read as the answer to the next
    request on that connection, and httpx does not look. Such an answer is there without a turn of
    the event loop, which every read from the network takes.
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
        expired = now - KEEPALIVE_S
        self._idle.append((owner, now, transport))
        # While one is being closed, others may be taken.
        while self._idle and (len(self._idle) > _MOST_IDLE or self._idle[0][1] < expired):
            await self._idle.popleft()[2].aclose()

    async def aclose(self) -> None:
        """Close all."""
        while self._idle:
            await self._idle.popleft()[2].aclose()


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
