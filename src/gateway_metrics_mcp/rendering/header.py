"""The header of a report's answer, and the arguments that pin its window."""

from __future__ import annotations

from gateway_metrics_mcp.query import Filter, format_instant
from gateway_metrics_mcp.query.scope import FIELD, VIRTUAL, VIRTUAL_ROWS
from gateway_metrics_mcp.rendering.cells import quote_text
from gateway_metrics_mcp.rendering.document import Header
from gateway_metrics_mcp.reports.report import Report
from gateway_metrics_mcp.reports.request import ReportRequest


def describe_coverage(report: Report) -> Header:
    """The header of the report's answer: the resolved window, filters, scope and row meaning."""
    request = report.request
    query = request.query
    kind = " timeseries" if query.interval is not None else ""
    by = f" by {', '.join(map(quote_text, query.group_by))}" if query.group_by else ""
    # A gateway restricts rows to the token's rights and does not say how.
    sight = "" if report.result.is_by_rulings else ", visible to this token"
    return Header(
        f"{query.datasource}{kind}{by}",
        request.window,
        request.earlier,
        tuple(shown_filters(report)),
        request.scope,
        f"{name_rows(request)}{sight}",
    )


def name_rows(request: ReportRequest) -> str:
    """What a row counts; a virtual model's row stands for all attempts under it."""
    rows = request.datasource.rows
    # `MCP requests of all methods` is no longer true once a filter is set.
    if any(f.field_name != FIELD for f in request.query.filters):
        rows = rows.partition(" of all ")[0]
    if request.scope != VIRTUAL:
        return rows
    return VIRTUAL_ROWS + rows.removeprefix("model calls").partition(",")[0]


def shown_filters(report: Report) -> list[Filter]:
    """The filters, without the one that the header states as its scope."""
    request = report.request
    return [
        f
        for f in request.query.filters
        if request.scope is None or f.field_name != FIELD or f.operator != "IS_NULL"
    ]


def pin_window(request: ReportRequest) -> dict[str, str]:
    """The window as arguments of a call that must see the same window.

    Pins the comparison window too: `previous` of a running month is the same part of the month
    before, but of two instants only the time before them.
    """
    query, earlier = request.query, request.earlier
    pinned = {"startTs": format_instant(query.start_ts), "endTs": format_instant(query.end_ts)}
    if earlier is not None:
        pinned["compareTo"] = "..".join(map(format_instant, (earlier.start, earlier.end)))
    return pinned
