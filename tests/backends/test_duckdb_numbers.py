"""Percentiles, distinct counts and sums of the embedded engine (R12, R13, R22)."""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway_metrics_mcp.query.vocabulary import PERCENTILES

Row = dict[str, Any]
Ask = Callable[..., Awaitable[list[Row]]]
Write = Callable[..., Path]


# --- R12 and R13: percentiles and distinct counts ---


def interpolate(values: list[float], fraction: float) -> float:
    """The continuous percentile: linear between the two nearest ranks."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * fraction
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


async def test_r12_percentiles_are_exact_and_linearly_interpolated(ask: Ask, write: Write) -> None:
    rng = random.Random(12)  # noqa: S311 - test data
    latencies = {
        f"m{size}": [rng.lognormvariate(6, 2) for _ in range(size)]
        for size in (1, 2, 3, 10, 101, 1500)
    }
    write([{"ModelName": m, "LatencyMs": ms} for m, values in latencies.items() for ms in values])

    rows = await ask(
        groupBy=["modelName"], aggregations=[f"{name} latencyMs" for name in PERCENTILES]
    )

    assert len(rows) == len(latencies)
    for row in rows:
        expected = {
            f"{name}LatencyMs": pytest.approx(
                interpolate(latencies[row["modelName"]], f), rel=1e-12
            )
            for name, f in PERCENTILES.items()
        }
        assert {key: row[key] for key in expected} == expected


async def test_r12_each_percentile_stands_under_its_own_name_in_any_order(
    ask: Ask, write: Write
) -> None:
    write([{"LatencyMs": float(n), "InputTokens": n * 10} for n in range(101)])

    (row,) = await ask(
        aggregations=[
            "p99 latencyMs",
            "p5 inputTokens",
            "max latencyMs",
            "p50 latencyMs",
            "p90 inputTokens",
            "p5 latencyMs",
        ]
    )

    assert list(row.items()) == [
        ("total", 101),
        ("p99LatencyMs", 99),
        ("p5InputTokens", 50),
        ("maxLatencyMs", 100),
        ("p50LatencyMs", 50),
        ("p90InputTokens", 900),
        ("p5LatencyMs", 5),
    ]


async def test_r13_distinct_counts_are_exact_and_leave_nulls_out(ask: Ask, write: Write) -> None:
    values = [None, *(n % 2500 for n in range(5000))]
    write([{"InputTokens": v, "ModelName": None if v is None else f"m{v}"} for v in values])

    rows = await ask(aggregations=["countDistinct inputTokens", "countDistinct modelName"])

    assert rows == [
        {"total": 5001, "countDistinctInputTokens": 2500, "countDistinctModelName": 2500}
    ]


# --- R22: numbers ---


async def test_r22_sums_of_tokens_are_exact_integers_whatever_their_size(
    ask: Ask, write: Write
) -> None:
    largest = 2**63 - 1
    write([{"ModelName": "past 2^53", "InputTokens": n} for n in (2**53, 1)])
    write([{"ModelName": "past 2^63", "InputTokens": largest} for _ in range(3)], name="b.parquet")

    rows = await ask(
        groupBy=["modelName"],
        aggregations=["sum inputTokens", "max inputTokens", "count inputTokens"],
    )

    sums = {row["modelName"]: row["sumInputTokens"] for row in rows}
    assert sums == {"past 2^53": 2**53 + 1, "past 2^63": 3 * largest}
    assert {type(row[key]) for row in rows for key in row if key != "modelName"} == {int}
    assert rows[0]["maxInputTokens"] == largest


async def test_r22_sums_of_money_keep_double_precision(ask: Ask, write: Write) -> None:
    costs = [0.1, 0.2, 1e-9, 1234567.875]
    write([{"CostInUSD": cost} for cost in costs])

    (row,) = await ask(aggregations=["sum costInUSD"])

    assert row["sumCostInUSD"] == pytest.approx(math.fsum(costs), rel=1e-15)


async def test_r22_nan_and_infinity_never_appear_and_poison_nothing(ask: Ask, write: Write) -> None:
    odd = (math.nan, math.inf, -math.inf, None)
    write([{"ModelName": "mixed", "LatencyMs": ms} for ms in (1.0, 3.0, *odd)])
    write([{"ModelName": "odd alone", "LatencyMs": ms} for ms in odd[:3]], name="b.parquet")

    rows = await ask(
        groupBy=["modelName"],
        aggregations=[
            f"{name} latencyMs"
            for name in ("sum", "avg", "min", "max", "p50", "count", "countDistinct")
        ],
    )

    assert [list(row.values()) for row in rows] == [
        ["mixed", 6, 4.0, 2.0, 1.0, 3.0, 2.0, 2, 2],
        ["odd alone", 3, None, None, None, None, None, 0, 0],
    ]


async def test_r22_a_sum_too_large_for_a_double_is_null_and_not_infinity(
    ask: Ask, write: Write
) -> None:
    write([{"LatencyMs": 1.5e308}, {"LatencyMs": 1.5e308}])

    assert await ask(aggregations=["sum latencyMs"]) == [{"total": 2, "sumLatencyMs": None}]
