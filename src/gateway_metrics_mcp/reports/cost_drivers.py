"""Cost drivers: splits a change of cost into calls, tokens per call, and price or mix.

    C1 - C0 = dN*t0*p0 + N1*dt*p0 + N1*t1*dp

N calls that have a price, t tokens per call, p USD per token. New and vanished groups are separate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

from gateway_metrics_mcp.query import (
    TOTAL,
    Aggregation,
    Filter,
    Number,
    Query,
    Result,
    Window,
    add_up,
)
from gateway_metrics_mcp.query.catalog import Rows
from gateway_metrics_mcp.query.model import value_key
from gateway_metrics_mcp.query.result import FLOAT_NOISE, Identity, identify
from gateway_metrics_mcp.reports.assembly import WindowRows, is_partition
from gateway_metrics_mcp.reports.columns import COST, TOKENS, asks_cost
from gateway_metrics_mcp.reports.diagnosis import SUBJECT_KINDS
from gateway_metrics_mcp.reports.plan import QueryRole
from gateway_metrics_mcp.reports.request import ReportRequest

NEEDED: Final = (
    Aggregation(type="sum", column=COST),
    Aggregation(type="count", column=COST),
    *(Aggregation(type="sum", column=name) for name in TOKENS),
)
"""The aggregations that a split needs."""


@dataclass(frozen=True, slots=True)
class Spend:
    """Sums over calls that have a price: their number, tokens, and cost in USD."""

    calls: float = 0
    tokens: float = 0
    cost: float = 0

    def __add__(self, other: Spend) -> Spend:
        return Spend(self.calls + other.calls, self.tokens + other.tokens, self.cost + other.cost)


class CostDecomposition(NamedTuple):
    """The parts of a change of cost in USD, which add up to it.

    `tokens` is None if calls have no tokens; `price` is then all that `calls` does not explain.
    """

    now: Spend
    before: Spend
    calls: float
    tokens: float | None
    price: float
    new: float
    vanished: float

    @property
    def whole(self) -> float:
        """The whole change of cost in USD."""
        return sum(self._parts)

    @property
    def largest(self) -> float:
        """The size of the largest part in USD; 0 if all are within FLOAT_NOISE of the costs."""
        size = max(map(abs, (*self._parts, self.whole)))
        costs = max(abs(self.now.cost), abs(self.before.cost))
        return 0 if size <= costs * FLOAT_NOISE else size

    @property
    def _parts(self) -> tuple[float, ...]:
        return self.calls, self.tokens or 0, self.price, self.new, self.vanished


def read_spend(result: Result, *, is_grouped: bool) -> dict[Identity, Spend] | None:
    """The spend of each group, or of all rows as one group; None if a column is missing."""
    keys = [aggregation.key for aggregation in NEEDED]
    if keys[1] not in result.value_names:  # a query of priced calls alone counts them as total
        keys[1] = TOTAL
    if not set(keys) <= set(result.value_names):
        return None
    positions = [result.value_names.index(key) for key in keys]
    found: dict[Identity, Spend] = {}
    for point in result.points:
        cost, calls, *tokens = (point.values[i] or 0 for i in positions)
        group = identify(point.keys if is_grouped else ())
        found[group] = found.get(group, Spend()) + Spend(calls, sum(tokens), cost)
    return found


def split_change(current: Result, earlier: Result, *, is_grouped: bool) -> CostDecomposition | None:
    """The split of the change; None if a column is missing or a window has no call with a price.

    If no group is in both windows, the split has new and vanished groups alone.
    """
    now = read_spend(current, is_grouped=is_grouped)
    before = read_spend(earlier, is_grouped=is_grouped)
    if now is None or before is None:
        return None
    # A group without priced calls in a window has no price there: it counts as new or vanished.
    both = [g for g in now if g in before and now[g].calls and before[g].calls]
    new = _sum(spend for group, spend in now.items() if group not in both)
    vanished = _sum(spend for group, spend in before.items() if group not in both)
    ours, theirs = _sum(now[g] for g in both), _sum(before[g] for g in both)
    if not ours.calls:
        if not (new.calls and vanished.calls):
            return None
        return CostDecomposition(ours, theirs, 0, None, 0, new.cost, -vanished.cost)
    of_calls = (ours.calls - theirs.calls) * theirs.cost / theirs.calls
    of_tokens = None
    if ours.tokens and theirs.tokens:
        per_call = ours.tokens / ours.calls - theirs.tokens / theirs.calls
        of_tokens = ours.calls * per_call * theirs.cost / theirs.tokens
    # The remainder equals N1*t1*dp; without tokens it is all that calls do not explain.
    rest = ours.cost - theirs.cost - of_calls - (of_tokens or 0)
    return CostDecomposition(ours, theirs, of_calls, of_tokens, rest, new.cost, -vanished.cost)


def _sum(spends: Iterable[Spend]) -> Spend:
    return sum(spends, Spend())


_COUNT: Final = value_key("count", COST)
_BELOW_ALL: Final = -1_000_000_000
"""Below the cost of any call, in USD; measures.json has it too."""


@cache
def _costed() -> Filter:
    """The filter for calls that have a price, credits below 0 too: costs know no IS_NULL."""
    return Filter(field_name=COST, operator="GREATER_THAN_EQUAL", value=_BELOW_ALL)


class PriceCoverage(NamedTuple):
    """The number of calls that have a price, and of all calls.

    `is_exact` is False if they were added up from rows where calls count twice (team, R5) or are
    missing (one kind of subject, R7).
    """

    priced: Number
    calls: Number
    is_exact: bool = True


def list_priced(request: ReportRequest, *windows: WindowRows) -> tuple[PriceCoverage, ...]:
    """The price coverage of each window where it is known; empty if no cost was requested."""
    if not asks_cost(request.values):
        return ()
    counted = [_count_priced(request, rows) for rows in windows]
    return tuple(priced for priced in counted if priced is not None)


def _count_priced(request: ReportRequest, rows: WindowRows) -> PriceCoverage | None:
    priced, calls, is_exact = rows.of_all(_COUNT), rows.of_all(TOTAL), True
    if calls is None and {_COUNT, TOTAL} <= set(rows.raw.value_names):
        priced, calls = (add_up(rows.raw.column(name)) or 0 for name in (_COUNT, TOTAL))
        is_exact = not {"team", *SUBJECT_KINDS} & set(request.query.group_by)
    return None if priced is None or calls is None else PriceCoverage(priced, calls, is_exact)


def find_costs(
    request: ReportRequest, results: Mapping[QueryRole, Result], now: WindowRows, before: WindowRows
) -> tuple[list[Result] | None, bool]:
    """Both windows' calls with a price, if the results have them; and whether by group.

    Groups that share calls, or lack some, would not add up to the change; then all calls are
    split as one group.
    """
    windows = (now, before)
    is_grouped = all(is_partition(request, rows.raw, rows.of_all(TOTAL)) for rows in windows)
    if all(map(_is_all_priced, windows)):
        return [rows.raw if is_grouped else _all_of(rows) for rows in windows], is_grouped
    has_groups = is_grouped and bool(request.query.group_by)
    found = [
        _find_costed(results, is_before=is_before, is_grouped=has_groups)
        for is_before in request.windows
    ]
    costs = [result for result in found if result is not None]
    return costs if len(costs) == len(found) else None, is_grouped


def _is_all_priced(rows: WindowRows) -> bool:
    """Whether every call has a price."""
    return rows.of_all(_COUNT) is not None and rows.of_all(_COUNT) == rows.of_all(TOTAL)


def _all_of(rows: WindowRows) -> Result:
    """The ALL row as a result."""
    if rows.raw_all is None:
        return rows.raw
    return Result((), rows.raw.value_names, (rows.raw_all,))


def _find_costed(
    results: Mapping[QueryRole, Result], *, is_before: bool, is_grouped: bool
) -> Result | None:
    """The calls with a price, if a measure's query (`costPerMillionTokens`) has them already."""
    wanted = {aggregation.key for aggregation in NEEDED} - {_COUNT} | {TOTAL}
    role = QueryRole(is_before, is_ungrouped=not is_grouped, rows=Rows(filters=(_costed(),)))
    result = results.get(role)
    return result if result is not None and wanted <= set(result.value_names) else None


def costed_queries(request: ReportRequest, earlier: Window, *, is_grouped: bool) -> list[Query]:
    """The queries for both windows' calls with a price, the later window first."""
    costed = request.query.model_copy(
        update={
            "aggregations": NEEDED,
            "filters": (*request.query.filters, _costed()),
            "group_by": request.query.group_by if is_grouped else (),
        }
    )
    window = {"start_ts": earlier.start, "end_ts": earlier.end}
    return [costed, costed.model_copy(update=window)]
