"""What holds for every time that can be asked, and for every text that cannot."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from gateway_metrics_mcp.errors import InvalidQueryError
from gateway_metrics_mcp.query.time.window import Window, format_window, read_window
from gateway_metrics_mcp.query.time.zone import CALENDAR_UNITS, CalendarUnit, resolve_local

ZONES = st.sampled_from(
    [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "America/Sao_Paulo",
        "America/Havana",
        "America/Goose_Bay",
        "America/Nuuk",
        "Asia/Kathmandu",
        "Asia/Beirut",
        "Africa/Cairo",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Pacific/Kiritimati",
    ]
)
NOWS = st.datetimes(
    min_value=datetime(2005, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(2035, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    timezones=st.just(UTC),
)
COUNTS = st.integers(1, 400)
UNITS = st.sampled_from(["second", "minute", "hour", *CALENDAR_UNITS])
LETTERS = st.sampled_from("smhdwMQy")
TERMS = st.one_of(
    st.builds("-{}{}".format, COUNTS, LETTERS),
    st.builds("+{}{}".format, COUNTS, LETTERS),
    st.builds("/{}".format, LETTERS),
)
MATHS = st.builds(lambda terms: "now" + "".join(terms), st.lists(TERMS, max_size=4))
DATES = st.dates().map(str)
PHRASES = st.one_of(
    st.builds("{} {} {}s".format, st.sampled_from(["last", "past", "Previous"]), COUNTS, UNITS),
    st.builds("{} {}".format, st.sampled_from(["last", "this"]), UNITS),
    st.sampled_from(["today", "yesterday", "now"]),
    MATHS,
    DATES,
    st.datetimes().map(str),
    st.datetimes().map(lambda time: f"{time.isoformat()}Z"),
    st.builds("{}..{}".format, DATES, DATES),
    st.builds("{:04}-{:02}".format, st.integers(1960, 2040), st.integers(0, 14)),
    st.builds("{:04}-W{:02}".format, st.integers(1960, 2040), st.integers(0, 55)),
    st.builds("{:04}-Q{}".format, st.integers(1960, 2040), st.integers(0, 5)),
)


def try_to_read(start: object, end: object, zone: object, now: datetime) -> Window | None:
    try:
        return read_window(start, end, zone, now=now)
    except InvalidQueryError as error:
        problems = error.problems
    assert problems
    for problem in problems:
        assert problem.place in ("startTs", "endTs", "timezone")
        assert problem.message.isprintable()
    return None


@given(PHRASES, st.none() | PHRASES, ZONES, NOWS)
def test_a_window_is_never_empty_and_never_ends_after_now(
    start: str, end: str | None, zone: str, now: datetime
) -> None:
    window = try_to_read(start, end, zone, now)
    if window is not None:
        whole_now = now.replace(microsecond=0)
        assert window.start < window.end <= whole_now
        assert window.is_to_now == (window.end == whole_now)
        assert window.start.tzinfo is UTC
        assert window.end.tzinfo is UTC
        assert format_window(window).isprintable()


@given(
    st.text() | st.none() | st.integers() | st.floats() | st.booleans() | st.lists(st.text()),
    st.text() | st.none() | st.integers(),
    st.text() | st.none() | st.integers(),
    NOWS,
)
def test_nothing_but_a_refusal_comes_of_any_value(
    start: object, end: object, zone: object, now: datetime
) -> None:
    try_to_read(start, end, zone, now)


@given(
    st.text("0123456789now-+/dMyQWqsfh:.TZ last7tohiymnk", max_size=30),
    st.text("0123456789now-+/dMyQWqsfh:.TZ last7tohiymnk", max_size=30),
    st.text("ABCUTCEuropeBrlin/_+-0123456789.", max_size=20),
    NOWS,
)
def test_nothing_but_a_refusal_comes_of_text_that_looks_like_a_time(
    start: str, end: str, zone: str, now: datetime
) -> None:
    try_to_read(start, end, None, now)
    try_to_read("now-1h", None, zone, now)


@given(ZONES, NOWS, st.integers(1, 10_000))
def test_clock_units_are_absolute(zone: str, now: datetime, count: int) -> None:
    window = read_window(f"now-{count}h", None, zone, now=now)
    assert window.end - window.start == timedelta(hours=count)
    assert window == read_window(f"last {count} hours", None, zone, now=now)


@given(ZONES, NOWS, st.sampled_from(CALENDAR_UNITS), st.integers(1, 30))
def test_the_last_units_are_grafanas_rounded_ones(
    zone: str, now: datetime, unit: CalendarUnit, count: int
) -> None:
    letter = {"month": "M", "quarter": "Q"}.get(unit, unit[0])
    words = try_to_read(f"last {count} {unit}s", None, zone, now)
    maths = try_to_read(f"now/{letter}-{count}{letter}", f"now-1{letter}/{letter}", zone, now)
    if words is not None and maths is not None:
        assert (words.start, words.end) == (maths.start, maths.end)


@given(ZONES, NOWS)
def test_consecutive_days_meet_without_a_gap(zone: str, now: datetime) -> None:
    day = now.date()
    later = now + timedelta(days=9)
    first = try_to_read(f"{day}..{day}", None, zone, later)
    following = day + timedelta(days=1)
    second = try_to_read(f"{following}..{following}", None, zone, later)
    if first is not None and second is not None:
        assert first.end == second.start


@given(ZONES, NOWS)
def test_an_instant_survives_the_way_through_its_local_time(zone: str, now: datetime) -> None:
    local = now.astimezone(ZoneInfo(zone))
    instant = resolve_local(local)
    if local.fold == 0:
        assert instant == now
    else:
        assert timedelta(0) < now - instant <= timedelta(days=1)
