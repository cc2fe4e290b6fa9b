"""One line says what moved the cost; its parts add up to its whole as they stand there."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import pytest
from hypothesis import example, given, note
from hypothesis import strategies as st

Row = dict[str, Any]
World = Any
Group = Callable[[Sequence[Row], Sequence[str]], dict[tuple[Any, ...], list[Row]]]

START: Final = datetime(2026, 6, 29, tzinfo=UTC)
HALF: Final = START + timedelta(days=7)
QUESTION: Final = {
    "startTs": "2026-07-06",
    "endTs": "2026-07-13",
    "compareTo": "1 week",
    "aggregations": ["sum costInUSD"],
}
LINE: Final = re.compile(r"# of the (\S+) USD of ALL: ([^(\n]*?)(?: \((.*), then (.*)\))?\n")
PART: Final = re.compile(r"([a-z][a-z ]*) ([+-][0-9.]+)")
PARTS: Final = {
    "calls",
    "tokens per call",
    "price or mix",
    "cost per call",
    "new groups",
    "vanished groups",
}

ROW: Final = st.fixed_dictionaries(
    {
        "CreatedAt": st.integers(0, 14 * 24 - 1).map(lambda hours: START + timedelta(hours=hours)),
        "ModelName": st.sampled_from(["gpt", "claude", "mistral", None]),
        "InputTokens": st.sampled_from([None, 0, 0, 7, 1000, 10**6]),
        "OutputTokens": st.sampled_from([None, 0, 5]),
        "CostInUSD": st.sampled_from([None, 0.0, 1e-7, 0.1, 0.37, 12.5, 3333.333]),
        "CreatedBySubjectSlug": st.sampled_from(["ada", "bob"]),
        "CreatedBySubjectType": st.sampled_from(["user", "user", "virtualaccount"]),
        "Teams": st.sampled_from([None, ["red"], ["red", "blue"]]),
    }
)
KEEPER: Final = {
    "CreatedAt": START,
    "ModelName": "gpt",
    "InputTokens": 10,
    "OutputTokens": None,
    "CostInUSD": 2.0,
    "CreatedBySubjectSlug": "ada",
    "CreatedBySubjectType": "user",
    "Teams": None,
}
"""The earlier window begins with a call: the data reach back to its start."""
ROWS: Final = st.lists(ROW, max_size=14).map(lambda rows: [KEEPER, *rows])
GROUP_BY: Final = st.lists(
    st.sampled_from(["modelName", "team", "userEmail"]), max_size=2, unique=True
)


def call(start: datetime, model: str, cost: float | None, tokens: int | None = 10) -> Row:
    return {
        **KEEPER,
        "CreatedAt": start,
        "ModelName": model,
        "InputTokens": tokens,
        "CostInUSD": cost,
    }


def spend_of(rows: Sequence[Row]) -> tuple[int, int, float]:
    """Calls that have a price, their tokens, their cost."""
    priced = [row for row in rows if row["CostInUSD"] is not None]
    tokens = sum((row["InputTokens"] or 0) + (row["OutputTokens"] or 0) for row in priced)
    return len(priced), tokens, math.fsum(row["CostInUSD"] for row in priced)


def halves(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    return (
        [row for row in rows if row["CreatedAt"] >= HALF],
        [row for row in rows if row["CreatedAt"] < HALF],
    )


def parse(text: str) -> tuple[Decimal, dict[str, Decimal]] | None:
    """The whole and the parts of the line, as they are printed."""
    found = LINE.search(text)
    if found is None:
        return None
    parts = {name: Decimal(amount) for name, amount in PART.findall(found[2])}
    assert ", ".join(f"{name} {amount:+}" for name, amount in parts.items()) == found[2]
    assert parts.keys() <= PARTS
    return Decimal(found[1]), parts


@given(rows=ROWS, group_by=GROUP_BY)
@example(
    rows=[
        {**call(at, "gpt", cost), "Teams": teams, "CreatedBySubjectType": kind}
        for at, cost, teams, kind in (
            (START, 1.0, ["red", "blue"], "user"),
            (START, 2.0, ["red"], "virtualaccount"),
            (HALF, 5.0, ["red", "blue"], "user"),
            (HALF, 7.0, ["red"], "virtualaccount"),
        )
    ],
    group_by=["team", "userEmail"],
)
def test_the_parts_add_up_to_the_change_of_all(
    world: World, rows: list[Row], group_by: list[str]
) -> None:
    world.fill(rows)

    text = world.ask({**QUESTION, "groupBy": group_by})
    note(text)

    assert world.recorder.calls <= 6
    (_, _, now), (_, _, before) = map(spend_of, halves(rows))
    line = parse(text)
    if line is None:
        assert not (spend_of(halves(rows)[0])[0] and spend_of(halves(rows)[1])[0])
        return
    whole, parts = line
    assert sum(parts.values()) == whole
    unit = Decimal(1).scaleb(int(whole.as_tuple().exponent))
    assert abs(Decimal(now) - Decimal(before) - whole) <= unit * Decimal("0.51")
    assert ("tokens per call" in parts) <= ("price or mix" in parts)


@given(rows=ROWS)
def test_each_part_is_what_it_says(world: World, group_rows: Group, rows: list[Row]) -> None:
    world.fill(rows)

    line = parse(world.ask({**QUESTION, "groupBy": ["modelName"]}))

    now, before = (group_rows(half, ["modelName"]) for half in halves(rows))
    both = [k for k in now if k in before and spend_of(now[k])[0] and spend_of(before[k])[0]]
    ours = spend_of([row for key in both for row in now[key]])
    theirs = spend_of([row for key in both for row in before[key]])
    if line is None or not both:
        return
    new = spend_of([row for key, members in now.items() if key not in both for row in members])
    gone = spend_of([row for key, members in before.items() if key not in both for row in members])
    truth = {"calls": (ours[0] - theirs[0]) * theirs[2] / theirs[0]}
    if ours[1] and theirs[1]:
        per_call = ours[1] / ours[0] - theirs[1] / theirs[0]
        truth["tokens per call"] = ours[0] * per_call * (theirs[2] / theirs[1])
    truth |= {"new groups": new[2], "vanished groups": -gone[2]}
    whole, parts = line
    unit = float(Decimal(1).scaleb(int(whole.as_tuple().exponent)))
    for name, amount in truth.items():
        got = float(parts.get(name, Decimal(0)))
        assert math.isclose(got, amount, rel_tol=1e-9, abs_tol=unit * 0.51), name
    assert ("tokens per call" in parts) == bool(ours[1] and theirs[1])


def test_more_calls_at_one_price_are_calls_alone(world: World) -> None:
    world.fill([call(START, "gpt", 2.0)] * 3 + [call(HALF, "gpt", 2.0)] * 5)

    text = world.ask({**QUESTION, "groupBy": ["modelName"]})

    assert parse(text) == (
        Decimal("4.000"),
        {"calls": Decimal("4.000"), "tokens per call": Decimal(0), "price or mix": Decimal(0)},
    )
    assert (
        "(3 calls with a price x 10 tokens x 200000.00 USD per million,"
        " then 5 calls with a price x 10 tokens x 200000.00 USD per million)" in text
    )


def test_calls_without_a_price_move_nothing(world: World) -> None:
    unpriced = [call(HALF, "gpt", None, 10**9)] * 7
    world.fill([call(START, "gpt", 2.0), call(HALF, "gpt", 3.0), *unpriced])

    text = world.ask({**QUESTION, "groupBy": ["modelName"]})

    assert parse(text) == (
        Decimal(1),
        {"calls": Decimal(0), "tokens per call": Decimal(0), "price or mix": Decimal(1)},
    )
    assert world.recorder.calls == 6
    assert "# 87.5% of the calls in the later window, 7 of 8, have no price (often" in text


@pytest.mark.parametrize(
    ("asked", "calls"), [("costPerRequest", 4), ("costPerMillionTokens", 6), ("avg costInUSD", 5)]
)
def test_what_is_no_spend_is_not_split(world: World, asked: str, calls: int) -> None:
    world.fill([call(START, "gpt", 2.0), call(HALF, "gpt", 3.0), call(HALF, "gpt", None)])

    alone = world.ask({**QUESTION, "groupBy": ["modelName"], "aggregations": [asked]})
    assert world.recorder.calls == calls  # none for a split
    beside = world.ask({**QUESTION, "aggregations": [asked, "sum costInUSD"]})

    assert "USD of ALL:" not in alone
    assert "what moved the cost" not in alone
    assert parse(beside) is not None


@pytest.mark.parametrize("group_by", [[], ["modelName"]], ids=["ungrouped", "grouped"])
def test_a_gap_in_the_earlier_window_leaves_the_split(world: World, group_by: list[str]) -> None:
    world.fill([call(START + timedelta(days=4), "gpt", 2.0), call(HALF, "gpt", 5.0)])

    text = world.ask({**QUESTION, "groupBy": group_by})

    assert "# the earlier window has no rows before 2026-07-03T00:00Z (57.1% of it): if " in text
    line = parse(text)
    assert line is not None
    assert line[0] == 3


def test_calls_without_tokens_leave_a_cost_per_call(world: World) -> None:
    world.fill([call(START, "gpt", 2.0, None), call(HALF, "gpt", 3.0, 0)])

    line = parse(world.ask({**QUESTION, "groupBy": ["modelName"]}))

    assert line == (Decimal(1), {"calls": Decimal(0), "cost per call": Decimal(1)})


def test_credits_are_part_of_the_split_and_of_the_price_of_tokens(world: World) -> None:
    world.fill([call(START, "gpt", 2.0), call(HALF, "gpt", 5.0), call(HALF, "gpt", -1.0)])
    text = world.ask({**QUESTION, "groupBy": ["modelName"]})
    assert "# of the +2.000 USD of ALL: " in text

    later = {name: value for name, value in QUESTION.items() if name != "compareTo"}
    text = world.ask({**later, "aggregations": ["costPerMillionTokens"]})
    assert "costPerMillionTokens (USD): 200000" in text


def test_teams_that_share_calls_are_split_as_one(world: World) -> None:
    shared = {"Teams": ["red", "blue"]}
    world.fill([call(START, "gpt", 2.0) | shared, call(HALF, "gpt", 5.0) | shared])

    line = parse(world.ask({**QUESTION, "groupBy": ["team"]}))

    assert line is not None
    assert line[0] == 3


def test_groups_that_came_and_went_are_all_of_the_change(world: World) -> None:
    world.fill([call(START, "gpt", 5.0), call(HALF, "claude", 1.0)])

    text = world.ask({**QUESTION, "groupBy": ["modelName"]})

    assert "# of the -4.000 USD of ALL: new groups +1.000, vanished groups -5.000\n" in text


@pytest.mark.parametrize("group_by", [[], ["modelName"]], ids=["ungrouped", "grouped"])
@pytest.mark.parametrize("at", [START, HALF], ids=["before", "now"])
def test_a_window_without_calls_leaves_nothing_to_split(
    world: World, group_by: list[str], at: datetime
) -> None:
    world.fill([call(at, "gpt", 5.0), call(at, "claude", 1.0)])

    text = world.ask({**QUESTION, "groupBy": group_by})

    assert "what moved the cost" not in text
    change = "+6" if at == HALF else "-6"
    assert f"sumCostInUSD_change: {change}\n" in text or f"|{change}|" in text.split("\nALL")[1]


def test_where_calls_run_short_the_split_is_said_to_be_missing(world: World) -> None:
    world.fill([call(START, "gpt", 2.0), call(HALF, "gpt", 5.0), call(HALF, "gpt", None)])
    asked = ["sum costInUSD", "costPerMillionTokens"]

    text = world.ask({**QUESTION, "groupBy": ["modelName"], "aggregations": asked})

    assert world.recorder.calls <= 6
    assert parse(text) is not None or "# what moved the cost" in text


@pytest.mark.parametrize(
    ("question", "most", "way"),
    [
        ({"startTs": "this month", "groupBy": ["modelName"]}, 5, "ask it without group-by"),
        (
            {"groupBy": ["modelName"], "aggregations": ["sum costInUSD", "errorRate"]},
            6,
            "ask sum costInUSD alone",
        ),
        (
            {
                "startTs": "this month",
                "groupBy": ["modelName"],
                "aggregations": ["sum costInUSD", "p95 latencyMs", "errorRate"],
            },
            6,
            "ask sum costInUSD alone, without group-by",
        ),
        (
            {"startTs": "this month"},
            4,
            "it takes more than the limit of 4 upstream calls",
        ),
    ],
    ids=["grouped", "not alone", "both", "few calls"],
)
def test_what_the_line_says_to_ask_tells_what_moved_the_cost(
    world: World, question: dict[str, Any], most: int, way: str
) -> None:
    month_ago = HALF - timedelta(days=30)
    priced = [call(at, "gpt", 2.0) for at in (month_ago, START, HALF)]
    world.fill([*priced, call(HALF, "gpt", None), call(month_ago, "claude", 1.0)])
    asked = {**QUESTION, **question}
    if "startTs" in question:
        asked |= {"endTs": None, "compareTo": "previous"}

    text = world.ask(asked, calls=most)

    said = "# what moved the cost (calls, tokens per call, price) cannot be computed here: "
    assert f"{said}{way}\n" in text
    if "alone" in way:
        asked["aggregations"] = ["sum costInUSD"]
    if "group-by" in way:
        asked["groupBy"] = None
    if "ask" in way:
        assert parse(world.ask(asked, calls=most)) is not None


def test_what_moved_the_cost_of_a_running_month_is_told_by_group(world: World) -> None:
    rows = [(START.replace(day=1), 2.0), (HALF.replace(day=1), 5.0), (HALF, None)]
    world.fill([call(at, "gpt", cost) for at, cost in rows])
    month = {"startTs": "this month", "endTs": None, "compareTo": "previous"}

    text = world.ask({**QUESTION, **month, "groupBy": ["modelName"]})

    assert world.recorder.calls <= 6
    line = parse(text)
    assert line is not None
    assert line[0] == 3
    assert "# run rate: " in text
