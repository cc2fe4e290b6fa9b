"""A backend behind what stands before it: cache, single-flight, retries, limits and counts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from time import perf_counter

import anyio
from pydantic_core import to_json

from gateway_metrics_mcp.backends.base import Backend
from gateway_metrics_mcp.backends.middleware.cache import AnswerCache
from gateway_metrics_mcp.backends.middleware.single_flight import Ask, SingleFlight
from gateway_metrics_mcp.errors import BackendTimeoutError, GatewayMetricsError
from gateway_metrics_mcp.query.caller import Caller
from gateway_metrics_mcp.query.model import Query
from gateway_metrics_mcp.query.result import Result
from gateway_metrics_mcp.query.vocabulary import DatasourceName
from gateway_metrics_mcp.runtime.limits import ConcurrencyLimiter
from gateway_metrics_mcp.runtime.logs import trace_step
from gateway_metrics_mcp.runtime.metrics import CANCELLED, OK, Metrics


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
