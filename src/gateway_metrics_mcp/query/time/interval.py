"""Intervals and the arithmetic of their buckets: in UTC (R4), or by a zone's calendar."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from gateway_metrics_mcp.errors import Fix, MisspeltError, quote
from gateway_metrics_mcp.query.suggestions import did_you_mean
from gateway_metrics_mcp.query.time.zone import FIRST_YEAR, resolve_local
from gateway_metrics_mcp.query.time.zone_rules import offset_periods
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
_ISO_FORM: Final = r"PT?(\d{1,6})([SMHDWY])"
_UNIT_WORDS: Final = {
    **{unit[0]: unit for unit in ("second", "minute", "hour", "day", "week", "year")},
    "sec": "second",
    "min": "minute",
    "hr": "hour",
    "dai": "day",
    "wk": "week",
    "mo": "month",
    "mon": "month",
    "qtr": "quarter",
    "yr": "year",
    "annual": "year",
}
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
            meant = _respell(text)
            hint = "" if meant is None else f'Did you mean "{meant}"? '
            fix = None if meant is None else Fix((meant,))
            raise MisspeltError(f"{quote(text)} is not an interval. {hint}Give {_EXAMPLE}", fix)
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


def read_interval(text: object) -> Interval:
    """An interval of a tool's argument: also `1d`, `daily`, `per day`, `quarterly` and `PT1H`.

    Raises:
        ValueError: as `Interval.parse`.
    """
    try:
        return Interval.parse(text)
    except ValueError:
        same = _respell(text) if isinstance(text, str) else None
        if same is None or same.startswith("0 "):
            raise
    return Interval.parse(same)


def _respell(text: str) -> str | None:
    """`1 day` for `1d`, `day`, `daily`, `per day` and `P1D`; None for another form."""
    plain = re.sub(r"(?<=\w)[-_ ]+", " ", text.strip())
    plain = re.sub(r"(?i)^(?:per|by|every|each|a|an|one) ", "", plain)
    match = re.fullmatch(_SHORT_FORM, plain) or re.fullmatch(_ISO_FORM, plain)
    if match is None:
        return None
    count, letters = int(match[1] or 1), match[2]
    word = "month" if letters == "M" and "T" not in plain else letters.lower()
    word = word if len(word) == 1 else word.removesuffix("s").removesuffix("ly")
    word = _UNIT_WORDS.get(word, word)
    if word == "quarter":
        return f"{count * 3} month"
    return f"{count} {word}" if word in INTERVAL_UNITS else None


def _years(unit: IntervalUnit) -> float:
    return UNIT_MONTHS[unit] / 12 if unit in UNIT_MONTHS else UNIT_SECONDS[unit] / _YEAR_SECONDS


STEPS: Final = (Interval(1, "hour"), Interval(30, "minute"), Interval(15, "minute"))
"""UTC buckets that local days are added up from, the widest first: zones' offsets are multiples of
a quarter of an hour today."""

LOCAL_UNITS: Final[frozenset[IntervalUnit]] = frozenset(("day", "week", "month", "year"))
"""Units that start at a zone's midnight."""


@dataclass(frozen=True, slots=True)
class LocalBuckets(Interval):
    """Buckets by the clocks of a zone; their starts are instants in UTC.

    The API has none, so reports add them up from UTC buckets or query each one
    (reports/time_buckets.py).
    """

    zone: ZoneInfo

    @property
    def in_utc(self) -> Interval:
        """The same width in UTC buckets."""
        return Interval(self.count, self.unit)

    @property
    def fixed_seconds(self) -> None:
        """None: a day lasts 23 to 25 hours."""
        return

    def count_buckets(self, start: datetime, end: datetime) -> int:
        """How many buckets the window [start, end) touches."""
        return sum(1 for _ in self.buckets(start, end))

    def step(self, start: datetime, end: datetime) -> Interval | None:
        """The widest of STEPS whose UTC buckets align with every local start in [start, end).

        None if not even quarters of an hour do.
        """
        inside = [bucket for bucket in self.buckets(start, end) if bucket >= start]
        aligned = (one for one in STEPS if all(one.floor(bucket) == bucket for bucket in inside))
        return next(aligned, None)


