"""Concurrency: work in threads, cancellation at shutdown, progress reports, and limits."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import copy_context
from functools import partial
from math import inf
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Final, ParamSpec, TypeVar
from weakref import finalize

import anyio
from anyio import to_thread

from gateway_metrics_mcp.errors import BackendTimeoutError, BusyError, UnavailableError

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


MOST_STUCK: Final = 4
"""Threads of one owner that may hang before more work of it is refused."""
_GRACE_S: Final = 0.5
"""How long cancelled work may take to end before its thread is abandoned."""
_INTERRUPT_EVERY_S: Final = 0.005
_INTERRUPT_STUCK_EVERY_S: Final = 0.25


class _Worker(threading.Thread):
    """A daemon thread: the end of the process does not wait for it, should it hang."""

    def __init__(self, idle: list[_Worker]) -> None:
        """`idle` takes the thread between its jobs."""
        super().__init__(name="worker that may hang", daemon=True)
        self._idle = idle
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self.is_busy = False
        self.start()

    def run(self) -> None:
        """Do one job after another, until the thread is stopped."""
        while (job := self._jobs.get()) is not None:
            job()
            del job  # or its results live until the next

    def give(self, work: Callable[[], T]) -> Future[T]:
        """Have work done next; the thread is idle before its outcome is known."""
        done: Future[T] = Future()
        done.set_running_or_notify_cancel()  # from here on it cannot be cancelled
        self.is_busy = True
        self._jobs.put(partial(self._do, work, done))
        return done

    def stop(self) -> None:
        """End the thread after its job."""
        self._jobs.put(None)

    def _do(self, work: Callable[[], T], done: Future[T]) -> None:
        try:
            settle = partial(done.set_result, work())
        except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
            settle = partial(done.set_exception, error)
        self.is_busy = False
        self._idle.append(self)
        settle()
        del settle, done  # a failure's traceback holds this frame


class AbandonableThreads:
    """Runs work that may never return, as when storage hangs: such a thread is abandoned.

    anyio's threads would keep the process from ending, and their callers from timing out.
    """

    def __init__(self) -> None:
        self._idle: list[_Worker] = []
        self._stuck: Counter[str] = Counter()
        self._watches: set[asyncio.Task[None]] = set()
        finalize(self, _stop_all, self._idle)

    def is_stuck(self, owner: str) -> bool:
        """Whether a thread of this owner hangs."""
        return self._stuck[owner] > 0

    async def run(
        self, work: Callable[[], T], *, owner: str, interrupt: Callable[[], None] | None = None
    ) -> T:
        """Run `work` in a thread. `owner` names whose it is, in errors.

        If the caller is cancelled, `interrupt` is called until the work ends. If it does not, its
        thread is abandoned, and `interrupt` is called now and then.

        Raises:
            UnavailableError: if `MOST_STUCK` threads of this owner hang.
            Exception: any that `work` raises.
        """
        if self._stuck[owner] >= MOST_STUCK:
            raise UnavailableError(
                f"{self._stuck[owner]} earlier questions about {owner} cannot be stopped: its"
                " storage may not answer. Ask again when one has ended, or the operator of this"
                " server has mended the storage"
            )
        worker = self._idle.pop() if self._idle else _Worker(self._idle)
        done = worker.give(partial(copy_context().run, work))
        try:
            return await asyncio.wrap_future(done)
        except asyncio.CancelledError:
            await self._let_go(done, owner, interrupt or (lambda: None))
            raise

    async def _let_go(self, done: Future[T], owner: str, interrupt: Callable[[], None]) -> None:
        end = monotonic() + _GRACE_S
        with anyio.CancelScope(shield=True):
            while not done.done() and monotonic() < end:
                interrupt()
                await anyio.sleep(_INTERRUPT_EVERY_S)
        if done.done():
            return
        logger.warning("a thread that waits for %s was abandoned: it cannot be stopped", owner)
        self._stuck[owner] += 1
        watch = asyncio.create_task(self._watch(done, owner, interrupt))
        self._watches.add(watch)  # the event loop alone holds tasks weakly
        watch.add_done_callback(self._watches.discard)

    async def _watch(self, done: Future[T], owner: str, interrupt: Callable[[], None]) -> None:
        while not done.done():
            interrupt()
            await asyncio.sleep(_INTERRUPT_STUCK_EVERY_S)
        self._stuck[owner] -= 1
        logger.warning("a thread that waited for %s has ended", owner)


def _stop_all(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.stop()


@contextmanager
def limit_opening(limit_s: float) -> Iterator[None]:
    """The time limit of opening a backend.

    Raises:
        BackendTimeoutError: if the block takes longer.
    """
    try:
        with anyio.fail_after(limit_s):
            yield
    except TimeoutError:
        raise _tell_slow_opening(limit_s) from None


def open_in_thread(limit_s: float, work: Callable[[], T]) -> T:
    """Open a backend in a thread, which is abandoned if it takes longer; outside an event loop.

    Raises:
        BackendTimeoutError: if it does.
        Exception: any that `work` raises.
    """
    try:
        return run_with_heartbeat(limit_s, lambda _: work())
    except TimeoutError:
        raise _tell_slow_opening(limit_s) from None


def run_with_heartbeat(limit_s: float, work: Callable[[Callable[[], None]], T]) -> T:
    """Run `work` in a thread, which is abandoned if it is silent for longer; outside an event loop.

    `work` is given a function to call now and then, which shows that it is getting on.

    Raises:
        TimeoutError: if it is silent.
        Exception: any that `work` raises.
    """
    said: SimpleQueue[Future[T] | None] = SimpleQueue()
    worker = _Worker([])
    done = worker.give(lambda: work(lambda: said.put(None)))
    done.add_done_callback(said.put)
    try:
        while said.get(timeout=limit_s) is None:
            pass
    except Empty:
        raise TimeoutError from None
    worker.stop()
    return done.result()


def _tell_slow_opening(limit_s: float) -> BackendTimeoutError:
    return BackendTimeoutError(
        f"the backend could not be opened within {limit_s:g} s: its storage may not answer"
    )


def end_if_stuck(code: int) -> None:
    """End the process at once if a thread hangs: the interpreter's exit could wait for it."""
    busy = [thread for thread in threading.enumerate() if isinstance(thread, _Worker)]
    if not any(worker.is_busy for worker in busy):
        return
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    logging.shutdown()
    os._exit(code)


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
    """At most `total` tasks at once, and `per_owner` of one owner; others wait for their turn.

    A free place goes to an owner who holds the fewest, among those to one who got none for longest:
    nobody waits in another's queue. An owner's own tasks go in order. A task that waits longer than
    `patience_s` seconds is refused; with 0, immediately.
    """

    def __init__(
        self, total: int, *, per_owner: int | None = None, patience_s: float = inf
    ) -> None:
        self._free = total
        self._per_owner = total if per_owner is None else per_owner
        self._patience_s = patience_s
        self._held: Counter[Hashable] = Counter()
        self._turn = 0
        self._turns: dict[Hashable, int] = {}
        """The last turn of each owner who holds or awaits a place."""
        self._waiting: dict[anyio.Event, Hashable] = {}
        self._threads = anyio.CapacityLimiter(inf)

    @asynccontextmanager
    async def acquire(self, owner: Hashable = None) -> AsyncIterator[None]:
        """Hold one place for the block.

        Raises:
            BusyError: if none became free within `patience_s`.
        """
        if self._free and self._held[owner] < self._per_owner:
            self._take(owner)
        else:
            await self._wait(owner)
        try:
            yield
        finally:
            self._give_back(owner)

    async def run_in_thread(self, work: Callable[[], T], owner: Hashable = None) -> T:
        """Run `work` in a thread that holds one place.

        If the caller is cancelled, the thread runs on: the caller has to make it end.

        Raises:
            BusyError: if none became free within `patience_s`.
            Exception: any that `work` raises.
        """
        async with self.acquire(owner):
            return await to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._threads)

    async def _wait(self, owner: Hashable) -> None:
        called = anyio.Event()
        self._waiting[called] = owner
        try:
            with anyio.move_on_after(self._patience_s):
                await called.wait()
        except BaseException:
            if called.is_set():
                self._give_back(owner)
            raise
        finally:
            self._waiting.pop(called, None)
            self._forget(owner)
        if not called.is_set():
            raise BusyError("too many queries at once: ask again in a few seconds")

    def _take(self, owner: Hashable) -> None:
        self._free -= 1
        self._held[owner] += 1
        self._turn += 1
        self._turns[owner] = self._turn

    def _give_back(self, owner: Hashable) -> None:
        self._free += 1
        self._held[owner] -= 1
        while self._free and (called := self._choose()):
            self._take(self._waiting.pop(called))
            called.set()
        self._forget(owner)

    def _choose(self) -> anyio.Event | None:
        """Who waits and is next, of those whose owner may have another place."""
        ready = [one for one, whose in self._waiting.items() if self._held[whose] < self._per_owner]
        return min(ready, key=self._rank, default=None)

    def _rank(self, called: anyio.Event) -> tuple[int, int]:
        owner = self._waiting[called]
        return self._held[owner], self._turns.get(owner, 0)

    def _forget(self, owner: Hashable) -> None:
        if not self._held[owner]:
            del self._held[owner]
            if owner not in self._waiting.values():
                self._turns.pop(owner, None)
