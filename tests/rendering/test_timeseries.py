"""A timeseries reads as rows of buckets; every bucket of the window has its row."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_metrics_mcp.rendering.answer import write_answer
from gateway_metrics_mcp.rendering.report_document import describe_report
from gateway_metrics_mcp.reports.report import Report

Ask = Callable[..., Awaitable[str]]
MakeAsked = Callable[..., Report]

SCOPE: Final = "models only, virtual-model rows excluded | counts model calls, retries included"
DAY: Final = {"startTs": "2026-07-01", "endTs": "2026-07-02", "interval": "6 hours"}
DAY_SPAN: Final = "2026-07-01T00:00Z to 2026-07-02T00:00Z (1 day)"
LABELS: Final = "labelled by start, UTC; HH:MM rows belong to the date above"
START: Final = datetime(2026, 7, 1, tzinfo=UTC)


def at(hours: float, **values: Any) -> dict[str, Any]:
    """A row of the bucket that starts so long after the first of July."""
    start = START + timedelta(hours=hours)
    return {"startTimestamp": start.isoformat(), **values}


def labels_of(text: str) -> list[str]:
    """The first cells of the first block."""
    lines = text.split("\n")
    first = next(i for i, line in enumerate(lines) if line.startswith("---")) + 1
    rows = []
    for line in lines[first:]:
        if line.startswith("#"):
            break
        rows.append(line.split("|")[0])
    return rows


async def test_ungrouped_it_is_one_line_per_bucket(ask: Ask) -> None:
    rows = [
        at(0, total=4, sumCostInUSD=12.345, p50LatencyMs=100, countDistinctModelName=2),
        at(18, total=1, sumCostInUSD=None, p50LatencyMs=7, countDistinctModelName=1),
    ]
    values = ["sum costInUSD", "p50 latencyMs", "countDistinct modelName"]

    text = await ask(rows, {**DAY, "aggregations": values})

    assert text == (
        f"# modelMetrics timeseries | {DAY_SPAN} | {SCOPE} | 4 buckets of 6 hours, {LABELS}\n"
        "# decimals rounded (format exact: all digits)\n"
        "# 2 of 4 buckets had no rows at all\n"
        "time|total|sumCostInUSD|p50LatencyMs|countDistinctModelName\n"
        "---|---|---|---|---\n"
        "2026-07-01 00:00|4|12.35|100|2\n"
        "06:00|0|0|null|0\n"
        "12:00|0|0|null|0\n"
        "18:00|1|null|7|1"
    )


async def test_grouped_it_is_one_block_per_value(ask: Ask) -> None:
    rows = [
        at(hour, modelName=name, total=n, sumCostInUSD=n * 2, p99LatencyMs=n * 10)
        for hour in (0, 12)
        for n, name in enumerate(["gpt", "claude", "o4", None], 1)
    ]
    question = {**DAY, "interval": "12 hours", "groupBy": ["modelName"], "limit": 2}

    text = await ask(rows, {**question, "aggregations": ["sum costInUSD", "p99 latencyMs"]})

    assert text == (
        f"# modelMetrics timeseries by modelName | {DAY_SPAN} | {SCOPE} | 2 buckets of 12 hours,"
        f" {LABELS} | top 2 of 4 series by sumCostInUSD, the rest in other where it adds up\n"
        "## total\n"
        "time|null|o4|other (2)\n---|---|---|---\n2026-07-01 00:00|4|3|3\n12:00|4|3|3\n"
        "## sumCostInUSD\n"
        "time|null|o4|other (2)\n---|---|---|---\n2026-07-01 00:00|8|6|6\n12:00|8|6|6\n"
        "## p99LatencyMs\n"
        "time|null|o4\n---|---|---\n2026-07-01 00:00|40|30\n12:00|40|30\n"
        "# all buckets of all series as CSV: resource gateway-metrics://rows?aggregations="
        "sum+costInUSD,p99+latencyMs&groupBy=modelName&startTs=2026-07-01&endTs=2026-07-02"
        "&interval=12+hour"
    )


async def test_all_series_are_shown_up_to_the_limit(ask: Ask) -> None:
    rows = [at(0, modelName=f"m{n}", total=n) for n in range(8)]

    text = await ask(rows, {**DAY, "groupBy": ["modelName"]})

    assert text.split("\n")[0].endswith(" | 8 series, largest total first")
    assert "time|m7|m6|m5|m4|m3|m2|m1|m0\n" in text


async def test_a_ninth_series_goes_into_other(ask: Ask) -> None:
    rows = [at(0, modelName=f"m{n}", total=n + 1) for n in range(9)]

    text = await ask(rows, {**DAY, "groupBy": ["modelName"]})

    assert text.split("\n")[0].endswith(" | top 8 of 9 series by total, the rest in other")
    assert "time|m8|m7|m6|m5|m4|m3|m2|m1|other (1)\n" in text
    assert "\n2026-07-01 00:00|9|8|7|6|5|4|3|2|1\n" in text


async def test_series_that_overlap_have_no_other(ask: Ask) -> None:
    rows = [at(0, team=f"t{n}", total=n + 1) for n in range(3)]

    text = await ask(rows, {**DAY, "groupBy": ["team"], "limit": 1})

    assert "| top 1 of 3 series by total, the rest excluded\n" in text
    assert "\ntime|t2\n" in text


async def test_series_are_ranked_by_rows_where_the_first_value_does_not_add_up(ask: Ask) -> None:
    rows = [at(0, modelName=n, total=t, p99LatencyMs=p) for n, t, p in [("a", 1, 9), ("b", 5, 2)]]

    text = await ask(rows, {**DAY, "groupBy": ["modelName"], "aggregations": ["p99 latencyMs"]})

    assert "| 2 series, largest total first" in text
    assert "## p99LatencyMs\ntime|b|a\n" in text


async def test_without_a_count_series_are_ranked_by_their_highest_bucket(ask: Ask) -> None:
    rows = [at(0, modelName="a", p99LatencyMs=5), at(6, modelName="a", p99LatencyMs=5)]
    rows.append(at(0, modelName="b", p99LatencyMs=9))

    text = await ask(rows, {**DAY, "groupBy": ["modelName"], "aggregations": ["p99 latencyMs"]})

    assert "| 2 series, largest p99LatencyMs first" in text
    assert "time|b|a\n" in text


async def test_series_of_several_keys_cannot_be_mistaken_for_each_other(ask: Ask) -> None:
    pairs = [("a/b", "c"), ("a", "b/c"), ("a, b", "c"), ("a", "b, c")]
    rows = [at(0, **{"modelName": a, "metadata.x": b, "total": 1}) for a, b in pairs]

    text = await ask(rows, {**DAY, "groupBy": ["modelName", "metadata.x"]})

    (heading,) = [line for line in text.split("\n") if line.startswith("time|")]
    assert sorted(heading.split("|")[1:]) == ['"a, b", c', 'a, "b, c"', "a, b/c", "a/b, c"]


async def test_rows_that_share_group_and_bucket_are_both_shown(ask: Ask) -> None:
    rows = [at(0, modelName=None, total=5), at(0, modelName=None, total=4)]

    text = await ask(rows, {**DAY, "interval": "1 day", "groupBy": ["modelName"]})

    assert text.endswith("## total\ntime|null|null\n---|---|---\n2026-07-01|5|4")


async def test_ungrouped_rows_that_share_a_bucket_are_both_shown(ask: Ask) -> None:
    text = await ask([at(0, total=5), at(0, total=4)], {**DAY, "interval": "1 day"})

    assert text.endswith("## total\ntime|all|all\n---|---|---\n2026-07-01|5|4")


async def test_a_count_that_equals_total_has_no_block_of_its_own(ask: Ask) -> None:
    rows = [at(0, modelName="a", total=5, countModelName=5)]

    text = await ask(rows, {**DAY, "groupBy": ["modelName"], "aggregations": ["count modelName"]})

    assert "# countModelName equals total everywhere\n" in text
    assert [line for line in text.split("\n") if line.startswith("## ")] == ["## total"]


async def test_total_may_be_missing(ask: Ask) -> None:
    rows = [{"timestamp": "2026-07-01T06:00:00Z", "modelName": "a", "sumCostInUSD": 4}]

    text = await ask(rows, {**DAY, "groupBy": ["modelName"], "aggregations": ["sum costInUSD"]})

    assert text.endswith(
        "## sumCostInUSD\ntime|a\n---|---\n2026-07-01 00:00|0\n06:00|4\n12:00|0\n18:00|0"
    )


@pytest.mark.parametrize(
    ("start", "end", "interval", "labels"),
    [
        (
            "2026-06-30T22:00Z",
            "2026-07-01T02:00Z",
            "1 hour",
            ["2026-06-30 22:00", "23:00", "2026-07-01 00:00", "01:00"],
        ),
        (
            "2026-07-01T22:00Z",
            "2026-07-01T22:01Z",
            "20 seconds",
            ["2026-07-01 22:00:00", "22:00:20", "22:00:40"],
        ),
        ("2026-06-29", "2026-07-02", "1 day", ["2026-06-29", "2026-06-30", "2026-07-01"]),
        ("2026-06-29", "2026-07-13", "1 week", ["2026-06-29", "2026-07-06"]),
        ("2026-05-01", "2026-07-01", "1 month", ["2026-05", "2026-06"]),
        ("2024-01-01", "2026-01-01", "1 year", ["2024", "2025"]),
        (
            "2026-06-29T12:00Z",
            "2026-07-03T00:00Z",
            "36 hours",
            ["2026-06-29 12:00", "2026-07-01 00:00", "2026-07-02 12:00 (partial)"],
        ),
    ],
)
async def test_labels_carry_what_changes(
    ask: Ask, start: str, end: str, interval: str, labels: list[str]
) -> None:
    rows = [{"startTimestamp": start.replace("Z", ":00Z"), "total": 1}]

    text = await ask(rows, {"startTs": start, "endTs": end, "interval": interval})

    assert labels_of(text) == labels
    is_short = any(re.match(r"\d\d:", label) for label in labels)
    assert ("rows belong to the date above" in text) == is_short


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        ("2026-07-01T00:00Z", "2026-07-01T12:00Z", []),
        (
            "2026-07-01T02:30Z",
            "2026-07-01T12:00Z",
            [
                "# the first bucket is partial: only from 2026-07-01T02:30Z on",
                "2026-07-01 00:00 (partial)|1",
            ],
        ),
        (
            "2026-07-01T00:00Z",
            "2026-07-01T11:00Z",
            [
                "# the last bucket is partial, cut by the window: only to 2026-07-01T11:00Z",
                "06:00 (partial)|1",
            ],
        ),
        (
            "2026-07-15T00:00Z",
            "2026-07-15T12:00Z",
            [
                "# the last bucket is partial, still running: only to 2026-07-15T09:30Z",
                "06:00 (partial)|1",
            ],
        ),
    ],
)
async def test_partial_buckets_are_said_and_marked(
    ask: Ask, start: str, end: str, said: list[str]
) -> None:
    rows = [{"startTimestamp": f"{start[:10]}T{hour}:00Z", "total": 1} for hour in ("00", "06")]

    text = await ask(rows, {"startTs": start, "endTs": end, "interval": "6 hours"})

    assert [line for line in text.split("\n") if "partial" in line] == said


async def test_buckets_may_be_counted_from_the_start_of_the_window(ask: Ask) -> None:
    rows = [at(1.5, total=4), at(3.5, total=2)]
    question = {"startTs": "2026-07-01T01:30Z", "endTs": "2026-07-01T05:15Z", "interval": "1 hour"}

    text = await ask(rows, question)

    assert text.split("\n")[1:] == [
        "# the last bucket is partial, cut by the window: only to 2026-07-01T05:15Z",
        "# 2 of 4 buckets had no rows at all",
        "time|total",
        "---|---",
        "2026-07-01 01:30|4",
        "02:30|0",
        "03:30|2",
        "04:30 (partial)|0",
    ]


async def test_buckets_of_an_unknown_order_are_shown_as_they_came(ask: Ask) -> None:
    rows = [at(3.1, modelName="a", total=2), at(1.2, modelName="b", total=4)]
    question = {"startTs": "2026-07-01", "endTs": "2026-07-02", "interval": "1 hour"}

    text = await ask(rows, {**question, "groupBy": ["modelName"]})

    assert "# the gateway's buckets are aligned differently: only those with rows are shown" in text
    assert text.endswith("time|b|a\n---|---|---\n2026-07-01 01:12|4|null\n03:06|null|2")


async def test_months_that_begin_within_a_month_are_labelled_by_day(ask: Ask) -> None:
    rows = [{"startTimestamp": "2026-05-10T00:00:00Z", "total": 1}]

    text = await ask(rows, {"startTs": "2026-05-10", "endTs": "2026-07-01", "interval": "1 month"})

    assert labels_of(text) == ["2026-05-10"]


BACK: Final = {  # Berlin's clocks go from 03:00 back to 02:00
    "startTs": "2025-10-26T01:00",
    "endTs": "2025-10-26T04:00",
    "timezone": "Europe/Berlin",
    "interval": "1 hour",
}


def at_berlin_autumn(hour: int, **values: Any) -> dict[str, Any]:
    start = datetime(2025, 10, 25, 23, tzinfo=UTC) + timedelta(hours=hour)
    return {"startTimestamp": start.isoformat(), **values}


async def test_hours_are_those_of_the_zone(ask: Ask) -> None:
    rows = [at(0, total=1), at(1, total=2)]

    zone = {"timezone": "America/New_York", "interval": "1 hour"}

    text = await ask(rows, {**DAY, **zone, "startTs": "2026-06-30T20:00"})

    assert "labelled by start, America/New_York; HH:MM rows" in text.split("\n")[0]
    assert labels_of(text)[:2] == ["2026-06-30 20:00", "21:00"]
    assert "UTC" not in text.partition("\n")[2]


@pytest.mark.parametrize(
    ("zone", "interval", "first"),
    [
        ("Asia/Kolkata", "30 minutes", "05:30"),
        ("Asia/Kathmandu", "15 minutes", "05:45"),
        ("Europe/Berlin", "5 hours", "02:00"),
    ],
)
async def test_what_begins_with_utc_is_labelled_by_the_zone(
    ask: Ask, zone: str, interval: str, first: str
) -> None:
    start = {"startTs": "2026-07-01T00:00Z", "endTs": "2026-07-01T12:00Z"}

    text = await ask([at(0, total=1)], {**start, "timezone": zone, "interval": interval})

    assert labels_of(text)[0].removesuffix(" (partial)") == f"2026-07-01 {first}"
    assert "begin where" not in text


async def test_an_hour_that_the_clocks_repeat_is_told_apart(ask: Ask) -> None:
    rows = [at_berlin_autumn(hour, total=hour + 1) for hour in range(4)]

    text = await ask(rows, {**BACK, "startTs": "2025-10-26T01:00"})

    assert text.endswith("2025-10-26 01:00|1\n02:00 +02:00|2\n02:00 +01:00|3\n03:00|4")
    assert "; HH:MM rows belong to the date above" in text


async def test_an_hour_that_the_clocks_skip_is_none(ask: Ask) -> None:
    rows = [{"startTimestamp": f"2026-03-29T0{n}:00:00Z", "total": n} for n in range(3)]
    window = {"startTs": "2026-03-29T01:00", "endTs": "2026-03-29T05:00"}

    text = await ask(rows, {**BACK, **window})

    assert text.endswith("2026-03-29 01:00|0\n03:00|1\n04:00|2")


async def test_programs_get_hours_with_their_offset(ask: Ask) -> None:
    rows = [at_berlin_autumn(hour, total=hour + 1) for hour in range(4)]

    body = json.loads(await ask(rows, {**BACK, "format": "json"}))

    assert body["timezone"] == "Europe/Berlin"
    assert body["rows"] == [
        ["2025-10-26T01:00:00.000+02:00", 1],
        ["2025-10-26T02:00:00.000+02:00", 2],
        ["2025-10-26T02:00:00.000+01:00", 3],
        ["2025-10-26T03:00:00.000+01:00", 4],
    ]


async def test_values_that_cannot_be_added_up_keep_the_starts_of_utc(ask: Ask) -> None:
    hours = {**DAY, "timezone": "Asia/Kolkata", "interval": "1 hour"}
    question = {**hours, "aggregations": ["p95 latencyMs"]}

    text = await ask([at(0, total=1, p95LatencyMs=7, countLatencyMs=1)], question)

    assert (
        "\n# buckets begin where those of UTC do, not of Asia/Kolkata:"
        " p95 latencyMs cannot be added up from shorter ones\n"
    ) in text
    assert labels_of(text)[:2] == ["2026-06-30 23:30 (partial)", "2026-07-01 00:30"]


def next_arguments(text: str) -> dict[str, str] | None:
    """The arguments that the last line asks to change, but for that on all buckets."""
    text = text.partition("\n# all buckets of all series as CSV: ")[0]
    last = text.rsplit("\n", maxsplit=1)[-1].partition("; or a longer interval, such as ")[0]
    if " same arguments with " not in last:
        return None
    return dict(pair.split("=", 1) for pair in last.split(" same arguments with ")[1].split(", "))


@given(
    hours=st.integers(2, 400),
    series=st.integers(1, 5),
    budget=st.sampled_from([500, 900, 2000]),
    minutes=st.sampled_from([0, 30]),
)
async def test_following_the_last_line_gives_every_bucket_once(
    ask: Ask, hours: int, series: int, budget: int, minutes: int
) -> None:
    rows = [at(hour, modelName=f"m{n}", total=hour) for hour in range(hours) for n in range(series)]
    end = START + timedelta(hours=hours, minutes=minutes)
    arguments: dict[str, Any] = {
        "startTs": "2026-07-01",
        "endTs": end.isoformat(),
        "interval": "1 hour",
        "groupBy": ["modelName"],
    }
    later, seen = datetime(2027, 1, 1, tzinfo=UTC), 0
    changes: dict[str, str] | None = {}

    while changes is not None:
        arguments = {**arguments, **changes}
        since = datetime.fromisoformat(arguments["startTs"]).replace(tzinfo=UTC)
        came = [row for row in rows if row["startTimestamp"] >= since.isoformat()]
        text = await ask(came, arguments, budget=budget, now=later)
        labels = labels_of(text)
        assert labels[0] == f"{START + timedelta(hours=seen):%Y-%m-%d %H:%M}"
        seen += len(labels)
        changes = next_arguments(text)

    assert seen == hours + (minutes > 0)


async def test_series_give_way_before_buckets_do(ask: Ask) -> None:
    rows = [at(h, modelName=f"m{n}", total=900) for h in range(24) for n in range(40)]
    question = {**DAY, "interval": "1 hour", "groupBy": ["modelName"], "limit": 40}

    text = await ask(rows, question, budget=700)

    head, missed, link = text.split("\n")[0], *text.split("\n")[-2:]
    shown = int(re.findall(r"top (\d+) of 40 series by total, the rest in other", head)[0])
    assert shown > 3
    assert f"other ({40 - shown})" in text
    assert missed.startswith(f"# only {shown} of the 40 requested series fit: a longer interval")
    assert link.startswith("# all buckets of all series as CSV: resource gateway-metrics://rows?")
    assert len(labels_of(text)) == 24


def test_fifty_series_of_a_month_of_hours_are_written_at_once(make_asked: MakeAsked) -> None:
    rows = [
        at(h, modelName=f"m{n}", total=h, sumCostInUSD=h * 0.37, p99LatencyMs=n * 1.7)
        for h in range(720)
        for n in range(50)
    ]
    question = {"startTs": "2026-06-01", "endTs": "2026-07-01", "interval": "1 hour", "limit": 50}
    values = ["sum costInUSD", "p99 latencyMs"]
    asked = make_asked(rows, {**question, "groupBy": ["modelName"], "aggregations": values})

    began = time.process_time()
    write_answer(describe_report(asked), 12_000)

    assert time.process_time() - began < 0.5
