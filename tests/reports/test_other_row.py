"""The `other` row is the answer to the same question of the hidden rows alone, or says n/a."""

from __future__ import annotations

import math
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

NOW_DAY: Final = "2026-07-14T12:00:00Z"
DAY_BEFORE: Final = "2026-07-13T12:00:00Z"
WINDOW: Final = {"startTs": "2026-07-14", "endTs": "2026-07-15"}
VALUES: Final = [
    *("sum costInUSD", "share", "errorRate", "costPerRequest", "min latencyMs"),
    *("max latencyMs", "avg costInUSD", "p95 latencyMs", "countDistinct modelName"),
]
MODELS: Final = ("a", "b", "c", "d")


def row(model: str, at: str, cost: float | None, *, is_failure: bool) -> dict[str, Any]:
    """A model call."""
    return {
        "CreatedAt": at,
        "ModelName": model,
        "CostInUSD": cost,
        "LatencyMs": None if cost is None else cost * 10,
        "IsFailure": is_failure,
    }


CALLS: Final = st.lists(
    st.builds(
        row,
        st.sampled_from(MODELS),
        st.sampled_from((NOW_DAY, DAY_BEFORE)),
        st.none() | st.integers(0, 40).map(float),
        is_failure=st.booleans(),
    ),
    max_size=15,
)
ALWAYS: Final = [
    row(model, at, 4.0, is_failure=model == "b") for model in MODELS for at in (NOW_DAY, DAY_BEFORE)
]


def table_of(text: str) -> dict[str, dict[str, str]]:
    """By first cell, the cells of a row by heading."""
    heading, _, *rows = [line for line in text.split("\n") if not line.startswith("# ")]
    names = heading.split("|")
    cells = [line.split("|") for line in rows]
    return {row[0].partition(" (")[0]: dict(zip(names, row, strict=True)) for row in cells}


def number(cell: str) -> float | None:
    """A cell as a number; None for null."""
    return None if cell == "null" else float(cell.rstrip("%p").rstrip("p"))


@given(calls=CALLS, comparison=st.sampled_from([{}, {"compareTo": "previous"}]))
def test_other_is_the_answer_of_the_hidden_rows(
    world: Any, calls: list[dict[str, Any]], comparison: dict[str, str]
) -> None:
    world.fill([*ALWAYS, *calls])
    asked = {
        **WINDOW,
        "aggregations": VALUES,
        "groupBy": ["modelName"],
        "format": "exact",
        **comparison,
    }
    shown = table_of(world.ask({**asked, "limit": 2}, calls=31))
    first, second = [*shown][:2]
    hidden = {"fieldName": "modelName", "operator": "NOT_IN", "value": [first, second]}

    alone = table_of(world.ask({**asked, "filters": [hidden]}, calls=31))["ALL"]

    for name, cell in shown["other"].items():
        if name == "modelName" or name not in alone:  # where values are few, both count them
            continue
        if name.startswith(("p95", "countDistinct")):
            assert cell == "n/a"
        elif name.startswith("share"):  # of another whole
            assert cell != "n/a" or name.endswith("%")
        elif alone[name] == "n/a" or cell == "n/a":
            assert cell == alone[name]
        else:
            mine, truth = number(cell), number(alone[name])
            is_same = (
                mine == truth
                if mine is None or truth is None
                else math.isclose(mine, truth, rel_tol=1e-9, abs_tol=1e-9)
            )
            assert is_same, (name, cell, alone[name])


def test_a_minimum_of_teams_that_share_calls_is_known_and_their_sum_is_not(world: Any) -> None:
    world.fill(
        [
            {**row("a", NOW_DAY, cost, is_failure=False), "Teams": teams}
            for cost, teams in ((9.0, ["x", "y"]), (1.0, ["y", "z"]), (5.0, ["x"]))
        ]
    )
    text = world.ask(
        {
            **WINDOW,
            "groupBy": ["team"],
            "aggregations": ["sum costInUSD", "max costInUSD", "errorRate"],
            "limit": 1,
        }
    )

    other = table_of(text)["other"]
    assert [*other.values()][1:] == ["n/a", "n/a", "9", "n/a"]
