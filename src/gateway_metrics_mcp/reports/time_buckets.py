"""Fits a timeseries to its limits, and builds local buckets from UTC buckets or single queries.

The API has UTC buckets alone (R4).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from gateway_metrics_mcp.errors import (
    InvalidQueryError,
    Problem,
    ResponseTooLargeError,
    TooManyRowsError,
    UnreadableResponseError,
)
from gateway_metrics_mcp.query import (
    RATE_TYPES,
    TOTAL,
    Aggregation,
    DataPoint,
    Interval,
    Number,
    Query,
    Result,
    add_up,
)
from gateway_metrics_mcp.query.result import Identity, identify, value_names_of
from gateway_metrics_mcp.query.time.interval import (
    BUCKETS_BY_DEFAULT,
    EPOCH,
    INTERVALS,
    LADDER,
    LocalBuckets,
    end_of,
    localise,
    localise_hours,
)
from gateway_metrics_mcp.reports.columns import list_terms
from gateway_metrics_mcp.reports.request import MOST_POINTS, ReportRequest
from gateway_metrics_mcp.runtime.concurrency import run_all

Fetch = Callable[[Query], Awaitable[Result]]

MOST_BUCKET_CALLS: Final = 31
"""The most local buckets that are queried one by one: a month of days."""

MOST_STEPS: Final = 5_000
"""Above this many UTC buckets, a query per local bucket is less work if those are few."""


def combines(aggregation: Aggregation) -> bool:
    """Whether values of narrow buckets give that of a wide one.

    Those of percentiles, averages and distinct counts do not.
    """
    return aggregation.is_additive or aggregation.type in ("min", "max")


def combine(type_: str, values: Sequence[Number | None]) -> Number | None:
    """The value of all rows, from those of parts of them; null where no part has one."""
    if type_ in ("min", "max"):
        present = [value for value in values if value is not None]
        return (min if type_ == "min" else max)(present, default=None)
    return add_up(values)


def choose_step(query: Query, local: LocalBuckets) -> Interval | None:
    """The UTC interval whose buckets add up to the local ones; None to query each local bucket.

    If the zone equals UTC in the whole window, it is the local interval itself.
    """
    start, end = query.start_ts, query.end_ts
    if list(local.buckets(start, end)) == list(local.in_utc.buckets(start, end)):
        return local.in_utc
    if not all(map(combines, query.aggregations)):
        return None
    step = local.step(start, end)
    if step is None or step.count_buckets(start, end) <= MOST_STEPS:
        return step
    return None if can_run_each(query, local) else step


def can_run_each(query: Query, local: LocalBuckets) -> bool:
    """Whether each local bucket may be queried as a distribution, which has no rates (R14)."""
    return (
        not query.has_rates
        and local.count_buckets(query.start_ts, query.end_ts) <= MOST_BUCKET_CALLS
    )


def find_obstacle(query: Query, local: LocalBuckets) -> tuple[str, str] | None:
    """Why local buckets are impossible, and what to ask instead; None if they are possible."""
    if choose_step(query, local) is not None or can_run_each(query, local):
        return None
    zone, utc = local.zone.key, 'timezone "UTC"'
    rates = [str(a) for a in query.aggregations if a.type in RATE_TYPES]
    if rates:
        wrong = f"rates come in UTC buckets only, not in the {local.unit}s of {zone}"
        return f"{', '.join(rates)}: {wrong}", f"Ask sum instead, or give {utc}"
    count = local.count_buckets(query.start_ts, query.end_ts)
    others = [str(a) for a in query.aggregations if not combines(a)]
    why = (
        f"{', '.join(others)} cannot be added up from UTC buckets"
        if others
        else f"the {local.unit}s of {zone} do not start on a quarter of an hour"
    )
    wrong = (
        f"{why}, so each of the {count} buckets of {local} in {zone} is a call, and at most"
        f" {MOST_BUCKET_CALLS} are made"
    )
    return wrong, f"Give a shorter window, a longer interval, or {utc}"


async def run_local(fetch: Fetch, query: Query, local: LocalBuckets) -> Result:
    """A timeseries in local buckets; `start` is the bucket's start in UTC.

    Raises:
        InvalidQueryError: before any query, if local buckets are impossible.
        GatewayMetricsError: the first failure; the other calls are then cancelled.
    """
    if obstacle := find_obstacle(query, local):
        raise InvalidQueryError([Problem("interval", ". ".join(obstacle))])
    step, can_split = choose_step(query, local), can_run_each(query, local)
    if step is None:
        return await _run_each(fetch, query, local)
    try:
        narrow = await fetch(query.model_copy(update={"interval": step}))
    except (TooManyRowsError, ResponseTooLargeError):
        # The UTC buckets have too many rows; there are far fewer local ones.
        if not can_split:
            raise
        return await _run_each(fetch, query, local)
    # A gateway may align its buckets otherwise, so that they cross a local midnight.
    result = _regroup(narrow, query, local, step)
    if result is not None:
        return result
    if can_split:
        return await _run_each(fetch, query, local)
    raise UnreadableResponseError(
        f"the gateway's buckets of {step} do not begin where they are documented to, so they"
        f' do not add up to the {local.unit}s of {local.zone.key}. Give timezone "UTC"'
    )


def _regroup(narrow: Result, query: Query, local: LocalBuckets, step: Interval) -> Result | None:
    """The rows added up by local bucket and keys; None if a row crosses two buckets."""
    edges = list(local.buckets(query.start_ts, query.end_ts))
    types = {a.key: a.type for a in query.aggregations}
    kinds = [types.get(name, "count") for name in narrow.value_names]
    rows: dict[tuple[int, Identity], list[DataPoint]] = {}
    for point in narrow.points:
        if point.start is None:
            return None
        # The first UTC bucket may start before the window.
        bucket = bisect_right(edges, max(point.start, query.start_ts)) - 1
        if bucket + 1 < len(edges) and end_of(point.start, step) > edges[bucket + 1]:
            return None
        rows.setdefault((bucket, identify(point.keys)), []).append(point)
    points = [
        DataPoint(
            group[0].keys,
            tuple(map(combine, kinds, zip(*(point.values for point in group), strict=True))),
            edges[bucket],
        )
        for (bucket, _), group in rows.items()
    ]
    return replace(narrow, points=_sorted(points, narrow.value_names))


async def _run_each(fetch: Fetch, query: Query, local: LocalBuckets) -> Result:
    """One distribution query per local bucket, the first and last cut to the window."""
    edges = list(local.buckets(query.start_ts, query.end_ts))
    ends = [*edges[1:], query.end_ts]
    queries = [
        query.model_copy(
            update={
                "type": "distribution",
                "interval": None,
                "start_ts": max(start, query.start_ts),
                "end_ts": end,
            }
        )
        for start, end in zip(edges, ends, strict=True)
    ]
    return _join(query, edges, await run_all(fetch, queries))


def _join(query: Query, edges: Sequence[datetime], results: Sequence[Result]) -> Result:
    """The rows of all buckets, with every value name that some bucket has."""
    came = {name for result in results if result.points for name in result.value_names}
    names = tuple(name for name in value_names_of(query) if name in came or not came)
    points = [
        DataPoint(point.keys, values, start)
        for start, result in zip(edges, results, strict=True)
        for point, values in zip(result.points, _pick(result, names), strict=True)
        # An ungrouped distribution without matches has a row (R1), an empty bucket has none (R3).
        if query.group_by or any(values)
    ]
    ages = [result.age_s for result in results if result.age_s is not None]
    return Result(
        key_names=results[0].key_names,
        value_names=names,
        points=_sorted(points, names),
        notes=tuple(dict.fromkeys(note for result in results for note in result.notes)),
        is_by_rulings=all(result.is_by_rulings for result in results),
        age_s=max(ages, default=None),
    )


def _pick(result: Result, names: Sequence[str]) -> Iterable[tuple[Number | None, ...]]:
    """Each row's values in the order of these names; None for one that the result lacks."""
    if result.value_names == names:
        return [point.values for point in result.points]
    places = [result.value_names.index(n) if n in result.value_names else None for n in names]
    return [
        tuple(None if place is None else point.values[place] for place in places)
        for point in result.points
    ]


