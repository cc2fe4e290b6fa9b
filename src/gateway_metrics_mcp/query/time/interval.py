"""Bucket widths and the arithmetic of buckets, all in UTC (ruling R4)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from gateway_metrics_mcp.query.suggestions import did_you_mean, quote
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

_FORM: Final = re.compile(r"(\d{1,12})\s+([A-Za-z]+)")
_SHORT_FORM: Final = re.compile(r"(\d{0,6})\s*([A-Za-z]+)")
_EXAMPLE: Final = 'a positive whole number and one unit, such as "1 hour" or "15 minutes"'


@dataclass(frozen=True, slots=True)
class Interval:
    """`count` units of time, the width of a bucket.

    Buckets are numbered: second to day from 1970-01-01, weeks from Monday 1970-01-05, months
    and years by the calendar from 1970-01.
    """

    count: int
    unit: IntervalUnit

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `<positive integer> <unit>`, the unit with or without `s`.

        Raises:
            ValueError: with a message for the asker, if it is compound, zero, longer than
                100 years or of an unknown unit.
        """
        match = _FORM.fullmatch(text.strip())
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
        return cls(count, unit)

    @classmethod
    def from_seconds(cls, seconds: int) -> Self:
        """The interval of the deprecated `intervalInSeconds`, in its largest plain unit.

        Never weeks: 604,800 seconds are counted from 1970-01-01, a Thursday.

        Raises:
            ValueError: if it is zero, negative or longer than 100 years.
        """
        if seconds <= 0:
            raise ValueError(f"{seconds} is not a positive whole number of seconds")
        if seconds > LONGEST_YEARS * _YEAR_SECONDS:
            raise ValueError(f"the seconds are longer than {LONGEST_YEARS} years")
        units: tuple[IntervalUnit, ...] = ("day", "hour", "minute")
        unit: IntervalUnit = next((u for u in units if seconds % UNIT_SECONDS[u] == 0), "second")
        return cls(seconds // UNIT_SECONDS[unit], unit)

    def __str__(self) -> str:
        return f"{self.count} {self.unit}{'s' if self.count > 1 else ''}"

    @property
    def wire(self) -> str:
        """The form the API documents: `1 hour`, `2 day`."""
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
        """The number of the bucket that holds the instant."""
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
        """The start of the bucket that holds the instant."""
        return self.start_of(self.number_of(instant))

    def after(self, start: datetime) -> datetime:
        """The start of the next bucket, which is the end of this one."""
        return self.start_of(self.number_of(start) + 1)

    def seconds_from(self, start: datetime) -> float:
        """The full length of the bucket that starts there, in seconds (R14)."""
        return (self.after(start) - start).total_seconds()

    def count_buckets(self, start: datetime, end: datetime) -> int:
        """How many buckets the window [start, end) touches."""
        return self.number_of(end - timedelta(microseconds=1)) - self.number_of(start) + 1

    def buckets(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """The starts of all buckets that the window [start, end) touches, in order."""
        first = self.number_of(start)
        for number in range(first, first + self.count_buckets(start, end)):
            yield self.start_of(number)


def _respell(text: str) -> str:
    """`Did you mean "1 day"?` for `1d`, `day` and `daily`."""
    match = _SHORT_FORM.fullmatch(text.strip())
    if match is None:
        return ""
    word = {"min": "minute", "dai": "day"}.get(match[2][:3].lower(), match[2].lower())
    start = "month" if match[2] == "M" else word.removesuffix("ly").removesuffix("s")
    unit = next((unit for unit in INTERVAL_UNITS if unit.startswith(start) and start), None)
    return "" if unit is None else f'Did you mean "{int(match[1] or 1)} {unit}"? '


def _years(unit: IntervalUnit) -> float:
    return UNIT_MONTHS[unit] / 12 if unit in UNIT_MONTHS else UNIT_SECONDS[unit] / _YEAR_SECONDS
