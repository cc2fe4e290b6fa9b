"""What a figure means that its column's name does not say: measures, prices, nulls, run rates."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Final

from gateway_metrics_mcp.query.measures import SHARE, Measure
from gateway_metrics_mcp.query.model import Aggregation
from gateway_metrics_mcp.query.result import TOTAL, Number, add_up
from gateway_metrics_mcp.query.time.zone import format_minute, resolve_local, shift_local, to_local
from gateway_metrics_mcp.rendering.cells import format_cell, format_key, format_value, quote_text
from gateway_metrics_mcp.reports.assembly import ValueMatch
from gateway_metrics_mcp.reports.columns import BEFORE, RATIO, SPEND, Share, Value
from gateway_metrics_mcp.reports.cost_drivers import PriceCoverage
from gateway_metrics_mcp.reports.plan import is_extrapolated
from gateway_metrics_mcp.reports.report import Report

_MOST_VALUES: Final = 5


def measure_notes(report: Report) -> list[str]:
    """How each measure was computed, and which spellings it took."""
    notes = []
    for value in report.request.values:
        if isinstance(value.source, Measure):
            formula = f"{value.source.formula}{_describe_spelling(report, value)}"
            notes.append(f"{value.name} = {formula}{_describe_lack(report, value)}")
        elif isinstance(value.source, Share):
            of = quote_text(value.source.of)
            overlap = "; rows overlap, so shares add up to more" if report.rows_overlap else ""
            notes.append(f"{SHARE} = part of ALL's {of}{overlap}")
    return notes


def _describe_spelling(report: Report, value: Value) -> str:
    """What was taken, and left; of both windows where the earlier one has other words."""
    spelt, earlier = report.spelt.get(value.name), report.earlier_spelt.get(value.name)
    if spelt is None:
        return ""
    said = _tell(spelt)
    if earlier is None or (
        earlier.is_known == spelt.is_known
        and {*earlier.taken, *earlier.left} <= {*spelt.taken, *spelt.left}
    ):
        return said
    return f"{said} in the later window,{_tell(earlier)} in the earlier window"


def _tell(spelt: ValueMatch) -> str:
    if not (spelt.taken or spelt.left):
        return " (no values seen)"
    if not spelt.is_known and spelt.unknown != spelt.left:
        return f" (n/a: not known of the values seen: {_list(spelt.unknown)})"
    if not spelt.is_known:
        return f" (n/a: none of the values seen is known: {_list(spelt.left)})"
    taken = _list(spelt.taken) if spelt.taken else "none of the values seen"
    left = f", not {_list(spelt.left)}" if spelt.left else ""
    return f" (taken: {taken}{left})"


def _describe_lack(report: Report, value: Value) -> str:
    """Why ALL has none, where its rows have some: that would be one call too many."""
    spelt = report.spelt.get(value.name)
    if report.of_all is None or (spelt is not None and not spelt.is_known):
        return ""
    of_all = report.of_all[report.result.value_names.index(value.name)]
    is_lacking = of_all is not None and math.isnan(of_all)
    return "; ALL would take more calls: ask it without group-by" if is_lacking else ""


def _list(texts: tuple[str | None, ...]) -> str:
    rest = len(texts) - _MOST_VALUES
    more = f" and {rest} more" if rest > 0 else ""
    return ", ".join(format_key(text) for text in texts[:_MOST_VALUES]) + more


def price_notes(report: Report) -> list[str]:
    """Calls without a price make what was spent a lower bound."""
    windows = ("later window", "earlier window") if report.request.earlier is not None else ("",)
    lacking = [
        _describe_lacking(priced, window)
        for priced, window in zip(report.priced, windows, strict=False)
        if priced.priced < priced.calls
    ]
    if not lacking:
        return []
    is_spend = any(value.is_additive and value.unit == "USD" for value in report.request.values)
    so = "spend is a lower bound" if is_spend else "they are not in the figures"
    return [f"{'; '.join(lacking)} (failed ones often have none): {so}"]


def _describe_lacking(priced: PriceCoverage, window: str) -> str:
    which = f" in the {window}" if window else ""
    if not priced.is_exact:
        return f"some calls{which} have no price"
    missing = priced.calls - priced.priced
    share = format_value(missing / priced.calls, RATIO)
    return f"{share} of the calls{which}, {missing} of {priced.calls}, have no price"


def null_notes(report: Report) -> list[str]:
    """A value that is null in every row is no zero: nothing has it."""
    names = report.result.value_names
    rows = [point.values for point in report.result.points]
    if TOTAL not in names or not any(row[names.index(TOTAL)] for row in rows):
        return []
    found: dict[str, None] = {}
    undivided: dict[str, None] = {}
    for value in report.request.values:
        source = value.source
        is_count = isinstance(source, Aggregation) and source.type.startswith("count")
        if source is None or is_count or isinstance(source, Share):
            continue
        places = [names.index(n) for n in (value.name, value.name + BEFORE) if n in names]
        if any(row[i] is not None for row in rows for i in places):
            continue
        if isinstance(source, Measure) and any(not term.rows.is_all for term in source.terms):
            undivided[value.name] = None
        else:
            found[source.column if isinstance(source, Aggregation) else value.name] = None
    reasons = (
        (found, "not recorded, which is not 0"),
        (undivided, "its formula divides by nothing"),
    )
    return [
        f"{', '.join(map(quote_text, names))} is null in all of these rows: {reason}"
        for names, reason in reasons
        if names
    ]


def run_rate_notes(report: Report) -> list[str]:
    """Where a running month of cost would end at this pace."""
    query, window = report.request.query, report.request.window
    period = window.period
    if period is None or not is_extrapolated(report.request):
        return []
    if report.gap is not None:
        return ["no run rate: the rows do not reach back to the start of the month"]
    spent = _whole_of(report, SPEND)
    wall = shift_local(to_local(window.start, window.zone), period.unit, period.count)
    end = resolve_local(wall)
    if spent is None or end <= query.end_ts:
        return []
    rate = _extrapolate(spent, query.start_ts, query.end_ts, end)
    amount = f"{format_cell(report, rate, SPEND)} by {format_minute(end)}"
    return [f"run rate: at the pace so far {SPEND} would be {amount}: extrapolated, not data"]


def _extrapolate(spent: Number, start: datetime, now: datetime, end: datetime) -> float:
    return float(spent) * ((end - start) / (now - start))


def _whole_of(report: Report, name: str) -> Number | None:
    """The value of ALL; of all rows together where each call is in one of them."""
    names = report.result.value_names
    if report.of_all is not None:
        return report.of_all[names.index(name)]
    is_whole = not report.result.key_names or report.request.query.interval is not None
    fields = {"team", "userEmail", "virtualaccount"} & set(report.request.query.group_by)
    return add_up(report.result.column(name)) if is_whole and not fields else None