@dataclass(frozen=True, slots=True)
class LocalDays(LocalBuckets):
    """Buckets of local days or longer.

    They are numbered by the local calendar, days from the local 1970-01-01. A day that the clocks
    skipped completely is an empty bucket.
    """

    def __post_init__(self) -> None:
        if self.unit not in LOCAL_UNITS:
            raise TypeError(f"{self} is no number of local days")

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

    def buckets(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """The starts of all buckets that the window [start, end) touches, in order."""
        first, last = self.number_of(start), self.number_of(end - _INSTANT)
        bucket = self.start_of(first)
        for number in range(first, last + 1):
            following = self.start_of(number + 1)
            if following > bucket:
                yield bucket
            bucket = following


@dataclass(frozen=True, slots=True)
class LocalHours(LocalBuckets):
    """Buckets that divide a local day, from its midnight on.

    Where clocks are set back, a start that they show again begins a bucket again; where they are
    set forward over a start, a bucket begins with the change.
    """

    def __post_init__(self) -> None:
        if not divides_a_day(self):
            raise TypeError(f"{self} does not divide a day")

    @property
    def _width(self) -> timedelta:
        return timedelta(seconds=self.in_utc.fixed_seconds or 0)

    def _starts(self, first: datetime, last: datetime) -> Iterator[datetime]:
        """Every start in [first, last), in order."""
        width, before = self._width, None
        for period in offset_periods(self.zone, first, last):
            number, rest = divmod(period.start + period.offset - EPOCH, width)
            if before is not None and rest:
                last = period.start - _INSTANT + before
                if number > (last - EPOCH) // width:
                    yield period.start
            start = period.start + (width - rest if rest else rest)
            while start < period.end:
                yield start
                start += width
            before = period.offset

    def floor(self, instant: datetime) -> datetime:
        """The start of the bucket that contains the instant."""
        # The clocks of Apia once skipped a day.
        earliest = instant.replace(microsecond=0) - self._width - timedelta(days=2)
        *_, start = self._starts(earliest, instant + _INSTANT)
        return start

    def after(self, start: datetime) -> datetime:
        """The start of the next bucket, which is this bucket's end."""
        latest = start + self._width + timedelta(days=2)
        return next(one for one in self._starts(start, latest) if one > start)

    def buckets(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """The starts of all buckets that the window [start, end) touches, in order."""
        first = self.floor(start)
        yield first
        yield from (one for one in self._starts(first, end) if one > first)


def divides_a_day(interval: Interval) -> bool:
    """Whether so many buckets make exactly a day, and are shorter than one."""
    day = UNIT_SECONDS["day"]
    seconds = UNIT_SECONDS[interval.unit] * interval.count if interval.unit in UNIT_SECONDS else day
    return seconds < day and day % seconds == 0


def localise_hours(
    interval: Interval, zone: ZoneInfo, start: datetime, end: datetime
) -> LocalHours | None:
    """Buckets that divide a local day, where UTC's begin elsewhere in the window; else None."""
    if zone.key == "UTC" or not divides_a_day(interval):
        return None
    width = timedelta(seconds=interval.fixed_seconds or 0)
    offsets = (period.offset for period in offset_periods(zone, start, end))
    if not any(offset % width for offset in offsets):
        return None
    return LocalHours(interval.count, interval.unit, zone)


def localise(interval: Interval | None, zone: ZoneInfo) -> LocalDays | None:
    """Local days, if the interval is a day or longer in a zone other than UTC; else None."""
    if interval is None or zone.key == "UTC" or interval.unit not in LOCAL_UNITS:
        return None
    return LocalDays(interval.count, interval.unit, zone)


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


_COUNTS: Final[dict[IntervalUnit, tuple[int, ...]]] = {
    "second": (1, 2, 5, 10, 15, 30),
    "minute": (1, 2, 5, 10, 15, 20, 30),
    "hour": (1, 2, 3, 4, 6, 8, 12),
    "day": (1, 2),
    "week": (1, 2),
    "month": (1, 2, 3, 6),
    "year": (1, 2, 5, 10),
}
LADDER: Final = tuple(Interval(count, unit) for unit, counts in _COUNTS.items() for count in counts)
"""The intervals that are proposed, the narrowest first."""


def find_interval(start: datetime, end: datetime, most: int) -> Interval:
    """The narrowest interval of LADDER with at most `most` buckets in the window."""
    fits = (interval for interval in LADDER if interval.count_buckets(start, end) <= most)
    return next(fits, LADDER[-1])


def choose_interval(start: datetime, end: datetime, most: int = BUCKETS_BY_DEFAULT) -> Interval:
    """The narrowest default interval with at most `most` buckets in the window."""
    fits = (interval for interval in INTERVALS if interval.count_buckets(start, end) <= most)
    return next(fits, Interval(10, "year"))
