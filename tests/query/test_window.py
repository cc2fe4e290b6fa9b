"""What each way of saying a time means, in UTC, for one fixed now."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from gateway_metrics_mcp.query.time.period import Period
from gateway_metrics_mcp.query.time.window import Window, read_window
from gateway_metrics_mcp.query.time.zone_rules import load_zone

NOW = datetime(2026, 11, 20, 14, 35, 20, tzinfo=UTC)  # a Friday


def read(start_ts: object, end_ts: object = None, timezone: object = None) -> Window:
    return read_window(start_ts, end_ts, timezone, now=NOW)


def utc(text: str) -> datetime:
    return NOW if text == "now" else datetime.fromisoformat(text).replace(tzinfo=UTC)


FULL_PERIODS = [
    ("yesterday", "2026-11-19", "2026-11-20"),
    ("last day", "2026-11-19", "2026-11-20"),
    ("last week", "2026-11-09", "2026-11-16"),
    ("previous week", "2026-11-09", "2026-11-16"),
    ("last month", "2026-10-01", "2026-11-01"),
    ("previous month", "2026-10-01", "2026-11-01"),
    ("last quarter", "2026-07-01", "2026-10-01"),
    ("previous year", "2025-01-01", "2026-01-01"),
    ("last 7 days", "2026-11-13", "2026-11-20"),
    ("past 7 days", "2026-11-13", "2026-11-20"),
    ("the last 7 days", "2026-11-13", "2026-11-20"),
    ("last seven days", "2026-11-13", "2026-11-20"),
    ("last 1 day", "2026-11-19", "2026-11-20"),
    ("last 1 days", "2026-11-19", "2026-11-20"),
    ("last 2 weeks", "2026-11-02", "2026-11-16"),
    ("last 12 months", "2025-11-01", "2026-11-01"),
    ("last 2 quarters", "2026-04-01", "2026-10-01"),
    ("last 2 years", "2024-01-01", "2026-01-01"),
    ("2026-07", "2026-07-01", "2026-08-01"),
    ("2025-12", "2025-12-01", "2026-01-01"),
    ("2024-02", "2024-02-01", "2024-03-01"),
    ("2026-W30", "2026-07-20", "2026-07-27"),
    ("2020-W53", "2020-12-28", "2021-01-04"),
    ("2026-W01", "2025-12-29", "2026-01-05"),
    ("2026-Q3", "2026-07-01", "2026-10-01"),
    ("2025", "2025-01-01", "2026-01-01"),
    ("1970", "1970-01-01", "1971-01-01"),
    ("2026-07-01..2026-07-15", "2026-07-01", "2026-07-16"),
    ("2026-07-01 .. 2026-07-15", "2026-07-01", "2026-07-16"),
    ("2026-07-01..2026-07-01", "2026-07-01", "2026-07-02"),
    ("2026-07-01", "2026-07-01", "2026-07-02"),
    ("2026-07..2026-09", "2026-07-01", "2026-10-01"),
    ("2026-W30..2026-W31", "2026-07-20", "2026-08-03"),
    ("2026-Q1..2026-07-15", "2026-01-01", "2026-07-16"),
    ("2026-11-17..yesterday", "2026-11-17", "2026-11-20"),
    ("2026-07-01T10:00..2026-07-15T09:30", "2026-07-01T10:00", "2026-07-15T09:30"),
    ("2026-07-01..2026-07-15T09:30Z", "2026-07-01", "2026-07-15T09:30"),
    ("now-7d/d..now-1d/d", "2026-11-13", "2026-11-20"),
]


@pytest.mark.parametrize(("words", "start", "end"), FULL_PERIODS)
def test_a_period_that_is_over_is_whole(words: str, start: str, end: str) -> None:
    window = read(words)
    assert (window.start, window.end) == (utc(start), utc(end))
    assert not window.is_to_now


@pytest.mark.parametrize(
    ("words", "start"),
    [
        ("today", "2026-11-20"),
        ("this day", "2026-11-20"),
        ("this week", "2026-11-16"),
        ("this month", "2026-11-01"),
        ("this quarter", "2026-10-01"),
        ("this year", "2026-01-01"),
        ("2026-11", "2026-11-01"),
        ("2026-W47", "2026-11-16"),
        ("2026-Q4", "2026-10-01"),
        ("2026", "2026-01-01"),
        ("2026-11-01..2026-12-15", "2026-11-01"),
        ("last 90 minutes", "2026-11-20T13:05:20"),
        ("last 1 minute", "2026-11-20T14:34:20"),
        ("last hour", "2026-11-20T13:35:20"),
        ("last 24 hours", "2026-11-19T14:35:20"),
        ("previous 30 seconds", "2026-11-20T14:34:50"),
        ("now-7d", "2026-11-13T14:35:20"),
        ("now-1d/d", "2026-11-19"),
        ("now/d", "2026-11-20"),
        ("now/w", "2026-11-16"),
        ("now/M", "2026-11-01"),
        ("now/1M", "2026-11-01"),
        ("now/Q", "2026-10-01"),
        ("now/y", "2026-01-01"),
        ("now/h", "2026-11-20T14:00"),
        ("now/m", "2026-11-20T14:35"),
        ("now-30s/s", "2026-11-20T14:34:50"),
        ("now-1M", "2026-10-20T14:35:20"),
        ("now-1M/M", "2026-10-01"),
        ("now-1m", "2026-11-20T14:34:20"),
        ("now-2w", "2026-11-06T14:35:20"),
        ("now-1Q", "2026-08-20T14:35:20"),
        ("now-1y/y", "2025-01-01"),
        ("now-1d/d+8h", "2026-11-19T08:00"),
        ("now-1d+1h", "2026-11-19T15:35:20"),
        ("now-d", "2026-11-19T14:35:20"),
        ("now - 7d", "2026-11-13T14:35:20"),
        ("2026-11-20", "2026-11-20"),
        ("2026-07-01..", "2026-07-01"),
        ("2026-07-01 ..", "2026-07-01"),
        ("2026-W30..", "2026-07-20"),
        ("2026-07..", "2026-07-01"),
        ("yesterday..", "2026-11-19"),
        ("now-7d..", "2026-11-13T14:35:20"),
        ("2026-07-01T10:00..", "2026-07-01T10:00"),
        ("2026-07-01..now", "2026-07-01"),
        ("2026-07-01..today", "2026-07-01"),
        ("2026-07-01T10:00", "2026-07-01T10:00"),
        ("2026-07-01T00:00:00Z", "2026-07-01"),
        ("2026-07-01t10:00:00z", "2026-07-01T10:00"),
        ("2026-07-01 10:00:30", "2026-07-01T10:00:30"),
        ("2026-07-01 10:00 UTC", "2026-07-01T10:00"),
        ("2026-07-01T10:00:00.25Z", "2026-07-01T10:00:00.250"),
        ("2026-07-01T10:00:00,5Z", "2026-07-01T10:00:00.500"),
        ("2026-07-01T10:00:00.123456789Z", "2026-07-01T10:00:00.123456"),
        ("2026-07-01T10:00+02:00", "2026-07-01T08:00"),
        ("2026-07-01T10:00 -0530", "2026-07-01T15:30"),
        ("2026-07-01T10:00+02", "2026-07-01T08:00"),
    ],
)
def test_a_start_or_a_running_period_lasts_to_now(words: str, start: str) -> None:
    window = read(words)
    assert (window.start, window.end, window.is_to_now) == (utc(start), NOW, True)


@pytest.mark.parametrize(
    ("spelt", "plain"),
    [
        ("LAST 7 Days", "last 7 days"),
        ("  last   7\tdays\n", "last 7 days"),
        ("Today", "today"),
        ("2026-w30", "2026-W30"),
        ("2026-q3", "2026-Q3"),
        ("NOW-7D", "now-7d"),
        ("now/W", "now/w"),
        ("now-1q", "now-1Q"),
        ("now-1Y", "now-1y"),
    ],
)
def test_letter_case_and_spaces_do_not_matter(spelt: str, plain: str) -> None:
    assert (read(spelt).start, read(spelt).end) == (read(plain).start, read(plain).end)


def test_m_is_a_minute_and_a_capital_m_is_a_month() -> None:
    assert read("now-1m").start == utc("2026-11-20T14:34:20")
    assert read("now-1M").start == utc("2026-10-20T14:35:20")


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("2026-07-15", "2026-07-15"),
        ("2026-07-15T10:00", "2026-07-15T10:00"),
        ("2026-07-15T10:00+02:00", "2026-07-15T08:00"),
        ("2026-08", "2026-08-01"),
        ("2026-W40", "2026-09-28"),
        ("2026-Q4", "2026-10-01"),
        ("today", "2026-11-20"),
        ("yesterday", "2026-11-19"),
        ("now", "now"),
        ("now-1h", "2026-11-20T13:35:20"),
    ],
)
def test_an_end_is_exclusive_and_a_calendar_name_is_its_start(text: str, end: str) -> None:
    assert read("2026-07-01", text).end == utc(end)


@pytest.mark.parametrize(
    ("maths", "end"),
    [
        ("now-1d/d", "2026-11-20"),
        ("now-1w/w", "2026-11-16"),
        ("now-1M/M", "2026-11-01"),
        ("now-1h/h", "2026-11-20T14:00"),
        ("now-1d/d-1h", "2026-11-19T23:00"),
        ("now-1d/d/d", "2026-11-20"),
        ("now-1M/M/d", "2026-11-01"),
        ("now-1M/M-1d/d", "2026-10-31"),
    ],
)
def test_rounding_goes_up_at_the_end_as_in_grafana(maths: str, end: str) -> None:
    assert read("2026-07-01", maths).end == utc(end)


def test_the_present_day_as_grafana_writes_it_is_cut_to_now() -> None:
    window = read("now/d", "now/d")
    assert window == Window(
        start=utc("2026-11-20"),
        end=NOW,
        zone=load_zone("UTC"),
        notes=("endTs 2026-11-21T00:00Z is in the future: cut to now, 2026-11-20T14:35:20Z",),
        is_to_now=True,
        period=Period("day", 1, is_running=True),
    )


@pytest.mark.parametrize(
    ("words", "note"),
    [
        ("last 7 days", "today excluded (still in progress)"),
        ("last 2 weeks", "this week excluded (still in progress)"),
        ("last three months", "this month excluded (still in progress)"),
        ("last 2 quarters", "this quarter excluded (still in progress)"),
        ("last 2 years", "this year excluded (still in progress)"),
        ("2026-11", "2026-11 is in progress: this month so far, up to now"),
        ("2026-w47", "2026-W47 is in progress: this week so far, up to now"),
        ("2026-11-01..2026-11-30", "2026-11-01..2026-11-30 is in progress: up to now"),
        ("2026-11-20", "2026-11-20 is in progress: today so far, up to now"),
    ],
)
def test_what_a_period_leaves_out_is_said(words: str, note: str) -> None:
    assert read(words).notes == (note,)


@pytest.mark.parametrize("words", ["today", "yesterday", "last week", "2026-07", "last 3 hours"])
def test_nothing_is_said_of_a_period_that_is_just_what_was_asked(words: str) -> None:
    assert read(words).notes == ()


def test_an_end_in_the_future_is_cut_to_now_and_said() -> None:
    window = read("2026-07-01", "2026-12-01")
    assert window.end == NOW
    assert window.is_to_now
    assert window.notes == (
        "endTs 2026-12-01T00:00Z is in the future: cut to now, 2026-11-20T14:35:20Z",
    )


@pytest.mark.parametrize(
    ("start", "end", "period"),
    [
        ("today", None, Period("day", 1, is_running=True)),
        ("yesterday", None, Period("day", 1, is_running=False)),
        ("last 7 days", None, Period("day", 7, is_running=False)),
        ("last month", None, Period("month", 1, is_running=False)),
        ("this quarter", None, Period("quarter", 1, is_running=True)),
        ("now/M", None, Period("month", 1, is_running=True)),
        ("2026-W30", None, Period("week", 1, is_running=False)),
        ("2026", None, Period("year", 1, is_running=True)),
        ("2026-07-01..2026-07-15", None, Period("day", 15, is_running=False)),
        ("2026-07", "2026-08", Period("month", 1, is_running=False)),
        ("2026-11", "2026-12", Period("month", 1, is_running=True)),
        ("this month", "now", Period("month", 1, is_running=True)),
        ("2026-07", "2026-07-15", None),
        ("last 7 days", "now", None),
        ("last 24 hours", None, None),
        ("now-7d", None, None),
        ("now-1M/M", None, None),
        ("2026-07-01", None, Period("day", 1, is_running=False)),
        ("2026-07-01", "2026-07-02", Period("day", 1, is_running=False)),
        ("2026-07..2026-09", None, Period("month", 3, is_running=False)),
        ("2026-W30..2026-W31", None, Period("week", 2, is_running=False)),
        ("2026-Q1..2026-07-15", None, Period("day", 196, is_running=False)),
        ("2026-07-01..", None, None),
        ("2026-07-01", "2026-08-01", None),
    ],
)
def test_the_kind_of_calendar_period_is_kept(
    start: str, end: str | None, period: Period | None
) -> None:
    assert read(start, end).period == period


def test_a_period_with_an_end_of_its_own_keeps_its_start_alone() -> None:
    window = read("last 7 days", "2026-11-18")
    assert (window.start, window.end, window.notes) == (utc("2026-11-13"), utc("2026-11-18"), ())


def test_the_day_of_the_month_is_clamped() -> None:
    now = datetime(2028, 3, 31, 10, tzinfo=UTC)
    assert read_window("now-1M", None, None, now=now).start == utc("2028-02-29T10:00")
    assert read_window("now-13M", None, None, now=now).start == utc("2027-02-28T10:00")


def test_now_is_taken_to_the_whole_second() -> None:
    window = read_window("today", None, None, now=NOW.replace(microsecond=987_654))
    assert window.end == NOW


def test_now_may_come_in_any_zone() -> None:
    window = read_window("today", None, None, now=NOW.astimezone(ZoneInfo("Asia/Tokyo")))
    assert (window.start, window.end) == (utc("2026-11-20"), NOW)


def test_a_zone_that_is_not_given_is_the_default_one() -> None:
    window = read_window("today", None, None, now=NOW, default_zone="Europe/Berlin")
    assert window.zone == load_zone("Europe/Berlin")
    assert window.start == utc("2026-11-19T23:00")


# Other spellings of times that have one meaning, and how that is written.
OTHERS = [
    ("7d", "now-7d"),
    ("-7d", "now-7d"),
    ("7D", "now-7d"),
    ("24h", "now-24h"),
    ("30m", "now-30m"),
    ("1M", "now-1M"),
    ("24 hours", "now-24h"),
    ("30 mins", "now-30m"),
    ("2 hours ago", "now-2h"),
    ("rolling 7 days", "now-7d"),
    ("trailing 30 days", "now-30d"),
    ("now-7days", "now-7d"),
    ("now - 3 months", "now-3M"),
    ("P7D", "now-7d"),
    ("PT24H", "now-24h"),
    ("last 7d", "last 7 days"),
    ("last 24h", "last 24 hours"),
    ("last 30 mins", "last 30 minutes"),
    ("last-7-days", "last 7 days"),
    ("last_month", "last month"),
    ("last full month", "last month"),
    ("last calendar week", "last week"),
    ("over the last 7 days", "last 7 days"),
    ("current month", "this month"),
    ("this month so far", "this month"),
    ("month to date", "this month"),
    ("year-to-date", "this year"),
    ("MTD", "this month"),
    ("wtd", "this week"),
    ("qtd", "this quarter"),
    ("ytd", "this year"),
    ("Nov 2026", "2026-11"),
    ("november 2026", "2026-11"),
    ("in July 2026", "2026-07"),
    ("Sept 2026", "2026-09"),
    ("Q3 2026", "2026-Q3"),
    ("2026 Q3", "2026-Q3"),
    ("2026Q3", "2026-Q3"),
    ("H1 2026", "2026-01..2026-06"),
    ("2026-7-1", "2026-07-01"),
    ("2026/07/01", "2026-07-01"),
    ("2026.07.01 10:00", "2026-07-01T10:00"),
    ("2026-07-01-10:00", "2026-07-01T10:00"),
    ("20260701", "2026-07-01"),
    ("202607", "2026-07"),
    ("2026-7", "2026-07"),
    ("2026/07", "2026-07"),
    ("07/2026", "2026-07"),
    ("24.10.2026", "2026-10-24"),
    ("10/24/2026", "2026-10-24"),
    ("11/11/2026", "2026-11-11"),
    ("2026W30", "2026-W30"),
    ("2026-W3", "2026-W03"),
    ("2026 week 30", "2026-W30"),
    ("2026-W30-3", "2026-07-22"),
    ("July 1st, 2026", "2026-07-01"),
    ("1 Jul 2026", "2026-07-01"),
    ("24 October 2026", "2026-10-24"),
    # Without a year: the latest that has begun.
    ("Nov 18", "2026-11-18"),
    ("18 Nov", "2026-11-18"),
    ("Nov 24", "2025-11-24"),
    ("November", "2026-11"),
    ("December", "2025-12"),
    ("Q4", "2026-Q4"),
    ("W30", "2026-W30"),
    ("week 52", "2025-W52"),
    # A Friday.
    ("last Friday", "2026-11-13"),
    ("previous friday", "2026-11-13"),
    ("this Friday", "2026-11-20"),
    ("last Monday", "2026-11-16"),
    ("Monday", "2026-11-16"),
    ("on Monday", "2026-11-16"),
    ("this Monday", "2026-11-16"),
    ("Sun", "2026-11-15"),
    ("last weekend", "2026-11-14..2026-11-15"),
    ("the day before yesterday", "2026-11-18"),
    ("2026-07-01 to 2026-07-15", "2026-07-01..2026-07-15"),
    ("2026-07-01/2026-07-15", "2026-07-01..2026-07-15"),
    ("2026-07-01...2026-07-15", "2026-07-01..2026-07-15"),
    ("2026-07-01 - 2026-07-15", "2026-07-01..2026-07-15"),
    ("from 2026-07-01 to 2026-07-15", "2026-07-01..2026-07-15"),
    ("between 2026-07-01 and 2026-07-15", "2026-07-01..2026-07-15"),
    ("July 2026 to Sep 2026", "2026-07..2026-09"),
    ("Nov 1 to Nov 15", "2026-11-01..2026-11-15"),
    ("since 2026-07-01", "2026-07-01.."),
    ("since Monday", "2026-11-16.."),
    ("since last Friday", "2026-11-13.."),
    ("from 2026-07", "2026-07.."),
    ("2026-07-01 to now", "2026-07-01.."),
    ("2026-07-01 onwards", "2026-07-01.."),
    ("2026-07-01T00:00Z/2026-07-02T10:00Z", "2026-07-01T00:00Z..2026-07-02T10:00Z"),
    ("2026-07/2026-08", "2026-07..2026-08"),
    ("1-15 Nov 2026", "2026-11-01..2026-11-15"),
    ("1 to 15 November", "2026-11-01..2026-11-15"),
    ("Nov 1-15", "2026-11-01..2026-11-15"),
    ("2026-07-01T10", "2026-07-01T10:00"),
    ("2026-07-01 10am", "2026-07-01T10:00"),
    ("2026-07-01 12:30 pm", "2026-07-01T12:30"),
    ("2026-07-01 9:05 PM", "2026-07-01T21:05"),
    ("an hour ago", "now-1h"),
    ("prev week", "previous week"),
    ("thisMonth", "this month"),
    ("lastWeek", "last week"),
    ("lastmonth", "last month"),
    ("monthToDate", "this month"),
]


@pytest.mark.parametrize(("text", "usual"), OTHERS)
def test_another_spelling_of_one_meaning_is_read_and_said(text: str, usual: str) -> None:
    found, meant = read(text), read(usual)

    assert (found.start, found.end, found.period) == (meant.start, meant.end, meant.period)
    assert found.notes == (f'"{text}" is read as {usual}', *meant.notes)


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("24 Oct 2026", "2026-10-24"),
        ("2026/10/24", "2026-10-24"),
        ("last Friday", "2026-11-13"),
        ("7d", "2026-11-13T14:35:20"),
        ("Nov 2026", "2026-11-01"),
    ],
)
def test_an_end_may_be_spelt_otherwise_too(text: str, end: str) -> None:
    assert read("2026-07-01", text).end == utc(end)


def test_a_week_has_the_year_of_its_thursday() -> None:
    now = datetime(2027, 1, 2, 12, tzinfo=UTC)  # in 2026-W53
    window = read_window("W53", None, None, now=now)
    assert (window.start, window.notes[0]) == (utc("2026-12-28"), '"W53" is read as 2026-W53')
