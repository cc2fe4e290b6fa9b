"""A timeseries as text: a line per bucket, and one block per value where it is grouped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gateway_metrics_mcp.answers.asked import Asked
from gateway_metrics_mcp.answers.buckets import (
    find_buckets,
    has_short_labels,
    label_buckets,
    partial_notes,
)
from gateway_metrics_mcp.answers.budget import Room
from gateway_metrics_mcp.answers.cells import format_key
from gateway_metrics_mcp.answers.empty import write_empty
from gateway_metrics_mcp.answers.header import write_header
from gateway_metrics_mcp.answers.notes import write_notes
from gateway_metrics_mcp.answers.series import gather_series, merge_series
from gateway_metrics_mcp.answers.table import equal_to_total, label_of
from gateway_metrics_mcp.query.interval import Interval

_FEWEST_SERIES: Final = 3
"""Below that, buckets are left out rather than series."""


def write_timeseries(asked: Asked, budget: int) -> str:
    """The answer's text, within `budget` estimated tokens."""
    interval = asked.question.query.interval
    if interval is None:
        raise TypeError("a timeseries has an interval")
    if not asked.result.points:
        return write_empty(asked)
    return _Writer(asked, interval, budget).write()


@dataclass(frozen=True, slots=True)
class _Block:
    """One table: the cells of each bucket, a line each, without the label."""

    title: str | None
    columns: Sequence[str]
    lines: Sequence[str]


class _Writer:
    def __init__(self, asked: Asked, interval: Interval, budget: int) -> None:
        self._asked = asked
        self._interval = interval
        self._budget = budget
        came = {point.start for point in asked.result.points if point.start is not None}
        buckets = find_buckets(asked.question.query, interval, came)
        self._is_aligned = buckets is not None
        self._starts: list[datetime] = sorted(came) if buckets is None else buckets
        self._labels = label_buckets(self._starts, interval)
        self._equal = equal_to_total(asked)
        self._names = [name for name in asked.result.value_names if name not in self._equal]
        self._missing = len(self._starts) - len(came)
        self._series, self._rank = gather_series(asked)

    def write(self) -> str:
        if not self._asked.result.key_names:
            return self._fit([self._ungrouped()], [])[0]
        most = min(self._asked.question.limit or len(self._series), len(self._series))
        text = ""
        for count in range(most, min(_FEWEST_SERIES, most) - 1, -1):
            text, is_whole = self._fit(self._blocks(count), [self._series_part(count)])
            if is_whole:
                break
        return text

    def _series_part(self, count: int) -> str:
        total = len(self._series)
        if count == total:
            return f"{total} series, largest {self._rank} first"
        return f"top {count} of {total} series by {self._rank}{self._rest_phrase()}"

    def _rest_phrase(self) -> str:
        additive = [name for name in self._names if self._has_rest(name)]
        return ", the rest in other" if additive else ", the rest left out"

    def _has_rest(self, name: str) -> bool:
        return self._asked.is_additive(name) and not self._asked.rows_overlap

    def _ungrouped(self) -> _Block:
        asked = self._asked
        (series,) = self._series
        lines = []
        for start in self._starts:
            values = series.values.get(start)
            lines.append("|".join(self._cell(name, values) for name in self._names))
        return _Block(None, [label_of(asked, name) for name in self._names], lines)

    def _blocks(self, count: int) -> list[_Block]:
        shown, hidden = self._series[:count], self._series[count:]
        names = ["/".join(format_key(key) for key in series.keys) for series in shown]
        rest = merge_series(self._asked, hidden) if hidden else None
        blocks = []
        for name in self._names:
            columns, drawn = list(names), list(shown)
            if rest is not None and self._has_rest(name):
                columns.append(f"other ({len(hidden)})")
                drawn.append(rest)
            lines = [
                "|".join(self._cell(name, series.values.get(start)) for series in drawn)
                for start in self._starts
            ]
            blocks.append(_Block(label_of(self._asked, name), columns, lines))
        return blocks

    def _cell(self, name: str, values: Sequence[int | float | None] | None) -> str:
        asked = self._asked
        if values is None:
            return "0" if self._is_aligned and asked.is_zero_in_gaps(name) else "null"
        value = values[asked.result.value_names.index(name)]
        return asked.format(value, name)

    def _fit(self, blocks: Sequence[_Block], parts: Sequence[str]) -> tuple[str, bool]:
        """The text with as many buckets as there is room for, and whether that is all."""
        head = self._head(parts)
        frames = [self._frame(block) for block in blocks]
        rows = [
            [f"{label}|{block.lines[i]}" for block in blocks]
            for i, label in enumerate(self._labels)
        ]
        room = Room(self._budget)
        room.take(*head, *(line for frame in frames for line in frame))
        count = _count_fitting(rows, room)
        is_whole = count == len(rows)
        if not is_whole:
            room = Room(self._budget)
            room.take(*head, *(line for frame in frames for line in frame), self._hint(0))
            count = max(_count_fitting(rows, room), 1)
        text = [*head]
        for position, frame in enumerate(frames):
            text += [*frame, *(lines[position] for lines in rows[:count])]
        return "\n".join(text if is_whole else [*text, self._hint(count)]), is_whole

    def _frame(self, block: _Block) -> list[str]:
        columns = ["time", *block.columns]
        title = [] if block.title is None else [f"## {block.title}"]
        return [*title, "|".join(columns), "|".join(["---"] * len(columns))]

    def _head(self, parts: Sequence[str]) -> list[str]:
        asked, interval = self._asked, self._interval
        count = len(self._starts)
        buckets = f"{count} bucket{'s' if count > 1 else ''} of {interval}, labelled by start, UTC"
        if has_short_labels(interval):
            buckets += "; HH:MM rows belong to the date above"
        lines = [write_header(asked, buckets, *parts), *write_notes(asked)]
        return lines + [f"# {fact}" for fact in self._facts()]

    def _facts(self) -> list[str]:
        asked, facts = self._asked, []
        if self._equal:
            facts.append(f"{', '.join(self._equal)} equals total everywhere")
        if self._is_aligned:
            facts += partial_notes(asked, self._starts, self._interval)
            if self._missing:
                facts.append(f"{self._missing} of {len(self._starts)} buckets had no rows at all")
        else:
            facts.append(
                "the gateway's buckets are aligned otherwise: only those with rows stand here"
            )
        zone = asked.question.window.zone.key
        if zone != "UTC":
            facts.append(f"buckets are cut in UTC, not in {zone}")
        return facts

    def _hint(self, shown: int) -> str:
        rest = len(self._starts) - shown
        following = self._starts[min(shown, len(self._starts) - 1)].strftime("%Y-%m-%dT%H:%M:%SZ")
        return (
            f"# {rest} more buckets: same arguments with startTs={following}, or a longer interval"
        )


def _count_fitting(rows: Sequence[Sequence[str]], room: Room) -> int:
    """How many buckets there is room for, from the first on."""
    for count, lines in enumerate(rows):
        if not room.fits("\n".join(lines)):
            return count
    return len(rows)
