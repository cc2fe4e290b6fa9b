"""A timeseries as a grid: every bucket of the window, and the series by size.

Also the order of rows that distributions and value lists share. Text is made in timeseries.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from heapq import merge
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from gateway_metrics_mcp.query import (
    TOTAL,
    Aggregation,
    DataPoint,
    DataPoints,
    Interval,
    Key,
    Number,
    Query,
    add_up,
)
from gateway_metrics_mcp.query.result import Identity, Row, identify_each
from gateway_metrics_mcp.query.time.interval import (
    UNIT_MONTHS,
    UNIT_SECONDS,
    LocalDays,
    end_of,
    localise_hours,
)
from gateway_metrics_mcp.rendering.cells import add_unit, format_key, quote_text
from gateway_metrics_mcp.rendering.document import Note
from gateway_metrics_mcp.reports.report import Report
from gateway_metrics_mcp.runtime.concurrency import T

# `sorted` holds the interpreter lock; this many rows take about 10 ms. Sorting 190,000 rows at
# once kept all other callers waiting for 0.6 s.
_MOST_SORTED: Final = 5_000


def sort_rows(
    rows: Sequence[T],
    key: Callable[[T], Any],
    *,
    is_descending: bool = False,
    most: int = _MOST_SORTED,
) -> list[T]:
    """A stable sort like `sorted`, in runs of at most `most` rows that are then merged."""
    runs = [
        sorted(rows[first : first + most], key=key, reverse=is_descending)
        for first in range(0, len(rows), most)
    ]
    return runs[0] if len(runs) == 1 else list(merge(*runs, key=key, reverse=is_descending))


def sort_points(report: Report) -> Sequence[DataPoint]:
    """The rows in the answer's order: by the order column, then by keys; missing values last."""
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


def _is_missing(cell: Key) -> bool:
    """Whether a cell cannot be ranked: null, or NaN."""
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def _size(cell: Key) -> Key:
    """A number's absolute value; text and null unchanged."""
    return cell if isinstance(cell, str) or cell is None else abs(cell)


def _key_order(row: Row) -> tuple[tuple[int, Number, str], ...]:
    return tuple(rank_key(key) for key in row[0])


def rank_key(cell: Key) -> tuple[int, Number, str]:
    """A sort key for cells of mixed types: numbers before text before null."""
    if cell is None:
        return (2, 0, "")
    return (1, 0, cell) if isinstance(cell, str) else (0, cell, "")


# Appended to the label of a bucket that the window cuts.
PARTIAL: Final = " (partial)"

_DAY_S: Final = UNIT_SECONDS["day"]


