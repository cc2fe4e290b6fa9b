"""The cells of a timeseries: rows are buckets, columns are series, a block per value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from gateway_metrics_mcp.answers.asked import Asked
from gateway_metrics_mcp.answers.buckets import (
    explain_zone,
    find_buckets,
    label_buckets,
    mark_partial,
    partial_notes,
)
from gateway_metrics_mcp.answers.cells import LONGEST_NAME, NULL, cell_formatter, quote_text
from gateway_metrics_mcp.answers.series import Series, merge_series, rank_series
from gateway_metrics_mcp.answers.table import equal_to_total, label_of
from gateway_metrics_mcp.query.local_days import Buckets
from gateway_metrics_mcp.result import Number


@dataclass(frozen=True, slots=True)
class Block:
    """One table: the cells of each bucket, a line each, without the label."""

    title: str | None
    columns: Sequence[str]
    lines: Sequence[str]

    def frame(self) -> list[str]:
        """What stands above the rows."""
        columns = ["time", *self.columns]
        title = [] if self.title is None else [f"## {self.title}"]
        return [*title, "|".join(columns), "|".join(["---"] * len(columns))]


class Grid:
    """All buckets and all series of an answer, of which blocks are cut."""

    def __init__(self, asked: Asked, buckets: Buckets) -> None:
        self._asked = asked
        self._buckets = buckets
        query = asked.question.query
        came = {point.start for point in asked.result.points if point.start is not None}
        starts = find_buckets(query, buckets, came)
        self._is_aligned = starts is not None
        self.starts: list[datetime] = sorted(came) if starts is None else starts
        self.labels = label_buckets(self.starts, buckets)
        if self._is_aligned:
            self.labels = mark_partial(self.labels, query, self.starts, buckets)
        self._missing = len(self.starts) - len(came)
        self._equal = equal_to_total(asked)
        names = asked.result.value_names
        self._values = [(i, name) for i, name in enumerate(names) if name not in self._equal]
        ranking = rank_series(asked)
        self.series, self.ranked_by = ranking.series, quote_text(ranking.by)
        self._has_overlap = asked.rows_overlap
        self._columns: dict[tuple[int, int], list[str]] = {}

    @property
    def bucket_count(self) -> int:
        """The rows of a block."""
        return len(self.starts)

    @property
    def block_count(self) -> int:
        """The values that are shown."""
        return len(self._values)

    @property
    def is_ungrouped(self) -> bool:
        """Whether each bucket has one row."""
        return not self._asked.result.key_names and len(self.series) == 1

    @cached_property
    def rest_phrase(self) -> str:
        """What becomes of the series that are not shown."""
        with_rest = [self.has_rest(name) for _, name in self._values]
        if all(with_rest):
            return "the rest in other"
        return "the rest in other where it adds up" if any(with_rest) else "the rest left out"

    def facts(self) -> list[str]:
        """What is true of these buckets, for the lines below the header."""
        equal = ", ".join(map(quote_text, self._equal))
        return [*([f"{equal} equals total everywhere"] if equal else []), *self.bucket_facts()]

    def bucket_facts(self) -> list[str]:
        """Which buckets hold less than their width, or nothing."""
        asked, facts = self._asked, []
        if not self._is_aligned:
            facts.append(
                "the gateway's buckets are aligned otherwise: only those with rows stand here"
            )
        else:
            facts += partial_notes(asked, self.starts, self._buckets)
            if self._missing:
                facts.append(f"{self._missing} of {len(self.starts)} buckets had no rows at all")
        return [*facts, *explain_zone(self._buckets, asked.question.window.zone.key)]

    def ungrouped(self) -> Block:
        """One table with all values as columns."""
        columns = [self._column(0, i, name) for i, name in self._values]
        return Block(
            None, [label_of(self._asked, name) for _, name in self._values], _join(columns)
        )

    def blocks(self, count: int, longest: int = LONGEST_NAME) -> list[Block]:
        """A table per value, of the largest `count` series and the rest."""
        hidden = self.series[count:]
        names = [series.name(longest) for series in self.series[:count]]
        rest = merge_series(self._asked, hidden) if hidden else None
        blocks = []
        for i, name in self._values:
            columns, headings = [self._column(j, i, name) for j in range(count)], names
            if rest is not None and self.has_rest(name):
                columns.append(self._cells(rest, i, name))
                headings = [*names, f"other ({len(hidden)})"]
            blocks.append(Block(label_of(self._asked, name), headings, _join(columns)))
        return blocks

    def has_rest(self, name: str) -> bool:
        """Whether the series that are not shown may be added up in a value."""
        return self._asked.is_additive(name) and not self._has_overlap

    def _column(self, position: int, i: int, name: str) -> list[str]:
        """The cells of one value of one series; made once, however often they are asked for."""
        if (position, i) not in self._columns:
            self._columns[position, i] = self._cells(self.series[position], i, name)
        return self._columns[position, i]

    def gap(self, name: str) -> Number | None:
        """What a bucket without rows has of a value."""
        return 0 if self._is_aligned and self._asked.is_zero_in_gaps(name) else None

    def _cells(self, series: Series, i: int, name: str) -> list[str]:
        form = cell_formatter(self._asked, name)
        gap = NULL if self.gap(name) is None else "0"
        rows = map(series.values.get, self.starts)
        return [gap if row is None else form(row[i]) for row in rows]


def _join(columns: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a block, of its columns."""
    return ["|".join(cells) for cells in zip(*columns, strict=True)]
