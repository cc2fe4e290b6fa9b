"""The order of an answer's rows: by a column, nulls last, ties by the group keys."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from heapq import merge
from typing import Any, Final

from gateway_metrics_mcp.query.result import DataPoint, DataPoints, Key, Number, Row
from gateway_metrics_mcp.rendering.cells import quote_column
from gateway_metrics_mcp.reports.report import Report
from gateway_metrics_mcp.runtime.tasks import T

# Rows that are sorted in some 10 ms, in which no other thread has a turn.
_MOST_SORTED: Final = 5_000


def sort_rows(
    rows: Sequence[T],
    key: Callable[[T], Any],
    *,
    is_descending: bool = False,
    most: int = _MOST_SORTED,
) -> list[T]:
    """As `sorted` does, and as stable; in runs of at most so many, which are merged."""
    runs = [
        sorted(rows[first : first + most], key=key, reverse=is_descending)
        for first in range(0, len(rows), most)
    ]
    return runs[0] if len(runs) == 1 else list(merge(*runs, key=key, reverse=is_descending))


def sort_points(report: Report) -> Sequence[DataPoint]:
    """The rows in the answer's order; by their keys alone where there is no value."""
    name = report.order_column
    result = report.result
    rows = sort_rows(result.plain_rows(), _key_order)
    if name is None:
        return DataPoints(rows)
    if name in result.key_names:
        position = result.key_names.index(name)
        cells: list[tuple[Key, Row]] = [(row[0][position], row) for row in rows]
    else:
        position = result.value_names.index(name)
        cells = [(row[1][position], row) for row in rows]
    present = [one for one in cells if not _is_missing(one[0])]
    is_by_size = report.is_by_size
    ranked = sort_rows(
        present,
        lambda one: rank_key(_size(one[0]) if is_by_size else one[0]),
        is_descending=report.request.is_descending,
    )
    missing = [row for cell, row in cells if _is_missing(cell)]
    return DataPoints([*(row for _, row in ranked), *missing])


def describe_order(report: Report) -> str:
    """`sorted by size of sumCostInUSD_change desc`; empty where there is no value."""
    column = report.order_column
    if column is None:
        return ""
    direction = "desc" if report.request.is_descending else "asc"
    size = "size of " if report.is_by_size else ""
    return f"sorted by {size}{quote_column(column)} {direction}"


def _is_missing(cell: Key) -> bool:
    """Whether there is nothing to sort by: no data, or a number that cannot be computed."""
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def _size(cell: Key) -> Key:
    """A number without its sign."""
    return cell if isinstance(cell, str) or cell is None else abs(cell)


def _key_order(row: Row) -> tuple[tuple[int, Number, str], ...]:
    return tuple(rank_key(key) for key in row[0])


def rank_key(cell: Key) -> tuple[int, Number, str]:
    """What a cell sorts by: numbers before text before null, so that cells of any kind compare."""
    if cell is None:
        return (2, 0, "")
    return (1, 0, cell) if isinstance(cell, str) else (0, cell, "")
