"""Series: the data points that share group keys, largest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from gateway_metrics_mcp.answers.asked import Asked
from gateway_metrics_mcp.answers.cells import format_key
from gateway_metrics_mcp.answers.sorting import rank_key
from gateway_metrics_mcp.result import TOTAL, Key, Number
from gateway_metrics_mcp.sums import add_up

Values = Mapping[datetime, Sequence[Number | None]]


@dataclass(frozen=True, slots=True)
class Series:
    """The values of one group by the start of the bucket, in the order of the value names."""

    keys: tuple[Key, ...]
    values: Values

    def name(self, longest: int) -> str:
        """The keys as a cell; a key that holds a comma is quoted, so each can be told apart."""
        return ", ".join(format_key(key, longest) for key in self.keys) or "all"


@dataclass(frozen=True, slots=True)
class Ranking:
    """All series, largest first, and the value that ranks them."""

    series: Sequence[Series]
    by: str


def rank_series(asked: Asked) -> Ranking:
    """The series by the sum of the first value, where that adds up over buckets.

    Else by the number of rows; by the highest bucket where the source does not count rows.
    """
    series = _gather(asked)
    series.sort(key=lambda one: tuple(map(rank_key, one.keys)))
    names = asked.result.value_names
    name = asked.first_value
    if name is not None and not asked.is_additive(name) and TOTAL in names:
        name = TOTAL
    if name is None:
        return Ranking(series, "name")
    position, is_additive = names.index(name), asked.is_additive(name)

    def size(one: Series) -> Number:
        column = [row[position] for row in one.values.values()]
        if is_additive:
            return add_up(column) or 0
        return max((value for value in column if value is not None), default=0)

    series.sort(key=size, reverse=True)
    return Ranking(series, name)


def _gather(asked: Asked) -> list[Series]:
    """A series per group; rows that share group and bucket stand in series of their own."""
    gathered: dict[
        tuple[object, ...], tuple[tuple[Key, ...], dict[datetime, Sequence[Number | None]]]
    ]
    gathered = {}
    for point in asked.result.points:
        if point.start is None:
            continue
        # True, 1 and 1.0 are equal in Python, and three groups here.
        identity: tuple[object, ...] = (point.keys, tuple(map(type, point.keys)))
        while point.start in gathered.setdefault(identity, (point.keys, {}))[1]:
            identity = (*identity, "again")
        gathered[identity][1][point.start] = point.values
    return [Series(keys, values) for keys, values in gathered.values()]


def merge_series(asked: Asked, hidden: Sequence[Series]) -> Series:
    """The rest as one series: additive values added up, null for the others."""
    is_additive = [asked.is_additive(name) for name in asked.result.value_names]
    rows: dict[datetime, list[Sequence[Number | None]]] = {}
    for series in hidden:
        for start, row in series.values.items():
            rows.setdefault(start, []).append(row)
    merged = {
        start: [
            add_up(column) if adds else None
            for adds, column in zip(is_additive, zip(*at_start, strict=True), strict=True)
        ]
        for start, at_start in rows.items()
    }
    return Series((), merged)
