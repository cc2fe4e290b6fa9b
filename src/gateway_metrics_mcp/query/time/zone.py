"""Time zones by IANA name, and calendar arithmetic on a zone's clocks."""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from calendar import monthrange
from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final, Literal, NamedTuple, get_args
from zoneinfo import ZoneInfo

from gateway_metrics_mcp.errors import Fix, MisspeltError, quote
from gateway_metrics_mcp.query.suggestions import MOST, find_misspelt
from gateway_metrics_mcp.query.time.zone_rules import list_zones, load_zone

LONGEST: Final = 64
"""The most letters of a zone or a time; longer text is refused without being parsed."""

# Every name of the tz database has this form. Paths out of it, `posix/...` and `right/...` (with
# leap seconds) do not.
_NAME: Final = r"[A-Z][A-Za-z0-9_+-]*(?:/[A-Z][A-Za-z0-9_+-]*){0,2}"
_OFFSET: Final = r"(?i)(?:UTC|GMT)? ?([+-])([0-9]{1,2})(?::?([0-9]{2}))?"
_EXAMPLE: Final = 'an IANA name, such as "Europe/Berlin" or "UTC"'
# The tz database's placeholder for a machine whose zone was never set.
_NO_ZONES: Final = frozenset(("Factory",))

# Abbreviations are refused even if the tz database has them: its EST has no daylight saving time,
# but the user's probably has.
_ABBREVIATIONS: Final = {
    "ACST": "Australia/Adelaide",
    "AEDT": "Australia/Sydney",
    "AEST": "Australia/Sydney",
    "AKST": "America/Anchorage",
    "AWST": "Australia/Perth",
    "BRT": "America/Sao_Paulo",
    "BST": "Europe/London",
    "CDT": "America/Chicago",
    "CEST": "Europe/Berlin",
    "CET": "Europe/Berlin",
    "CST": "America/Chicago",
    "EDT": "America/New_York",
    "EEST": "Europe/Helsinki",
    "EET": "Europe/Helsinki",
    "EST": "America/New_York",
    "ET": "America/New_York",
    "HKT": "Asia/Hong_Kong",
    "HST": "Pacific/Honolulu",
    "IST": "Asia/Kolkata",
    "JST": "Asia/Tokyo",
    "KST": "Asia/Seoul",
    "MDT": "America/Denver",
    "MET": "Europe/Berlin",
    "MSK": "Europe/Moscow",
    "MST": "America/Denver",
    "NZST": "Pacific/Auckland",
    "PDT": "America/Los_Angeles",
    "PST": "America/Los_Angeles",
    "PT": "America/Los_Angeles",
    "SGT": "Asia/Singapore",
    "WET": "Europe/Lisbon",
}


FIXED: Final = {
    "-9:30": "Pacific/Marquesas",
    "+3:30": "Asia/Tehran",
    "+4:30": "Asia/Kabul",
    "+5:30": "Asia/Kolkata",
    "+5:45": "Asia/Kathmandu",
    "+6:30": "Asia/Yangon",
    "+8:45": "Australia/Eucla",
    "+9:30": "Australia/Darwin",
}
"""Zones of one offset all year, for the offsets that are not whole hours."""

_UTC_NAMES: Final = frozenset(("utc", "z", "zulu"))
_LOCAL_NAMES: Final = frozenset(("local", "localtime", "system"))


def read_zone(value: object) -> ZoneInfo:
    """The zone of an IANA name, in any case, of a city alone, or of an offset in whole hours.

    Raises:
        ValueError: with a message for the user, if the name is unknown.
    """
    if not isinstance(value, str):
        raise ValueError(  # noqa: TRY004 - wrong input, reported like the others
            f"expected text, got {quote(value)}. Give {_EXAMPLE}"
        )
    name = value.strip()
    if len(name) > LONGEST:
        raise ValueError(f"longer than {LONGEST} characters. Give {_EXAMPLE}")
    if name.lower() in _UTC_NAMES:
        return load_zone("UTC")
    _refuse_lookalikes(name)
    offset = re.fullmatch(_OFFSET, name)
    zone = _find(name) if offset is None else _of_offset(name, offset)
    if zone is None:
        near = _near_names(name)
        if len(near) == 1 and name.replace(" ", "_").lower() in (_city(near[0]), near[0].lower()):
            return load_zone(near[0])
        meant = f"Did you mean {' or '.join(near)}? " if near else ""
        fix = Fix(near[:1]) if near else None
        raise MisspeltError(f"{quote(name)} is not a known time zone. {meant}Give {_EXAMPLE}", fix)
    return zone


