"""The order of an answer's rows: by a column, nulls last, ties by the group keys."""

from __future__ import annotations

import math

from gateway_metrics_mcp.answers.asked import Asked
from gateway_metrics_mcp.result import DataPoint, Key, Number


def sort_points(asked: Asked) -> list[DataPoint]:
    """The rows in the answer's order; by their keys alone where there is no value."""
    name = asked.order_column
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
    present = [row for row in rows if not _is_missing(row[0])]
    is_by_size = asked.is_by_size
    present.sort(
        key=lambda row: rank_key(_size(row[0]) if is_by_size else row[0]),
        reverse=asked.question.is_descending,
    )
    return [point for _, point in present] + [p for cell, p in rows if _is_missing(cell)]


def _is_missing(cell: Key) -> bool:
    """Whether there is nothing to sort by: no data, or a number that cannot be computed."""
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def _size(cell: Key) -> Key:
    """A number without its sign."""
    return cell if isinstance(cell, str) or cell is None else abs(cell)


def _key_order(point: DataPoint) -> tuple[tuple[int, Number, str], ...]:
    return tuple(rank_key(key) for key in point.keys)


def rank_key(cell: Key) -> tuple[int, Number, str]:
    """What a cell sorts by: numbers before text before null, so that cells of any kind compare."""
    if cell is None:
        return (2, 0, "")
    return (1, 0, cell) if isinstance(cell, str) else (0, cell, "")
