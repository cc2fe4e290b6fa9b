"""The results of the upstream calls of one window -> the rows of the answer, measures computed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from gateway_metrics_mcp.query.measures import Measure, Rows, Term
from gateway_metrics_mcp.query.model import Aggregation
from gateway_metrics_mcp.query.result import (
    TOTAL,
    DataPoint,
    DataPoints,
    Number,
    Result,
    add_up,
    ratio_of,
)
from gateway_metrics_mcp.query.vocabulary import PERCENTILES
from gateway_metrics_mcp.reports.columns import TOTAL_VALUE, Share, Value, value_of_aggregation
from gateway_metrics_mcp.reports.diagnosis import SUBJECT_KINDS, join, list_seen
from gateway_metrics_mcp.reports.plan import ALL_ROWS, QueryRole
from gateway_metrics_mcp.reports.request import ReportRequest

Identity = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class ValueMatch:
    """The values of a field whose spelling is not documented: those taken, and those left."""

    field: str
    taken: tuple[str | None, ...]
    left: tuple[str | None, ...]
    is_known: bool = True
    """Whether the spelling is one that we know; if not, nothing can be computed."""
    unknown: tuple[str | None, ...] = ()
    """Those left of which it is not known what they mean."""


@dataclass(frozen=True, slots=True)
class MatchedRows:
    """The chosen rows by the groups they belong to."""

    names: tuple[str, ...]
    groups: Mapping[Identity, Sequence[DataPoint]]
    spelt: ValueMatch | None = None

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

    def as_one_group(self) -> MatchedRows:
        """All groups together: right only where they share no rows."""
        rows = [point for group in self.groups.values() for point in group]
        return MatchedRows(self.names, {identify(DataPoint((), ()), 0): rows}, self.spelt)


def choose(result: Result, rows: Rows, key_count: int) -> MatchedRows:
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
        spelt = ValueMatch(rows.spelling.field, _sort(taken), others, is_known, _sort(unknown))
    return MatchedRows(result.value_names, groups, spelt)


def _sort(values: Iterable[str | None]) -> tuple[str | None, ...]:
    """By letters, null last."""
    return tuple(sorted(values, key=lambda value: (value is None, value or "")))


def identify(point: DataPoint, width: int) -> Identity:
    """What tells groups apart: True, 1 and 1.0 are equal in Python, and three groups here."""
    keys = point.keys[:width]
    return (keys, tuple(map(type, keys)), point.start)


@dataclass(frozen=True, slots=True)
class WindowRows:
    """The answer of one window: rows of the values shown, and what the API said beneath them.

    `totals` is the ALL row; `raw` has all values asked; `spelt` by the measures that read them.
    """

    result: Result
    totals: tuple[Number | None, ...] | None
    raw: Result
    raw_all: DataPoint | None
    spelt: Mapping[str, ValueMatch]

    def of_all(self, name: str) -> Number | None:
        """A value of the API over all rows; of the only row where nothing is grouped."""
        point = self.raw_all
        if point is None and len(self.raw.points) == 1 and not self.raw.key_names:
            point = self.raw.points[0]
        if point is None or name not in self.raw.value_names:
            return None
        return point.values[self.raw.value_names.index(name)]


def assemble_windows(
    request: ReportRequest, answers: Mapping[QueryRole, Result], values: Sequence[Value]
) -> tuple[WindowRows, WindowRows | None]:
    """The sheet of the window, and that of the earlier one where two are compared."""
    sheet = assemble(request, answers, values)
    if request.earlier is None:
        return sheet, None
    return sheet, assemble(request, answers, values, is_before=True)


def find_seen(
    request: ReportRequest, answers: Mapping[QueryRole, Result], name: str
) -> Mapping[str, int | float] | None:
    """The values of a field in the rows that match; None if they were not asked."""
    if name in request.query.group_by:
        position = answers[QueryRole()].key_names.index(request.datasource.response_key(name))
        mains = [r for call, r in answers.items() if call == QueryRole(is_before=call.is_before)]
        return {k: n for main in mains for k, n in list_seen(main, position).items()}
    present = [result for call, result in answers.items() if call.present == name]
    return list_seen(join(present), 0) if present else None


def assemble(
    request: ReportRequest,
    answers: Mapping[QueryRole, Result],
    values: Sequence[Value],
    *,
    is_before: bool = False,
) -> WindowRows:
    """The sheet of one window, from the answers to its calls."""
    mine = {call: result for call, result in answers.items() if call.is_before == is_before}
    raw = mine[QueryRole(is_before)]
    width = len(raw.key_names)
    rows = _Parts(
        raw,
        {
            call.rows: choose(result, call.rows, width)
            for call, result in mine.items()
            if not call.is_all and call.rows != ALL_ROWS
        },
    )
    whole = mine.get(QueryRole(is_before, is_all=True))
    everything = None
    is_series = request.query.interval is not None
    if whole is not None and (is_series or whole.value_names == raw.value_names):
        everything = _Parts(whole, _choose_of_all(request, mine, raw, whole, rows))
    names = tuple(value.name for value in values)
    result = replace(raw, value_names=names, points=rows.compute(values, everything))
    totals, raw_all = None, None
    is_one = whole is not None and len(whole.points) == 1
    if everything is not None and whole is not None and is_one and not is_series:
        raw_all = whole.points[0]
        totals = everything.compute(values, everything)[0].values
    return WindowRows(result, totals, raw, raw_all, rows.spelt(values))


@dataclass(slots=True)
class _Parts:
    """What was asked of one window and grouping: the rows, and those of the measures' terms."""

    raw: Result
    chosen: Mapping[Rows, MatchedRows | None]

    def compute(self, values: Sequence[Value], everything: _Parts | None) -> Sequence[DataPoint]:
        """The rows with these values; column by column, since there can be very many."""
        points = self.raw.points
        if self.raw.value_names == tuple(value.name for value in values):
            return points
        columns = [self._column(value, everything) for value in values]
        rows = zip(*columns, strict=True) if columns else (() for _ in points)
        return DataPoints([(p.keys, cells, p.start) for p, cells in zip(points, rows, strict=True)])

    def spelt(self, values: Sequence[Value]) -> dict[str, ValueMatch]:
        """What the measures took that read a field's values."""
        found: dict[str, ValueMatch] = {}
        for value in values:
            for term in value.source.terms if isinstance(value.source, Measure) else ():
                chosen = self.chosen.get(term.rows)
                if chosen is not None and chosen.spelt is not None:
                    found[value.name] = chosen.spelt
        return found

    def _column(self, value: Value, everything: _Parts | None) -> list[Number | None]:
        points, source = self.raw.points, value.source
        if isinstance(source, Measure):
            return [
                ratio_of(
                    self._term(point, source.numerator),
                    self._term(point, source.denominator),
                    source.scale,
                )
                for point in points
            ]
        if isinstance(source, Share):
            return self._shares(source, everything)
        return self._plain(value.name)

    def _plain(self, name: str) -> list[Number | None]:
        if name not in self.raw.value_names:
            return [math.nan] * len(self.raw.points)
        position = self.raw.value_names.index(name)
        return [point.values[position] for point in self.raw.points]

    def _term(self, point: DataPoint, term: Term) -> Number | None:
        if not term.rows.is_all:
            chosen = self.chosen.get(term.rows)
            return math.nan if chosen is None else chosen.sum_of(point, term.aggregations)
        names = [aggregation.key for aggregation in term.aggregations] or [TOTAL]
        return add_up(self._of(point, name) for name in names)

    def _shares(self, share: Share, everything: _Parts | None) -> list[Number | None]:
        """Each row's part of ALL, in a timeseries of its bucket's."""
        parts = self._plain(share.of)
        if everything is None:
            return [math.nan if self.raw.key_names else ratio_of(part, part) for part in parts]
        of_all = everything._plain(share.of)  # noqa: SLF001 - another of this class
        starts = [point.start for point in everything.raw.points]
        wholes = dict(zip(starts, of_all, strict=True))
        rows = zip(self.raw.points, parts, strict=True)
        return [ratio_of(part, wholes.get(point.start, math.nan)) for point, part in rows]

    def _of(self, point: DataPoint, name: str) -> Number | None:
        names = self.raw.value_names
        return point.values[names.index(name)] if name in names else math.nan


