"""Teams and metadata as dimensions of the embedded engine (R5, R6, R24)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest

Row = dict[str, Any]
Ask = Callable[..., Awaitable[list[Row]]]
Write = Callable[..., Path]


# --- R5 and R24: teams ---


TEAMED: Final = (
    {"ModelName": "a", "InputTokens": 1, "Teams": ["search", "support"]},
    {"ModelName": "a", "InputTokens": 2, "Teams": ["search"]},
    {"ModelName": "b", "InputTokens": 4, "Teams": []},
    {"ModelName": "b", "InputTokens": 8, "Teams": None},
    {"ModelName": "b", "InputTokens": 16, "Teams": [None]},
)


async def test_r5_a_row_stands_under_each_of_its_teams_and_nothing_vanishes(
    ask: Ask, write: Write
) -> None:
    write(TEAMED)

    rows = await ask(groupBy=["team"], aggregations=["sum inputTokens"])

    assert rows == [
        {"team": None, "total": 3, "sumInputTokens": 28},
        {"team": "search", "total": 2, "sumInputTokens": 3},
        {"team": "support", "total": 1, "sumInputTokens": 1},
    ]


async def test_r5_a_team_listed_twice_counts_once(ask: Ask, write: Write) -> None:
    write([{"Teams": ["search", "search"], "InputTokens": 5}])

    rows = await ask(groupBy=["team"], aggregations=["sum inputTokens", "count team"])

    assert rows == [{"team": "search", "total": 1, "sumInputTokens": 5, "countTeam": 1}]


async def test_r5_a_null_among_the_teams_makes_no_group_beside_a_name(
    ask: Ask, write: Write
) -> None:
    write([{"Teams": ["search", None]}])

    assert await ask(groupBy=["team"]) == [{"team": "search", "total": 1}]


async def test_r5_teams_split_a_timeseries_and_go_with_other_dimensions(
    ask: Ask, write: Write
) -> None:
    write(TEAMED)

    rows = await ask(groupBy=["modelName", "team"], interval="1 day")

    assert [(row["modelName"], row["team"], row["total"]) for row in rows] == [
        ("b", None, 3),
        ("a", "search", 2),
        ("a", "support", 1),
    ]


async def test_r24_count_of_team_is_rows_with_a_team_and_distinct_is_their_names(
    ask: Ask, write: Write
) -> None:
    write(TEAMED)

    rows = await ask(aggregations=["count team", "countDistinct team"])
    by_model = await ask(groupBy=["modelName"], aggregations=["count team", "countDistinct team"])

    assert rows == [{"total": 5, "countTeam": 2, "countDistinctTeam": 2}]
    assert by_model == [
        {"modelName": "b", "total": 3, "countTeam": 0, "countDistinctTeam": 0},
        {"modelName": "a", "total": 2, "countTeam": 2, "countDistinctTeam": 2},
    ]


async def test_r24_under_team_they_are_of_that_teams_rows(ask: Ask, write: Write) -> None:
    write(TEAMED)

    rows = await ask(groupBy=["team"], aggregations=["count team", "countDistinct team"])

    assert [(r["team"], r["countTeam"], r["countDistinctTeam"]) for r in rows] == [
        (None, 0, 0),
        ("search", 2, 2),
        ("support", 1, 2),
    ]


# --- R6: metadata ---


async def test_r6_a_row_without_the_key_or_without_metadata_has_null(
    ask: Ask, write: Write
) -> None:
    write(
        [
            {"Metadata": {"environment": "production"}},
            {"Metadata": {"environment": ""}},
            {"Metadata": {"other": "x"}},
            {"Metadata": {}},
            {"Metadata": None},
        ]
    )

    rows = await ask(groupBy=["metadata.environment"])

    assert rows == [
        {"metadata.environment": None, "total": 3},
        {"metadata.environment": "", "total": 1},
        {"metadata.environment": "production", "total": 1},
    ]


KEYS: Final = (
    "a.b.c",
    "with space",
    "quote'single",
    'quote"double',
    "back\\slash",
    "$p0",
    "]; --",
    "ключ",
    "🔑",
    "metadata.nested",
    "null",
)


@pytest.mark.parametrize("key", KEYS)
async def test_r6_a_key_of_any_text_is_literal(ask: Ask, write: Write, key: str) -> None:
    write([{"Metadata": {key: "yes", "a": "no"}}, {"Metadata": {"a": "no"}}])

    rows = await ask(groupBy=[f"metadata.{key}"])
    filtered = await ask(filters=[(f"metadata.{key}", "EQUAL", "yes")])

    name = f"metadata.{key}"
    assert rows == [{name: "yes", "total": 1}, {name: None, "total": 1}]
    assert filtered == [{"total": 1}]


async def test_r6_two_keys_split_rows_by_both(ask: Ask, write: Write) -> None:
    write([{"Metadata": {"a": "1", "b": "2"}}, {"Metadata": {"a": "1"}}])

    rows = await ask(groupBy=["metadata.b", "metadata.a"])

    assert rows == [
        {"metadata.b": "2", "metadata.a": "1", "total": 1},
        {"metadata.b": None, "metadata.a": "1", "total": 1},
    ]
