"""Assembles the results of a report's queries into its rows.

Computes measures and shares, and joins two windows into one table of changes. Which queries run is
decided in plan.py, which notes an answer needs in rendering/.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from gateway_metrics_mcp.query import (
    TOTAL,
    Aggregation,
    DataPoint,
    DataPoints,
    Key,
    Measure,
    Number,
    Query,
    Result,
    add_up,
)
from gateway_metrics_mcp.query.catalog import Rows, Term
from gateway_metrics_mcp.query.model import value_key
from gateway_metrics_mcp.query.result import (
    NOT_COMPUTABLE,
    Identity,
    identify,
    identify_each,
    ratio_of,
    subtract,
)
from gateway_metrics_mcp.query.vocabulary import PERCENTILES
from gateway_metrics_mcp.reports.columns import (
    TOTAL_VALUE,
    Share,
    Value,
    compared,
    value_of_aggregation,
)
from gateway_metrics_mcp.reports.diagnosis import SUBJECT_KINDS, join, list_seen
from gateway_metrics_mcp.reports.plan import QueryRole, choose_rows, in_window
from gateway_metrics_mcp.reports.request import ReportRequest

FEW: Final = 100
"""A percentile of fewer values is shown with their number, so that readers can judge it."""

Results = Mapping[QueryRole, Result]
Row = tuple[Number | None, ...]


class ValueMatch(NamedTuple):
    """Which values of a field with an undocumented spelling a measure counted, and which not."""

    field: str
    taken: tuple[str | None, ...]
    left: tuple[str | None, ...]
    is_known: bool = True
    """Whether the spelling is known; if not, the measure is n/a."""
    unknown: tuple[str | None, ...] = ()
    """Values that were not counted and whose meaning is unknown."""


class RatioParts(NamedTuple):
    """Both sides of a ratio or average, by row: with them, rows can be put together."""

    upper: Sequence[Number | None]
    lower: Sequence[Number | None]
    scale: int


class WindowRows(NamedTuple):
    """The rows of one window: `result` has the values shown, `raw` all values queried.

    `totals` is the ALL row. `spelt` has, by measure, the values it counted of a field.
    """

    result: Result
    totals: Row | None
    raw: Result
    raw_all: DataPoint | None
    spelt: Mapping[str, ValueMatch]
    parts: Mapping[str, RatioParts]
    """By value, in the order of the rows of `raw`."""

    def of_all(self, name: str) -> Number | None:
        """A raw value of the ALL row, or of the only row without group-by; None if unknown."""
        point = self.raw_all
        if point is None and len(self.raw.points) == 1 and not self.raw.key_names:
            point = self.raw.points[0]
        if point is None or name not in self.raw.value_names:
            return None
        return point.values[self.raw.value_names.index(name)]


def assemble_windows(
    request: ReportRequest, results: Results, values: Sequence[Value]
) -> tuple[WindowRows, WindowRows | None]:
    """The rows of the window, and of the earlier one in a comparison."""
    rows = assemble(request, results, values)
    if request.earlier is None:
        return rows, None
    return rows, assemble(request, results, values, is_before=True)


def assemble(
    request: ReportRequest,
    results: Results,
    values: Sequence[Value],
    *,
    is_before: bool = False,
) -> WindowRows:
    """The rows of one window, from the results of its queries.

    A cell is None for null, and NOT_COMPUTABLE for a value that the results do not tell.
    """
    # Queries of both windows ran side by side.
    mine = {role: result for role, result in results.items() if role.is_before == is_before}
    raw, whole = mine[QueryRole(is_before)], mine.get(QueryRole(is_before, is_ungrouped=True))
    is_series = request.query.interval is not None
    grouped = _Computation(
        raw,
        {
            role.rows: _match(result, role.rows, len(raw.key_names))
            for role, result in mine.items()
            if role.rows is not None and not role.is_ungrouped
        },
    )
    of_all = None
    if whole is not None and (is_series or whole.value_names == raw.value_names):
        of_all = _Computation(whole, _match_all(request, mine, grouped, whole))
    result = replace(
        raw,
        key_names=request.key_names,
        value_names=tuple(value.name for value in values),
        points=grouped.compute(values, of_all),
    )
    totals, raw_all = None, None
    if of_all is not None and not is_series and len(of_all.raw.points) == 1:
        raw_all = of_all.raw.points[0]
        totals = of_all.compute(values, of_all)[0].values
    matches = grouped.list_matches(values)
    return WindowRows(result, totals, raw, raw_all, matches, grouped.list_parts(values))


# --- the rows that a measure counts ---


class _Matched(NamedTuple):
    """The rows that a measure counts, by group and bucket."""

    names: tuple[str, ...]
    groups: Mapping[Identity, Sequence[DataPoint]]
    spelt: ValueMatch | None = None
    recorded: Collection[Identity] = ()
    """With a spelling, the groups and buckets where some row has a value of the field."""


def _match(result: Result, rows: Rows, key_count: int) -> _Matched:
    """The rows of a measure's own query, whose keys follow those of the request.

    With a spelling, the rows whose value does not match are dropped.
    """
    groups: dict[Identity, list[DataPoint]] = {}
    recorded: set[Identity] = set()
    taken: dict[str | None, None] = {}
    left: dict[str | None, None] = {}
    spelling, position = rows.spelling, key_count
    # The request may group by the spelling's field already; then it has no key of its own.
    if spelling is not None and len(result.key_names) <= key_count:
        position = result.key_names.index(spelling.field)
    for point in result.points:
        group = (identify(point.keys[:key_count]), point.start)
        if spelling is not None:
            value = point.keys[position]
            if value is not None:
                recorded.add(group)
            is_taken = spelling.takes(value)
            (taken if is_taken else left)[None if value is None else str(value)] = None
            if not is_taken:
                continue
        groups.setdefault(group, []).append(point)
    if spelling is None:
        return _Matched(result.value_names, groups)
    is_known = spelling.is_known((*taken, *left))
    unknown = [one for one in left if not spelling.leaves(one)]
    match = ValueMatch(spelling.field, _sort(taken), _sort(left), is_known, _sort(unknown))
    return _Matched(result.value_names, groups, match, recorded)


def _sort(values: Iterable[str | None]) -> tuple[str | None, ...]:
    """Sorted, null last."""
    return tuple(sorted(values, key=lambda value: (value is None, value or "")))


def _match_all(
    request: ReportRequest, results: Results, grouped: _Computation, whole: Result
) -> dict[Rows, _Matched | None]:
    """A measure's rows for ALL: as queried, or else of all groups if the groups are a partition.

    None for a measure where neither is possible.
    """
    is_whole = TOTAL in whole.value_names and is_partition(
        request, grouped.raw, add_up(whole.column(TOTAL))
    )
    asked = {role.rows: result for role, result in results.items() if role.is_ungrouped}
    sources = [value.source for value in request.values]
    shows_recorded = [source.others for source in sources if isinstance(source, Measure)]
    found: dict[Rows, _Matched | None] = {}
    for rows, matched in grouped.matched.items():
        found[rows] = None
        if rows in asked:
            found[rows] = _match(asked[rows], rows, 0)
        elif matched is not None and (is_whole or (rows in shows_recorded and matched.groups)):
            # Whether anything was recorded is known as soon as one group has it.
            points = [point for group in matched.groups.values() for point in group]
            whole_group = (identify(()), None)
            recorded = {whole_group} if matched.recorded else ()
            found[rows] = matched._replace(groups={whole_group: points}, recorded=recorded)
    return found


def is_partition(request: ReportRequest, rows: Result, of_all: Number | None) -> bool:
    """Whether each call is in exactly one group: the groups' totals add up to ALL.

    By team a call can be in several groups (R5). If others are in none (R7, or a gateway that
    drops nulls), the two errors can cancel out, so equal totals prove nothing then.
    """
    fields = set(request.query.group_by)
    is_left_out = len(fields & SUBJECT_KINDS.keys()) == 1 or not rows.is_by_rulings
    if TOTAL not in rows.value_names or ("team" in fields and is_left_out):
        return False
    return add_up(rows.column(TOTAL)) == of_all


# --- values ---


@dataclass(slots=True)
class _Computation:
    """Computes the values of one grouping from its rows and those its measures count."""

    raw: Result
    matched: Mapping[Rows, _Matched | None]
    """By measure rows; None if they are not known."""
    _parts: dict[str, RatioParts] = field(default_factory=dict)

    def compute(self, values: Sequence[Value], of_all: _Computation | None) -> Sequence[DataPoint]:
        """The rows with these values, computed column by column: there can be 100,000 rows."""
        points = self.raw.points
        if self.raw.value_names == tuple(value.name for value in values):
            return points
        columns = [self._column(value, of_all) for value in values]
        rows = zip(*columns, strict=True) if columns else (() for _ in points)
        return DataPoints([(p.keys, cells, p.start) for p, cells in zip(points, rows, strict=True)])

    def list_matches(self, values: Sequence[Value]) -> dict[str, ValueMatch]:
        """By value name: which values of a field its measure counted."""
        found: dict[str, ValueMatch] = {}
        for value in values:
            for term in value.source.terms if isinstance(value.source, Measure) else ():
                matched = self.matched.get(term.rows)
                if matched is not None and matched.spelt is not None:
                    found[value.name] = matched.spelt
        return found

    def plain(self, name: str) -> list[Number | None]:
        """A raw column; not computable if the results lack it."""
        if name not in self.raw.value_names:
            return [NOT_COMPUTABLE] * len(self.raw.points)
        return list(self.raw.column(name))

    def _column(self, value: Value, of_all: _Computation | None) -> list[Number | None]:
        source = value.source
        if isinstance(source, Share):
            return self._shares(source, of_all)
        if not isinstance(source, Measure):
            return self.plain(value.name)
        upper = self._leave_unrecorded(source, self._term(source.numerator))
        lower = self._term(source.denominator)
        self._parts[value.name] = RatioParts(upper, lower, source.scale)
        return [ratio_of(*pair, source.scale) for pair in zip(upper, lower, strict=True)]

    def _leave_unrecorded(
        self, source: Measure, counts: Sequence[Number | None]
    ) -> Sequence[Number | None]:
        """The counts with null for 0 where no row of the group recorded what is counted."""
        rows = source.others
        if rows is None or rows not in self.matched:  # no count is 0, or calls ran out
            return counts
        matched = self.matched[rows]
        found: list[Number | None] = []
        for point, count in zip(self.raw.points, counts, strict=True):
            if count == 0 and matched is None:
                found.append(NOT_COMPUTABLE)
            elif count == 0 and matched is not None:
                others = matched.groups.get((identify(point.keys), point.start), ())
                found.append(0 if has_rows(others, matched.names) else None)
            else:
                found.append(count)
        return found

    def list_parts(self, values: Sequence[Value]) -> dict[str, RatioParts]:
        """The parts of each measure, and of each average whose values are counted too."""
        found = dict(self._parts)
        for value in values:
            source = value.source
            if not isinstance(source, Aggregation) or source.type != "avg":
                continue
            count = value_key("count", source.column)
            if count in self.raw.value_names:
                pairs = [*zip(self.plain(value.name), self.plain(count), strict=True)]
                sums = [None if a is None or n is None else a * n for a, n in pairs]
                found[value.name] = RatioParts(sums, [n for _, n in pairs], 1)
        return found

    def _term(self, term: Term) -> list[Number | None]:
        """The sum of a term's aggregations for each row's group.

        If the measure counts none of a group's rows, their number is 0 and other sums are null,
        as in R1.
        """
        names = [aggregation.key for aggregation in term.aggregations] or [TOTAL]
        if not term.rows.has_conditions:
            return [add_up(cells) for cells in zip(*map(self.plain, names), strict=True)]
        matched = self.matched.get(term.rows)
        is_known = matched is not None and (matched.spelt is None or matched.spelt.is_known)
        if matched is None or not is_known or not set(names) <= set(matched.names):
            return [NOT_COMPUTABLE] * len(self.raw.points)
        positions = [matched.names.index(name) for name in names]
        found: list[Number | None] = []
        for point in self.raw.points:
            group = (identify(point.keys), point.start)
            rows = matched.groups.get(group, ())
            is_null = term.aggregations or (matched.spelt and group not in matched.recorded)
            none = None if is_null else 0
            found.append(add_up(row.values[i] for row in rows for i in positions) if rows else none)
        return found

    def _shares(self, share: Share, of_all: _Computation | None) -> list[Number | None]:
        """Each row's fraction of ALL; in a timeseries, of ALL in its bucket."""
        parts = self.plain(share.of)
        if of_all is None:
            # Without group-by the only row is ALL.
            if self.raw.key_names:
                return [NOT_COMPUTABLE] * len(parts)
            return [ratio_of(part, part) for part in parts]
        starts = [point.start for point in of_all.raw.points]
        wholes = dict(zip(starts, of_all.plain(share.of), strict=True))
        rows = zip(self.raw.points, parts, strict=True)
        return [ratio_of(part, wholes.get(point.start, NOT_COMPUTABLE)) for point, part in rows]


