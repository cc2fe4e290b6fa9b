"""How much runs at once: in all, and for one caller. What does not fit waits a bounded time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from math import inf
from typing import TypeVar
from weakref import WeakValueDictionary

import anyio
from anyio import to_thread

from gateway_metrics_mcp.errors import BusyError

T = TypeVar("T")


class ConcurrencyLimiter:
    """At most `total` at once and `per_owner` of one owner; the others wait in their order.

    Whoever waits longer than `patience_s` is turned away; with 0, at once.
    """

    def __init__(
        self, total: int, *, per_owner: int | None = None, patience_s: float = inf
    ) -> None:
        self._total = anyio.CapacityLimiter(total)
        self._per_owner = total if per_owner is None else per_owner
        self._patience_s = patience_s
        # A share lives as long as somebody holds or awaits a place of it.
        self._shares: WeakValueDictionary[Hashable, anyio.CapacityLimiter] = WeakValueDictionary()

    @asynccontextmanager
    async def acquire(self, owner: Hashable = None) -> AsyncIterator[None]:
        """Hold one place, of the owner's share and of the total, for the block.

        Raises:
            BusyError: if none came free in time.
        """
        share = self._shares.get(owner)
        if share is None:
            share = self._shares[owner] = anyio.CapacityLimiter(self._per_owner)
        place = object()
        await self._take(share, place)
        try:
            yield
        finally:
            self._total.release_on_behalf_of(place)
            share.release_on_behalf_of(place)

    async def run_in_thread(self, work: Callable[[], T]) -> T:
        """What `work` returns, run in a thread that holds one place of the total.

        Waiting is bounded by the caller's own time limit. A cancelled caller does not wait for
        the thread, which has to be told to end.
        """
        return await to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._total)

    async def _take(self, share: anyio.CapacityLimiter, place: object) -> None:
        if share.available_tokens and self._total.available_tokens:
            # Without a turn of the event loop, which acquire_on_behalf_of always takes.
            share.acquire_on_behalf_of_nowait(place)
            self._total.acquire_on_behalf_of_nowait(place)
            return
        with anyio.move_on_after(self._patience_s):
            # The share first: nobody holds a place of the total while waiting for their own.
            await share.acquire_on_behalf_of(place)
            try:
                await self._total.acquire_on_behalf_of(place)
            except BaseException:
                share.release_on_behalf_of(place)
                raise
            return
        raise BusyError("too many queries at once: ask again in a few seconds")
