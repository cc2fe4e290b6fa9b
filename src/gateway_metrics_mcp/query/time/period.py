"""Reads words for times: ISO 8601 instants and dates, date maths (`now-7d`), and periods."""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from typing import Final, cast
from zoneinfo import ZoneInfo

from gateway_metrics_mcp.errors import quote
from gateway_metrics_mcp.query.time.zone import (
    CALENDAR_UNITS,
    CLOCK_LENGTHS,
    CLOCK_UNITS,
    FIRST_YEAR,
    LAST_YEAR,
    CalendarUnit,
    Clock,
    ClockUnit,
    count_units,
    floor_local,
    resolve_local,
    shift_instant,
    shift_local,
)

_DATE: Final = r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
_ISO: Final = re.compile(
    r"(?P<date>[0-9-]{10})"
    r"(?:[T ](?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})"
    r"(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]{1,9}))?)?"
    r" ?(?P<offset>Z|UTC|[+-][0-9]{2}(?::?[0-9]{2})?)?)?",
    re.IGNORECASE,
)


def read_date(text: str) -> date | None:
    """The date of `2026-07-01`; None if the text has another form.

    Raises:
        ValueError: if the calendar has no such date.
    """
    match = re.fullmatch(_DATE, text)
    if match is None:
        return None
    year, month, day = (int(part) for part in match.groups())
    if not year:
        raise ValueError(f"{quote(text)} is not a date: there is no year 0000")
    if not 1 <= month <= 12:
        raise ValueError(f"{quote(text)} is not a date: months are 01 to 12, in the middle")
    last = monthrange(year, month)[1]
    if not 1 <= day <= last:
        raise ValueError(f"{quote(text)} is not a date: {year:04}-{month:02} has {last} days")
    return date(year, month, day)


def read_instant(text: str, zone: ZoneInfo) -> datetime | None:
    """The instant, in UTC, of an ISO 8601 date or time; None if the text has another form.

    A time without an offset is local time in the zone; a date is its first instant.

    Raises:
        ValueError: with a message for the user, if there is no such date or time of day.
    """
    match = _ISO.fullmatch(text)
    day = None if match is None else read_date(match["date"])
    if match is None or day is None:
        return None
    offset = _offset(text, match["offset"])
    wall = datetime.combine(day, _time(text, day, match), offset or zone)
    return resolve_local(wall) if offset is None else wall.astimezone(UTC)


def _time(text: str, day: date, match: re.Match[str]) -> time:
    hour, minute, second = (int(match[part] or 0) for part in ("hour", "minute", "second"))
    if hour == 24 and not minute and not second:
        raise ValueError(
            f'{quote(text)}: hours are 00 to 23. Did you mean "{day + timedelta(days=1)}T00:00'
            f'{match["offset"] or ""}"?'
        )
    try:
        return time(hour, minute, second, int((match["fraction"] or "0").ljust(6, "0")[:6]))
    except ValueError:
        raise ValueError(
            f"{quote(text)} has no such time of day: hours are 00 to 23, "
            "minutes and seconds 00 to 59"
        ) from None


def _offset(text: str, offset: str | None) -> tzinfo | None:
    if offset is None:
        return None
    if offset[0] not in "+-":
        return UTC
    hours, minutes = int(offset[1:3]), int(offset[3:].lstrip(":") or 0)
    if hours > 14 or minutes >= 60:
        raise ValueError(f"{quote(text)} has no such offset: its hours are 00 to 14")
    ahead = timedelta(hours=hours, minutes=minutes)
    return timezone(ahead if offset[0] == "+" else -ahead)


_CLOCK_LETTERS: Final[dict[str, ClockUnit]] = {"s": "second", "m": "minute", "h": "hour"}
_CALENDAR_LETTERS: Final[dict[str, CalendarUnit]] = {
    "d": "day",
    "w": "week",
    "M": "month",
    "Q": "quarter",
    "y": "year",
}
UNIT_LETTERS: Final[dict[str, str]] = {**_CLOCK_LETTERS, **_CALENDAR_LETTERS}
"""The unit letters of date maths, as Grafana has them."""

_FORM: Final = r"[nN][oO][wW]((?:[+/-][0-9]*f?[A-Za-z])*)"
_TERM: Final = r"([+/-])([0-9]*)(f?)([A-Za-z])"
_INSTANT: Final = timedelta(microseconds=1)


