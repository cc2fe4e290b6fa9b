"""Writes and reads row URIs, which contain a whole report request, so no state is kept for them.

The URI's query string holds the tool's arguments. A list is a line of CSV; so is a filter, with its
field, operator and values: `groupBy=team,modelName&filters=modelName,IN,a,b`.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from io import StringIO
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlencode
from zoneinfo import ZoneInfo

from pydantic_core import from_json

from gateway_metrics_mcp.errors import InvalidQueryError, Problem, Problems
from gateway_metrics_mcp.query import Aggregation, Filter, did_you_mean, parse_json, quote
from gateway_metrics_mcp.query.time.zone import format_minute
from gateway_metrics_mcp.reports.request import (
    ParserOptions,
    ReportRequest,
    read_distribution,
    read_timeseries,
)

ROWS: Final = "gateway-metrics://rows"
LONGEST: Final = 1_500
"""The most letters of a URI that is written; a longer request gets none."""

_LONGEST_READ: Final = LONGEST * 2
"""The most letters of a URI that is read: a client may percent-encode more characters."""

_BARE: Final = ":,/@!$'()*;?"
"""Characters that a query string allows unencoded (RFC 3986), for short, readable URIs."""
_LISTS: Final = ("aggregations", "groupBy", "filters")
_WINDOW: Final = ("startTs", "endTs")
_COMMON: Final = ("datasource", *_LISTS, *_WINDOW, "timezone")
_DISTRIBUTION: Final = (*_COMMON, "compareTo", "orderBy")
_TIMESERIES: Final = (*_COMMON, "interval")
TEMPLATE: Final = ROWS + "{?" + ",".join((*_DISTRIBUTION, "interval")) + "}"
"""The URI template of the resource (RFC 6570)."""

# An earlier form is still read, because clients may have kept its URIs: JSON in the path, with its
# characters swapped for those that a path allows unencoded.
_SWAPPED: Final = str.maketrans("{}[]\" '()!;+", "()!;'+\"{}[] ")

_DAY: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_ABSOLUTE: Final = rf"{_DAY}(?:T[0-9]{{2}}:[0-9]{{2}}(?::[0-9]{{2}}(?:\.[0-9]{{1,6}})?)?Z)?"
_NAME: Final = rf"(?:{_DAY}|[0-9]{{4}}(?:-(?:[0-9]{{2}}|W[0-9]{{2}}|Q[1-4]))?)"
_PERIOD: Final = rf"{_NAME}(?:\.\.{_NAME})?"
_EARLIER: Final = rf"{_PERIOD}|{_ABSOLUTE}(?:\.\.{_ABSOLUTE})?|previous|[0-9]{{1,9}} [a-z]{{3,8}}"
_TIMES: Final = 'Give an absolute one: a date, or "2026-07-01T00:00Z"'
_TIMES_OF_TWO: Final = (
    'Give previous, 1 week, a period such as 2026-06, or two times with ".." between'
)


def write_link(request: ReportRequest) -> str | None:
    """The URI of all rows of the report; None if it would exceed LONGEST."""
    link = format_link(_arguments(request))
    return link if len(link) <= LONGEST else None


def format_link(arguments: Mapping[str, Any]) -> str:
    """The URI of a tool's arguments."""
    given = {
        name: [*map(_write_filter, value)] if name == "filters" else _write_line(value)
        for name, value in arguments.items()
        if isinstance(value, list)
    }
    return f"{ROWS}?{urlencode({**arguments, **given}, doseq=True, safe=_BARE)}"


def read_link(link: str) -> Any:
    """The arguments in a row URI, unchecked; None if it cannot be read."""
    if len(link) > _LONGEST_READ:
        return None
    try:
        if link.startswith(f"{ROWS}?"):
            given = parse_qs(link.removeprefix(f"{ROWS}?"), errors="strict")
            return {name: _read_values(name, values) for name, values in given.items()} or None
        if link.startswith(f"{ROWS}/"):
            text = unquote(link.removeprefix(f"{ROWS}/"), errors="strict")
            text = text if text.startswith("{") else text.translate(_SWAPPED)
            return _read_older(from_json(text, allow_inf_nan=False))  # refuses deep nesting, too
    except ValueError:
        pass
    return None


def _read_older(given: Any) -> Any:
    """The arguments of a URI of the earlier form, where a date at the end of a range was excluded.

    Raises:
        ValueError: if compareTo is two dates, one of which the calendar lacks.
    """
    text = given.get("compareTo") if isinstance(given, dict) else None
    if not isinstance(text, str) or re.fullmatch(rf"{_DAY}\.\.{_DAY}", text) is None:
        return given
    start, _, end = text.partition("..")
    return {**given, "compareTo": f"{start}..{date.fromisoformat(end) - timedelta(days=1)}"}


def _read_values(name: str, values: list[str]) -> Any:
    if name == "filters":
        return [_read_filter(value) for value in values]
    lines = [_read_line(value) for value in values] if name in _LISTS else values
    return lines[0] if len(lines) == 1 else lines


def _write_filter(one: object) -> str:
    """A filter as `modelName,IN,a,b`, or as JSON if a value is not text.

    CSV would turn a number into text, and for a field that the catalog lacks no type tells how to
    turn it back.
    """
    if not isinstance(one, Mapping) or not isinstance(one.get("value"), list):
        return one if isinstance(one, str) else json.dumps(one)
    parts = [one.get("fieldName"), one.get("operator"), *one["value"]]
    if len(one) != 3 or not all(isinstance(part, str) for part in parts):
        return json.dumps(one, separators=(",", ":"), ensure_ascii=False)
    return _write_line(parts)