def _sorted(points: list[DataPoint], names: Sequence[str]) -> tuple[DataPoint, ...]:
    """Sorted by bucket, then total descending (R15); equal totals keep their order."""
    place = names.index(TOTAL) if TOTAL in names else None

    def rank(point: DataPoint) -> tuple[datetime, Number]:
        if point.start is None:
            raise TypeError("a row of a timeseries has a start")
        return point.start, 0 if place is None else -(point.values[place] or 0)

    return tuple(sorted(points, key=rank))


def needs_group_count(request: ReportRequest) -> bool:
    """Whether the groups have to be counted before the size of the answer is known."""
    return request.query.interval is not None and bool(request.query.group_by)


def count_query(request: ReportRequest) -> Query:
    """The cheapest query that counts the groups: one row per group, without values."""
    update = {"type": "distribution", "interval": None, "aggregations": ()}
    return request.query.model_copy(update=update)


def settle_buckets(
    request: ReportRequest, groups: int = 1
) -> tuple[ReportRequest, tuple[str, ...]]:
    """The request with buckets within MOST_POINTS, and notes on changes.

    A default interval is widened; a requested one is never changed.

    Raises:
        InvalidQueryError: if it does not fit, with an interval that does.
    """
    request = _localise(request)
    obstacle = _find_obstacle(request, groups)
    if obstacle is None:
        return request, ()
    reason, advice = obstacle
    better = _find_better(request, groups)
    if better is None:
        raise InvalidQueryError([Problem("interval", ". ".join(obstacle))])
    interval = better.query.interval
    if request.is_interval_ours:
        return better, (f"buckets of {interval}: {reason}",)
    proposal = f"Use {interval}, or {advice[0].lower()}{advice[1:]}"
    raise InvalidQueryError([Problem("interval", f"{reason}. {proposal}")])


