"""A tool call's arguments -> one ReportRequest, or every reason why it is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from gateway_metrics_mcp.errors import InvalidQueryError, Problem, Problems
from gateway_metrics_mcp.query import (
    Catalog,
    Datasource,
    Filter,
    Interval,
    Query,
    Window,
    did_you_mean,
    quote,
)
from gateway_metrics_mcp.query.model import value_key
from gateway_metrics_mcp.query.result import key_names_of
from gateway_metrics_mcp.query.time.comparison import cut_to_elapsed, read_earlier
from gateway_metrics_mcp.query.time.interval import LocalDays, choose_interval, localise
from gateway_metrics_mcp.query.time.window import read_window
from gateway_metrics_mcp.query.validation import QueryValidator, apply_scope
from gateway_metrics_mcp.query.vocabulary import NEGATIVE_OPERATORS
from gateway_metrics_mcp.reports.arguments import (
    DistributionArguments,
    Format,
    ListValuesArguments,
    QueryArguments,
    TimeseriesArguments,
    read_arguments,
)
from gateway_metrics_mcp.reports.columns import (
    Value,
    compared,
    list_aggregations,
    list_values,
    read_sources,
    split_aggregation,
)

MOST_POINTS: Final = 5_000
"""Interval times groups: beyond that nothing is fetched."""

_GROUP_OF: Final = {"userEmail": "userEmail", "virtualAccount": "virtualaccount"}
"""The filters on subjects, each with the field that groups by the same."""
_WHOLE_VALUES: Final = frozenset(("EQUAL", "NOT_EQUAL", "IN", "NOT_IN"))


@dataclass(frozen=True, slots=True)
class ParserOptions:
    """What arguments are read with: the catalog, and the server's settings."""

    catalog: Catalog
    default_zone: str = "UTC"
    allow_unknown: bool = False


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """One tool call, validated: the query to send, and how its answer is to be shown.

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

    @property
    def buckets(self) -> Interval | None:
        """The buckets of the answer: the zone's own, or the query's; None in a distribution."""
        return self.local or self.query.interval

    @property
    def windows(self) -> tuple[bool, ...]:
        """The windows by whether they are the earlier one."""
        return (False,) if self.earlier is None else (False, True)


def read_distribution(
    raw: Mapping[str, Any], options: ParserOptions, now: datetime
) -> ReportRequest:
    """The request in the arguments of `query_distribution`.

    Raises:
        InvalidQueryError: with every problem.
    """
    problems = Problems()
    arguments = read_arguments(DistributionArguments, raw, problems)
    window = read_times(arguments, options, now, problems)
    earlier = None
    if window is not None and arguments.compare_to is not None:
        earlier = problems.attempt("compareTo", read_earlier, arguments.compare_to, window, now=now)
    if window is not None and earlier is not None:
        earlier = cut_to_elapsed(window, earlier)
    request = _read_request(arguments, options, window, problems, earlier=earlier)
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


def read_timeseries(raw: Mapping[str, Any], options: ParserOptions, now: datetime) -> ReportRequest:
    """The request in the arguments of `query_timeseries`.

    Raises:
        InvalidQueryError: with every problem.
    """
    problems = Problems()
    arguments = read_arguments(TimeseriesArguments, raw, problems)
    window = read_times(arguments, options, now, problems)
    request = _read_request(arguments, options, window, problems)
    if request is not None:
        _check_buckets(request.query, problems)
    if request is None or problems:
        raise InvalidQueryError(problems)
    return replace(
        request,
        limit=arguments.limit,
        local=localise(request.query.interval, request.window.zone),
        is_interval_ours=not arguments.interval,
    )


def read_times(
    arguments: QueryArguments | ListValuesArguments,
    options: ParserOptions,
    now: datetime,
    problems: Problems,
) -> Window | None:
    """The window of `startTs`, `endTs` and `timezone`; None after a problem was added."""
    return problems.attempt(
        "startTs",
        read_window,
        arguments.start_ts,
        arguments.end_ts,
        arguments.timezone,
        now=now,
        default_zone=options.default_zone,
    )


def _read_request(
    arguments: QueryArguments,
    options: ParserOptions,
    window: Window | None,
    problems: Problems,
    *,
    earlier: Window | None = None,
) -> ReportRequest | None:
    """The request without its presentation; None if there are problems.

    Without a window the rest is checked all the same, so that one refusal lists everything.
    """
    found = len(problems)
    parts = QueryValidator(
        options.catalog, problems, allow_unknown=options.allow_unknown, reads_text=True
    )
    name = parts.read_datasource(arguments.datasource)
    parts.is_distribution = not isinstance(arguments, TimeseriesArguments)
    interval = _read_interval(arguments, window, problems)
    sources = read_sources(arguments.aggregations, parts)
    group_by = parts.read_group_by(arguments.group_by)
    filters = parts.read_filters(arguments.filters)
    if len(problems) == found:
        problems += _check_subjects(group_by, filters)
    if len(problems) > found or name is None or window is None:
        return None
    datasource = options.catalog.datasources[name]
    values = list_values(sources, datasource)
    query = Query(
        datasource=name,
        type="distribution" if parts.is_distribution else "timeseries",
        start_ts=window.start,
        end_ts=window.end,
        aggregations=list_aggregations(values, datasource, is_compared=earlier is not None),
        group_by=group_by,
        filters=filters,
        interval=interval,
    )
    scoped = apply_scope(query, datasource)
    return ReportRequest(
        scoped.query,
        datasource,
        window,
        scoped.phrase,
        arguments.format,
        values,
        earlier,
        scope_filter=scoped.added,
    )


def _read_interval(
    arguments: QueryArguments, window: Window | None, problems: Problems
) -> Interval | None:
    """The interval as asked, else the narrowest usual one with few buckets."""
    if not isinstance(arguments, TimeseriesArguments):
        return None
    if arguments.interval:
        return problems.attempt("interval", Interval.parse, arguments.interval)
    return None if window is None else choose_interval(window.start, window.end)


def _check_buckets(query: Query, problems: Problems) -> None:
    """Too many buckets are refused before anything is asked, with an interval that fits."""
    if query.interval is None:
        return
    count = query.interval.count_buckets(query.start_ts, query.end_ts)
    if count > MOST_POINTS:
        better = choose_interval(query.start_ts, query.end_ts)
        problems.add(
            "interval",
            f"{query.interval} would give {count} buckets, the most are {MOST_POINTS}."
            f" Use {better}, or a shorter window",
        )


def _check_subjects(group_by: Sequence[str], filters: Sequence[Filter]) -> list[Problem]:
    """What filters on subjects get wrong, if anything."""
    problems = Problems()
    positive = {f.field_name for f in filters if f.operator not in NEGATIVE_OPERATORS}
    if positive >= _GROUP_OF.keys():
        problems.add(
            "filters",
            "userEmail and virtualAccount together match nothing: a subject is a user or a virtual"
            " account. Ask each alone, or group by userEmail and virtualaccount and filter"
            " createdBySubjectType",
        )
    kinds = [field for field in _GROUP_OF.values() if field in group_by]
    for index, one in enumerate(filters):
        # Grouping by one kind of subject keeps that kind alone (R7).
        fits = _GROUP_OF.get(one.field_name)
        is_other = fits is not None and len(kinds) == 1 and fits not in kinds
        if is_other and one.operator not in NEGATIVE_OPERATORS:
            problems.add(
                f"filters[{index}]",
                f"{one.field_name} matches nothing in groups by {kinds[0]}: group by {fits}",
            )
    for index, one in enumerate(filters):
        # An answer can give the one domain of all addresses once, and each up to its `@`.
        if one.field_name in _GROUP_OF and one.operator in _WHOLE_VALUES:
            cut = [quote(text) for text in one.texts if text.endswith("@")]
            if cut:
                problems.add(
                    f"filters[{index}].value",
                    f"{', '.join(cut)} lacks the domain, which a `# ` line of the answer gives",
                )
    return problems


def _read_order(
    order: object, request: ReportRequest, problems: Problems
) -> tuple[str | None, bool]:
    """The column of the answer and whether it descends."""
    values = request.values
    if request.earlier is not None:
        values = tuple(column for value in values for column in compared(value))
    columns = (
        *key_names_of(request.query, request.datasource),
        *(value.name for value in values),
    )
    if not isinstance(order, str) or not order.strip():
        problems.add("orderBy", f"{quote(order)} is no column. Allowed: {', '.join(columns)}")
        return None, True
    is_descending = not order.strip().startswith("-")
    wanted = order.strip().removeprefix("-").strip()
    type_, column = split_aggregation(wanted)
    spelt = value_key(type_ or "", column or "")
    for name in (wanted, spelt, request.datasource.response_key(wanted)):
        if name in columns:
            return name, is_descending
    choice = did_you_mean(wanted, columns)
    problems.add("orderBy", f"{quote(wanted)} is no column of this answer. {choice}")
    return None, True
