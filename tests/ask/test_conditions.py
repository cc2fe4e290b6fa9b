"""Brackets, signs and words in `--where`: read as they are meant, or refused with the spelling."""

from __future__ import annotations

from typing import Any, Final

import pytest
from tests.ask.conftest import Ask, Server

COST: Final = ("distribution", "--start", "2026-07-01", "--end", "2026-07-02", "--sum", "costInUSD")


@pytest.mark.parametrize(
    ("condition", "operator", "value"),
    [
        ("modelName = (a)", "EQUAL", "(a)"),
        ("modelName = [a]", "EQUAL", "[a]"),
        ("modelName contains (beta)", "STRING_CONTAINS", "(beta)"),
        ("modelName in (a)", "IN", ["a"]),
        ("modelName in [a, b]", "IN", ["a", "b"]),
        ("modelName in (a), (b)", "IN", ["(a)", "(b)"]),
        ("modelName in ((a), b)", "IN", ["(a)", "b"]),
        ('modelName in ("a)", "(b")', "IN", ["a)", "(b"]),
        ("modelName = <unknown>", "EQUAL", "<unknown>"),
        ('modelName="=x"', "EQUAL", "=x"),
        ("modelName = this or that", "EQUAL", "this or that"),
        ('modelName = "a" orders', "EQUAL", '"a" orders'),
        ("team = (a)", "ARRAY_HAS_ANY", ["(a)"]),
        ("team has any (a, b)", "ARRAY_HAS_ANY", ["a", "b"]),
        ('team = "a", "b"', "ARRAY_HAS_ANY", ["a", "b"]),
    ],
)
def test_brackets_and_signs_of_a_value_are_kept(
    gateway: Server, ask: Ask, condition: str, operator: str, value: Any
) -> None:
    code, _, err = ask(*COST, "--where", condition)

    filters = [(one["operator"], one["value"]) for one in gateway.bodies[0]["filters"]]
    assert (code, err) == (0, "")
    assert (operator, value) in filters


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ('modelName = "a" or "b"', 'for several values write modelName in "a", "b"'),
        ("modelName = 'a' || 'b'", "for several values write modelName in 'a', 'b'"),
        ('modelName != "a", "b"', 'for several values write modelName not in "a", "b"'),
        ('team = "a" or "b"', 'for several values write team in "a", "b"'),
        ('modelName contains "a" or "b"', "one value each: only in and not in take several"),
        ('modelName = "a" or modelName = "b"', "for one of several, modelName in a, b"),
        ("modelName === x", '"===" is no operator. Did you mean =?'),
        ("modelName !== x", '"!==" is no operator. Did you mean !=?'),
        ("latencyMs => 5", '"=>" is no operator. Did you mean >=?'),
        ("latencyMs > = 5", '"> =" is no operator. Did you mean >=?'),
        ("modelName =~ gpt", '"=~" is no operator. Did you mean contains?'),
        ("modelName=<unknown>", "A value that begins with a sign stands in quotes"),
    ],
)
def test_what_would_be_another_filter_is_refused_with_the_spelling(
    gateway: Server, ask: Ask, condition: str, said: str
) -> None:
    code, out, err = ask(*COST, "--where", condition)

    assert (code, out) == (2, "")
    assert said in err
    assert gateway.bodies == []
