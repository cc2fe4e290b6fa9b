"""Where a running month of cost would end at this pace, and nothing of the kind elsewhere."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

World = Any

RATE: Final = re.compile(r"# run rate: at the pace so far sumCostInUSD would be (\S+) by (\S+): ")
COST: Final = ["sum costInUSD"]
MONTH_S: Final = 31 * 86_400


def rate_of(text: str) -> tuple[float, str] | None:
    found = RATE.search(text)
    return None if found is None else (float(found[1]), found[2])


def spend(world: World, *costs: tuple[datetime, float | None]) -> None:
    world.fill(
        [
            {"CreatedAt": at, "ModelName": f"m{n}", "CostInUSD": cost}
            for n, (at, cost) in enumerate(costs)
        ]
    )


@given(
    seconds=st.integers(1, MONTH_S - 1),
    cost=st.floats(0.001, 10_000),
    group_by=st.sampled_from([[], ["modelName"]]),
)
def test_a_running_month_goes_on_at_its_pace(
    world: World, seconds: int, cost: float, group_by: list[str]
) -> None:
    start = datetime(2026, 7, 1, tzinfo=UTC)
    now = start + timedelta(seconds=seconds)
    spend(world, (start, cost), (start, 1.5), (start - timedelta(days=1), 1e6))
    question = {"startTs": "this month", "aggregations": COST, "groupBy": group_by}

    text = world.ask({**question, "format": "exact"}, now=now)

    rate = rate_of(text)
    assert rate is not None
    assert math.isclose(rate[0], (cost + 1.5) * MONTH_S / seconds, rel_tol=1e-9)
    assert rate[1] == "2026-08-01T00:00Z"


@pytest.mark.parametrize(
    ("question", "end"),
    [
        ({"startTs": "this month", "interval": "1 day"}, "2026-08-01T00:00Z"),
        ({"startTs": "2026-07"}, "2026-08-01T00:00Z"),
        ({"startTs": "this month", "timezone": "Asia/Tokyo"}, "2026-07-31T15:00Z"),
    ],
    ids=str,
)
def test_so_does_a_month_that_is_asked_otherwise(
    world: World, question: dict[str, str], end: str
) -> None:
    spend(world, (datetime(2026, 7, 2, tzinfo=UTC), 3.0))

    rate = rate_of(world.ask({**question, "aggregations": COST}))

    assert rate is not None
    assert rate[1] == end


@pytest.mark.parametrize(
    "question",
    [
        {"startTs": "last month"},
        {"startTs": "2026-06"},
        {"startTs": "2026-07-01", "endTs": "2026-07-15"},
        {"startTs": "last 7 days"},
        {"startTs": "now-7d"},
        {"startTs": "this month", "aggregations": ["sum inputTokens"]},
        {"startTs": "this month", "aggregations": ["costPerRequest"]},
        {"startTs": "this quarter"},
        {"startTs": "this year"},
        {"startTs": "this week"},
        {"startTs": "today"},
    ],
    ids=str,
)
def test_there_is_none_elsewhere(world: World, question: dict[str, Any]) -> None:
    days = (datetime(2026, 7, day, tzinfo=UTC) for day in range(1, 16))
    spend(world, *((day, 2.0) for day in days), (datetime(2026, 6, 3, tzinfo=UTC), 9.0))

    text = world.ask({"aggregations": COST, **question})

    assert "run rate" not in text


@pytest.mark.parametrize(
    "question",
    [
        {},
        {"groupBy": ["modelName"]},
        {"compareTo": "previous"},
        {"compareTo": "previous", "groupBy": ["modelName"]},
        {"timezone": "Asia/Tokyo"},
        {"interval": "1 day"},
        {"interval": "1 day", "groupBy": ["modelName"], "timezone": "Asia/Tokyo"},
    ],
    ids=str,
)
def test_a_month_whose_rows_begin_late_has_none(world: World, question: dict[str, Any]) -> None:
    spend(world, (datetime(2026, 7, 8, tzinfo=UTC), 3.0), (datetime(2026, 6, 2, tzinfo=UTC), 1.0))

    text = world.ask({"startTs": "this month", "aggregations": COST, **question})

    assert rate_of(text) is None
    assert "\n# no run rate: the rows do not reach back to the start of the month\n" in text


@pytest.mark.parametrize(
    "question",
    [
        {"groupBy": ["modelName"], "filters": [{"fieldName": "modelName", "value": ["m0"]}]},
        {"interval": "1 day"},
        {"interval": "1 day", "timezone": "Europe/Berlin"},
        {"interval": "1 day", "groupBy": ["modelName"]},
        {"interval": "6 hours", "groupBy": ["modelName", "requestType"], "limit": 1},
    ],
    ids=str,
)
def test_one_row_and_buckets_have_the_rate_of_the_whole(
    world: World, question: dict[str, Any]
) -> None:
    filters = [{"operator": "IN", **f} for f in question.get("filters", ())]
    start = datetime(2026, 6, 30, 22, 30, tzinfo=UTC)
    if "timezone" not in question:
        start += timedelta(hours=2)
    spend(world, (start, 2.0), (start + timedelta(days=9), 5.0))

    text = world.ask(
        {"startTs": "this month", "aggregations": COST, **question, "filters": filters}
    )

    rate = rate_of(text)
    assert rate is not None
    elapsed_s = 14 * 86_400 + (11.5 if "timezone" in question else 9.5) * 3600
    spent = 2.0 if filters else 7.0
    assert math.isclose(rate[0], spent * MONTH_S / elapsed_s, rel_tol=1e-3)


@pytest.mark.parametrize("field", ["team", "userEmail", "virtualaccount"])
def test_buckets_of_groups_that_share_or_lack_calls_have_none(world: World, field: str) -> None:
    start = datetime(2026, 7, 1, tzinfo=UTC)
    row = {"CreatedAt": start, "CostInUSD": 3.0, "CreatedBySubjectSlug": "ada"}
    kinds = ("user", "virtualaccount")
    world.fill([{**row, "CreatedBySubjectType": kind, "Teams": ["a", "b"]} for kind in kinds])
    question = {"startTs": "this month", "aggregations": COST, "groupBy": [field]}

    assert "run rate" not in world.ask({**question, "interval": "1 day"})
    rate = rate_of(world.ask(question))
    assert rate is not None
    assert math.isclose(rate[0], 6 * MONTH_S / (14 * 86_400 + 9.5 * 3600), rel_tol=1e-3)


def test_what_is_not_known_is_not_extrapolated(world: World) -> None:
    spend(world, (datetime(2026, 7, 2, tzinfo=UTC), None))

    assert "run rate" not in world.ask({"startTs": "this month", "aggregations": COST})


def test_a_running_month_is_compared_with_the_same_part_of_the_one_before(world: World) -> None:
    at = datetime(2026, 7, 15, 9, 29, tzinfo=UTC)
    first = datetime(2026, 7, 1, tzinfo=UTC)
    before = at.replace(month=6)
    early = datetime(2026, 6, 1, tzinfo=UTC)
    spend(
        world,
        (first, 0.5),
        (at, 1.5),
        (early, 4.0),
        (before, 3.0),
        (before + timedelta(minutes=1), 100.0),
    )
    question = {"startTs": "this month", "aggregations": COST, "compareTo": "previous"}

    text = world.ask(question)

    assert "| compared with 2026-06-01T00:00Z to 2026-06-15T09:30Z " in text
    assert "\nsumCostInUSD: 2\nsumCostInUSD_before: 7\n" in text
    rate = rate_of(text)
    assert rate is not None
    elapsed = 14 * 86_400 + 9.5 * 3600
    assert math.isclose(rate[0], 2 * MONTH_S / elapsed, rel_tol=1e-3)
