"""`check`: tries the configured backend and says what works and what does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gateway_metrics_mcp.access import LOCAL
from gateway_metrics_mcp.backends import Backend
from gateway_metrics_mcp.backends.opening import open_backend
from gateway_metrics_mcp.errors import GatewayMetricsError
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.query.model import Query
from gateway_metrics_mcp.query.vocabulary import DATASOURCES
from gateway_metrics_mcp.settings import Settings


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried."""

    what: str
    is_good: bool
    detail: str

    def __str__(self) -> str:
        return f"{'ok  ' if self.is_good else 'FAIL'}  {self.what}: {self.detail}"


async def check(
    settings: Settings, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> list[Finding]:
    """Open the backend and ask each datasource for its rows of the last 24 hours."""
    try:
        backend = open_backend(settings, load_catalog(settings.catalog), clock)
    except GatewayMetricsError as error:
        return [Finding("backend", is_good=False, detail=str(error))]
    findings = [Finding("backend", is_good=True, detail=backend.description)]
    try:
        findings += [await _try(backend, query) for query in _questions(clock())]
    finally:
        await backend.aclose()
    if all("has no table" in finding.detail for finding in findings[1:]):
        findings.append(Finding("data", is_good=False, detail="none of the tables is there"))
    return findings


def _questions(now: datetime) -> Iterator[Query]:
    for datasource in DATASOURCES:
        yield Query(
            datasource=datasource,
            type="distribution",
            start_ts=now - timedelta(days=1),
            end_ts=now,
        )


async def _try(backend: Backend, query: Query) -> Finding:
    try:
        result = await backend.query(query, LOCAL)
    except GatewayMetricsError as error:
        return Finding(query.datasource, is_good=False, detail=str(error))
    rows = result.points[0].values[0] if result.points and result.value_names else 0
    detail = f"{rows} rows in the last 24 hours"
    notes = f" ({'; '.join(result.notes)})" if result.notes else ""
    return Finding(query.datasource, is_good=True, detail=detail + notes)
