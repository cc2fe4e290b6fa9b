"""Which buckets a timeseries has: chosen where none were asked, never too many."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from gateway_metrics_mcp.errors import Problem
from gateway_metrics_mcp.query.interval import Interval
from gateway_metrics_mcp.query.local_days import LOCAL_UNITS, LocalDays
from gateway_metrics_mcp.query.model import Query

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
