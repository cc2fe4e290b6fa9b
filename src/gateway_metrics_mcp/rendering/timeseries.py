"""A timeseries as text: a line per bucket, and one block per value where it is grouped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway_metrics_mcp.query.model import format_instant
from gateway_metrics_mcp.query.time.interval import Interval, zone_of
from gateway_metrics_mcp.rendering.budget import TokenBudget, write_link_line
from gateway_metrics_mcp.rendering.cells import LONGEST_NAME, SHORT_NAME
from gateway_metrics_mcp.rendering.grid import Block, Grid, explain_labels
from gateway_metrics_mcp.rendering.header import pin_window, write_header
from gateway_metrics_mcp.rendering.no_data import write_empty
from gateway_metrics_mcp.rendering.notes import write_notes
from gateway_metrics_mcp.reports.report import Report

_FEWEST_SERIES: Final = 3
"""Below that, buckets are left out rather than series."""

_FEWEST_BUCKETS: Final = 2
"""With fewer than that, series are left out after all."""

_ALL: Final = "all buckets of all series"

_LEAST_NAME: Final = 4
"""The length of names where even `SHORT_NAME` of them leaves no room: of escapes, say."""


def write_timeseries(report: Report, budget: int) -> str:
    """The answer's text, within `budget` estimated tokens."""
    buckets = report.buckets
    if buckets is None:
        raise TypeError("a timeseries has an interval")
    if not report.result.points:
        return write_empty(report, budget)
    return _Writer(report, buckets, budget).write()


class _Writer:
    """The search for what fits, and the text of it."""

    def __init__(self, report: Report, buckets: Interval, budget: int) -> None:
        self._report = report
        self._buckets = buckets
        self._budget = budget
        self._grid = Grid(report, buckets)
        self._notes = [*write_notes(report, budget), *(f"# {fact}" for fact in self._grid.facts())]
        self._link = write_link_line(_ALL, report.link, budget)

    def write(self) -> str:
        grid = self._grid
        if grid.is_ungrouped:
            return self._fit([grid.ungrouped()], [])[0]
        asked_for = min(self._report.request.limit or len(grid.series), len(grid.series))
        most = min(asked_for, max(self._most_series(), _FEWEST_SERIES))
        text, shown = self._write_series(most, asked_for)
        if shown == grid.bucket_count:
            return text
        fewest = min(_FEWEST_SERIES, most)
        low, high = fewest, most - 1
        while low <= high:
            middle = (low + high) // 2
            candidate, shown = self._write_series(middle, asked_for)
            if shown == grid.bucket_count:
                text, low = candidate, middle + 1
                fewest = 0
            else:
                high = middle - 1
        ways = [(count, LONGEST_NAME) for count in range(fewest, 0, -1)]
        shorter = [(1, SHORT_NAME), (1, _LEAST_NAME)]
        for count, longest in [*ways, *shorter] if ways else []:
            text, shown = self._write_series(count, asked_for, longest)
            enough = _FEWEST_BUCKETS if longest == LONGEST_NAME else 1
            if shown >= min(enough, grid.bucket_count):
                break
        return text

    def _most_series(self) -> int:
        """No more can fit: a label takes 3 tokens or more, a cell 2, and each row one."""
        rows = self._grid.bucket_count * self._grid.block_count
        return (self._budget // max(rows, 1) - 4) // 2

    def _write_series(
        self, count: int, asked_for: int, longest: int = LONGEST_NAME
    ) -> tuple[str, int]:
        """The text with `count` series, and how many buckets fit."""
        total = len(self._grid.series)
        ranking = self._grid.ranked_by
        blocks = self._grid.blocks(count, longest)
        if count == total:
            return self._fit(blocks, [f"{total} series, largest {ranking} first"])
        part = f"top {count} of {total} series by {ranking}, {self._grid.rest_phrase}"
        missed = [] if count == asked_for else [self._missed_line(count, asked_for)]
        return self._fit(blocks, [part], missed, self._link)

    def _missed_line(self, count: int, asked_for: int) -> str:
        return (
            f"# only {count} of the {asked_for} series asked for fit:"
            " a longer interval or a shorter window leaves room for more"
        )

    def _fit(
        self,
        blocks: Sequence[Block],
        parts: Sequence[str],
        tail: Sequence[str] = (),
        link: Sequence[str] = (),
    ) -> tuple[str, int]:
        """The text with the buckets there is room for, at least one, and how many fit."""
        head, labels = self._head(parts), self._grid.labels
        frames = [line for block in blocks for line in block.frame()]
        room = TokenBudget(self._budget)
        room.take(*head, *frames, *tail, *link)
        rows = [[f"{label}|{block.lines[i]}" for block in blocks] for i, label in enumerate(labels)]
        fitting, last = _count_fitting(rows, room), [*tail]
        if fitting < len(rows) > 1:
            room = TokenBudget(self._budget)
            link = self._link
            room.take(*head, *frames, *tail, self._next_line(1), *link)
            fitting = _count_fitting(rows, room)
            last.append(self._next_line(max(fitting, 1)))
        lines = list(head)
        for position, block in enumerate(blocks):
            lines += [*block.frame(), *(row[position] for row in rows[: max(fitting, 1)])]
        return "\n".join([*lines, *last, *link]), fitting

    def _head(self, parts: Sequence[str]) -> list[str]:
        count = self._grid.bucket_count
        buckets = (
            f"{count} bucket{'s' if count > 1 else ''} of {self._buckets}, labelled by start,"
            f" {zone_of(self._buckets).key}{explain_labels(self._grid.labels)}"
        )
        return [write_header(self._report, buckets, *parts), *self._notes]

    def _next_line(self, shown: int) -> str:
        """The arguments that continue: the rest of this window in the same buckets."""
        starts = self._grid.starts
        rest = len(starts) - shown
        end = pin_window(self._report.request)["endTs"]
        return (
            f"# {rest} more bucket{'s' if rest > 1 else ''}: same arguments with"
            f" startTs={format_instant(starts[shown])}, endTs={end}, interval={self._buckets};"
            " or a longer interval"
        )


def _count_fitting(rows: Sequence[Sequence[str]], room: TokenBudget) -> int:
    """How many buckets there is room for, from the first on."""
    for count, lines in enumerate(rows):
        if not room.fits("\n".join(lines)):
            return count
    return len(rows)
