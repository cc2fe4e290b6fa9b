"""Rulings that random rows seldom touch, each worked out by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest

from gateway_metrics_mcp.query.model import Query
from gateway_metrics_mcp.query.result import Result

Rows = Sequence[dict[str, Any]]
Answer = Callable[..., list[dict[str, Any]]]

TABLE: Final = "gateway_model_metrics"
NOON: Final = "2026-07-10T12:00:00+00:00"


@pytest.fixture
def answer(
    ask: Callable[..., Result],
    fill: Callable[..., None],
    make_query: Callable[..., Query],
    at: Callable[[str], Any],
) -> Answer:
    """Ask of rows: the data points as the API would give them."""

    def ask_of(rows: Rows, **changes: Any) -> list[dict[str, Any]]:
        made = [{"CreatedAt": at(NOON), **row} for row in rows]
        fill(TABLE, [*made[0]], made)
        query = make_query(**changes)
        points: list[dict[str, Any]] = ask(query).rows(query)
        return points

    return ask_of


@pytest.mark.parametrize(
    ("operator", "value", "found"),
    [
        ("STRING_CONTAINS", "PT-4", ["GPT-4o"]),
        ("STRING_CONTAINS", "%", ["100%"]),
        ("STRING_CONTAINS", "", ["", "100%", "1000", "GPT-4o", "gpt-4o", "é"]),
        ("STRING_STARTS_WITH", "1_0", []),
        ("STRING_STARTS_WITH", "gpt", ["gpt-4o"]),
        ("STRING_NOT_STARTS_WITH", "gpt", ["", "100%", "1000", "GPT-4o", "é"]),
        ("STRING_ENDS_WITH", "O", []),
        ("STRING_ENDS_WITH", "\u0301", []),
        ("STRING_NOT_ENDS_WITH", "o", ["", "100%", "1000", "é"]),
        ("NOT_IN", ["gpt-4o", ""], ["100%", "1000", "GPT-4o", "é"]),
        ("GREATER_THAN", "a", ["gpt-4o", "é"]),
    ],
)
def test_r9_r10_text_is_literal_and_case_sensitive_and_null_never_matches(
    answer: Answer, operator: str, value: Any, found: list[str]
) -> None:
    names = ["gpt-4o", "GPT-4o", "100%", "1000", "", "é", None]
    rows = answer(
        [{"ModelName": name} for name in names],
        groupBy=["modelName"],
        filters=[("modelName", operator, value)],
    )

    assert [row["modelName"] for row in rows] == found


def test_r13_zero_and_minus_zero_are_one_value(answer: Answer) -> None:
    rows = [{"LatencyMs": value} for value in (0.0, -0.0, 1.0, None)]

    assert answer(rows, aggregations=["countDistinct latencyMs"]) == [
        {"total": 4, "countDistinctLatencyMs": 2}
    ]


def test_r13_a_filter_for_minus_zero_finds_zero(answer: Answer) -> None:
    rows = [{"HttpStatusCode": value} for value in (0, 0, 200)]

    found = answer(rows, filters=[("httpStatusCode", "IN", [-0.0, -1])])
    assert found == [{"total": 2}]


def test_numbers_are_compared_as_doubles_as_soon_as_one_is(answer: Answer) -> None:
    rows = [
        {"InputTokens": 2**53 + n, "LatencyMs": float(2**53 + 2 * n), "HttpStatusCode": 400}
        for n in range(3)
    ]
    for filter_, total in (
        (("inputTokens", "LESS_THAN_EQUAL", 2.0**53), 2),
        (("inputTokens", "LESS_THAN_EQUAL", 2**53), 1),
        (("latencyMs", "EQUAL", 2**53 + 1), 1),
        (("latencyMs", "BETWEEN", [2**53 + 1, 1e300]), 3),
        (("httpStatusCode", "IN", [400, 2500.5]), 3),
        (("httpStatusCode", "NOT_EQUAL", 400.0), 0),
    ):
        assert answer(rows, filters=[filter_]) == [{"total": total}], filter_


def test_r22_integers_stay_integers_whatever_their_size(answer: Answer) -> None:
    asked = ["sum inputTokens", "max inputTokens", "avg inputTokens", "rateSum inputTokens"]
    (row,) = answer([{"InputTokens": 2**63 - 1}] * 3, aggregations=asked, interval="1 minute")

    assert row["sumInputTokens"] == 3 * (2**63 - 1)
    assert type(row["sumInputTokens"]) is int
    assert row["maxInputTokens"] == 2**63 - 1
    assert row["avgInputTokens"] == 2.0**63
    assert row["rateSumInputTokens"] == pytest.approx(3 * 2**63 / 60, rel=1e-12)