def explain_zone(value: object, zone: ZoneInfo) -> str | None:
    """What the zone of an offset is, whose name has the opposite sign; None for a name."""
    if not isinstance(value, str) or not zone.key.startswith("Etc/GMT"):
        return None
    return f"{quote(value.strip())} is the zone {zone.key}: this offset all year"


def find_local_zone() -> ZoneInfo:
    """The zone of this machine, by `TZ` or as Unix systems name it.

    Raises:
        ValueError: if it has no name here.
    """
    named = os.environ.get("TZ", "").removeprefix(":")
    clock = Path("/etc/localtime")
    if not named and clock.exists():
        named = str(clock.resolve()).partition("zoneinfo/")[2]
    if not named and os.name == "posix" and not clock.exists():
        named = "UTC"
    zone = _find(named)
    if zone is None:
        raise ValueError(f"the zone of this machine has no name here. Give {_EXAMPLE}")
    return zone


def name_zone(name: str) -> str:
    """The name, or for `local` that of this machine's zone.

    Raises:
        ValueError: if it has no name here.
    """
    return find_local_zone().key if name.strip().lower() in _LOCAL_NAMES else name


def _find(name: str) -> ZoneInfo | None:
    if re.fullmatch(_NAME, name) is None or name in _NO_ZONES:
        return None
    try:
        return load_zone(name)
    except (LookupError, ValueError, OSError):
        return None


def _refuse_lookalikes(name: str) -> None:
    """Refuse `local` and abbreviations, which only look like a zone."""
    if name.lower() in _LOCAL_NAMES:
        raise ValueError(
            f"{quote(name)} is not a time zone: your local zone is unknown here. Give {_EXAMPLE}"
        )
    place = _ABBREVIATIONS.get(name.upper())
    if place is not None:
        raise MisspeltError(
            f"{quote(name)} is an abbreviation, which may mean several zones. "
            f'Did you mean "{place}"? Give {_EXAMPLE}',
            Fix((place,)),
        )


def _of_offset(name: str, offset: re.Match[str]) -> ZoneInfo:
    """The zone of a whole-hour offset; POSIX signs: `Etc/GMT-2` is two hours ahead of UTC.

    Raises:
        ValueError: for another offset, with a zone that has it.
    """
    hours, minutes, is_east = int(offset[2]), int(offset[3] or 0), offset[1] == "+"
    if not hours and not minutes:
        return load_zone("UTC")
    # The tz database has Etc/GMT+12 to Etc/GMT-14.
    if not minutes and hours <= (14 if is_east else 12):
        return load_zone(f"Etc/GMT{'-' if is_east else '+'}{hours}")
    place = FIXED.get(f"{offset[1]}{hours}:{minutes:02}")
    meant = f'Did you mean "{place}"? ' if place else ""
    raise ValueError(f"{quote(name)} is an offset, not a time zone. {meant}Give {_EXAMPLE}")


@cache
def zone_names() -> tuple[str, ...]:
    """Every accepted zone name, sorted."""
    names = list_zones() - _NO_ZONES - {"localtime"} - _ABBREVIATIONS.keys()
    return tuple(sorted(names))


def _near_names(name: str) -> tuple[str, ...]:
    """Up to three zones with a similar name; a city alone finds its zone."""
    zones: dict[str, list[str]] = {}
    for zone in zone_names():
        if zone.lower() == name.lower():
            return (zone,)
        zones.setdefault(_city(zone), []).append(zone)
    wanted = _city(name)
    cities = (wanted,) if wanted in zones else find_misspelt(wanted, zones)
    return tuple(zone for city in cities for zone in zones[city])[:MOST]


def _city(name: str) -> str:
    return name.rpartition("/")[2].replace(" ", "_").lower()


CalendarUnit = Literal["day", "week", "month", "quarter", "year"]
"""Units whose length depends on the zone's calendar."""

ClockUnit = Literal["second", "minute", "hour"]
"""Units of a fixed length."""

