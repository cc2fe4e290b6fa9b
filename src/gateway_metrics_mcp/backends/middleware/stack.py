"""What stands before a backend that many ask: a cache, questions merged, limits, retries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from pydantic_core import to_json

from gateway_metrics_mcp.backends.base import Backend
from gateway_metrics_mcp.backends.middleware.cache import AnswerCache
from gateway_metrics_mcp.backends.middleware.single_flight import SingleFlight
from gateway_metrics_mcp.query.caller import Caller
from gateway_metrics_mcp.query.model import Query
from gateway_metrics_mcp.query.result import Result
from gateway_metrics_mcp.query.vocabulary import DatasourceName
from gateway_metrics_mcp.runtime.limits import ConcurrencyLimiter
from gateway_metrics_mcp.runtime.metrics import Metrics
from gateway_metrics_mcp.settings import Settings

Ask = Callable[[], Awaitable[Result | None]]
Key = tuple[Caller, bytes]
"""Whose question it is, and the question to the letter: as queries 1 and True are equal."""


class BackendStack:
    """A backend asked as seldom as honesty allows: each question by one caller once at a time."""

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
        body = to_json(query.to_body())
        result = await self._answer(body, query.end_ts, caller, self._backend.query, query)
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
        body = to_json(["metadata_keys", datasource, start, end])
        ask = self._backend.metadata_keys
        return await self._answer(body, end, caller, ask, datasource, start, end)

    async def aclose(self) -> None:
        """End the calls in flight, then close the backend."""
        await self._flights.aclose()
        if self._cache is not None:
            self._cache.clear()
        await self._backend.aclose()

    async def _answer(
        self,
        body: bytes,
        end: datetime,
        caller: Caller,
        ask: Callable[..., Awaitable[Result | None]],
        *question: object,
    ) -> Result | None:
        key: Key = (caller, body)
        kept = self._look_up(key)
        if kept is not None:
            return kept

        async def ask_once() -> Result | None:
            async with self._limiter.acquire((caller, caller.owner)):
                return await ask(*question, caller)

        async def ask_and_keep() -> Result | None:
            asked_at = self._clock()
            got = await (ask_once() if self._retry is None else self._retry(ask_once))
            if self._cache is not None and got is not None:
                self._cache.put(key, len(body) + len(caller.token or ""), end, asked_at, got)
            return got

        flight = (key, caller.owner)  # who waits for places of their own waits for no other's
        if self._flights.has(flight):
            self._meter.joined += 1
        return await self._flights.join(flight, ask_and_keep)

    def _look_up(self, key: Key) -> Result | None:
        if self._cache is None:
            return None
        kept = self._cache.get(key)
        self._meter.cache[kept is not None] += 1
        return kept


def wrap_backend(
    backend: Backend,
    settings: Settings,
    clock: Callable[[], datetime],
    meter: Metrics | None = None,
    *,
    is_local: bool = False,
) -> BackendStack:
    """The backend behind all that the settings put before it.

    Retries are for a gateway alone. What a `is_local` backend answers is not kept: it is quick,
    and an import is to be seen at once.
    """
    meter = Metrics() if meter is None else meter
    retry = None
    if settings.is_remote:
        from gateway_metrics_mcp.backends.gateway.retries import Retries  # heavy

        retry = Retries(settings.retries, settings.timeout, meter).run
    cache = None
    if settings.cache_bytes and not is_local:
        cache = AnswerCache(
            settings.cache_bytes,
            closed_s=settings.cache_age_closed,
            open_s=settings.cache_age_open,
            closed_after_s=settings.cache_closed_after,
            clock=clock,
        )
    limiter = ConcurrencyLimiter(
        settings.upstream_calls, per_owner=settings.caller_calls, patience_s=settings.patience
    )
    return BackendStack(backend, limiter, clock, meter, cache=cache, retry=retry)
