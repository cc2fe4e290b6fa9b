"""Series: the data points that share group keys, largest first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from gateway_metrics_mcp.answers.asked import Asked
from gateway_metrics_mcp.answers.sorting import rank_key
from gateway_metrics_mcp.result import TOTAL, Key, Number


@dataclass(frozen=True, slots=True)
class Series:
    """The values of one group by the start of the bucket, in the order of the value names."""

    keys: tuple[Key, ...]
    values: Mapping[datetime, Sequence[Number | None]]


def gather_series(asked: Asked) -> tuple[list[Series], str]:
    """The series, largest first, and the value that ranks them.

    It is the first value where that adds up over buckets, else the number of rows.
    """
    gathered: dict[tuple[Key, ...], dict[datetime, Sequence[Number | None]]] = {}
    for point in asked.result.points:
        if point.start is not None:
            gathered.setdefault(point.keys, {})[point.start] = point.values
    names = asked.result.value_names
    rank = asked.first_value
    if not asked.is_additive(rank) and TOTAL in names:
        rank = TOTAL
    position = names.index(rank)
    series = [Series(keys, values) for keys, values in gathered.items()]
    series.sort(key=lambda one: tuple(map(rank_key, one.keys)))
    series.sort(
        key=lambda one: math.fsum(row[position] or 0 for row in one.values.values()), reverse=True
    )
    return series, rank


def merge_series(asked: Asked, hidden: Sequence[Series]) -> Series:
    """The rest as one series: additive values added up, null for the others."""
    names = asked.result.value_names
    starts = {start for series in hidden for start in series.values}
    merged: dict[datetime, Sequence[Number | None]] = {}
    for start in starts:
        rows = [series.values[start] for series in hidden if start in series.values]
        merged[start] = [
            add_up([row[i] for row in rows]) if asked.is_additive(name) else None
            for i, name in enumerate(names)
        ]
    return Series((), merged)


def add_up(values: Sequence[Number | None]) -> Number | None:
    """The sum, exact for integers; null where there is nothing but nulls."""
    present = [value for value in values if value is not None]
    if not present:
        return None
    if all(isinstance(value, int) for value in present):
        return sum(present)
    return math.fsum(present)
