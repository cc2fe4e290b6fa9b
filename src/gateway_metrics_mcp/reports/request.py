"""A tool call's arguments -> one Question, or every reason why it is none."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from gateway_metrics_mcp.errors import InvalidQueryError, Problem
from gateway_metrics_mcp.query.bucketing import check_buckets, choose_interval, localise
from gateway_metrics_mcp.query.catalog import Catalog, Datasource
from gateway_metrics_mcp.query.model import Filter, Query, format_instant
from gateway_metrics_mcp.query.result import key_names_of
from gateway_metrics_mcp.query.suggestions import did_you_mean, quote
from gateway_metrics_mcp.query.text import parse_json, parse_number
from gateway_metrics_mcp.query.time.comparison import cut_to_elapsed, read_earlier
from gateway_metrics_mcp.query.time.local_buckets import LocalDays
from gateway_metrics_mcp.query.time.window import Window, read_window
from gateway_metrics_mcp.query.validation import read_query
from gateway_metrics_mcp.query.virtual_models import apply_scope
from gateway_metrics_mcp.query.vocabulary import (
    DATASOURCES,
    LIST_OPERATORS,
    METADATA_PREFIX,
    NEGATIVE_OPERATORS,
)
from gateway_metrics_mcp.reports.arguments import (
    DistributionArguments,
    Format,
    QueryArguments,
    TimeseriesArguments,
    read_arguments,
)
from gateway_metrics_mcp.reports.columns import (
    RequestedColumns,
    Value,
    add_hidden,
    as_body_entries,
    compared,
    list_values,
    parse_columns,
    split_aggregation,
)

_BOOLEANS: Final = {"true": True, "false": False}
_SEVERAL: Final = (*LIST_OPERATORS, "BETWEEN")
"""Operators that take a list; a tuple, for what is asked about may be unhashable."""


def read_filter_argument(item: object, datasource: object, catalog: Catalog) -> object:
    """The filter with its value in the API's shape; what cannot be read is left as it is."""
    if not isinstance(item, Mapping) or "value" not in item:
        return item
    name = item.get("fieldName")
    if name is None and isinstance(item.get("metadataKey"), str):
        name = METADATA_PREFIX + item["metadataKey"]
    operator = item.get("operator")
    type_ = _type_of(name, datasource, catalog) if operator != "IS_NULL" else "boolean"
    value, parsed = item["value"], parse_json(item["value"])
    given = parsed if isinstance(parsed, list | tuple) else [value]
    values = [_read_scalar(v, type_) for v in given]
    if operator in _SEVERAL or len(values) != 1:
        return {**item, "value": values}
    return {**item, "value": values[0]}


def _type_of(name: object, datasource: object, catalog: Catalog) -> str | None:
    """The type of a known filter; None where it is unknown."""
    if not isinstance(name, str):
        return None
    for known in DATASOURCES:
        if known == datasource:
            field = catalog.filter_field(known, catalog.canonical("filters", name))
            return None if field is None else field.type
    return None


def _read_scalar(value: object, type_: str | None) -> object:
    """Text as the number or boolean it spells, and the other way round."""
    if type_ == "number" and isinstance(value, str):
        number = parse_number(value)
        return value if number is None else number
    if type_ == "boolean" and isinstance(value, str):
        return _BOOLEANS.get(value.strip().lower(), value)
    if type_ in ("string", "array"):
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int | float):
            return str(value)
    return value


FIELDS: Final = frozenset(("userEmail", "virtualAccount"))
_GROUP_OF: Final = {"userEmail": "userEmail", "virtualAccount": "virtualaccount"}
_GROUPS: Final = frozenset(_GROUP_OF.values())
_WHOLE_VALUES: Final = frozenset(("EQUAL", "NOT_EQUAL", "IN", "NOT_IN"))


def check_subjects(query: Query) -> list[Problem]:
    """What is wrong with the filters on subjects, if anything."""
    return [*_check_both(query), *_check_grouped(query), *_check_cut(query)]


def _check_both(query: Query) -> list[Problem]:
    """Users and virtual accounts at once match nothing: a subject is one or the other."""
    positive = [f.field_name for f in query.filters if f.operator not in NEGATIVE_OPERATORS]
    if not set(positive) >= FIELDS:
        return []
    message = (
        "userEmail and virtualAccount together match nothing: a subject is a user or a virtual"
        " account. Ask each alone, or group by userEmail and virtualaccount and filter"
        " createdBySubjectType"
    )
    return [Problem("filters", message)]


