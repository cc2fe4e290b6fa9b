"""A question as a URI that carries all of it, and back: nothing has to be kept to read it.

The URI holds the tool's arguments as compact JSON whose signs are swapped for those that a URI
takes bare: that costs a third fewer tokens than Base64, deflated or not, and stays readable.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, time
from typing import Any, Final
from urllib.parse import quote as percent_encode
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from pydantic_core import from_json

from gateway_metrics_mcp.errors import InvalidQueryError, Problem
from gateway_metrics_mcp.query.model import Aggregation, Filter
from gateway_metrics_mcp.query.suggestions import did_you_mean, quote
from gateway_metrics_mcp.query.time.instant import read_instant
from gateway_metrics_mcp.query.time.window import Window
from gateway_metrics_mcp.query.time.zone import format_minute
from gateway_metrics_mcp.reports.columns import Value
from gateway_metrics_mcp.reports.request import (
    ParserOptions,
    ReportRequest,
    read_distribution,
    read_timeseries,
)

ROWS: Final = "gateway-metrics://rows/"
LONGEST: Final = 1_500
"""The most letters of a URI: a question with longer filters has none."""

_LONGEST_READ: Final = LONGEST * 2
"""Letters of a URI that is read: a client may encode more signs."""

_SWAPPED: Final = str.maketrans("{}[]\" '()!;+", "()!;'+\"{}[] ")
BARE: Final = "()!;'+,:@$*="
"""The signs that stand in such a URI as they are."""
_WINDOW: Final = ("startTs", "endTs")
_COMMON: Final = ("datasource", "aggregations", "groupBy", "filters", *_WINDOW)
_DISTRIBUTION: Final = (*_COMMON, "timezone", "compareTo", "orderBy")
_TIMESERIES: Final = (*_COMMON, "timezone", "interval")
_ABSOLUTE: Final = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,6})?)?Z)?", re.ASCII)
_TIMES: Final = 'Give an absolute one: a date, or "2026-07-01T00:00Z"'


def write_link(request: ReportRequest) -> str | None:
    """The URI of all rows of the answer; None if it would be too long."""
    link = _write(_arguments(request))
    return link if len(link) <= LONGEST else None


def _write(arguments: Mapping[str, Any]) -> str:
    text = json.dumps(arguments, separators=(",", ":"), ensure_ascii=False)
    return ROWS + percent_encode(text.translate(_SWAPPED), safe=BARE)


def read_link(link: str) -> Any:
    """The JSON value in a URI of rows; None if it holds none."""
    return _read(link, _SWAPPED)


def read_plain(link: str) -> Any:
    """The JSON object in one that was written with its own signs; None if it holds none."""
    value = _read(link, {})
    return value if isinstance(value, dict) else None


def write_plain(arguments: Any) -> str | None:
    """The URI as it must be of such an object; None if it would be too long to be read."""
    link = _write(arguments)
    return link if len(link) <= _LONGEST_READ else None


def _read(link: str, signs: Mapping[int, int]) -> Any:
    if not link.startswith(ROWS) or len(link) > _LONGEST_READ:
        return None
    try:
        text = unquote(link.removeprefix(ROWS), errors="strict").translate(signs)
        return from_json(text, allow_inf_nan=False)  # nor anything nested deeply
    except ValueError:
        return None


def read_linked(raw: Any, terms: ParserOptions, now: datetime) -> ReportRequest:
    """The question of such a JSON value, by the rules of the tools; without limit or offset.

    Raises:
        InvalidQueryError: with every problem.
    """
    if not isinstance(raw, Mapping):
        raise InvalidQueryError([Problem("query", f"expected an object, got {quote(raw)}")])
    is_timeseries = "interval" in raw
    problems = _check(raw, _TIMESERIES if is_timeseries else _DISTRIBUTION)
    given = {**raw, "timezone": "UTC" if raw.get("timezone") is None else raw["timezone"]}
    start, _, end = str(raw.get("compareTo")).partition("..")
    if "compareTo" in raw:
        given["compareTo"] = start
    read = read_timeseries if is_timeseries else read_distribution
    try:
        request = read(given, terms, now)
    except InvalidQueryError as error:
        known = {problem.place for problem in problems}
        times = _WINDOW if known.intersection(_WINDOW) else ()
        problems += [p for p in error.problems if _root(p.place) not in (*known, *times)]
        raise InvalidQueryError(problems) from None
    if problems:
        raise InvalidQueryError(problems)
    earlier = request.earlier
    if earlier is not None:
        earlier = replace(earlier, end=_read_end(end, earlier), notes=(), period=None)
    return replace(request, earlier=earlier, limit=None)


def _arguments(request: ReportRequest) -> dict[str, Any]:
    """The tool's arguments that mean this very question, without those left at their default."""
    query, zone = request.query, request.window.zone
    given: dict[str, Any] = {
        "datasource": query.datasource,
        "aggregations": [_spell(value) for value in request.values[1:]],
        "groupBy": list(query.group_by),
        "filters": [_as_argument(one) for one in _own_filters(request)],
        "startTs": _format(query.start_ts, zone),
        "endTs": _format(query.end_ts, zone),
        "timezone": zone.key,
    }
    if request.earlier is not None:
        ends = request.earlier.start, request.earlier.end
        given["compareTo"] = "..".join(_format(end, zone) for end in ends)
    if request.order_by is not None or not request.is_descending:
        given["orderBy"] = f"{'' if request.is_descending else '-'}{request.order_by}"
    if query.interval is not None:
        given["interval"] = query.interval.wire
    usual = {"datasource": "modelMetrics", "timezone": "UTC"}
    return {name: value for name, value in given.items() if value not in ([], usual.get(name))}


