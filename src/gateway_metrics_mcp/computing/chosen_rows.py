"""The rows that a measure's term counts, found by the keys of the question's own rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gateway_metrics_mcp.query.measures import Rows
from gateway_metrics_mcp.query.model import Aggregation
from gateway_metrics_mcp.result import TOTAL, DataPoint, Number, Result
from gateway_metrics_mcp.sums import add_up

Identity = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Spelt:
    """The values of a field whose spelling is not documented: those taken, and those left."""

    field: str
    taken: tuple[str | None, ...]
    left: tuple[str | None, ...]
    is_known: bool = True
    """Whether the spelling is one that we know; if not, nothing can be computed."""
    unknown: tuple[str | None, ...] = ()
    """Those left of which it is not known what they mean."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The chosen rows by the groups they belong to."""

    names: tuple[str, ...]
    groups: Mapping[Identity, Sequence[DataPoint]]
    spelt: Spelt | None = None

    def sum_of(self, point: DataPoint, aggregations: Sequence[Aggregation]) -> Number | None:
        """What the aggregations add up to in a row's group; none of its rows chosen count 0."""
        if self.spelt is not None and not self.spelt.is_known:
            return math.nan
        rows = self.groups.get(identify(point, len(point.keys)), ())
        wanted = [aggregation.key for aggregation in aggregations] or [TOTAL]
        if any(name not in self.names for name in wanted):
            return math.nan
        if not rows and not aggregations:
            return 0
        positions = [self.names.index(name) for name in wanted]
        return add_up(row.values[i] for row in rows for i in positions)

    def as_one_group(self) -> Chosen:
        """All groups together: right only where they share no rows."""
        rows = [point for group in self.groups.values() for point in group]
        return Chosen(self.names, {identify(DataPoint((), ()), 0): rows}, self.spelt)


def choose(result: Result, rows: Rows, key_count: int) -> Chosen:
    """The rows of a second question; its own keys come after those of the question."""
    groups: dict[Identity, list[DataPoint]] = {}
    taken: dict[str | None, None] = {}
    left: dict[str | None, None] = {}
    field = None if rows.spelling is None else rows.spelling.field
    for point in result.points:
        if rows.spelling is not None and field is not None:
            is_own = len(result.key_names) > key_count
            value = point.keys[key_count if is_own else result.key_names.index(field)]
            is_taken = rows.spelling.takes(value)
            (taken if is_taken else left)[None if value is None else str(value)] = None
            if not is_taken:
                continue
        groups.setdefault(identify(point, key_count), []).append(point)
    spelt = None
    if rows.spelling is not None:
        is_known = rows.spelling.is_known((*taken, *left))
        others, unknown = _sort(left), [one for one in left if not rows.spelling.leaves(one)]
        spelt = Spelt(rows.spelling.field, _sort(taken), others, is_known, _sort(unknown))
    return Chosen(result.value_names, groups, spelt)


def _sort(values: Iterable[str | None]) -> tuple[str | None, ...]:
    """By letters, null last."""
    return tuple(sorted(values, key=lambda value: (value is None, value or "")))


def identify(point: DataPoint, width: int) -> Identity:
    """What tells groups apart: True, 1 and 1.0 are equal in Python, and three groups here."""
    keys = point.keys[:width]
    return (keys, tuple(map(type, keys)), point.start)