def read_date_maths(text: str, clock: Clock, *, is_end: bool) -> datetime | None:
    """The instant, in UTC, of Grafana's date maths (`now-1d/d`); None for another form.

    Rounding goes down for a start and up for an end (`is_end`), as in Grafana.

    Raises:
        ValueError: with a message for the user, if a term is invalid.
        OverflowError: far outside the supported years.
    """
    match = re.fullmatch(_FORM, text.replace(" ", ""))
    if match is None:
        return None
    instant, is_bound = clock.now, False
    for sign, digits, fiscal, letter in re.findall(_TERM, match[1]):
        unit = _spell(text, fiscal, letter)
        count = int(digits or 1)
        if sign == "/":
            if count != 1:
                raise ValueError(f'{quote(text)}: rounding takes one unit, such as "/{unit}"')
            # A rounded end is exclusive: rounding it again has to stay within the unit it closes.
            inside = instant - _INSTANT if is_bound else instant
            instant = _round(inside, unit, clock, goes_up=is_end)
            is_bound = is_end
        else:
            instant = _move(instant, unit, -count if sign == "-" else count, clock)
    return instant


def _spell(text: str, fiscal: str, letter: str) -> str:
    """The unit letter in Grafana's case: only `m` and `M` are two units, `d` and `D` are one."""
    if fiscal:
        raise ValueError(
            f"{quote(text)}: fiscal units are not supported. Give dates, "
            'such as "2026-04-01..2026-06-30"'
        )
    spelt = letter if letter in UNIT_LETTERS else letter.swapcase()
    if spelt not in UNIT_LETTERS:
        allowed = ", ".join(f"{key} ({unit})" for key, unit in UNIT_LETTERS.items())
        raise ValueError(f"{quote(text)}: unknown unit {quote(letter)}. Allowed: {allowed}")
    return spelt


def _move(instant: datetime, letter: str, count: int, clock: Clock) -> datetime:
    if letter in _CLOCK_LETTERS:
        return instant + CLOCK_LENGTHS[_CLOCK_LETTERS[letter]] * count
    return shift_instant(instant, _CALENDAR_LETTERS[letter], count, clock.zone)


def _round(instant: datetime, letter: str, clock: Clock, *, goes_up: bool) -> datetime:
    wall = instant.astimezone(clock.zone)
    if letter in _CLOCK_LETTERS:
        length = CLOCK_LENGTHS[_CLOCK_LETTERS[letter]]
        midnight = wall.replace(hour=0, minute=0, second=0, microsecond=0)
        start = instant - (wall - midnight) % length
        return start + length if goes_up else start
    unit = _CALENDAR_LETTERS[letter]
    first = floor_local(wall, unit)
    return resolve_local(shift_local(first, unit, 1) if goes_up else first)


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


def read_count(text: str) -> int:
    """The number that digits or one of NUMBER_WORDS name."""
    return int(text) if text.isdigit() else NUMBER_WORDS.index(text) + 1


_UNITS: Final = "|".join((*CLOCK_UNITS, *CALENDAR_UNITS))
_LAST: Final = (
    rf"(?:the )?(?:last|past|previous) (?:([0-9]+|{'|'.join(NUMBER_WORDS)}) )?({_UNITS})(s?)"
)
_RUNNING: Final[dict[str, CalendarUnit]] = {
    **{name: unit for unit in CALENDAR_UNITS for name in (f"this {unit}", PRESENT[unit])},
    **{f"now/{n}{letter}": unit for letter, unit in _CALENDAR_LETTERS.items() for n in ("", "1")},
}
"""The names of the periods that are in progress."""
_NAMED: Final = r"([0-9]{4})(?:-(?:([0-9]{2})|w([0-9]{2})|q([0-9])))?"


@dataclass(frozen=True, slots=True)
class Period:
    """The calendar period that a window is: `count` whole units, or a running one so far.

    The preceding period starts `count` units earlier; for a running one it is cut to the same
    elapsed part.
    """

    unit: CalendarUnit
    count: int
    is_running: bool


@dataclass(frozen=True, slots=True)
class Span:
    """A period as requested, before it is cut to now."""

    start: datetime
    end: datetime
    unit: CalendarUnit | None = None  # None for a rolling window
    count: int = 1
    note: str = ""
    running_note: str = ""
    is_point: bool = False  # its name also means its start, so it may be an endTs


def read_period(text: str, clock: Clock) -> Span | None:
    """The period that a text of single spaces names; None if it has another form.

    Raises:
        ValueError: with a message for the user, if the calendar has no such period.
        OverflowError: outside the supported years.
    """
    words = text.lower()
    # Date maths tells `m` from `M`.
    running = _RUNNING.get(text if "/" in text else words)
    if running is not None:
        return _whole_unit(clock, running, 0, is_point=words == "today")
    if words == "yesterday":
        return _whole_unit(clock, "day", -1, is_point=True)
    return _read_last(words, clock) or _read_named(words, clock) or _read_range(text, clock)


def _whole_unit(clock: Clock, unit: CalendarUnit, first: int, *, is_point: bool = False) -> Span:
    """One whole unit; `first` counts from the current one."""
    start, end = clock.start_of(unit, first), clock.start_of(unit, first + 1)
    return Span(start, end, unit, is_point=is_point)


