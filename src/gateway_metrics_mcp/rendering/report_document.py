"""A report as a document: all its rows in the answer's order, with header and notes.

Nothing is cut here: writers decide what fits a budget.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gateway_metrics_mcp.query import DataPoint, Key, format_instant
from gateway_metrics_mcp.rendering.cells import quote_column, quote_text
from gateway_metrics_mcp.rendering.document import (
    TOOL_WORDS,
    Column,
    Continuation,
    Header,
    Note,
    Words,
)
from gateway_metrics_mcp.rendering.grid import Grid, sort_points
from gateway_metrics_mcp.rendering.notes import explain_empty, list_notes
from gateway_metrics_mcp.reports.report import Report, is_empty
from gateway_metrics_mcp.reports.request import ReportRequest


@dataclass(frozen=True, slots=True)
class ReportDocument:
    """A report's rows, header and notes, from which all writers work."""

    report: Report
    header: Header
    verdict: Sequence[Note]
    """For an empty report: why nothing matched, and what to ask next."""
    notes: Sequence[Note]
    # Plain rows, not cells: most of a large answer is never shown, and JSON, CSV, charts and
    # `--fail-if` need the values.
    points: Sequence[DataPoint]
    """The rows in the answer's order; for a timeseries in the backend's order."""
    grid: Grid | None
    """Buckets by series; None for a distribution or without rows."""
    words: Words
    picture: Note | None = None
    """What the chart leaves out, or why there is none."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing matched."""
        return bool(self.verdict)

    @property
    def is_one_row(self) -> bool:
        """Whether it is shown as `name: value` lines: a single row, and no ALL row."""
        report = self.report
        is_table = self.grid is not None or report.totals is not None or report.request.offset
        return len(self.points) == 1 and not is_table

    @property
    def order(self) -> str:
        """`sorted by size of costInUSD_change desc`; empty for a timeseries, and by keys alone."""
        report, column = self.report, self.report.order_column
        if column is None or report.buckets is not None:
            return ""
        direction = "desc" if report.request.is_descending else "asc"
        return (
            f"sorted by {'size of ' if report.is_by_size else ''}{quote_column(column)} {direction}"
        )

    @property
    def remarks(self) -> list[str]:
        """All notes as texts, for JSON and CSV."""
        of_buckets = [] if self.grid is None else self.grid.notes()
        return [note.text for note in (*self.verdict, *self.notes, *of_buckets)]

    @property
    def columns(self) -> list[Column]:
        """The columns of `records()`."""
        report, result = self.report, self.report.result
        return [
            *([] if report.buckets is None else [Column("time", "time")]),
            *(Column(name, "key") for name in result.key_names),
            *(Column(name, "value", report.value(name).unit) for name in result.value_names),
        ]

    @property
    def link(self) -> str | None:
        """The URI of all rows; None if there is none."""
        return self.words.link(self.report.request)

    def continue_at(self, offset: int) -> Continuation:
        """How to continue from a row; a window that ends now is pinned."""
        request = self.report.request
        arguments: dict[str, object] = {"offset": offset}
        if request.limit is not None:
            arguments["limit"] = request.limit
        if request.window.is_to_now:
            arguments |= pin_window(request)
        left = len(self.points) - offset
        more = f"{left} more {'row' if left == 1 else 'rows'}"
        return Continuation("more", f"{more}: {self.words.go_on(arguments)}", arguments)

    def records(self, most_series: int | None = None) -> Iterator[Sequence[Key]]:
        """Every requested row; for a timeseries one per bucket and group, gaps filled (R3).

        A distribution honours `limit` and `offset`; a timeseries yields its `most_series` largest
        series, all if None.
        """
        request, grid = self.report.request, self.grid
        if self.report.buckets is None:
            last = None if request.limit is None else request.offset + request.limit
            for point in self.points[request.offset : last]:
                yield (*point.keys, *point.values)
        elif grid is not None:
            gap = [grid.gap(name) for name in self.report.result.value_names]
            for start in grid.starts:
                time = start.astimezone(grid.zone).isoformat()
                for series in grid.series[:most_series]:
                    yield (time, *series.keys, *series.values.get(start, gap))


def describe_report(report: Report, words: Words = TOOL_WORDS) -> ReportDocument:
    """The document of a report; `words` name the next request in the reader's terms."""
    nothing = is_empty(report)
    buckets = report.buckets
    return ReportDocument(
        report,
        describe_coverage(report),
        explain_empty(report, words) if nothing else (),
        list_notes(report, words),
        sort_points(report) if buckets is None else report.result.points,
        None if buckets is None or nothing else Grid(report, buckets),
        words,
    )


def describe_coverage(report: Report) -> Header:
    """The header of the report's answer: the resolved window, filters, scope and row meaning."""
    request = report.request
    query = request.query
    kind = " timeseries" if query.interval is not None else ""
    by = f" by {', '.join(map(quote_text, query.group_by))}" if query.group_by else ""
    # A gateway restricts rows to the token's rights and does not say how.
    sight = "" if report.result.is_by_rulings else ", visible to this token"
    return Header(
        f"{query.datasource}{kind}{by}",
        request.window,
        request.earlier,
        tuple(request.shown_filters),
        request.scope,
        f"{request.counted}{sight}",
        source=report.source,
    )


def pin_window(request: ReportRequest) -> dict[str, str]:
    """The window as arguments of a call that must see the same window.

    Pins the comparison window too: `previous` of a running month is the same part of the month
    before, but of two instants only the time before them.
    """
    query, earlier = request.query, request.earlier
    pinned = {"startTs": format_instant(query.start_ts), "endTs": format_instant(query.end_ts)}
    if earlier is not None:
        pinned["compareTo"] = "..".join(map(format_instant, (earlier.start, earlier.end)))
    return pinned