def has_rows(points: Iterable[DataPoint], names: Sequence[str]) -> bool:
    """Whether some row of the source is counted here (R1 gives a row of 0 for none)."""
    if TOTAL not in names:
        return any(True for _ in points)
    position = names.index(TOTAL)
    return any(point.values[position] for point in points)


def find_unsure(request: ReportRequest, results: Results) -> dict[QueryRole, Query]:
    """The queries that tell a rate of 0 from one that nothing recorded, where a group has 0."""
    planned: dict[QueryRole, Query] = {}
    for is_before in request.windows:
        raw = results[QueryRole(is_before)]
        for value in request.values:
            rows = value.source.others if isinstance(value.source, Measure) else None
            if not isinstance(value.source, Measure) or rows is None:
                continue
            counted = results[QueryRole(is_before, rows=value.source.numerator.rows)]
            hits = {
                (identify(point.keys), point.start)
                for point in counted.points
                if has_rows([point], counted.value_names)
            }
            if any(
                (identify(point.keys), point.start) not in hits
                for point in raw.points
                if has_rows([point], raw.value_names)
            ):
                role = QueryRole(is_before, rows=rows)
                planned[role] = choose_rows(in_window(request, is_before=is_before), rows, ())
    return planned


def find_seen(
    request: ReportRequest, results: Results, name: str
) -> Mapping[str, int | float] | None:
    """The values of a field in the matching rows, with counts; None if they were not queried."""
    if name in request.query.group_by:
        position = results[QueryRole()].key_names.index(request.datasource.response_key(name))
        mains = [
            results[role] for role in (QueryRole(), QueryRole(is_before=True)) if role in results
        ]
        return {k: n for main in mains for k, n in list_seen(main, position).items()}
    present = [result for role, result in results.items() if role.present == name]
    return list_seen(join(present), 0) if present else None


