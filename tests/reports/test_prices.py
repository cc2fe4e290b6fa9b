"""Calls without a price make spend a lower bound: said with the true share, where cost is asked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

Row = dict[str, Any]
World = Any

WEEK: Final = {"startTs": "2026-07-06", "endTs": "2026-07-13"}
NOON: Final = datetime(2026, 7, 10, 12, tzinfo=UTC)
ROWS: Final = st.lists(
    st.tuples(
        st.sampled_from(["gpt", "claude", None]),
        st.sampled_from([None, 0.0, 0.5]),
        st.sampled_from([None, ["red"], ["red", "blue"]]),
    ),
    min_size=1,
    max_size=12,
)


def calls(made: Sequence[tuple[str | None, float | None, list[str] | None]]) -> list[Row]:
    return [
        {
            "CreatedAt": NOON,
            "ModelName": model,
            "CostInUSD": cost,
            "InputTokens": 5,
            "OutputTokens": 5,
            "LatencyMs": 10.0,
            "Teams": teams,
            "CreatedBySubjectSlug": "ada",
            "CreatedBySubjectType": "user",
        }
        for model, cost, teams in made
    ]


def price_lines(text: str) -> list[str]:
    return [line for line in text.split("\n") if "no price" in line]


def percent(part: float) -> str:
    """A share as answers show one."""
    return f"{part * 100:.2g}%" if part < 0.01 else f"{part * 100:.1f}%"


@given(
    made=ROWS,
    group_by=st.sampled_from([[], ["modelName"], ["team"]]),
    asked=st.sampled_from(["sum costInUSD", "costPerRequest", "costPerMillionTokens"]),
)
def test_the_share_without_a_price_is_true(
    world: World,
    made: list[tuple[str | None, float | None, list[str] | None]],
    group_by: list[str],
    asked: str,
) -> None:
    world.fill(calls(made))

    text = world.ask({**WEEK, "groupBy": group_by, "aggregations": [asked]})

    missing = sum(cost is None for _, cost, _ in made)
    lines = price_lines(text)
    assert len(lines) == (missing > 0)
    if missing:
        share = percent(missing / len(made))
        said = f"# {share} of the calls, {missing} of {len(made)}, have no price"
        assert lines[0].startswith(said)


@pytest.mark.parametrize("asked", [[], ["sum inputTokens"], ["count costInUSD"], ["errorRate"]])
def test_it_is_not_said_where_cost_is_not_asked(world: World, asked: list[str]) -> None:
    rows = calls([("gpt", None, None), ("claude", 1.0, None)])
    world.fill([{**row, "IsFailure": False} for row in rows])

    assert price_lines(world.ask({**WEEK, "groupBy": ["modelName"], "aggregations": asked})) == []


def test_few_of_very_many_are_no_zero(world: World) -> None:
    world.fill(calls([("gpt", 1.0, None)] * 9999 + [("gpt", None, None)]))

    (line,) = price_lines(world.ask({**WEEK, "aggregations": ["sum costInUSD"]}))

    assert line.startswith("# 0.010% of the calls, 1 of 10000, have no price")


def test_without_the_all_row_groups_that_share_no_calls_tell_it(world: World) -> None:
    world.fill(calls([("gpt", None, ["red", "blue"]), ("claude", 1.0, ["red"])]))
    question = {**WEEK, "aggregations": ["sum costInUSD"]}

    by_model = world.ask({**question, "groupBy": ["modelName"]}, all_row=False)
    by_team = world.ask({**question, "groupBy": ["team"]}, all_row=False)

    assert price_lines(by_model)[0].startswith("# 50.0% of the calls, 1 of 2, have no price")
    assert price_lines(by_team) == [
        "# some calls have no price (often failed calls): spend is a lower bound"
    ]


def test_a_timeseries_says_it_of_the_whole_window(world: World) -> None:
    world.fill(calls([("gpt", None, None), ("claude", 1.0, None), ("claude", 1.0, None)]))
    question = {**WEEK, "interval": "1 day", "aggregations": ["sum costInUSD"]}

    (line,) = price_lines(world.ask({**question, "groupBy": ["modelName"]}))

    assert line.startswith("# 33.3% of the calls, 1 of 3, have no price")


@pytest.mark.parametrize("field", ["team", "userEmail"])
def test_a_timeseries_whose_groups_share_or_lack_calls_gives_no_share(
    world: World, field: str
) -> None:
    made = calls([("gpt", None, ["red", "blue"]), ("claude", 1.0, ["red"])])
    question = {**WEEK, "interval": "1 day", "aggregations": ["sum costInUSD"]}

    world.fill(made)
    text = world.ask({**question, "groupBy": [field]})
    world.fill([{**row, "CostInUSD": 1.0} for row in made])
    all_priced = world.ask({**question, "groupBy": [field]})

    assert price_lines(text) == [
        "# some calls have no price (often failed calls): spend is a lower bound"
    ]
    assert price_lines(all_priced) == []


@pytest.mark.parametrize(
    ("costs", "said"),
    [
        ((1.0, None), "100.0% of the calls in the earlier window, 1 of 1, have no price (often"),
        ((None, 1.0), "100.0% of the calls in the later window, 1 of 1, have no price (often"),
    ],
)
def test_a_window_without_prices_is_named_alone(
    world: World, costs: tuple[float | None, float | None], said: str
) -> None:
    now, before = calls([("gpt", cost, None) for cost in costs])
    before["CreatedAt"] = datetime(2026, 7, 1, tzinfo=UTC)
    world.fill([now, before])

    asked = {**WEEK, "compareTo": "1 week", "aggregations": ["costPerRequest"]}
    (line,) = price_lines(world.ask(asked))

    assert line.startswith(f"# {said}")
    assert line.endswith("): excluded from the figures")


def test_a_comparison_says_of_which_window_it_is(world: World) -> None:
    rows = calls([("gpt", None, None), ("gpt", 1.0, None), ("gpt", None, None)])
    rows[2]["CreatedAt"] = datetime(2026, 7, 1, tzinfo=UTC)
    world.fill(rows)
    question = {**WEEK, "compareTo": "1 week", "aggregations": ["sum costInUSD"]}

    (line,) = price_lines(world.ask(question))

    assert line == (
        "# 50.0% of the calls in the later window, 1 of 2, have no price; 100.0% of the calls in"
        " the earlier window, 1 of 1, have no price (often failed calls): spend is a lower"
        " bound"
    )
