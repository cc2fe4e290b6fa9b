"""An answer as CSV: all rows with all digits, safe to open in a spreadsheet."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from gateway_metrics_mcp.query.result import Key
from gateway_metrics_mcp.query.time.interval import Interval, zone_of
from gateway_metrics_mcp.rendering.cells import add_unit, keep_on_line
from gateway_metrics_mcp.rendering.grid import Grid
from gateway_metrics_mcp.rendering.header import write_header
from gateway_metrics_mcp.rendering.remarks import list_remarks
from gateway_metrics_mcp.rendering.sorting import describe_order, sort_points
from gateway_metrics_mcp.reports.report import Report

# A spreadsheet takes text for a formula by its first letter; where it splits at semicolons, by
# that of each part. A quote is read as the beginning of a part, not as its first letter.
_FORMULA: Final = re.compile('(^|;)(?=[\\s"]*[=+\\-@\uff1d\uff0b\uff0d\uff20])')
_NEEDS_QUOTES: Final = re.compile('[",;]|^\\s|\\s$')


def write_csv(report: Report, most_series: int | None = None) -> str:
    """A header and every row of the answer; a timeseries has one per bucket and group.

    The names are the table's, the numbers as in `format: json`. The ALL row is left out: it must
    not be added up with the rows. A distribution keeps to the limit and offset of its question,
    a timeseries to its `most_series` largest series.
    """
    lines = [write_line(_headings(report))]
    buckets = report.buckets
    rows = _groups(report) if buckets is None else _buckets(report, buckets, most_series)
    lines += map(write_line, rows)
    return "\n".join(lines) + "\n"


def write_beside(report: Report) -> list[str]:
    """What a CSV has no place for: window, filters, scope, what is counted, and the notes."""
    report = replace(report, request=replace(report.request, format="exact"))  # nothing is rounded
    grid = None if report.buckets is None else Grid(report, report.buckets)
    is_ordered = grid is None and len(report.result.points) > 1
    order = describe_order(report) if is_ordered else ""
    head = write_header(report, *([order] if order else []))
    return [head.removeprefix("# "), *list_remarks(report, grid)]


def _headings(report: Report) -> list[Key]:
    time = [] if report.buckets is None else ["time"]
    names = [add_unit(name, report.unit_of(name)) for name in report.result.value_names]
    return [*time, *report.result.key_names, *names]


def _groups(report: Report) -> Iterator[Sequence[Key]]:
    request = report.request
    last = None if request.limit is None else request.offset + request.limit
    for point in sort_points(report)[request.offset : last]:
        yield (*point.keys, *point.values)


def _buckets(report: Report, buckets: Interval, most: int | None) -> Iterator[Sequence[Key]]:
    """Each bucket of the window with its series, the largest first; filled as the table is."""
    if not report.result.points:
        return
    grid, zone = Grid(report, buckets), zone_of(buckets)
    gap = [grid.gap(name) for name in report.result.value_names]
    for start in grid.starts:
        time = start.astimezone(zone).isoformat()
        for series in grid.series[:most]:
            yield (time, *series.keys, *series.values.get(start, gap))


def write_line(cells: Iterable[Key]) -> str:
    """One record; a lone empty field is quoted, since it would be an empty line."""
    return ",".join(map(_write_cell, cells)) or '""'


def _write_cell(cell: Key) -> str:
    """Numbers bare, nothing for null, `""` for empty text."""
    if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
        return ""
    if not isinstance(cell, str):
        return json.dumps(cell)
    text = _FORMULA.sub(r"\1'", keep_on_line(cell))
    if text and _NEEDS_QUOTES.search(text) is None:
        return text
    return '"' + text.replace('"', '""') + '"'
