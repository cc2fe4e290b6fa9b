"""Local days are labelled by their own dates, and a day that is not over is marked."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_metrics_mcp.rendering.answer import write_answer
from gateway_metrics_mcp.rendering.document import estimate_tokens
from gateway_metrics_mcp.rendering.report_document import describe_report
from gateway_metrics_mcp.reports.report import Report

MakeAsked = Callable[..., Report]

ZONES: Final = ("Europe/Berlin", "Asia/Kathmandu", "America/New_York", "Africa/Cairo")
LABEL: Final = re.compile(r"(\d{4}(?:-\d{2}(?:-\d{2})?)?)( \(partial\))?")


def row(start: str, zone: str, **values: Any) -> dict[str, Any]:
    """A row of the bucket that starts with the local date."""
    local = datetime.combine(date.fromisoformat(start), datetime.min.time(), ZoneInfo(zone))
    return {"startTimestamp": local.isoformat(), **values}


def asked_of(make_asked: MakeAsked, start: str, interval: str, zone: str, **more: Any) -> Report:
    """July in the zone, with a row for its first day."""
    question = {"startTs": start, "interval": interval, "timezone": zone, **more}
    return make_asked([row("2026-07-01", zone, total=4)], question)


@pytest.mark.parametrize("zone", ZONES)
def test_days_are_labelled_by_the_local_date(make_asked: MakeAsked, zone: str) -> None:
    text = write_answer(
        describe_report(asked_of(make_asked, "2026-07-01..2026-07-03", "1 day", zone)), 4000
    ).text

    lines = text.split("\n")
    assert lines[0].endswith(f" | 3 buckets of 1 day, labelled by start, {zone}")
    assert "# 2 of 3 buckets had no rows at all" in lines
    assert lines[-3:] == ["2026-07-01|4", "2026-07-02|0", "2026-07-03|0"]
    assert "UTC" not in text.replace(lines[0], "")


def test_days_keep_their_dates_where_clocks_change(make_asked: MakeAsked) -> None:
    zone, window = "Europe/Berlin", "2026-03-28..2026-03-30"
    rows = [row(f"2026-03-{day}", zone, total=day) for day in (28, 29, 30)]
    asked = make_asked(rows, {"startTs": window, "interval": "1 day", "timezone": zone})

    assert write_answer(describe_report(asked), 4000).text.endswith(
        "2026-03-28|28\n2026-03-29|29\n2026-03-30|30"
    )


@pytest.mark.parametrize(
    ("start", "interval", "labels"),
    [
        ("2026-06-29..2026-07-12", "1 week", ["2026-06-29", "2026-07-06"]),
        ("2026-06-01..2026-07-02", "1 month", ["2026-06", "2026-07 (partial)"]),
        ("2026-06-20..2026-07-02", "1 month", ["2026-06 (partial)", "2026-07 (partial)"]),
        ("2025-01-01..2026-07-14", "1 year", ["2025", "2026 (partial)"]),
        ("this month", "1 week", ["2026-06-29 (partial)", "2026-07-06", "2026-07-13 (partial)"]),
        ("2026-07-14T12:00", "1 day", ["2026-07-14 (partial)", "2026-07-15 (partial)"]),
        ("today", "1 day", ["2026-07-15 (partial)"]),
        ("now-3h", "1 day", ["2026-07-15 (partial)"]),
    ],
)
def test_labels_are_as_long_as_needed_and_marked_where_partial(
    make_asked: MakeAsked, start: str, interval: str, labels: list[str]
) -> None:
    first = labels[0].removesuffix(" (partial)")
    first += "-01" * (2 - first.count("-"))
    asked = make_asked(
        [row(first, "Europe/Berlin", total=1)],
        {"startTs": start, "interval": interval, "timezone": "Europe/Berlin"},
    )

    text = write_answer(describe_report(asked), 4000).text

    assert [line.split("|")[0] for line in text.split("\n---|---\n")[1].split("\n")] == labels
    assert ("bucket is partial" in text) == any(label.endswith("(partial)") for label in labels)


def test_a_program_gets_the_local_days(make_asked: MakeAsked) -> None:
    asked = asked_of(make_asked, "2026-07-01..2026-07-02", "1 day", "Asia/Kolkata", format="json")

    body = json.loads(write_answer(describe_report(asked), 4000).text)

    assert body["columns"] == ["startTimestamp", "total"]
    assert body["rows"] == [["2026-07-01T00:00:00.000+05:30", 4]]
    assert [note for note in body["notes"] if "UTC" in note or "partial" in note] == []


@given(
    zone=st.sampled_from(ZONES),
    days=st.integers(2, 300),
    hours=st.integers(0, 23),
    series=st.integers(1, 4),
    budget=st.sampled_from([500, 900, 2000]),
)
def test_following_the_last_line_gives_every_day_once(
    make_asked: MakeAsked, zone: str, days: int, hours: int, series: int, budget: int
) -> None:
    first = date(2025, 7, 1)
    dates = [first + timedelta(days=day) for day in range(days)]
    rows = [
        row(f"{day}", zone, modelName=f"m{n}", total=9_000 + n)
        for day in dates
        for n in range(series)
    ]
    end = datetime.combine(dates[-1], datetime.min.time()) + timedelta(hours=hours or 24)
    arguments: dict[str, Any] = {
        "startTs": f"{first}",
        "endTs": end.isoformat(),
        "interval": "1 day",
        "timezone": zone,
        "groupBy": ["modelName"],
    }
    seen: list[str] = []

    while len(seen) < days:
        left = rows[len(seen) * series :]
        text = write_answer(describe_report(make_asked(left, arguments)), budget).text
        assert estimate_tokens(text) <= budget
        table = text.split("\n## total\n")[1].split("\n")[2:]
        seen += [line.split("|")[0] for line in table if not line.startswith("#")]
        following = re.search(r"startTs=(\S+), endTs=(\S+), interval=1 day", text)
        if following is not None:
            arguments |= {"startTs": following[1], "endTs": following[2]}

    matches = [LABEL.fullmatch(label) for label in seen]
    assert [match and match[1] for match in matches] == [f"{day}" for day in dates]
    marked = [match[1] for match in matches if match and match[2]]
    assert marked == ([f"{dates[-1]}"] if hours else [])
