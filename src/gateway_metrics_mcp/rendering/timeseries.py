"""The page of a timeseries: a row per bucket, and one table per value if it is grouped.

Rows are buckets and columns are series because that shape takes a third of the tokens of a row per
bucket and group.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, partial
from typing import Final

from gateway_metrics_mcp.query import Number, format_instant
from gateway_metrics_mcp.query.time.interval import find_interval
from gateway_metrics_mcp.rendering.cells import (
    LONGEST_NAME,
    NULL,
    SHORT_NAME,
    cell_formatter,
)
from gateway_metrics_mcp.rendering.document import (
    Continuation,
    Note,
    Page,
    Table,
    TokenBudget,
    note_link,
)
from gateway_metrics_mcp.rendering.grid import (
    Grid,
    Series,
    choose_values,
    label_of,
    merge_series,
)
from gateway_metrics_mcp.rendering.notes import fit_notes, keep_true_of
from gateway_metrics_mcp.rendering.report_document import ReportDocument, pin_window

# With this many series or fewer, buckets are dropped instead of series.
_FEWEST_SERIES: Final = 3


class BucketSearch:
    """Finds how many series and buckets fit the budget."""

    def __init__(self, document: ReportDocument, grid: Grid, budget: int) -> None:
        self._document = document
        self._report = report = document.report
        self._budget = budget
        self._grid = grid
        self._count = len(grid.starts)
        self._shown, equal = choose_values(report, "everywhere")
        self._notes = [*fit_notes(document.notes, budget), *equal, *grid.notes()]
        self._link = note_link("all buckets of all series", document.link, budget)
        # The search formats the same columns again for every number of series it tries.
        self._column = cache(lambda i, position: self._cells(grid.series[position], i))

    def fit(self) -> Page:
        """The page within the budget: all buckets, and as many series as then fit."""
        grid = self._grid
        if grid.is_ungrouped:
            heading = [label_of(self._report, name) for _, name in self._shown]
            columns = [self._column(i, 0) for i, _ in self._shown]
            return self._fit_buckets([self._table(heading, columns)], [], 1)[0]
        asked_for = min(self._report.request.limit or len(grid.series), len(grid.series))
        most = min(asked_for, max(self._most_series(), _FEWEST_SERIES))
        page, shown = self._fit_series(most, asked_for)
        if shown == self._count:
            return page
        # Binary search for the most series with which all buckets still fit.
        fewest = min(_FEWEST_SERIES, most)
        low, high = fewest, most - 1
        while low <= high:
            middle = (low + high) // 2
            candidate, shown = self._fit_series(middle, asked_for)
            if shown == self._count:
                page, low = candidate, middle + 1
                fewest = 0
            else:
                high = middle - 1
        ways = [(count, LONGEST_NAME) for count in range(fewest, 0, -1)]
        # An escaped character takes six, so that even `SHORT_NAME` may not fit.
        shorter = [(1, SHORT_NAME), (1, 4)]
        for count, longest in [*ways, *shorter] if ways else []:
            page, shown = self._fit_series(count, asked_for, longest)
            # With a single bucket, series are dropped after all, and then letters.
            enough = 2 if longest == LONGEST_NAME else 1
            if shown >= min(enough, self._count):
                break
        return page

    def _most_series(self) -> int:
        """An upper bound of the series that fit: a label takes 3 tokens, a cell 2, a row one."""
        rows = self._count * len(self._shown)
        return (self._budget // max(rows, 1) - 4) // 2

    def _fit_series(
        self, count: int, asked_for: int, longest: int = LONGEST_NAME
    ) -> tuple[Page, int]:
        """The page with the `count` largest series, and how many buckets fit."""
        room = (count + 1) * self._count // (asked_for + 1)
        way = f"a longer interval{self._suggest(room)}, or a shorter window leaves room for more"
        fact = f"only {count} of the {asked_for} requested series fit: {way}"
        cut = [] if count == asked_for else [Note("cut", fact)]
        link = [] if count == len(self._grid.series) else self._link
        part = self._grid.describe_cut(count, [name for _, name in self._shown])
        return self._fit_buckets(self._tables(count, longest), [part], count, cut, link)

    def _tables(self, count: int, longest: int) -> list[Table]:
        """A table per value, of the largest `count` series and the rest."""
        grid = self._grid
        hidden = grid.series[count:]
        names = [series.name(longest) for series in grid.series[:count]]
        rest = merge_series(self._report, hidden) if hidden else None
        tables = []
        for i, name in self._shown:
            columns, heading = [self._column(i, position) for position in range(count)], names
            if rest is not None and grid.has_rest(name):
                columns.append(self._cells(rest, i))
                heading = [*names, f"other ({len(hidden)})"]
            tables.append(self._table(heading, columns, label_of(self._report, name)))
        return tables

    def _table(
        self, heading: Sequence[str], columns: Sequence[Sequence[str]], title: str | None = None
    ) -> Table:
        rows = list(zip(self._grid.labels, *columns, strict=True))
        return Table(["time", *heading], rows, [False] + [True] * len(heading), title)

    def _cells(self, series: Series, i: int) -> list[str]:
        name = self._report.result.value_names[i]
        form = cell_formatter(self._report, name)
        gap = NULL if self._grid.gap(name) is None else "0"
        rows = map(series.values.get, self._grid.starts)
        return [gap if row is None else form(row[i]) for row in rows]

    def _fit_buckets(
        self,
        tables: Sequence[Table],
        parts: Sequence[str],
        count: int,
        cut: Sequence[Note] = (),
        link: Sequence[Note] = (),
    ) -> tuple[Page, int]:
        """The page of `count` series with the buckets that fit, at least one; how many fit."""
        # A bucket is one row in every table, so all of its rows are measured together.
        by_bucket = zip(*(table.rows for table in tables), strict=True)
        rows = [["\n".join(map("|".join, row))] for row in by_bucket]

        def count_fitting(tail: Sequence[Note]) -> int:
            room = TokenBudget.beside(self._page(tables, 0, parts, tail), self._budget)
            return len(room.take_rows(rows, least=0))

        tail = [*cut, *link]
        fitting = count_fitting(tail)
        # The continuation takes room from the buckets, so they are fitted again beside it.
        if fitting < len(rows) > 1:
            fitting = count_fitting([*cut, self._continue(1), *self._link])
            tail = [*cut, self._continue(max(fitting, 1)), *self._link]
        page = self._page(tables, max(fitting, 1), parts, tail)
        rounded = [note for note in page.notes if note.kind == "rounded"]
        if keep_true_of(rounded, self._report, partial(self._show_values, count, fitting)):
            return page, fitting
        return Page(page.header, [one for one in page.blocks if one not in rounded]), fitting

    def _show_values(self, count: int, shown: int) -> Iterator[Sequence[Number | None]]:
        """The values of the first buckets, of `count` series and of the rest together."""
        starts, series = self._grid.starts[: max(shown, 1)], self._grid.series
        rest = [merge_series(self._report, series[count:])] if count < len(series) else []
        for one in (*series[:count], *rest):
            yield from (one.values[start] for start in starts if start in one.values)

    def _page(
        self, tables: Sequence[Table], shown: int, parts: Sequence[str], tail: Sequence[Note]
    ) -> Page:
        header = self._document.header.show(self._grid.describe_buckets(), *parts)
        if shown < self._count:
            tables = [table._replace(rows=table.rows[:shown]) for table in tables]
        return Page(header, [*self._notes, *tables, *tail])

    def _suggest(self, shown: int) -> str:
        """`, such as 6 hours`: one of which all buckets have about the room that these took."""
        query = self._report.request.query
        interval = find_interval(query.start_ts, query.end_ts, max(shown * 3 // 4, 1))
        return f", such as {interval}"

    def _continue(self, shown: int) -> Continuation:
        """How to get the rest of this window in the same buckets."""
        starts = self._grid.starts
        rest = len(starts) - shown
        arguments = {
            "startTs": format_instant(starts[shown]),
            "endTs": pin_window(self._report.request)["endTs"],
            "interval": str(self._grid.buckets),
        }
        text = (
            f"{rest} more bucket{'s' if rest > 1 else ''}: {self._document.words.go_on(arguments)};"
            f" or a longer interval{self._suggest(shown)}"
        )
        return Continuation("more", text, arguments)
