"""Sums of values that may be missing, exact for integers, stable for floats; and their ratios."""

from __future__ import annotations

import math
from collections.abc import Iterable

from gateway_metrics_mcp.result import Number


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


def ratio_of(upper: Number | None, lower: Number | None, scale: int = 1) -> Number | None:
    """`upper * scale / lower`; null where either is null or the lower is 0."""
    if upper is None or lower is None or lower == 0:
        return None
    try:
        return upper * scale / lower
    except OverflowError:
        return math.nan
