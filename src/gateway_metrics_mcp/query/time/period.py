"""Periods in words and by the calendar: `last 7 days`, `this month`, `2026-07`, `2026-Q3`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Final, cast

from gateway_metrics_mcp.query.suggestions import quote
from gateway_metrics_mcp.query.time.instant import read_date
from gateway_metrics_mcp.query.time.zone import (
    CALENDAR_UNITS,
    CLOCK_LENGTHS,
    CLOCK_UNITS,
    FIRST_YEAR,
    LAST_YEAR,
    CalendarUnit,
    Clock,
    ClockUnit,
    resolve_local,
    shift_local,
)

NUMBER_WORDS: Final = (
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
)
PRESENT: Final[dict[CalendarUnit, str]] = {
    "day": "today",
    "week": "this week",
    "month": "this month",
    "quarter": "this quarter",
    "year": "this year",
}

_UNITS: Final = "|".join((*CLOCK_UNITS, *CALENDAR_UNITS))
_LAST: Final = re.compile(
    rf"(?:the )?(?:last|past|previous) (?:([0-9]+|{'|'.join(NUMBER_WORDS)}) )?({_UNITS})(s?)"
)
_PRESENT: Final = re.compile(rf"this ({'|'.join(CALENDAR_UNITS)})")
_ROUNDED: Final = re.compile(r"now/1?([dwMQy])")
_ROUNDED_UNITS: Final[dict[str, CalendarUnit]] = {unit[0]: unit for unit in CALENDAR_UNITS} | {
    "M": "month",
    "Q": "quarter",
}
_NAMED: Final = re.compile(r"([0-9]{4})(?:-(?:([0-9]{2})|w([0-9]{2})|q([0-9])))?")
_RANGE: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}) ?\.\. ?([0-9]{4}-[0-9]{2}-[0-9]{2})")
_MONTHS: Final = 12
_QUARTERS: Final = 4


@dataclass(frozen=True, slots=True)
class Period:
    """What kind of calendar period a window is: `count` whole units, or a running one so far.

    The period before starts `count` units earlier; that of a running one ends as much earlier.
    """

    unit: CalendarUnit
    count: int
    is_running: bool


@dataclass(frozen=True, slots=True)
class Span:
    """A period as asked, before it is cut to now."""

    start: datetime
    end: datetime
    unit: CalendarUnit | None = None  # None: rolling
    count: int = 1
    note: str = ""
    running_note: str = ""
    is_point: bool = False  # its name also stands for its start, so it may be an end


def read_period(text: str, clock: Clock) -> Span | None:
    """The period that a text of single spaces names; None if it has another form.

    Raises:
        ValueError: with a message for the user, if the calendar has no such period.
        OverflowError: outside the years that can be asked.
    """
    words = text.lower()
    present = _read_present(text, words)
    if present is not None:
        return _whole_units(clock, present, 0, is_point=words == "today")
    if words == "yesterday":
        return _whole_units(clock, "day", -1, is_point=True)
    return _read_last(words, clock) or _read_named(words, clock) or _read_range(words, clock)


def _read_present(text: str, words: str) -> CalendarUnit | None:
    if words == "today":
        return "day"
    rounded = _ROUNDED.fullmatch(text)
    if rounded is not None:
        return _ROUNDED_UNITS[rounded[1]]
    match = _PRESENT.fullmatch(words)
    return None if match is None else cast("CalendarUnit", match[1])


def _whole_units(clock: Clock, unit: CalendarUnit, first: int, *, is_point: bool = False) -> Span:
    """One unit, counted from the present one."""
    start, end = clock.start_of(unit, first), clock.start_of(unit, first + 1)
    return Span(start, end, unit, is_point=is_point)


def _read_last(words: str, clock: Clock) -> Span | None:
    match = _LAST.fullmatch(words)
    if match is None or (match[1] is None and match[3]):
        return None
    number, unit = match[1], match[2]
    if number is None and "past " in words and unit in CALENDAR_UNITS:
        rolling = {"month": "M", "quarter": "Q"}.get(unit, unit[0])
        raise ValueError(
            f'{quote(words)} can mean two things: "last {unit}" is the whole {unit} before this'
            f' one, "now-1{rolling}" the time up to now'
        )
    if number is None:
        count = 1
    else:
        count = int(number) if number.isdigit() else NUMBER_WORDS.index(number) + 1
    if count == 0:
        raise ValueError(f'{quote(words)} is empty: the least is 1, such as "last 1 {unit}"')
    if unit in CLOCK_UNITS:
        return Span(clock.now - CLOCK_LENGTHS[cast("ClockUnit", unit)] * count, clock.now)
    whole = cast("CalendarUnit", unit)
    note = "" if number is None else f"{PRESENT[whole]} is left out: it is not over"
    return Span(clock.start_of(whole, -count), clock.start_of(whole), whole, count, note)


def _read_named(words: str, clock: Clock) -> Span | None:
    match = _NAMED.fullmatch(words)
    if match is None:
        return None
    name = words.upper()
    first, unit = _first_day(name, match)
    start = datetime.combine(first, time(), clock.zone)
    end = resolve_local(shift_local(start, unit, 1))
    running = f"{name} is not over: {PRESENT[unit]} so far, up to now"
    return Span(resolve_local(start), end, unit, running_note=running, is_point=True)


def _first_day(name: str, match: re.Match[str]) -> tuple[date, CalendarUnit]:
    year, month, week, quarter = (int(part) if part else None for part in match.groups())
    if year is None or not FIRST_YEAR <= year <= LAST_YEAR:
        raise OverflowError
    if month is not None:
        if not 1 <= month <= _MONTHS:
            raise ValueError(f"{quote(name)} is no month: they are 01 to {_MONTHS}")
        return date(year, month, 1), "month"
    if week is not None:
        weeks = date(year, 12, 28).isocalendar().week  # which is always in the last one
        if not 1 <= week <= weeks:
            raise ValueError(f"{quote(name)} is no week: {year} has W01 to W{weeks}")
        return date.fromisocalendar(year, week, 1), "week"
    if quarter is not None:
        if not 1 <= quarter <= _QUARTERS:
            raise ValueError(f"{quote(name)} is no quarter: they are Q1 to Q{_QUARTERS}")
        return date(year, quarter * 3 - 2, 1), "quarter"
    return date(year, 1, 1), "year"


def _read_range(words: str, clock: Clock) -> Span | None:
    match = _RANGE.fullmatch(words)
    if match is None:
        return None
    first, last = read_date(match[1]), read_date(match[2])
    if first is None or last is None:
        return None
    if last < first:
        raise ValueError(f'{quote(words)} runs backwards. Did you mean "{last}..{first}"?')
    start = datetime.combine(first, time(), clock.zone)
    count = (last - first).days + 1
    end = resolve_local(shift_local(start, "day", count))
    running = f"{first}..{last} is not over: up to now"
    return Span(resolve_local(start), end, "day", count, running_note=running)
