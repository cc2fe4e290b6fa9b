"""The request instead of the answer: nothing was run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from gateway_metrics_mcp.query.model import Query
from gateway_metrics_mcp.query.result import Result, key_names_of
from gateway_metrics_mcp.rendering.budget import TokenBudget
from gateway_metrics_mcp.rendering.cells import keep_on_line, quote_text
from gateway_metrics_mcp.rendering.column_notes import measure_notes
from gateway_metrics_mcp.rendering.header import write_header
from gateway_metrics_mcp.reports.plan import Step, list_added, list_later_calls
from gateway_metrics_mcp.reports.report import Report
from gateway_metrics_mcp.reports.request import ReportRequest


def write_plan(
    request: ReportRequest,
    steps: Sequence[Step],
    show: Callable[[Query], str],
    *,
    now: datetime,
    budget: int,
    calls_left: int,
    notes: Sequence[str] = (),
) -> str:
    """The resolved window, what was added and why, and each request as it would be sent.

    A request beyond the budget is left out whole, and said to be.
    """
    result = Result(key_names_of(request.query, request.datasource), (), ())
    report = Report(request, result, None, now, ())
    calls = sum(step.times for step in steps)
    later = list_later_calls(request, calls_left)
    lines = [
        write_header(report, "not run"),
        f"# upstream calls: {calls}; {'; '.join(later) or 'no more'}",
        f"# rows to expect: {_expect(request)}",
        *(f"# {keep_on_line(f'added {text}')}" for text in list_added(request)),
        *(f"# {keep_on_line(text)}" for text in (*measure_notes(report), *notes)),
        *(f"# {keep_on_line(text)}" for text in request.window.notes),
    ]
    room = TokenBudget(budget)
    room.take(*lines)
    for number, step in enumerate(steps, 1):
        times = f" ({step.times} times)" if step.times > 1 else ""
        block = f"## {number}. {keep_on_line(step.purpose)}{times}\n{show(step.query)}"
        if room.fits(block):
            lines.append(block)
        else:
            lines.append(f"## {number}. {keep_on_line(step.purpose)}{times}: too long to show")
    return "\n".join(lines)


def _expect(request: ReportRequest) -> str:
    """Rows times buckets, as far as they are known before asking."""
    buckets, fields = request.buckets, request.query.group_by
    groups = (
        f"the groups of {', '.join(map(quote_text, fields))}, not known before asking"
        if fields
        else "1"
    )
    if buckets is None:
        return groups
    count = buckets.count_buckets(request.query.start_ts, request.query.end_ts)
    of = f"at most {count} buckets of {request.query.interval}"
    return f"{of} x {groups}" if fields else of