def choose_values(request: ReportRequest, raws: Sequence[Result]) -> tuple[Value, ...]:
    """The values to show for these results.

    `total` is omitted if the source does not count rows. A percentile of few values is followed
    by their number, unless `total` shows it already.
    """
    shown: list[Value] = []
    names = {value.name for value in request.values}  # one count serves several percentiles
    for value in request.values:
        if value is TOTAL_VALUE and not all(TOTAL in raw.value_names for raw in raws):
            continue
        shown.append(value)
        source = value.source
        if not isinstance(source, Aggregation) or source.type not in PERCENTILES:
            continue
        count = Aggregation(type="count", column=source.column)
        if count.key not in names and _are_few(count.key, raws):
            names.add(count.key)
            shown.append(value_of_aggregation(count, request.datasource))
    return tuple(shown)


def _are_few(name: str, raws: Sequence[Result]) -> bool:
    """Whether some row has few values, and `total` does not show how many."""
    counts: list[tuple[Number | None, Number | None]] = []
    for raw in raws:
        if name not in raw.value_names or TOTAL not in raw.value_names:
            return False
        counts += zip(raw.column(name), raw.column(TOTAL), strict=True)
    has_few = any(count is not None and count < FEW for count, _ in counts)
    return has_few and any(count != total for count, total in counts)