def is_partition(request: ReportRequest, rows: Result, of_all: Number | None) -> bool:
    """Whether the groups are all calls, each in one group: they add up to ALL, and not by chance.

    By team calls count twice, and others can be left out: then the two can balance.
    """
    fields = set(request.query.group_by)
    is_left_out = len(fields & SUBJECT_KINDS.keys()) == 1 or not rows.is_by_rulings
    if TOTAL not in rows.value_names or ("team" in fields and is_left_out):
        return False
    return add_up(rows.column(TOTAL)) == of_all


def _choose_of_all(
    request: ReportRequest,
    answers: Mapping[QueryRole, Result],
    raw: Result,
    whole: Result,
    rows: _Parts,
) -> dict[Rows, MatchedRows | None]:
    """The terms over all rows: as asked, or added up where the groups share no rows.

    That they do not is known when they add up to ALL.
    """
    is_whole = TOTAL in whole.value_names and is_partition(request, raw, _total(whole))
    found: dict[Rows, MatchedRows | None] = {}
    for needed, chosen in rows.chosen.items():
        report = [r for call, r in answers.items() if call.is_all and call.rows == needed]
        if report:
            found[needed] = choose(report[0], needed, 0)
        elif chosen is not None and is_whole:
            found[needed] = chosen.as_one_group()
        else:
            found[needed] = None
    return found


def _total(result: Result) -> Number | None:
    return add_up(result.column(TOTAL))


FEW: Final = 100
"""A percentile of fewer values is shown with their number."""


def choose_values(request: ReportRequest, raws: Sequence[Result]) -> tuple[Value, ...]:
    """The values to show of these results.

    `total` is left out where the source does not count rows. The number behind a percentile is
    left out where `total` says it.
    """
    shown: list[Value] = []
    report = {value.name for value in request.values}
    for value in request.values:
        if value is TOTAL_VALUE and not all(TOTAL in raw.value_names for raw in raws):
            continue
        shown.append(value)
        source = value.source
        if not isinstance(source, Aggregation) or source.type not in PERCENTILES:
            continue
        count = Aggregation(type="count", column=source.column)
        if count.key not in report and _are_few(count.key, raws):
            report.add(count.key)
            shown.append(value_of_aggregation(count, request.datasource))
    return tuple(shown)


def _are_few(name: str, raws: Sequence[Result]) -> bool:
    """Whether some percentile stands on few values, and `total` does not say how many."""
    counts: list[tuple[Number | None, Number | None]] = []
    for raw in raws:
        if name not in raw.value_names or TOTAL not in raw.value_names:
            return False
        counts += zip(raw.column(name), raw.column(TOTAL), strict=True)
    has_few = any(count is not None and count < FEW for count, _ in counts)
    return has_few and any(count != total for count, total in counts)
