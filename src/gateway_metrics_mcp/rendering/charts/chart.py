"""The contents of a chart: panels, series and marks. How they are drawn is in vega.py."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from gateway_metrics_mcp.query import RATE_TYPES, TOTAL, Aggregation, Measure, Number
from gateway_metrics_mcp.rendering.cells import format_value, quote_column
from gateway_metrics_mcp.reports.columns import RATIO, Value
from gateway_metrics_mcp.reports.report import Report

# Series or groups drawn individually; the rest is one more if it adds up.
MOST_SERIES: Final = 12

MOST_PANELS: Final = 3
OTHER: Final = "other"

# Larger integers are drawn as floats: the engine's JavaScript numbers are exact up to here.
_MOST_WHOLE: Final = 2**53


@dataclass(frozen=True, slots=True)
class Mark:
    """One figure of a series, at a bucket's start or a group's name (`place`)."""

    place: str
    series: str
    value: Number | None
    text: str
    """The value with all digits and its unit, shown under the pointer."""
    label: str = ""
    """The text at a bar's end."""
    is_partial: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes, for values of one unit."""

    axis: str
    """The title of the value axis: a name and a unit."""
    unit: str | None
    series: tuple[str, ...]
    """Names in the order of the answer; a single empty name if there is only one series."""
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """The chart of one answer."""

    kind: Literal["lines", "bars"]
    title: str
    subtitle: tuple[str, ...]
    places: tuple[str, ...]
    """The starts of all buckets, in order; empty for bars, whose places are per panel."""
    place_axis: str
    panels: tuple[Panel, ...]
    rest: str | None = None
    """The name of the series that sums those not drawn."""
    note: str | None = None
    """What the chart leaves out of the answer."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A value to draw, and its position in a row."""

    position: int
    value: Value

    @property
    def name(self) -> str:
        """The name of the value's column."""
        return self.value.name


def values_to_draw(report: Report) -> list[Drawn]:
    """The requested values; the row count if none was requested."""
    names = report.result.value_names
    wanted = [v for v in report.request.values if v.name in names and v.name != TOTAL]
    if not wanted:
        wanted = [v for v in report.values if v.name in names][:1]
    return [Drawn(names.index(value.name), value) for value in wanted]


def group_by_unit(drawn: Sequence[Drawn]) -> list[list[Drawn]]:
    """Group the values that can share an axis: the same unit, and all or none of them sums.

    A measure such as USD per request is in a unit of its own, so it never shares; ratios in
    percent all share.
    """
    groups: dict[object, list[Drawn]] = {}
    for one in drawn:
        value = one.value
        is_own = isinstance(value.source, Measure) and value.unit != RATIO
        is_alone = value.unit is None or is_own
        alike = one.name if is_alone else (name_unit(value), value.is_additive)
        groups.setdefault(alike, []).append(one)
    return list(groups.values())


def name_axis(group: Sequence[Drawn]) -> str:
    """The axis title: the shared unit, with the column's name if there is only one value."""
    unit = name_unit(group[0].value)
    return unit if len(group) > 1 else f"{quote_column(group[0].name)} ({unit})"


def name_unit(value: Value) -> str:
    """A unit for people: `USD`, `ms`, `%`, `tokens/s`; `count` for counts."""
    if value.unit == RATIO:
        return "%"
    source = value.source
    if isinstance(source, Aggregation) and source.type in RATE_TYPES:
        per = "min" if source.type == "ratePerMinute" else "s"
        return f"{value.unit or 'count'}/{per}"
    if value.unit is not None:
        return value.unit
    is_plain = isinstance(source, Aggregation) and not source.type.startswith("count")
    return "no unit" if is_plain or isinstance(source, Measure) else "count"


def finite(value: Number | None) -> Number | None:
    """The value if it can be drawn; None for null, NaN, infinity and integers beyond floats."""
    try:
        number = math.nan if value is None else float(value)
    except OverflowError:
        return None
    if not math.isfinite(number):
        return None
    return value if abs(number) < _MOST_WHOLE else number


def write_exactly(value: Number | None, kind: Value) -> str:
    """The value with all digits and its unit."""
    text = format_value(value, kind.unit, exact=True)
    unit = name_unit(kind)
    return text if finite(value) is None or unit in ("%", "count", "no unit") else f"{text} {unit}"
