"""A report's document as JSON and CSV, for programs. Tables for models are in document.py."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from gateway_metrics_mcp.query import DataPoint, Key, break_markup, format_instant
from gateway_metrics_mcp.rendering.cells import add_unit, keep_on_line
from gateway_metrics_mcp.rendering.document import Column, TokenBudget, estimate_tokens, note_link
from gateway_metrics_mcp.rendering.grid import Series
from gateway_metrics_mcp.rendering.notes import count_cut_notes
from gateway_metrics_mcp.rendering.report_document import ReportDocument, pin_window
from gateway_metrics_mcp.reports.report import Report
from gateway_metrics_mcp.reports.request import ReportRequest

# The gateway's own limit on a metadata value.
_LONGEST: Final = 128

# The part of the budget for everything before the rows. Beyond it the echoed request is cut: the
# caller knows what was sent.
_MOST_OF_BUDGET: Final = 0.6

_SHOWN: Final = ("startTs", "endTs", "datasource", "filters")


@dataclass(slots=True)
class _Rows:
    """The rows that fit, how many there are in all, and the arguments that continue."""

    count: int
    shown: list[list[Any]] = field(default_factory=list)
    following: dict[str, Any] | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def write_json(document: ReportDocument, budget: int) -> str:
    """One JSON object: `columns` once, then `rows` as lists; rows are never cut in half.

    If rows do not fit `budget` estimated tokens, `next` holds the arguments to merge into this
    call's to continue, and `csv` the URI of the resource with all rows.
    """
    report = document.report
    request = report.request
    names = [*report.result.key_names, *report.result.value_names]
    body: dict[str, Any] = {
        "request": request.query.to_body(),
        "scope": request.scope,
        **({"source": report.source} if report.source else {}),
        **_describe_reading(document),
        "notes": document.remarks,
        "columns": names if report.buckets is None else ["startTimestamp", *names],
        "all": None if report.totals is None else list(map(_finite, report.totals)),
    }
    if estimate_tokens(_dump(body)) > budget * _MOST_OF_BUDGET:
        body |= _shorten(body, budget)
    take = _groups if report.buckets is None else _buckets

    def fit_rows() -> _Rows:
        # What `next` takes, the arguments that continue, and its comparison window.
        room = TokenBudget(budget - 60 - (45 if request.earlier is not None else 0))
        room.take(_dump(body))
        return take(document, room)

    rows = fit_rows()
    # The link takes room from the rows, so they are fitted again with it in place.
    if len(rows.shown) < rows.count and note_link("", document.link, budget):
        body["csv"] = document.link
        rows = fit_rows()
    return _dump(
        body
        | rows.facts
        | {
            "rowCount": rows.count,
            "isComplete": len(rows.shown) == rows.count,
            "next": rows.following,
            "rows": rows.shown,
        }
    )


def _describe_reading(document: ReportDocument) -> dict[str, Any]:
    """What the request does not state: the comparison window, the zone, the order of rows."""
    request = document.report.request
    earlier, zone = request.earlier, request.window.zone.key
    told: dict[str, Any] = {}
    if earlier is not None:
        ends = (format_instant(earlier.start), format_instant(earlier.end))
        told["comparedWith"] = dict(zip(("startTs", "endTs"), ends, strict=True))
    if zone != "UTC":
        told["timezone"] = zone
    return told | ({"order": document.order} if document.order else {})


def _shorten(body: dict[str, Any], budget: int) -> dict[str, Any]:
    """Cut the request, then the notes, until both fit; window and filters are kept longest."""
    request, notes = body["request"], body["notes"]
    part = {name: request[name] for name in _SHOWN if name in request}
    said_short = "of the request the window, the datasource and the filters are shown"
    said_none = "the request is too long to be shown"
    for shown, said, most in ((part, said_short, 5), (part, said_short, 3), (None, said_none, 5)):
        more = [note.text for note in count_cut_notes(len(notes) - most)]
        short = {"request": shown, "notes": [said, *notes[:most], *more]}
        if estimate_tokens(_dump(body | short)) <= budget * _MOST_OF_BUDGET:
            break
    return short


def _groups(document: ReportDocument, room: TokenBudget) -> _Rows:
    """The rows of a distribution from `offset` on; at least one, so that paging always advances."""
    points, request = document.points, document.report.request
    first = min(request.offset, len(points))
    last = None if request.limit is None else first + request.limit
    rows = _Rows(len(points), facts={"offset": request.offset})
    for point in points[first:last]:
        row = _row(point, request, room)
        if not room.take_if_fits(_dump(row)) and rows.shown:
            break
        rows.shown.append(row)
    reached = first + len(rows.shown)
    if reached < len(points):
        rows.following = {"offset": reached}
        if request.window.is_to_now:  # the next call's `now` would be another window
            rows.following |= pin_window(request)
    return rows


def _buckets(document: ReportDocument, room: TokenBudget) -> _Rows:
    """Whole buckets of the largest series; at least one bucket of one series."""
    report = document.report
    series = () if document.grid is None else document.grid.series
    most = min(report.request.limit or len(series), len(series))
    rows = _cut_buckets(report, series[:most], room, must_get_on=most == 1)
    # Halve the series until a whole bucket fits: a bucket is never split between two calls.
    while most > 1 and not rows.shown:
        most //= 2
        rows = _cut_buckets(report, series[:most], room, must_get_on=most == 1)
    rows.facts = {"seriesShown": most, "seriesCount": len(series)}
    return rows


def _cut_buckets(
    report: Report, series: Sequence[Series], room: TokenBudget, *, must_get_on: bool
) -> _Rows:
    """The buckets that fit, each with the rows of all given series."""
    rows = _Rows(len(report.result.points))
    for start in sorted({start for one in series for start in one.values}):
        added = [
            _row(DataPoint(one.keys, tuple(one.values[start]), start), report.request, room)
            for one in series
            if start in one.values
        ]
        if not room.take_if_fits(_dump(added)) and (rows.shown or not must_get_on):
            interval = report.request.query.interval
            rows.following = pin_window(report.request) | {"startTs": format_instant(start)}
            rows.following |= {} if interval is None else {"interval": interval.wire}
            break
        rows.shown += added
    return rows


def _row(point: DataPoint, request: ReportRequest, room: TokenBudget) -> list[Any]:
    start = [] if point.start is None else [format_start(point.start, request.window.zone)]
    show = _finite if room.is_unlimited else _cut
    return [*start, *map(show, point.keys), *map(_finite, point.values)]


def format_start(start: datetime, zone: ZoneInfo) -> str:
    """A bucket's start by the zone's clocks: `2026-07-01T00:00:00.000+02:00`, in UTC with `Z`."""
    if zone.key == "UTC":
        return format_instant(start)
    return start.astimezone(zone).isoformat(timespec="milliseconds")


def _cut(key: Key) -> Key:
    """Cut text beyond `_LONGEST` characters and count the rest."""
    if isinstance(key, str) and len(key) > _LONGEST:
        return f"{key[:_LONGEST]}…(+{len(key) - _LONGEST})"
    return _finite(key)


def _finite(value: Key) -> Key:
    """The value, or None for NaN and infinity, which JSON cannot express."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _dump(value: object) -> str:
    return break_markup(json.dumps(value, separators=(",", ":"), allow_nan=False))


