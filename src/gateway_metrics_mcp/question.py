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
from gateway_metrics_mcp.query.earlier import cut_to_elapsed, read_earlier
from gateway_metrics_mcp.query.local_days import LocalDays
from gateway_metrics_mcp.query.model import Filter, Query, format_instant
from gateway_metrics_mcp.query.near import explain_choice, quote
from gateway_metrics_mcp.query.reading import read_query
from gateway_metrics_mcp.query.window import Window, read_window
from gateway_metrics_mcp.question_buckets import check_buckets, choose_interval, localise
from gateway_metrics_mcp.question_names import split_aggregation
from gateway_metrics_mcp.question_values import (
    Wanted,
    add_hidden,
    as_body_entries,
    list_values,
    read_wanted,
)
from gateway_metrics_mcp.result import key_names_of
from gateway_metrics_mcp.scope import apply_scope
from gateway_metrics_mcp.subjects import check_subjects
from gateway_metrics_mcp.values import Value, compared

_AGGREGATION: Final = re.compile(r"aggregations\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Terms:
    """What the server holds ready to read questions: settings and the catalog."""

    catalog: Catalog
    default_zone: str = "UTC"
    allow_unknown: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """One checked question: the query to send, and how its answer is to be shown.

    The query asks for all that `values` are made of, and for what the notes need.
    """

    query: Query
    datasource: Datasource
    window: Window
    scope: str | None
    """Which side of virtual models the query asks, where the datasource has them."""
    format: Format
    values: tuple[Value, ...]
    """`total`, and what was asked, in the order asked."""
    earlier: Window | None = None
    """The window to compare with."""
    scope_filter: Filter | None = None
    """The query's last filter, where it was added for the scope and not asked."""
    local: LocalDays | None = None
    """The buckets, where they are a zone's days and not the query's own."""
    is_interval_ours: bool = False
    """Whether the interval was left to us, so that we may widen it."""
    order_by: str | None = None
    """A column of the answer; None for the first value, or its change."""
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
    window = _read_window(arguments, terms, now, problems)
    earlier = _read_earlier(arguments.compare_to, window, now, problems)
    question = _read_question(arguments, terms, window, now, problems, earlier=earlier)
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
    window = _read_window(arguments, terms, now, problems)
    span = window or _any_window(now)
    interval = arguments.interval or choose_interval(span.start, span.end).wire
    question = _read_question(arguments, terms, window, now, problems, interval=interval)
    if question is None or problems:
        raise InvalidQueryError(problems)
    return replace(
        question,
        limit=arguments.limit,
        local=localise(question.query.interval, question.window.zone),
        is_interval_ours=not arguments.interval,
    )


def _read_question(
    arguments: QueryArguments,
    terms: Terms,
    window: Window | None,
    now: datetime,
    problems: list[Problem],
    *,
    interval: object = None,
    earlier: Window | None = None,
) -> Question | None:
    """The question without its presentation; None if there are problems."""
    wanted = read_wanted(arguments.aggregations, arguments.datasource, terms.catalog, problems)
    body = _body(arguments, wanted, terms.catalog, window or _any_window(now))
    if interval is not None:
        body |= {"type": "timeseries", "interval": interval}
    try:
        query = read_query(body, terms.catalog, allow_unknown=terms.allow_unknown)
    except InvalidQueryError as error:
        problems += [_place(problem, wanted) for problem in error.problems]
        return None
    problems += check_subjects(query)
    problems += check_buckets(query)
    if window is None:
        return None
    datasource = terms.catalog.datasources[query.datasource]
    values = list_values(wanted, query.aggregations, datasource)
    hidden = add_hidden(values, query.aggregations, datasource, is_compared=earlier is not None)
    scoped = apply_scope(query, datasource)
    return Question(
        scoped.query.model_copy(update={"aggregations": hidden}),
        datasource,
        window,
        scoped.phrase,
        arguments.format,
        values,
        earlier,
        scope_filter=scoped.added,
    )


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


def _read_earlier(
    compare_to: object, window: Window | None, now: datetime, problems: list[Problem]
) -> Window | None:
    """The window to compare with, if one was asked."""
    if compare_to is None or window is None:
        return None
    try:
        return cut_to_elapsed(window, read_earlier(compare_to, window, now=now))
    except ValueError as error:
        problems.append(Problem("compareTo", str(error)))
        return None


def _any_window(now: datetime) -> Window:
    """A stand-in for a window that could not be read, so that the rest is still checked."""
    return read_window("now-1h", None, None, now=now)


def _body(
    arguments: QueryArguments, wanted: Wanted, catalog: Catalog, window: Window
) -> dict[str, Any]:
    """The request body that the arguments mean; what they get wrong is left for the reader."""
    datasource = arguments.datasource
    return {
        "startTs": format_instant(window.start),
        "endTs": format_instant(window.end),
        "datasource": datasource,
        "type": "distribution",
        "aggregations": as_body_entries(wanted),
        "groupBy": arguments.group_by,
        "filters": [read_filter_argument(item, datasource, catalog) for item in arguments.filters],
    }


def _place(problem: Problem, wanted: Wanted) -> Problem:
    """The problem at the position where the asker wrote it."""
    match = _AGGREGATION.match(problem.place)
    if match is None:
        return problem
    place = f"aggregations[{wanted.positions[int(match[1])]}]"
    return Problem(place + problem.place[match.end() :], problem.message)


def _read_order(
    order: object, question: Question, problems: list[Problem]
) -> tuple[str | None, bool]:
    """The column of the answer and whether it descends."""
    keys = key_names_of(question.query, question.datasource)
    columns = (*keys, *_value_names(question))
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


def _value_names(question: Question) -> tuple[str, ...]:
    """The names of the answer's value columns."""
    if question.earlier is None:
        return tuple(value.name for value in question.values)
    return tuple(column.name for value in question.values for column in compared(value))


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)
