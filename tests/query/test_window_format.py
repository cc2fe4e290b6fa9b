"""A window as the header of an answer shows it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gateway_metrics_mcp.query.time.window import format_window, read_window

NOW = "2026-11-20T14:35:20"


def show(start: str, end: str | None = None, zone: str = "UTC", now: str = NOW) -> str:
    instant = datetime.fromisoformat(now).replace(tzinfo=UTC)
    return format_window(read_window(start, end, zone, now=instant))


def test_whole_days_of_utc_are_shown_without_a_zone() -> None:
    assert show("last 7 days") == "2026-11-13T00:00Z to 2026-11-20T00:00Z (7 days)"


def test_another_zone_is_named() -> None:
    assert show("yesterday", zone="Asia/Kolkata") == (
        "2026-11-18T18:30Z to 2026-11-19T18:30Z (1 day, Asia/Kolkata)"
    )


def test_seconds_are_shown_where_there_are_some() -> None:
    assert show("last hour") == "2026-11-20T13:35:20Z to 2026-11-20T14:35:20Z (1 h)"
    assert show("2026-11-20T14:00:00.250Z", "2026-11-20T14:10") == (
        "2026-11-20T14:00:00.25Z to 2026-11-20T14:10Z (about 9 min 59 s)"
    )


@pytest.mark.parametrize(
    ("start", "end", "length"),
    [
        ("2026-07-01", "2026-07-02", "1 day"),
        ("2026-07-01T06:30", "2026-07-02T06:30", "1 day"),
        ("2026-07-01T00:00", "2026-07-01T06:30", "6 h 30 min"),
        ("2026-07-01T00:00", "2026-07-02T12:00", "36 h"),
        ("2026-07-01T00:00", "2026-07-03T12:00", "2 days 12 h"),
        ("2026-07-01T00:00", "2026-07-03T12:05", "about 2 days 12 h"),
        ("2026-07-01T00:00", "2026-07-03T00:05", "about 2 days"),
        ("2026-07-01T00:00", "2026-07-01T00:05", "5 min"),
        ("2026-07-01T00:00", "2026-07-01T00:05:30", "5 min 30 s"),
        ("2026-07-01T00:00", "2026-07-01T01:00:30", "about 1 h"),
        ("2026-07-01T00:00", "2026-07-01T00:00:45", "45 s"),
        ("2026-07-01T00:00", "2026-07-01T00:00:00.5", "under 1 s"),
        ("2026-01-01", "2026-07-01", "181 days"),
    ],
)
def test_the_length_is_told_in_its_two_largest_units(start: str, end: str, length: str) -> None:
    assert show(start, end).partition("(")[2] == f"{length})"


@pytest.mark.parametrize(
    ("words", "zone", "now", "length"),
    [
        ("last 7 days", "Europe/Berlin", "2026-03-31T10:00", "7 days"),  # 167 hours
        ("last 7 days", "Europe/Berlin", "2026-10-28T10:00", "7 days"),  # 169 hours
        ("now-1d", "Europe/Berlin", "2026-03-29T10:00", "1 day"),  # 23 hours
        ("last 24 hours", "Europe/Berlin", "2026-03-29T10:00", "24 h"),
        ("this month", "Europe/Berlin", "2026-03-30T10:00", "29 days 12 h"),
        ("2026-10-04..2026-10-04", "Australia/Lord_Howe", NOW, "1 day"),  # 23.5 hours
        ("2018-11-04..2018-11-04", "America/Sao_Paulo", NOW, "1 day"),  # from 01:00
        ("2018-11-04..2018-11-10", "America/Sao_Paulo", NOW, "7 days"),
    ],
)
def test_days_are_the_days_of_the_zone(words: str, zone: str, now: str, length: str) -> None:
    assert show(words, zone=zone, now=now).partition("(")[2] == f"{length}, {zone})"
