"""How a question over local buckets is put to a source whose buckets are UTC.

By one query of narrow buckets that add up to the local ones, else by one query per local bucket.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from gateway_metrics_mcp.errors import Problem
from gateway_metrics_mcp.query.model import Query
from gateway_metrics_mcp.query.time.interval import Interval
from gateway_metrics_mcp.query.time.local_buckets import LOCAL_UNITS, LocalDays
from gateway_metrics_mcp.query.vocabulary import RATE_TYPES

MOST_CALLS: Final = 31
"""Local buckets that are asked one by one: a month of days."""

MOST_STEPS: Final = 5_000
"""From here on a query per local bucket is less work, where there are few of these."""


def choose_step(query: Query, local: LocalDays) -> Interval | None:
    """The buckets in UTC of one query whose rows make up the local ones; None: ask each.

    They are the local ones themselves where the zone's clocks show UTC in the whole window.
    """
    start, end = query.start_ts, query.end_ts
    if list(local.buckets(start, end)) == list(local.interval.buckets(start, end)):
        return local.interval
    if not all(aggregation.is_additive for aggregation in query.aggregations):
        return None
    step = local.step(start, end)
    if step is None or step.count_buckets(start, end) <= MOST_STEPS:
        return step
    return None if can_ask_each(query, local) else step


def can_ask_each(query: Query, local: LocalDays) -> bool:
    """Whether there may be a distribution query per local bucket."""
    return not query.has_rates and local.count_buckets(query.start_ts, query.end_ts) <= MOST_CALLS


def count_calls(query: Query, local: LocalDays) -> int:
    """The upstream calls that a question takes which `check_local` lets pass."""
    if choose_step(query, local) is not None:
        return 1
    return local.count_buckets(query.start_ts, query.end_ts)


def check_local(query: Query, local: LocalDays) -> str | None:
    """Why the question cannot be had in local buckets, and what can; None if it can."""
    if choose_step(query, local) is not None or can_ask_each(query, local):
        return None
    zone, utc = local.zone.key, 'timezone "UTC"'
    rates = [f"{a.type} {a.column}" for a in query.aggregations if a.type in RATE_TYPES]
    if rates:
        return (
            f"{', '.join(rates)}: rates come in UTC buckets only, not in the {local.unit}s of"
            f" {zone}. Ask sum instead, or give {utc}"
        )
    count = local.count_buckets(query.start_ts, query.end_ts)
    others = [f"{a.type} {a.column}" for a in query.aggregations if not a.is_additive]
    why = (
        f"{', '.join(others)} cannot be added up from UTC buckets"
        if others
        else f"the {local.unit}s of {zone} do not start on a quarter of an hour"
    )
    return (
        f"{why}, so each of the {count} buckets of {local} in {zone} is a call, and at most"
        f" {MOST_CALLS} are made. Give a shorter window, a longer interval, or {utc}"
    )


MOST_POINTS: Final = 5_000
"""Buckets times groups: beyond that nothing is fetched."""

BUCKETS_BY_DEFAULT: Final = 62
"""About 60, and two months of days still fit."""

UTC_KEY: Final = "UTC"

INTERVALS: Final = tuple(
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
"""The usual ones, of which we choose."""


def choose_interval(start: datetime, end: datetime, most: int = BUCKETS_BY_DEFAULT) -> Interval:
    """The narrowest usual interval that gives at most so many buckets, about 60 by default."""
    for interval in INTERVALS:
        if interval.count_buckets(start, end) <= most:
            return interval
    return Interval(10, "year")


def localise(interval: Interval | None, zone: ZoneInfo) -> LocalDays | None:
    """The zone's own days, where buckets of a day or more are asked outside UTC."""
    if interval is None or zone.key == UTC_KEY or interval.unit not in LOCAL_UNITS:
        return None
    return LocalDays(interval, zone)


def check_buckets(query: Query) -> list[Problem]:
    """Too many buckets are refused before anything is asked, with an interval that fits."""
    if query.interval is None:
        return []
    count = query.interval.count_buckets(query.start_ts, query.end_ts)
    if count <= MOST_POINTS:
        return []
    better = choose_interval(query.start_ts, query.end_ts)
    message = (
        f"{query.interval} would give {count} buckets, the most are {MOST_POINTS}."
        f" Use {better}, or a shorter window"
    )
    return [Problem("interval", message)]
