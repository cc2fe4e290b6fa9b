"""Middleware of every backend: cache, single-flight, retries, limits and counters.

Each is keyed by caller, so callers share no answer and no call (docs/reliability.md).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from threading import Lock
from time import perf_counter
from typing import Final, NamedTuple

import anyio
from cachetools import LRUCache, TLRUCache
from pydantic_core import to_json

from gateway_metrics_mcp.backends.base import Backend
from gateway_metrics_mcp.errors import BackendTimeoutError, GatewayMetricsError, UnavailableError
from gateway_metrics_mcp.query import Caller, DataPoint, DatasourceName, Query, Result
from gateway_metrics_mcp.runtime.concurrency import STOPPING, ConcurrencyLimiter
from gateway_metrics_mcp.runtime.logs import trace_step
from gateway_metrics_mcp.runtime.metrics import CANCELLED, OK, Metrics

_ENTRY_BYTES: Final = 1_000  # about what an entry takes besides its rows: key and tables


class _Entry(NamedTuple):
    result: Result
    asked_at: datetime
    lifetime_s: float
    size: int


class AnswerCache:
    """Results by key, up to `most_bytes` (estimated); the least recently used are evicted.

    A window is closed if it ended more than `closed_after_s` seconds ago, when no more rows are
    expected: its result lives longer. Times are wall-clock times; if the clock was set back, a
    result from the future is discarded.
    """

    def __init__(
        self,
        most_bytes: int,
        *,
        closed_s: float,
        open_s: float,
        closed_after_s: float,
        clock: Callable[[], datetime],
    ) -> None:
        self._most_bytes = most_bytes
        self._closed_s = closed_s
        self._open_s = open_s
        self._closed_after = timedelta(seconds=closed_after_s)
        self._clock = clock
        self._entries: TLRUCache[Hashable, _Entry] = TLRUCache(
            most_bytes,
            ttu=lambda _, entry, __: entry.asked_at.timestamp() + entry.lifetime_s,
            timer=lambda: clock().timestamp(),
            getsizeof=lambda entry: entry.size,
        )

    def get(self, key: Hashable) -> Result | None:
        """The result with its age, if it has not expired."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        age_s = (self._clock() - entry.asked_at).total_seconds()
        if age_s < 0:
            self._entries.pop(key, None)
            return None
        return replace(entry.result, age_s=age_s)

    def put(self, key: Hashable, size: int, end: datetime, asked_at: datetime, got: Result) -> None:
        """Store the result of a window that ends at `end`; `size` is the key's size in bytes."""
        is_closed = end < asked_at - self._closed_after
        lifetime_s = self._closed_s if is_closed else self._open_s
        size += _ENTRY_BYTES + estimate_bytes(got)
        if size <= self._most_bytes:  # the cache raises for an entry larger than itself
            self._entries[key] = _Entry(got, asked_at, lifetime_s, size)

    def clear(self) -> None:
        """Discard all results."""
        self._entries.clear()


FileKey = tuple[bytes, datetime, Caller, tuple[Hashable, ...]]
_FILE_BYTES: Final = 300  # about what a file takes in a key: its path and five numbers


