"""The tool registry: each tool's name, arguments, annotations and answer; and what calls share.

Descriptions for models are in prompts/tools/. `ask` uses the same registry.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gateway_metrics_mcp.backends import Backend
from gateway_metrics_mcp.backends.factory import is_demo, name_source
from gateway_metrics_mcp.errors import (
    GatewayMetricsError,
    InvalidQueryError,
    Problems,
    UnknownToolError,
)
from gateway_metrics_mcp.query import Caller, DatasourceName, did_you_mean, load_catalog, quote
from gateway_metrics_mcp.query.validation import check_size, read_datasource
from gateway_metrics_mcp.rendering.answer import Answer, Writer, write_answer
from gateway_metrics_mcp.rendering.catalog import describe_datasources, describe_fields
from gateway_metrics_mcp.rendering.cells import quote_text
from gateway_metrics_mcp.rendering.charts.renderer import ChartRenderer, illustrate
from gateway_metrics_mcp.rendering.document import Words
from gateway_metrics_mcp.rendering.explain import describe_plan
from gateway_metrics_mcp.rendering.report_document import describe_report
from gateway_metrics_mcp.rendering.value_list import describe_values
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
from gateway_metrics_mcp.reports.listing import Listing, fetch_values, read_listing
from gateway_metrics_mcp.reports.request import (
    ParserOptions,
    ReportRequest,
    read_distribution,
    read_timeseries,
)
from gateway_metrics_mcp.reports.rows_uri import write_link
from gateway_metrics_mcp.runtime.concurrency import run_in_thread_if_large
from gateway_metrics_mcp.runtime.logs import describe_call, trace_step
from gateway_metrics_mcp.server.prompts import read_prompt
from gateway_metrics_mcp.server.view_page import link_view
from gateway_metrics_mcp.settings import Settings

if TYPE_CHECKING:
    from mcp_types import Tool as PublishedTool

    from gateway_metrics_mcp.server.masking import EmailMask

_WORDS: Final = Words(link=write_link)
_INVENTED: Final = "demo data, invented"


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What tools, prompts, resources and completions need, built once per server.

    A call's caller is passed beside it.
    """

    settings: Settings
    backend: Callable[[], Awaitable[Backend]]
    """Returns the open backend; the first call opens it."""
    clock: Callable[[], datetime]
    hiding_key: bytes | None = field(default=None, repr=False)
    """The key of the e-mail mask; None if addresses are not masked."""
    charts: ChartRenderer = field(default_factory=ChartRenderer)
    words: Words = _WORDS
    """The terms in which answers name the next request, and the resource with all rows."""
    write: Writer = write_answer
    """Turns a document into an answer; the command `ask` has formats of its own."""

    @property
    def source(self) -> str:
        """What answers name as the source of their figures, made safe to print."""
        name = name_source(self.settings)
        if self.hiding_key is not None:
            from gateway_metrics_mcp.server.masking import EmailMask  # not without masking

            name = EmailMask(self.hiding_key).hide(name)
        shown = [quote_text(name)] if name else []
        # Whatever its name: figures of the demo must never pass for spend.
        return ": ".join([*shown, _INVENTED] if is_demo(self.settings) else shown)

    @property
    def options(self) -> ParserOptions:
        """The options for parsing arguments.

        Raises:
            SettingsError: if the operator's catalog file is invalid. Calls report it, because most
                clients show nothing of a server that fails to start.
        """
        return ParserOptions(
            catalog=load_catalog(self.settings.catalog),
            default_zone=self.settings.timezone,
            allow_unknown=self.settings.unknown_fields == "pass" and self.settings.is_remote,
        )

    async def answer(
        self, raw: Any, work: Callable[[ToolContext, Any], Awaitable[Answer]]
    ) -> Answer:
        """The answer of `work` to the caller's arguments, with addresses masked if configured.

        `work` gets masked arguments and a masking backend.

        Raises:
            GatewayMetricsError: what `work` raises, with its texts masked.
        """
        if self.hiding_key is None:
            return await work(self, raw)
        from gateway_metrics_mcp.server.masking import EmailMask  # not for `ask` without masking

        mask = EmailMask(self.hiding_key)
        try:
            answer = await work(self.masked_by(mask), mask.read(raw))
        except GatewayMetricsError as error:
            mask.hide_error(error)
            raise
        # Rows and arguments are masked already. This covers whatever else a text is made of.
        notes = [*map(mask.hide, answer.notes)]
        return replace(
            answer, text=mask.hide(answer.text), notes=notes, view=mask.read(answer.view)
        )

    def masked_by(self, mask: EmailMask) -> ToolContext:
        """The context of one call, with a backend that returns hashes instead of addresses."""
        if mask.key is None:
            return self
        from gateway_metrics_mcp.server.masking import MaskingBackend  # likewise

        async def open_masked() -> Backend:
            return MaskingBackend(await self.backend(), mask, self.options.catalog)

        return replace(self, backend=open_masked)


class Tool(NamedTuple):
    """One tool; the description that models read is in `prompts/tools/<name>.md`."""

    name: str
    title: str
    arguments: type[Arguments]
    read: Callable[[Mapping[str, Any], ParserOptions, datetime], Any]
    """Validates the arguments without a query; its result is passed to `answer`."""
    answer: Callable[[ToolContext, Any, Caller, datetime], Awaitable[Answer]]

    def publish(self, *, has_view: bool = False) -> PublishedTool:
        """The tool for `tools/list`; `has_view` links query tools to the interactive view."""
        from mcp_types import Tool as PublishedTool  # not for `ask`: the protocol's types are heavy
        from mcp_types import ToolAnnotations

        is_shown = has_view and issubclass(self.arguments, QueryArguments)
        return PublishedTool(
            name=self.name,
            title=self.title,
            description=read_prompt(f"tools/{self.name}"),
            input_schema=self.arguments.schema_for_clients(),
            # Some clients, such as Codex, ask for approval of tools without these hints.
            annotations=ToolAnnotations(
                read_only_hint=True,
                destructive_hint=False,
                idempotent_hint=True,
                open_world_hint=False,
            ),
            meta=link_view() if is_shown else None,
        )


