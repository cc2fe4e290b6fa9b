"""An answer stays in its budget, whatever the rows hold, and is never cut within a line."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_metrics_mcp.rendering.answer import write_answer
from gateway_metrics_mcp.rendering.document import MOST_BYTES, TokenBudget, estimate_tokens
from gateway_metrics_mcp.rendering.report_document import describe_report
from gateway_metrics_mcp.reports.report import Report

Ask = Callable[..., Awaitable[str]]
MakeAsked = Callable[..., Report]

WEEK: Final = {"startTs": "2026-07-01", "endTs": "2026-07-08"}
CELL_BORDER: Final = re.compile(r"(?<!\\)\|")
VALUES: Final = ["sum costInUSD", "p99 latencyMs"]
HOSTILE: Final = (
    st.text(string.ascii_letters + string.digits, max_size=200)
    | st.text('\u202e\u200b\U000e0041|\\"\n', max_size=200)
    | st.text("\U0001f642\U0001f9ff中\U00012000é", max_size=200)
    | st.text(max_size=200)
    | st.none()
)
NUMBERS: Final = (
    st.none() | st.integers(0, 2**63) | st.floats(0, 1e15) | st.floats(0, 1e-3) | st.just(0)
)


@st.composite
def _rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Up to 400 rows of a few hostile keys and any numbers."""
    keys = draw(st.lists(HOSTILE, min_size=1, max_size=12))
    other = draw(st.lists(HOSTILE, min_size=1, max_size=12))
    numbers = draw(st.lists(NUMBERS, min_size=1, max_size=12))
    return [
        {
            "modelName": keys[n % len(keys)],
            "metadata.x": other[n // len(keys) % len(other)],
            "total": n,
            "sumCostInUSD": numbers[n % len(numbers)],
            "p99LatencyMs": numbers[n // 2 % len(numbers)],
        }
        for n in range(draw(st.integers(0, 400)))
    ]


def at_hours(rows: list[dict[str, Any]], series: int) -> list[dict[str, Any]]:
    """The same rows, so many to a bucket."""
    start = datetime(2026, 7, 1, tzinfo=UTC)
    return [
        {**row, "startTimestamp": (start + timedelta(hours=n // series)).isoformat()}
        for n, row in enumerate(rows)
    ]


def check_tables(text: str) -> None:
    """Every line is ours, a title, or a row with as many cells as its table has columns."""
    width = None
    for line in text.split("\n"):
        if line.startswith(("# ", "no rows in ")):
            continue
        if line.startswith("## ") or re.match(r"[\w.]+: ", line):
            width = None
            continue
        cells = len(CELL_BORDER.split(line))
        width = cells if width is None else width
        assert cells == width, line


@given(rows=_rows(), budget=st.integers(500, 12_000), format_=st.sampled_from(["table", "exact"]))
def test_a_table_stays_in_its_budget(
    make_asked: MakeAsked, rows: list[dict[str, Any]], budget: int, format_: str
) -> None:
    question = {**WEEK, "groupBy": ["modelName", "metadata.x"], "aggregations": VALUES}
    totals = {"total": 10**9, "sumCostInUSD": 0.1, "p99LatencyMs": 1e9}
    asked = make_asked(rows, {**question, "format": format_}, totals=totals)

    text = write_answer(describe_report(asked), budget).text

    check_tables(text)
    assert estimate_tokens(text) <= budget
    assert len(text.encode()) <= MOST_BYTES


@given(rows=_rows(), budget=st.integers(500, 12_000), series=st.integers(1, 60))
def test_a_timeseries_stays_in_its_budget(
    make_asked: MakeAsked, rows: list[dict[str, Any]], budget: int, series: int
) -> None:
    question = {**WEEK, "groupBy": ["modelName", "metadata.x"], "aggregations": VALUES}
    arguments = {**question, "interval": "1 hour", "limit": 50}

    text = write_answer(describe_report(make_asked(at_hours(rows, series), arguments)), budget).text

    check_tables(text)
    is_least = text.count("\n2026-07-01") == text.count("\ntime|") and "more buckets" in text
    assert estimate_tokens(text) <= budget * (1.25 if is_least else 1)
    assert len(text.encode()) <= MOST_BYTES


@given(rows=_rows(), budget=st.integers(500, 12_000), series=st.none() | st.integers(1, 60))
def test_json_stays_in_its_budget_and_is_consistent(
    make_asked: MakeAsked, rows: list[dict[str, Any]], budget: int, series: int | None
) -> None:
    question = {**WEEK, "groupBy": ["modelName", "metadata.x"], "aggregations": VALUES}
    arguments = {**question, "format": "json"}
    if series is not None:
        rows, arguments = at_hours(rows, series), {**arguments, "interval": "1 hour"}

    text = write_answer(describe_report(make_asked(rows, arguments)), budget).text

    body = json.loads(text)
    assert body["rowCount"] == len(rows)
    assert body["isComplete"] == (len(body["rows"]) == len(rows))
    assert all(len(row) == len(body["columns"]) for row in body["rows"])
    assert bool(body["rows"]) == bool(rows)
    assert len(text.encode()) <= MOST_BYTES
    if len(body["rows"]) > 1 and series is None:
        assert estimate_tokens(text) <= budget


@pytest.mark.parametrize("budget", [500, 4000, 12_000])
async def test_as_many_rows_as_fit_are_shown(ask: Ask, budget: int) -> None:
    rows = [{"modelName": f"provider/model-{n}", "total": n} for n in range(3000)]

    text = await ask(rows, {**WEEK, "groupBy": ["modelName"]}, budget=budget)

    used = estimate_tokens(text)
    assert budget * 0.95 < used <= budget


async def test_bytes_run_out_before_tokens_do(ask: Ask) -> None:
    rows = [{"modelName": "information " * 3 + f"{n}", "total": 1} for n in range(3000)]

    text = await ask(rows, {**WEEK, "groupBy": ["modelName"]}, budget=12_000)

    assert MOST_BYTES - 100 < len(text.encode()) <= MOST_BYTES
    assert estimate_tokens(text) < 12_000


async def test_the_budget_is_the_setting(ask: Ask) -> None:
    rows = [{"modelName": f"m{n}", "total": n} for n in range(3000)]
    question = {**WEEK, "groupBy": ["modelName"]}

    lengths = [len(await ask(rows, question, budget=budget)) for budget in (500, 1000, 2000)]

    assert lengths == sorted(lengths)
    assert lengths[2] > 3 * lengths[0]


async def test_one_row_too_large_is_shown_with_its_names_cut(ask: Ask) -> None:
    keys = [f"metadata.k{n}" for n in range(6)]
    rows = [{**dict.fromkeys(keys, "\u202e" * 80 + end), "total": 1} for end in "ab"]

    text = await ask(rows, {**WEEK, "groupBy": keys}, budget=500)

    assert "…(+73)" in text
    assert text.split("\n")[0].endswith("| rows 1-1 of 2")
    assert text.split("\n")[-2:] == [
        "# 1 more row: same arguments with offset=1",
        (
            "# all 2 rows as CSV: resource gateway-metrics://rows?groupBy=metadata.k0,"
            "metadata.k1,metadata.k2,metadata.k3,metadata.k4,metadata.k5"
            "&startTs=2026-07-01&endTs=2026-07-08"
        ),
    ]


def test_room_is_what_is_left() -> None:
    room = TokenBudget(10, bytes=100)

    assert room.take_if_fits("one two three")
    assert not room.take_if_fits("four five six seven eight nine")
    assert room.take_if_fits("four")
    assert not room.is_overspent
    room.take("what must be said is said")
    assert room.is_overspent


@pytest.mark.parametrize(
    ("text", "tokens", "most"),
    [
        # The true counts are o200k_base's; tables are read closely, foreign text never too low.
        ("claude-sonnet-4-5-20250929|194624|417872041|15725|1253.62", 27, 1.1),
        ("2026-11-19 00:00|64.20|36.10|1.02", 22, 1.1),
        ("# modelMetrics by modelName | models only, virtual-model rows excluded", 15, 1.2),
        ("3f0c9a4e-7b1d-4c2a-9e57-0a1b2c3d4e5f", 35, 1.4),
        ("qzvkxjwtrbpdmfhg", 10, 1.4),
        ("\U0001f642\U0001f9ff", 4, 1.6),
    ],
)
def test_the_estimate_is_near_the_truth(text: str, tokens: int, most: float) -> None:
    assert 0.9 <= estimate_tokens(text) / tokens <= most
