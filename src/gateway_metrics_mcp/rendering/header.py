"""The header of a report's answer: what it covers, and the arguments that pin it down."""

from __future__ import annotations

from gateway_metrics_mcp.query import Filter, format_instant
from gateway_metrics_mcp.query.validation import FIELD, VIRTUAL, VIRTUAL_ROWS
from gateway_metrics_mcp.rendering.cells import quote_text
from gateway_metrics_mcp.rendering.document import Header
from gateway_metrics_mcp.reports.report import Report
from gateway_metrics_mcp.reports.request import ReportRequest


def describe_coverage(report: Report) -> Header:
    """What the answer covers."""
    request = report.request
    query = request.query
    kind = " timeseries" if query.interval is not None else ""
    by = f" by {', '.join(map(quote_text, query.group_by))}" if query.group_by else ""
    # A gateway counts what the token may see, and does not say what that is.
    sight = "" if report.result.is_by_rulings else ", as far as this token may see"
    return Header(
        f"{query.datasource}{kind}{by}",
        request.window,
        request.earlier,
        tuple(shown_filters(report)),
        request.scope,
        f"{name_rows(request)}{sight}",
    )


def name_rows(request: ReportRequest) -> str:
    """What a row is; one of a virtual model stands for all attempts under it."""
    rows = request.datasource.rows
    if any(f.field_name != FIELD for f in request.query.filters):
        rows = rows.partition(" of all ")[0]
    if request.scope != VIRTUAL:
        return rows
    return VIRTUAL_ROWS + rows.removeprefix("model calls").partition(",")[0]


def shown_filters(report: Report) -> list[Filter]:
    """Without the one that the scope phrase stands for."""
    request = report.request
    return [
        f
        for f in request.query.filters
        if request.scope is None or f.field_name != FIELD or f.operator != "IS_NULL"
    ]


def pin_window(request: ReportRequest) -> dict[str, str]:
    """The window as arguments, for a call that has to see the same one.

    The earlier one too: what was the previous period is none before a window of two instants.
    """
    query, earlier = request.query, request.earlier
    pinned = {"startTs": format_instant(query.start_ts), "endTs": format_instant(query.end_ts)}
    if earlier is not None:
        pinned["compareTo"] = "..".join(map(format_instant, (earlier.start, earlier.end)))
    return pinned