# --- two windows ---


class Compared(NamedTuple):
    """The joined rows of both windows, and the groups that only one of them has."""

    result: Result
    totals: Row | None
    values: tuple[Value, ...]
    new: tuple[tuple[Key, ...], ...]
    vanished: tuple[tuple[Key, ...], ...]


def compare(now: WindowRows, before: WindowRows, values: Sequence[Value]) -> Compared:
    """Four columns per value: now, before, difference, and difference in percent.

    A group that a window lacks has 0 there for counts and sums, and null otherwise (R3).
    """
    ours, theirs = dict(identify_each(now.result.points)), dict(identify_each(before.result.points))
    no_row, no_row_before = _nothing(values, now), _nothing(values, before)
    rows = [
        (
            point.keys,
            _compare_rows(
                values,
                (ours[group].values if group in ours else no_row, no_row),
                (theirs[group].values if group in theirs else no_row_before, no_row_before),
            ),
            None,
        )
        for group, point in {**theirs, **ours}.items()
    ]
    columns = tuple(column for value in values for column in compared(value))
    result = replace(
        now.result,
        value_names=tuple(column.name for column in columns),
        points=DataPoints(rows),
        notes=_merge_notes(now.result.notes, before.result.notes),
    )
    totals = None
    if now.totals is not None and before.totals is not None:
        pairs = (now.totals, no_row), (before.totals, no_row_before)
        totals = _compare_rows(values, *pairs)
    return Compared(
        result,
        totals,
        columns,
        new=tuple(point.keys for group, point in ours.items() if group not in theirs),
        vanished=tuple(point.keys for group, point in theirs.items() if group not in ours),
    )


