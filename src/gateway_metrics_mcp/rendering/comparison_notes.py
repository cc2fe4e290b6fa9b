"""What a comparison says beside its rows: groups that came and went, and what moved the cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from gateway_metrics_mcp.query.result import Key
from gateway_metrics_mcp.query.time.comparison import explain_earlier
from gateway_metrics_mcp.query.time.zone import format_minute
from gateway_metrics_mcp.rendering.cells import format_key, format_number, format_value
from gateway_metrics_mcp.rendering.header import shown_filters
from gateway_metrics_mcp.reports.columns import RATIO
from gateway_metrics_mcp.reports.cost_drivers import CostDecomposition, Spend
from gateway_metrics_mcp.reports.report import Report

_MOST_NAMES: Final = 3
_LONGEST: Final = 40
_MILLION: Final = 1_000_000


def change_notes(report: Report) -> list[str]:
    """The notes of a comparison; none for any other answer."""
    earlier = report.request.earlier
    if earlier is None:
        return []
    notes = [*_gap_notes(report), *explain_earlier(report.request.window, earlier), *earlier.notes]
    if any(report.new):
        notes.append(f"new, with no row in the earlier window: {_list(report.new)}")
    if any(report.vanished):
        notes.append(f"vanished, with no row in the later window: {_list(report.vanished)}")
    if report.split is not None:
        notes.append(_describe_split(report.split))
    elif report.way_to_split:
        notes.append(
            "what moved the cost (calls, tokens per call, price) cannot be told here:"
            f" {report.way_to_split}"
        )
    return notes


def _gap_notes(report: Report) -> list[str]:
    """Rows that begin in the middle of the earlier window make a change of what is none."""
    gap = report.earlier_gap
    if gap is None or not report.result.points:
        return []
    rows = "rows that match" if shown_filters(report) else "rows"
    lacking = f"the earlier window has no {rows} at all"
    if gap.until is not None:
        share = format_value(gap.share, RATIO)
        lacking = (
            f"the earlier window has no {rows} before {format_minute(gap.until)} ({share} of it)"
        )
    return [f"{lacking}: if the data begin there, these are no changes"]


def _list(groups: Sequence[tuple[Key, ...]]) -> str:
    shown = [" / ".join(format_key(key, _LONGEST) for key in keys) for keys in groups[:_MOST_NAMES]]
    rest = len(groups) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")


def _describe_split(split: CostDecomposition) -> str:
    """One line whose parts add up to its whole, as they stand there."""
    if not split.now.calls:
        return _describe_exchange(split)
    decimals = _decimals(split)
    of_tokens = [] if split.tokens is None else [("tokens per call", split.tokens)]
    parts = [("calls", split.calls), *of_tokens]
    apart = [(name, v) for name, v in (("new", split.new), ("vanished", split.vanished)) if v]
    whole = round(split.whole, decimals)
    rounded = [round(amount, decimals) for _, amount in (*parts, *apart)]
    price = round(whole - sum(rounded), decimals)
    name = "cost per call" if split.tokens is None else "price or mix"
    labels = [part for part, _ in parts] + [f"{part} groups" for part, _ in apart]
    amounts = list(zip(labels, rounded, strict=True))
    amounts.insert(len(parts), (name, price))
    listed = ", ".join(f"{part} {_signed(amount, decimals)}" for part, amount in amounts)
    return (
        f"of the {_signed(whole, decimals)} USD of ALL: {listed}"
        f" ({_describe(split.before)}, then {_describe(split.now)})"
    )


def _describe_exchange(split: CostDecomposition) -> str:
    """Where no group is in both windows: what came, and what went."""
    decimals = _decimals(split)
    whole, new = round(split.whole, decimals), round(split.new, decimals)
    vanished = round(whole - new, decimals)
    return (
        f"of the {_signed(whole, decimals)} USD of ALL:"
        f" new groups {_signed(new, decimals)}, vanished groups {_signed(vanished, decimals)}"
    )


def _decimals(split: CostDecomposition) -> int:
    """Cents, unless the whole is so small that they would say nothing."""
    largest = split.largest
    if largest >= 10 or largest == 0:
        return 2
    return 3 - math.floor(math.log10(largest))


def _signed(amount: float, decimals: int) -> str:
    return f"{amount + 0.0:+.{decimals}f}"


def _describe(spend: Spend) -> str:
    """`1200 calls at 850 tokens at 4.1 USD per million`, of calls with a price in both windows."""
    calls = f"{spend.calls:.0f} calls with a price"
    if not spend.tokens:
        return calls
    per_call = format_number(spend.tokens / spend.calls)
    price = format_number(spend.cost / spend.tokens * _MILLION, "USD")
    return f"{calls} x {per_call} tokens x {price} USD per million"
