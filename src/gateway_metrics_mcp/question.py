"""A tool call's arguments -> one Question, or every reason why it is none."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from gateway_metrics_mcp.arguments import (
    DistributionArguments,
    Format,
    QueryArguments,
    TimeseriesArguments,
    read_arguments,
)
from gateway_metrics_mcp.errors import InvalidQueryError, Problem
from gateway_metrics_mcp.filter_values import read_filter_argument
from gateway_metrics_mcp.query.catalog import Catalog, Datasource
from gateway_metrics_mcp.query.interval import Interval
from gateway_metrics_mcp.query.model import Query, format_instant
from gateway_metrics_mcp.query.near import explain_choice, quote
from gateway_metrics_mcp.query.reading import read_query
from gateway_metrics_mcp.query.vocabulary import AGGREGATION_TYPES
from gateway_metrics_mcp.query.window import Window, read_window
from gateway_metrics_mcp.result import TOTAL, key_names_of, value_names_of
from gateway_metrics_mcp.scope import apply_scope
from gateway_metrics_mcp.subjects import check_subjects

MOST_BUCKETS: Final = 5_000
BUCKETS_BY_DEFAULT: Final = 62
"""About 60, and two months of days still fit."""

_DEFAULT_INTERVALS: Final = tuple(
    Interval.parse(text)
    for text in (
        "1 second",
        "10 second",
        "1 minute",
        "5 minute",
        "15 minute",
        "1 hour",
        "6 hour",
        "1 day",
        "1 week",
        "1 month",
        "1 year",
    )
)
_CALL: Final = re.compile(r"(\w+)\s*\(\s*([^()]+?)\s*\)")
_AGGREGATION: Final = re.compile(r"aggregations\[(\d+)\]")
_TOTAL_NAMES: Final = frozenset((TOTAL, "count", "count(*)", "count *"))


@dataclass(frozen=True, slots=True)
class Terms:
    """What the server holds ready to read questions: settings and the catalog."""

    catalog: Catalog
    default_zone: str = "UTC"
    allow_unknown: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """One checked question: the query to send, and how its answer is to be shown."""

    query: Query
    datasource: Datasource
    window: Window
    scope: str | None
    """Which side of virtual models the query asks, where the datasource has them."""
    format: Format
    order_by: str | None = None
    """A column of the answer; None for the first value."""
    is_descending: bool = True
    limit: int | None = None
    offset: int = 0


def read_distribution(raw: Mapping[str, Any], terms: Terms, now: datetime) -> Question:
    """The question in the arguments of `query_distribution`.

    Raises:
        InvalidQueryError: with every problem.
    """
    problems: list[Problem] = []
    arguments = read_arguments(DistributionArguments, raw, problems)
    question = _read(arguments, terms, now, problems)
    order, is_descending = arguments.order_by, True
    if question is not None and order is not None:
        order, is_descending = _read_order(order, question, problems)
    if question is None or problems:
        raise InvalidQueryError(problems)
    return replace(
        question,
        limit=arguments.limit,
        offset=arguments.offset,
        order_by=order,
        is_descending=is_descending,
    )


def read_timeseries(raw: Mapping[str, Any], terms: Terms, now: datetime) -> Question:
    """The question in the arguments of `query_timeseries`.

    Raises:
        InvalidQueryError: with every problem.
    """
    problems: list[Problem] = []
    arguments = read_arguments(TimeseriesArguments, raw, problems)
    question = _read(arguments, terms, now, problems, interval=arguments.interval, has_buckets=True)
    if question is None or problems:
        raise InvalidQueryError(problems)
    return replace(question, limit=arguments.limit)


def choose_interval(start: datetime, end: datetime) -> Interval:
    """The narrowest usual interval that gives at most about 60 buckets."""
    for interval in _DEFAULT_INTERVALS:
        if interval.count_buckets(start, end) <= BUCKETS_BY_DEFAULT:
            return interval
    return Interval(10, "year")


def _read(
    arguments: QueryArguments,
    terms: Terms,
    now: datetime,
    problems: list[Problem],
    *,
    interval: object = None,
    has_buckets: bool = False,
) -> Question | None:
    """The question without its presentation; None if there are problems."""
    window = _read_window(arguments, terms, now, problems)
    body = _body(arguments, terms.catalog, window or _any_window(now))
    if has_buckets:
        span = window or _any_window(now)
        body["interval"] = interval or choose_interval(span.start, span.end).wire
        body["type"] = "timeseries"
    try:
        query = read_query(body, terms.catalog, allow_unknown=terms.allow_unknown)
    except InvalidQueryError as error:
        problems += [_place(problem, arguments) for problem in error.problems]
        return None
    problems += check_subjects(query)
    problems += _check_buckets(query)
    if window is None:
        return None
    datasource = terms.catalog.datasources[query.datasource]
    scoped, scope = apply_scope(query, datasource)
    return Question(scoped, datasource, window, scope, arguments.format)


def _read_window(
    arguments: QueryArguments, terms: Terms, now: datetime, problems: list[Problem]
) -> Window | None:
    try:
        return read_window(
            arguments.start_ts,
            arguments.end_ts,
            arguments.timezone,
            now=now,
            default_zone=terms.default_zone,
        )
    except InvalidQueryError as error:
        problems += error.problems
        return None


def _any_window(now: datetime) -> Window:
    """A stand-in for a window that could not be read, so that the rest is still checked."""
    return read_window("now-1h", None, None, now=now)


def _body(arguments: QueryArguments, catalog: Catalog, window: Window) -> dict[str, Any]:
    """The request body that the arguments mean; what they get wrong is left for the reader."""
    datasource = arguments.datasource
    return {
        "startTs": format_instant(window.start),
        "endTs": format_instant(window.end),
        "datasource": datasource,
        "type": "distribution",
        "aggregations": [split_aggregation(arguments.aggregations[i]) for i in _asked(arguments)],
        "groupBy": arguments.group_by,
        "filters": [read_filter_argument(item, datasource, catalog) for item in arguments.filters],
    }


def _asked(arguments: QueryArguments) -> list[int]:
    """The positions of the aggregations but for `total`, which always comes."""
    return [
        i
        for i, item in enumerate(arguments.aggregations)
        if not (isinstance(item, str) and item.strip().lower() in _TOTAL_NAMES)
    ]


def _place(problem: Problem, arguments: QueryArguments) -> Problem:
    """The problem at the position where the asker wrote it."""
    match = _AGGREGATION.match(problem.place)
    if match is None:
        return problem
    place = f"aggregations[{_asked(arguments)[int(match[1])]}]"
    return Problem(place + problem.place[match.end() :], problem.message)


def split_aggregation(item: object) -> object:
    """`sum costInUSD`, `sum(costInUSD)` or `sumCostInUSD` as `{type, column}`."""
    if not isinstance(item, str):
        return item
    text = item.strip()
    if match := _CALL.fullmatch(text):
        return {"type": match[1], "column": match[2]}
    type_, _, column = text.partition(" ")
    if column:
        return {"type": type_, "column": column.strip()}
    for known in AGGREGATION_TYPES:
        column = text.removeprefix(known)
        if column != text and column[:1].isupper():
            return {"type": known, "column": column[0].lower() + column[1:]}
    if text in AGGREGATION_TYPES:
        return {"type": text, "column": None}
    return {"type": None, "column": text}


def _check_buckets(query: Query) -> list[Problem]:
    if query.interval is None:
        return []
    count = query.interval.count_buckets(query.start_ts, query.end_ts)
    if count <= MOST_BUCKETS:
        return []
    better = choose_interval(query.start_ts, query.end_ts)
    message = (
        f"{query.interval} would give {count} buckets, the most are {MOST_BUCKETS}."
        f" Use {better}, or a shorter window"
    )
    return [Problem("interval", message)]


def _read_order(
    order: object, question: Question, problems: list[Problem]
) -> tuple[str | None, bool]:
    """The column of the answer and whether it descends."""
    query = question.query
    keys = key_names_of(query, question.datasource)
    columns = (*keys, *value_names_of(query))
    if not isinstance(order, str) or not order.strip():
        problems.append(
            Problem("orderBy", f"{quote(order)} is no column. Allowed: {_list(columns)}")
        )
        return None, True
    is_descending = not order.strip().startswith("-")
    wanted = order.strip().removeprefix("-").strip()
    split = split_aggregation(wanted)
    spelt = (
        f"{split['type']}{str(split['column'])[:1].upper()}{str(split['column'])[1:]}"
        if isinstance(split, dict)
        else wanted
    )
    for name in (wanted, spelt, question.datasource.response_key(wanted)):
        if name in columns:
            return name, is_descending
    choice = explain_choice(wanted, columns)
    problems.append(Problem("orderBy", f"{quote(wanted)} is no column of this answer. {choice}"))
    return None, True


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)
