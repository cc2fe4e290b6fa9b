"""Sums, differences and ratios of values that may be missing: exact for integers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from gateway_metrics_mcp.query.result import Number

FLOAT_NOISE: Final = 1e-12
"""Of the larger value: an engine adds the same floats in another order, and they come out so."""


def add_up(values: Iterable[Number | None]) -> Number | None:
    """The sum, exact for integers; null where there is nothing but nulls."""
    present = [value for value in values if value is not None]
    if not present:
        return None
    if all(isinstance(value, int) for value in present):
        return sum(present)
    try:
        return math.fsum(present)
    except OverflowError:
        return math.inf


def subtract(now: Number | None, before: Number | None) -> Number | None:
    """The difference; null where either is null, 0 where it is but the order of adding floats."""
    if now is None or before is None:
        return None
    has_float = isinstance(now, float) or isinstance(before, float)
    if has_float and math.isclose(now, before, rel_tol=FLOAT_NOISE):
        return 0.0
    return now - before


def ratio_of(upper: Number | None, lower: Number | None, scale: int = 1) -> Number | None:
    """`upper * scale / lower`; null where either is null or the lower is 0."""
    if upper is None or lower is None or lower == 0:
        return None
    try:
        return upper * scale / lower
    except OverflowError:
        return math.nan
