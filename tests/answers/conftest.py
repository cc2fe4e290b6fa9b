"""A backend of canned rows, and questions to it through an MCP client in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from mcp.client import Client
from mcp_types import TextContent

from gateway_metrics_mcp.access import Caller
from gateway_metrics_mcp.answers.asked import Asked
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.query.model import Query
from gateway_metrics_mcp.question import Terms, read_distribution, read_timeseries
from gateway_metrics_mcp.result import Result, read_result, value_names_of
from gateway_metrics_mcp.server import build_server
from gateway_metrics_mcp.settings import Settings

NOW: Final = datetime(2026, 7, 15, 9, 30, tzinfo=UTC)

Row = dict[str, Any]
Ask = Callable[..., Awaitable[str]]
MakeAsked = Callable[..., Asked]


class CannedBackend:
    """Answers a grouped question with its rows, and the ungrouped one from the same rows."""

    description = "canned rows"

    def __init__(self, rows: Sequence[Row], totals: Row | None = None, **facts: Any) -> None:
        self._rows = rows
        self._totals = totals or {}
        self._facts = facts

    async def query(self, query: Query, caller: Caller) -> Result:
        assert caller.is_tenant_admin
        datasource = load_catalog().datasources[query.datasource]
        is_all = not query.group_by and query.interval is None
        rows = [self._add_up(query)] if is_all and self._rows else self._rows
        result = read_result({"data": {"dataPoints": rows}}, query, datasource)
        return replace(result, **{"is_by_rulings": True, **self._facts})

    async def aclose(self) -> None:
        """Nothing is open."""

    def _add_up(self, query: Query) -> Row:
        """Sums where rows add up, the largest elsewhere, and what the test says instead."""
        added: Row = {}
        for name in value_names_of(query):
            values = [row[name] for row in self._rows if row.get(name) is not None]
            is_sum = name.startswith(("total", "sum", "count")) and "Distinct" not in name
            if any(name in row for row in self._rows):
                added[name] = (sum(values) if is_sum else max(values)) if values else None
        return {**added, **self._totals}


@pytest.fixture(scope="session")
def ask() -> Ask:
    """Ask the tool that fits, of these rows; the answer's text."""

    async def ask(
        rows: Sequence[Row],
        arguments: dict[str, Any],
        *,
        totals: Row | None = None,
        budget: int = 4000,
        all_row: bool = True,
        now: datetime = NOW,
        **facts: Any,
    ) -> str:
        tool = "query_timeseries" if "interval" in arguments else "query_distribution"
        backend = CannedBackend(rows, totals, **facts)
        settings = Settings(budget=budget, all_row=all_row)
        server = build_server(settings, backend=backend, clock=lambda: now)
        async with Client(server) as client:
            result = await client.call_tool(tool, arguments)
        (block,) = result.content
        assert isinstance(block, TextContent)
        assert not result.is_error, block.text
        assert result.structured_content is None
        return block.text

    return ask


@pytest.fixture(scope="session")
def make_asked() -> MakeAsked:
    """What was asked and answered, without a server: for properties over many results."""

    def make_asked(
        rows: Sequence[Row], arguments: dict[str, Any], *, totals: Row | None = None, **facts: Any
    ) -> Asked:
        read = read_timeseries if "interval" in arguments else read_distribution
        question = read(arguments, Terms(load_catalog()), NOW)
        query, datasource = question.query, question.datasource
        result = read_result({"data": {"dataPoints": rows}}, query, datasource)
        row = None if totals is None else tuple(totals[name] for name in result.value_names)
        return Asked(question, replace(result, **facts), row, NOW)

    return make_asked
