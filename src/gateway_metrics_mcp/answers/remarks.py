"""What is to be known of rows that stand alone, as in JSON and CSV: all notes of an answer."""

from __future__ import annotations

from gateway_metrics_mcp.answers.asked import Asked
from gateway_metrics_mcp.answers.empty import explain_empty, is_empty
from gateway_metrics_mcp.answers.grid import Grid
from gateway_metrics_mcp.answers.notes import write_notes


def list_remarks(asked: Asked, grid: Grid | None) -> list[str]:
    """Why it is empty, its notes, and else what is true of its buckets."""
    if is_empty(asked):
        lines = [*explain_empty(asked), *write_notes(asked)]
    else:
        lines = [*write_notes(asked), *([] if grid is None else grid.bucket_facts())]
    return [line.removeprefix("# ") for line in lines]
