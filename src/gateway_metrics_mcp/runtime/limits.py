"""How many queries run at once; the rest wait a bounded time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from gateway_metrics_mcp.errors import GatewayError


class BusyError(GatewayError):
    """Too many queries at once (503)."""

    code = "busy"


class Admission:
    """At most `most` at once; who waits longer than `patience_s` is turned away."""

    def __init__(self, most: int, patience_s: float) -> None:
        self._limiter = anyio.CapacityLimiter(most)
        self._patience_s = patience_s

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place among those that run.

        Raises:
            BusyError: if none came free in time.
        """
        borrower = object()
        with anyio.move_on_after(self._patience_s) as waiting:
            await self._limiter.acquire_on_behalf_of(borrower)
        if waiting.cancelled_caught:
            raise BusyError("too many queries at once: ask again in a few seconds")
        try:
            yield
        finally:
            self._limiter.release_on_behalf_of(borrower)
