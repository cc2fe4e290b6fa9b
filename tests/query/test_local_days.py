"""Local buckets tile the time, and start where the zone's calendar says."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway_metrics_mcp.query.time.interval import Interval, LocalDays, LocalHours, localise_hours
from gateway_metrics_mcp.query.vocabulary import IntervalUnit

ZONES: Final = (
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "America/St_Johns",
    "Africa/Casablanca",
)
WIDEST: Final[dict[IntervalUnit, timedelta]] = {
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=31),
    "year": timedelta(days=366),
}
SECOND: Final = timedelta(seconds=1)
SKIPPED: Final = datetime(2011, 12, 30, 10, tzinfo=UTC)
"""Midnight after the 29th in Apia, where the 31st began."""

_LOCALS = st.builds(
    lambda count, unit, zone: LocalDays(count, unit, ZoneInfo(zone)),
    st.integers(1, 5),
    st.sampled_from([*WIDEST]),
    st.sampled_from(ZONES),
)
_STARTS = st.datetimes(
    min_value=datetime(1970, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(2035, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    timezones=st.just(UTC),
)
_LENGTHS = st.timedeltas(timedelta(microseconds=1), timedelta(days=400))


def days_of(zone: str, count: int = 1, unit: IntervalUnit = "day") -> LocalDays:
    return LocalDays(count, unit, ZoneInfo(zone))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@given(_LOCALS, _STARTS, _LENGTHS)
@example(days_of("Pacific/Apia"), SKIPPED - timedelta(days=2), timedelta(days=4))
@example(days_of("America/St_Johns"), at("2006-10-28T12:00"), timedelta(days=2))
def test_buckets_tile_the_window(local: LocalDays, start: datetime, length: timedelta) -> None:
    end = start + length

    starts = list(local.buckets(start, end))

    assert starts[0] <= start
    assert starts[-1] < end <= local.after(starts[-1])
    assert len(starts) == local.count_buckets(start, end)
    for this, following in pairwise(starts):
        assert this < following == local.after(this)
        assert local.seconds_from(this) == (following - this).total_seconds()
    for bucket in starts:
        assert local.floor(bucket) == bucket == local.start_of(local.number_of(bucket))
        assert local.floor(local.after(bucket) - SECOND / 10**6) == bucket


@given(_LOCALS, _STARTS)
@example(days_of("Pacific/Apia"), SKIPPED)
def test_a_bucket_starts_with_its_date(local: LocalDays, instant: datetime) -> None:
    start = local.floor(instant)
    first, before = start.astimezone(local.zone), (start - SECOND).astimezone(local.zone)

    # The clocks of St. John's once turned back from 00:01: a date may begin twice.
    assert first.date() > before.date()
    if local.unit in ("month", "year"):
        months = (first.year - 1970) * 12 + first.month - 1
        assert months % local.in_utc.months == 0
        assert first.day == 1
    elif first.date() - before.date() == timedelta(days=1):
        origin = date(1970, 1, 5) if local.unit == "week" else date(1970, 1, 1)
        assert (first.date() - origin).days % (WIDEST[local.unit].days * local.count) == 0


@given(st.sampled_from([zone for zone in ZONES if zone != "America/St_Johns"]), _STARTS)
def test_an_instant_lies_in_the_bucket_of_its_date(zone: str, instant: datetime) -> None:
    start = days_of(zone).floor(instant)

    assert start.astimezone(ZoneInfo(zone)).date() == instant.astimezone(ZoneInfo(zone)).date()


@pytest.mark.parametrize(
    ("count", "unit", "instant", "start", "after"),
    [
        (1, "day", "2026-03-29T12:00", "2026-03-28T23:00", "2026-03-29T22:00"),
        (1, "day", "2026-10-25T12:00", "2026-10-24T22:00", "2026-10-25T23:00"),
        (1, "week", "2026-03-29T12:00", "2026-03-22T23:00", "2026-03-29T22:00"),
        (1, "month", "2026-03-29T12:00", "2026-02-28T23:00", "2026-03-31T22:00"),
        (3, "month", "2026-03-29T12:00", "2025-12-31T23:00", "2026-03-31T22:00"),
        (1, "year", "2026-12-31T23:30", "2026-12-31T23:00", "2027-12-31T23:00"),
        (100, "year", "2026-12-31T23:30", "1969-12-31T23:00", "2069-12-31T23:00"),
    ],
)
def test_buckets_of_berlin(
    count: int, unit: IntervalUnit, instant: str, start: str, after: str
) -> None:
    local = days_of("Europe/Berlin", count, unit)

    assert local.floor(at(instant)) == at(start)
    assert local.after(at(start)) == at(after)
    assert str(local) == str(Interval(count, unit))
    assert local.wire == f"{count} {unit}"
    assert local.fixed_seconds is None


def test_the_first_bucket_may_start_before_all_data() -> None:
    local = days_of("America/New_York", 100, "year")

    starts = list(local.buckets(at("1970-01-01T00:00"), at("1970-01-02T00:00")))

    assert [start.year for start in starts] == [1870, 1970]


def test_a_day_that_the_zone_skipped_is_no_bucket() -> None:
    local = days_of("Pacific/Apia")

    starts = list(local.buckets(SKIPPED - timedelta(days=1), SKIPPED + timedelta(days=1)))

    assert [start.astimezone(local.zone).day for start in starts] == [29, 31]


def test_hours_are_no_local_days() -> None:
    with pytest.raises(TypeError, match="6 hours"):
        LocalDays(6, "hour", ZoneInfo("Europe/Berlin"))


@pytest.mark.parametrize(
    ("zone", "start", "end", "step"),
    [
        ("Europe/Berlin", "2026-01-01", "2026-12-31", "1 hour"),
        ("Asia/Kolkata", "2026-01-01", "2026-01-03", "30 minutes"),
        ("Asia/Kathmandu", "2026-01-01", "2026-01-03", "15 minutes"),
        ("America/St_Johns", "2026-01-01", "2026-01-03", "30 minutes"),
        ("Australia/Lord_Howe", "2026-01-01", "2026-01-03", "1 hour"),
        ("Australia/Lord_Howe", "2026-03-01", "2026-05-01", "30 minutes"),
        ("Pacific/Apia", "2011-12-28", "2012-01-03", "1 hour"),
        ("Africa/Monrovia", "1971-01-01", "1971-01-03", "None"),
    ],
)
def test_the_widest_buckets_are_taken_that_no_local_one_cuts(
    zone: str, start: str, end: str, step: str
) -> None:
    assert str(days_of(zone).step(at(start), at(end))) == step


@given(_LOCALS, _STARTS, st.timedeltas(timedelta(hours=1), timedelta(days=20)))
def test_every_local_bucket_is_made_of_whole_steps(
    local: LocalDays, start: datetime, length: timedelta
) -> None:
    end = start + length
    step = local.step(start, end)
    if step is None:
        return

    parts = list(step.buckets(start, end))

    for part in parts:
        last = min(step.after(part), end) - SECOND / 10**6
        assert local.floor(max(part, start)) == local.floor(last)


WIDTHS: Final = tuple(
    Interval.parse(text)
    for text in ("10 minutes", "30 minutes", "1 hour", "2 hours", "3 hours", "6 hours", "12 hours")
)
_CHANGES: Final = st.sampled_from(
    [
        ("Europe/Berlin", "2026-03-29T01:00"),
        ("Europe/Berlin", "2026-10-25T01:00"),
        ("America/St_Johns", "2026-03-08T05:30"),
        ("America/St_Johns", "2026-11-01T04:30"),
        ("Australia/Lord_Howe", "2026-04-04T15:00"),
        ("Australia/Lord_Howe", "2026-10-03T15:30"),
        ("Pacific/Apia", "2011-12-30T10:00"),
        ("Asia/Kathmandu", "2026-07-01T00:00"),
        ("Asia/Kolkata", "2026-07-01T00:00"),
    ]
)


@given(_CHANGES, st.sampled_from(WIDTHS), st.integers(-3000, 3000), st.integers(1, 5000))
def test_local_hours_tile_the_window(
    change: tuple[str, str], width: Interval, minutes: int, length: int
) -> None:
    zone = ZoneInfo(change[0])
    start = at(change[1]) + timedelta(minutes=minutes)
    end = start + timedelta(minutes=length)
    local = LocalHours(width.count, width.unit, zone)

    starts = list(local.buckets(start, end))

    assert starts[0] <= start < local.after(starts[0])
    assert starts[-1] < end <= local.after(starts[-1])
    assert len(starts) == local.count_buckets(start, end)
    seconds = timedelta(seconds=width.fixed_seconds or 0)
    for this, following in pairwise(starts):
        assert this < following == local.after(this)
    for bucket in starts:
        wall, before = bucket.astimezone(zone), (bucket - SECOND).astimezone(zone)
        midnight = wall.replace(hour=0, minute=0, fold=0)
        # Python subtracts times of one zone by what the clocks show.
        is_whole = not (wall - midnight) % seconds
        # Only where the clocks skip a start does a bucket begin with another time.
        assert is_whole or wall - before > SECOND
        assert local.floor(bucket) == bucket
        assert local.floor(local.after(bucket) - SECOND / 10**6) == bucket


@pytest.mark.parametrize(
    ("zone", "width", "start", "labels"),
    [
        ("Europe/Berlin", "6 hours", "2026-10-24T22:00", ["00:00", "06:00", "12:00", "18:00"]),
        ("Europe/Berlin", "6 hours", "2026-03-28T23:00", ["00:00", "06:00", "12:00", "18:00"]),
        ("America/St_Johns", "1 hour", "2026-11-01T03:30", ["01:00", "01:00", "02:00", "03:00"]),
        ("America/St_Johns", "1 hour", "2026-03-08T04:30", ["01:00", "03:00", "04:00", "05:00"]),
        ("Europe/Berlin", "2 hours", "2026-03-28T23:00", ["00:00", "03:00", "04:00", "06:00"]),
        ("Asia/Kathmandu", "1 hour", "2026-06-30T18:15", ["00:00", "01:00", "02:00", "03:00"]),
        ("Asia/Kolkata", "12 hours", "2026-06-30T18:30", ["00:00", "12:00", "00:00", "12:00"]),
    ],
)
def test_local_hours_begin_when_the_clocks_say_so(
    zone: str, width: str, start: str, labels: list[str]
) -> None:
    plain = Interval.parse(width)
    local = LocalHours(plain.count, plain.unit, ZoneInfo(zone))

    found = list(local.buckets(at(start), at(start) + timedelta(days=3)))[:4]

    assert [f"{one.astimezone(local.zone):%H:%M}" for one in found] == labels


@pytest.mark.parametrize(
    ("zone", "width", "is_local"),
    [
        ("UTC", "6 hours", False),
        ("Europe/Berlin", "1 hour", False),
        ("Europe/Berlin", "30 minutes", False),
        ("Europe/Berlin", "6 hours", True),
        ("Asia/Kolkata", "30 minutes", False),
        ("Asia/Kolkata", "1 hour", True),
        ("Asia/Kathmandu", "15 minutes", False),
        ("Asia/Kathmandu", "30 minutes", True),
        ("Europe/Berlin", "5 hours", False),  # which divide no day
        ("Europe/Berlin", "24 hours", False),
    ],
)
def test_hours_are_local_ones_where_those_of_utc_begin_elsewhere(
    zone: str,
    width: str,
    is_local: bool,  # noqa: FBT001 - a case
) -> None:
    found = localise_hours(
        Interval.parse(width), ZoneInfo(zone), at("2026-07-01T00:00"), at("2026-07-08T00:00")
    )

    assert (found is not None) == is_local


def test_what_divides_no_day_is_no_local_hours() -> None:
    with pytest.raises(TypeError, match="5 hours does not divide a day"):
        LocalHours(5, "hour", ZoneInfo("Europe/Berlin"))
