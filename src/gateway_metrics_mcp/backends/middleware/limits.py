"""How many calls to the backend are in flight: in all, and of one caller."""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio

from gateway_metrics_mcp.runtime.limits import BusyError


@dataclass(slots=True)
class _Share:
    """The places of one caller, and how many calls have or want one."""

    places: anyio.Semaphore
    users: int = 0


class Limits:
    """At most `most` calls at once and `most_each` of one caller, who wait in their order.

    A caller's own limit comes first, so that nobody holds the common places while waiting.
    """

    def __init__(self, most: int, most_each: int, patience_s: float) -> None:
        self._most_each = most_each
        self._patience_s = patience_s
        self._places = anyio.Semaphore(most, fast_acquire=True)
        self._shares: dict[Hashable, _Share] = {}

    @asynccontextmanager
    async def place(self, caller: Hashable) -> AsyncIterator[None]:
        """A place among the calls in flight.

        Raises:
            BusyError: if none came free in time.
        """
        share = self._shares.get(caller)
        if share is None:
            places = anyio.Semaphore(self._most_each, fast_acquire=True)
            share = self._shares[caller] = _Share(places)
        share.users += 1
        try:
            await self._take(share.places)
            try:
                yield
            finally:
                self._places.release()
                share.places.release()
        finally:
            share.users -= 1
            if not share.users:
                del self._shares[caller]

    async def _take(self, own: anyio.Semaphore) -> None:
        if own.value and self._places.value:  # nobody waits for either
            own.acquire_nowait()
            self._places.acquire_nowait()
            return
        with anyio.move_on_after(self._patience_s):
            await own.acquire()
            try:
                await self._places.acquire()
            except BaseException:
                own.release()
                raise
            return
        raise BusyError("too many questions at once: ask again in a few seconds")
