"""A backend of canned rows, and questions to it through an MCP client in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from mcp.client import Client
from mcp_types import TextContent

from gateway_metrics_mcp.query.catalog import Datasource, load_catalog
from gateway_metrics_mcp.query.model import LOCAL, Caller, Filter, Query
from gateway_metrics_mcp.query.result import DataPoint, Result, read_result, value_names_of
from gateway_metrics_mcp.query.vocabulary import DatasourceName
from gateway_metrics_mcp.rendering.document import Note
from gateway_metrics_mcp.rendering.report_document import ReportDocument
from gateway_metrics_mcp.reports.assembly import assemble, choose_values
from gateway_metrics_mcp.reports.plan import QueryRole
from gateway_metrics_mcp.reports.report import Report
from gateway_metrics_mcp.reports.request import (
    ParserOptions,
    ReportRequest,
    read_distribution,
    read_timeseries,
)
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.server.tools import ToolContext, answer_call
from gateway_metrics_mcp.settings import Settings

NOW: Final = datetime(2026, 7, 15, 9, 30, tzinfo=UTC)
SIDE: Final = ("virtualModelName", "IS_NULL")
"""The filter that stays when the others are dropped."""

Row = dict[str, Any]
Ask = Callable[..., Awaitable[str]]
ReadNotes = Callable[..., Awaitable[list[Note]]]
MakeAsked = Callable[..., Report]


class CannedBackend:
    """Answers a grouped question with its rows, and the others from the same rows.

    The ungrouped one with their sum; which groups a timeseries has with one row for each; which
    of a filter's values are there with all of them, unless `present` says which; and a question
    with fewer filters than the first one with the rows of `unfiltered`, where the test gives them.
    Metadata keys can be listed only where the test gives some.
    """

    description = "canned rows"
    is_by_rulings = False

    def __init__(
        self,
        rows: Sequence[Row],
        totals: Row | None = None,
        *,
        present: Sequence[str] | None = None,
        unfiltered: Sequence[Row] | None = None,
        metadata_keys: Sequence[str] | None = None,
        **facts: Any,
    ) -> None:
        self._rows = rows
        self._totals = totals or {}
        self._present = present
        self._unfiltered = unfiltered
        self._metadata_keys = metadata_keys
        self._facts = facts
        self._first: frozenset[Filter] | None = None

    async def query(self, query: Query, caller: Caller) -> Result:
        assert caller.is_tenant_admin
        datasource = load_catalog().datasources[query.datasource]
        rows = [{**_count_all(row, query), **row} for row in self._answer(query, datasource)]
        result = read_result({"data": {"dataPoints": rows}}, query, datasource)
        return replace(result, **{"is_by_rulings": True, **self._facts})

    def explain(self, query: Query, caller: Caller) -> str:
        raise NotImplementedError

    async def metadata_keys(
        self, datasource: DatasourceName, start: datetime, end: datetime, caller: Caller
    ) -> Result | None:
        del datasource, start, end, caller
        if self._metadata_keys is None:
            return None
        points = tuple(DataPoint((key,), (1,)) for key in self._metadata_keys)
        return Result(("metadata",), ("total",), points)

    async def aclose(self) -> None:
        """Nothing is open."""

    def _answer(self, query: Query, datasource: Datasource) -> Sequence[Row]:
        """The rows of the question, or of one of ours beside it."""
        filters = frozenset(query.filters)
        if self._first is None:
            self._first = filters
        own = {f for f in filters if (f.field_name, f.operator) != SIDE}
        if own < self._first and filters != self._first and self._unfiltered is not None:
            assert not own
            return self._unfiltered
        if query.interval is not None or not self._rows:
            return self._rows
        if not query.group_by:
            return [self._add_up(query)]
        names = [datasource.response_key(name) for name in query.group_by]
        if all("startTimestamp" in row or "timestamp" in row for row in self._rows):
            groups = {tuple(row.get(name) for name in names) for row in self._rows}
            return [{**dict(zip(names, group, strict=True)), "total": 1} for group in groups]
        asked = [f for f in query.filters if f.field_name == query.group_by[0]]
        is_presence = asked and not query.aggregations and names[0] not in self._rows[0]
        if is_presence and isinstance(asked[0].value, tuple):
            present = asked[0].value if self._present is None else self._present
            return [{names[0]: value, "total": 1} for value in present]
        return self._rows

    def _add_up(self, query: Query) -> Row:
        """Sums where rows add up, the largest elsewhere, and what the test says instead."""
        added: Row = {}
        for name in value_names_of(query):
            values = [row[name] for row in self._rows if row.get(name) is not None]
            is_sum = name.startswith(("total", "sum", "count")) and "Distinct" not in name
            if any(name in row for row in self._rows):
                added[name] = (sum(values) if is_sum else max(values)) if values else None
        return {**added, **self._totals}


def ungrouped(question: ReportRequest) -> ReportRequest:
    """The same of all groups together."""
    return replace(question, query=question.query.model_copy(update={"group_by": ()}))


def _read(question: ReportRequest, rows: Sequence[Row]) -> Result:
    """Rows as a gateway's answer to the question."""
    query = question.query
    body = {"data": {"dataPoints": [{**_count_all(row, query), **row} for row in rows]}}
    return replace(read_result(body, query, question.datasource), is_by_rulings=True)


def _count_all(row: Row, query: Query) -> Row:
    """Counts of columns that the test leaves open: every row has a value."""
    counts = [a.key for a in query.aggregations if a.type == "count"]
    return dict.fromkeys(counts, row.get("total"))


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
def read_notes() -> ReadNotes:
    """Ask the tool that fits, of these rows; what its answer says beside them, as data."""

    async def read_notes(
        rows: Sequence[Row], arguments: dict[str, Any], **facts: Any
    ) -> list[Note]:
        async def open_backend() -> CannedBackend:
            return CannedBackend(rows, **facts)

        context = ToolContext(Settings(), open_backend, lambda: NOW)
        tool = "query_timeseries" if "interval" in arguments else "query_distribution"
        answer = await answer_call(context, tool, arguments, LOCAL)
        assert isinstance(answer.document, ReportDocument)
        return [*answer.document.verdict, *answer.document.notes]

    return read_notes


@pytest.fixture(scope="session")
def make_asked() -> MakeAsked:
    """What was asked and answered, without a server: for properties over many results."""

    def make_asked(
        rows: Sequence[Row], arguments: dict[str, Any], *, totals: Row | None = None, **facts: Any
    ) -> Report:
        read = read_timeseries if "interval" in arguments else read_distribution
        question = read(arguments, ParserOptions(load_catalog()), NOW)
        answers = {QueryRole(): _read(question, rows)}
        if totals is not None:
            answers[QueryRole(is_ungrouped=True)] = _read(ungrouped(question), [totals])
        values = choose_values(question, [answers[QueryRole()]])
        sheet = assemble(question, answers, values)
        result = replace(sheet.result, **facts)
        return Report(question, result, sheet.totals, NOW, values, spelt=sheet.spelt)

    return make_asked
