"""Two windows' answers -> one: each value now, before, its difference, and that in percent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gateway_metrics_mcp.computing.assembling import Sheet
from gateway_metrics_mcp.computing.chosen_rows import Identity, identify
from gateway_metrics_mcp.result import DataPoint, DataPoints, Key, Number, Result
from gateway_metrics_mcp.values import TOTAL_VALUE, Value, compared

Row = tuple[Number | None, ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """The rows of both windows, and the groups that only one of them has."""

    result: Result
    totals: Row | None
    values: tuple[Value, ...]
    new: tuple[tuple[Key, ...], ...]
    vanished: tuple[tuple[Key, ...], ...]


def compare(now: Sheet, before: Sheet, values: Sequence[Value]) -> Compared:
    """The comparison; a group that a window lacks has 0 there of what counts or adds up."""
    ours, theirs = _by_group(now), _by_group(before)
    columns = tuple(column for value in values for column in compared(value))
    rows = [
        (point.keys, _compare(values, _row(values, ours, i), _row(values, theirs, i)), None)
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
        totals = _compare(values, now.totals, before.totals)
    return Compared(
        result,
        totals,
        columns,
        new=tuple(p.keys for i, p in ours.items() if i not in theirs),
        vanished=tuple(p.keys for i, p in theirs.items() if i not in ours),
    )


def _by_group(sheet: Sheet) -> dict[Identity, DataPoint]:
    """The rows by their group; of rows that share one, each stands for itself."""
    found: dict[Identity, DataPoint] = {}
    for point in sheet.result.points:
        identity = identify(point, len(point.keys))
        while identity in found:
            identity = (*identity, "again")
        found[identity] = point
    return found


def _row(values: Sequence[Value], rows: Mapping[Identity, DataPoint], group: Identity) -> Row:
    return rows[group].values if group in rows else _nothing(values)


def _nothing(values: Sequence[Value]) -> Row:
    return tuple(0 if v.is_zero_in_gaps or v.is_additive else None for v in values)


def _compare(values: Sequence[Value], now: Row, before: Row) -> Row:
    """The cells of a row; one that counts no call (R1) is as one that is not there."""
    if TOTAL_VALUE in values:
        place = values.index(TOTAL_VALUE)
        now, before = (_nothing(values) if row[place] == 0 else row for row in (now, before))
    cells: list[Number | None] = []
    for ours, theirs in zip(now, before, strict=True):
        cells += [ours, theirs, subtract(ours, theirs), _percent(ours, theirs)]
    return tuple(cells)


def subtract(now: Number | None, before: Number | None) -> Number | None:
    """The difference; null where either is null."""
    return None if now is None or before is None else now - before


def _percent(now: Number | None, before: Number | None) -> Number | None:
    """The difference in percent of what was; NaN of nothing, for there is no such number."""
    if now is None or before is None:
        return None
    return math.nan if before == 0 else (now - before) / abs(before) * 100


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
