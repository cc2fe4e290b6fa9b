"""Buckets in UTC: aligned as ruling R4 says, without gap or overlap."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_metrics_mcp.query.time.interval import Interval, read_interval
from gateway_metrics_mcp.query.vocabulary import INTERVAL_UNITS

INTERVALS = st.builds(Interval, st.integers(1, 90), st.sampled_from(INTERVAL_UNITS))
INSTANTS = st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1)).map(  # noqa: DTZ001 - bounds
    lambda instant: instant.replace(tzinfo=UTC)
)


@given(INTERVALS, INSTANTS)
def test_r4_each_instant_lies_in_one_bucket(interval: Interval, instant: datetime) -> None:
    start = interval.floor(instant)

    assert start <= instant < interval.after(start)
    assert interval.floor(start) == start
    assert interval.number_of(interval.after(start)) == interval.number_of(start) + 1


@given(INTERVALS, INSTANTS, st.integers(1, 10**7))
def test_r4_buckets_cover_the_window_and_nothing_else(
    interval: Interval, start: datetime, seconds: int
) -> None:
    end = start + timedelta(seconds=seconds)
    if interval.count_buckets(start, end) > 200:
        end = interval.after(interval.floor(start))

    buckets = list(interval.buckets(start, end))

    assert buckets[0] <= start < interval.after(buckets[0])
    assert buckets[-1] < end <= interval.after(buckets[-1])
    assert [interval.after(bucket) for bucket in buckets[:-1]] == buckets[1:]
    assert len(buckets) == interval.count_buckets(start, end)


@pytest.mark.parametrize(
    ("text", "instant", "start"),
    [
        ("1 hour", "2026-07-15T09:30:00", "2026-07-15T09:00:00"),
        ("5 hour", "2026-07-15T09:30:00", "2026-07-15T09:00:00"),
        ("1 day", "2026-07-15T09:30:00", "2026-07-15T00:00:00"),
        ("1 week", "2026-07-15T09:30:00", "2026-07-13T00:00:00"),
        ("7 days", "2026-07-15T09:30:00", "2026-07-09T00:00:00"),
        ("1 month", "2026-07-15T09:30:00", "2026-07-01T00:00:00"),
        ("5 months", "2026-07-15T09:30:00", "2026-04-01T00:00:00"),
        ("2 years", "2027-07-15T09:30:00", "2026-01-01T00:00:00"),
    ],
)
def test_r4_buckets_start_where_the_ruling_counts_from(text: str, instant: str, start: str) -> None:
    found = Interval.parse(text).floor(datetime.fromisoformat(instant).replace(tzinfo=UTC))

    assert found == datetime.fromisoformat(start).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1, "1 second"), (90, "90 seconds"), (3600, "1 hour"), (86_400, "1 day"), (604_800, "7 days")],
)
def test_seconds_become_their_largest_plain_unit(seconds: int, text: str) -> None:
    assert str(Interval.from_seconds(seconds)) == text


def test_r14_a_month_has_its_own_length() -> None:
    month = Interval.parse("1 month")

    assert month.seconds_from(datetime(2028, 2, 1, tzinfo=UTC)) == 29 * 86_400
    assert month.seconds_from(datetime(2027, 2, 1, tzinfo=UTC)) == 28 * 86_400


@given(INTERVALS)
def test_an_interval_reads_back_from_the_wire(interval: Interval) -> None:
    assert Interval.parse(interval.wire) == interval
    assert Interval.parse(str(interval)) == interval


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("day", "1 day"),
        ("daily", "1 day"),
        ("1d", "1 day"),
        ("hourly", "1 hour"),
        ("per day", "1 day"),
        ("every hour", "1 hour"),
        ("each 2 hours", "2 hours"),
        ("by week", "1 week"),
        ("an hour", "1 hour"),
        ("15min", "15 minutes"),
        ("15 mins", "15 minutes"),
        ("2-hours", "2 hours"),
        ("1_day", "1 day"),
        (" 1  Day ", "1 day"),
        ("24h", "24 hours"),
        ("1M", "1 month"),
        ("5m", "5 minutes"),
        ("quarterly", "3 months"),
        ("1 quarter", "3 months"),
        ("annually", "1 year"),
        ("yearly", "1 year"),
        ("PT1H", "1 hour"),
        ("P1D", "1 day"),
        ("PT15M", "15 minutes"),
    ],
)
def test_an_argument_may_spell_an_interval_otherwise(text: str, meant: str) -> None:
    assert str(read_interval(text)) == meant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yes",
        "no",
        "we",
        "seconds per day",
        "day of week",
        "1.5 hours",
        "0 days",
        "-1 day",
        "1 parsec",
        "1 hour 30 minutes",
        60,
        None,
    ],
)
def test_what_is_no_interval_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_interval(text)
