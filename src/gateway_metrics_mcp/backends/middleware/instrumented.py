"""A backend as its operators see it: every question to it counted, timed and traced."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from time import perf_counter

import anyio

from gateway_metrics_mcp.backends.base import Backend
from gateway_metrics_mcp.errors import BackendTimeoutError, GatewayMetricsError
from gateway_metrics_mcp.query.caller import Caller
from gateway_metrics_mcp.query.model import Query
from gateway_metrics_mcp.query.result import Result
from gateway_metrics_mcp.query.vocabulary import DatasourceName
from gateway_metrics_mcp.runtime.metrics import CANCELLED, OK, Metrics
from gateway_metrics_mcp.runtime.tracing import trace_step


@dataclass(slots=True)
class _Question:
    """One question under way."""

    code: str = CANCELLED
    is_asked: bool = True


class InstrumentedBackend:
    """Wraps the backend itself.

    Caches and limits belong around it: what counts is what reaches the gateway or the engine.
    """

    def __init__(self, backend: Backend, meter: Metrics) -> None:
        self._backend = backend
        self._meter = meter

    @property
    def description(self) -> str:
        """The backend's own."""
        return self._backend.description

    async def query(self, query: Query, caller: Caller) -> Result:
        """The backend's answer."""
        async with self._measure(query.datasource):
            return await self._backend.query(query, caller)

    def explain(self, query: Query, caller: Caller) -> str:
        """The backend's explanation, which asks nothing."""
        return self._backend.explain(query, caller)

    async def metadata_keys(
        self, datasource: DatasourceName, start: datetime, end: datetime, caller: Caller
    ) -> Result | None:
        """The backend's answer; not counted where it has no way to ask."""
        async with self._measure(datasource) as question:
            result = await self._backend.metadata_keys(datasource, start, end, caller)
            question.is_asked = result is not None
        return result

    async def aclose(self) -> None:
        """Close the backend."""
        await self._backend.aclose()

    @asynccontextmanager
    async def _measure(self, datasource: DatasourceName) -> AsyncIterator[_Question]:
        meter, question, begun = self._meter, _Question(), perf_counter()
        # Asked for now: of a scope that has been cancelled anyio says that it always was.
        deadline = anyio.current_effective_deadline()
        meter.upstream_in_flight += 1
        try:
            with trace_step("upstream", datasource=datasource):
                yield question
            question.code = OK
        except Exception as error:
            question.code = error.code if isinstance(error, GatewayMetricsError) else "internal"
            raise
        except BaseException:
            if anyio.current_time() >= deadline:
                question.code = BackendTimeoutError.code
            raise
        finally:
            meter.upstream_in_flight -= 1
            if question.is_asked:
                meter.count_upstream(question.code, perf_counter() - begun)
