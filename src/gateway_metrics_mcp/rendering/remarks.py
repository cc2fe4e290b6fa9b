"""What is to be known of rows that stand alone, as in JSON and CSV: all notes of an answer."""

from __future__ import annotations

from gateway_metrics_mcp.rendering.grid import Grid
from gateway_metrics_mcp.rendering.no_data import explain_empty
from gateway_metrics_mcp.rendering.notes import write_notes
from gateway_metrics_mcp.reports.report import Report, is_empty


def list_remarks(report: Report, grid: Grid | None) -> list[str]:
    """Why it is empty, its notes, and else what is true of its buckets."""
    if is_empty(report):
        lines = [*explain_empty(report), *write_notes(report)]
    else:
        lines = [*write_notes(report), *([] if grid is None else grid.bucket_facts())]
    return [line.removeprefix("# ") for line in lines]
