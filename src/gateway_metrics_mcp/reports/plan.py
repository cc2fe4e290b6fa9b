"""Plans the queries of a report request within the limit of calls, and explains the plan.

Nothing is queried here: executor.py runs the plan.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Final, NamedTuple

from gateway_metrics_mcp.errors import InvalidQueryError, Problem
from gateway_metrics_mcp.query import (
    METADATA,
    METADATA_PREFIX,
    TOTAL,
    Aggregation,
    DataPoint,
    Datasource,
    Measure,
    Number,
    Query,
    Result,
)
from gateway_metrics_mcp.query.catalog import Rows
from gateway_metrics_mcp.query.scope import FIELD, is_scope
from gateway_metrics_mcp.query.time.interval import choose_interval
from gateway_metrics_mcp.reports.columns import COST, Share, asks_spend, list_terms
from gateway_metrics_mcp.reports.diagnosis import list_spans, presence_queries
from gateway_metrics_mcp.reports.request import ReportRequest
from gateway_metrics_mcp.reports.time_buckets import (
    choose_step,
    combine,
    count_query,
    needs_group_count,
)

_BUCKETS: Final = 40  # finds the start of the rows to 1/40 of the window, below _LEAST_SHARE
_LEAST_SHARE: Final = 0.1
"""The least fraction of a window without rows at its start that is reported: a shorter one may be
an ordinary lull."""


class MissingStart(NamedTuple):
    """The start of a window without rows, up to `until`; None if the window has no rows.

    `share` is its fraction of the window, 0 to 1.
    """

    until: datetime | None
    share: float


def bucketed(query: Query) -> Query:
    """The query as a timeseries if its values add up to the same; else unchanged."""
    if query.group_by or query.interval is not None:
        return query
    if not all(one.is_additive or one.type == "min" for one in query.aggregations):
        return query
    interval = choose_interval(query.start_ts, query.end_ts, _BUCKETS)
    return query.model_copy(update={"type": "timeseries", "interval": interval})


def fold(query: Query, result: Result, *, by_bucket: bool = False) -> Result:
    """The values of `query`, without its groups, added up from a result that has more rows (R1).

    One row; or `by_bucket` a row for each bucket that has rows.
    """
    types = {a.key: a.type for a in query.aggregations} | {TOTAL: "count"}
    names = [name for name in result.value_names if name in types]
    rows: dict[datetime | None, list[DataPoint]] = {} if by_bucket else {None: []}
    for point in result.points:
        rows.setdefault(point.start if by_bucket else None, []).append(point)
    places = [(types[name], result.value_names.index(name)) for name in names]
    points = [
        DataPoint((), tuple(_fold(type_, [p.values[i] for p in of]) for type_, i in places), start)
        for start, of in sorted(rows.items())  # one None, or instants alone
    ]
    return Result((), tuple(names), tuple(points), result.notes, result.is_by_rulings)


def _fold(type_: str, values: Sequence[Number | None]) -> Number | None:
    total = combine(type_, values) if values or type_ != "count" else 0
    return None if isinstance(total, float) and not math.isfinite(total) else total  # R22


def watch_lowest(query: Query, datasource: Datasource) -> Query:
    """The query with the least value of each amount in it: one below 0 cannot be.

    Asked of engines alone: an older gateway has no minimum.
    """
    named = dict.fromkeys(a.column for a in query.aggregations if not a.type.startswith("count"))
    lowest = [
        Aggregation(type="min", column=name)
        for name in named
        if (column := datasource.columns.get(name)) and column.unit and "min" in column.aggregations
    ]
    together = tuple(dict.fromkeys((*query.aggregations, *lowest)))
    return query.model_copy(update={"aggregations": together})


def adds_up(query: Query) -> bool:
    """Whether ALL can be computed exactly from an engine's groups: each row is in one of them.

    Not by team or metadata key, of which a row can have several, nor by a kind of subject, which
    leaves out the rows of other kinds (R5, R7); and not for percentiles, averages or distinct
    counts.
    """
    types = {aggregation.type for aggregation in query.aggregations}
    # In a timeseries only shares need ALL, and they exist of sums and counts alone.
    is_exact = query.interval is not None or types <= {"sum", "count", "min", "max"}
    return is_exact and not _OVERLAPPING & set(query.group_by)


def find_gap(query: Query, result: Result) -> MissingStart | None:
    """The start without rows in the result of a bucketed query; None if it is short."""
    starts = [point.start for point in result.points if point.start is not None]
    if not starts:
        return MissingStart(None, 1.0)
    if min(starts) <= query.start_ts:
        return None
    share = (min(starts) - query.start_ts) / (query.end_ts - query.start_ts)
    return MissingStart(min(starts), share) if share >= _LEAST_SHARE else None


MOST_CALLS: Final = 6
"""The most upstream calls of one tool call, by default (`--calls`)."""

_KEPT_FOR_SPLIT: Final = 2
"""Calls reserved for the cost drivers, which need two if some model calls have no price."""


_OVERLAPPING: Final = frozenset(("team", METADATA, "userEmail", "virtualaccount", "virtualAccount"))


class QueryRole(NamedTuple):
    """Which part of the report a query answers."""

    is_before: bool = False
    """For the earlier window."""
    is_ungrouped: bool = False
    """For the ALL row, or for ALL of each bucket."""
    rows: Rows | None = None
    """The rows of a measure; None for those of the request itself."""
    is_coverage: bool = False
    """Only to find out when the rows of the window begin."""
    present: str = ""
    """A field; the query shows which of its filtered values some row has."""


def plan_queries(
    request: ReportRequest,
    *,
    has_all_row: bool = True,
    most: int = MOST_CALLS,
    present: Sequence[str] = (),
    is_by_rulings: bool = False,
) -> dict[QueryRole, Query]:
    """The queries of a request by role, at most `most` different ones.

    If calls run short, checks and the ALL rows of measures are left out. `present` are fields to
    check for filtered values that no row has. If the backend's groups are those of the rulings,
    ALL may have the query of the rows, from whose groups it is then added up.

    Raises:
        InvalidQueryError: if even that takes more than `most` calls.
    """
    # A gateway is asked for ALL: it can leave out groups. So is an engine where groups overlap or
    # values do not add up. A timeseries shows no ALL row, but its shares need one.
    shows_all = has_all_row and request.query.interval is None
    has_share = any(isinstance(value.source, Share) for value in request.values)
    needs_all = bool(request.query.group_by) and (shows_all or has_share)
    extras = _rows_of_measures(request)
    planned: dict[QueryRole, Query] = {}
    optional: dict[QueryRole, Query] = {}
    for is_before in request.windows:
        query = in_window(request, is_before=is_before)
        if is_by_rulings:
            query = watch_lowest(query, request.datasource)
        # Sums by buckets take no further call and show when the rows begin. Without that, changes
        # against a time before the data, and run rates of a month with a late start, mislead.
        is_spread = is_before or (request.earlier is not None and is_extrapolated(request))
        planned[QueryRole(is_before)] = bucketed(query) if is_before else query
        is_derived = is_by_rulings and not is_spread and adds_up(query)
        if needs_all:
            whole = bucketed(whole_query(query)) if is_spread else whole_query(query)
            planned[QueryRole(is_before, is_ungrouped=True)] = query if is_derived else whole
        for rows, aggregations in extras.items():
            planned[QueryRole(is_before, rows=rows)] = choose_rows(query, rows, aggregations)
            if needs_all and not is_derived and query.interval is None:
                whole = choose_rows(_ungrouped(query), rows, aggregations)
                optional[QueryRole(is_before, is_ungrouped=True, rows=rows)] = whole
    count = count_queries(planned)
    if count > most:
        raise InvalidQueryError([_too_many(request, count, most)])
    if count_queries(planned | optional) <= most - _kept_for_recorded(request):
        planned |= optional
    _add_checks(request, planned, most, present)
    return planned


def find_way_to_split(
    request: ReportRequest, *, has_all_row: bool, most: int, is_by_rulings: bool
) -> str:
    """How to ask for the cost drivers if calls ran out: the first of a few ways that fits."""
    plain = tuple(v for v in request.values if not isinstance(v.source, Measure | Share))
    ungrouped = _ungrouped(request.query)
    ways = {
        "ask sum costInUSD alone": replace(request, values=plain),
        "ask it without group-by": replace(request, query=ungrouped),
        "ask sum costInUSD alone, without group-by": replace(
            request, values=plain, query=ungrouped
        ),
    }
    for way, less in ways.items():
        with suppress(InvalidQueryError):  # this way takes too many calls as well
            planned = plan_queries(
                less, has_all_row=has_all_row, most=most, is_by_rulings=is_by_rulings
            )
            if count_queries(planned) + _KEPT_FOR_SPLIT <= most:
                return way
    return f"it takes more than the limit of {most} upstream calls"


def _add_checks(
    request: ReportRequest, planned: dict[QueryRole, Query], most: int, present: Sequence[str]
) -> None:
    """Add the checks that keep an answer from misleading, as far as calls are left."""
    told = set()
    if request.query.interval is None:
        told = {role.is_before for role, query in planned.items() if query.interval is not None}
    for is_before in _dated(request):
        if is_before not in told and count_queries(planned) < most:
            # Their number by bucket is the cheapest query that shows when the rows begin.
            counted = {"group_by": (), "aggregations": (), "interval": None}
            query = in_window(request, is_before=is_before).model_copy(update=counted)
            planned[QueryRole(is_before, is_coverage=True)] = bucketed(query)
    kept = _KEPT_FOR_SPLIT if request.earlier is not None and asks_spend(request.values) else 0
    left = max(most - count_queries(planned) - kept, 0)
    for field in present[: left // len(list_spans(request))]:
        for number, query in enumerate(presence_queries(request, field)):
            planned[QueryRole(is_before=number > 0, present=field)] = query


def _dated(request: ReportRequest) -> list[bool]:
    """The windows whose first row matters: of a run rate (False), of a comparison (True)."""
    windows = [False] if is_extrapolated(request) else []
    return [*windows, *([True] if request.earlier is not None else [])]


def list_unasked(request: ReportRequest, told: Container[bool]) -> list[str]:
    """Notes for the windows whose start was not checked because calls ran out."""
    texts = {
        True: "not checked where the rows of the earlier window begin (call limit reached): if the"
        " data begins there, these are not real changes",
        False: "not checked where the rows of the month begin (call limit reached): if they begin"
        " late, the run rate is too low",
    }
    return [texts[window] for window in _dated(request) if window not in told]


def is_extrapolated(request: ReportRequest) -> bool:
    """Whether the answer has a run rate: spend in a month that is still running."""
    period = request.window.period
    is_open = period is not None and period.is_running and period.unit == "month"
    return is_open and asks_spend(request.values)


def count_queries(planned: Mapping[QueryRole, Query]) -> int:
    """The number of calls; roles with equal queries share one."""
    return len(set(planned.values()))


def _kept_for_recorded(request: ReportRequest) -> int:
    """The calls that tell whether a rate of 0 was recorded, which nothing else tells.

    None where groups overlap: ALL of a measure cannot be added up from them instead.
    """
    is_disjoint = not _OVERLAPPING & set(request.query.group_by)
    return len(request.windows) if is_disjoint and needs_recorded(request) else 0


def needs_recorded(request: ReportRequest) -> bool:
    """Whether a rate of 0 takes one more call, which tells if what it counts was recorded."""
    return any(isinstance(v.source, Measure) and v.source.others for v in request.values)


def _rows_of_measures(request: ReportRequest) -> dict[Rows, tuple[Aggregation, ...]]:
    """The rows that measures need a separate query for, with its aggregations."""
    needed: dict[Rows, dict[Aggregation, None]] = {}
    for term in list_terms(request.values):
        if term.rows.has_conditions:
            needed.setdefault(term.rows, {}).update(dict.fromkeys(term.aggregations))
    return {rows: tuple(aggregations) for rows, aggregations in needed.items()}


def choose_rows(query: Query, rows: Rows, aggregations: tuple[Aggregation, ...]) -> Query:
    """The query for the rows of a measure; a field with a spelling is added to the group-by."""
    group_by = query.group_by
    if rows.spelling is not None and rows.spelling.field not in group_by:
        group_by = (*group_by, rows.spelling.field)
    return query.model_copy(
        update={
            "aggregations": aggregations,
            "filters": (*query.filters, *rows.filters),
            "group_by": group_by,
        }
    )


def in_window(request: ReportRequest, *, is_before: bool) -> Query:
    """The query of the window, or of the earlier one."""
    if not is_before or request.earlier is None:
        return request.query
    window = request.earlier
    return request.query.model_copy(update={"start_ts": window.start, "end_ts": window.end})


def _ungrouped(query: Query) -> Query:
    return query.model_copy(update={"group_by": ()})


def whole_query(query: Query) -> Query:
    """The query without group-by; in a timeseries with the additive values that shares need."""
    whole = _ungrouped(query)
    if query.interval is None:
        return whole
    # Shares exist of additive values alone.
    additive = tuple(a for a in query.aggregations if a.is_additive)
    return whole.model_copy(update={"aggregations": additive})


def _too_many(request: ReportRequest, count: int, most: int) -> Problem:
    names = [v.name for v in request.values if isinstance(v.source, Measure)]
    ways = "without compareTo, or " if request.earlier is not None else ""
    return Problem(
        "aggregations",
        f"this takes {count} upstream calls, the limit is {most}. Ask {', '.join(names)}"
        f" {ways}in separate calls",
    )


# --- the plan in words, for `format: explain` ---


class Step(NamedTuple):
    """One upstream call, or several of a kind: its purpose, the first query, the number."""

    purpose: str
    query: Query
    times: int = 1


def list_steps(request: ReportRequest, planned: Mapping[QueryRole, Query]) -> list[Step]:
    """The planned calls in order."""
    steps = []
    if needs_group_count(request):
        steps.append(Step("first, how many groups there are", count_query(request)))
    roles: dict[Query, list[QueryRole]] = {}
    for role, query in planned.items():
        roles.setdefault(query, []).append(role)
    return steps + [_step(request, shared, query) for query, shared in roles.items()]


def _step(request: ReportRequest, roles: Sequence[QueryRole], query: Query) -> Step:
    purpose, local = _describe(roles[0]), request.local
    if query.group_by and any(role.is_ungrouped and role.rows is None for role in roles):
        purpose += "; ALL is added up from them"
    if local is None or query.interval is None:
        return Step(purpose, query)
    step = choose_step(query, local)
    if step is not None:
        narrow = query.model_copy(update={"interval": step})
        return Step(f"{purpose}, added up to the {local.unit}s of {local.zone.key}", narrow)
    count = local.count_buckets(query.start_ts, query.end_ts)
    ends = [*list(local.buckets(query.start_ts, query.end_ts))[1:], query.end_ts]
    first = {"type": "distribution", "interval": None, "end_ts": ends[0]}
    purpose = f"{purpose}, one call for each {local.unit} of {local.zone.key}; the first"
    return Step(purpose, query.model_copy(update=first), count)


def list_later_calls(request: ReportRequest, left: int) -> list[str]:
    """The calls that depend on results, in words, if `left` calls suffice for them."""
    later = []
    filtered = sum(not is_scope(filter_) for filter_ in request.query.filters)
    filtered *= len(list_spans(request))
    if left and filtered:
        most = min(left, filtered)
        count = "1" if most == 1 else f"up to {most}"
        later.append(f"if a filter's value matches nothing: {count} without it, for similar values")
    if left and any(name.startswith(METADATA_PREFIX) for name in request.query.group_by):
        later.append("if no row has a metadata key: 1, for similar keys")
    if left and needs_recorded(request):
        later.append("if a rate is 0: 1 for each window, whether it was recorded at all")
    if left > 1 and request.earlier is not None and asks_spend(request.values):
        later.append("if calls have no price: 2 of those that have one, for what moved the cost")
    return later


def list_added(request: ReportRequest, steps: Sequence[Step]) -> list[str]:
    """What was added to the request, and why."""
    sent = [a for step in steps for a in step.query.aggregations if a.type == "min"]
    report = {value.source for value in request.values if isinstance(value.source, Aggregation)}
    added = [
        f"{aggregation}: {_reason(aggregation)}"
        for aggregation in dict.fromkeys((*request.query.aggregations, *sent))
        if aggregation not in report
    ]
    ours = request.scope_filter
    if ours is not None:
        side = f"filter {FIELD} IS_NULL {str(ours.value).lower()}"
        added.append(f"{side}: virtual-model rows and the rows under them would count twice")
    return added


def _reason(aggregation: Aggregation) -> str:
    if aggregation.type == "count" and aggregation.column == COST:
        return "calls without a price make spend too low"
    if aggregation.type == "count":
        return "how many values a percentile or a ratio is based on"
    if aggregation.type == "min":
        return "a value below 0 cannot be right"
    return "needed by a measure or a comparison"


def _describe(role: QueryRole) -> str:
    """The purpose of a call, in words."""
    parts = ["ALL, asked without group-by" if role.is_ungrouped else "the rows"]
    if role.is_coverage:
        return "when the rows of the window begin"
    if role.present:
        parts = [f"which of the filtered values of {role.present} have rows"]
    if role.rows is not None and role.rows.spelling is not None:
        parts.append(f"by {role.rows.spelling.field}, for a measure of some of its values")
    if role.rows is not None and role.rows.filters:
        parts.append("with the filter of a measure")
    if role.is_before:
        parts.append("in the window to compare with")
    return ", ".join(parts)
