"""Chooses the contents of a chart: a panel per value or unit, and the series and marks of each.

A timeseries has a line per series, a distribution a bar per group and window; what is not drawn is
added up as one more. How charts are drawn is in vega.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Final, Literal

from gateway_metrics_mcp.query import RATE_TYPES, TOTAL, Aggregation, Measure, Number, add_up
from gateway_metrics_mcp.query.time.comparison import explain_earlier
from gateway_metrics_mcp.query.time.window import format_window
from gateway_metrics_mcp.rendering.cells import (
    add_unit,
    describe_filters,
    format_cell,
    format_value,
    quote_column,
    quote_text,
)
from gateway_metrics_mcp.rendering.charts.labels import name_groups, shorten
from gateway_metrics_mcp.rendering.grid import PARTIAL, Grid, Series, describe_rest, merge_series
from gateway_metrics_mcp.rendering.report_document import ReportDocument
from gateway_metrics_mcp.reports.columns import BEFORE, CHANGE, CHANGE_PERCENT, RATIO, Value
from gateway_metrics_mcp.reports.report import Report

_NOW: Final = "this window"
_EARLIER: Final = "the earlier window"
_LONGEST_TITLE: Final = 84

# Characters of a subtitle line: more would be wider than the image.
_LONGEST_LINE: Final = 118

# Series or groups drawn individually; the rest is one more if it adds up.
_MOST_SERIES: Final = 12

_MOST_PANELS: Final = 3

# Larger integers are drawn as floats: the engine's JavaScript numbers are exact up to here.
_MOST_WHOLE: Final = 2**53


@dataclass(frozen=True, slots=True)
class Mark:
    """One figure of a series, at a bucket's start or a group's name (`place`)."""

    place: str
    series: str
    value: Number | None
    text: str
    """The value with all digits and its unit, shown under the pointer."""
    label: str = ""
    """The text at a bar's end."""
    is_partial: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes, for values of one unit."""

    axis: str
    """The title of the value axis: a name and a unit."""
    unit: str | None
    series: tuple[str, ...]
    """Names in the order of the answer; a single empty name if there is only one series."""
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """The chart of one answer."""

    kind: Literal["lines", "bars"]
    title: str
    subtitle: tuple[str, ...]
    places: tuple[str, ...]
    """The starts of all buckets, in order; empty for bars, whose places are per panel."""
    place_axis: str
    panels: tuple[Panel, ...]
    rest: str | None = None
    """The name of the series that sums those not drawn."""
    note: str | None = None
    """What the chart leaves out of the answer."""


def choose_chart(document: ReportDocument) -> Chart | None:
    """The chart of a document; None if it has no rows or no value to draw."""
    report, grid = document.report, document.grid
    is_past = report.request.offset >= len(report.result.points)
    if document.is_empty or is_past or not report.result.value_names:
        return None
    chart = _Bars(document).choose() if grid is None else _Lines(document, grid).choose()
    has_value = any(mark.value is not None for panel in chart.panels for mark in panel.marks)
    return chart if has_value else None


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A value to draw, and its position in a row."""

    position: int
    value: Value

    @property
    def name(self) -> str:
        """The name of the value's column."""
        return self.value.name


def _values_to_draw(report: Report) -> list[_Drawn]:
    """The requested values; the row count if none was requested."""
    names = report.result.value_names
    wanted = [v for v in report.request.values if v.name in names and v.name != TOTAL]
    if not wanted:
        wanted = [v for v in report.values if v.name in names][:1]
    return [_Drawn(names.index(value.name), value) for value in wanted]


def _group_by_unit(drawn: Sequence[_Drawn]) -> list[list[_Drawn]]:
    """Group the values that can share an axis: the same unit, and all or none of them sums.

    A measure such as USD per request is in a unit of its own, so it never shares; ratios in
    percent all share.
    """
    groups: dict[object, list[_Drawn]] = {}
    for one in drawn:
        value = one.value
        is_own = isinstance(value.source, Measure) and value.unit != RATIO
        is_alone = value.unit is None or is_own
        alike = one.name if is_alone else (_name_unit(value), value.is_additive)
        groups.setdefault(alike, []).append(one)
    return list(groups.values())


