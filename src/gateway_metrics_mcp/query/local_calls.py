"""How a question over local buckets is put to a source whose buckets are UTC.

By one query of narrow buckets that add up to the local ones, else by one query per local bucket.
"""

from __future__ import annotations

from typing import Final

from gateway_metrics_mcp.query.interval import Interval
from gateway_metrics_mcp.query.local_days import LocalDays
from gateway_metrics_mcp.query.model import Query
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
