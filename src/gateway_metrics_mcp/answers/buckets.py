"""The buckets of a timeseries: which there are, how they are labelled, which are partial."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from gateway_metrics_mcp.answers.asked import Asked
from gateway_metrics_mcp.query.interval import UNIT_SECONDS, Interval
from gateway_metrics_mcp.query.model import Query

_DAY_S: Final = UNIT_SECONDS["day"]


def find_buckets(query: Query, interval: Interval, starts: set[datetime]) -> list[datetime] | None:
    """The starts of all buckets of the window, in order.

    Ours are aligned as R4 says. A gateway may count from elsewhere, but in steps of the same
    width. None if the rows follow neither: then only the buckets that came are known.
    """
    ours = list(interval.buckets(query.start_ts, query.end_ts))
    if starts <= set(ours):
        return ours
    seconds = interval.fixed_seconds
    if seconds is None:
        return None
    width = timedelta(seconds=seconds)
    phase = (min(starts) - query.start_ts) % width
    first = query.start_ts + phase - (width if phase else timedelta(0))
    count = -(-(query.end_ts - first) // width)
    theirs = [first + i * width for i in range(count)]
    return theirs if starts <= set(theirs) else None


def label_buckets(starts: Sequence[datetime], interval: Interval) -> list[str]:
    """A label per bucket; below a day only the first of each day carries the date."""
    in_utc = [_in_utc(start) for start in starts]
    if all(_is_midnight(start) for start in in_utc):
        if interval.fixed_seconds is None and all(start.day == 1 for start in in_utc):
            is_by_year = interval.unit == "year" and all(start.month == 1 for start in in_utc)
            return [start.strftime("%Y" if is_by_year else "%Y-%m") for start in in_utc]
        if (interval.fixed_seconds or _DAY_S) % _DAY_S == 0:
            return [start.strftime("%Y-%m-%d") for start in in_utc]
    form = "%H:%M:%S" if any(start.second for start in in_utc) else "%H:%M"
    labels, day = [], None
    for start in in_utc:
        time = start.strftime(form)
        labels.append(time if start.date() == day else f"{start:%Y-%m-%d} {time}")
        day = start.date()
    return labels


def explain_labels(labels: Sequence[str]) -> str:
    """The words on labels that are a time of day alone; nothing where there is none."""
    short = next((label for label in labels if label[2:3] == ":"), None)
    if short is None:
        return ""
    return f"; {'HH:MM' if len(short) == 5 else 'HH:MM:SS'} rows belong to the date above"


def partial_notes(asked: Asked, starts: Sequence[datetime], interval: Interval) -> list[str]:
    """Which of the first and last bucket hold less than their width."""
    query, notes = asked.question.query, []
    if starts[0] < query.start_ts:
        notes.append(f"the first bucket is partial: only from {_clock(query.start_ts)} on")
    last_end = _end_of(starts[-1], interval)
    if last_end > query.end_ts:
        why = "still running" if asked.question.window.is_to_now else "cut by the window"
        notes.append(f"the last bucket is partial, {why}: only to {_clock(query.end_ts)}")
    if notes and query.has_rates:
        notes.append("rates of a partial bucket are too low: they divide by its whole width")
    return notes


def _end_of(start: datetime, interval: Interval) -> datetime:
    seconds = interval.fixed_seconds
    return interval.after(start) if seconds is None else start + timedelta(seconds=seconds)


def _clock(instant: datetime) -> str:
    return _in_utc(instant).strftime("%Y-%m-%dT%H:%M:%SZ").replace(":00Z", "Z")


def _in_utc(instant: datetime) -> datetime:
    return instant.astimezone(UTC)


def _is_midnight(instant: datetime) -> bool:
    return _in_utc(instant).strftime("%H%M%S") == "000000"
