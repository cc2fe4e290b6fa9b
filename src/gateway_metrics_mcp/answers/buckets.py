"""The buckets of a timeseries: which there are, how they are labelled, which are partial."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from gateway_metrics_mcp.answers.asked import Asked
from gateway_metrics_mcp.query.interval import UNIT_MONTHS, UNIT_SECONDS
from gateway_metrics_mcp.query.local_days import Buckets, LocalDays, end_of, zone_of
from gateway_metrics_mcp.query.model import Query

PARTIAL: Final = " (partial)"
"""What follows the label of a bucket that holds less than its width."""

_DAY_S: Final = UNIT_SECONDS["day"]


def find_buckets(query: Query, buckets: Buckets, starts: set[datetime]) -> list[datetime] | None:
    """The starts of all buckets of the window, in order.

    Ours are aligned as R4 says. A gateway may count from elsewhere, but in steps of the same
    width. None if the rows follow neither: then only the buckets that came are known.
    """
    ours = list(buckets.buckets(query.start_ts, query.end_ts))
    if starts <= set(ours):
        return ours
    seconds = buckets.fixed_seconds
    if seconds is None:
        return None
    width = timedelta(seconds=seconds)
    phase = (min(starts) - query.start_ts) % width
    first = query.start_ts + phase - (width if phase else timedelta(0))
    count = -(-(query.end_ts - first) // width)
    theirs = [first + i * width for i in range(count)]
    return theirs if starts <= set(theirs) else None


def label_buckets(starts: Sequence[datetime], buckets: Buckets) -> list[str]:
    """A label per bucket; below a day only the first of each day carries the date."""
    if isinstance(buckets, LocalDays):
        return _label_dates([start.astimezone(buckets.zone) for start in starts], buckets)
    in_utc = [_in_utc(start) for start in starts]
    if _is_by_date(in_utc, buckets):
        return _label_dates(in_utc, buckets)
    form = "%H:%M:%S" if any(start.second for start in in_utc) else "%H:%M"
    labels, day = [], None
    for start in in_utc:
        time = start.strftime(form)
        labels.append(time if start.date() == day else f"{start:%Y-%m-%d} {time}")
        day = start.date()
    return labels


def mark_partial(
    labels: Sequence[str], query: Query, starts: Sequence[datetime], buckets: Buckets
) -> list[str]:
    """The labels, the first and the last marked where their bucket is partial."""
    marked = list(labels)
    if starts[0] < query.start_ts:
        marked[0] += PARTIAL
    if end_of(starts[-1], buckets) > query.end_ts and not marked[-1].endswith(PARTIAL):
        marked[-1] += PARTIAL
    return marked


def explain_labels(labels: Sequence[str]) -> str:
    """The words on labels that are a time of day alone; nothing where there is none."""
    short = next((label for label in labels if label[2:3] == ":"), None)
    if short is None:
        return ""
    form = "HH:MM" if len(short.removesuffix(PARTIAL)) == 5 else "HH:MM:SS"
    return f"; {form} rows belong to the date above"


def explain_zone(buckets: Buckets, zone: str) -> list[str]:
    """Whose clocks cut the buckets, where they are not those of the zone that was asked."""
    if zone in ("UTC", zone_of(buckets).key):
        return []
    is_below_a_day = (buckets.fixed_seconds or _DAY_S) < _DAY_S
    return [f"hours are UTC, not {zone}" if is_below_a_day else f"buckets are UTC, not {zone}"]


def partial_notes(asked: Asked, starts: Sequence[datetime], buckets: Buckets) -> list[str]:
    """Which of the first and last bucket hold less than their width."""
    query, notes = asked.question.query, []
    if starts[0] < query.start_ts:
        notes.append(f"the first bucket is partial: only from {_clock(query.start_ts)} on")
    last_end = end_of(starts[-1], buckets)
    if last_end > query.end_ts:
        why = "still running" if asked.question.window.is_to_now else "cut by the window"
        notes.append(f"the last bucket is partial, {why}: only to {_clock(query.end_ts)}")
    if notes and query.has_rates:
        notes.append("rates of a partial bucket are too low: they divide by its whole width")
    return notes


def _clock(instant: datetime) -> str:
    return _in_utc(instant).strftime("%Y-%m-%dT%H:%M:%SZ").replace(":00Z", "Z")


def _in_utc(instant: datetime) -> datetime:
    return instant.astimezone(UTC)


def _is_by_date(in_utc: Sequence[datetime], buckets: Buckets) -> bool:
    """Whether a date tells these buckets apart: they start at midnight and last for days."""
    if any(start.strftime("%H%M%S") != "000000" for start in in_utc):
        return False
    return (buckets.fixed_seconds or _DAY_S) % _DAY_S == 0


def _label_dates(starts: Sequence[datetime], buckets: Buckets) -> list[str]:
    """The dates as far as the buckets need them: `2026`, `2026-07` or `2026-07-15`."""
    form = "%Y-%m-%d"
    if buckets.unit in UNIT_MONTHS and all(start.day == 1 for start in starts):
        is_by_year = buckets.unit == "year" and all(start.month == 1 for start in starts)
        form = "%Y" if is_by_year else "%Y-%m"
    return [start.strftime(form) for start in starts]
