"""An answer for programs: the same facts as JSON."""

from __future__ import annotations

import json
from typing import Any

from gateway_metrics_mcp.answers.asked import Asked
from gateway_metrics_mcp.answers.budget import Room
from gateway_metrics_mcp.answers.notes import write_notes
from gateway_metrics_mcp.answers.sorting import sort_points
from gateway_metrics_mcp.query.model import format_instant
from gateway_metrics_mcp.result import DataPoint


def write_json(asked: Asked, budget: int) -> str:
    """Columns once, a list per row; rows beyond the budget are counted, never cut in half."""
    question = asked.question
    is_timeseries = question.query.interval is not None
    points = list(asked.result.points) if is_timeseries else sort_points(asked)
    names = [*asked.result.key_names, *asked.result.value_names]
    columns = ["startTimestamp", *names] if is_timeseries else names
    body: dict[str, Any] = {
        "request": question.query.to_body(),
        "scope": question.scope,
        "notes": [note.removeprefix("# ") for note in write_notes(asked)],
        "columns": columns,
        "rows": [],
        "all": None if asked.totals is None else list(asked.totals),
        "offset": question.offset,
        "rowCount": len(points),
        "isComplete": True,
    }
    room = Room(budget)
    room.take(_dump(body))
    limit = None if is_timeseries else question.limit
    last = None if limit is None else question.offset + limit
    for point in points[question.offset : last]:
        row = _row(point)
        if not room.fits(_dump(row)):
            break
        body["rows"].append(row)
    body["isComplete"] = question.offset == 0 and len(body["rows"]) == len(points)
    return _dump(body)


def _row(point: DataPoint) -> list[Any]:
    start = [] if point.start is None else [format_instant(point.start)]
    return [*start, *point.keys, *point.values]


def _dump(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
