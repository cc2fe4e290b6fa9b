"""What stands before a backend that many ask: a cache, single-flight, limits and retries."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from time import perf_counter
from typing import Final

import anyio
from cachetools import TLRUCache
from pydantic_core import to_json

from gateway_metrics_mcp.backends.base import Backend
from gateway_metrics_mcp.errors import BackendTimeoutError, GatewayMetricsError, UnavailableError
from gateway_metrics_mcp.query import Caller, DataPoint, DatasourceName, Query, Result
from gateway_metrics_mcp.runtime.concurrency import STOPPING, ConcurrencyLimiter
from gateway_metrics_mcp.runtime.logs import trace_step
from gateway_metrics_mcp.runtime.metrics import CANCELLED, OK, Metrics

_ENTRY_BYTES: Final = 1_000
"""Of the key's parts, the entry and its places in the cache's own tables, about."""
_MOST_MEASURED: Final = 1_000


@dataclass(frozen=True, slots=True)
class _Entry:
    result: Result
    asked_at: datetime
    lifetime_s: float
    size: int


class AnswerCache:
    """Results by key, the least recently used left out when they are more than `most_bytes`.

    A window is closed when it ended more than `closed_after_s` ago: its rows are all in. Times are
    the wall clock's; an answer from the future, after it was set back, is none.
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
        """The result and how old it is, if it is still good."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        age_s = (self._clock() - entry.asked_at).total_seconds()
        if age_s < 0:
            self._entries.pop(key, None)
            return None
        return replace(entry.result, age_s=age_s)

    def put(self, key: Hashable, size: int, end: datetime, asked_at: datetime, got: Result) -> None:
        """Keep the answer of a window that ends at `end`; `size` is the key's own."""
        is_closed = end < asked_at - self._closed_after
        lifetime_s = self._closed_s if is_closed else self._open_s
        size += _ENTRY_BYTES + estimate_bytes(got)
        if size <= self._most_bytes:
            self._entries[key] = _Entry(got, asked_at, lifetime_s, size)

    def clear(self) -> None:
        """Keep nothing."""
        self._entries.clear()


def estimate_bytes(result: Result) -> int:
    """The memory of a result, about; of many rows some are measured, evenly spread."""
    points = result.points
    if not points:
        return sys.getsizeof(result)
    step = -(-len(points) // _MOST_MEASURED)
    measured = points[::step]
    rows = sum(map(_bytes_of_row, measured)) * len(points) // len(measured)
    return sys.getsizeof(result) + sys.getsizeof(result.plain_rows()) + rows


def _bytes_of_row(point: DataPoint) -> int:
    own = sys.getsizeof(point) + sys.getsizeof(point.keys) + sys.getsizeof(point.values)
    start = 0 if point.start is None else sys.getsizeof(point.start)
    return own + start + sum(map(sys.getsizeof, (*point.keys, *point.values)))


Ask = Callable[[], Awaitable[Result | None]]


@dataclass(slots=True, eq=False)
class _Flight:
    """One call and how many wait for it; `scope` ends it."""

    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    done: anyio.Event = field(default_factory=anyio.Event)
    waiting: int = 0
    answer: Result | None = None
    failure: BaseException | None = None


class SingleFlight:
    """The calls in flight, by key; a key holds the caller, so that callers never share one.

    A call is a task of its own, not the first asker's: that one may go while others wait. Its
    life is bounded all the same, by the last who waits.
    """

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def has(self, key: Hashable) -> bool:
        """Whether the same question is being asked."""
        return key in self._flights

    async def join(self, key: Hashable, ask: Ask) -> Result | None:
        """The answer of the call with this key, which is made if there is none.

        Raises:
            GatewayMetricsError: the call's, each waiter one of their own.
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
        """End all calls: whoever waits is told so."""
        for key, flight in list(self._flights.items()):
            await self._end(key, flight)

    def _start(self, key: Hashable, ask: Ask) -> _Flight:
        flight = self._flights[key] = _Flight()
        task = asyncio.create_task(self._run(key, flight, ask))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return flight

    async def _run(self, key: Hashable, flight: _Flight, ask: Ask) -> None:
        flight.failure = UnavailableError(STOPPING)
        try:
            with flight.scope:
                flight.answer = await ask()
                flight.failure = None
        except Exception as error:  # noqa: BLE001 - raised again by each who waits
            flight.failure = error
        finally:
            self._forget(key, flight)
            flight.done.set()

    async def _end(self, key: Hashable, flight: _Flight) -> None:
        """Cancel the call, and wait until it has let go of what it holds."""
        self._forget(key, flight)
        flight.scope.cancel()
        with anyio.CancelScope(shield=True):
            await flight.done.wait()

    def _forget(self, key: Hashable, flight: _Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]


def _renew(error: BaseException) -> BaseException:
    """An equal error without a traceback: each raise adds to the one it has."""
    if not isinstance(error, GatewayMetricsError):
        return error
    renewed = type(error).__new__(type(error), *error.args)
    renewed.__dict__.update(error.__dict__)
    return renewed


class BackendStack:
    """A backend asked as seldom as honesty allows: each query by one caller once at a time.

    The order is: cache, single-flight, retries, limits, counts. A try that waits to be sent again
    holds no place, and each try counts.
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
        """That of the backend behind it."""
        return self._backend.description

    async def query(self, query: Query, caller: Caller) -> Result:
        """The rows, from the cache where it has them; `age_s` says so.

        Raises:
            BusyError: if too many calls are in flight for too long.
            GatewayMetricsError: as the backend does.
        """

        async def ask() -> Result:
            return await self._backend.query(query, caller)

        # As JSON: as queries, 1 and True are equal.
        body = to_json(query.to_body())
        result = await self._answer(ask, caller, body, query.datasource, query.end_ts)
        if result is None:
            raise TypeError("a query has a result")
        return result

    def explain(self, query: Query, caller: Caller) -> str:
        """What the backend behind it would be sent."""
        return self._backend.explain(query, caller)

    async def metadata_keys(
        self, datasource: DatasourceName, start: datetime, end: datetime, caller: Caller
    ) -> Result | None:
        """The keys, on the same way as the rows of a query.

        Raises:
            GatewayMetricsError: as `query` does.
        """

        async def ask() -> Result | None:
            return await self._backend.metadata_keys(datasource, start, end, caller)

        body = to_json(["metadata_keys", datasource, start, end])
        return await self._answer(ask, caller, body, datasource, end)

    async def aclose(self) -> None:
        """End the calls in flight, then close the backend."""
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
        # The limits are the owner's: whoever waits for a place of their own waits for no other's.
        owner = (caller, caller.owner)

        async def ask_once() -> Result | None:
            async with self._limiter.acquire(owner):
                with measure_upstream(self._meter, datasource) as call:
                    got = await ask()
                    call.is_asked = got is not None
                return got

        async def ask_and_keep() -> Result | None:
            asked_at = self._clock()
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
    """One call to the backend; a backend that has no way to answer was not asked."""

    code: str = CANCELLED
    is_asked: bool = True


@contextmanager
def measure_upstream(meter: Metrics, datasource: DatasourceName) -> Iterator[UpstreamCall]:
    """Count, time and trace what reaches the gateway or the engine."""
    call, begun = UpstreamCall(), perf_counter()
    # Asked for now: of a scope that has been cancelled anyio says that it always was.
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
        if anyio.current_time() >= deadline:  # ended by the time limit, not by the asker
            call.code = BackendTimeoutError.code
        raise
    finally:
        meter.upstream_in_flight -= 1
        if call.is_asked:
            meter.count_upstream(call.code, perf_counter() - begun)