# CSV injection: a spreadsheet runs a cell as a formula by its first character, and one that splits
# at semicolons by that of each part. Full-width signs count too. A leading quote opens a part, so
# it is not its first character.
_FORMULA: Final = re.compile('(^|;)(?=[\\s"]*[=+\\-@\uff1d\uff0b\uff0d\uff20])')
_NEEDS_QUOTES: Final = re.compile('[",;]|^\\s|\\s$')


def write_csv(columns: Sequence[Column], records: Iterable[Sequence[Key]]) -> str:
    """A heading and every record, quoted as in RFC 4180 and safe in spreadsheets.

    Headings are those of the table, numbers have all digits. The ALL row is omitted: a spreadsheet
    would add it to the rows.
    """
    heading = [one.name if one.kind != "value" else add_unit(one.name, one.unit) for one in columns]
    return "\n".join(map(write_line, [heading, *records])) + "\n"


def list_remarks(document: ReportDocument, *parts: str) -> list[str]:
    """The header and notes of an answer, which a CSV has no place for."""
    # Nothing is rounded in a CSV.
    notes = [note for note in document.notes if note.kind != "rounded"]
    remarks = replace(document, notes=notes).remarks
    return [document.header.show(*parts), *remarks]


def write_line(cells: Iterable[Key]) -> str:
    """One record; a lone empty field is quoted, because readers skip empty lines."""
    return ",".join(map(_write_cell, cells)) or '""'


def _write_cell(cell: Key) -> str:
    """Numbers bare, nothing for null, NaN and infinity, `""` for empty text."""
    if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
        return ""
    if not isinstance(cell, str):
        return json.dumps(cell)
    text = _FORMULA.sub(r"\1'", keep_on_line(cell))
    if text and _NEEDS_QUOTES.search(text) is None:
        return text
    return '"' + text.replace('"', '""') + '"'