def _read_filter(text: str) -> object:
    if text.startswith("{"):
        return parse_json(text)
    line = _read_line(text)
    if not isinstance(line, list) or len(line) < 2:
        return text
    return {"fieldName": line[0], "operator": line[1], "value": line[2:]}


def _write_line(parts: list[Any]) -> str:
    line = StringIO(newline="")
    csv.writer(line).writerow(parts)
    return line.getvalue().removesuffix("\r\n")


def _read_line(text: str) -> list[str] | str:
    """The fields of a line of CSV; the text itself if it is not one line of CSV."""
    try:
        (line,) = csv.reader(StringIO(text, newline=""))
    except (ValueError, csv.Error):
        return text
    return line


def read_linked(raw: Any, options: ParserOptions, now: datetime) -> ReportRequest:
    """The request of a row URI's arguments, checked as for the tools; without limit.

    Raises:
        InvalidQueryError: with every problem.
    """
    if not isinstance(raw, Mapping):
        raise InvalidQueryError([Problem("query", f"expected an object, got {quote(raw)}")])
    is_timeseries = "interval" in raw
    problems = _check(raw, _TIMESERIES if is_timeseries else _DISTRIBUTION)
    # UTC rather than the server's default zone, which may change after the URI was written.
    given = {**raw, "timezone": "UTC" if raw.get("timezone") is None else raw["timezone"]}
    read = read_timeseries if is_timeseries else read_distribution
    try:
        request = read(given, options, now)
    except InvalidQueryError as error:
        # A time that is not absolute is reported once, without what follows from it.
        known = {problem.place for problem in problems}
        times = _WINDOW if known.intersection(_WINDOW) else ()
        problems += [p for p in error.problems if p.argument not in (*known, *times)]
        raise InvalidQueryError(problems) from None
    if problems:
        raise InvalidQueryError(problems)
    return replace(request, limit=None)


def _arguments(request: ReportRequest) -> dict[str, Any]:
    """The tool arguments of exactly this request, without defaults.

    Times are absolute, so that the URI keeps naming the same rows.
    """
    query, zone = request.query, request.window.zone
    # Reading the arguments adds the scope's filter again.
    filters = query.filters if request.scope_filter is None else query.filters[:-1]
    aggregations = [
        str(value.source) if isinstance(value.source, Aggregation) else value.name
        for value in request.values[1:]
    ]
    given: dict[str, Any] = {
        "datasource": query.datasource,
        "aggregations": aggregations,
        "groupBy": list(query.group_by),
        "filters": [_as_argument(one, request) for one in filters],
        "startTs": _format(query.start_ts, zone),
        "endTs": _format(query.end_ts, zone),
        "timezone": zone.key,
    }
    if request.earlier is not None:
        # Never as dates, of which a range includes the last, nor as a period, which may be cut to
        # what a running one has had.
        ends = request.earlier.start, request.earlier.end
        given["compareTo"] = "..".join(map(format_minute, ends))
    if request.order_by is not None or not request.is_descending:
        given["orderBy"] = f"{'' if request.is_descending else '-'}{request.order_by}"
    if query.interval is not None:
        given["interval"] = query.interval.wire
    usual = {"datasource": "modelMetrics", "timezone": "UTC"}
    return {name: value for name, value in given.items() if value not in ([], usual.get(name))}


def _as_argument(one: Filter, request: ReportRequest) -> dict[str, Any]:
    """The filter with its values as text, if the field's type tells how to read them."""
    values: list[Any] = list(one.values)
    if one.operator == "IS_NULL" or one.field_name in request.datasource.filters:
        values = [value if isinstance(value, str) else json.dumps(value) for value in values]
    return {"fieldName": one.field_name, "operator": one.operator, "value": values}


def _format(instant: datetime, zone: ZoneInfo) -> str:
    """The instant as text; as a date at midnight in UTC, since elsewhere a date is local."""
    utc = instant.astimezone(UTC)
    is_date = zone.key == "UTC" and utc.time() == time()
    return utc.date().isoformat() if is_date else format_minute(utc)


def _check(raw: Mapping[str, Any], names: tuple[str, ...]) -> Problems:
    """Problems: unknown arguments, and times that are not absolute."""
    problems = Problems(
        Problem(quote(name), f"is not a parameter of such a resource. {did_you_mean(name, names)}")
        for name in raw
        if name not in names
    )
    for name in _WINDOW:
        form = _ABSOLUTE if name == "endTs" else rf"{_ABSOLUTE}|{_PERIOD}"
        is_whole = raw.get(name) is None and re.fullmatch(_PERIOD, str(raw.get("startTs")))
        if re.fullmatch(form, str(raw.get(name))) is None and not (name == "endTs" and is_whole):
            wrong = (
                f"{quote(raw[name])} is not absolute" if raw.get(name) is not None else "missing"
            )
            problems.add(name, f"{wrong}. {_TIMES}")
    text = str(raw.get("compareTo"))
    if "compareTo" in raw and re.fullmatch(_EARLIER, text) is None:
        problems.add("compareTo", f"{quote(text)} is not absolute. {_TIMES_OF_TWO}")
    return problems
