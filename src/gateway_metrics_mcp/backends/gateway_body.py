"""A response body, unpacked as it arrives and never larger than its limit."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterable, AsyncIterator
from typing import Final

from gateway_metrics_mcp.errors import ResponseTooLargeError, UnreadableResponseError

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
