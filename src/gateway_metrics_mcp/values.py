"""The values of an answer: what each column is, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway_metrics_mcp.query.catalog import Datasource
from gateway_metrics_mcp.query.measures import SHARE, Measure
from gateway_metrics_mcp.query.model import Aggregation
from gateway_metrics_mcp.result import TOTAL

RATIO: Final = "ratio"
"""The unit of a part of a whole, 0 to 1 for all that is honest; shown in percent."""

PERCENT: Final = "%"
"""The unit of a change against what was before: 12.5 is 12.5 %."""

BEFORE: Final = "_before"
CHANGE: Final = "_change"
CHANGE_PERCENT: Final = "_change%"


@dataclass(frozen=True, slots=True)
class Share:
    """The part that a row has of ALL of another value."""

    of: str


@dataclass(frozen=True, slots=True)
class Value:
    """One column of values.

    `is_additive`: values of disjoint rows may be added up. `is_zero_in_gaps`: a bucket without
    rows means 0 rather than no data (R3). `is_signed`: a difference, shown with its sign.
    """

    name: str
    source: Aggregation | Measure | Share | None
    """None for `total`, and for what was computed from two answers."""
    unit: str | None = None
    is_additive: bool = False
    is_zero_in_gaps: bool = False
    is_signed: bool = False


TOTAL_VALUE: Final = Value(TOTAL, None, is_additive=True, is_zero_in_gaps=True)


def value_of_aggregation(aggregation: Aggregation, datasource: Datasource) -> Value:
    """A value that the API gives."""
    column = datasource.columns.get(aggregation.column)
    is_count = aggregation.type.startswith("count")
    return Value(
        aggregation.key,
        aggregation,
        unit=None if column is None or is_count else column.unit,
        is_additive=aggregation.is_additive,
        is_zero_in_gaps=aggregation.is_zero_in_gaps,
    )


def value_of_measure(measure: Measure) -> Value:
    """A value that we compute of several that the API gives."""
    return Value(measure.name, measure, unit=measure.unit)


def value_of_share(of: Value) -> Value:
    """The share of an additive value; shares of disjoint rows add up as it does."""
    return Value(SHARE, Share(of.name), unit=RATIO, is_additive=True)


def compared(value: Value) -> tuple[Value, ...]:
    """The columns of a value in a comparison: now, before, difference, percent."""
    name, unit, is_additive = value.name, value.unit, value.is_additive
    difference = "pp" if unit == RATIO else unit
    return (
        value,
        Value(name + BEFORE, None, unit=unit, is_additive=is_additive),
        Value(name + CHANGE, None, unit=difference, is_additive=is_additive, is_signed=True),
        Value(name + CHANGE_PERCENT, None, unit=PERCENT, is_signed=True),
    )
