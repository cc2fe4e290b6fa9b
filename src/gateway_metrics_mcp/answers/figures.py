"""What a figure means that its column's name does not say: measures, prices, nulls, run rates."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Final

from gateway_metrics_mcp.answers.asked import Asked
from gateway_metrics_mcp.answers.cells import format_value, quote_text
from gateway_metrics_mcp.query.measures import SHARE, Measure
from gateway_metrics_mcp.query.model import Aggregation
from gateway_metrics_mcp.query.walltime import (
    CalendarUnit,
    format_minute,
    settle,
    shift_wall,
    wall_of,
)
from gateway_metrics_mcp.question_values import COST
from gateway_metrics_mcp.result import TOTAL, Number
from gateway_metrics_mcp.values import RATIO, Share, Value

_LONG_PERIODS: Final[tuple[CalendarUnit, ...]] = ("month", "quarter", "year")
_MOST_VALUES: Final = 5


def measure_notes(asked: Asked) -> list[str]:
    """How each measure was computed, and which spellings it took."""
    notes = []
    for value in asked.question.values:
        if isinstance(value.source, Measure):
            formula = f"{value.source.formula}{_describe_spelling(asked, value)}"
            notes.append(f"{value.name} = {formula}{_describe_lack(asked, value)}")
        elif isinstance(value.source, Share):
            of = quote_text(value.source.of)
            overlap = "; rows overlap, so shares add up to more" if asked.rows_overlap else ""
            notes.append(f"{SHARE} = part of ALL's {of}{overlap}")
    return notes


def _describe_spelling(asked: Asked, value: Value) -> str:
    spelt = asked.spelt.get(value.name)
    if spelt is None:
        return ""
    taken = _list(spelt.taken) if spelt.taken else "none of the values seen"
    left = f", not {_list(spelt.left)}" if spelt.left else ""
    return f" (taken: {taken}{left})"


def _describe_lack(asked: Asked, value: Value) -> str:
    """Why ALL has none, where its rows have some: that would be one call too many."""
    if asked.totals is None:
        return ""
    of_all = asked.totals[asked.result.value_names.index(value.name)]
    is_lacking = of_all is not None and math.isnan(of_all)
    return "; ALL would take more calls: ask it without group-by" if is_lacking else ""


def _list(texts: tuple[str, ...]) -> str:
    rest = len(texts) - _MOST_VALUES
    more = f" and {rest} more" if rest > 0 else ""
    return ", ".join(quote_text(text) for text in texts[:_MOST_VALUES]) + more


def price_notes(asked: Asked) -> list[str]:
    """Calls without a price make what was spent a lower bound."""
    if asked.priced is None:
        return []
    priced, calls = asked.priced
    missing = calls - priced
    if missing <= 0 or not calls:
        return []
    share = format_value(missing / calls, RATIO)
    which = " (in the later window)" if asked.question.earlier is not None else ""
    lacking = f"{share} of the calls{which}, {missing} of {calls}, have no price"
    is_spend = any(value.is_additive and value.unit == "USD" for value in asked.question.values)
    so = "spend is a lower bound" if is_spend else "they are not in the figures"
    return [f"{lacking} (failed ones often have none): {so}"]


def null_notes(asked: Asked) -> list[str]:
    """A value that is null in every row is no zero: nothing has it."""
    if asked.question.earlier is not None or TOTAL not in asked.result.value_names:
        return []
    rows = [point.values for point in asked.result.points]
    position = asked.result.value_names.index(TOTAL)
    if not any(row[position] for row in rows):
        return []
    found = {}
    for value in asked.values:
        if isinstance(value.source, Aggregation) and not value.source.type.startswith("count"):
            i = asked.result.value_names.index(value.name)
            if all(row[i] is None for row in rows):
                found[value.source.column] = value
    if not found:
        return []
    names = ", ".join(quote_text(name) for name in found)
    return [f"{names} is null in all of these rows: not recorded, which is not 0"]


def run_rate_notes(asked: Asked) -> list[str]:
    """Where a running month of cost would end at this pace."""
    query, window = asked.question.query, asked.question.window
    period = window.period
    if period is None or not period.is_running or period.unit not in _LONG_PERIODS:
        return []
    name = f"sum{COST[:1].upper()}{COST[1:]}"
    if query.interval is not None or all(value.name != name for value in asked.question.values):
        return []
    spent = _whole_of(asked, name)
    wall = shift_wall(wall_of(window.start, window.zone), period.unit, period.count)
    end = settle(wall)
    if spent is None or end <= query.end_ts:
        return []
    rate = _extrapolate(spent, query.start_ts, query.end_ts, end)
    amount = f"{asked.format(rate, name)} by {format_minute(end)}"
    return [f"run rate: at the pace so far {name} would be {amount}: extrapolated, not data"]


def _extrapolate(spent: Number, start: datetime, now: datetime, end: datetime) -> float:
    return float(spent) * ((end - start) / (now - start))


def _whole_of(asked: Asked, name: str) -> Number | None:
    """The value of ALL, or of the only row where nothing is grouped."""
    position = asked.result.value_names.index(name)
    if asked.totals is not None:
        return asked.totals[position]
    points = asked.result.points
    return points[0].values[position] if len(points) == 1 and not points[0].keys else None
