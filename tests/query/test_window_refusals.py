"""Times that are refused, and the correction each refusal holds."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from gateway_metrics_mcp.errors import InvalidQueryError, Problem
from gateway_metrics_mcp.query.time.window import ENDS, STARTS, read_window

NOW = datetime(2026, 11, 20, 14, 35, 20, tzinfo=UTC)


def refuse(start_ts: object, end_ts: object = None, timezone: object = None) -> list[Problem]:
    with pytest.raises(InvalidQueryError) as caught:
        read_window(start_ts, end_ts, timezone, now=NOW)
    return list(caught.value.problems)


SLIPS = [
    ("lst 7 days", "last 7 days"),
    ("last 7 dyas", "last 7 days"),
    ("last sevn days", "last seven days"),
    ("this mnth", "this month"),
    ("yestrday", "yesterday"),
    ("last 7 dayz", "last 7 days"),
    ("last 1 weekz", "last 1 week"),
    ("2026-07-01T24:00", "2026-07-02T00:00"),
    ("2026-07-15..2026-07-01", "2026-07-01..2026-07-15"),
    ("2026-09..2026-07", "2026-07..2026-09"),
    ("2026-07-02..2026-07-01", "2026-07-01..2026-07-02"),
]


@pytest.mark.parametrize(("text", "meant"), SLIPS)
def test_a_slip_is_answered_with_what_was_meant(text: str, meant: str) -> None:
    (problem,) = refuse(text)
    assert problem.place == "startTs"
    assert f'Did you mean "{meant}"?' in problem.message
    assert f'"{text}"' in problem.message


@pytest.mark.parametrize(("_", "meant"), SLIPS)
def test_what_was_meant_can_be_asked(_: str, meant: str) -> None:
    window = read_window(meant, None, None, now=NOW)
    assert window.start < window.end


@pytest.mark.parametrize(
    "text",
    [
        "gibberish",
        "..",
        "last days",
        "00:00",
        "2026-07-01Z",
        "01/07/26",
        "last weekdays",
        "last 5 weekdays",
        "last fortnight",
        "last 3 Fridays",
        "last 2 mornings",
        "past 3 Mondays",
        "last night",
        "last decade",
        "this weekend",
        "first half of 2026",
        "end of last month",
        "last 7 days of October",
        "last 7 business days",
        "before 2026-07-01",
        "Nov 1 to Nov 15 2026",
        "2026-07-01..2026-07-02..2026-07-03",
        "mon",
        "\U0001d7d5 days",
        "now-7",
    ],
)
def test_text_that_resembles_nothing_is_answered_with_what_is_allowed(text: str) -> None:
    assert refuse(text) == [Problem("startTs", f'"{text}" is not a known time. {STARTS}')]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "missing"),
        ("", "the text is empty"),
        (" \n ", "the text is empty"),
        (True, "expected text, got True"),
        (["today"], "expected text, got ['today']"),
        (float("nan"), "expected text, got nan"),
        (float("inf"), "expected text, got inf"),
        (2026, "2026 is a number, not text"),
        (1_782_864_000, '1782864000 is an epoch number, in seconds "2026-07-01T00:00Z"'),
        (1_782_864_000.5, '1782864000.5 is an epoch number, in seconds "2026-07-01T00:00Z"'),
        ("1782864000", '"1782864000" is an epoch number, in seconds "2026-07-01T00:00Z"'),
        (
            "1782864000000",
            '"1782864000000" is an epoch number, in milliseconds "2026-07-01T00:00Z"',
        ),
        ("x" * 65, "65 characters, the limit of a time is 64"),
        ("\x1b[31m", '"\\u001b[31m" is not a known time'),
        ("tomorrow", '"tomorrow" is in the future, where there is no data'),
        ("tommorow", '"tommorow" is in the future, where there is no data'),
        ("next week", '"next week" is in the future, where there is no data'),
        ("now", '"now", 2026-11-20T14:35:20Z, is now: the window would be empty'),
        (
            "2026-12",
            '"2026-12", 2026-12-01T00:00Z, is in the future: now is 2026-11-20T14:35:20Z',
        ),
        (
            "now+1h",
            '"now+1h", 2026-11-20T15:35:20Z, is in the future: now is 2026-11-20T14:35:20Z',
        ),
    ],
)
def test_a_start_is_refused_with_the_reason_and_what_is_allowed(value: object, reason: str) -> None:
    assert refuse(value) == [Problem("startTs", f"{reason}. {STARTS}")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("last 0 days", 'is empty: the minimum is 1, such as "last 1 day"'),
        ("2026-13", "is not a month: months are 01 to 12"),
        ("2026-00", "is not a month: months are 01 to 12"),
        ("2026-W54", "is not a week: 2026 has W01 to W53"),
        ("2025-W53", "is not a week: 2025 has W01 to W52"),
        ("2026-Q5", "is not a quarter: quarters are Q1 to Q4"),
        ("2026-02-30", "is not a date: 2026-02 has 28 days"),
        ("2026-02-30..2026-03-01", "is not a date: 2026-02 has 28 days"),
        ("2026-13-01", "is not a date: months are 01 to 12, in the middle"),
        ("0000-01-01", "is not a date: there is no year 0000"),
        ("2026-07-01T25:00", "hours are 00 to 23, minutes and seconds 00 to 59"),
        ("2026-06-30T23:59:60Z", "hours are 00 to 23, minutes and seconds 00 to 59"),
        ("2026-07-01T10:00+15:00", "has no such offset: its hours are 00 to 14"),
        ("2026-07-01T10:00+01:60", "has no such offset"),
        ("now/fQ", "fiscal units are not supported"),
        ("now-1fy/fy", "fiscal units are not supported"),
        ("now-1x", 'unknown unit "x". Allowed: s (second), m (minute), h (hour)'),
        ("now/2d", 'rounding takes one unit, such as "/d"'),
    ],
)
def test_a_time_that_is_no_time_is_refused_with_the_reason(text: str, reason: str) -> None:
    (problem,) = refuse(text)
    assert reason in problem.message


@pytest.mark.parametrize(
    "text",
    [
        "1969",
        "1960-05",
        "3000",
        "9999-12-31",
        "0001-01-01T00:00+10:00",
        "1970-01-01T00:00+10:00",
        "2999-12-31T23:00-10:00",
        "last 99999999 days",
        "last 9999999999999999999999 hours",
        "last 9999999999999999999999 years",
        "now-5000y",
        "now-99999999999999999999s",
        "now-99999999999999999999M",
        "1969-01-01..1971-01-01",
    ],
)
def test_only_the_years_1970_to_2999_can_be_asked(text: str) -> None:
    assert refuse(text) == [Problem("startTs", f'"{text}" is outside the years 1970 to 2999')]


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("last 7 days", "2026-11-13T00:00Z", "2026-11-20T00:00Z"),
        ("last month", "2026-10-01T00:00Z", "2026-11-01T00:00Z"),
        ("this week", "2026-11-16T00:00Z", "2026-11-23T00:00Z"),
        ("2026-07-01..2026-07-15", "2026-07-01T00:00Z", "2026-07-16T00:00Z"),
    ],
)
def test_a_stretch_of_time_is_no_end(text: str, start: str, end: str) -> None:
    (problem,) = refuse("2026-07-01", text)
    assert problem.place == "endTs"
    assert f"is a period, from {start} to {end}" in problem.message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the text is empty"),
        ("tomorrow", '"tomorrow" is in the future, where there is no data'),
        ("lst 7 days", '"lst 7 days" is not a known time'),
    ],
)
def test_an_end_is_refused_with_the_forms_of_an_end(text: str, reason: str) -> None:
    (problem,) = refuse("2026-07-01", text)
    assert problem.place == "endTs"
    assert problem.message.startswith(reason)
    assert problem.message.endswith(ENDS)


@pytest.mark.parametrize(
    ("start", "end", "correction"),
    [
        ("2026-07-01", "2026-07-01", 'leaves that day out. Did you mean "2026-07-02"?'),
        ("2026-07-01T08:00", "2026-07-01", 'leaves that day out. Did you mean "2026-07-02"?'),
        ("2026-07-02", "2026-07-01", 'swap them? startTs "2026-07-01", endTs "2026-07-02"'),
        ("2026-07-15", "2026-07-01", 'swap them? startTs "2026-07-01", endTs "2026-07-15"'),
        ("now-1d", "now-2d", 'Did you swap them? startTs "now-2d", endTs "now-1d"'),
        ("2026-07", "2026-07", 'Leave endTs out: "2026-07" alone is the whole period'),
        ("today", "today", 'Leave endTs out: "today" alone is the whole period'),
        ("2026-07", "2026-06", "Give a later one or leave it out"),
        ("now-1d", "now-1d", "Give a later one or leave it out"),
    ],
)
def test_an_end_that_is_not_after_the_start_is_refused_with_the_correction(
    start: str, end: str, correction: str
) -> None:
    (problem,) = refuse(start, end)
    assert problem.place == "endTs"
    assert "is not after startTs" in problem.message
    assert problem.message.endswith(correction)


def test_every_problem_is_told_at_once() -> None:
    problems = refuse("lst 7 days", "lst day", "Europe/Belrin")
    assert [problem.place for problem in problems] == ["timezone", "startTs", "endTs"]


def test_a_wrong_zone_is_not_blamed_on_the_times() -> None:
    assert [problem.place for problem in refuse("2027-01-01", "2026-01-01", "x")] == ["timezone"]


def test_a_start_in_the_future_is_not_blamed_on_the_end() -> None:
    assert [problem.place for problem in refuse("2027-01-01", "2026-01-01")] == ["startTs"]


def test_the_present_day_is_empty_at_midnight() -> None:
    midnight = NOW.replace(hour=0, minute=0, second=0)
    with pytest.raises(InvalidQueryError, match="is now: the window would be empty"):
        read_window("today", None, None, now=midnight)


def test_a_default_zone_that_is_none_is_refused_like_any_other() -> None:
    with pytest.raises(InvalidQueryError, match="timezone: "):
        read_window("today", None, None, now=NOW, default_zone="Mars")


@pytest.mark.parametrize(
    ("words", "whole", "rolling"),
    [
        ("past week", "last week", "now-1w"),
        ("the past month", "last month", "now-1M"),
        ("past year", "last year", "now-1y"),
    ],
)
def test_past_without_a_number_is_ambiguous(words: str, whole: str, rolling: str) -> None:
    (problem,) = refuse(words)

    assert f'"{whole}" is the whole' in problem.message
    assert f'"{rolling}" the time up to now' in problem.message


@pytest.mark.parametrize(
    ("text", "one", "other"),
    [
        ("01.11.2026", "2026-11-01", "2026-01-11"),
        ("01/11/2026", "2026-11-01", "2026-01-11"),
        ("01-11-2026", "2026-11-01", "2026-01-11"),
        ("Friday", "today", "2026-11-13"),  # it is one
        ("since Friday", "today..", "2026-11-13.."),
        ("7 days", "last 7 days", "now-7d"),
        ("1 week", "last 1 week", "now-1w"),
        ("7 days ago", "now-7d", "now-7d/d..now-7d/d"),
        ("2 weeks ago", "now-2w", "now-2w/d..now-2w/d"),
    ],
)
def test_what_can_mean_two_things_is_refused_with_both(text: str, one: str, other: str) -> None:
    (problem,) = refuse(text)

    assert "can mean two things" in problem.message
    assert f'Did you mean "{one}" or "{other}"?' in problem.message
    for meant in (one, other):
        assert read_window(meant, None, None, now=NOW).start < NOW


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("..2026-07-01", 'has no start. For all data up to then give "1970-01-01..2026-07-01"'),
        ("2026-07-01T10:00..2026-07-01T10:00", "is empty: it ends where it starts"),
        ("31 Nov 2026", '"2026-11-31" is not a date: 2026-11 has 30 days'),
        ("this Sunday", '"this Sunday", 2026-11-22T00:00Z, is in the future'),
        ("2027-01-01..", "is in the future: now is 2026-11-20T14:35:20Z"),
        ("next Friday", "is in the future, where there is no data"),
    ],
)
def test_a_day_that_cannot_be_asked_is_refused_with_the_reason(text: str, said: str) -> None:
    (problem,) = refuse(text)
    assert said in problem.message


# Each refusal's suggestion, if it has one, names the window that was meant.
@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("24 Nov 2025", ("2025-11-24", "2025-11-25")),
        ("2025/11/24", ("2025-11-24", "2025-11-25")),
        ("20251124", ("2025-11-24", "2025-11-25")),
        ("Mon 24 Nov 2025", ("2025-11-24", "2025-11-25")),
        ("24-Nov-2025", ("2025-11-24", "2025-11-25")),
        ("24th of November 2025", ("2025-11-24", "2025-11-25")),
        ("Novembr 2025", ("2025-11-01", "2025-12-01")),
        ("24 Novembr 2025", ("2025-11-24", "2025-11-25")),
    ],
)
def test_no_day_becomes_another_window(text: str, window: tuple[str, str]) -> None:
    try:
        found = read_window(text, None, None, now=NOW)
    except InvalidQueryError as error:
        (problem,) = error.problems
        meant = re.search(r'Did you mean "([^"]+)"', problem.message)
        if meant is None:
            return
        found = read_window(meant[1], None, None, now=NOW)
    assert tuple(f"{one:%Y-%m-%d}" for one in (found.start, found.end)) == window
