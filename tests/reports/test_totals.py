"""Where rows do not add up to ALL the true reason is given, and no other."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from gateway_metrics_mcp.query.model import Query
from gateway_metrics_mcp.query.result import DataPoint, Result

Row = dict[str, Any]
World = Any

NOON: Final = datetime(2026, 7, 10, 12, tzinfo=UTC)
WEEK: Final = {"startTs": "2026-07-06", "endTs": "2026-07-13"}
OPEN: Final = {"startTs": "2026-07-06.."}
"""A window that ends now."""

TEAMS: Final = "callers in several teams count once per team"
OTHERS: Final = "other callers are not in the rows"
KEYLESS: Final = "calls without a value of the group-by fields are not in the rows"
NEW_DATA: Final = "new data that arrived between the two calls"
DISAGREE: Final = "the backend's two answers disagree"
REASONS: Final = (TEAMS, OTHERS, KEYLESS, NEW_DATA, DISAGREE)


def call(
    slug: str = "ada", kind: str = "user", *teams: str, env: str | None = None, count: int = 1
) -> list[Row]:
    metadata = {} if env is None else {"env": env}
    row = {
        "CreatedAt": NOON,
        "ModelName": slug,
        "CreatedBySubjectSlug": slug,
        "CreatedBySubjectType": kind,
        "Teams": list(teams),
        "Metadata": metadata,
    }
    return [row] * count


def reasons_of(text: str) -> list[str]:
    return [reason for reason in REASONS if reason in text]


@pytest.mark.parametrize(
    ("rows", "field", "reasons"),
    [
        (call("ada", "user", "red", "blue") + call("bob", "user", "red"), "team", [TEAMS]),
        (call("ada", "user", "red") + call("bob", "user", "blue"), "team", []),
        (call("ada", "user", "red", "red") + call("bob"), "team", []),
        (call() + call("bob") + call("bot", "virtualaccount"), "userEmail", [OTHERS]),
        (call() + call("bob"), "userEmail", []),
        (
            call() + call("bot", "virtualaccount") + call("job", "virtualaccount"),
            "virtualaccount",
            [OTHERS],
        ),
        (
            call("bot", "virtualaccount") + call("job", "virtualaccount"),
            "virtualaccount",
            [],
        ),
        (call(env="prod") + call(env="test") + call(), "metadata.env", []),
        (call(env="prod") + call(), "metadata.env", []),
    ],
    ids=[
        "in two teams",
        "each in one team",
        "one team twice",
        "users and accounts, by user",
        "users alone, by user",
        "users and accounts, by account",
        "accounts alone, by account",
        "a row without the key",
        "the key and no key",
    ],
)
def test_the_reason_is_true(world: World, rows: list[Row], field: str, reasons: list[str]) -> None:
    world.fill(rows)

    text = world.ask({**WEEK, "groupBy": [field]})

    assert reasons_of(text) == reasons


def test_the_amounts_are_what_is_missing_and_what_is_double(world: World) -> None:
    world.fill(call("ada", "user", "red", "blue", count=3) + call("bob", "user", "red", count=7))

    text = world.ask({**WEEK, "groupBy": ["team"]})

    assert f"# rows add up to 3 total (30.0%) more than ALL: {TEAMS}\n" in text
    assert text.endswith("ALL|10")


def test_amounts_that_balance_are_not_taken_for_a_sum(world: World) -> None:
    world.fill(call("ada", "user", "red", "blue") + call("bot", "virtualaccount", "red"))

    text = world.ask({**WEEK, "groupBy": ["team", "userEmail"]})

    assert "# team rows may overlap" in text
    assert "# rows are users only" in text


def without_keyless(query: Query, result: Result) -> Result:
    """A gateway that has no row for calls without the key."""
    points = [p for p in result.points if not query.group_by or p.keys != (None,)]
    return replace(result, points=tuple(points), is_by_rulings=False)


def test_a_gateway_that_leaves_out_rows_without_the_key_is_told(world: World) -> None:
    world.fill(call(env="prod") + call(env="test") + call(count=2))

    text = world.ask({**WEEK, "groupBy": ["metadata.env"]}, change=without_keyless)

    assert reasons_of(text) == [KEYLESS]
    assert "# rows add up to 2 total (50.0%) less than ALL" in text


def arriving(more: int) -> Callable[[Query, Result], Result]:
    """ALL is answered a moment later: so many calls more."""

    def change(query: Query, result: Result) -> Result:
        if query.group_by:
            return result
        calls = result.points[0].values[0] or 0
        return replace(result, points=(DataPoint((), (calls + more,)),))

    return change


@pytest.mark.parametrize(
    ("window", "more", "is_said"),
    [(OPEN, 1, True), (OPEN, 0, False), (OPEN, 5, False), (WEEK, 1, False), (OPEN, -5, False)],
    ids=["a little, open", "nothing", "much, open", "a little, closed", "less than the rows"],
)
def test_new_data_are_a_little_in_an_open_window(
    world: World, window: dict[str, str], more: int, *, is_said: bool
) -> None:
    world.fill(call("ada", count=100) + call("bob", count=100))

    text = world.ask({**window, "groupBy": ["modelName"]}, change=arriving(more))

    assert (NEW_DATA in text) == is_said
    assert ("rows add up to" in text) == (more != 0 and not is_said)


def test_more_in_the_rows_than_in_all_is_a_disagreement(world: World) -> None:
    world.fill(call("ada", count=100) + call("bob", count=100))

    text = world.ask({**WEEK, "groupBy": ["modelName"]}, change=arriving(-5))

    assert reasons_of(text) == [DISAGREE]


def test_a_little_of_virtual_accounts_is_not_put_down_to_new_data(world: World) -> None:
    rows = call("ada", count=150) + call("bob", count=150) + call("bot", "virtualaccount")
    world.fill(rows)

    text = world.ask({**OPEN, "groupBy": ["userEmail"]})

    assert reasons_of(text) == [OTHERS]
    assert "# rows add up to 1 total (0.3%) less than ALL" in text


def some_rows(seed: int, count: int) -> list[Row]:
    """Rows of all kinds of groups, with nulls, over two weeks."""
    chance = random.Random(seed)  # noqa: S311 - a sample
    return [
        {
            "CreatedAt": NOON - timedelta(hours=chance.randrange(14 * 24)),
            "ModelName": chance.choice(["a/x", "b/y", "c/z", None]),
            "CreatedBySubjectSlug": chance.choice(["ada", "bob", "bot"]),
            "CreatedBySubjectType": chance.choice(["user", "virtualaccount"]),
            "Teams": chance.choice([["red"], ["red", "blue"], []]),
            "Metadata": chance.choice([{}, {"env": "prod"}, {"env": "test", "job": "1"}]),
            "CostInUSD": chance.choice([None, chance.random() / 7]),
            "LatencyMs": chance.choice([None, chance.random() * 1e4]),
            "InputTokens": chance.choice([None, 0, chance.randrange(10**9)]),
            "IsFailure": chance.random() < 0.2,
        }
        for _ in range(count)
    ]


SUMS: Final = ["sum costInUSD", "sum inputTokens", "count costInUSD"]
ADDED_UP: Final[list[dict[str, Any]]] = [
    {**WEEK, "groupBy": ["modelName"], "aggregations": SUMS},
    {**WEEK, "groupBy": ["modelName"], "aggregations": ["min latencyMs", "max inputTokens"]},
    {**WEEK, "groupBy": ["metadata.env", "modelName"], "aggregations": [*SUMS, "share"]},
    {**WEEK, "groupBy": ["modelName"], "aggregations": ["errorRate", "costPerMillionTokens"]},
    {**WEEK, "groupBy": ["modelName"], "aggregations": SUMS, "compareTo": "previous"},
    {**WEEK, "groupBy": ["modelName"], "aggregations": ["share"], "interval": "1 day"},
]
ASKED: Final[list[dict[str, Any]]] = [
    {**WEEK, "groupBy": ["team"], "aggregations": SUMS},
    {**WEEK, "groupBy": ["userEmail"], "aggregations": SUMS},
    {**WEEK, "groupBy": ["virtualaccount", "modelName"], "aggregations": SUMS},
    {**WEEK, "groupBy": ["modelName"], "aggregations": ["avg latencyMs", *SUMS]},
    {**WEEK, "groupBy": ["modelName"], "aggregations": ["p99 latencyMs"]},
    {**WEEK, "groupBy": ["modelName"], "aggregations": ["countDistinct modelName"]},
]


@pytest.mark.parametrize("count", [1, 3, 400])
@pytest.mark.parametrize("arguments", ADDED_UP)
def test_all_is_added_up_from_an_engines_groups_with_the_same_answer(
    world: World, arguments: dict[str, Any], count: int
) -> None:
    world.fill(some_rows(count, count))
    asked = world.ask(arguments)
    most = world.recorder.calls

    added_up = world.ask(arguments, is_by_rulings=True)

    assert added_up == asked
    assert world.recorder.calls < most


@pytest.mark.parametrize("arguments", ASKED)
def test_all_is_asked_where_groups_or_values_do_not_add_up(
    world: World, arguments: dict[str, Any]
) -> None:
    world.fill(some_rows(7, 200))
    asked = world.ask(arguments)
    most = world.recorder.calls

    assert world.ask(arguments, is_by_rulings=True) == asked
    assert world.recorder.calls == most


@pytest.mark.parametrize("cost", [1.5e308, -1.5e308])
@pytest.mark.parametrize("is_by_rulings", [True, False])
def test_a_sum_too_large_for_a_double_is_null_in_all_too(
    world: World, cost: float, *, is_by_rulings: bool
) -> None:
    world.fill([{"CreatedAt": NOON, "ModelName": name, "CostInUSD": cost} for name in "ab"])
    question = {**WEEK, "groupBy": ["modelName"], "aggregations": ["sum costInUSD"]}
    text = world.ask({**question, "format": "exact"}, is_by_rulings=is_by_rulings)
    assert text.splitlines()[-1] == "ALL|2|null"


def test_the_way_to_the_cost_drivers_counts_the_calls_of_an_engine(world: World) -> None:
    world.fill([{**row, "CostInUSD": None} for row in some_rows(3, 30)] + some_rows(4, 60))
    asked = {
        **WEEK,
        "groupBy": ["modelName"],
        "aggregations": ["sum costInUSD", "errorRate"],
        "compareTo": "previous",
    }

    text = world.ask(asked, calls=5, is_by_rulings=True)

    assert "cannot be computed here: ask sum costInUSD alone\n" in text
