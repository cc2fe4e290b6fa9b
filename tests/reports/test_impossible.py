"""Values that cannot be are named in a line; where there are none, so is none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_metrics_mcp.query.model import Caller, Query
from gateway_metrics_mcp.query.result import Result

WINDOW: Final = {"startTs": "2026-07-14T00:00:00Z", "endTs": "2026-07-15T00:00:00Z"}
NOON: Final = "2026-07-14T12:00:00Z"
FINE: Final = {
    "CreatedAt": NOON,
    "ModelName": "a",
    "CostInUSD": 2.0,
    "InputTokens": 100,
    "OutputTokens": 10,
    "LatencyMs": 50.0,
    "TimeToFirstTokenMs": 20.0,
    "CacheLookupStatus": "miss",
    "CacheReadInputTokens": 5,
}
MARK: Final = "# cannot be right: "
SUMS: Final = [
    *("sum costInUSD", "sum inputTokens", "sum outputTokens", "sum latencyMs"),
    *("sum timeToFirstTokenMs", "sum cacheReadInputTokens"),
]


def asked(*aggregations: str, **other: Any) -> dict[str, Any]:
    """A question to cacheMetrics, which has all columns."""
    return {
        **WINDOW,
        "datasource": "cacheMetrics",
        "groupBy": ["modelName"],
        "aggregations": aggregations or SUMS,
        **other,
    }


def told(text: str) -> list[str]:
    """The lines on values that cannot be."""
    return [line.removeprefix(MARK) for line in text.split("\n") if line.startswith(MARK)]


@pytest.mark.parametrize(
    ("wrong", "aggregations", "line"),
    [
        ({"CostInUSD": -1.5}, ["sum costInUSD"], "costInUSD has values below 0, the lowest -1.5"),
        ({"CostInUSD": -1.5}, ["costPerRequest"], "costInUSD has values below 0, the lowest -1.5"),
        ({"LatencyMs": -3.0}, ["p50 latencyMs"], "latencyMs has values below 0, the lowest -3"),
        ({"LatencyMs": -3.0}, ["avg latencyMs"], "latencyMs has values below 0, the lowest -3"),
        (
            {"InputTokens": -7},
            ["tokensPerRequest"],
            "inputTokens has values below 0, the lowest -7",
        ),
        (
            {"OutputTokens": -7},
            ["min outputTokens"],
            "outputTokens has values below 0, the lowest -7",
        ),
        (
            {"CacheReadInputTokens": 900},
            ["sum cacheReadInputTokens", "sum inputTokens"],
            "sumCacheReadInputTokens above sumInputTokens in 1 row",
        ),
        (
            {"CacheReadInputTokens": 101},
            ["max cacheReadInputTokens", "max inputTokens"],
            "maxCacheReadInputTokens above maxInputTokens in 1 row",
        ),
        (
            {"TimeToFirstTokenMs": 700.0},
            ["max latencyMs", "max timeToFirstTokenMs"],
            "maxTimeToFirstTokenMs above maxLatencyMs in 1 row",
        ),
        (
            {"InputTokens": 0, "OutputTokens": 0, "CacheReadInputTokens": 0, "ModelName": "b"},
            SUMS,
            "2 USD for calls without any token, in 1 row",
        ),
    ],
)
def test_a_value_that_cannot_be_is_named(
    world: Any, wrong: dict[str, Any], aggregations: list[str], line: str
) -> None:
    world.fill([FINE, {**FINE, **wrong}])
    question = asked(*aggregations)

    assert told(world.ask(question, is_by_rulings=True)) == [line]
    for more in ({"format": "exact"}, {"interval": "12 hours"}, {"limit": 1}):
        assert line in told(world.ask({**question, **more}, is_by_rulings=True))[0]
    compared = world.ask({**question, "compareTo": "previous"}, is_by_rulings=True)
    assert told(compared) == [line]
    world.fill([FINE, {**FINE, "ModelName": "b"}])
    assert told(world.ask(question, is_by_rulings=True)) == []


def test_costs_of_answers_from_the_cache_are_named(world: Any) -> None:
    hit = {**FINE, "CacheLookupStatus": "hit", "CostInUSD": 0.0}
    question = asked("sum costInUSD", groupBy=["cacheLookupStatus"])
    line = "# 2 of the calls with a price were answered from the cache"

    world.fill([FINE, hit, hit, {**hit, "CostInUSD": None}])
    free = world.ask(question)
    world.fill([FINE, {**hit, "CostInUSD": 0.5}, hit])
    paid = world.ask(question)
    only = [{"fieldName": "cacheLookupStatus", "operator": "IN", "value": ["hit"]}]
    chosen = world.ask(asked("avg costInUSD", "sum costInUSD", filters=only))
    world.fill([FINE, {**hit, "CostInUSD": None}])
    unpriced = world.ask(question)

    assert line in free
    assert told(free) == told(unpriced) == []
    assert told(paid) == told(chosen) == ["0.5 USD for answers from the cache, in 1 row"]
    assert line in chosen
    assert "answered from the cache" not in unpriced


def test_a_wrong_row_of_another_caller_is_not_told(world: Any) -> None:
    mine = {"CreatedBySubjectSlug": "ada@example.com", "CreatedBySubjectType": "user"}
    world.fill([{**FINE, **mine}, {**FINE, "CostInUSD": -1.0}])

    assert told(world.ask_as(Caller("ada@example.com"), asked("sum costInUSD"))) == []


def test_the_earlier_window_s_values_are_told_as_its_own(world: Any) -> None:
    world.fill([FINE, {**FINE, "CreatedAt": "2026-07-13T12:00:00Z", "CostInUSD": -1.0}])

    text = world.ask(asked("sum costInUSD", compareTo="previous"), is_by_rulings=True)

    assert "# cannot be right in the earlier window: costInUSD has values below 0" in text


def test_the_least_amount_leaves_buckets_of_a_zone_one_call(world: Any) -> None:
    """The least values of narrow buckets have that of a wide one, as sums have theirs."""
    world.fill([FINE, {**FINE, "CreatedAt": "2026-07-14T12:40:00Z", "CostInUSD": -1.0}])
    question = asked("sum costInUSD", interval="1 hour", timezone="Asia/Kolkata")
    question |= {"startTs": "2026-07-13", "endTs": "2026-07-15", "groupBy": []}

    text = world.ask(question, is_by_rulings=True)

    assert told(text) == ["costInUSD has values below 0, the lowest -1"]
    assert "\n17:00|1|2\n18:00|1|-1\n" in text
    assert world.recorder.calls == 1


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"sumCostInUSD": -4.0}, "sumCostInUSD is below 0, the lowest -4"),
        ({"total": -1, "countCostInUSD": -1}, "total is below 0, the lowest -1"),
        ({"countCostInUSD": 9}, "countCostInUSD above total in 2 rows"),
        ({"p50LatencyMs": 99.0}, "p50LatencyMs above p99LatencyMs in 2 rows"),
        ({"p99LatencyMs": -1.0, "p50LatencyMs": -2.0}, "p50LatencyMs is below 0, the lowest -2"),
    ],
)
def test_what_a_gateway_says_is_held_against_itself(
    world: Any, changed: dict[str, Any], line: str
) -> None:
    def change(_query: Query, result: Result) -> Result:
        points = [
            point._replace(
                values=tuple(
                    changed.get(name, value)
                    for name, value in zip(result.value_names, point.values, strict=True)
                )
            )
            for point in result.points
        ]
        return replace(result, points=tuple(points))

    world.fill([FINE, {**FINE, "ModelName": "b"}])
    question = asked("sum costInUSD", "p50 latencyMs", "p99 latencyMs")

    assert line in told(world.ask(question, change=change))
    assert told(world.ask(question)) == []


def test_a_rate_above_all_calls_is_told(world: Any) -> None:
    def change(query: Query, result: Result) -> Result:
        is_failed = any(f.field_name == "isFailure" and f.value is True for f in query.filters)
        points = [p._replace(values=(5,)) for p in result.points]
        return replace(result, points=tuple(points)) if is_failed else result

    world.fill([{**FINE, "IsFailure": True}])

    assert told(world.ask(asked("errorRate"), change=change)) == ["errorRate above 100% in 1 row"]
    assert told(world.ask(asked("errorRate"))) == []


AMOUNTS: Final = st.integers(-3, 5)


@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {
                "CreatedAt": st.just(NOON),
                "CacheLookupStatus": st.just("miss"),
                "ModelName": st.sampled_from(["a", "b"]),
                "CostInUSD": st.none() | AMOUNTS.map(float),
                "InputTokens": st.none() | AMOUNTS,
                "LatencyMs": st.none() | AMOUNTS.map(float),
            }
        ),
        min_size=1,
        max_size=5,
    )
)
def test_an_amount_below_0_is_told_if_and_only_if_some_row_has_one(
    world: Any, rows: list[dict[str, Any]]
) -> None:
    world.fill(rows)
    text = world.ask(asked("sum costInUSD", "sum inputTokens", "p50 latencyMs"), is_by_rulings=True)

    names = {"costInUSD": "CostInUSD", "inputTokens": "InputTokens", "latencyMs": "LatencyMs"}
    for name, column in names.items():
        lowest = min((row[column] for row in rows if row[column] is not None), default=0)
        is_told = any(line.startswith(f"{name} has values below 0") for line in told(text))
        assert is_told == (lowest < 0)
