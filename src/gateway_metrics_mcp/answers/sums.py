"""Sums of values that may be missing: exact for integers, stable for floats."""

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