def _name_axis(group: Sequence[_Drawn]) -> str:
    """The axis title: the shared unit, with the column's name if there is only one value."""
    unit = _name_unit(group[0].value)
    return unit if len(group) > 1 else f"{quote_column(group[0].name)} ({unit})"


def _name_unit(value: Value) -> str:
    """A unit for people: `USD`, `ms`, `%`, `tokens/s`; `count` for counts."""
    if value.unit == RATIO:
        return "%"
    source = value.source
    if isinstance(source, Aggregation) and source.type in RATE_TYPES:
        per = "min" if source.type == "ratePerMinute" else "s"
        return f"{value.unit or 'count'}/{per}"
    if value.unit is not None:
        return value.unit
    is_plain = isinstance(source, Aggregation) and not source.type.startswith("count")
    return "no unit" if is_plain or isinstance(source, Measure) else "count"


def _finite(value: Number | None) -> Number | None:
    """The value if it can be drawn; None for null, NaN, infinity and integers beyond floats."""
    try:
        number = math.nan if value is None else float(value)
    except OverflowError:
        return None
    if not math.isfinite(number):
        return None
    return value if abs(number) < _MOST_WHOLE else number


def _write_exactly(value: Number | None, one: _Drawn) -> str:
    """The value with all digits and its unit."""
    text, unit = format_value(value, one.value.unit, exact=True), _name_unit(one.value)
    return text if _finite(value) is None or unit in ("%", "count", "no unit") else f"{text} {unit}"


def _write_title(report: Report, drawn: Sequence[_Drawn]) -> str:
    """`sumCostInUSD by modelName`, with units unless the names include them."""
    values = ", ".join(map(_label, drawn))
    groups = ", ".join(map(quote_text, report.request.query.group_by))
    title = f"{values} by {groups}" if groups else values
    return _cut_end(title, _LONGEST_TITLE)


def _write_subtitle(document: ReportDocument, *facts: str) -> tuple[str, ...]:
    """Lines with the datasource and window, the filters and scope, and `facts`."""
    report, header = document.report, document.header
    request, earlier = report.request, header.earlier
    lines = [f"{request.query.datasource}, {format_window(header.window)}"]
    if request.query.interval is not None:
        lines[0] += f", buckets of {report.buckets}"
    if earlier is not None:
        lines.append(f"compared with {format_window(earlier)}")
        lines += explain_earlier(header.window, earlier)
    lines += [f"source: {header.source}"] if header.source else []
    filters = " AND ".join(describe_filters(header.filters))
    limits = [part for part in (filters, header.scope) if part]
    lines += ["; ".join(limits)] if limits else []
    lines += [note.text for note in document.notes if note.kind == "rows"]
    lines += [fact for fact in facts if fact]
    return tuple(_cut_end(line, _LONGEST_LINE) for line in lines)


def _label(one: _Drawn) -> str:
    name = quote_column(one.name)
    is_said = add_unit(one.name, one.value.unit) == name
    return name if is_said else f"{name} ({_name_unit(one.value)})"


