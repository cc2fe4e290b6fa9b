"""ALL is asked, not summed; where the rows do not add up to it, the answer says by how much."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

Ask = Callable[..., Awaitable[str]]

WEEK: Final = {"startTs": "2026-07-01", "endTs": "2026-07-08"}
BY_USER: Final = {**WEEK, "groupBy": ["userEmail"], "aggregations": ["sum costInUSD"]}
USERS: Final[list[dict[str, Any]]] = [
    {"createdBySubjectSlug": "ada", "total": 60, "sumCostInUSD": 30.0},
    {"createdBySubjectSlug": "bob", "total": 30, "sumCostInUSD": 10.0},
]


def gap_of(text: str) -> list[str]:
    """What the answer says of rows against ALL."""
    return [line for line in text.split("\n") if re.match("# rows (add|and)", line)]


async def test_all_is_asked_not_summed(ask: Ask) -> None:
    rows = [{"modelName": name, "total": 5, "p99LatencyMs": 100} for name in "ab"]
    question = {**WEEK, "groupBy": ["modelName"], "aggregations": ["p99 latencyMs"]}

    text = await ask(rows, question, totals={"p99LatencyMs": 177})

    assert text.split("\n")[1:] == [
        "modelName|total|p99LatencyMs",
        "---|---|---",
        "a|5|100",
        "b|5|100",
        "ALL|10|177",
    ]


async def test_rows_that_add_up_to_all_get_no_note(ask: Ask) -> None:
    assert gap_of(await ask(USERS, BY_USER)) == []


async def test_the_order_of_adding_floats_is_no_gap(ask: Ask) -> None:
    rows = [{"modelName": name, "total": 1, "sumCostInUSD": 0.1} for name in "abc"]
    question = {**WEEK, "groupBy": ["modelName"], "aggregations": ["sum costInUSD"]}

    text = await ask(rows, question, totals={"sumCostInUSD": 0.1 + 0.1 + 0.1})

    assert gap_of(text) == []


async def test_one_call_in_a_trillion_is_a_gap(ask: Ask) -> None:
    rows = [{"modelName": name, "total": 10**12} for name in "ab"]

    totals = {"total": 2 * 10**12 + 1}
    text = await ask(rows, {**WEEK, "groupBy": ["modelName"]}, totals=totals, is_by_rulings=False)

    (gap,) = gap_of(text)
    assert gap == (
        "# rows add up to 1 total (<0.1%) less than ALL:"
        " calls without a value of the group-by fields are not in the rows"
    )


@pytest.mark.parametrize(
    ("field", "kind", "reason"),
    [
        ("userEmail", "users", "other callers are not in the rows"),
        ("virtualaccount", "virtual accounts", "other callers are not in the rows"),
    ],
)
async def test_the_other_kind_of_subject_is_named(
    ask: Ask, field: str, kind: str, reason: str
) -> None:
    totals = {"total": 100, "sumCostInUSD": 50.0}

    text = await ask(USERS, {**BY_USER, "groupBy": [field]}, totals=totals)

    assert f"# rows are {kind} only; " in text
    (gap,) = gap_of(text)
    amounts = "10 total (10.0%) less, 10.00 sumCostInUSD (20.0%) less"
    assert gap == f"# rows add up to {amounts} than ALL: {reason}"


async def test_callers_in_several_teams_are_named(ask: Ask) -> None:
    rows = [{"team": name, "total": 6} for name in "ab"]

    text = await ask(rows, {**WEEK, "groupBy": ["team"]}, totals={"total": 8})

    (gap,) = gap_of(text)
    assert gap == (
        "# rows add up to 4 total (50.0%) more than ALL:"
        " callers in several teams count once per team"
    )


@pytest.mark.parametrize(
    ("total", "amount", "is_by_rulings"),
    [
        (8, "4 total (50.0%) more", True),
        (8, "4 total (50.0%) more", False),
        (16, "4 total (25.0%) less", True),  # our engines have null among the rows
    ],
)
async def test_answers_that_contradict_each_other_are_said_to(
    ask: Ask, total: int, amount: str, *, is_by_rulings: bool
) -> None:
    rows = [{"modelName": name, "total": 6} for name in "ab"]
    question = {**WEEK, "groupBy": ["modelName"]}

    text = await ask(rows, question, totals={"total": total}, is_by_rulings=is_by_rulings)

    (gap,) = gap_of(text)
    assert gap == (
        f"# rows add up to {amount} than ALL:"
        " the backend's two answers disagree; ask again before relying on either"
    )


async def test_a_small_gap_up_to_now_is_new_data_and_nothing_else(ask: Ask) -> None:
    rows = [{"modelName": name, "total": 500} for name in "ab"]
    question = {"startTs": "now-1h", "groupBy": ["modelName"]}

    text = await ask(rows, question, totals={"total": 1004})

    assert "# rows and ALL differ by new data that arrived between the two calls\n" in text
    assert gap_of(text) == ["# rows and ALL differ by new data that arrived between the two calls"]


@pytest.mark.parametrize(
    ("total", "amount", "is_by_rulings", "reason"),
    [
        (
            1100,
            "100 total (9.1%) less",
            False,
            "calls without a value of the group-by fields are not in the rows",
        ),
        (
            1100,
            "100 total (9.1%) less",
            True,
            "new data arrived between the two calls; ask again for consistent figures",
        ),
        (
            800,
            "200 total (25.0%) more",
            True,
            "new data arrived between the two calls; ask again for consistent figures",
        ),
        (
            800,
            "200 total (25.0%) more",
            False,
            "the backend's two answers disagree; ask again before relying on either",
        ),
    ],
)
async def test_a_large_gap_up_to_now_is_told_with_its_reason(
    ask: Ask, total: int, amount: str, reason: str, *, is_by_rulings: bool
) -> None:
    rows = [{"modelName": name, "total": 500} for name in "ab"]
    question = {"startTs": "now-1h", "groupBy": ["modelName"]}

    text = await ask(rows, question, totals={"total": total}, is_by_rulings=is_by_rulings)

    assert gap_of(text) == [f"# rows add up to {amount} than ALL: {reason}"]


async def test_a_gap_against_nothing_has_no_share(ask: Ask) -> None:
    rows = [{"modelName": name, "total": 0, "sumCostInUSD": 2.0} for name in "ab"]
    question = {**WEEK, "groupBy": ["modelName"], "aggregations": ["sum costInUSD"]}

    text = await ask(rows, question, totals={"sumCostInUSD": None})

    assert gap_of(text)[0].startswith("# rows add up to 4 sumCostInUSD more than ALL: ")


@pytest.mark.parametrize("name", ["countDistinctModelName", "avgCostInUSD", "maxLatencyMs"])
async def test_values_that_do_not_add_up_are_never_compared(ask: Ask, name: str) -> None:
    rows = [{"modelName": model, "total": 1, name: 7} for model in "ab"]
    function = {"countDistinctModelName": "countDistinct modelName"}.get(name, name)
    question = {**WEEK, "groupBy": ["modelName"], "aggregations": [function]}

    text = await ask(rows, question, totals={name: 900})

    assert gap_of(text) == []
    assert text.endswith("ALL|2|900")


@pytest.mark.parametrize(
    ("rows", "arguments"),
    [
        (USERS[:1], BY_USER),
        (USERS[:1], {**WEEK, "aggregations": ["sum costInUSD"]}),
        ([], BY_USER),
    ],
    ids=["one row", "ungrouped", "no rows"],
)
async def test_there_is_no_all_row_where_it_would_say_nothing(
    ask: Ask, rows: list[dict[str, Any]], arguments: dict[str, Any]
) -> None:
    own = rows[0] if rows else {"total": 99}

    assert "\nALL" not in await ask(rows, arguments, totals=own)


@pytest.mark.parametrize(
    ("totals", "all_row", "amounts"),
    [
        ({"total": 99}, "ALL|99|30.00", "39 total (39.4%) less"),
        ({"sumCostInUSD": 40.0}, "ALL|60|40.00", "10.00 sumCostInUSD (25.0%) less"),
    ],
)
async def test_a_single_row_that_is_not_all_stands_beside_it_with_the_gap(
    ask: Ask, totals: dict[str, Any], all_row: str, amounts: str
) -> None:
    text = await ask(USERS[:1], BY_USER, totals=totals)

    assert text.endswith(f"\nada|60|30.00\n{all_row}")
    reason = "other callers are not in the rows"
    assert gap_of(text) == [f"# rows add up to {amounts} than ALL: {reason}"]


async def test_a_single_row_is_all_also_where_floats_were_added_in_another_order(ask: Ask) -> None:
    rows = [{"modelName": "a", "total": 3, "sumCostInUSD": 0.1 + 0.2 + 0.3}]
    question = {**WEEK, "groupBy": ["modelName"], "aggregations": ["sum costInUSD"]}

    text = await ask(rows, question, totals={"sumCostInUSD": 0.3 + 0.2 + 0.1})

    assert 0.1 + 0.2 + 0.3 != 0.3 + 0.2 + 0.1
    assert "ALL" not in text


async def test_overlapping_teams_do_not_explain_less_than_all(ask: Ask) -> None:
    rows = [{"team": name, "total": 6} for name in "ab"]

    text = await ask(rows, {**WEEK, "groupBy": ["team"]}, totals={"total": 16})

    (gap,) = gap_of(text)
    assert gap == (
        "# rows add up to 4 total (25.0%) less than ALL:"
        " the backend's two answers disagree; ask again before relying on either"
    )


async def test_missing_kinds_do_not_explain_more_than_all(ask: Ask) -> None:
    text = await ask(USERS, BY_USER, totals={"total": 80, "sumCostInUSD": 40.0})

    (gap,) = gap_of(text)
    assert gap == (
        "# rows add up to 10 total (12.5%) more than ALL:"
        " the backend's two answers disagree; ask again before relying on either"
    )


@pytest.mark.parametrize(
    ("total", "reason"),
    [
        (16, "; callers in several teams, if any, count once per team"),
        (8, "callers in several teams count once per team"),
    ],
)
async def test_a_gateways_missing_keys_explain_less_beside_overlapping_teams(
    ask: Ask, total: int, reason: str
) -> None:
    rows = [{"team": name, "total": 6} for name in "ab"]
    question = {**WEEK, "groupBy": ["team"]}

    (gap,) = gap_of(await ask(rows, question, totals={"total": total}, is_by_rulings=False))

    keyless = "calls without a value of the group-by fields are not in the rows"
    assert gap.endswith(reason)
    assert (keyless in gap) == (total == 16)


async def test_the_all_row_can_be_switched_off(ask: Ask) -> None:
    text = await ask(USERS, BY_USER, all_row=False, totals={"total": 99})

    assert "ALL" not in text
    assert "# rows are users only; other callers, if any, are excluded\n" in text