class FileAnswerCache:
    """Answers by question, caller and files, up to `most_bytes` (estimated). Safe in threads.

    No time limit is needed: the key holds each file's identity, so a new, changed or removed file
    makes another key.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._entries: LRUCache[FileKey, tuple[int, Result]] = LRUCache(
            most_bytes, getsizeof=lambda entry: entry[0]
        )
        self._lock = Lock()

    @property
    def is_on(self) -> bool:
        """Whether anything can be kept: if not, files need not be identified."""
        return self._most_bytes > 0

    @staticmethod
    def key_of(
        query: Query, until: datetime, caller: Caller, version: tuple[Hashable, ...]
    ) -> FileKey:
        """The key of an answer from rows before `until`."""
        return query.to_key(), until, caller, version

    def get(self, key: FileKey) -> Result | None:
        """The kept answer, or None."""
        with self._lock:
            entry = self._entries.get(key)
        return None if entry is None else entry[1]

    def put(self, key: FileKey, answer: Result) -> None:
        """Keep an answer, unless it is larger than the cache."""
        size = len(key[0]) + _FILE_BYTES * (1 + len(key[3])) + estimate_bytes(answer)
        with self._lock:
            if size <= self._most_bytes:
                self._entries[key] = size, answer


def estimate_bytes(result: Result) -> int:
    """The estimated memory of a result in bytes; of many rows, an evenly spread sample."""
    points = result.points
    if not points:
        return sys.getsizeof(result)
    measured = points[:: -(-len(points) // 1_000)]
    rows = sum(map(_bytes_of_row, measured)) * len(points) // len(measured)
    return sys.getsizeof(result) + sys.getsizeof(result.plain_rows()) + rows


def _bytes_of_row(point: DataPoint) -> int:
    own = sys.getsizeof(point) + sys.getsizeof(point.keys) + sys.getsizeof(point.values)
    start = 0 if point.start is None else sys.getsizeof(point.start)
    return own + start + sum(map(sys.getsizeof, (*point.keys, *point.values)))


Ask = Callable[[], Awaitable[Result | None]]


@dataclass(slots=True, eq=False)
class _Flight:
    """One call and the number of its waiters; `scope` cancels it."""

    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    done: anyio.Event = field(default_factory=anyio.Event)
    waiting: int = 0
    answer: Result | None = None
    failure: BaseException | None = None


class SingleFlight:
    """Merges identical calls in flight; the key contains the caller, so callers never share one.

    A call is a task of its own rather than part of the first waiter's, who may leave while
    others wait. It is cancelled when its last waiter leaves.
    """

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def has(self, key: Hashable) -> bool:
        """Whether a call with this key is in flight."""
        return key in self._flights

    async def join(self, key: Hashable, ask: Ask) -> Result | None:
        """The result of the call with this key, started if there is none.

        Raises:
            GatewayMetricsError: the call's error, as a copy for each waiter.
        """
        flight = self._flights.get(key) or self._start(key, ask)
        flight.waiting += 1
        try:
            await flight.done.wait()
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.done.is_set():
                await self._end(key, flight)
        if flight.failure is not None:
            raise _renew(flight.failure)
        return flight.answer

    async def aclose(self) -> None:
        """Cancel all calls; their waiters get an UnavailableError."""
        for key, flight in list(self._flights.items()):
            await self._end(key, flight)

    def _start(self, key: Hashable, ask: Ask) -> _Flight:
        flight = self._flights[key] = _Flight()
        task = asyncio.create_task(self._run(key, flight, ask))
        self._tasks.add(task)  # the event loop alone holds tasks weakly
        task.add_done_callback(self._tasks.discard)
        return flight

    async def _run(self, key: Hashable, flight: _Flight, ask: Ask) -> None:
        # Stands if the scope is cancelled, which raises nothing here.
        flight.failure = UnavailableError(STOPPING)
        try:
            with flight.scope:
                flight.answer = await ask()
                flight.failure = None
        except Exception as error:  # noqa: BLE001 - raised again by each waiter
            flight.failure = error
        finally:
            self._forget(key, flight)
            flight.done.set()

    async def _end(self, key: Hashable, flight: _Flight) -> None:
        """Cancel the call, and wait until it has released its resources."""
        self._forget(key, flight)
        flight.scope.cancel()
        with anyio.CancelScope(shield=True):
            await flight.done.wait()

    def _forget(self, key: Hashable, flight: _Flight) -> None:
        if self._flights.get(key) is flight:  # a new call may have the key by now
            del self._flights[key]


def _renew(error: BaseException) -> BaseException:
    """A copy of the error without a traceback, to which each raise would add."""
    if not isinstance(error, GatewayMetricsError):
        return error
    renewed = type(error).__new__(type(error), *error.args)
    renewed.__dict__.update(error.__dict__)
    return renewed


class BackendStack:
    """A backend with its middleware: cache, single-flight, retries, limits, counters.

    Retries come before limits, so a call that waits to be retried holds no place, and before the
    counters, so each attempt counts.
    """

    def __init__(
        self,
        backend: Backend,
        limiter: ConcurrencyLimiter,
        clock: Callable[[], datetime],
        meter: Metrics,
        *,
        cache: AnswerCache | None = None,
        retry: Callable[[Ask], Awaitable[Result | None]] | None = None,
    ) -> None:
        self._backend = backend
        self._limiter = limiter
        self._clock = clock
        self._meter = meter
        self._cache = cache
        self._retry = retry
        self._flights = SingleFlight()

    @property
    def description(self) -> str:
        """The wrapped backend's description."""
        return self._backend.description

    @property
    def is_by_rulings(self) -> bool:
        """As the wrapped backend's."""
        return self._backend.is_by_rulings

    async def query(self, query: Query, caller: Caller) -> Result:
        """The rows; from the cache if it has them, then with `age_s`.

        Raises:
            BusyError: if no place became free in time.
            GatewayMetricsError: as the backend raises.
        """
        ask = partial(self._backend.query, query, caller)
        result = await self._answer(ask, caller, query.to_key(), query.datasource, query.end_ts)
        if result is None:
            raise TypeError("a query has a result")
        return result

    def explain(self, query: Query, caller: Caller) -> str:
        """What the wrapped backend would be sent."""
        return self._backend.explain(query, caller)

    async def metadata_keys(
        self, datasource: DatasourceName, start: datetime, end: datetime, caller: Caller
    ) -> Result | None:
        """The metadata keys, through the same middleware as a query.

        Raises:
            GatewayMetricsError: as `query` raises.
        """
        ask = partial(self._backend.metadata_keys, datasource, start, end, caller)
        body = to_json(["metadata_keys", datasource, start, end])
        return await self._answer(ask, caller, body, datasource, end)

    async def aclose(self) -> None:
        """Cancel the calls in flight, then close the backend."""
        await self._flights.aclose()
        if self._cache is not None:
            self._cache.clear()
        await self._backend.aclose()

    async def _answer(
        self, ask: Ask, caller: Caller, body: bytes, datasource: DatasourceName, end: datetime
    ) -> Result | None:
        key = (caller, body)
        kept = self._look_up(key)
        if kept is not None:
            return kept
        # Owners who share a caller's rights share its cache, but neither limits nor calls in
        # flight: otherwise one owner would wait in another's queue.
        owner = caller.identity

        async def ask_once() -> Result | None:
            async with self._limiter.acquire(owner):
                with measure_upstream(self._meter, datasource) as call:
                    got = await ask()
                    call.is_asked = got is not None
                return got

        async def ask_and_keep() -> Result | None:
            asked_at = self._clock()  # before the call: rows may arrive while it runs
            got = await (ask_once() if self._retry is None else self._retry(ask_once))
            if self._cache is not None and got is not None:
                self._cache.put(key, len(body) + len(caller.token or ""), end, asked_at, got)
            return got

        if self._flights.has((owner, body)):
            self._meter.joined += 1
        return await self._flights.join((owner, body), ask_and_keep)

    def _look_up(self, key: tuple[Caller, bytes]) -> Result | None:
        if self._cache is None:
            return None
        kept = self._cache.get(key)
        self._meter.cache[kept is not None] += 1
        return kept


@dataclass(slots=True)
class UpstreamCall:
    """One call to the backend; `is_asked` is False if the backend cannot list keys."""

    code: str = CANCELLED
    is_asked: bool = True


@contextmanager
def measure_upstream(meter: Metrics, datasource: DatasourceName) -> Iterator[UpstreamCall]:
    """Count, time and trace one call to the backend."""
    call, begun = UpstreamCall(), perf_counter()
    # Read before the call: for a cancelled scope anyio reports a deadline of minus infinity.
    deadline = anyio.current_effective_deadline()
    meter.upstream_in_flight += 1
    try:
        with trace_step("upstream", datasource=datasource):
            yield call
        call.code = OK
    except Exception as error:
        call.code = error.code if isinstance(error, GatewayMetricsError) else "internal"
        raise
    except BaseException:
        if anyio.current_time() >= deadline:  # the time limit ended it, not the caller
            call.code = BackendTimeoutError.code
        raise
    finally:
        meter.upstream_in_flight -= 1
        if call.is_asked:
            meter.count_upstream(call.code, perf_counter() - begun)
