"""Clocks on walls: local times of a zone, and the instants they stand for.

A wall time is an aware datetime whose `tzinfo` is the zone; Python adds to it as the hands of a
clock move, so only `settle` may turn it into an instant.
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta
from typing import Final, Literal, get_args
from zoneinfo import ZoneInfo

CalendarUnit = Literal["day", "week", "month", "quarter", "year"]
"""Units whose length in seconds the zone decides."""

ClockUnit = Literal["second", "minute", "hour"]
"""Units of a fixed length."""

CALENDAR_UNITS: Final[tuple[CalendarUnit, ...]] = get_args(CalendarUnit)
CLOCK_UNITS: Final[tuple[ClockUnit, ...]] = get_args(ClockUnit)
CLOCK_LENGTHS: Final[dict[ClockUnit, timedelta]] = {
    "second": timedelta(seconds=1),
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
}
FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 2999

_DAYS: Final[dict[CalendarUnit, int]] = {"day": 1, "week": 7}
_MONTHS: Final[dict[CalendarUnit, int]] = {"month": 1, "quarter": 3, "year": 12}
_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Clock:
    """The present of one call: the instant, in UTC, and the zone of dates and periods."""

    now: datetime
    zone: ZoneInfo

    @property
    def wall(self) -> datetime:
        """The present as the zone's clocks show it."""
        return self.now.astimezone(self.zone)

    def start_of(self, unit: CalendarUnit, count: int = 0) -> datetime:
        """The instant at which the present unit starts, or the one `count` units later."""
        return settle(shift_wall(floor_wall(self.wall, unit), unit, count))


def settle(wall: datetime) -> datetime:
    """The instant, in UTC, at which the zone's clocks first show this time.

    A time that the clocks leave out stands for the first instant after the gap.

    Raises:
        OverflowError: far outside the years that can be asked.
    """
    if not FIRST_YEAR - 1 <= wall.year <= LAST_YEAR + 1:
        raise OverflowError
    first = wall.replace(fold=0)
    instant = first.astimezone(UTC)
    # Two times of one zone are compared by their hands, as meant here.
    if instant.astimezone(wall.tzinfo).replace(fold=0) == first:
        return instant
    return _end_of_gap(first)


def _end_of_gap(wall: datetime) -> datetime:
    """Find the change of offset, which lies between the two readings of a skipped time."""
    before, after = wall.replace(fold=1).astimezone(UTC), wall.astimezone(UTC)
    offset = after.astimezone(wall.tzinfo).utcoffset()
    while after - before > _SECOND:
        middle = before + (after - before) / 2
        if middle.astimezone(wall.tzinfo).utcoffset() == offset:
            after = middle
        else:
            before = middle
    return after.replace(microsecond=0)


def floor_wall(wall: datetime, unit: CalendarUnit) -> datetime:
    """The midnight at which the unit that holds the time starts; weeks start on Monday."""
    midnight = wall.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if unit == "week":
        return shift_wall(midnight, "day", -midnight.weekday())
    if unit in _MONTHS:
        months = _MONTHS[unit]
        return midnight.replace(month=(midnight.month - 1) // months * months + 1, day=1)
    return midnight


def shift_wall(wall: datetime, unit: CalendarUnit, count: int) -> datetime:
    """The same time of day `count` units later; a day the month lacks becomes its last.

    Raises:
        OverflowError: outside the years that a datetime can hold.
    """
    if unit in _DAYS:
        return wall.replace(fold=0) + timedelta(days=count * _DAYS[unit])
    year, month = divmod(wall.year * 12 + wall.month - 1 + count * _MONTHS[unit], 12)
    if not MINYEAR <= year <= MAXYEAR:
        raise OverflowError
    day = min(wall.day, monthrange(year, month + 1)[1])
    return wall.replace(year=year, month=month + 1, day=day, fold=0)


def shift_instant(instant: datetime, unit: CalendarUnit, count: int, zone: ZoneInfo) -> datetime:
    """The instant `count` calendar units later in the zone.

    Raises:
        OverflowError: far outside the years that can be asked.
    """
    return settle(shift_wall(wall_of(instant, zone), unit, count)) if count else instant


def wall_of(instant: datetime, zone: ZoneInfo) -> datetime:
    """What the zone's clocks show; midnight for the first instant of a day that lacks it."""
    wall = instant.astimezone(zone)
    midnight = floor_wall(wall, "day")
    return midnight if settle(midnight) == instant else wall


def format_minute(instant: datetime) -> str:
    """`2026-11-13T00:00Z`; seconds and their fraction only when they are not zero."""
    utc = instant.astimezone(UTC).replace(tzinfo=None)
    text = utc.isoformat(timespec="auto" if utc.second or utc.microsecond else "minutes")
    return f"{text.rstrip('0') if utc.microsecond else text}Z"
