"""Intervals and the arithmetic of their buckets: in UTC (R4), or by a zone's calendar."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from gateway_metrics_mcp.query.suggestions import did_you_mean, quote
from gateway_metrics_mcp.query.time.zone import FIRST_YEAR, resolve_local
from gateway_metrics_mcp.query.time.zone_rules import load_zone
from gateway_metrics_mcp.query.vocabulary import INTERVAL_UNITS, IntervalUnit

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_MONDAY: Final = datetime(1970, 1, 5, tzinfo=UTC)
UNIT_SECONDS: Final[dict[IntervalUnit, int]] = {
    "second": 1,
    "minute": 60,
    "hour": 3600,
    "day": 86_400,
    "week": 604_800,
}
UNIT_MONTHS: Final[dict[IntervalUnit, int]] = {"month": 1, "year": 12}
LONGEST_YEARS: Final = 100
_YEAR_SECONDS: Final = 31_536_000
_INSTANT: Final = timedelta(microseconds=1)

_FORM: Final = r"(\d{1,12})\s+([A-Za-z]+)"
_SHORT_FORM: Final = r"(\d{0,6})\s*([A-Za-z]+)"
_EXAMPLE: Final = 'a positive whole number and one unit, such as "1 hour" or "15 minutes"'


@dataclass(frozen=True, slots=True)
class Interval:
    """`count` units of time: the width of a bucket.

    Buckets are numbered (R4): second to day from 1970-01-01, weeks from Monday 1970-01-05, months
    and years by the calendar from 1970-01.
    """

    count: int
    unit: IntervalUnit

    @classmethod
    def parse(cls, text: object) -> Interval:
        """Read `<positive integer> <unit>`, the unit with or without `s`.

        Raises:
            ValueError: with a message for the user, if it is not text, compound, zero, longer
                than 100 years or of an unknown unit.
        """
        if not isinstance(text, str):
            raise ValueError(  # noqa: TRY004 - wrong input, reported like the others
                f'{quote(text)} is not text such as "1 hour"'
            )
        match = re.fullmatch(_FORM, text.strip())
        if match is None:
            raise ValueError(f"{quote(text)} is not an interval. {_respell(text)}Give {_EXAMPLE}")
        count, word = int(match[1]), match[2].lower()
        unit = next((unit for unit in INTERVAL_UNITS if word in (unit, unit + "s")), None)
        if unit is None:
            raise ValueError(
                f"unknown unit {quote(match[2])}. {did_you_mean(word, INTERVAL_UNITS)}"
            )
        if count == 0:
            raise ValueError(f"{quote(text)} is zero. Give {_EXAMPLE}")
        if count * _years(unit) > LONGEST_YEARS:
            raise ValueError(f"{quote(text)} is longer than {LONGEST_YEARS} years")
        return Interval(count, unit)

    @classmethod
    def from_seconds(cls, seconds: object) -> Interval:
        """The interval of the deprecated `intervalInSeconds`, in the largest unit that divides it.

        Never weeks: 604,800 seconds are counted from 1970-01-01, a Thursday (R4).

        Raises:
            ValueError: if it is zero, negative or longer than 100 years.
        """
        if isinstance(seconds, bool) or not isinstance(seconds, int) or seconds <= 0:
            raise ValueError(f"{quote(seconds)} is not a positive whole number of seconds")
        if seconds > LONGEST_YEARS * _YEAR_SECONDS:
            raise ValueError(f"the seconds are longer than {LONGEST_YEARS} years")
        units: tuple[IntervalUnit, ...] = ("day", "hour", "minute")
        unit: IntervalUnit = next((u for u in units if seconds % UNIT_SECONDS[u] == 0), "second")
        return Interval(seconds // UNIT_SECONDS[unit], unit)

    def __str__(self) -> str:
        return f"{self.count} {self.unit}{'s' if self.count > 1 else ''}"

    @property
    def wire(self) -> str:
        """The form the API documents, with the unit in the singular: `1 hour`, `2 day`."""
        return f"{self.count} {self.unit}"

    @property
    def fixed_seconds(self) -> int | None:
        """The width in seconds; None for months and years, whose length varies."""
        unit_seconds = UNIT_SECONDS.get(self.unit)
        return None if unit_seconds is None else self.count * unit_seconds

    @property
    def origin(self) -> datetime:
        """The start of bucket 0."""
        return FIRST_MONDAY if self.unit == "week" else EPOCH

    @property
    def months(self) -> int:
        """The width in months, for the units month and year."""
        return self.count * UNIT_MONTHS[self.unit]

    def number_of(self, instant: datetime) -> int:
        """The number of the bucket that contains the instant; negative before its origin."""
        seconds = self.fixed_seconds
        if seconds is not None:
            return (instant - self.origin) // timedelta(seconds=seconds)
        utc = instant.astimezone(UTC)
        return ((utc.year - 1970) * 12 + utc.month - 1) // self.months

    def start_of(self, number: int) -> datetime:
        """The first instant of a bucket."""
        seconds = self.fixed_seconds
        if seconds is not None:
            return self.origin + timedelta(seconds=number * seconds)
        years, month = divmod(number * self.months, 12)
        return datetime(1970 + years, month + 1, 1, tzinfo=UTC)

    def floor(self, instant: datetime) -> datetime:
        """The start of the bucket that contains the instant."""
        return self.start_of(self.number_of(instant))

    def after(self, start: datetime) -> datetime:
        """The start of the next bucket, which is this bucket's end."""
        return self.start_of(self.number_of(start) + 1)

    def seconds_from(self, start: datetime) -> float:
        """The full length of the bucket that starts there, in seconds (R14)."""
        return (self.after(start) - start).total_seconds()

    def count_buckets(self, start: datetime, end: datetime) -> int:
        """How many buckets the window [start, end) touches."""
        return self.number_of(end - _INSTANT) - self.number_of(start) + 1

    def buckets(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """The starts of all buckets that the window [start, end) touches, in order."""
        first = self.number_of(start)
        for number in range(first, first + self.count_buckets(start, end)):
            yield self.start_of(number)


def _respell(text: str) -> str:
    """`Did you mean "1 day"?` for `1d`, `day` and `daily`."""
    match = re.fullmatch(_SHORT_FORM, text.strip())
    if match is None:
        return ""
    word = {"min": "minute", "dai": "day"}.get(match[2][:3].lower(), match[2].lower())
    start = "month" if match[2] == "M" else word.removesuffix("ly").removesuffix("s")
    unit = next((unit for unit in INTERVAL_UNITS if unit.startswith(start) and start), None)
    return "" if unit is None else f'Did you mean "{int(match[1] or 1)} {unit}"? '


def _years(unit: IntervalUnit) -> float:
    return UNIT_MONTHS[unit] / 12 if unit in UNIT_MONTHS else UNIT_SECONDS[unit] / _YEAR_SECONDS


STEPS: Final = (Interval(1, "hour"), Interval(30, "minute"), Interval(15, "minute"))
"""UTC buckets that local days are added up from, the widest first: zones' offsets are multiples of
a quarter of an hour today."""

LOCAL_UNITS: Final[frozenset[IntervalUnit]] = frozenset(("day", "week", "month", "year"))
"""Units that start at a zone's midnight."""


@dataclass(frozen=True, slots=True)
class LocalDays(Interval):
    """Buckets of local days or longer in a zone; their starts are instants in UTC.

    They are numbered by the local calendar, days from the local 1970-01-01. A day that the clocks
    skipped completely is an empty bucket. The API has no local buckets, so reports add them up
    from UTC buckets or query each one (reports/time_buckets.py).
    """

    zone: ZoneInfo

    def __post_init__(self) -> None:
        if self.unit not in LOCAL_UNITS:
            raise TypeError(f"{self} is the same in every zone")

    @property
    def in_utc(self) -> Interval:
        """The same width in UTC buckets."""
        return Interval(self.count, self.unit)

    @property
    def fixed_seconds(self) -> None:
        """None: a day lasts 23 to 25 hours."""
        return

    def number_of(self, instant: datetime) -> int:
        """The number of the bucket that holds the instant."""
        # A local time taken for UTC has the number of its local day.
        number = self.in_utc.number_of(instant.astimezone(self.zone).replace(tzinfo=UTC))
        # Clocks set back over midnight repeat the previous day; a skipped day never shows.
        while self.start_of(number + 1) <= instant:
            number += 1
        return number

    def start_of(self, number: int) -> datetime:
        """The first instant of a bucket; for an empty bucket, the start of the next."""
        midnight = self.in_utc.start_of(number).replace(tzinfo=self.zone)
        # resolve_local refuses such years; only the bucket that contains 1970 can start so early.
        is_early = midnight.year < FIRST_YEAR - 1
        return midnight.astimezone(UTC) if is_early else resolve_local(midnight)

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
        """The widest of STEPS whose UTC buckets align with every local start in [start, end).

        None if not even quarters of an hour do.
        """
        inside = [bucket for bucket in self.buckets(start, end) if bucket >= start]
        aligned = (one for one in STEPS if all(one.floor(bucket) == bucket for bucket in inside))
        return next(aligned, None)


def localise(interval: Interval | None, zone: ZoneInfo) -> LocalDays | None:
    """Local buckets, if the interval is a day or longer in a zone other than UTC; else None."""
    # Shorter buckets are UTC buckets in every zone (R4).
    if interval is None or zone.key == "UTC" or interval.unit not in LOCAL_UNITS:
        return None
    return LocalDays(interval.count, interval.unit, zone)


def zone_of(buckets: Interval) -> ZoneInfo:
    """The zone at whose midnights the buckets start; UTC for plain intervals."""
    return buckets.zone if isinstance(buckets, LocalDays) else load_zone("UTC")


def end_of(start: datetime, buckets: Interval) -> datetime:
    """The end of the bucket that starts here, even if a gateway aligns its buckets differently."""
    seconds = buckets.fixed_seconds
    return buckets.after(start) if seconds is None else start + timedelta(seconds=seconds)


BUCKETS_BY_DEFAULT: Final = 62
"""About 60, so that two months of days (62) still fit."""

INTERVALS: Final = tuple(
    Interval.parse(text)
    for text in (
        "1 second",
        "10 second",
        "1 minute",
        "5 minute",
        "15 minute",
        "1 hour",
        "6 hour",
        "1 day",
        "1 week",
        "1 month",
        "1 year",
    )
)
"""The intervals that a default is chosen from."""


def choose_interval(start: datetime, end: datetime, most: int = BUCKETS_BY_DEFAULT) -> Interval:
    """The narrowest default interval with at most `most` buckets in the window."""
    fits = (interval for interval in INTERVALS if interval.count_buckets(start, end) <= most)
    return next(fits, Interval(10, "year"))
