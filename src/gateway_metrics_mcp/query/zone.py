"""The zone of dates and periods: an IANA name, or why it is none."""

from __future__ import annotations

import re
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from gateway_metrics_mcp.query.near import MOST, find_near, quote

LONGEST: Final = 64
"""Letters in a name or a time; longer text is refused unread."""

# Every name of the tz database has this form; a path outside it, `posix/...` and `right/...`
# (which counts leap seconds) do not.
_NAME: Final = re.compile(r"[A-Z][A-Za-z0-9_+-]*(?:/[A-Z][A-Za-z0-9_+-]*){0,2}")
_OFFSET: Final = re.compile(r"(?:UTC|GMT)? ?([+-])([0-9]{1,2})(?::?([0-9]{2}))?", re.IGNORECASE)
_EXAMPLE: Final = 'an IANA name, such as "Europe/Berlin" or "UTC"'
_NO_ZONES: Final = frozenset(("Factory",))
_WESTERNMOST: Final = 12
_EASTERNMOST: Final = 14

# Abbreviations, also those the tz database keeps: its EST knows no summer time, the asker's does.
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


def read_zone(value: object) -> ZoneInfo:
    """The zone of an IANA name.

    Raises:
        ValueError: with a message for the asker, if it is none.
    """
    if not isinstance(value, str):
        raise ValueError(  # noqa: TRY004 - the asker's slip, told like the others
            f"expected text, got {quote(value)}. Give {_EXAMPLE}"
        )
    name = value.strip()
    if len(name) > LONGEST:
        raise ValueError(f"longer than {LONGEST} letters. Give {_EXAMPLE}")
    if name.upper() == "UTC":
        return ZoneInfo("UTC")
    _refuse_lookalikes(name)
    zone = _find(name)
    if zone is None:
        near = _near_names(name)
        meant = f"Did you mean {' or '.join(near)}? " if near else ""
        raise ValueError(f"{quote(name)} is not a known time zone. {meant}Give {_EXAMPLE}")
    return zone


def _find(name: str) -> ZoneInfo | None:
    if _NAME.fullmatch(name) is None or name in _NO_ZONES:
        return None
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        return None


def _refuse_lookalikes(name: str) -> None:
    """Refuse what people take for a zone: this computer's, an abbreviation, an offset."""
    if name.lower() in ("local", "localtime"):
        raise ValueError(
            f"{quote(name)} is not a time zone: no local one is known. Give {_EXAMPLE}"
        )
    place = _ABBREVIATIONS.get(name.upper())
    if place is not None:
        raise ValueError(
            f"{quote(name)} is an abbreviation, which may mean several zones. "
            f'Did you mean "{place}"? Give {_EXAMPLE}'
        )
    offset = _OFFSET.fullmatch(name)
    if offset is not None:
        raise ValueError(
            f"{quote(name)} is an offset, not a time zone. Give {_EXAMPLE}{_fixed(offset)}"
        )


def _fixed(offset: re.Match[str]) -> str:
    """The name of a whole offset: `Etc/GMT-2` is two hours ahead of UTC."""
    hours, is_east = int(offset[2]), offset[1] == "+"
    if int(offset[3] or 0) or not 0 < hours <= (_EASTERNMOST if is_east else _WESTERNMOST):
        return ""
    return f', or "Etc/GMT{"-" if is_east else "+"}{hours}" for UTC{offset[1]}{hours} all year'


@cache
def zone_names() -> tuple[str, ...]:
    """Every zone that can be asked, by name, but for abbreviations."""
    names = available_timezones() - _NO_ZONES - {"localtime"} - _ABBREVIATIONS.keys()
    return tuple(sorted(names))


def _near_names(name: str) -> tuple[str, ...]:
    """Up to three zones that resemble the name; a city alone finds its zone."""
    zones: dict[str, list[str]] = {}
    for zone in zone_names():
        if zone.lower() == name.lower():
            return (zone,)
        zones.setdefault(_city(zone), []).append(zone)
    cities = (_city(name),) if _city(name) in zones else find_near(_city(name), zones)
    return tuple(zone for city in cities for zone in zones[city])[:MOST]


def _city(name: str) -> str:
    return name.rpartition("/")[2].replace(" ", "_").lower()
