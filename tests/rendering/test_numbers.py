"""Numbers are short, in plain decimal, and never lie about being zero."""

from __future__ import annotations

import math
import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_metrics_mcp.query.result import add_up
from gateway_metrics_mcp.rendering.cells import format_number

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
UNITS = st.sampled_from([None, "USD", "ms"])


def significant_digits(text: str) -> int:
    return len(re.sub(r"e.*|[-.]", "", text).lstrip("0"))


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, None, "null"),
        (0, None, "0"),
        (0.0, "USD", "0"),
        (-0.0, None, "0"),
        (1234567890123456789, None, "1234567890123456789"),
        (1253.6161, None, "1254"),
        (999.96, None, "1000"),
        (88.5, None, "88.5"),
        (16.1615, None, "16.16"),
        (0.12345, None, "0.1235"),
        (0.00012345, None, "0.0001234"),
        (-16.1615, None, "-16.16"),
        (100.0, None, "100"),
        (1253.6161, "USD", "1253.62"),
        (10.0, "USD", "10.00"),
        (9.99996, "USD", "10"),
        (6.1535241, "USD", "6.154"),
        (0.000123456, "USD", "0.0001235"),
        (1e-300, "USD", "1.000e-300"),
        (1.5e300, None, "1.500e+300"),
        (math.inf, None, "n/a"),
        (math.nan, None, "n/a"),
    ],
)
def test_values_are_shown_so(value: float | None, unit: str | None, text: str) -> None:
    assert format_number(value, unit) == text


@given(st.integers(), UNITS, st.booleans())
def test_integers_keep_all_digits(value: int, unit: str | None, exact: bool) -> None:  # noqa: FBT001 - drawn, not passed by hand
    assert format_number(value, unit, exact=exact) == str(value)


@given(FLOATS, UNITS)
def test_a_value_prints_as_zero_only_if_it_is(value: float, unit: str | None) -> None:
    assert (float(format_number(value, unit)) == 0) == (value == 0)


@given(FLOATS, UNITS)
def test_four_digits_of_a_value_are_right(value: float, unit: str | None) -> None:
    text = format_number(value, unit)

    assert abs(Decimal(text) - Decimal(value)) <= abs(Decimal(value)) * Decimal("0.00050000001")


@given(st.floats(1e-12, 999.9))
def test_below_a_thousand_four_digits_are_shown_and_no_more(value: float) -> None:
    text = format_number(value)

    assert significant_digits(text) <= 4
    assert re.fullmatch(r"\d+(\.\d*[1-9])?", text)


@given(st.floats(1000, 1e15, exclude_max=True))
def test_from_a_thousand_up_it_is_a_whole_number(value: float) -> None:
    text = format_number(value)

    assert text.isdecimal()
    assert abs(int(text) - value) <= 0.5


@given(st.floats(10, 1e15, exclude_max=True))
def test_money_from_ten_up_has_two_decimals(value: float) -> None:
    text = format_number(value, "USD")

    assert re.fullmatch(r"\d+\.\d\d", text)
    assert abs(Decimal(text) - Decimal(value)) <= Decimal("0.005")


@given(FLOATS, UNITS)
def test_the_exact_format_gives_back_the_value(value: float, unit: str | None) -> None:
    assert float(format_number(value, unit, exact=True)) == value


@given(st.lists(st.integers() | st.none()))
def test_sums_of_integers_are_exact(values: list[int | None]) -> None:
    present = [value for value in values if value is not None]

    assert add_up(values) == (sum(present) if present else None)


@given(st.lists(st.floats(-1e300, 1e300), min_size=1), st.randoms())
def test_sums_of_floats_do_not_depend_on_their_order(values: list[float], random: object) -> None:
    shuffled = sorted(values, key=lambda _: random.random())  # type: ignore[attr-defined] # hypothesis' own Random

    assert add_up(shuffled) == add_up(values)
