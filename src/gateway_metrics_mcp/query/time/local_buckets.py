"""Buckets of local days, weeks, months and years, cut where the zone's calendar cuts them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from gateway_metrics_mcp.query.time.interval import (
    EPOCH,
    FIRST_MONDAY,
    UNIT_MONTHS,
    UNIT_SECONDS,
    Interval,
)
from gateway_metrics_mcp.query.time.zone import FIRST_YEAR, resolve_local
from gateway_metrics_mcp.query.vocabulary import IntervalUnit

LOCAL_UNITS: Final[frozenset[IntervalUnit]] = frozenset(("day", "week", "month", "year"))
"""Units whose start the zone decides."""

STEPS: Final = (Interval(1, "hour"), Interval(30, "minute"), Interval(15, "minute"))
"""Buckets in UTC of which local ones are put together, the widest first."""

_INSTANT: Final = timedelta(microseconds=1)


class Buckets(Protocol):
    """What answers need to know of buckets, whoever's clock cuts them."""

    @property
    def count(self) -> int:
        """How many units wide a bucket is."""
        ...

    @property
    def unit(self) -> IntervalUnit:
        """The unit of the width."""
        ...

    @property
    def wire(self) -> str:
        """The width as the argument `interval` takes it."""
        ...

    @property
    def fixed_seconds(self) -> int | None:
        """The width in seconds; None where it varies."""
        ...

    def after(self, start: datetime) -> datetime:
        """The start of the next bucket, which is the end of this one."""
        ...

    def seconds_from(self, start: datetime) -> float:
        """The full length of the bucket that starts there, in seconds."""
        ...

    def count_buckets(self, start: datetime, end: datetime) -> int:
        """How many buckets the window [start, end) touches."""
        ...

    def buckets(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """The starts of all buckets that the window [start, end) touches, in order."""
        ...


@dataclass(frozen=True, slots=True)
class LocalDays:
    """The buckets of an interval of days or more in a zone; their starts are instants in UTC.

    They are numbered like those of `Interval`, by the local calendar: days from the local
    1970-01-01. One that the clocks skipped whole is empty, and no instant lies in it.
    """

    interval: Interval
    zone: ZoneInfo

    def __post_init__(self) -> None:
        if self.interval.unit not in LOCAL_UNITS:
            raise TypeError(f"{self.interval} is the same in every zone")

    def __str__(self) -> str:
        return str(self.interval)

    @property
    def count(self) -> int:
        """How many units wide a bucket is."""
        return self.interval.count

    @property
    def unit(self) -> IntervalUnit:
        """The unit of the width."""
        return self.interval.unit

    @property
    def wire(self) -> str:
        """The width as the argument `interval` takes it."""
        return self.interval.wire

    @property
    def fixed_seconds(self) -> None:
        """None: a day lasts 23 to 25 hours."""
        return

    def number_of(self, instant: datetime) -> int:
        """The number of the bucket that holds the instant."""
        day = instant.astimezone(self.zone).date()
        if self.unit in UNIT_MONTHS:
            number = ((day.year - FIRST_YEAR) * 12 + day.month - 1) // self.interval.months
        else:
            number = (day - self._origin).days // self._days
        # Clocks set back over midnight show the day before once more, a skipped day never.
        while self.start_of(number + 1) <= instant:
            number += 1
        return number

    def start_of(self, number: int) -> datetime:
        """The first instant of a bucket; of an empty one, that of the next."""
        if self.unit in UNIT_MONTHS:
            years, month = divmod(number * self.interval.months, 12)
            day = date(FIRST_YEAR + years, month + 1, 1)
        else:
            day = self._origin + timedelta(days=number * self._days)
        midnight = datetime.combine(day, time(), self.zone)
        # Only the bucket before the first of all data starts so long ago.
        return midnight.astimezone(UTC) if day.year < FIRST_YEAR - 1 else resolve_local(midnight)

    def floor(self, instant: datetime) -> datetime:
        """The start of the bucket that holds the instant."""
        return self.start_of(self.number_of(instant))

    def after(self, start: datetime) -> datetime:
        """The start of the next bucket, which is the end of this one."""
        return self.start_of(self.number_of(start) + 1)

    def seconds_from(self, start: datetime) -> float:
        """The full length of the bucket that starts there, in seconds."""
        return (self.after(start) - start).total_seconds()

    def count_buckets(self, start: datetime, end: datetime) -> int:
        """How many buckets the window [start, end) touches."""
        return sum(1 for _ in self.buckets(start, end))

    def buckets(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """The starts of all buckets that the window [start, end) touches, in order."""
        first, last = self.number_of(start), self.number_of(end - _INSTANT)
        bucket = self.start_of(first)
        for number in range(first, last + 1):
            following = self.start_of(number + 1)
            if following > bucket:
                yield bucket
            bucket = following

    def step(self, start: datetime, end: datetime) -> Interval | None:
        """The widest buckets in UTC that no start of ours within [start, end) cuts.

        None if even those of a quarter of an hour are cut.
        """
        inside = [bucket for bucket in self.buckets(start, end) if bucket >= start]
        for step in STEPS:
            if all(step.floor(bucket) == bucket for bucket in inside):
                return step
        return None

    @property
    def _origin(self) -> date:
        return (FIRST_MONDAY if self.unit == "week" else EPOCH).date()

    @property
    def _days(self) -> int:
        return self.count * UNIT_SECONDS[self.unit] // UNIT_SECONDS["day"]


def zone_of(buckets: Buckets) -> ZoneInfo:
    """Whose clocks cut the buckets."""
    return buckets.zone if isinstance(buckets, LocalDays) else ZoneInfo("UTC")


def end_of(start: datetime, buckets: Buckets) -> datetime:
    """The end of the bucket that starts there, also where a gateway counts them from elsewhere."""
    seconds = buckets.fixed_seconds
    return buckets.after(start) if seconds is None else start + timedelta(seconds=seconds)
