"""Chooses the lines of a timeseries: a panel per unit, a line per series, the rest as one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from gateway_metrics_mcp.query import Interval
from gateway_metrics_mcp.query.time.interval import zone_of
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
from gateway_metrics_mcp.rendering.grid import PARTIAL, Grid, Series, merge_series
from gateway_metrics_mcp.rendering.report_document import ReportDocument


def choose_lines(document: ReportDocument, grid: Grid, buckets: Interval) -> Chart:
    """The line chart of a timeseries, with at most `MOST_SERIES` series."""
    return _Lines(document, grid, buckets).choose()


class _Lines:
    def __init__(self, document: ReportDocument, grid: Grid, buckets: Interval) -> None:
        self._document = document
        self._report = document.report
        self._buckets = buckets
        self._grid = grid
        # Local times written as UTC: Vega-Lite knows UTC and the machine's zone only, and the
        # axis must show the days of the requested zone.
        zone = zone_of(buckets)
        walls = [start.astimezone(zone).replace(tzinfo=None) for start in self._grid.starts]
        self._places = [f"{wall:%Y-%m-%dT%H:%M:%S}Z" for wall in walls]
        self._is_partial = [label.endswith(PARTIAL) for label in self._grid.labels]

    def choose(self) -> Chart:
        report, grid = self._report, self._grid
        drawn = values_to_draw(report)
        groups = group_by_unit(drawn) if grid.is_ungrouped else [[one] for one in drawn]
        shown = [one for group in groups[:MOST_PANELS] for one in group]
        most = min(report.request.limit or MOST_SERIES, MOST_SERIES, len(grid.series))
        hidden = grid.series[most:]
        names = [one.name for one in shown]
        has_rest = hidden and any(map(grid.has_rest, names))
        rest = f"{OTHER} ({len(hidden)})" if has_rest else None
        extent = grid.describe_cut(most, names) if hidden else ""
        panels = [
            self._ungrouped(group) if grid.is_ungrouped else self._grouped(group[0], most, rest)
            for group in groups[:MOST_PANELS]
        ]
        return Chart(
            "lines",
            write_title(report, shown),
            write_subtitle(self._document, extent, *(note.text for note in grid.notes())),
            tuple(self._places),
            f"start of the bucket, {zone_of(self._buckets).key}",
            tuple(panels),
            rest,
            _note(most, len(grid.series), len(shown), len(drawn)),
        )

    def _ungrouped(self, group: Sequence[Drawn]) -> Panel:
        """A panel without groups: a line per value of one unit."""
        series = self._grid.series[0]
        names = shorten([one.name for one in group]) if len(group) > 1 else [""]
        marks = [
            mark
            for one, name in zip(group, names, strict=True)
            for mark in self._marks(series, one, name)
        ]
        return Panel(name_axis(group), group[0].value.unit, tuple(names), tuple(marks))

    def _grouped(self, one: Drawn, most: int, rest: str | None) -> Panel:
        """A panel of one value: a line per series."""
        series = self._grid.series
        names = name_groups([each.keys for each in series[:most]])
        marks = [
            mark
            for each, name in zip(series[:most], names, strict=True)
            for mark in self._marks(each, one, name)
        ]
        if rest is not None:
            names.append(rest)
            if self._grid.has_rest(one.name):
                marks += self._marks(merge_series(self._report, series[most:]), one, rest)
        return Panel(name_axis([one]), one.value.unit, tuple(names), tuple(marks))

    def _marks(self, series: Series, one: Drawn, name: str) -> list[Mark]:
        """A mark per bucket; a bucket without rows is 0 or a gap, as in the answer (R3)."""
        gap = self._grid.gap(one.name)

        def value_at(start: datetime) -> int | float | None:
            row = series.values.get(start)
            return gap if row is None else row[one.position]

        values = [value_at(start) for start in self._grid.starts]
        texts = [write_exactly(value, one.value) for value in values]
        return [
            Mark(place, name, finite(value), text, is_partial=is_partial)
            for place, value, text, is_partial in zip(
                self._places, values, texts, self._is_partial, strict=True
            )
        ]


def _note(most: int, series: int, shown: int, values: int) -> str | None:
    """What the chart leaves out; None if nothing."""
    parts = [
        *([f"top {most} of {series} series"] if most < series else []),
        *([f"the first {shown} of {values} values"] if shown < values else []),
    ]
    return ", ".join(parts) or None
