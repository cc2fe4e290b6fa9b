"""The two stories in the demo's data: the same calls find them, whoever and whenever it was.

Each takes two calls: what changed most against the week before, then that group by the day. The
seed of the demo runs always, all 20 in `make verify`: making the data of one takes some 5 s.
"""

from __future__ import annotations

from dataclasses import asdict
from itertools import pairwise
from typing import Any, Final

import pytest
from tests.questions.conftest import NOW, Ask
from tests.questions.model import AGAINST_BEFORE, where
from tests.questions.reading import Row, read_number, read_rows

from gateway_metrics_mcp.backends.demo.data import tell_stories

SEEDS: Final = range(1, 21)
ALWAYS: Final = (7,)

WHOSE_SPEND_ROSE: Final = {
    "aggregations": ["sum costInUSD"],
    "groupBy": ["userEmail", "virtualaccount", "createdBySubjectType", "modelName"],
    "orderBy": "sumCostInUSD_change",
    "limit": 3,
    **AGAINST_BEFORE,
}
WHOSE_TAIL_GREW: Final = {
    "aggregations": ["p99 latencyMs"],
    "groupBy": ["modelName", "metadata.environment"],
    "orderBy": "p99LatencyMs_change",
    "limit": 3,
    **AGAINST_BEFORE,
}
BY_DAY: Final = {"startTs": "last 14 days", "interval": "1 day"}
SUBJECT_FILTERS: Final = {"user": "userEmail", "virtualaccount": "virtualAccount"}


@pytest.mark.parametrize(
    "seed", [pytest.param(s, marks=() if s in ALWAYS else pytest.mark.thorough) for s in SEEDS]
)
async def test_two_calls_each_find_who_and_what_and_since_when(seed: int, ask_of_seed: Ask) -> None:
    found = await find_spend(ask_of_seed) | await find_tail(ask_of_seed)
    told = asdict(tell_stories(seed, NOW.date()))
    assert found == {name: str(value) for name, value in told.items()}


async def find_spend(ask: Ask) -> Row:
    """Who made the spend rise, with which model, and the day it began."""
    first = await ask_rows(ask, "query_distribution", WHOSE_SPEND_ROSE)
    who, model = first[0]["userEmail/virtualaccount"], first[0]["modelName"]
    subject = SUBJECT_FILTERS[first[0]["createdBySubjectType"]]
    filters = [where(subject, "EQUAL", who), where("modelName", "EQUAL", model)]
    asked = {"aggregations": ["sum costInUSD"], "filters": filters, **BY_DAY}
    days = await ask_rows(ask, "query_timeseries", asked)
    day = largest_step(days, "sumCostInUSD")
    return {"spend_account": who, "spend_model": model, "spend_start": day}


async def find_tail(ask: Ask) -> Row:
    """Which model's tail grew, in which environment, and the day it began."""
    first = await ask_rows(ask, "query_distribution", WHOSE_TAIL_GREW)
    model, environment = first[0]["modelName"], first[0]["metadata.environment"]
    filters = [
        where("modelName", "EQUAL", model),
        where("metadata.environment", "EQUAL", environment),
    ]
    asked = {"aggregations": ["p99 latencyMs"], "filters": filters, **BY_DAY}
    days = await ask_rows(ask, "query_timeseries", asked)
    day = largest_step(days, "p99LatencyMs")
    return {"slow_model": model, "slow_environment": environment, "slow_start": day}


async def ask_rows(ask: Ask, tool: str, arguments: dict[str, Any]) -> list[Row]:
    text, is_error = await ask(tool, arguments)
    assert not is_error, text
    return read_rows(text)


def largest_step(days: list[Row], name: str) -> str:
    """The day that differs most from the one before it."""
    values = [read_number(day[name]) for day in days]
    steps = [after - before for before, after in pairwise(values)]
    return days[1 + steps.index(max(steps))]["time"]
