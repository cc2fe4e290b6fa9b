"""The door of this package: what was asked -> an answer with a picture, a view, or both."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from gateway_metrics_mcp.rendering.answer import Answer, Writer, write_answer
from gateway_metrics_mcp.rendering.charts.bars import choose_bars
from gateway_metrics_mcp.rendering.charts.chart import Chart
from gateway_metrics_mcp.rendering.charts.lines import choose_lines
from gateway_metrics_mcp.rendering.charts.renderer import ChartRenderer
from gateway_metrics_mcp.rendering.charts.vega import specify
from gateway_metrics_mcp.rendering.document import TOOL_WORDS, Note, Words
from gateway_metrics_mcp.rendering.report_document import ReportDocument, describe_report
from gateway_metrics_mcp.reports.report import Report
from gateway_metrics_mcp.runtime.tasks import run_in_thread_if_large

# Figures of a view: about 600 kB in the result, which the host holds.
_MOST_MARKS: Final = 4_000

_NOTHING: Final = "the answer has no value to draw"


async def illustrate(
    report: Report,
    budget: int,
    painter: ChartRenderer,
    *,
    has_view: bool,
    words: Words = TOOL_WORDS,
    write: Writer = write_answer,
) -> Answer:
    """The answer with the specification of its picture for a view, and the picture if asked.

    Without a picture the text still answers, and says why there is none.
    """
    rows = len(report.result.points)
    is_picture = report.request.format == "chart"
    if is_picture:
        report = replace(report, request=replace(report.request, format="table"))
    if not is_picture and not has_view:
        return await run_in_thread_if_large(
            rows, lambda: write(describe_report(report, words), budget)
        )
    document = await run_in_thread_if_large(rows, describe_report, report, words)
    chart = await run_in_thread_if_large(rows, choose_chart, document)
    specification = None if chart is None else specify(chart)
    image = None
    if is_picture:
        drawn = _NOTHING if specification is None else await painter.draw(specification)
        image = drawn if isinstance(drawn, bytes) else None
        document = replace(document, picture=_describe(chart, drawn))
    answer = await run_in_thread_if_large(rows, write, document, budget)
    view = specification if has_view and chart is not None and _is_small(chart) else None
    return replace(answer, image=image, view=view)


def choose_chart(document: ReportDocument) -> Chart | None:
    """What to draw; None where there is nothing, or no value among it."""
    report, grid = document.report, document.grid
    is_past = report.request.offset >= len(report.result.points)
    if document.is_empty or is_past or not report.result.value_names:
        return None
    if grid is not None and report.buckets is not None:
        chart = choose_lines(document, grid, report.buckets)
    else:
        chart = choose_bars(document)
    has_value = any(mark.value is not None for panel in chart.panels for mark in panel.marks)
    return chart if has_value else None


def _is_small(chart: Chart) -> bool:
    return sum(len(panel.marks) for panel in chart.panels) <= _MOST_MARKS


def _describe(chart: Chart | None, drawn: bytes | str) -> Note | None:
    """What the picture leaves out, or why there is none; nothing where it shows all."""
    if isinstance(drawn, str):
        return Note("picture", f"no picture: {drawn}")
    if chart is None or chart.note is None:
        return None
    return Note("picture", f"picture: {chart.note}")
