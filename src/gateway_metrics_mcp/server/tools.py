"""The registry: each tool's name, arguments, annotations and handler, each written once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Final

from mcp_types import Tool as PublishedTool
from mcp_types import ToolAnnotations

from gateway_metrics_mcp.errors import InvalidQueryError, Problems
from gateway_metrics_mcp.query.caller import Caller
from gateway_metrics_mcp.query.validation import check_size, read_choice
from gateway_metrics_mcp.query.vocabulary import DATASOURCES
from gateway_metrics_mcp.rendering.answer import Answer
from gateway_metrics_mcp.rendering.catalog import write_datasources, write_fields
from gateway_metrics_mcp.rendering.charts.illustrate import illustrate
from gateway_metrics_mcp.rendering.explain import write_plan
from gateway_metrics_mcp.rendering.value_list import Listed, write_values
from gateway_metrics_mcp.reports.arguments import (
    Arguments,
    DistributionArguments,
    ListFieldsArguments,
    ListValuesArguments,
    QueryArguments,
    TimeseriesArguments,
    read_arguments,
    unfold,
)
from gateway_metrics_mcp.reports.executor import QueryExecutor
from gateway_metrics_mcp.reports.listing import fetch_values, read_listing
from gateway_metrics_mcp.reports.request import (
    ParserOptions,
    ReportRequest,
    read_distribution,
    read_timeseries,
)
from gateway_metrics_mcp.reports.rows_uri import write_link
from gateway_metrics_mcp.runtime.logs import describe_call
from gateway_metrics_mcp.runtime.tasks import run_in_thread_if_large
from gateway_metrics_mcp.runtime.tracing import trace_step
from gateway_metrics_mcp.server.context import ToolContext, hide_addresses
from gateway_metrics_mcp.server.masking import EmailMask
from gateway_metrics_mcp.server.texts import read_prompt
from gateway_metrics_mcp.server.view.page import link_view

Handler = Callable[[ToolContext, Mapping[str, Any], Caller], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool; its description is `prompts/tools/<name>.md`."""

    name: str
    title: str
    arguments: type[Arguments]
    handler: Handler

    async def answer(self, desk: ToolContext, raw: Mapping[str, Any], caller: Caller) -> Answer:
        """The answer; within it addresses are hidden, if they are to be.

        Raises:
            GatewayMetricsError: as the handler does.
        """
        try:
            check_size(unfold(raw), "arguments")
        except InvalidQueryError as error:
            if desk.hiding_key is not None:
                EmailMask(desk.hiding_key).hide_error(error)
            raise
        return await hide_addresses(desk, raw, lambda ours, read: self.handler(ours, read, caller))

    def publish(self, view: str | None = None) -> PublishedTool:
        """The tool as `tools/list` shows it; `view` is the URI of what shows its answers."""
        return PublishedTool(
            name=self.name,
            title=self.title,
            description=read_prompt(f"tools/{self.name}"),
            input_schema=self.arguments.schema_for_clients(),
            annotations=ToolAnnotations(
                read_only_hint=True,
                destructive_hint=False,
                idempotent_hint=True,
                open_world_hint=False,
            ),
            meta=link_view(view) if view and issubclass(self.arguments, QueryArguments) else None,
        )


async def query_distribution(desk: ToolContext, raw: Mapping[str, Any], caller: Caller) -> Answer:
    """One row per group over the window, and the ALL row."""
    now = desk.clock()
    with trace_step("validate"):
        question = read_distribution(raw, desk.terms(), now)
    return await _answer(desk, question, caller, now)


async def query_timeseries(desk: ToolContext, raw: Mapping[str, Any], caller: Caller) -> Answer:
    """One value per bucket and group."""
    now = desk.clock()
    with trace_step("validate"):
        question = read_timeseries(raw, desk.terms(), now)
    return await _answer(desk, question, caller, now)


async def _answer(
    desk: ToolContext, question: ReportRequest, caller: Caller, now: datetime
) -> Answer:
    describe_call(datasource=question.query.datasource)
    backend, catalog = await desk.backend(), desk.terms().catalog
    asker = QueryExecutor(backend, caller, catalog, now, desk.has_all_row, desk.most_calls)
    if question.format == "explain":
        settled, steps, notes = asker.explain(question)
        show = partial(backend.explain, caller=caller)
        left = asker.most_calls - asker.calls
        return Answer(
            write_plan(
                settled, steps, show, now=now, budget=desk.budget, calls_left=left, notes=notes
            )
        )
    asked = await asker.ask(question)
    describe_call(rows=len(asked.result.points))
    with trace_step("render"):
        if desk.has_links:
            asked = replace(asked, link=write_link(asked.request))
        return await illustrate(asked, desk.budget, desk.painter, has_view=desk.has_view)


async def list_fields(desk: ToolContext, raw: Mapping[str, Any], _caller: Caller) -> Answer:
    """The datasources, or the fields of one."""
    problems = Problems()
    arguments = read_arguments(ListFieldsArguments, raw, problems)
    wanted = arguments.datasource
    if wanted is not None:
        read_choice("datasource", wanted, DATASOURCES, problems)
    if problems:
        raise InvalidQueryError(problems)
    catalog = desk.terms().catalog
    if wanted is None:
        return Answer(write_datasources(catalog))
    describe_call(datasource=wanted)
    return Answer(write_fields(wanted, catalog))


async def list_values(desk: ToolContext, raw: Mapping[str, Any], caller: Caller) -> Answer:
    """The values of a field, with how many rows have each."""
    with trace_step("validate"):
        listing = read_listing(raw, desk.terms(), desk.clock())
    describe_call(datasource=listing.query.datasource)
    result = await fetch_values(await desk.backend(), caller, listing)
    describe_call(rows=len(result.points))
    with trace_step("render"):
        rows = len(result.points)
        text = await run_in_thread_if_large(rows, write_values, listing, result, desk.budget)
        return Answer(text, listed=Listed(listing, result))


TOOLS: Final = {
    tool.name: tool
    for tool in (
        Tool("query_distribution", "Metrics by group", DistributionArguments, query_distribution),
        Tool("query_timeseries", "Metrics over time", TimeseriesArguments, query_timeseries),
        Tool("list_fields", "Fields and datasources", ListFieldsArguments, list_fields),
        Tool("list_values", "Values of a field", ListValuesArguments, list_values),
    )
}

READERS: Final[Mapping[str, Callable[[Mapping[str, Any], ParserOptions, datetime], object]]] = {
    "query_distribution": read_distribution,
    "query_timeseries": read_timeseries,
    "list_values": read_listing,
}
"""What checks the arguments of a tool without asking anything."""
