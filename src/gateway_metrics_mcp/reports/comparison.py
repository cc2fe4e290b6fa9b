"""Two windows' answers -> one: each value now, before, its difference, and that in percent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway_metrics_mcp.query.result import (
    TOTAL,
    DataPoint,
    DataPoints,
    Key,
    Number,
    Result,
    subtract,
)
from gateway_metrics_mcp.reports.assembly import Identity, WindowRows, identify
from gateway_metrics_mcp.reports.columns import TOTAL_VALUE, Share, Value, compared

Row = tuple[Number | None, ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """The rows of both windows, and the groups that only one of them has."""

    result: Result
    totals: Row | None
    values: tuple[Value, ...]
    new: tuple[tuple[Key, ...], ...]
    vanished: tuple[tuple[Key, ...], ...]


def compare(now: WindowRows, before: WindowRows, values: Sequence[Value]) -> Compared:
    """The comparison; a group that a window lacks has 0 there of what counts or adds up."""
    ours, theirs = _by_group(now), _by_group(before)
    no_row, no_row_before = _nothing(values, now), _nothing(values, before)
    columns = tuple(column for value in values for column in compared(value))
    rows = [
        (
            point.keys,
            _compare(
                values,
                (ours[i].values if i in ours else no_row, no_row),
                (theirs[i].values if i in theirs else no_row_before, no_row_before),
            ),
            None,
        )
        for i, point in {**theirs, **ours}.items()
    ]
    ours_notes = now.result.notes
    notes = dict.fromkeys(ours_notes)
    for note in before.result.notes:
        notes[note if note in ours_notes else f"in the earlier window: {note}"] = None
    result = replace(
        now.result,
        value_names=tuple(column.name for column in columns),
        points=DataPoints(rows),
        notes=tuple(notes),
    )
    totals = None
    if now.totals is not None and before.totals is not None:
        pairs = (now.totals, no_row), (before.totals, no_row_before)
        totals = _compare(values, *pairs)
    return Compared(
        result,
        totals,
        columns,
        new=tuple(p.keys for i, p in ours.items() if i not in theirs),
        vanished=tuple(p.keys for i, p in theirs.items() if i not in ours),
    )


def _by_group(sheet: WindowRows) -> dict[Identity, DataPoint]:
    """The rows by their group; of rows that share one, each stands for itself."""
    found: dict[Identity, DataPoint] = {}
    for point in sheet.result.points:
        identity = identify(point, len(point.keys))
        while identity in found:
            identity = (*identity, "again")
        found[identity] = point
    return found


def _nothing(values: Sequence[Value], sheet: WindowRows) -> Row:
    """The values of a group that the window lacks; no share of an ALL that is nothing."""
    return tuple(
        0
        if (value.is_zero_in_gaps or value.is_additive) and not _is_of_nothing(value, sheet)
        else None
        for value in values
    )


def _is_of_nothing(value: Value, sheet: WindowRows) -> bool:
    source = value.source
    return isinstance(source, Share) and 0 in (sheet.of_all(TOTAL), sheet.of_all(source.of))


def _compare(values: Sequence[Value], now: tuple[Row, Row], before: tuple[Row, Row]) -> Row:
    """The cells of a row, each window's with what no row is there.

    One that counts no call (R1) is as one that is not there.
    """
    (ours, no_row), (theirs, no_row_before) = now, before
    if TOTAL_VALUE in values:
        place = values.index(TOTAL_VALUE)
        ours = no_row if ours[place] == 0 else ours
        theirs = no_row_before if theirs[place] == 0 else theirs
    cells: list[Number | None] = []
    for our, their in zip(ours, theirs, strict=True):
        cells += [our, their, subtract(our, their), _percent(our, their)]
    return tuple(cells)


def _percent(now: Number | None, before: Number | None) -> Number | None:
    """The difference in percent of what was; NaN of nothing, for there is no such number."""
    difference = subtract(now, before)
    if difference is None or before is None:
        return None
    return math.nan if before == 0 else difference / abs(before) * 100


def unless_same(totals: Row | None, result: Result) -> Row | None:
    """No ALL row beside a single row that says the same."""
    if totals is None or len(result.points) != 1:
        return totals
    pairs = zip(result.points[0].values, totals, strict=True)
    return None if all(_is_same(*pair) for pair in pairs) else totals


def _is_same(one: Number | None, other: Number | None) -> bool:
    """Whether values differ by no more than the order of adding floats; NaN is as NaN."""
    if not (isinstance(one, float) and isinstance(other, float)):
        return one == other
    is_close = math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    return is_close or (math.isnan(one) and math.isnan(other))
