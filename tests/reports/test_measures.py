"""A measure is a ratio of sums in every row, bucket and ALL: never a mean of ratios."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import example, given, note
from hypothesis import strategies as st

Row = dict[str, Any]
World = Any
Group = Callable[[Sequence[Row], Sequence[str]], dict[tuple[Any, ...], list[Row]]]
Number = int | float

START: Final = datetime(2026, 7, 6, tzinfo=UTC)
WEEK: Final = {"startTs": "2026-07-06", "endTs": "2026-07-13"}

ROW: Final = st.fixed_dictionaries(
    {
        "CreatedAt": st.integers(0, 7 * 24 - 1).map(lambda hours: START + timedelta(hours=hours)),
        "ModelName": st.sampled_from(["gpt", "claude", None]),
        "RequestType": st.sampled_from(["Chat", "Embedding"]),
        "InputTokens": st.sampled_from([None, 0, 7, 1000, 123_457]),
        "OutputTokens": st.sampled_from([None, 0, 3, 250]),
        "CostInUSD": st.sampled_from([None, None, 0.0, 0.1, 0.37, 12.5]),
        "LatencyMs": st.sampled_from([None, 0.0, 80.5, 2000.0]),
        "IsFailure": st.sampled_from([True, False, False, None]),
        "CreatedBySubjectSlug": st.sampled_from(["ada", "bob", None]),
        "CreatedBySubjectType": st.sampled_from(["user", "user", "virtualaccount"]),
        "Teams": st.sampled_from([None, [], ["red"], ["red", "blue"], ["blue", "blue"]]),
        "Metadata": st.sampled_from([None, {}, {"env": "prod"}, {"env": "test"}]),
    }
)
ROWS: Final = st.lists(ROW, max_size=12)
GROUP_BY: Final = st.lists(
    st.sampled_from(["modelName", "requestType", "team", "userEmail", "metadata.env"]),
    max_size=2,
    unique=True,
)
RATIOS: Final = (
    "costPerRequest",
    "costPerMillionTokens",
    "tokensPerRequest",
    "outputTokensPerSecond",
    "errorRate",
)
ASKED: Final = st.lists(
    st.sampled_from([*RATIOS, "sum costInUSD", "sum inputTokens"]), min_size=1, unique=True
)


def present(rows: Sequence[Row], column: str) -> list[Number]:
    return [row[column] for row in rows if row[column] is not None]


def add(*values: Sequence[Number]) -> Number | None:
    """The sum of all; null where there is nothing."""
    together = [value for part in values for value in part]
    return math.fsum(together) if together else None


def divide(upper: Number | None, lower: Number | None) -> float | None:
    return None if upper is None or lower is None or lower == 0 else upper / lower


def tokens(rows: Sequence[Row]) -> Number | None:
    return add(present(rows, "InputTokens"), present(rows, "OutputTokens"))


def cost_per_million(rows: Sequence[Row]) -> float | None:
    priced = [row for row in rows if row["CostInUSD"] is not None]
    each = divide(add(present(priced, "CostInUSD")), tokens(priced))
    return None if each is None else each * 1_000_000


def speed(rows: Sequence[Row]) -> float | None:
    speaking = [r for r in rows if (r["OutputTokens"] or 0) > 0 and (r["LatencyMs"] or 0) > 0]
    each = divide(add(present(speaking, "OutputTokens")), add(present(speaking, "LatencyMs")))
    return None if each is None else each * 1000


TRUTH: Final[dict[str, Callable[[Sequence[Row]], Number | None]]] = {
    "total": len,
    "sumCostInUSD": lambda rows: add(present(rows, "CostInUSD")),
    "sumInputTokens": lambda rows: add(present(rows, "InputTokens")),
    "costPerRequest": lambda rows: divide(
        add(present(rows, "CostInUSD")), len(present(rows, "CostInUSD"))
    ),
    "costPerMillionTokens": cost_per_million,
    "tokensPerRequest": lambda rows: divide(tokens(rows), len(present(rows, "InputTokens"))),
    "outputTokensPerSecond": speed,
    "errorRate": lambda rows: (
        None
        if all(row["IsFailure"] is None for row in rows)
        else divide(sum(row["IsFailure"] is True for row in rows), len(rows))
    ),
}
CHOICES: Final = ("costPerMillionTokens", "outputTokensPerSecond", "errorRate")
"""The measures that take a question of their own."""


def assert_same(got: Sequence[Any], names: Sequence[str], rows: Sequence[Row]) -> None:
    for value, name in zip(got, names, strict=True):
        expected = TRUTH[name](rows)
        if value is None or expected is None:
            assert value is expected, name
        else:
            assert math.isclose(value, expected, rel_tol=1e-9), name


OVERLAP: Final = [
    {
        "CreatedAt": START,
        "ModelName": "gpt",
        "RequestType": "Chat",
        "InputTokens": 1000,
        "OutputTokens": 250,
        "CostInUSD": 12.5,
        "LatencyMs": 2000.0,
        "IsFailure": failed,
        "CreatedBySubjectSlug": slug,
        "CreatedBySubjectType": kind,
        "Teams": teams,
        "Metadata": None,
    }
    for slug, kind, teams, failed in (
        ("ada", "user", ["red", "blue"], True),
        ("bot", "virtualaccount", ["red"], False),
    )
]
"""Rows by team and user add up to ALL by chance: one call counts twice, another not at all."""


@given(rows=ROWS, group_by=GROUP_BY, asked=ASKED)
@example(rows=OVERLAP, group_by=["team", "userEmail"], asked=[*RATIOS])
def test_every_cell_of_a_distribution_is_a_ratio_of_sums(
    world: World, group_rows: Group, rows: list[Row], group_by: list[str], asked: list[str]
) -> None:
    world.fill(rows)

    body = world.read({**WEEK, "groupBy": group_by, "aggregations": asked})
    note(body)

    assert world.recorder.calls <= 6
    truth = group_rows(rows, group_by)
    width = len(group_by)
    names = body["columns"][width:]
    assert names == ["total", *[TRUTHS[name] for name in asked]]
    if not group_by:
        assert len(body["rows"]) == 1
        assert_same(body["rows"][0], names, rows)
        return
    assert {tuple(row[:width]) for row in body["rows"]} == set(truth)
    for row in body["rows"]:
        assert_same(row[width:], names, truth[tuple(row[:width])])
    if body["all"] is not None:
        is_partition = sum(map(len, truth.values())) == len(rows) and not (
            {"team", "userEmail"} <= set(group_by)
        )
        can_tell = is_partition or len({*CHOICES} & {*names}) <= 2
        known = [i for i, name in enumerate(names) if can_tell or name not in CHOICES]
        assert_same([body["all"][i] for i in known], [names[i] for i in known], rows)
        if not can_tell:
            assert all(body["all"][names.index(name)] is None for name in CHOICES)


TRUTHS: Final = {name: name for name in RATIOS} | {
    "sum costInUSD": "sumCostInUSD",
    "sum inputTokens": "sumInputTokens",
}


@given(rows=ROWS, group_by=GROUP_BY, asked=ASKED)
def test_every_cell_of_a_timeseries_is_a_ratio_of_sums(
    world: World, group_rows: Group, rows: list[Row], group_by: list[str], asked: list[str]
) -> None:
    world.fill(rows)
    question = {**WEEK, "interval": "1 day", "groupBy": group_by, "aggregations": asked}

    body = world.read({**question, "limit": 99})
    note(body)

    width = 1 + len(group_by)
    truth: dict[tuple[Any, ...], list[Row]] = {}
    for keys, members in group_rows(rows, group_by).items():
        for row in members:
            start = row["CreatedAt"].replace(hour=0)
            truth.setdefault((start, *keys), []).append(row)
    got = {(datetime.fromisoformat(row[0]), *row[1:width]): row[width:] for row in body["rows"]}
    assert got.keys() == truth.keys()
    for group, cells in got.items():
        assert_same(cells, body["columns"][width:], truth[group])


@pytest.mark.parametrize(
    ("asked", "datasource", "where"),
    [
        ("error_rate", "configMetrics", "modelMetrics and cacheMetrics and agentMetrics"),
        ("costPerRequest", "guardrailMetrics", "modelMetrics and cacheMetrics"),
        ("cacheHitRate", "modelMetrics", "cacheMetrics"),
    ],
)
def test_a_measure_of_other_datasources_names_them_all(
    world: World, asked: str, datasource: str, where: str
) -> None:
    text = world.refusal({**WEEK, "datasource": datasource, "aggregations": [asked]})

    assert f"{asked} is a measure of {where}, not of {datasource}. Measures here: " in text
    assert world.recorder.calls == 0


@given(rows=ROWS, field=st.sampled_from(["modelName", "team", "userEmail", "metadata.env"]))
def test_a_share_is_a_part_of_all_and_not_of_the_rows(
    world: World, group_rows: Group, rows: list[Row], field: str
) -> None:
    world.fill(rows)
    asked = ["sum costInUSD", "share"]

    body = world.read({**WEEK, "groupBy": [field], "aggregations": asked})

    whole = add(present(rows, "CostInUSD"))
    truth = group_rows(rows, [field])
    for key, _, cost, share in body["rows"]:
        expected = divide(add(present(truth[(key,)], "CostInUSD")), whole)
        assert (share is None) == (expected is None)
        assert share is None or math.isclose(share, expected or 0, rel_tol=1e-9)
        assert cost is not None or share is None
    if body["all"] is not None:
        assert body["all"][2] == (1 if whole else None)


@given(rows=ROWS)
def test_a_share_of_a_bucket_is_a_part_of_that_bucket(
    world: World, group_rows: Group, rows: list[Row]
) -> None:
    world.fill(rows)
    question = {**WEEK, "interval": "1 day", "groupBy": ["team"], "aggregations": ["share"]}

    body = world.read(question)

    for start, team, total, share in body["rows"]:
        day = [r for r in rows if r["CreatedAt"].date() == datetime.fromisoformat(start).date()]
        assert total == len(group_rows(day, ["team"])[(team,)])
        assert math.isclose(share, total / len(day), rel_tol=1e-12)
