"""The window to compare with is the one before of its kind, or the same one so much earlier."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_metrics_mcp.errors import InvalidQueryError
from gateway_metrics_mcp.query.time.comparison import cut_to_elapsed, explain_earlier, read_earlier
from gateway_metrics_mcp.query.time.period import Period
from gateway_metrics_mcp.query.time.window import Window, read_window
from gateway_metrics_mcp.query.time.zone import format_minute

NOW: Final = datetime(2026, 7, 15, 9, 30, tzinfo=UTC)
BERLIN: Final = "Europe/Berlin"
SPRING: Final = datetime(2026, 3, 29, 10, 30, tzinfo=UTC)
"""A day of 23 hours in Berlin."""


def compare(
    start: str, text: object, zone: str = "UTC", now: datetime = NOW, end: str | None = None
) -> tuple[Window, Window]:
    window = read_window(start, end, zone, now=now)
    return window, read_earlier(text, window, now=now)


def span(window: Window) -> str:
    return f"{format_minute(window.start)} {format_minute(window.end)}"


def refusal(start: str, text: object, zone: str = "UTC") -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        compare(start, text, zone)
    message = str(caught.value)
    assert message.isprintable()
    return message


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("yesterday", "2026-07-12T22:00Z 2026-07-13T22:00Z"),
        ("last 7 days", "2026-06-30T22:00Z 2026-07-07T22:00Z"),
        ("last 2 weeks", "2026-06-14T22:00Z 2026-06-28T22:00Z"),
        ("last month", "2026-04-30T22:00Z 2026-05-31T22:00Z"),
        ("2026-03", "2026-01-31T23:00Z 2026-02-28T23:00Z"),
        ("2026-Q2", "2025-12-31T23:00Z 2026-03-31T22:00Z"),
        ("2025", "2023-12-31T23:00Z 2024-12-31T23:00Z"),
        ("2026-03-30..2026-04-04", "2026-03-23T23:00Z 2026-03-29T22:00Z"),
        ("now-24h", "2026-07-13T09:30Z 2026-07-14T09:30Z"),
        ("last 90 minutes", "2026-07-15T06:30Z 2026-07-15T08:00Z"),
    ],
)
def test_previous_is_the_period_before_or_as_much_time(start: str, expected: str) -> None:
    _, earlier = compare(start, "previous", BERLIN)

    assert span(earlier) == expected


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("today", "2026-07-13T22:00Z 2026-07-14T09:30Z"),
        ("this week", "2026-07-05T22:00Z 2026-07-08T09:30Z"),
        ("this month", "2026-05-31T22:00Z 2026-06-15T09:30Z"),
        ("2026-07", "2026-05-31T22:00Z 2026-06-15T09:30Z"),
        ("this quarter", "2026-03-31T22:00Z 2026-04-15T09:30Z"),
        ("this year", "2024-12-31T23:00Z 2025-07-15T09:30Z"),
        ("2026-07-01..2026-07-20", "2026-06-10T22:00Z 2026-06-25T09:30Z"),
    ],
)
def test_a_running_period_has_as_much_of_the_one_before(start: str, expected: str) -> None:
    window, earlier = compare(start, "previous", BERLIN)

    assert span(earlier) == expected
    assert explain_earlier(window, earlier) == ()
    assert earlier.period is None


def test_a_running_month_does_not_reach_beyond_the_end_of_a_shorter_one() -> None:
    window, earlier = compare("this month", "previous", now=datetime(2026, 3, 30, 12, tzinfo=UTC))

    assert span(earlier) == "2026-02-01T00:00Z 2026-03-01T00:00Z"
    assert earlier.period == Period("month", 1, is_running=False)
    assert explain_earlier(window, earlier) == (
        "the windows differ in length: 29 days 12 h against 28 days",
    )


def test_elapsed_time_is_what_the_clocks_show() -> None:
    window, earlier = compare("today", "previous", BERLIN, SPRING)

    assert span(earlier) == "2026-03-27T23:00Z 2026-03-28T11:30Z"
    assert explain_earlier(window, earlier) == ("the clocks changed: 11.5 h against 12.5 h",)


def test_equal_hours_on_the_clocks_that_last_longer_are_said_to() -> None:
    autumn = datetime(2026, 10, 25, 11, tzinfo=UTC)

    notes = explain_earlier(*compare("today", "previous", BERLIN, autumn))

    assert notes == ("the clocks changed: 13 h against 12 h",)


@pytest.mark.parametrize(
    ("start", "text", "expected"),
    [
        ("today", "yesterday", "2026-07-13T22:00Z 2026-07-14T09:30Z"),
        ("this month", "2026-02", "2026-01-31T23:00Z 2026-02-15T10:30Z"),
        ("this quarter", "2026-Q1", "2025-12-31T23:00Z 2026-01-15T10:30Z"),
        ("this year", "2025", "2024-12-31T23:00Z 2025-07-15T09:30Z"),
    ],
)
def test_a_whole_period_is_cut_to_what_a_running_one_of_its_kind_has_had(
    start: str, text: str, expected: str
) -> None:
    window, earlier = compare(start, text, BERLIN)

    cut = cut_to_elapsed(window, earlier)

    assert span(cut) == expected
    assert cut.period is None
    unit = window.period.unit if window.period else ""
    assert cut.notes == (f"the {unit} is in progress: compared with as much of the earlier {unit}",)


@pytest.mark.parametrize(
    ("start", "text"),
    [
        ("this month", "2026-W20"),
        ("this week", "last 7 days"),
        ("last month", "2026-05"),
        ("now-2d", "2026-06"),
        ("today", "previous"),
        ("last 7 days", "2026-06-01..2026-06-07"),
    ],
)
def test_any_other_window_is_compared_with_as_it_is(start: str, text: str) -> None:
    window, earlier = compare(start, text, BERLIN)

    assert cut_to_elapsed(window, earlier) is earlier


def test_a_shorter_period_is_not_cut_beyond_its_end() -> None:
    window, earlier = compare("this month", "2026-02", now=datetime(2026, 3, 30, 12, tzinfo=UTC))

    assert cut_to_elapsed(window, earlier) is earlier
    assert explain_earlier(window, earlier) == (
        "the windows differ in length: 29 days 12 h against 28 days",
    )


def test_elapsed_time_that_the_clocks_skipped_is_taken_as_it_lasts() -> None:
    # Cairo's Friday began at 01:00: there was no 00:20.
    now = datetime(2026, 4, 24, 21, 20, tzinfo=UTC)

    _, earlier = compare("today", "previous", "Africa/Cairo", now)

    assert span(earlier) == "2026-04-23T22:00Z 2026-04-23T22:20Z"


def test_a_day_that_the_zone_skipped_is_not_compared_with() -> None:
    _, earlier = compare("2011-12-31..2011-12-31", "previous", "Pacific/Apia")

    assert span(earlier) == "2011-12-29T10:00Z 2011-12-30T10:00Z"


@pytest.mark.parametrize(
    ("start", "end", "text", "expected"),
    [
        ("yesterday", None, "1 day", "2026-07-12T22:00Z 2026-07-13T22:00Z"),
        ("yesterday", None, "two weeks", "2026-06-29T22:00Z 2026-06-30T22:00Z"),
        ("today", None, "1 Week", "2026-07-07T22:00Z 2026-07-08T09:30Z"),
        ("last month", None, "1 month", "2026-04-30T22:00Z 2026-05-31T22:00Z"),
        ("2026-02", None, "1 month", "2025-12-31T23:00Z 2026-01-31T23:00Z"),
        ("2026-Q2", None, "1 quarter", "2025-12-31T23:00Z 2026-03-31T22:00Z"),
        ("2024-02-29..2024-02-29", None, "1 year", "2023-02-27T23:00Z 2023-02-28T23:00Z"),
        ("2026-03-31", "2026-04-01", "1 month", "2026-02-27T23:00Z 2026-02-28T23:00Z"),
        ("2026-03-29", "2026-03-31", "1 month", "2026-02-27T23:00Z 2026-02-28T23:00Z"),
        ("2026-03-30T22:00", "2026-03-31T02:00", "1 month", "2026-02-28T21:00Z 2026-03-01T01:00Z"),
        ("last 6 hours", None, "1 day", "2026-07-14T03:30Z 2026-07-14T09:30Z"),
        ("last 6 hours", None, "24 hours", "2026-07-14T03:30Z 2026-07-14T09:30Z"),
        ("2026-03-30..2026-03-30", None, "1 day", "2026-03-28T23:00Z 2026-03-29T22:00Z"),
    ],
)
def test_a_length_shifts_the_window_by_the_calendar(
    start: str, end: str | None, text: str, expected: str
) -> None:
    _, earlier = compare(start, text, BERLIN, end=end)

    assert span(earlier) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("last month", "2026-06-01T00:00Z 2026-07-01T00:00Z"),
        ("2026-06", "2026-06-01T00:00Z 2026-07-01T00:00Z"),
        ("2026-06-01..2026-06-07", "2026-06-01T00:00Z 2026-06-08T00:00Z"),
        ("2026-06-03", "2026-06-03T00:00Z 2026-06-04T00:00Z"),
        ("3 June 2026", "2026-06-03T00:00Z 2026-06-04T00:00Z"),
        ("May 2026", "2026-05-01T00:00Z 2026-06-01T00:00Z"),
        ("2026-05..2026-06", "2026-05-01T00:00Z 2026-07-01T00:00Z"),
        ("2026-06-03T12:00Z..2026-06-05T00:00Z", "2026-06-03T12:00Z 2026-06-05T00:00Z"),
        ("2026-06-03T12:00:00Z", "2026-06-03T12:00Z 2026-06-10T12:00Z"),
        ("now-30d/d", "2026-06-15T00:00Z 2026-06-22T00:00Z"),
    ],
)
def test_a_period_stands_for_itself_and_an_instant_for_as_long_a_window(
    text: str, expected: str
) -> None:
    _, earlier = compare("last 7 days", text)

    assert span(earlier) == expected


@pytest.mark.parametrize(
    ("start", "text", "period"),
    [
        ("last month", "previous", Period("month", 1, is_running=False)),
        ("last 7 days", "2 weeks", Period("day", 7, is_running=False)),
        ("last month", "1 week", None),
        ("this week", "last week", Period("week", 1, is_running=False)),
        ("now-24h", "previous", None),
    ],
)
def test_it_is_the_period_that_it_is(start: str, text: str, period: Period | None) -> None:
    window, earlier = compare(start, text, BERLIN)

    assert earlier.period == period
    assert earlier.zone == window.zone
    assert not earlier.is_to_now


@pytest.mark.parametrize(
    ("start", "text", "notes"),
    [
        ("last month", "previous", ("the windows differ in length: 30 days against 31 days",)),
        ("yesterday", "previous", ()),
        (
            "last 7 days",
            "1 day",
            ("the windows overlap by 6 days: shared rows hide change",),
        ),
        ("2026-03-29..2026-03-29", "previous", ("the clocks changed: 23 h against 24 h",)),
        ("2026-W13", "1 week", ("the clocks changed: 167 h against 168 h",)),
        ("2026-W14", "1 week", ("the clocks changed: 168 h against 167 h",)),
        ("2026-03-30..2026-03-30", "1 day", ("the clocks changed: 24 h against 23 h",)),
        ("2026-W12", "1 week", ()),
        ("last 24 hours", "previous", ()),
    ],
)
def test_what_makes_the_windows_unlike_is_said(
    start: str, text: str, notes: tuple[str, ...]
) -> None:
    assert explain_earlier(*compare(start, text, BERLIN)) == notes


@pytest.mark.parametrize(
    ("text", "usual"),
    [
        ("prev", "previous"),
        ("previous period", "previous"),
        ("7d", "7 days"),
        ("1M", "1 month"),
        ("-1 month", "1 month"),
        ("1 week ago", "1 week"),
        ("a week ago", "1 week"),
        ("week", "1 week"),
        ("1wk", "1 week"),
        ("24h", "24 hours"),
        ("wow", "1 week"),
        ("YoY", "1 year"),
        ("same period last year", "1 year"),
        ("same day last week", "1 week"),
        ("the same time of the previous month", "1 month"),
        ("the previous period", "previous"),
        ("preceding period", "previous"),
        ("two weeks ago", "2 weeks"),
        ("1 month prior", "1 month"),
        ("the week before", "1 week"),
        ("y/y", "1 year"),
        ("yes", "previous"),
        ("3 mo", "3 months"),
        ("1 qtr", "1 quarter"),
    ],
)
def test_another_spelling_means_the_same(text: str, usual: str) -> None:
    assert compare("now-7d", text) == compare("now-7d", usual)


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("previuos", 'Did you mean "previous"? Give previous, 1 day, 1 week, '),
        ("lst month", 'Did you mean "last month"? Give previous, 1 day, 1 week, '),
        ("1m", 'can mean two things. Did you mean "1 month" or "1 minute"?'),
        ("previous 7 days", 'Did you mean "previous"? Give previous, 1 day, 1 week, '),
        ("no", '"no" is not a known time. Give previous'),
        ("dark", '"dark" is not a known time. Give previous'),
        ("5m", 'can mean two things. Did you mean "5 months" or "5 minutes"?'),
        ("01/06/2026", 'Did you mean "2026-06-01" or "2026-01-06"?'),
    ],
)
def test_the_nearest_words_are_offered(text: str, nearest: str) -> None:
    assert nearest in refusal("last 7 days", text)


@pytest.mark.parametrize(
    ("start", "text", "said"),
    [
        ("last 7 days", "blah", '"blah" is not a known time. Give previous, 1 day'),
        ("last 7 days", "", "the text is empty. Give previous"),
        ("last 7 days", "x" * 80, "longer than 64 characters. Give previous"),
        ("last 7 days", 7, "expected text, got 7. Give previous"),
        ("last 7 days", None, "expected text, got None. Give previous"),
        ("last 7 days", "last 7 days", "not earlier than the window itself, from 2026-07-08"),
        ("last 7 days", "today", "not earlier than the window itself"),
        ("last 7 days", "tomorrow", "in the future, where there is no data. Give previous"),
        ("last 7 days", "2026-08", "is in the future: now is 2026-07-15T09:30Z. Give previous"),
        ("last 7 days", "2026-13", '"2026-13" is not a month'),
        ("last 7 days", "0 days", '"0 days" is not a time'),
        ("last 7 days", "999999999 years", "goes back before 1970"),
        ("last 7 days", "60 years", "goes back before 1970"),
        ("1970", "previous", "goes back before 1970"),
    ],
)
def test_what_is_no_earlier_window_is_refused(start: str, text: object, said: str) -> None:
    assert said in refusal(start, text)


ZONES = st.sampled_from(
    [
        "UTC",
        BERLIN,
        "America/New_York",
        "Asia/Kathmandu",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "America/St_Johns",
        "Africa/Casablanca",
        "Africa/Cairo",
    ]
)
NOWS = st.datetimes(
    min_value=datetime(2015, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(2035, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    timezones=st.just(UTC),
).map(lambda now: now.replace(microsecond=0))
UNITS = st.sampled_from(["day", "week", "month", "quarter", "year"])
STARTS = st.one_of(
    st.builds("last {} {}s".format, st.integers(1, 40), UNITS),
    st.builds("this {}".format, UNITS),
    st.builds("last {} hours".format, st.integers(1, 900)),
    st.builds("now-{}h/d".format, st.integers(25, 900)),
)
TEXTS = st.one_of(
    st.just("previous"),
    st.builds("{} {}s".format, st.integers(1, 40), UNITS),
    st.builds("last {}".format, UNITS),
    st.text(max_size=12),
)


def try_to_read(text: str, window: Window, now: datetime) -> Window | None:
    try:
        return read_earlier(text, window, now=now)
    except ValueError as error:
        message = str(error)
    assert message.isprintable()
    return None


@given(STARTS, TEXTS, ZONES, NOWS)
def test_it_is_never_empty_and_always_earlier(
    start: str, text: str, zone: str, now: datetime
) -> None:
    try:
        window = read_window(start, None, zone, now=now)
    except InvalidQueryError:
        return  # at midnight itself nothing of the day has passed
    earlier = try_to_read(text, window, now)
    if earlier is None:
        return

    assert earlier.start < earlier.end <= now
    assert earlier.start < window.start
    if text == "previous":
        assert earlier.end <= window.start
        assert earlier.end == window.start or window.period is not None