def find_buckets(query: Query, buckets: Interval, starts: set[datetime]) -> list[datetime] | None:
    """The starts of all buckets of the window, in order.

    Engines align buckets as ruling R4 says. A gateway may align them elsewhere, in steps of the
    same width. None if the rows fit neither alignment: then only the returned buckets are known.
    """
    ours = list(buckets.buckets(query.start_ts, query.end_ts))
    if starts <= set(ours):
        return ours
    seconds = buckets.fixed_seconds
    if seconds is None:
        return None
    width = timedelta(seconds=seconds)
    phase = (min(starts) - query.start_ts) % width
    # The first bucket may begin before the window, and the last may end after it.
    first = query.start_ts + phase - (width if phase else timedelta(0))
    count = -(-(query.end_ts - first) // width)
    theirs = [first + i * width for i in range(count)]
    return theirs if starts <= set(theirs) else None


def label_buckets(starts: Sequence[datetime], buckets: Interval, zone: ZoneInfo) -> list[str]:
    """A label per bucket, by the zone's clocks; below a day only each day's first has the date.

    Labels without the repeated date cut the tokens of 168 hourly buckets by two thirds. A time that
    the clocks show twice has its offset.
    """
    local = [start.astimezone(zone) for start in starts]
    if isinstance(buckets, LocalDays) or _is_by_date(local, buckets):
        return _label_dates(local, buckets)
    form = "%H:%M:%S" if any(start.second for start in local) else "%H:%M"
    labels, day = [], None
    for start in local:
        time = start.strftime(form)
        if start.replace(fold=1).utcoffset() != start.replace(fold=0).utcoffset():
            time += f" {start.isoformat()[-6:]}"
        labels.append(time if start.date() == day else f"{start:%Y-%m-%d} {time}")
        day = start.date()
    return labels


def mark_partial(
    labels: Sequence[str], query: Query, starts: Sequence[datetime], buckets: Interval
) -> list[str]:
    """The labels, with partial first and last buckets marked."""
    marked = list(labels)
    if starts[0] < query.start_ts:
        marked[0] += PARTIAL
    if end_of(starts[-1], buckets) > query.end_ts and not marked[-1].endswith(PARTIAL):
        marked[-1] += PARTIAL
    return marked


def explain_labels(labels: Sequence[str]) -> str:
    """An explanation of labels that are only a time of day; empty if there are none."""
    short = next((label for label in labels if label[2:3] == ":"), None)
    if short is None:
        return ""
    form = "HH:MM:SS" if short[5:6] == ":" else "HH:MM"
    return f"; {form} rows belong to the date above"


def explain_zone(report: Report) -> list[str]:
    """A note if buckets begin where those of UTC do, although the zone's begin elsewhere."""
    query, zone = report.request.query, report.request.window.zone
    if query.interval is None or report.request.local is not None:
        return []
    if localise_hours(query.interval, zone, query.start_ts, query.end_ts) is None:
        return []
    others = ", ".join(dict.fromkeys(str(a) for a in query.aggregations if not a.is_additive))
    why = f": {others} cannot be added up from shorter ones" if others else ""
    return [f"buckets begin where those of UTC do, not of {zone.key}{why}"]


def partial_notes(report: Report, starts: Sequence[datetime], buckets: Interval) -> list[str]:
    """Notes on a partial first or last bucket, so that it is not read as a drop."""
    query, notes = report.request.query, []
    if starts[0] < query.start_ts:
        notes.append(f"the first bucket is partial: only from {_clock(query.start_ts)} on")
    last_end = end_of(starts[-1], buckets)
    if last_end > query.end_ts:
        why = "still running" if report.request.window.is_to_now else "cut by the window"
        notes.append(f"the last bucket is partial, {why}: only to {_clock(query.end_ts)}")
    if notes and query.has_rates:
        notes.append("rates of a partial bucket are too low: they divide by its whole width")
    return notes


def _clock(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ").replace(":00Z", "Z")


def _is_by_date(in_utc: Sequence[datetime], buckets: Interval) -> bool:
    """Whether a date is enough as a label: buckets start at midnight and last whole days."""
    if any(start.strftime("%H%M%S") != "000000" for start in in_utc):
        return False
    return (buckets.fixed_seconds or _DAY_S) % _DAY_S == 0


def _label_dates(starts: Sequence[datetime], buckets: Interval) -> list[str]:
    """Dates as short as the buckets allow: `2026`, `2026-07` or `2026-07-15`."""
    form = "%Y-%m-%d"
    if buckets.unit in UNIT_MONTHS and all(start.day == 1 for start in starts):
        is_by_year = buckets.unit == "year" and all(start.month == 1 for start in starts)
        form = "%Y" if is_by_year else "%Y-%m"
    return [start.strftime(form) for start in starts]


Values = Mapping[datetime, Sequence[Number | None]]


class Series(NamedTuple):
    """One group: per bucket start a row of values, in the order of the result's value names."""

    keys: tuple[Key, ...]
    values: Values

    def name(self, longest: int) -> str:
        """The keys as one cell; keys with a comma are quoted, so that the parts stay distinct."""
        return ", ".join(format_key(key, longest) for key in self.keys) or "all"


def rank_series(report: Report) -> tuple[Sequence[Series], str]:
    """The series, largest first, and the name of the value that ranks them.

    Ranked by the sum of the first value if it is additive, else by the number of rows, or by the
    highest bucket if the source does not count rows.
    """
    # Duplicate rows of a group and bucket become series of their own.
    gathered: dict[Identity, tuple[tuple[Key, ...], dict[datetime, Sequence[Number | None]]]] = {}
    for identity, point in identify_each(report.result.points):
        if point.start is not None:
            gathered.setdefault(identity, (point.keys, {}))[1][point.start] = point.values
    series = [Series(keys, values) for keys, values in gathered.values()]
    series.sort(key=lambda one: tuple(map(rank_key, one.keys)))
    names = report.result.value_names
    name = report.first_value
    if name is not None and not report.value(name).is_additive and TOTAL in names:
        name = TOTAL
    if name is None:
        return series, "name"
    position, is_additive = names.index(name), report.value(name).is_additive

    def size(one: Series) -> Number:
        column = [row[position] for row in one.values.values()]
        if is_additive:
            return add_up(column) or 0
        return max((value for value in column if value is not None), default=0)

    series.sort(key=size, reverse=True)
    return series, name


def merge_series(report: Report, hidden: Sequence[Series]) -> Series:
    """The hidden series as one: additive values added up, None for the others."""
    is_additive = [report.value(name).is_additive for name in report.result.value_names]
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


class Grid:
    """All buckets and all series of a timeseries."""

    def __init__(self, report: Report, buckets: Interval) -> None:
        self._report = report
        self.buckets = buckets
        query = report.request.query
        # `came`: the starts of buckets that have rows; the API omits empty ones (R3).
        came = {point.start for point in report.result.points if point.start is not None}
        starts = find_buckets(query, buckets, came)
        self._is_aligned = starts is not None
        self.starts: list[datetime] = sorted(came) if starts is None else starts
        self.zone = report.request.window.zone
        """The zone whose clocks label the buckets."""
        self.labels = label_buckets(self.starts, buckets, self.zone)
        if self._is_aligned:
            self.labels = mark_partial(self.labels, query, self.starts, buckets)
        self._missing = len(self.starts) - len(came)
        self.series, by = rank_series(report)
        self.ranked_by = quote_text(by)
        self.is_ungrouped = not report.result.key_names and len(self.series) == 1
        """Whether the series are not grouped, so that each bucket has one row."""
        self._has_overlap = report.rows_overlap

    def notes(self) -> list[Note]:
        """Notes on partial, empty and otherwise aligned buckets, and on their zone."""
        report, facts = self._report, []
        if not self._is_aligned:
            facts.append(
                "the gateway's buckets are aligned differently: only those with rows are shown"
            )
        else:
            facts += partial_notes(report, self.starts, self.buckets)
            if self._missing:
                facts.append(f"{self._missing} of {len(self.starts)} buckets had no rows at all")
        facts += explain_zone(report)
        return [Note("buckets", fact) for fact in facts]

    def describe_buckets(self) -> str:
        """The number of buckets, their width, and how they are labelled."""
        count = len(self.starts)
        return (
            f"{count} bucket{'s' if count > 1 else ''} of {self.buckets}, labelled by start,"
            f" {self.zone.key}{explain_labels(self.labels)}"
        )

    def describe_cut(self, most: int, names: Iterable[str] | None = None) -> str:
        """Which series are shown, and whether the rest is added up as `other`."""
        total = len(self.series)
        if most >= total:
            return f"{total} series, largest {self.ranked_by} first"
        can_add = [False] if names is None else [self.has_rest(name) for name in names]
        rest = describe_rest(can_add)
        return f"top {most} of {total} series by {self.ranked_by}, {rest}"

    def has_rest(self, name: str) -> bool:
        """Whether the hidden series of a value can be added up as `other`."""
        return self._report.value(name).is_additive and not self._has_overlap

    def gap(self, name: str) -> Number | None:
        """The value of a bucket without rows (R3): 0 for counts and sums, else None."""
        return 0 if self._is_aligned and self._report.value(name).is_zero_in_gaps else None


def describe_rest(can_add: Collection[bool]) -> str:
    """What happens to hidden groups; `can_add` says for each shown value if it adds up."""
    if all(can_add):
        return "the rest in other"
    return "the rest in other where it adds up" if any(can_add) else "the rest excluded"


def label_of(report: Report, name: str) -> str:
    """A value's column name, with its unit unless the name includes it."""
    return add_unit(name, report.value(name).unit)


def choose_values(report: Report, where: str) -> tuple[list[tuple[int, str]], list[Note]]:
    """The values to show, with their positions, and a note on those that are left out.

    Requested counts that equal `total` in every row and in ALL are left out; `where` says so.
    """
    names = report.result.value_names
    rows = [values for _, values, _ in report.result.plain_rows()]
    rows += [] if report.totals is None else [report.totals]
    position = names.index(TOTAL) if TOTAL in names else None
    equal = [
        value.name
        for value in report.values
        if position is not None
        and isinstance(value.source, Aggregation)
        and value.source.type == "count"
        and all(row[names.index(value.name)] == row[position] for row in rows)
    ]
    shown = [(i, name) for i, name in enumerate(names) if name not in equal]
    fact = f"{', '.join(map(quote_text, equal))} equals total {where}"
    return shown, [Note("columns", fact)] if equal else []
