"""A trace of calls as Azure publishes them: a time and two counts of tokens, no names at all."""

from __future__ import annotations

import csv as csv_module
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from tests.cli.ingest.conftest import Data

Write = Callable[..., Path]
Ask = Callable[..., Awaitable[dict[tuple[Any, ...], tuple[Any, ...]]]]

FLAGS: Final = (
    "--timezone",
    "UTC",
    "--map",
    "CreatedAt=TIMESTAMP,InputTokens=ContextTokens,OutputTokens=GeneratedTokens",
    "--set",
    "ModelName=code",
)
DOCS: Final = Path(__file__).parents[3] / "docs" / "data.md"


def make_trace(count: int) -> str:
    """As many calls over a day, seven digits of a second, in order, the last without a newline."""
    chance = Random(7)  # noqa: S311 - no secret
    start = datetime(2026, 7, 10, 18, 17, 3, tzinfo=UTC)
    times = sorted(start + timedelta(seconds=chance.random() * 86_400) for _ in range(count))
    lines = [
        f"{time:%Y-%m-%d %H:%M:%S.%f}9,{chance.randrange(1, 7437)},{chance.randrange(0, 2000)}"
        for time in times
    ]
    return "\r\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *lines])


def add_up(path: Path) -> dict[datetime, tuple[int, int, int]]:
    """Calls and tokens of each hour, by Python's reader."""
    calls: Counter[datetime] = Counter()
    context: Counter[datetime] = Counter()
    generated: Counter[datetime] = Counter()
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv_module.DictReader(file):
            hour = datetime.fromisoformat(f"{row['TIMESTAMP'][:13]}:00+00:00")
            calls[hour] += 1
            context[hour] += int(row["ContextTokens"])
            generated[hour] += int(row["GeneratedTokens"])
    return {hour: (calls[hour], context[hour], generated[hour]) for hour in calls}


@pytest.mark.parametrize("count", [1, 19, 4000])
async def test_totals_and_hours_of_a_trace_are_those_of_its_file(
    data: Data, csv: Write, ask: Ask, count: int
) -> None:
    path = csv(make_trace(count), "AzureLLMInferenceTrace_code.csv")

    done = data.bring(path, *FLAGS)
    hours = await ask(type="timeseries", interval="1 hour")
    totals = await ask("modelName")

    assert done.code == 0, done.err
    truth = add_up(path)
    assert {start: values[:3] for (start,), values in hours.items()} == truth
    sums = tuple(map(sum, zip(*truth.values(), strict=True)))
    assert totals == {("code",): (*sums, None)}
    assert sums[0] == count


async def test_of_a_trace_a_time_is_kept_to_the_microsecond(data: Data, csv: Write) -> None:
    text = "TIMESTAMP,ContextTokens,GeneratedTokens\n2026-07-10 18:17:03.9799600,4808,10\n"

    data.bring(csv(text), *FLAGS)

    (row,) = data.rows('"CreatedAt"::TEXT, "InputTokens", "OutputTokens", "ModelName", "CostInUSD"')
    assert row == ("2026-07-10 18:17:03.97996+00", 4808, 10, "code", None)


def test_the_documented_order_for_a_trace_is_the_one_that_is_tested() -> None:
    documented = " ".join(DOCS.read_text("utf-8").replace("\\\n", " ").split())

    assert " ".join(FLAGS[2:]) in documented