def _spell(value: Value) -> str:
    if isinstance(value.source, Aggregation):
        return f"{value.source.type} {value.source.column}"
    return value.name


def _own_filters(request: ReportRequest) -> tuple[Filter, ...]:
    """Without the one that is added to every question of its kind."""
    filters = request.query.filters
    return filters if request.scope_filter is None else filters[:-1]


def _as_argument(one: Filter) -> dict[str, Any]:
    return {"fieldName": one.field_name, "operator": one.operator, "value": list(one.values)}


def _format(instant: datetime, zone: ZoneInfo) -> str:
    """A date where that says it; it would mean another instant outside UTC."""
    utc = instant.astimezone(UTC)
    is_date = zone.key == "UTC" and utc.time() == time()
    return utc.date().isoformat() if is_date else format_minute(utc)


def _check(raw: Mapping[str, Any], names: tuple[str, ...]) -> list[Problem]:
    """What is no argument here, and each time that is not the same whenever it is read."""
    problems = [
        Problem(quote(name), f"is not part of such a resource. {did_you_mean(name, names)}")
        for name in raw
        if name not in names
    ]
    for name in _WINDOW:
        if _ABSOLUTE.fullmatch(str(raw.get(name))) is None:
            wrong = (
                f"{quote(raw[name])} is not absolute" if raw.get(name) is not None else "missing"
            )
            problems.append(Problem(name, f"{wrong}. {_TIMES}"))
    if "compareTo" in raw:
        ends = str(raw["compareTo"]).split("..")
        if len(ends) != 2 or not all(map(_ABSOLUTE.fullmatch, ends)):
            message = f"{quote(raw['compareTo'])} is not two absolute times with .. between them"
            problems.append(Problem("compareTo", message))
    return problems


def _read_end(text: str, earlier: Window) -> datetime:
    """The end of the window to compare with.

    Raises:
        InvalidQueryError: if it is none.
    """
    try:
        end = read_instant(text, earlier.zone)
    except ValueError as error:
        raise InvalidQueryError([Problem("compareTo", str(error))]) from None
    if end is None or end <= earlier.start:
        raise InvalidQueryError([Problem("compareTo", f"{quote(text)} is not after its start")])
    return end


def _root(place: str) -> str:
    return place.partition("[")[0].partition(".")[0]
