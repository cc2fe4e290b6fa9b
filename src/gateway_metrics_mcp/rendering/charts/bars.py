"""Chooses the bars of a distribution: a panel per value, a bar per group and window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway_metrics_mcp.query import Number, add_up
from gateway_metrics_mcp.rendering.cells import format_cell
from gateway_metrics_mcp.rendering.charts.chart import (
    MOST_PANELS,
    MOST_SERIES,
    OTHER,
    Chart,
    Drawn,
    Mark,
    Panel,
    finite,
    group_by_unit,
    name_axis,
    values_to_draw,
    write_exactly,
)
from gateway_metrics_mcp.rendering.charts.labels import (
    name_groups,
    shorten,
    write_subtitle,
    write_title,
)
from gateway_metrics_mcp.rendering.grid import describe_rest
from gateway_metrics_mcp.rendering.report_document import ReportDocument
from gateway_metrics_mcp.reports.columns import BEFORE, CHANGE, CHANGE_PERCENT, RATIO

NOW: Final = "this window"
EARLIER: Final = "the earlier window"


def choose_bars(document: ReportDocument) -> Chart:
    """The bar chart of a distribution, with at most `MOST_SERIES` groups."""
    return _Bars(document).choose()


@dataclass(frozen=True, slots=True)
class _Row:
    """A group to draw, with its values by column position."""

    name: str
    values: Sequence[Number | None]
    is_rest: bool = False


class _Bars:
    def __init__(self, document: ReportDocument) -> None:
        self._document = document
        self._report = report = document.report
        self._names = report.result.value_names
        self._is_compared = report.request.earlier is not None
        points, request = document.points, report.request
        first = request.offset
        most = min(request.limit or MOST_SERIES, MOST_SERIES)
        self._shown = points[first : first + most]
        self._hidden = [*points[:first], *points[first + most :]]

    def choose(self) -> Chart:
        report = self._report
        drawn = values_to_draw(report)
        is_one = not report.result.key_names
        groups = group_by_unit(drawn) if is_one else [[one] for one in drawn]
        shown = [one for group in groups[:MOST_PANELS] for one in group]
        rest = self._name_rest(shown)
        make = self._of_values if is_one else self._of_groups
        extent = self._extent()
        return Chart(
            "bars",
            write_title(report, shown),
            write_subtitle(self._document, self._say_which(extent, shown)),
            (),
            "",
            tuple(make(group) for group in groups[:MOST_PANELS]),
            rest,
            self._note(extent, len(shown), len(drawn)),
        )

    def _say_which(self, extent: str, shown: Sequence[Drawn]) -> str:
        """Which groups are drawn, in which order, and what happens to the rest.

        If all groups are drawn, only a comparison states its order: its bars are sorted by the
        change, which their lengths do not show.
        """
        order = self._document.order
        if extent:
            rest = describe_rest([*map(self._adds_up, shown)])
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

    def _note(self, extent: str, shown: int, values: int) -> str | None:
        cut = f"the first {shown} of {values} values" if shown < values else ""
        return ", ".join(part for part in (extent, cut) if part) or None

    def _name_rest(self, drawn: Sequence[Drawn]) -> str | None:
        """The name of the bar for all other groups, if any drawn value adds up."""
        can = any(self._adds_up(one) for one in drawn)
        return f"{OTHER} ({len(self._hidden)})" if self._hidden and can else None

    def _adds_up(self, one: Drawn) -> bool:
        return one.value.is_additive and not self._report.rows_overlap

    def _of_groups(self, group: Sequence[Drawn]) -> Panel:
        """One value: a bar per group, then the rest."""
        (one,) = group
        names = name_groups([point.keys for point in self._shown])
        rows = [_Row(n, p.values) for n, p in zip(names, self._shown, strict=True)]
        if self._hidden and self._adds_up(one):
            name = f"{OTHER} ({len(self._hidden)})"
            rows.append(_Row(name, self._add_up_hidden(), is_rest=True))
        marks = [mark for row in rows for mark in self._marks(one, row)]
        return Panel(name_axis(group), one.value.unit, self._series(), tuple(marks))

    def _of_values(self, group: Sequence[Drawn]) -> Panel:
        """A panel without groups: a bar per value of one unit."""
        point = self._shown[0]
        names = shorten([one.name for one in group])
        marks = [
            mark
            for one, name in zip(group, names, strict=True)
            for mark in self._marks(one, _Row(name, point.values))
        ]
        return Panel(name_axis(group), group[0].value.unit, self._series(), tuple(marks))

    def _series(self) -> tuple[str, ...]:
        return (NOW, EARLIER) if self._is_compared else ("",)

    def _add_up_hidden(self) -> list[Number | None]:
        columns = zip(*(point.values for point in self._hidden), strict=True)
        return [add_up(column) for column in columns]

    def _marks(self, one: Drawn, row: _Row) -> list[Mark]:
        """The bars of a group: one, or in a comparison one per window."""
        now = self._mark(one, one.position, row, NOW if self._is_compared else "")
        if not self._is_compared:
            return [now]
        earlier = self._names.index(one.name + BEFORE)
        return [now, self._mark(one, earlier, row, EARLIER)]

    def _mark(self, one: Drawn, position: int, row: _Row, series: str) -> Mark:
        value = row.values[position]
        label = format_cell(self._report, value, one.name)
        if self._is_compared and series == NOW:
            label += self._say_change(one, row)
        return Mark(row.name, series, finite(value), write_exactly(value, one.value), label)

    def _say_change(self, one: Drawn, row: _Row) -> str:
        """The change as ` (+12.5%)`, for ratios ` (-0.50pp)`; empty for the rest.

        Percentages of change do not add up, so the rest has none.
        """
        if row.is_rest:
            return ""
        name = one.name + (CHANGE if one.value.unit == RATIO else CHANGE_PERCENT)
        change = row.values[self._names.index(name)]
        return "" if finite(change) is None else f" ({format_cell(self._report, change, name)})"