CALENDAR_UNITS: Final[tuple[CalendarUnit, ...]] = get_args(CalendarUnit)
CLOCK_UNITS: Final[tuple[ClockUnit, ...]] = get_args(ClockUnit)
CLOCK_LENGTHS: Final[dict[ClockUnit, timedelta]] = {
    "second": timedelta(seconds=1),
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
}
FIRST_YEAR: Final = 1970  # buckets are numbered from here (R4)
LAST_YEAR: Final = 2999

_DAYS: Final[dict[CalendarUnit, int]] = {"day": 1, "week": 7}
_MONTHS: Final[dict[CalendarUnit, int]] = {"month": 1, "quarter": 3, "year": 12}


class Clock(NamedTuple):
    """The current time of one call, in UTC, and the zone of its dates and periods.

    Read once per call, so that all its windows agree.
    """

    now: datetime
    zone: ZoneInfo

    @property
    def wall(self) -> datetime:
        """The current local time in the zone."""
        return self.now.astimezone(self.zone)

    def start_of(self, unit: CalendarUnit, count: int = 0) -> datetime:
        """The start, in UTC, of the current unit, or of the one `count` units later."""
        return resolve_local(shift_local(floor_local(self.wall, unit), unit, count))


def resolve_local(wall: datetime) -> datetime:
    """The instant, in UTC, at which the zone's clocks first show this local time.

    A local time that the clocks skip means the first instant after the gap.

    Raises:
        OverflowError: far outside the supported years.
    """
    if not FIRST_YEAR - 1 <= wall.year <= LAST_YEAR + 1:
        raise OverflowError
    first = wall.replace(fold=0)
    instant = first.astimezone(UTC)
    # Python compares two times of one zone by local time, which is what is needed here.
    if instant.astimezone(wall.tzinfo).replace(fold=0) == first:
        return instant
    return _end_of_gap(first)


def _end_of_gap(wall: datetime) -> datetime:
    """The change of offset, found by bisection between a skipped time's two readings."""
    # Offsets change at whole seconds.
    before = wall.replace(fold=1, microsecond=0).astimezone(UTC)
    after = wall.replace(microsecond=0).astimezone(UTC)
    offset = after.astimezone(wall.tzinfo).utcoffset()

    def is_after(second: int) -> bool:
        instant = before + timedelta(seconds=second)
        return instant.astimezone(wall.tzinfo).utcoffset() == offset

    seconds = range(int((after - before).total_seconds()))
    return before + timedelta(seconds=bisect_left(seconds, True, key=is_after))


def floor_local(wall: datetime, unit: CalendarUnit) -> datetime:
    """The midnight at which the unit containing the time starts; weeks start on Monday."""
    midnight = wall.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if unit == "week":
        return shift_local(midnight, "day", -midnight.weekday())
    if unit in _MONTHS:
        months = _MONTHS[unit]
        return midnight.replace(month=(midnight.month - 1) // months * months + 1, day=1)
    return midnight


def shift_local(wall: datetime, unit: CalendarUnit, count: int) -> datetime:
    """The same time of day `count` units later; a day the month lacks becomes its last day.

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


def count_units(start: datetime, end: datetime, unit: CalendarUnit, zone: ZoneInfo) -> int:
    """How many whole units lie between two midnights at which one starts."""
    first, last = to_local(start, zone), to_local(end, zone)
    if unit in _DAYS:
        return (last.date() - first.date()).days // _DAYS[unit]
    return ((last.year - first.year) * 12 + last.month - first.month) // _MONTHS[unit]


def shift_instant(instant: datetime, unit: CalendarUnit, count: int, zone: ZoneInfo) -> datetime:
    """The instant `count` calendar units later in the zone.

    Raises:
        OverflowError: far outside the supported years.
    """
    return resolve_local(shift_local(to_local(instant, zone), unit, count)) if count else instant


def to_local(instant: datetime, zone: ZoneInfo) -> datetime:
    """The local time; midnight for the first instant of a day whose midnight was skipped."""
    wall = instant.astimezone(zone)
    midnight = floor_local(wall, "day")
    return midnight if resolve_local(midnight) == instant else wall


def format_minute(instant: datetime) -> str:
    """`2026-11-13T00:00Z`; seconds and their fraction only if they are not 0."""
    utc = instant.astimezone(UTC).replace(tzinfo=None)
    text = utc.isoformat(timespec="auto" if utc.second or utc.microsecond else "minutes")
    return f"{text.rstrip('0') if utc.microsecond else text}Z"
