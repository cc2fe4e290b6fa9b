"""Periods of a zone's own calendar, also where its clocks jump."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gateway_metrics_mcp.errors import InvalidQueryError, Problem
from gateway_metrics_mcp.query.time.window import Window, read_window
from gateway_metrics_mcp.query.time.zone import FIXED, name_zone, shift_instant
from gateway_metrics_mcp.query.time.zone_rules import load_zone


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def read(words: str, zone: str, now: str = "2026-11-20T14:35:20") -> Window:
    return read_window(words, None, zone, now=utc(now))


BERLIN = "Europe/Berlin"  # +1, summer +2
KOLKATA = "Asia/Kolkata"  # +5:30
KATHMANDU = "Asia/Kathmandu"  # +5:45
LORD_HOWE = "Australia/Lord_Howe"  # +10:30, summer +11
SAO_PAULO = "America/Sao_Paulo"  # -3; until 2019 its summer time began and ended at midnight
APIA = "Pacific/Apia"  # had no 2011-12-30
NEW_YORK = "America/New_York"


@pytest.mark.parametrize(
    ("words", "zone", "start", "end"),
    [
        ("2026-07", BERLIN, "2026-06-30T22:00", "2026-07-31T22:00"),
        ("2026-03", BERLIN, "2026-02-28T23:00", "2026-03-31T22:00"),
        ("2026-10-25..2026-10-25", BERLIN, "2026-10-24T22:00", "2026-10-25T23:00"),
        ("2026-03-29..2026-03-29", BERLIN, "2026-03-28T23:00", "2026-03-29T22:00"),
        ("2026-03-29", BERLIN, "2026-03-28T23:00", "2026-03-29T22:00"),
        ("24 Oct 2026", KOLKATA, "2026-10-23T18:30", "2026-10-24T18:30"),
        ("last 7 days", BERLIN, "2026-11-12T23:00", "2026-11-19T23:00"),
        ("last 30 days", NEW_YORK, "2026-10-21T04:00", "2026-11-20T05:00"),
        ("yesterday", KOLKATA, "2026-11-18T18:30", "2026-11-19T18:30"),
        ("2026-Q3", KATHMANDU, "2026-06-30T18:15", "2026-09-30T18:15"),
        ("2026-10-04..2026-10-04", LORD_HOWE, "2026-10-03T13:30", "2026-10-04T13:00"),
        ("2026-04-05..2026-04-05", LORD_HOWE, "2026-04-04T13:00", "2026-04-05T13:30"),
        ("2018-11-03..2018-11-03", SAO_PAULO, "2018-11-03T03:00", "2018-11-04T03:00"),
        ("2018-11-04..2018-11-04", SAO_PAULO, "2018-11-04T03:00", "2018-11-05T02:00"),
        ("2018-02-17..2018-02-17", SAO_PAULO, "2018-02-17T02:00", "2018-02-18T03:00"),
        ("2011-12-29..2011-12-31", APIA, "2011-12-29T10:00", "2011-12-31T10:00"),
        ("2011-12", APIA, "2011-12-01T10:00", "2011-12-31T10:00"),
        ("2011-W52", APIA, "2011-12-26T10:00", "2012-01-01T10:00"),
        ("1970", "America/Los_Angeles", "1970-01-01T08:00", "1971-01-01T08:00"),
    ],
)
def test_a_period_follows_the_clocks_of_its_zone(
    words: str, zone: str, start: str, end: str
) -> None:
    window = read(words, zone)
    assert (window.start, window.end) == (utc(start), utc(end))
    assert window.zone == load_zone(zone)


@pytest.mark.parametrize(
    ("words", "zone", "now", "start"),
    [
        ("today", NEW_YORK, "2026-11-20T03:00", "2026-11-19T05:00"),
        ("today", "Pacific/Kiritimati", "2026-11-20T11:00", "2026-11-20T10:00"),
        ("this week", KOLKATA, "2026-11-15T19:00", "2026-11-15T18:30"),
        ("now/h", KATHMANDU, "2026-11-20T14:35:20", "2026-11-20T14:15"),
        ("now/h", KOLKATA, "2026-11-20T14:35:20", "2026-11-20T14:30"),
        ("now/d", BERLIN, "2026-11-20T23:30", "2026-11-20T23:00"),
        ("now-1d", BERLIN, "2026-03-29T10:00", "2026-03-28T11:00"),
        ("now-24h", BERLIN, "2026-03-29T10:00", "2026-03-28T10:00"),
        ("last 24 hours", BERLIN, "2026-03-29T10:00", "2026-03-28T10:00"),
        ("now-0d-1h", BERLIN, "2026-10-25T01:30", "2026-10-25T00:30"),
        ("now-1w", BERLIN, "2026-10-28T10:00", "2026-10-21T09:00"),
        ("now-1d/d+8h", BERLIN, "2026-03-30T10:00", "2026-03-29T07:00"),
        ("now-1M/M", LORD_HOWE, "2026-11-20T14:35:20", "2026-09-30T13:30"),
        ("2026-07-01", BERLIN, "2026-11-20T14:35:20", "2026-06-30T22:00"),
        ("2026-07-01T10:00", KOLKATA, "2026-11-20T14:35:20", "2026-07-01T04:30"),
        ("2026-07-01T10:00Z", KOLKATA, "2026-11-20T14:35:20", "2026-07-01T10:00"),
    ],
)
def test_a_start_follows_the_clocks_of_its_zone(
    words: str, zone: str, now: str, start: str
) -> None:
    assert read(words, zone, now).start == utc(start)


@pytest.mark.parametrize(
    ("local", "zone", "instant"),
    [
        ("2026-03-29T02:30", BERLIN, "2026-03-29T01:00"),
        ("2026-03-29T02:59:59.999999", BERLIN, "2026-03-29T01:00"),
        ("2026-10-04T02:15", LORD_HOWE, "2026-10-03T15:30"),
        ("2018-11-04", SAO_PAULO, "2018-11-04T03:00"),
        ("2011-12-30..", APIA, "2011-12-30T10:00"),
        ("2011-12-30T18:00", APIA, "2011-12-30T10:00"),
    ],
)
def test_a_time_the_clocks_skip_is_the_first_after_the_gap(
    local: str, zone: str, instant: str
) -> None:
    assert read(local, zone).start == utc(instant)


@pytest.mark.parametrize(
    ("local", "zone", "instant"),
    [
        ("2026-10-25T02:30", BERLIN, "2026-10-25T00:30"),
        ("2026-04-05T01:45", LORD_HOWE, "2026-04-04T14:45"),
        ("2018-02-17T23:30", SAO_PAULO, "2018-02-18T01:30"),
        ("2025-11-02", "America/Havana", "2025-11-02T04:00"),
    ],
)
def test_a_time_the_clocks_show_twice_is_the_first(local: str, zone: str, instant: str) -> None:
    assert read(local, zone).start == utc(instant)


def test_now_in_a_repeated_hour_is_kept_apart_from_the_first_one() -> None:
    window = read("now/h", BERLIN, "2026-10-25T01:30")
    assert window.start == utc("2026-10-25T01:00")


@pytest.mark.parametrize(
    ("words", "now"),
    [
        ("2011-12-30..2011-12-30", "2026-11-20T14:35:20"),
        ("2011-12-30", "2026-11-20T14:35:20"),
        ("yesterday", "2011-12-31T05:00"),
    ],
)
def test_a_day_that_never_was_is_refused(words: str, now: str) -> None:
    with pytest.raises(InvalidQueryError) as caught:
        read(words, APIA, now)
    assert caught.value.problems == (
        Problem("startTs", f'"{words}" is empty: the clocks of Pacific/Apia skipped it'),
    )


def test_a_local_midnight_is_an_end_as_well() -> None:
    window = read_window("2018-11-03", "2018-11-04", SAO_PAULO, now=utc("2018-12-01T00:00"))
    assert window.end == utc("2018-11-04T03:00")
    rounded = read_window("now-1M", "now-1d/d", SAO_PAULO, now=utc("2018-11-04T12:00"))
    assert rounded.end == utc("2018-11-04T03:00")


def test_the_calendar_period_before_is_one_shift_away() -> None:
    window = read("2026-04", BERLIN)
    zone = window.zone
    assert window.period is not None
    moved = [
        shift_instant(instant, window.period.unit, -window.period.count, zone)
        for instant in (window.start, window.end)
    ]
    assert moved == [utc("2026-02-28T23:00"), utc("2026-03-31T22:00")]


def test_a_day_without_midnight_is_shifted_as_if_it_had_one() -> None:
    zone = load_zone(SAO_PAULO)
    first = utc("2018-11-04T03:00")  # 01:00 there
    assert shift_instant(first, "day", -1, zone) == utc("2018-11-03T03:00")
    assert shift_instant(first, "day", 1, zone) == utc("2018-11-05T02:00")


@pytest.mark.parametrize(
    "name",
    ["UTC", "utc", " UTC ", "Etc/UTC", "GMT", "gmt", "GB", "W-SU", "europe/berlin", "NZ", "japan"],
)
def test_a_name_of_the_database_is_taken(name: str) -> None:
    assert read("today", name).zone.key.upper().strip() == name.upper().strip()


@pytest.mark.parametrize(
    ("name", "zone"),
    [
        ("Z", "UTC"),
        ("z", "UTC"),
        ("zulu", "UTC"),
        ("UTC+0", "UTC"),
        ("+00:00", "UTC"),
        ("Berlin", "Europe/Berlin"),
        ("new york", "America/New_York"),
        ("New_York", "America/New_York"),
        ("kolkata", "Asia/Kolkata"),
    ],
)
def test_another_name_of_one_zone_is_taken(name: str, zone: str) -> None:
    window = read("2026-07-01", name)
    assert (window.zone.key, window.notes) == (zone, ())


@pytest.mark.parametrize(
    ("offset", "start"),
    [
        ("+02:00", "2026-06-30T22:00"),
        ("UTC+2", "2026-06-30T22:00"),
        ("GMT+02", "2026-06-30T22:00"),
        ("-0500", "2026-07-01T05:00"),
        ("UTC-5", "2026-07-01T05:00"),
        ("+14", "2026-06-30T10:00"),
    ],
)
def test_an_offset_in_whole_hours_is_a_zone_and_said(offset: str, start: str) -> None:
    window = read("2026-07-01", offset)
    assert window.start == utc(start)
    key = window.zone.key
    assert window.notes == (f'"{offset}" is the zone {key}: this offset all year',)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Europe/Belrin", "Did you mean Europe/Berlin?"),
        ("Mumbai", '"Mumbai" is not a known time zone. Give'),
        ("India", '"India" is not a known time zone. Give'),
        ("default", '"default" is not a known time zone. Give'),
        ("Amerika/New_York", "Did you mean America/New_York?"),
        ("PST", 'Did you mean "America/Los_Angeles"?'),
        ("EST", 'Did you mean "America/New_York"?'),
        ("cet", 'Did you mean "Europe/Berlin"?'),
        ("local", "is not a time zone: your local zone is unknown here"),
        ("localtime", "is not a time zone: your local zone is unknown here"),
        ("+05:30", 'is an offset, not a time zone. Did you mean "Asia/Kolkata"?'),
        ("UTC+5:45", 'Did you mean "Asia/Kathmandu"?'),
        ("+02:10", "is an offset, not a time zone. Give"),
        ("Louisville", "Did you mean America/Kentucky/Louisville or America/Louisville?"),
        ("system", "is not a time zone: your local zone is unknown here"),
        ("GMT+15", "is an offset, not a time zone"),
        ("America", "is not a known time zone"),
        ("Factory", "is not a known time zone"),
        ("right/UTC", "is not a known time zone"),
        ("../etc/passwd", "is not a known time zone"),
        ("/etc/passwd", "is not a known time zone"),
        ("Europe/../UTC", "is not a known time zone"),
        ("tzdata.zi", "is not a known time zone"),
        ("", "is not a known time zone"),
        ("Europe/Ber\x00lin", "\\u0000"),
        ("x" * 65, "longer than 64 characters"),
    ],
)
def test_any_other_zone_is_refused_with_a_hint(name: str, hint: str) -> None:
    with pytest.raises(InvalidQueryError) as caught:
        read("today", name)
    (problem,) = caught.value.problems
    assert problem.place == "timezone"
    assert hint in problem.message
    assert "Give an IANA name" in problem.message
    assert problem.message.isprintable()


def test_a_zone_that_is_no_text_is_refused() -> None:
    with pytest.raises(InvalidQueryError, match="timezone: expected text, got 2"):
        read_window("today", None, 2, now=utc("2026-11-20T14:35:20"))


@pytest.mark.parametrize(("tz", "zone"), [("Asia/Tokyo", "Asia/Tokyo"), (":GB", "GB")])
def test_the_zone_of_the_machine_is_that_of_tz(
    monkeypatch: pytest.MonkeyPatch, tz: str, zone: str
) -> None:
    monkeypatch.setenv("TZ", tz)
    assert [name_zone(name) for name in ("local", "Localtime", "UTC")] == [zone, zone, "UTC"]


def test_a_machine_whose_zone_has_no_name_is_told_to_give_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    with pytest.raises(ValueError, match="zone of this machine has no name here"):
        name_zone("local")


def test_the_zones_that_stand_for_an_offset_have_it_all_year() -> None:
    for offset, name in FIXED.items():
        hours, minutes = offset[1:].split(":")
        ahead = timedelta(hours=int(hours), minutes=int(minutes))
        for month in range(1, 13):
            instant = datetime(2026, month, 1, tzinfo=load_zone(name))
            assert instant.utcoffset() == (ahead if offset[0] == "+" else -ahead)
