"""A timeseries of more than 5,000 points is not fetched: it is coarsened, or refused with a way."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from gateway_metrics_mcp.query.time.interval import LADDER

World = Any

START: Final = datetime(2026, 7, 1, tzinfo=UTC)
WINDOW: Final = {"startTs": "2026-07-01", "endTs": "2026-07-13"}
HOURS: Final = 12 * 24
COST: Final = ["sum costInUSD"]
MOST: Final = 5_000


def fill(world: World, groups: int) -> float:
    """A call of each group every so often; what all cost."""
    rows: list[dict[str, Any]] = [
        {
            "CreatedAt": START + timedelta(hours=(n * 7) % HOURS),
            "ModelName": f"model-{n % groups:04}",
            "CostInUSD": 0.25 * (n % 9),
        }
        for n in range(groups * 2)
    ]
    world.fill(rows)
    return math.fsum(row["CostInUSD"] for row in rows)


def columns_sum(text: str, title: str) -> float:
    """The sum of a block, `other` and all."""
    lines = text.split("\n")
    block = lines[lines.index(f"## {title}") + 3 :]
    cells: list[float] = []
    for line in block:
        if line.startswith(("#", "##")):
            break
        cells += map(float, line.split("|")[1:])
    return math.fsum(cells)


@pytest.mark.parametrize("groups", [18, 40, 500])
def test_hours_of_many_groups_are_refused_before_they_are_fetched(
    world: World, groups: int
) -> None:
    fill(world, groups)
    question = {**WINDOW, "interval": "1 hour", "groupBy": ["modelName"], "aggregations": COST}

    text = world.refusal(question)

    (asked,) = world.recorder.sent
    assert asked.interval is None
    assert asked.aggregations == ()
    assert asked.group_by == ("modelName",)
    assert f"{groups} groups x {HOURS} buckets of 1 hour are more than {MOST} points" in text
    proposed = re.search(r"Use (\d+ \w+)", text)
    assert proposed is not None
    assert "Error" not in world.ask({**question, "interval": proposed[1]})


def test_what_just_fits_is_answered(world: World) -> None:
    fill(world, MOST // HOURS)
    question = {**WINDOW, "interval": "1 hour", "groupBy": ["modelName"], "aggregations": COST}

    assert "288 buckets of 1 hour" in world.ask(question)


@pytest.mark.parametrize("groups", [3, 100, 170, 800])
def test_our_own_interval_is_widened_and_totals_stay(world: World, groups: int) -> None:
    cost = fill(world, groups)
    question = {**WINDOW, "groupBy": ["modelName"], "aggregations": COST, "limit": 2}

    text = world.ask({**question, "format": "exact"}, tool="query_timeseries")

    assert columns_sum(text, "total") == groups * 2
    assert math.isclose(columns_sum(text, "sumCostInUSD"), cost, rel_tol=1e-9)
    buckets = re.search(r"(\d+) buckets? of ([\w ]+), labelled", text)
    assert buckets is not None
    assert int(buckets[1]) * groups <= MOST
    is_widened = groups * 48 > MOST  # 6 hours are chosen for 12 days
    said = f"# buckets of {buckets[2]}: {groups} groups x 48 buckets of 6 hours are more than"
    assert (said in text) == is_widened


def test_too_many_groups_for_even_one_bucket_are_refused(world: World) -> None:
    fill(world, MOST + 1)
    question = {**WINDOW, "groupBy": ["modelName"], "aggregations": COST}

    text = world.refusal(question, tool="query_timeseries")

    assert f"{MOST + 1} groups" in text
    assert len(world.recorder.sent) == 1


def test_too_many_buckets_are_refused_before_anything_is_asked(world: World) -> None:
    fill(world, 2)

    text = world.refusal({**WINDOW, "interval": "1 second"})

    assert "the limit is 5000" in text
    assert world.recorder.sent == []


@pytest.mark.parametrize("groups", [0, 1, 2, 7, 40])
@pytest.mark.parametrize("interval", ["1 second", "1 minute", "10 minutes", "1 hour"])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu"])
def test_the_interval_that_is_proposed_is_the_narrowest_that_works(
    world: World, groups: int, interval: str, zone: str
) -> None:
    fill(world, max(groups, 1))
    grouped = {"groupBy": ["modelName"]} if groups else {}
    question = {**WINDOW, **grouped, "timezone": zone}
    try:
        text = world.refusal({**question, "interval": interval})
    except AssertionError:
        return  # it is answered

    found = re.search(r"\. Use ([0-9]+ [a-z]+), or ", text)
    assert found is not None
    proposed = [str(one) for one in LADDER].index(found[1])
    world.ask({**question, "interval": found[1]})
    narrower = LADDER[proposed - 1]
    assert "Use " in world.refusal({**question, "interval": str(narrower)})


def test_an_ungrouped_question_counts_no_groups(world: World) -> None:
    fill(world, 2)

    world.ask({**WINDOW, "interval": "1 hour", "aggregations": COST})

    (asked,) = world.recorder.sent
    assert asked.interval is not None
