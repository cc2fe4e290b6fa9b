"""The door of this package: what was asked -> an answer with a picture, a view, or both."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from gateway_metrics_mcp.rendering.answer import Answer, write_answer
from gateway_metrics_mcp.rendering.budget import estimate_tokens
from gateway_metrics_mcp.rendering.charts.bars import choose_bars
from gateway_metrics_mcp.rendering.charts.chart import Chart
from gateway_metrics_mcp.rendering.charts.lines import choose_lines
from gateway_metrics_mcp.rendering.charts.renderer import ChartRenderer
from gateway_metrics_mcp.rendering.charts.vega import specify
from gateway_metrics_mcp.reports.report import Report, is_empty
from gateway_metrics_mcp.runtime.tasks import run_in_thread_if_large

_MOST_MARKS: Final = 4_000
"""Figures of a view: about 600 kB in the result, which the host holds."""

_NOTHING: Final = "the answer has no value to draw"


async def illustrate(
    report: Report, budget: int, painter: ChartRenderer, *, has_view: bool
) -> Answer:
    """The answer with the specification of its picture for a view, and the picture if asked.

    Without a picture the text still answers, and says why there is none.
    """
    rows = len(report.result.points)
    is_picture = report.request.format == "chart"
    if not is_picture and not has_view:
        return Answer(
            await run_in_thread_if_large(rows, write_answer, report, budget), report=report
        )
    if is_picture:
        report = replace(report, request=replace(report.request, format="table"))
    chart = await run_in_thread_if_large(rows, choose_chart, report)
    specification = None if chart is None else specify(chart)
    image, note = None, ""
    if is_picture:
        drawn = _NOTHING if specification is None else await painter.draw(specification)
        image = drawn if isinstance(drawn, bytes) else None
        note = _describe(chart, drawn)
    left = budget - estimate_tokens(note) - 1 if note else budget
    text = await run_in_thread_if_large(rows, write_answer, report, left)
    view = specification if has_view and chart is not None and _is_small(chart) else None
    return Answer(_add_note(text, note), report=report, image=image, view=view)


def choose_chart(report: Report) -> Chart | None:
    """What to draw; None where there is nothing, or no value among it."""
    is_past = report.request.offset >= len(report.result.points)
    if is_empty(report) or is_past or not report.result.value_names:
        return None
    chart = choose_bars(report) if report.buckets is None else choose_lines(report, report.buckets)
    has_value = any(mark.value is not None for panel in chart.panels for mark in panel.marks)
    return chart if has_value else None


def _is_small(chart: Chart) -> bool:
    return sum(len(panel.marks) for panel in chart.panels) <= _MOST_MARKS


def _describe(chart: Chart | None, drawn: bytes | str) -> str:
    """What the picture leaves out, or why there is none; nothing where it shows all."""
    if isinstance(drawn, str):
        return f"# no picture: {drawn}"
    return "" if chart is None or chart.note is None else f"# picture: {chart.note}"


def _add_note(text: str, note: str) -> str:
    """Below the first line, where the other notes are: the last one is for what continues."""
    if not note:
        return text
    first, newline, rest = text.partition("\n")
    return f"{first}\n{note}{newline}{rest}"
