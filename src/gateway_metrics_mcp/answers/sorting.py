"""The order of an answer's rows: by a column, nulls last, ties by the group keys."""

from __future__ import annotations

from gateway_metrics_mcp.answers.asked import Asked
from gateway_metrics_mcp.result import DataPoint, Key, Number


def order_column(asked: Asked) -> str | None:
    """The column that orders the rows; the first value where none was asked."""
    wanted = asked.question.order_by
    names = (*asked.result.key_names, *asked.result.value_names)
    return wanted if wanted in names else asked.first_value


def sort_points(asked: Asked) -> list[DataPoint]:
    """The rows in the answer's order; by their keys alone where there is no value."""
    name = order_column(asked)
    result = asked.result
    points = sorted(result.points, key=_key_order)
    if name is None:
        return points
    if name in result.key_names:
        position = result.key_names.index(name)
        rows: list[tuple[Key, DataPoint]] = [(point.keys[position], point) for point in points]
    else:
        position = result.value_names.index(name)
        rows = [(point.values[position], point) for point in points]
    present = [row for row in rows if row[0] is not None]
    present.sort(key=lambda row: rank_key(row[0]), reverse=asked.question.is_descending)
    return [point for _, point in present] + [point for cell, point in rows if cell is None]


def _key_order(point: DataPoint) -> tuple[tuple[int, Number, str], ...]:
    return tuple(rank_key(key) for key in point.keys)


def rank_key(cell: Key) -> tuple[int, Number, str]:
    """What a cell sorts by: numbers before text before null, so that cells of any kind compare."""
    if cell is None:
        return (2, 0, "")
    return (1, 0, cell) if isinstance(cell, str) else (0, cell, "")
