"""What `--where` and `--filter` read: as it is meant, or refused with the right spelling."""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.cli.ask.conftest import Ask, Server

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
        ('team = a and "modelName" = b', "one condition each: repeat --where, or quote the value"),
        ("modelName === x", 'unknown operator "===". Did you mean =?'),
        ("modelName !== x", 'unknown operator "!==". Did you mean !=?'),
        ("latencyMs => 5", 'unknown operator "=>". Did you mean >=?'),
        ("latencyMs > = 5", 'unknown operator "> =". Did you mean >=?'),
        ("modelName =~ gpt", 'unknown operator "=~". Did you mean contains?'),
        ("modelName=<unknown>", "Quote a value that begins with a sign"),
    ],
)
def test_what_would_be_another_filter_is_refused_with_the_spelling(
    gateway: Server, ask: Ask, condition: str, said: str
) -> None:
    code, out, err = ask(*COST, "--where", condition)

    assert (code, out) == (2, "")
    assert said in err
    assert gateway.bodies == []


@pytest.mark.parametrize(
    ("words", "operator", "value"),
    [
        (["modelName", "=", "a, b and team = c"], "EQUAL", "a, b and team = c"),
        (["modelName", "=", '"a"'], "EQUAL", '"a"'),
        (["modelName", "does", "not", "contain", "gpt"], "STRING_NOT_CONTAINS", "gpt"),
        (["modelName", "STARTS  WITH", "gpt"], "STRING_STARTS_WITH", "gpt"),
        (["modelName", "in", "a, b", "(c)"], "IN", ["a, b", "(c)"]),
        (["modelName", "NOT_IN", "a"], "NOT_IN", ["a"]),
        (["team", "=", "a"], "ARRAY_HAS_ANY", ["a"]),
        (["team", "not in", "a", "b"], "ARRAY_HAS_NONE", ["a", "b"]),
        (["latencyMs", ">", "-5"], "GREATER_THAN", -5),
        (["latencyMs", "between", "5", "9"], "BETWEEN", [5, 9]),
        (["latencyMs", "between", "5", "and", "9"], "BETWEEN", [5, 9]),
        (["virtualModelName", "is", "not", "null"], "IS_NULL", False),
        (["modelName in a, b"], "IN", ["a", "b"]),
    ],
)
def test_a_filter_takes_what_the_shell_has_told_apart(
    gateway: Server, ask: Ask, words: list[str], operator: str, value: Any
) -> None:
    code, _, err = ask(*COST, "--filter", *words, "--by", "modelName")

    filters = [(one["operator"], one["value"]) for one in gateway.bodies[0]["filters"]]
    assert (code, err) == (0, "")
    assert (operator, value) in filters


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["modelName", "is", "gpt"], '--filter "modelName is gpt": unknown operator "is".'),
        (["modelName", "=>", "gpt"], 'unknown operator "=>". Did you mean >=?'),
        (["modelName", "="], "the value is missing"),
        (["modelName"], "the operator is missing. Allowed: !="),
        (["modelName", "=", "a", "b"], "EQUAL takes one value, got ['a', 'b']. For several use IN"),
        (["virtualModelName", "is", "not", "null", "x"], 'is not null takes no value, got "x"'),
        (["modelNam", "=", "a"], '--filter "modelNam = a": "modelNam" is not a filter'),
        ([], "argument --filter: expected at least one argument"),
    ],
)
def test_a_filter_of_words_is_refused_with_what_is_allowed(
    gateway: Server, ask: Ask, words: list[str], said: str
) -> None:
    code, out, err = ask(*COST, "--filter", *words)

    assert (code, out) == (2, "")
    assert said in err
    assert gateway.bodies == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    value=st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20
    ).filter(lambda text: not text.startswith("-"))
)
def test_a_script_hands_on_any_value_without_quoting_it(
    gateway: Server, ask: Ask, value: str
) -> None:
    gateway.bodies.clear()

    code, _, err = ask(*COST, "--filter", "modelName", "=", value)

    filters = [(one["operator"], one["value"]) for one in gateway.bodies[0]["filters"]]
    assert (code, err) == (0, "")
    assert ("EQUAL", value) in filters
