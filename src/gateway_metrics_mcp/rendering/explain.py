"""`format: "explain"`: the queries that would run, as a page. It runs none of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from gateway_metrics_mcp.query import Query, Result
from gateway_metrics_mcp.rendering.cells import keep_on_line, quote_text
from gateway_metrics_mcp.rendering.column_notes import measure_notes
from gateway_metrics_mcp.rendering.document import (
    Block,
    Note,
    Page,
    Section,
    TokenBudget,
    write_lines,
)
from gateway_metrics_mcp.rendering.report_document import describe_coverage
from gateway_metrics_mcp.reports.plan import Step, list_added, list_later_calls
from gateway_metrics_mcp.reports.report import Report
from gateway_metrics_mcp.reports.request import ReportRequest


def describe_plan(
    request: ReportRequest,
    steps: Sequence[Step],
    show: Callable[[Query], str],
    *,
    now: datetime,
    budget: int,
    calls_left: int,
    notes: Sequence[str] = (),
    source: str = "",
) -> Page:
    """The resolved window, what was added and why, and each query as it would be sent.

    `show` writes a query in the backend's form. A query beyond `budget` tokens is replaced by a
    line that says so: half a query could not be run.
    """
    result = Result(request.key_names, (), ())
    report = Report(request, result, None, now, (), source=source)
    calls = sum(step.times for step in steps)
    later = list_later_calls(request, calls_left)
    said = [
        f"upstream calls: {calls}; {'; '.join(later) or 'no more'}",
        f"rows to expect: {_expect(request)}",
        *(f"added {text}" for text in list_added(request, steps)),
        *measure_notes(report),
        *notes,
        *request.window.notes,
    ]
    header = describe_coverage(report).show("not run")
    blocks: list[Block] = [Note("plan", text) for text in said]
    room = TokenBudget.beside(Page(header, blocks), budget)
    for number, step in enumerate(steps, 1):
        times = f" ({step.times} times)" if step.times > 1 else ""
        title = f"{number}. {keep_on_line(step.purpose)}{times}"
        section = Section(title, [show(step.query)])
        is_shown = room.take_if_fits("\n".join(write_lines(Page(None, [section]))))
        blocks.append(section if is_shown else Section(f"{title}: too long to show"))
    return Page(header, blocks)


def _expect(request: ReportRequest) -> str:
    """Groups times buckets, as far as they are known before a query runs."""
    buckets, fields = request.buckets, request.query.group_by
    groups = (
        f"the groups of {', '.join(map(quote_text, fields))}, number unknown in advance"
        if fields
        else "1"
    )
    if buckets is None:
        return groups
    count = buckets.count_buckets(request.query.start_ts, request.query.end_ts)
    of = f"at most {count} buckets of {request.query.interval}"
    return f"{of} x {groups}" if fields else of