def _merge_notes(ours: Sequence[str], theirs: Sequence[str]) -> tuple[str, ...]:
    notes = dict.fromkeys(ours)
    for note in theirs:
        notes[note if note in ours else f"in the earlier window: {note}"] = None
    return tuple(notes)


def _nothing(values: Sequence[Value], rows: WindowRows) -> Row:
    """The values of a group that the window lacks; a share of an empty ALL is null."""
    return tuple(
        0
        if (value.is_zero_in_gaps or value.is_additive) and not _is_of_nothing(value, rows)
        else None
        for value in values
    )


def _is_of_nothing(value: Value, rows: WindowRows) -> bool:
    source = value.source
    return isinstance(source, Share) and 0 in (rows.of_all(TOTAL), rows.of_all(source.of))


def _compare_rows(values: Sequence[Value], now: tuple[Row, Row], before: tuple[Row, Row]) -> Row:
    """The cells of one joined row, from each window's values and its values for no row.

    A row with total 0 (R1) counts as no row.
    """
    (ours, no_row), (theirs, no_row_before) = now, before
    if TOTAL_VALUE in values:
        place = values.index(TOTAL_VALUE)
        ours = no_row if ours[place] == 0 else ours
        theirs = no_row_before if theirs[place] == 0 else theirs
    return tuple(
        cell for our, their in zip(ours, theirs, strict=True) for cell in _compare_cells(our, their)
    )


def _compare_cells(now: Number | None, before: Number | None) -> tuple[Number | None, ...]:
    """Now, before, the difference, and the difference in percent."""
    difference = subtract(now, before)
    percent: Number | None = None
    if difference is not None and before is not None:
        # A change from 0 has no percentage; null would mean that there is no data.
        percent = NOT_COMPUTABLE if before == 0 else difference / abs(before) * 100
    return now, before, difference, percent


# --- rows put together ---


def put_together(
    values: Sequence[Value],
    points: Sequence[DataPoint],
    windows: Sequence[WindowRows | None],
    *,
    has_overlap: bool,
) -> Row:
    """The values of all these rows as one, by each column's own arithmetic.

    Sums add up, a minimum is the least one, a ratio is that of the sums of its parts, and a change
    that of both windows' results. Percentiles and distinct counts cannot be computed, and where
    rows share calls nothing but a minimum and a maximum can.
    """
    parts = [{} if rows is None else _choose_parts(rows, points) for rows in windows]
    width = len(windows) ** 2  # a comparison has four columns per value
    cells: list[Number | None] = []
    for i in range(0, len(values), width):
        columns = ([p.values[i + n] for p in points] for n in range(len(parts)))
        both = [
            _put_together(values[i], column, ratios, is_sum=not has_overlap)
            for column, ratios in zip(columns, parts, strict=True)
        ]
        cells += both if len(both) == 1 else _compare_cells(*both)
    return tuple(cells)


def _choose_parts(rows: WindowRows, points: Sequence[DataPoint]) -> dict[str, RatioParts]:
    """The parts of ratios in these rows alone."""
    if not rows.parts:
        return {}
    groups = {identify(point.keys) for point in points}
    chosen = [i for i, point in enumerate(rows.raw.points) if identify(point.keys) in groups]
    return {
        name: RatioParts([upper[i] for i in chosen], [lower[i] for i in chosen], scale)
        for name, (upper, lower, scale) in rows.parts.items()
    }


def _put_together(
    value: Value, column: Sequence[Number | None], parts: Mapping[str, RatioParts], *, is_sum: bool
) -> Number | None:
    source = value.source
    if isinstance(source, Aggregation) and source.type in ("min", "max"):
        present = [cell for cell in column if cell is not None]
        return (min if source.type == "min" else max)(present, default=None)
    if is_sum and value.is_additive:
        return add_up(column)
    if not is_sum or value.name not in parts:
        return NOT_COMPUTABLE
    upper, lower, scale = parts[value.name]
    return ratio_of(add_up(upper), add_up(lower), scale)