def _check_grouped(query: Query) -> list[Problem]:
    """Grouping by one kind of subject keeps that kind alone (R7)."""
    kinds = _GROUPS & set(query.group_by)
    if len(kinds) != 1:
        return []
    (group,) = kinds
    other = "virtualAccount" if group == "userEmail" else "userEmail"
    return [
        Problem(f"filters[{i}]", f"{other} matches nothing in groups by {group}: group by {fits}")
        for i, filter_ in enumerate(query.filters)
        for fits in (_GROUP_OF[other],)
        if filter_.field_name == other and filter_.operator not in NEGATIVE_OPERATORS
    ]


def _check_cut(query: Query) -> list[Problem]:
    """An answer can give the one domain of all addresses once, and each up to its `@`."""
    problems = []
    for index, filter_ in enumerate(query.filters):
        if filter_.field_name not in FIELDS or filter_.operator not in _WHOLE_VALUES:
            continue
        values = filter_.value if isinstance(filter_.value, tuple) else (filter_.value,)
        cut = [quote(value) for value in values if isinstance(value, str) and value.endswith("@")]
        if cut:
            message = f"{', '.join(cut)} lacks the domain, which a `# ` line of the answer gives"
            problems.append(Problem(f"filters[{index}].value", message))
    return problems


_AGGREGATION: Final = re.compile(r"aggregations\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class ParserOptions:
    """What the server holds ready to read questions: settings and the catalog."""

    catalog: Catalog
    default_zone: str = "UTC"
    allow_unknown: bool = False


@dataclass(frozen=True, slots=True)
class ReportRequest:
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


def read_distribution(raw: Mapping[str, Any], terms: ParserOptions, now: datetime) -> ReportRequest:
    """The question in the arguments of `query_distribution`.

    Raises:
        InvalidQueryError: with every problem.
    """
    problems: list[Problem] = []
    arguments = read_arguments(DistributionArguments, raw, problems)
    window = _read_window(arguments, terms, now, problems)
    earlier = _read_earlier(arguments.compare_to, window, now, problems)
    request = _read_question(arguments, terms, window, now, problems, earlier=earlier)
    order, is_descending = arguments.order_by, True
    if request is not None and order is not None:
        order, is_descending = _read_order(order, request, problems)
    if request is None or problems:
        raise InvalidQueryError(problems)
    return replace(
        request,
        limit=arguments.limit,
        offset=arguments.offset,
        order_by=order,
        is_descending=is_descending,
    )


def read_timeseries(raw: Mapping[str, Any], terms: ParserOptions, now: datetime) -> ReportRequest:
    """The question in the arguments of `query_timeseries`.

    Raises:
        InvalidQueryError: with every problem.
    """
    problems: list[Problem] = []
    arguments = read_arguments(TimeseriesArguments, raw, problems)
    window = _read_window(arguments, terms, now, problems)
    span = window or _any_window(now)
    interval = arguments.interval or choose_interval(span.start, span.end).wire
    request = _read_question(arguments, terms, window, now, problems, interval=interval)
    if request is None or problems:
        raise InvalidQueryError(problems)
    return replace(
        request,
        limit=arguments.limit,
        local=localise(request.query.interval, request.window.zone),
        is_interval_ours=not arguments.interval,
    )


def _read_question(
    arguments: QueryArguments,
    terms: ParserOptions,
    window: Window | None,
    now: datetime,
    problems: list[Problem],
    *,
    interval: object = None,
    earlier: Window | None = None,
) -> ReportRequest | None:
    """The question without its presentation; None if there are problems."""
    wanted = parse_columns(arguments.aggregations, arguments.datasource, terms.catalog, problems)
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
    return ReportRequest(
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
    arguments: QueryArguments, terms: ParserOptions, now: datetime, problems: list[Problem]
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
    arguments: QueryArguments, wanted: RequestedColumns, catalog: Catalog, window: Window
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


def _place(problem: Problem, wanted: RequestedColumns) -> Problem:
    """The problem at the position where the asker wrote it."""
    match = _AGGREGATION.match(problem.place)
    if match is None:
        return problem
    place = f"aggregations[{wanted.positions[int(match[1])]}]"
    return Problem(place + problem.place[match.end() :], problem.message)


def _read_order(
    order: object, request: ReportRequest, problems: list[Problem]
) -> tuple[str | None, bool]:
    """The column of the answer and whether it descends."""
    keys = key_names_of(request.query, request.datasource)
    columns = (*keys, *_value_names(request))
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
    for name in (wanted, spelt, request.datasource.response_key(wanted)):
        if name in columns:
            return name, is_descending
    choice = did_you_mean(wanted, columns)
    problems.append(Problem("orderBy", f"{quote(wanted)} is no column of this answer. {choice}"))
    return None, True


def _value_names(request: ReportRequest) -> tuple[str, ...]:
    """The names of the answer's value columns."""
    if request.earlier is None:
        return tuple(value.name for value in request.values)
    return tuple(column.name for value in request.values for column in compared(value))


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)
