"""Grafana's date maths: `now-7d`, `now-1d/d+8h`, `now/M`.

Seconds, minutes and hours are absolute; days and longer follow the zone's calendar. As the end of
a window a rounding goes up, as in Grafana: `now/d` is then the end of the day. Grafana ends at its
last millisecond; an exclusive end is the start of the next unit.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

from gateway_metrics_mcp.query.near import quote
from gateway_metrics_mcp.query.walltime import (
    CLOCK_LENGTHS,
    CalendarUnit,
    Clock,
    ClockUnit,
    floor_wall,
    settle,
    shift_instant,
    shift_wall,
)

_CLOCK_LETTERS: Final[dict[str, ClockUnit]] = {"s": "second", "m": "minute", "h": "hour"}
_CALENDAR_LETTERS: Final[dict[str, CalendarUnit]] = {
    "d": "day",
    "w": "week",
    "M": "month",
    "Q": "quarter",
    "y": "year",
}
UNIT_LETTERS: Final[dict[str, str]] = {**_CLOCK_LETTERS, **_CALENDAR_LETTERS}
"""The units of date maths."""

_FORM: Final = re.compile(r"[nN][oO][wW]((?:[+/-][0-9]*f?[A-Za-z])*)")
_TERM: Final = re.compile(r"([+/-])([0-9]*)(f?)([A-Za-z])")
_INSTANT: Final = timedelta(microseconds=1)


def read_date_maths(text: str, clock: Clock, *, is_end: bool) -> datetime | None:
    """The instant, in UTC; None if the text has another form.

    Raises:
        ValueError: with a message for the asker, if a term cannot be taken.
        OverflowError: far outside the years that can be asked.
    """
    match = _FORM.fullmatch(text.replace(" ", ""))
    if match is None:
        return None
    instant, is_bound = clock.now, False
    for sign, digits, fiscal, letter in _TERM.findall(match[1]):
        unit = _spell(text, fiscal, letter)
        count = int(digits or 1)
        if sign == "/":
            if count != 1:
                raise ValueError(f'{quote(text)}: rounding takes one unit, such as "/{unit}"')
            # An exclusive end already stands one instant past the unit it closes.
            inside = instant - _INSTANT if is_bound else instant
            instant = _round(inside, unit, clock, goes_up=is_end)
            is_bound = is_end
        else:
            instant = _move(instant, unit, -count if sign == "-" else count, clock)
    return instant


def _spell(text: str, fiscal: str, letter: str) -> str:
    """The letter of a unit as Grafana spells it; only m and M differ, d and D do not."""
    if fiscal:
        raise ValueError(
            f"{quote(text)}: fiscal units are not known here. Give dates, "
            'such as "2026-04-01..2026-06-30"'
        )
    spelt = letter if letter in UNIT_LETTERS else letter.swapcase()
    if spelt not in UNIT_LETTERS:
        allowed = ", ".join(f"{key} ({unit})" for key, unit in UNIT_LETTERS.items())
        raise ValueError(f"{quote(text)}: {quote(letter)} is no unit. Allowed: {allowed}")
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
    first = floor_wall(wall, unit)
    return settle(shift_wall(first, unit, 1) if goes_up else first)
