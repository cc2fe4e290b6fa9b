"""The reference evaluator's filters, worked out by hand: R9 to R11."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

Ask = Callable[..., list[dict[str, Any]]]

TEAMS: Final = [
    {"Teams": ["a", "b"], "InputTokens": 1},
    {"Teams": ["a", "a"], "InputTokens": 2},
    {"Teams": [], "InputTokens": 4},
    {"Teams": None, "InputTokens": 8},
]

TEXTS: Final = ["100%", "100_", "1000", "gpt", "GPT", "", None]

WIDE_TILDE: Final = "\uff5e"
"""Before the emoji by code point, after them by UTF-16."""


def models(*names: str | None) -> list[dict[str, Any]]:
    return [{"ModelName": name} for name in names]


@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [
        ("NOT_EQUAL", "gpt", {"100%", "100_", "1000", "GPT", ""}),
        ("NOT_IN", ["gpt", "GPT"], {"100%", "100_", "1000", ""}),
        ("STRING_NOT_CONTAINS", "0", {"gpt", "GPT", ""}),
        ("STRING_NOT_ENDS_WITH", "T", {"100%", "100_", "1000", "gpt", ""}),
        ("IS_NULL", True, {None}),
        ("IS_NULL", False, {"100%", "100_", "1000", "gpt", "GPT", ""}),
    ],
)
def test_r9_a_null_is_reached_by_is_null_alone(
    ask: Ask, operator: str, value: Any, expected: set[str | None]
) -> None:
    rows = [{"VirtualModelName": text} for text in TEXTS]
    found = ask(rows, groupBy=["virtualModel"], filters=[("virtualModelName", operator, value)])
    assert {row["virtualModelName"] for row in found} == expected


@pytest.mark.parametrize(
    ("operator", "expected"), [("ARRAY_HAS_ANY", 1), ("ARRAY_HAS_NONE", 2 + 4 + 8)]
)
def test_r9_has_none_of_the_teams_takes_a_null_array_as_empty(
    ask: Ask, operator: str, expected: int
) -> None:
    given = ("team", operator, ["b", "c"])
    (row,) = ask(TEAMS, aggregations=["sum inputTokens"], filters=[given])
    assert row["sumInputTokens"] == expected


def test_r9_a_negative_filter_on_metadata_does_not_reach_a_missing_key(ask: Ask) -> None:
    rows = [{"Metadata": {"env": "prod"}}, {"Metadata": {"env": "dev"}}, {"Metadata": {}}]
    assert ask(rows, filters=[("metadata.env", "NOT_EQUAL", "prod")]) == [{"total": 1}]


@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [
        ("STRING_CONTAINS", "%", {"100%"}),
        ("STRING_ENDS_WITH", "0_", {"100_"}),
        ("STRING_STARTS_WITH", "100", {"100%", "100_", "1000"}),
        ("STRING_STARTS_WITH", "g", {"gpt"}),
        ("STRING_CONTAINS", "", {"100%", "100_", "1000", "gpt", "GPT", ""}),
        ("EQUAL", "", {""}),
        ("IN", ["", "GPT"], {"", "GPT"}),
    ],
)
def test_r10_text_is_case_sensitive_and_wildcards_are_plain(
    ask: Ask, operator: str, value: Any, expected: set[str]
) -> None:
    found = ask(models(*TEXTS), groupBy=["modelName"], filters=[("modelName", operator, value)])
    assert {row["modelName"] for row in found} == expected


@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [
        # U+005A, U+0061, U+00E9, U+FF5E, U+1F600.
        ("GREATER_THAN", "a", {"é", WIDE_TILDE, "😀"}),
        ("GREATER_THAN_EQUAL", WIDE_TILDE, {WIDE_TILDE, "😀"}),
        ("LESS_THAN", "a", {"Z", ""}),
        ("LESS_THAN_EQUAL", "a", {"Z", "a", ""}),
    ],
)
def test_r10_older_text_comparisons_are_by_code_point(
    ask: Ask, operator: str, value: str, expected: set[str]
) -> None:
    rows = models("Z", "a", "é", WIDE_TILDE, "😀", "", None)
    found = ask(rows, groupBy=["modelName"], filters=[("modelName", operator, value)])
    assert {row["modelName"] for row in found} == expected


def test_r11_between_takes_in_both_ends_of_numbers_and_of_text(ask: Ask) -> None:
    rows = [{"LatencyMs": latency} for latency in (9.5, 10.0, 15.0, 20.0, 20.5, None)]
    assert ask(rows, filters=[("latencyMs", "BETWEEN", [10, 20])]) == [{"total": 3}]
    names = models("a", "b", "ba", "c", "ca")
    assert ask(names, filters=[("modelName", "BETWEEN", ["b", "c"])]) == [{"total": 3}]


def test_filters_compare_integers_with_integers_exactly(ask: Ask) -> None:
    rows = [{"InputTokens": 2**53 + n} for n in range(3)]
    assert ask(rows, filters=[("inputTokens", "EQUAL", 2**53 + 1)]) == [{"total": 1}]
    assert ask(rows, filters=[("inputTokens", "GREATER_THAN", 2**53)]) == [{"total": 2}]
    assert ask(rows, filters=[("inputTokens", "BETWEEN", [0, 2**53 + 1])]) == [{"total": 2}]


def test_filters_compare_numbers_of_two_kinds_as_doubles(ask: Ask) -> None:
    # 2^53 + 1 has no double of its own: the nearest is 2^53.
    rows = [{"LatencyMs": latency} for latency in (2.0**53, 2.0**53 + 2)]
    assert ask(rows, filters=[("latencyMs", "EQUAL", 2**53 + 1)]) == [{"total": 1}]
    assert ask(rows, filters=[("latencyMs", "BETWEEN", [2**53 + 1, 1e300])]) == [{"total": 2}]
    tokens = [{"InputTokens": 2**53 + n} for n in range(3)]
    assert ask(tokens, filters=[("inputTokens", "LESS_THAN_EQUAL", 2.0**53)]) == [{"total": 2}]
    assert ask(tokens, filters=[("inputTokens", "LESS_THAN", 2**53 + 1.5)]) == [{"total": 2}]