def _cut_end(text: str, longest: int) -> str:
    """The text, with its end replaced by `…` if it is too long."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


class _Chooser:
    """What both kinds of charts share: which values are drawn, and in which panels."""

    def __init__(self, document: ReportDocument, *, is_ungrouped: bool) -> None:
        self._document = document
        self._report = report = document.report
        values = _values_to_draw(report)
        groups = _group_by_unit(values) if is_ungrouped else [[one] for one in values]
        self._groups = groups[:_MOST_PANELS]
        self._drawn = [one for group in self._groups for one in group]
        self._cut = ""
        if len(self._drawn) < len(values):
            self._cut = f"the first {len(self._drawn)} of {len(values)} values"
        self._most = min(report.request.limit or _MOST_SERIES, _MOST_SERIES)
        self._has_overlap = report.rows_overlap

    def _adds_up(self, one: _Drawn) -> bool:
        return one.value.is_additive and not self._has_overlap

    def _name_rest(self, hidden: int) -> str | None:
        """The name of the series of all others, if any drawn value adds up."""
        return f"other ({hidden})" if hidden and any(map(self._adds_up, self._drawn)) else None

    def _note(self, extent: str) -> str | None:
        """What the chart leaves out; None if nothing."""
        return ", ".join(filter(None, (extent, self._cut))) or None


class _Lines(_Chooser):
    """The line chart of a timeseries: a panel per unit, a line per series."""

    def __init__(self, document: ReportDocument, grid: Grid) -> None:
        super().__init__(document, is_ungrouped=grid.is_ungrouped)
        self._grid = grid
        # Local times written as UTC: Vega-Lite knows UTC and the machine's zone only, and the
        # axis must show the days of the requested zone.
        walls = [start.astimezone(grid.zone).replace(tzinfo=None) for start in grid.starts]
        self._axis = f"start of the bucket, {grid.zone.key}"
        if any(following <= wall for wall, following in pairwise(walls)):
            # Clocks that were set back would put two buckets in one place.
            first = grid.starts[0].astimezone(grid.zone)
            wall = first.replace(tzinfo=None)
            walls = [wall + (start - grid.starts[0]) for start in grid.starts]
            self._axis += f" at UTC{first.isoformat()[-6:]}, as before the clocks changed"
        self._places = [f"{wall:%Y-%m-%dT%H:%M:%S}Z" for wall in walls]
        self._is_partial = [label.endswith(PARTIAL) for label in grid.labels]

    def choose(self) -> Chart:
        grid, names = self._grid, [one.name for one in self._drawn]
        hidden = grid.series[self._most :]
        rest = self._name_rest(len(hidden))
        make = self._ungrouped if grid.is_ungrouped else partial(self._grouped, rest=rest)
        extent = grid.describe_cut(self._most, names) if hidden else ""
        top = f"top {self._most} of {len(grid.series)} series" if hidden else ""
        return Chart(
            "lines",
            _write_title(self._report, self._drawn),
            _write_subtitle(self._document, extent, *(note.text for note in grid.notes())),
            tuple(self._places),
            self._axis,
            tuple(map(make, self._groups)),
            rest,
            self._note(top),
        )

    def _ungrouped(self, group: Sequence[_Drawn]) -> Panel:
        """A panel without groups: a line per value of one unit."""
        names = shorten([one.name for one in group]) if len(group) > 1 else [""]
        lines = [(self._grid.series[0], one, name) for one, name in zip(group, names, strict=True)]
        return self._panel(group, lines, names)

    def _grouped(self, group: Sequence[_Drawn], rest: str | None) -> Panel:
        """A panel of one value: a line per series."""
        (one,), series = group, self._grid.series
        shown, hidden = series[: self._most], series[self._most :]
        names = name_groups([each.keys for each in shown])
        lines = [(each, one, name) for each, name in zip(shown, names, strict=True)]
        if rest is not None:
            names.append(rest)
            if self._adds_up(one):
                lines.append((merge_series(self._report, hidden), one, rest))
        return self._panel(group, lines, names)

    def _panel(
        self,
        group: Sequence[_Drawn],
        lines: Sequence[tuple[Series, _Drawn, str]],
        names: Sequence[str],
    ) -> Panel:
        marks = [mark for line in lines for mark in self._marks(*line)]
        return Panel(_name_axis(group), group[0].value.unit, tuple(names), tuple(marks))

    def _marks(self, series: Series, one: _Drawn, name: str) -> list[Mark]:
        """A mark per bucket; a bucket without rows is 0 or a gap, as in the answer (R3)."""
        gap, rows = self._grid.gap(one.name), map(series.values.get, self._grid.starts)
        values = [gap if row is None else row[one.position] for row in rows]
        return [
            Mark(place, name, _finite(value), _write_exactly(value, one), is_partial=is_partial)
            for place, value, is_partial in zip(self._places, values, self._is_partial, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class _Row:
    """A group to draw, with its values by column position."""

    name: str
    values: Sequence[Number | None]
    is_rest: bool = False


class _Bars(_Chooser):
    """The bar chart of a distribution: a panel per value, a bar per group and window."""

    def __init__(self, document: ReportDocument) -> None:
        self._is_ungrouped = not document.report.result.key_names
        super().__init__(document, is_ungrouped=self._is_ungrouped)
        self._names = document.report.result.value_names
        self._is_compared = document.report.request.earlier is not None
        self._series = (_NOW, _EARLIER) if self._is_compared else ("",)
        first, points = document.report.request.offset, document.points
        self._shown = points[first : first + self._most]
        self._hidden = [*points[:first], *points[first + self._most :]]

    def choose(self) -> Chart:
        rest = self._name_rest(len(self._hidden))
        extent = self._extent()
        return Chart(
            "bars",
            _write_title(self._report, self._drawn),
            _write_subtitle(self._document, self._say_which(extent)),
            (),
            "",
            tuple(self._panel(group, rest) for group in self._groups),
            rest,
            self._note(extent),
        )

    def _say_which(self, extent: str) -> str:
        """Which groups are drawn, in which order, and what happens to the rest.

        If all groups are drawn, only a comparison states its order: its bars are sorted by the
        change, which their lengths do not show.
        """
        order = self._document.order
        if extent:
            rest = describe_rest([*map(self._adds_up, self._drawn)])
            return ", ".join(filter(None, (extent, order, rest)))
        return order if self._is_compared and len(self._shown) > 1 else ""

    def _extent(self) -> str:
        """Which groups have a bar: `12 of 14 groups`, `groups 13-14 of 14`; empty for all."""
        first, shown = self._report.request.offset, len(self._shown)
        count = shown + len(self._hidden)
        if first == 0:
            return f"{shown} of {count} groups" if self._hidden else ""
        which = f"group {first + 1}" if shown == 1 else f"groups {first + 1}-{first + shown}"
        return f"{which} of {count}"

    def _panel(self, group: Sequence[_Drawn], rest: str | None) -> Panel:
        """Without groups a bar per value of one unit; else one value: a bar per group and rest."""
        if self._is_ungrouped:
            names = shorten([one.name for one in group])
            rows = [_Row(name, self._shown[0].values) for name in names]
            bars = list(zip(group, rows, strict=True))
        else:
            (one,) = group
            names = name_groups([point.keys for point in self._shown])
            bars = [(one, _Row(n, p.values)) for n, p in zip(names, self._shown, strict=True)]
            if rest is not None and self._adds_up(one):
                columns = zip(*(point.values for point in self._hidden), strict=True)
                bars.append((one, _Row(rest, [*map(add_up, columns)], is_rest=True)))
        marks = [mark for bar in bars for mark in self._marks(*bar)]
        return Panel(_name_axis(group), group[0].value.unit, self._series, tuple(marks))

    def _marks(self, one: _Drawn, row: _Row) -> list[Mark]:
        """The bars of a group: one, or in a comparison one per window."""
        positions = [one.position]
        if self._is_compared:
            positions.append(self._names.index(one.name + BEFORE))
        marks = []
        for series, position in zip(self._series, positions, strict=True):
            value = row.values[position]
            label = format_cell(self._report, value, one.name)
            label += self._say_change(one, row) if series == _NOW else ""
            text = _write_exactly(value, one)
            marks.append(Mark(row.name, series, _finite(value), text, label))
        return marks

    def _say_change(self, one: _Drawn, row: _Row) -> str:
        """The change as ` (+12.5%)`, for ratios ` (-0.50pp)`; empty for the rest.

        Percentages of change do not add up, so the rest has none.
        """
        if row.is_rest:
            return ""
        name = one.name + (CHANGE if one.value.unit == RATIO else CHANGE_PERCENT)
        change = row.values[self._names.index(name)]
        return "" if _finite(change) is None else f" ({format_cell(self._report, change, name)})"
