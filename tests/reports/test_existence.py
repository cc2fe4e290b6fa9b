"""An engine looks for each value of a list up to its first row, and the answer stays the same."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

World = Any
NOON: Final = datetime(2026, 7, 10, 12, tzinfo=UTC)
WEEK: Final = {"startTs": "2026-07-06", "endTs": "2026-07-13"}


def some_rows(count: int) -> list[dict[str, Any]]:
    chance = random.Random(count)  # noqa: S311 - a sample
    return [
        {
            "CreatedAt": NOON - timedelta(hours=chance.randrange(10 * 24)),
            "ModelName": chance.choice(["a/x", "b/y"]),
            "CreatedBySubjectSlug": chance.choice(["ada", "bob"]),
            "CreatedBySubjectType": chance.choice(["user", "virtualaccount"]),
            "Teams": chance.choice([["red"], ["red", "blue"], []]),
            "Metadata": chance.choice([{}, {"env": "prod"}]),
        }
        for _ in range(count)
    ]


def filtered(field: str, operator: str, *values: str, **more: Any) -> dict[str, Any]:
    filters = [{"fieldName": field, "operator": operator, "value": [*values]}]
    return {**WEEK, "aggregations": ["sum costInUSD"], "filters": filters, **more}


@pytest.mark.parametrize(
    "arguments",
    [
        filtered("team", "ARRAY_HAS_ANY", "red", "blue"),
        filtered("team", "ARRAY_HAS_ANY", "red", "gren", "blu"),
        filtered("team", "ARRAY_HAS_ANY", "red", "blu", groupBy=["modelName"]),
        filtered("team", "ARRAY_HAS_ANY", "red", "blu", groupBy=["team"]),
        filtered("team", "ARRAY_HAS_ANY", "red", "blu", compareTo="previous"),
        filtered("userEmail", "IN", "ada", "adda"),
        filtered("modelName", "IN", "a/x", "b/z"),
        filtered("metadata.env", "IN", "prod", "prd"),
        filtered("team", "ARRAY_HAS_ANY", "x", "y"),
        filtered("team", "ARRAY_HAS_NONE", "red", "blu"),
        filtered("team", "ARRAY_HAS_ANY", *(f"team-{number}" for number in range(11)), "red"),
    ],
)
def test_the_answer_is_that_of_a_grouped_query(world: World, arguments: dict[str, Any]) -> None:
    world.fill(some_rows(300))
    grouped = world.ask(arguments)

    assert world.ask(arguments, is_by_rulings=True, all_row=True) == grouped


def test_each_value_is_looked_for_up_to_its_first_row(world: World) -> None:
    world.fill(some_rows(300))

    text = world.ask(filtered("team", "ARRAY_HAS_ANY", "red", "blue", "gren"), is_by_rulings=True)

    first, *looked_for, nearest = world.recorder.sent
    assert "gren" in text
    assert not first.finds_one
    assert [query.finds_one for query in looked_for] == [True] * 3
    assert [query.filters[0].value for query in looked_for] == [("red",), ("blue",), ("gren",)]
    assert nearest.group_by == ("team",)  # only because a value was not found


def test_nothing_more_is_asked_if_every_value_has_rows(world: World) -> None:
    world.fill(some_rows(300))

    world.ask(filtered("team", "ARRAY_HAS_ANY", "red", "blue"), is_by_rulings=True)

    assert [query.finds_one for query in world.recorder.sent] == [False, True, True]
    assert all(not query.group_by for query in world.recorder.sent)


def test_the_plan_tells_what_is_looked_for(world: World) -> None:
    world.fill(some_rows(3))
    asked = filtered("team", "ARRAY_HAS_ANY", "red", "blue", format="explain")

    text = world.ask(asked, is_by_rulings=True)

    assert "whether some row has the value of team, up to the first one (2 times)" in text
    assert "# upstream calls: 3;" in text
    assert "LIMIT 1) AS found" in text