def _localise(request: ReportRequest) -> ReportRequest:
    """The request with its buckets by the clocks of its zone, as far as they can be had."""
    query, zone = request.query, request.window.zone
    if query.interval is None:
        return request
    local: LocalBuckets | None = localise(query.interval, zone)
    if local is None and _adds_up(request):
        hours = localise_hours(query.interval, zone, query.start_ts, query.end_ts)
        step = None if hours is None else hours.step(query.start_ts, query.end_ts)
        if step is not None and step.count_buckets(query.start_ts, query.end_ts) <= MOST_STEPS:
            local = hours
    return replace(request, local=local)


def _adds_up(request: ReportRequest) -> bool:
    """Whether all values of a bucket can be added up from those of shorter ones."""
    of_measures = (one for term in list_terms(request.values) for one in term.aggregations)
    return all(one.is_additive for one in (*request.query.aggregations, *of_measures))


def _find_better(request: ReportRequest, groups: int) -> ReportRequest | None:
    """The request with the narrowest interval that fits, wider than a requested one; else None.

    A default one is widened to at most BUCKETS_BY_DEFAULT buckets.
    """
    least = 0.0
    if not request.is_interval_ours and request.query.interval is not None:
        least = request.query.interval.seconds_from(EPOCH)
    ladder = INTERVALS if request.is_interval_ours else LADDER
    most = BUCKETS_BY_DEFAULT if request.is_interval_ours else MOST_POINTS
    for interval in (one for one in ladder if one.seconds_from(EPOCH) > least):
        query = request.query.model_copy(update={"interval": interval})
        if interval.count_buckets(query.start_ts, query.end_ts) > most:
            continue
        better = _localise(replace(request, query=query))
        count = (better.local or interval).count_buckets(query.start_ts, query.end_ts)
        if count <= most and _find_obstacle(better, groups) is None:
            return better
    return None


def _find_obstacle(request: ReportRequest, groups: int) -> tuple[str, str] | None:
    """Why the buckets are impossible or too many, and what to do instead; None if they fit."""
    buckets = request.buckets
    if buckets is None:
        return None
    count = buckets.count_buckets(request.query.start_ts, request.query.end_ts)
    if count * groups > MOST_POINTS:
        of = f"{groups} groups x {count} buckets" if groups > 1 else f"{count} buckets"
        wrong = f"{of} of {request.query.interval} are more than {MOST_POINTS} points"
        return wrong, "Give a shorter window"
    return None if request.local is None else find_obstacle(request.query, request.local)
