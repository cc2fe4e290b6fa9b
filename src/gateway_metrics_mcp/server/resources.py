"""The resources: their URIs, descriptions and contents.

The catalog is read from the server; rows are queried again with the arguments in the URI.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import unquote

from anyio import to_thread
from mcp_types import Resource as PublishedResource
from mcp_types import ResourceTemplate

from gateway_metrics_mcp.errors import TooManyRowsError, UnknownResourceError
from gateway_metrics_mcp.query import DATASOURCES, Caller, did_you_mean, quote
from gateway_metrics_mcp.rendering.answer import Answer
from gateway_metrics_mcp.rendering.catalog import describe_datasources, describe_fields
from gateway_metrics_mcp.rendering.document import write_text
from gateway_metrics_mcp.rendering.exports import list_remarks, write_csv
from gateway_metrics_mcp.rendering.report_document import describe_report
from gateway_metrics_mcp.reports.executor import QueryExecutor
from gateway_metrics_mcp.reports.report import Report
from gateway_metrics_mcp.reports.rows_uri import ROWS, TEMPLATE, read_link, read_linked
from gateway_metrics_mcp.runtime.logs import describe_call, trace_step
from gateway_metrics_mcp.server.tools import ToolContext

CATALOG: Final = "gateway-metrics://catalog"
CATALOG_OF: Final = f"{CATALOG}/{{datasource}}"
"""A URI template."""
NOTES_META: Final = "gateway-metrics/notes"
"""The `_meta` key of a CSV's header and notes."""

MOST_BYTES: Final = 5_000_000
"""The most bytes of a CSV: clients hold it in memory."""

_TEXT: Final = "text/markdown"
_CSV: Final = "text/csv"

Reader = Callable[[ToolContext, Any, Caller], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Found:
    """The resource that a URI names."""

    # For metrics and logs, so one of a fixed set and never the client's text.
    name: str
    mime_type: str
    reader: Reader
    raw: Any
    """The rest of the URI: not validated yet, and not masked."""

    async def read(self, context: ToolContext, caller: Caller) -> Answer:
        """The resource's contents, read with the caller's rights.

        Raises:
            GatewayMetricsError: if the URI is invalid or the backend fails.
        """
        return await context.answer(self.raw, lambda ours, raw: self.reader(ours, raw, caller))


def find_resource(uri: str) -> Found:
    """The resource of a URI. An unknown URI gives one whose `read` raises, so it is counted too."""
    if uri == CATALOG:
        return Found("catalog", _TEXT, _read_catalog, None)
    if uri.startswith(f"{CATALOG}/"):
        name = unquote(uri.removeprefix(f"{CATALOG}/"))
        return Found("catalog", _TEXT, _read_datasource, name)
    linked = read_link(uri)
    if linked is not None:
        return Found("rows", _CSV, _read_rows, linked)
    return Found("unknown", _TEXT, _refuse, uri)


def list_resources() -> list[PublishedResource]:
    """The resources with a fixed URI."""
    whole = PublishedResource(
        name="catalog",
        title="Catalog of all datasources",
        uri=CATALOG,
        description="every datasource with its columns, measures, fields, filters and traps",
        mime_type=_TEXT,
    )
    parts = [
        PublishedResource(
            name=f"catalog-{name}",
            title=f"Catalog of {name}",
            uri=f"{CATALOG}/{name}",
            description=f"{name}: columns, measures, group-by fields, filters and traps",
            mime_type=_TEXT,
        )
        for name in DATASOURCES
    ]
    return [whole, *parts]


def list_templates() -> list[ResourceTemplate]:
    """The resource templates."""
    return [
        ResourceTemplate(
            name="catalog-of-datasource",
            title="Catalog of one datasource",
            uri_template=CATALOG_OF,
            description="its columns, measures, group-by fields, filters and traps",
            mime_type=_TEXT,
        ),
        ResourceTemplate(
            name="rows",
            title="All rows of an answer",
            uri_template=TEMPLATE,
            description="CSV of a query asked again; the last line of a cut answer has its URI",
            mime_type=_CSV,
        ),
    ]


async def _read_catalog(context: ToolContext, _raw: Any, _caller: Caller) -> Answer:
    catalog = context.options.catalog
    pages = [describe_datasources(catalog), *(describe_fields(n, catalog) for n in DATASOURCES)]
    return Answer("\n\n".join(map(write_text, pages)))


async def _read_datasource(context: ToolContext, raw: Any, _caller: Caller) -> Answer:
    for name in DATASOURCES:
        if name == raw:
            describe_call(datasource=name)
            return Answer(write_text(describe_fields(name, context.options.catalog)))
    choice = did_you_mean(raw, DATASOURCES)
    raise UnknownResourceError(f"no datasource {quote(raw)}. {choice}")


async def _read_rows(context: ToolContext, raw: Any, caller: Caller) -> Answer:
    """All rows of the query in the URI, as CSV.

    The URI carries the arguments and the server keeps no rows, so any replica can answer it.
    """
    now = context.clock()
    with trace_step("validate"):
        question = read_linked(raw, context.options, now)
    describe_call(datasource=question.query.datasource)
    executor = QueryExecutor(
        await context.backend(),
        caller,
        context.options.catalog,
        now,
        has_all_row=False,  # a CSV has none: programs would add it to the rows
        most_calls=context.settings.calls,
    )
    report = replace(await executor.run(question), source=context.source)
    describe_call(rows=len(report.result.points))
    with trace_step("render"):
        answer = await to_thread.run_sync(_write_rows, report)
    size = len(answer.text.encode())
    if size > MOST_BYTES:
        raise TooManyRowsError(
            f"all rows take {size / 1e6:.1f} MB as CSV, the limit is {MOST_BYTES / 1e6:.0f} MB."
            " Ask for a shorter window, fewer group-by fields, or filter"
        )
    return answer


def _write_rows(report: Report) -> Answer:
    document = describe_report(report)
    text = write_csv(document.columns, document.records())
    order = document.order if len(document.points) > 1 else ""
    return Answer(text, notes=list_remarks(document, order))


async def _refuse(_context: ToolContext, raw: Any, _caller: Caller) -> Answer:
    if str(raw).startswith(ROWS):
        raise UnknownResourceError(
            "not a rows URI: copy the whole URI from the last line of an answer"
        )
    readable = (CATALOG, *(f"{CATALOG}/{name}" for name in DATASOURCES), TEMPLATE)
    raise UnknownResourceError(f"no resource {quote(raw)}. {did_you_mean(raw, readable)}")