def _read_last(words: str, clock: Clock) -> Span | None:
    match = re.fullmatch(_LAST, words)
    if match is None or (match[1] is None and match[3]):
        return None
    number, unit = match[1], match[2]
    # People use `past week` for both the last whole week and the last seven days.
    if number is None and "past " in words and unit in CALENDAR_UNITS:
        rolling = {"month": "M", "quarter": "Q"}.get(unit, unit[0])
        raise ValueError(
            f'{quote(words)} can mean two things: "last {unit}" is the whole {unit} before this'
            f' one, "now-1{rolling}" the time up to now'
        )
    count = 1 if number is None else read_count(number)
    if count == 0:
        raise ValueError(f'{quote(words)} is empty: the minimum is 1, such as "last 1 {unit}"')
    # Hours and minutes roll up to now; calendar units are whole ones before the current one.
    if unit in CLOCK_UNITS:
        return Span(clock.now - CLOCK_LENGTHS[cast("ClockUnit", unit)] * count, clock.now)
    whole = cast("CalendarUnit", unit)
    note = "" if number is None else f"{PRESENT[whole]} excluded (still in progress)"
    return Span(clock.start_of(whole, -count), clock.start_of(whole), whole, count, note)


def _read_named(words: str, clock: Clock) -> Span | None:
    name, named = words.upper(), _name_day(words)
    if named is None:
        return None
    first, unit = named
    start = datetime.combine(first, time(), clock.zone)
    end = resolve_local(shift_local(start, unit, 1))
    running = f"{name} is in progress: {PRESENT[unit]} so far, up to now"
    return Span(resolve_local(start), end, unit, running_note=running, is_point=True)


def _name_day(words: str) -> tuple[date, CalendarUnit] | None:
    """The first day and the unit of `2026-07-14`, `2026-07`, `2026-w30`, `2026-q3` or `2026`."""
    day = read_date(words)
    if day is not None:
        _check_year(day.year)
        return day, "day"
    match = re.fullmatch(_NAMED, words)
    return None if match is None else _first_day(words.upper(), match)


def _check_year(year: int) -> None:
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise OverflowError


def _first_day(name: str, match: re.Match[str]) -> tuple[date, CalendarUnit]:
    year = int(match[1])
    month, week, quarter = (int(part) if part else None for part in match.groups()[1:])
    _check_year(year)
    if month is not None:
        if not 1 <= month <= 12:
            raise ValueError(f"{quote(name)} is not a month: months are 01 to 12")
        return date(year, month, 1), "month"
    if week is not None:
        weeks = date(year, 12, 28).isocalendar().week  # 28 December is in the last ISO week
        if not 1 <= week <= weeks:
            raise ValueError(f"{quote(name)} is not a week: {year} has W01 to W{weeks}")
        return date.fromisocalendar(year, week, 1), "week"
    if quarter is not None:
        if not 1 <= quarter <= 4:
            raise ValueError(f"{quote(name)} is not a quarter: quarters are Q1 to Q4")
        return date(year, quarter * 3 - 2, 1), "quarter"
    return date(year, 1, 1), "year"


def _read_range(text: str, clock: Clock) -> Span | None:
    """`2026-07-01..2026-07-15`, both days included, and `2026-07-01..`, up to now.

    Any period or instant may stand on either side; the instant at the end is excluded.
    """
    start_text, dots, end_text = (part.strip() for part in text.partition(".."))
    if not dots or ".." in end_text:
        return None
    first, last = _read_bound(start_text, clock), _read_bound(end_text, clock, is_end=True)
    if not start_text and last is not None:
        raise ValueError(
            f"{quote(text)} has no start. For all data up to then give"
            f' "{FIRST_YEAR}-01-01..{end_text}"'
        )
    if first is None or (last is None and end_text):
        return None
    if last is None:
        return Span(first.start, clock.now)
    # A day that the clocks skipped ends where it starts, and is refused as such later.
    if last.end <= first.start and (last.unit is None or last.start != first.start):
        if last.start == first.start:
            raise ValueError(f"{quote(text)} is empty: it ends where it starts")
        raise ValueError(f'{quote(text)} runs backwards. Did you mean "{end_text}..{start_text}"?')
    running = f"{text} is in progress: up to now"
    if first.unit is None or last.unit is None:
        return Span(first.start, last.end, running_note=running)
    unit = first.unit if first.unit == last.unit else "day"
    count = count_units(first.start, last.end, unit, clock.zone)
    return Span(first.start, last.end, unit, count, running_note=running)


def _read_bound(text: str, clock: Clock, *, is_end: bool = False) -> Span | None:
    """What stands on one side of a range; an instant has no length."""
    span = None if ".." in text else read_period(text, clock)
    if span is None:
        instant = read_date_maths(text, clock, is_end=is_end) or read_instant(text, clock.zone)
        span = None if instant is None else Span(instant, instant)
    return span