async def answer_call(
    context: ToolContext, name: str, raw: Mapping[str, Any], caller: Caller
) -> Answer:
    """Answer a tool call: validate, query, write; with e-mail addresses masked if configured.

    Raises:
        UnknownToolError: if there is no such tool.
        InvalidQueryError: with every problem of the arguments.
        GatewayMetricsError: if the backend fails.
    """

    async def work(context: ToolContext, call: Any) -> Answer:
        wanted, arguments = call
        tool = TOOLS.get(wanted)
        if tool is None:
            raise UnknownToolError(f"no tool {quote(wanted)}. {did_you_mean(wanted, TOOLS)}")
        # `unfold` parses JSON text within arguments, so that it cannot bypass the size limits.
        check_size(unfold(arguments), "arguments")
        # One `now` for the whole call: its windows and queries must agree.
        now = context.clock()
        with trace_step("validate"):
            question = _read(tool, arguments, context.options, now)
        return await tool.answer(context, question, caller, now)

    # The tool's name is masked too: it is text of the client, and errors repeat it.
    return await context.answer((name, raw), work)


def _read(tool: Tool, raw: Mapping[str, Any], options: ParserOptions, now: datetime) -> Any:
    """The validated question.

    Raises:
        InvalidQueryError: with every problem of the arguments, and the call that was meant.
    """
    try:
        return tool.read(raw, options, now)
    except InvalidQueryError as error:
        from gateway_metrics_mcp.reports.corrections import Reader, correct_call  # only now needed

        readers = {
            name: Reader(other.arguments, _reading(other, options, now))
            for name, other in TOOLS.items()
        }
        error.correction = correct_call(tool.name, raw, readers)
        raise


def _reading(
    tool: Tool, options: ParserOptions, now: datetime
) -> Callable[[Mapping[str, Any]], Any]:
    return lambda raw: tool.read(raw, options, now)


async def _answer_query(
    context: ToolContext, request: ReportRequest, caller: Caller, now: datetime
) -> Answer:
    """The answer of either query tool, as text, with a chart or view if requested."""
    describe_call(datasource=request.query.datasource)
    backend, settings = await context.backend(), context.settings
    catalog = context.options.catalog
    executor = QueryExecutor(backend, caller, catalog, now, settings.all_row, settings.calls)
    if request.format == "explain":
        settled, steps, notes = executor.explain(request)
        show = partial(backend.explain, caller=caller)
        left = executor.most_calls - executor.calls
        plan = describe_plan(
            settled,
            steps,
            show,
            now=now,
            budget=settings.budget,
            calls_left=left,
            notes=notes,
            source=context.source,
        )
        return context.write(plan, settings.budget)
    report = replace(await executor.run(request), source=context.source)
    describe_call(rows=len(report.result.points))
    with trace_step("render"):
        words, write = context.words, context.write
        if request.format != "chart" and not settings.ui:
            return await run_in_thread_if_large(
                len(report.result.points),
                lambda: write(describe_report(report, words), settings.budget),
            )
        return await illustrate(
            report,
            settings.budget,
            context.charts,
            owner=caller.identity,
            has_view=settings.ui,
            words=words,
            write=write,
        )


def _read_fields(
    raw: Mapping[str, Any], _options: ParserOptions, _now: datetime
) -> DatasourceName | None:
    """The datasource whose fields are listed; None for a list of datasources.

    Raises:
        InvalidQueryError: with every problem of the arguments.
    """
    problems = Problems()
    wanted = read_arguments(ListFieldsArguments, raw, problems).datasource
    datasource = None
    if wanted is not None:
        datasource = read_datasource(wanted, problems)
    if problems:
        raise InvalidQueryError(problems)
    return datasource


async def _answer_fields(
    context: ToolContext, datasource: DatasourceName | None, _caller: Caller, _now: datetime
) -> Answer:
    catalog, budget = context.options.catalog, context.settings.budget
    if datasource is None:
        return context.write(describe_datasources(catalog, context.words), budget)
    describe_call(datasource=datasource)
    return context.write(describe_fields(datasource, catalog), budget)


async def _answer_values(
    context: ToolContext, listing: Listing, caller: Caller, _now: datetime
) -> Answer:
    """The answer of `list_values`: a field's values and their row counts."""
    budget = context.settings.budget
    describe_call(datasource=listing.query.datasource)
    result = await fetch_values(await context.backend(), caller, listing)
    rows = len(result.points)
    describe_call(rows=rows)
    describe = partial(
        describe_values,
        listing,
        result,
        context.words,
        source=context.source,
        is_restricted=caller.is_restricted,
    )
    with trace_step("render"):
        return await run_in_thread_if_large(rows, lambda: context.write(describe(), budget))


TOOLS: Final = {
    tool.name: tool
    for tool in (
        Tool(
            "query_distribution",
            "Metrics by group",
            DistributionArguments,
            read_distribution,
            _answer_query,
        ),
        Tool(
            "query_timeseries",
            "Metrics over time",
            TimeseriesArguments,
            read_timeseries,
            _answer_query,
        ),
        Tool(
            "list_fields",
            "Fields and datasources",
            ListFieldsArguments,
            _read_fields,
            _answer_fields,
        ),
        Tool(
            "list_values",
            "Values of a field",
            ListValuesArguments,
            read_listing,
            _answer_values,
        ),
    )
}
