"""Concurrency: work in threads, cancellation at shutdown, progress reports, and limits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from math import inf
from typing import Final, ParamSpec, TypeVar
from weakref import WeakValueDictionary

import anyio
from anyio import to_thread

from gateway_metrics_mcp.errors import BusyError, UnavailableError

logger = logging.getLogger(__name__)

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")
Report = Callable[[float, float | None, str | None], Awaitable[None]]

STOPPING: Final = "this server is stopping: ask again in a minute"
PERIOD_S: Final = 1.0
_MANY: Final = 2_000
"""Below this many rows the work is quicker than starting a thread."""


async def run_in_thread_if_large(
    rows: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Run `work`, in a thread if it has many rows, so that it does not block the event loop.

    Raises:
        Exception: any that `work` raises.
    """
    if rows < _MANY:
        return work(*args, **kwargs)
    return await to_thread.run_sync(lambda: work(*args, **kwargs), abandon_on_cancel=True)


MOST_AT_ONCE: Final = 6
"""Of the queries of one report."""


async def run_all(run: Callable[[S], Awaitable[T]], given: Sequence[S]) -> list[T]:
    """The results in the order of what is given, at most MOST_AT_ONCE running at once.

    Raises:
        Exception: the first failure, outside any group; the others are then cancelled.
    """
    if len(given) == 1:  # spares a task group in the most frequent case
        return [await run(given[0])]
    results: dict[int, T] = {}
    failures: list[Exception] = []
    waiting = iter(range(len(given)))

    async def work() -> None:
        for position in waiting:
            try:
                results[position] = await run(given[position])
            except Exception as error:  # noqa: BLE001 - raised again below, without a group around it
                # The whole has failed, so nothing more is asked.
                failures.append(error)
                group.cancel_scope.cancel()
                return

    async with anyio.create_task_group() as group:
        for _ in range(min(len(given), MOST_AT_ONCE) - 1):
            group.start_soon(work)
        await work()
    if failures:
        raise failures[0]
    return [results[position] for position in range(len(given))]


class ShutdownScope:
    """Cancels all running work at once when the server stops."""

    def __init__(self) -> None:
        self._scopes: set[anyio.CancelScope] = set()
        self._is_over = False

    @contextmanager
    def until_the_end(self) -> Iterator[None]:
        """Run the block, unless the server stops first.

        Raises:
            UnavailableError: if it stops.
        """
        scope = anyio.CancelScope()
        if self._is_over:  # a request that was accepted just before the end
            scope.cancel()
        self._scopes.add(scope)
        try:
            with scope:
                yield
        finally:
            self._scopes.discard(scope)
        if scope.cancelled_caught:
            raise UnavailableError(STOPPING)

    def end(self) -> None:
        """Cancel all running work, and any that starts later."""
        self._is_over = True
        for scope in list(self._scopes):
            scope.cancel()


async def report_while(work: Callable[[], Awaitable[T]], report: Report) -> T:
    """Await `work`; report the elapsed seconds every second until it returns.

    Most calls take less than a second: they cost a timer and no task.
    """
    tasks: list[asyncio.Task[None]] = []

    def begin() -> None:
        tasks.append(asyncio.create_task(_report(report)))

    timer = asyncio.get_running_loop().call_later(PERIOD_S, begin)
    try:
        return await work()
    finally:
        timer.cancel()
        for task in tasks:
            task.cancel()


async def _report(report: Report) -> None:
    passed = 0
    while True:
        passed += 1
        try:
            await report(passed, None, f"waiting for the backend, {passed} s so far")
        except Exception:  # noqa: BLE001 - the client may be gone; the call still runs on
            logger.debug("progress could not be reported")
            return
        await asyncio.sleep(PERIOD_S)


class ConcurrencyLimiter:
    """At most `total` tasks at once, and `per_owner` of one owner; others wait in order.

    A task that waits longer than `patience_s` seconds is refused; with 0, immediately.
    """

    def __init__(
        self, total: int, *, per_owner: int | None = None, patience_s: float = inf
    ) -> None:
        self._total = anyio.CapacityLimiter(total)
        self._per_owner = total if per_owner is None else per_owner
        self._patience_s = patience_s
        # Weak, so that an owner's share is freed when no task holds or awaits it.
        self._shares: WeakValueDictionary[Hashable, anyio.CapacityLimiter] = WeakValueDictionary()

    @asynccontextmanager
    async def acquire(self, owner: Hashable = None) -> AsyncIterator[None]:
        """Hold one place, of the owner's share and of the total, for the block.

        Raises:
            BusyError: if none became free within `patience_s`.
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
        """Run `work` in a thread that holds one place of the total.

        The caller's own time limit bounds the wait. If the caller is cancelled, the thread runs
        on and keeps its place: the caller has to make it end.
        """
        return await to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._total)

    async def _take(self, share: anyio.CapacityLimiter, place: object) -> None:
        if share.available_tokens and self._total.available_tokens:
            # Saves a turn of the event loop, which acquire_on_behalf_of always takes.
            share.acquire_on_behalf_of_nowait(place)
            self._total.acquire_on_behalf_of_nowait(place)
            return
        with anyio.move_on_after(self._patience_s):
            # The share first, so that an owner who waits for it holds no place of the total.
            await share.acquire_on_behalf_of(place)
            try:
                await self._total.acquire_on_behalf_of(place)
            except BaseException:
                share.release_on_behalf_of(place)
                raise
            return
        raise BusyError("too many queries at once: ask again in a few seconds")
