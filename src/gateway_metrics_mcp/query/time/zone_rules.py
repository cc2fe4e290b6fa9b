"""The one source of time zone rules, for questions and imports alike.

It is the package tzdata, whose version is known; without it, what `zoneinfo` finds in the system.
Never both: a day that two sources begin at different instants would lose rows. `ZoneInfo(name)`
would ask the system first, whose rules are often years old, so no other file calls it.
"""

from __future__ import annotations

import zoneinfo
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import import_module, resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

_PACKAGE: Final = "tzdata"
# Since 1970 no zone has changed its offset twice within 6 days. Past 2100 none lists its changes
# one by one: what is left are rules of at most two a year, through nine hundred years.
_STEP: Final = timedelta(days=3)
_LONG_STEP: Final = timedelta(days=28)
_ONLY_RULES: Final = datetime(2100, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)


@cache
def load_zone(name: str) -> ZoneInfo:
    """The zone of a name that is in the form of IANA's; the same object each time.

    Raises:
        LookupError: if the source has no such zone.
        ValueError: if its file is damaged.
        OSError: if the file cannot be read.
    """
    package = _find_package()
    if package is None:
        return ZoneInfo(name)
    # By the list, because some file systems would find EUROPE/BERLIN too.
    if name not in list_zones():
        raise zoneinfo.ZoneInfoNotFoundError(name)
    with package.joinpath("zoneinfo", *name.split("/")).open("rb") as stream:
        return ZoneInfo.from_file(stream, key=name)


@cache
def list_zones() -> frozenset[str]:
    """Every name that the source has."""
    package = _find_package()
    if package is None:
        return frozenset(zoneinfo.available_timezones())
    return frozenset((package / "zones").read_text("utf-8").split())


def describe_rules() -> str | None:
    """The rules' version and source, such as `rules 2026f of the package tzdata`; None if none."""
    if _find_package() is not None:
        return f"rules {import_module(_PACKAGE).IANA_VERSION} of the package {_PACKAGE}"
    for folder in map(Path, zoneinfo.TZPATH):
        if folder.is_dir():
            version = _read_version(folder)
            return f"rules {version} of the system, as there is no package {_PACKAGE}"
    return None


@cache
def _find_package() -> Traversable | None:
    try:
        package = resources.files(_PACKAGE)
    except ModuleNotFoundError:
        return None
    # Some distributions keep the module and leave out its files.
    return package if (package / "zones").is_file() else None


def _read_version(folder: Path) -> str:
    """The version of a system's zones, which Linux has in one file and the BSDs in another."""
    for name in ("tzdata.zi", "+VERSION"):
        try:
            with (folder / name).open(encoding="utf-8") as stream:
                return stream.readline().removeprefix("# version").strip()
        except (OSError, ValueError):
            continue
    return "of an unknown version"


@dataclass(frozen=True, slots=True)
class OffsetPeriod:
    """The instants [start, end), in UTC, through which a zone's clocks have one offset."""

    start: datetime
    end: datetime
    offset: timedelta


def offset_periods(zone: ZoneInfo, start: datetime, end: datetime) -> list[OffsetPeriod]:
    """The periods of equal offset that make up [start, end), in order."""
    changes = [start]
    instant, offset = start, _offset_at(zone, start)
    while instant < end:
        following = min(instant + (_STEP if instant < _ONLY_RULES else _LONG_STEP), end)
        if (new := _offset_at(zone, following)) != offset:
            changes.append(_find_change(zone, instant, following))
            offset = new
        instant = following
    return [
        OffsetPeriod(first, last, _offset_at(zone, first))
        for first, last in zip(changes, [*changes[1:], end], strict=True)
        if first < last
    ]


def _find_change(zone: ZoneInfo, start: datetime, end: datetime) -> datetime:
    """The first second in (start, end] of another offset than at the start."""
    offset = _offset_at(zone, start)
    low, high = 0, int((end - start) / _SECOND)
    while high - low > 1:
        middle = (low + high) // 2
        if _offset_at(zone, start + middle * _SECOND) == offset:
            low = middle
        else:
            high = middle
    return start + high * _SECOND


def _offset_at(zone: ZoneInfo, instant: datetime) -> timedelta:
    offset = instant.astimezone(zone).utcoffset()
    assert offset is not None  # noqa: S101 - a ZoneInfo always has one
    return offset
