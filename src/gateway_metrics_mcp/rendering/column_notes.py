"""Notes on what a column means beyond its name: measures, prices, nulls and changes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final

from gateway_metrics_mcp.query import (
    SHARE,
    TOTAL,
    Aggregation,
    Key,
    Measure,
    Number,
    Result,
    add_up,
)
from gateway_metrics_mcp.query.catalog import Term
from gateway_metrics_mcp.query.time.comparison import explain_earlier
from gateway_metrics_mcp.query.time.zone import format_minute, resolve_local, shift_local, to_local
from gateway_metrics_mcp.rendering.cells import (
    count_rows,
    format_cell,
    format_key,
    format_number,
    format_value,
    list_some,
    quote_text,
)
from gateway_metrics_mcp.reports.assembly import ValueMatch
from gateway_metrics_mcp.reports.columns import (
    BEFORE,
    RATIO,
    SPEND,
    Share,
    Value,
    asks_cost,
    split_aggregation,
)
from gateway_metrics_mcp.reports.cost_drivers import CostDecomposition, PriceCoverage, Spend
from gateway_metrics_mcp.reports.plan import is_extrapolated
from gateway_metrics_mcp.reports.report import Report

_MOST_VALUES: Final = 5
_WHOLES: Final = ("sum", "max")
_RISING: Final = ("min", "p5", "p10", "p25", "p50", "p75", "p90", "p95", "p99", "p999", "max")


def measure_notes(report: Report) -> list[str]:
    """How each measure was computed, and which field values it counted."""
    notes = []
    for value in report.request.values:
        if isinstance(value.source, Measure):
            formula = f"{value.source.formula}{_describe_spelling(report, value)}"
            lack = f"{_describe_lack(report, value)}{_describe_unrecorded(report, value)}"
            notes.append(f"{value.name} = {formula}{lack}")
        elif isinstance(value.source, Share):
            of = quote_text(value.source.of)
            overlap = {
                True: "; rows overlap, so shares add up to more",
                None: "; rows may overlap, so shares may add up to more",
            }.get(report.is_counted_twice, "")
            notes.append(f"{SHARE} = part of ALL's {of}{overlap}")
    return notes


def _describe_spelling(report: Report, value: Value) -> str:
    """Which values a measure counted and which it did not.

    The gateway does not document how it spells a cache hit or a guardrail's result, so the answer
    says what was counted; for both windows if the earlier one has other spellings.
    """
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
        return f" (n/a: unknown among the values seen: {_list(spelt.unknown)})"
    if not spelt.is_known:
        return f" (n/a: all values seen are unknown: {_list(spelt.left)})"
    taken = _list(spelt.taken) if spelt.taken else "none of the values seen"
    left = f", not {_list(spelt.left)}" if spelt.left else ""
    return f" (taken: {taken}{left})"


def _describe_lack(report: Report, value: Value) -> str:
    """Why ALL lacks a measure that its rows have: it would exceed the calls of one tool call."""
    spelt = report.spelt.get(value.name)
    if report.of_all is None or (spelt is not None and not spelt.is_known):
        return ""
    of_all = report.of_all[report.result.value_names.index(value.name)]
    is_lacking = of_all is not None and math.isnan(of_all)
    return "; ALL would take more calls: ask it without group-by" if is_lacking else ""


def _describe_unrecorded(report: Report, value: Value) -> str:
    """What null means, if the rate of some rows is null because none of them recorded it."""
    source, names = value.source, report.result.value_names
    if not isinstance(source, Measure) or source.denominator != Term() or TOTAL not in names:
        return ""
    rows = [values for _, values, _ in report.result.plain_rows()]
    pairs = [
        (names.index(TOTAL + end), names.index(value.name + end))
        for end in ("", BEFORE)
        if value.name + end in names
    ]
    cells = [row[i] for row in rows for total, i in pairs if row[total]]
    is_part = None in cells and any(cell is not None for cell in cells)  # else null_notes says it
    return "; null where no row recorded it, which is not 0" if is_part else ""


def _list(texts: tuple[str | None, ...]) -> str:
    return list_some([format_key(text) for text in texts], _MOST_VALUES)


def price_notes(report: Report) -> list[str]:
    """A note if some calls have no price, which makes spend a lower bound."""
    windows = ("later window", "earlier window") if report.request.earlier is not None else ("",)
    lacking = [
        _describe_lacking(priced, window)
        for priced, window in zip(report.priced, windows, strict=False)
        if priced.priced < priced.calls
    ]
    if not lacking:
        return []
    is_spend = any(value.is_additive and value.unit == "USD" for value in report.request.values)
    so = "spend is a lower bound" if is_spend else "excluded from the figures"
    return [f"{'; '.join(lacking)} (often failed calls): {so}"]


def _describe_lacking(priced: PriceCoverage, window: str) -> str:
    which = f" in the {window}" if window else ""
    if not priced.is_exact:
        return f"some calls{which} have no price"
    missing = priced.calls - priced.priced
    share = format_value(missing / priced.calls, RATIO)
    return f"{share} of the calls{which}, {missing} of {priced.calls}, have no price"


_PARTS_OF: Final = (
    ("cacheReadInputTokens", "inputTokens"),
    ("timeToFirstTokenMs", "latencyMs"),
)
"""Columns that in no call exceed another: nor do their sums and their largest values."""
_CACHE_STATUS: Final = "cacheLookupStatus"
_PRICED: Final = "countCostInUSD"


def impossible_notes(report: Report) -> list[str]:
    """Notes on values that cannot be, as far as the queried values show them."""
    notes = []
    for number, rows in enumerate(report.windows):
        where = " in the earlier window" if number else ""
        raw = rows.raw
        columns = {name: raw.column(name) for name in raw.value_names}
        facts = [
            *_find_negative(report, columns),
            *_find_excess(columns),
            *_find_priced(report, raw, columns),
        ]
        notes += [f"cannot be right{where}: {fact}" for fact in facts]
    for value in report.values:
        is_rate = isinstance(value.source, Measure) and value.unit == RATIO
        over = sum(is_rate and (cell or 0) > 1 for cell in report.result.column(value.name))
        if over:
            notes.append(f"cannot be right: {value.name} above 100% in {count_rows(over)}")
    return [*notes, *_count_hits(report)]


Columns = Mapping[str, Sequence[Number | None]]


def _find_negative(report: Report, columns: Columns) -> Iterator[str]:
    """Amounts below 0: by their least value if it is known, else by what was asked of them."""
    lowest: dict[str, str] = {}
    for name, cells in columns.items():
        type_, column = split_aggregation(name)
        known = report.request.datasource.columns.get(column or "")
        least = min((cell for cell in cells if cell is not None), default=0)
        said = f"below 0, the lowest {format_number(least)}"
        if name == TOTAL and least < 0:
            yield f"total is {said}"
        elif column and known is not None and known.unit and least < 0:
            if type_ == "min":  # of one call, so it says most
                lowest[column] = f"{quote_text(column)} has values {said}"
            else:
                lowest.setdefault(column, f"{quote_text(name)} is {said}")
    yield from lowest.values()


def _find_excess(columns: Columns) -> Iterator[str]:
    """Parts that exceed their whole, and percentiles out of order."""
    pairs = [(f"{of}{_capital(a)}", f"{of}{_capital(b)}") for a, b in _PARTS_OF for of in _WHOLES]
    counts = [name for name in columns if name.startswith("count")]
    pairs += [(name, TOTAL) for name in counts]
    by_column: dict[str | None, list[str]] = {}
    for type_ in _RISING:
        for name in columns:
            if split_aggregation(name)[0] == type_:
                by_column.setdefault(split_aggregation(name)[1], []).append(name)
    pairs += [pair for names in by_column.values() for pair in pairwise(names)]
    for upper, lower in pairs:
        if upper not in columns or lower not in columns:
            continue
        cells = zip(columns[upper], columns[lower], strict=True)
        over = sum(a is not None and b is not None and a > b and _differ(a, b) for a, b in cells)
        if over:
            yield f"{quote_text(upper)} above {quote_text(lower)} in {count_rows(over)}"


def _find_priced(report: Report, raw: Result, columns: Columns) -> Iterator[str]:
    """Costs of what costs nothing: answers from the cache, and calls without tokens."""
    costs = columns.get(SPEND)
    if costs is None:
        return
    tokens = [columns.get(name) for name in ("sumInputTokens", "sumOutputTokens")]
    if all(tokens):
        rows = zip(costs, *(column or () for column in tokens), strict=True)
        free = [cost for cost, *counts in rows if cost and not any(counts) and None not in counts]
        if free:
            total = format_number(add_up(free), "USD")
            yield f"{total} USD for calls without any token, in {count_rows(len(free))}"
    paid = [costs[i] for i in _list_hits(report, raw) if costs[i]]
    if paid:
        total = format_number(add_up(paid), "USD")
        yield f"{total} USD for answers from the cache, in {count_rows(len(paid))}"


def _count_hits(report: Report) -> list[str]:
    """A note on answers from the cache that count as calls with a price, if it shows."""
    raws = [rows.raw for rows in report.windows if asks_cost(report.request.values)]
    priced: list[Number | None] = []
    for raw in raws:
        counts = raw.column(_PRICED) if _PRICED in raw.value_names else None
        priced += [] if counts is None else [counts[i] for i in _list_hits(report, raw)]
    if not any(priced):
        return []
    return [f"{add_up(priced)} of the calls with a price were answered from the cache"]


def _list_hits(report: Report, raw: Result) -> Sequence[int]:
    """The rows whose calls were all answered from the cache, by a key or a filter."""
    if _CACHE_STATUS in raw.key_names:
        place = raw.key_names.index(_CACHE_STATUS)
        return [i for i, (keys, *_) in enumerate(raw.plain_rows()) if _is_hit_word(keys[place])]
    are_hits = any(
        f.operator in ("EQUAL", "IN") and f.texts and all(map(_is_hit_word, f.texts))
        for f in report.request.query.filters
        if f.field_name == _CACHE_STATUS
    )
    return range(len(raw.points)) if are_hits else ()


def _is_hit_word(text: Key) -> bool:
    return isinstance(text, str) and text.strip().casefold() in ("hit", "hits")


def _differ(one: Number, other: Number) -> bool:
    """Whether two values differ by more than the rounding of floats."""
    return not math.isclose(one, other, rel_tol=1e-9)


def _capital(name: str) -> str:
    return name[0].upper() + name[1:]


def null_notes(report: Report) -> list[str]:
    """A note on values that are null in every row: not recorded, which is not 0."""
    names = report.result.value_names
    rows = [values for _, values, _ in report.result.plain_rows()]
    if TOTAL not in names or not any(report.result.column(TOTAL)):
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
        if isinstance(source, Measure) and not _is_part_of_rows(source):
            undivided[value.name] = None
        else:
            found[source.column if isinstance(source, Aggregation) else value.name] = None
    reasons = (
        (found, "not recorded (not 0)"),
        (undivided, "its formula lacks a value, or divides by 0"),
    )
    return [
        f"{', '.join(map(quote_text, names))} is null in all of these rows: {reason}"
        for names, reason in reasons
        if names
    ]


def _is_part_of_rows(measure: Measure) -> bool:
    """Whether it divides some of the rows by all: null only where nothing was recorded."""
    return measure.numerator.rows.has_conditions and not measure.denominator.rows.has_conditions


def run_rate_notes(report: Report) -> list[str]:
    """The run rate: where a month in progress would end at the pace so far."""
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
    start = query.start_ts
    rate = float(spent) * ((end - start) / (query.end_ts - start))
    amount = f"{format_cell(report, rate, SPEND)} by {format_minute(end)}"
    return [f"run rate: at the pace so far {SPEND} would be {amount}: extrapolated, not data"]


def _whole_of(report: Report, name: str) -> Number | None:
    """The value of ALL; without an ALL row the sum of the rows, if each call is in exactly one."""
    names = report.result.value_names
    if report.of_all is not None:
        return report.of_all[names.index(name)]
    # Teams overlap, and grouping by a subject keeps only one kind of subject (R5, R7).
    is_whole = not report.result.key_names or report.request.query.interval is not None
    fields = {"team", "userEmail", "virtualaccount"} & set(report.request.query.group_by)
    return add_up(report.result.column(name)) if is_whole and not fields else None


def change_notes(report: Report) -> list[str]:
    """The notes of a comparison; empty for other answers."""
    earlier = report.request.earlier
    if earlier is None:
        return []
    notes = [
        *_missing_start_notes(report),
        *explain_earlier(report.request.window, earlier),
        *earlier.notes,
    ]
    if any(report.new):
        notes.append(f"new, with no row in the earlier window: {_list_groups(report.new)}")
    if any(report.vanished):
        notes.append(f"vanished, with no row in the later window: {_list_groups(report.vanished)}")
    return notes


def driver_notes(report: Report) -> list[str]:
    """The cost drivers between two windows, or what to ask to get them."""
    if report.split is not None:
        return [_describe_split(report.split)]
    if not (report.way_to_split and report.result.points):
        return []
    what = "what moved the cost (calls, tokens per call, price)"
    return [f"{what} cannot be computed here: {report.way_to_split}"]


def _missing_start_notes(report: Report) -> list[str]:
    """A note if the earlier window's rows start partway through it.

    If the data begin there, the difference is missing data and not a change.
    """
    gap = report.earlier_gap
    if gap is None or not report.result.points:
        return []
    rows = "rows that match" if report.request.shown_filters else "rows"
    lacking = f"the earlier window has no {rows} at all"
    if gap.until is not None:
        share = format_value(gap.share, RATIO)
        lacking = (
            f"the earlier window has no {rows} before {format_minute(gap.until)} ({share} of it)"
        )
    return [f"{lacking}: if the data begins there, these are not real changes"]


def _list_groups(groups: Sequence[tuple[Key, ...]]) -> str:
    names = [" / ".join(format_key(key, 40) for key in keys) for keys in groups]
    return list_some(names, 3)


def _describe_split(split: CostDecomposition) -> str:
    """One line whose printed parts add up to its printed total."""
    if not split.now.calls:
        return _describe_exchange(split)
    decimals = _decimals(split)
    of_tokens = [] if split.tokens is None else [("tokens per call", split.tokens)]
    parts = [("calls", split.calls), *of_tokens]
    apart = [(name, v) for name, v in (("new", split.new), ("vanished", split.vanished)) if v]
    whole = round(split.whole, decimals)
    rounded = [round(amount, decimals) for _, amount in (*parts, *apart)]
    # The price part takes the rounding error, so that the printed parts add up.
    price = round(whole - sum(rounded), decimals)
    name = "cost per call" if split.tokens is None else "price or mix"
    labels = [part for part, _ in parts] + [f"{part} groups" for part, _ in apart]
    amounts = list(zip(labels, rounded, strict=True))
    amounts.insert(len(parts), (name, price))
    listed = ", ".join(f"{part} {_signed(amount, decimals)}" for part, amount in amounts)
    which = "groups of both windows: " if apart else ""
    return (
        f"of the {_signed(whole, decimals)} USD of ALL: {listed}"
        f" ({which}{_describe(split.before)}, then {_describe(split.now)})"
    )


def _describe_exchange(split: CostDecomposition) -> str:
    """The line for windows that share no group: only new and vanished groups."""
    decimals = _decimals(split)
    whole, new = round(split.whole, decimals), round(split.new, decimals)
    vanished = round(whole - new, decimals)
    return (
        f"of the {_signed(whole, decimals)} USD of ALL:"
        f" new groups {_signed(new, decimals)}, vanished groups {_signed(vanished, decimals)}"
    )


def _decimals(split: CostDecomposition) -> int:
    """Decimals to print: cents, or four significant digits if the amounts are below 10 USD."""
    largest = split.largest
    if largest >= 10 or largest == 0:
        return 2
    return 3 - math.floor(math.log10(largest))


def _signed(amount: float, decimals: int) -> str:
    # Adding 0.0 turns -0.0 into 0.0, which would print as -0.00.
    return f"{amount + 0.0:+.{decimals}f}"


def _describe(spend: Spend) -> str:
    """`1200 calls with a price x 850 tokens x 4.1 USD per million`."""
    calls = f"{spend.calls:.0f} calls with a price"
    if not spend.tokens:
        return calls
    per_call = format_number(spend.tokens / spend.calls)
    price = format_number(spend.cost / spend.tokens * 1_000_000, "USD")
    return f"{calls} x {per_call} tokens x {price} USD per million"
