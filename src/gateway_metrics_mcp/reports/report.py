"""What one tool call asked and got: the data that an answer is written from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from gateway_metrics_mcp.query import TOTAL, Interval, Key, Number, Result
from gateway_metrics_mcp.reports.assembly import ValueMatch
from gateway_metrics_mcp.reports.columns import BEFORE, CHANGE, Value
from gateway_metrics_mcp.reports.cost_drivers import CostDecomposition, PriceCoverage
from gateway_metrics_mcp.reports.diagnosis import Probe, Unmatched
from gateway_metrics_mcp.reports.plan import MissingStart
from gateway_metrics_mcp.reports.request import ReportRequest

_TEAM: Final = "team"


@dataclass(frozen=True, slots=True)
class Report:
    """What was asked and what came back.

    `values` are what the result's values are, in its order. `of_all` is the row of the same request
    without group-by; None where there is no ALL row. `now` is when it was asked.
    """

    request: ReportRequest
    result: Result
    of_all: tuple[Number | None, ...] | None
    now: datetime
    values: tuple[Value, ...]
    notes: tuple[str, ...] = ()
    """What was changed of the request, and other notes on it."""
    spelt: Mapping[str, ValueMatch] = field(default_factory=dict)
    """By measure: the values it took of a field whose spelling is not documented."""
    earlier_spelt: Mapping[str, ValueMatch] = field(default_factory=dict)
    """The same in the earlier window."""
    priced: tuple[PriceCoverage, ...] = ()
    """The calls that have a price, where cost was asked: of the window, and of the earlier one."""
    new: tuple[tuple[Key, ...], ...] = ()
    """The groups that only the present window of a comparison has."""
    vanished: tuple[tuple[Key, ...], ...] = ()
    """The groups that only the earlier window has."""
    split: CostDecomposition | None = None
    """What a change of cost is made of."""
    way_to_split: str = ""
    """What to ask to be told, where that would take more calls than there may be."""
    gap: MissingStart | None = None
    """The start of the window without rows, where it was asked for."""
    earlier_gap: MissingStart | None = None
    """The same of the earlier window."""
    probe: Probe | None = None
    """What the window holds without filters, where nothing matched them."""
    unmatched: tuple[Unmatched, ...] = ()
    """Values among a filter's that no row has, where the others match some."""
    near_keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By metadata field that no row has: the keys that come near, where they can be listed."""
    is_restricted: bool = False
    """Whether the caller sees a part of the rows, by rules of ours."""
    link: str | None = None
    """The URI of all rows, for an answer that has to leave some out."""

    @property
    def totals(self) -> tuple[Number | None, ...] | None:
        """The ALL row to show: none beside a single row that says the same."""
        totals, points = self.of_all, self.result.points
        if totals is None or len(points) != 1:
            return totals
        pairs = zip(points[0].values, totals, strict=True)
        return None if all(_is_same(*pair) for pair in pairs) else totals

    @property
    def buckets(self) -> Interval | None:
        """The buckets of a timeseries: the zone's own days, or the query's."""
        return self.request.buckets

    def value(self, name: str) -> Value:
        """What a value of the result is."""
        return next(value for value in self.values if value.name == name)

    @property
    def first_value(self) -> str | None:
        """The first requested value; `total` where none was; None if the rows have no value."""
        names = [value.name for value in (*self.request.values[1:], *self.values)]
        return next((name for name in names if name in self.result.value_names), None)

    @property
    def order_column(self) -> str | None:
        """The column that orders the rows: as asked, else the first value, or its change."""
        wanted = self.request.order_by
        if wanted in (*self.result.key_names, *self.result.value_names):
            return wanted
        first = self.first_value
        return first if first is None or self.request.earlier is None else first + CHANGE

    @property
    def is_by_size(self) -> bool:
        """Whether rows are ordered by size whatever the sign: changes, unless asked otherwise."""
        return self.request.earlier is not None and self.request.order_by is None

    @property
    def rows_overlap(self) -> bool:
        """Whether one row of the source can count in several rows of the answer (R5).

        A caller is in several teams, so any two teams can share calls.
        """
        if _TEAM not in self.request.query.group_by or _TEAM not in self.result.key_names:
            return False
        position = self.result.key_names.index(_TEAM)
        teams = {point.keys[position] for point in self.result.points}
        return len(teams - {None}) > 1


def is_empty(report: Report) -> bool:
    """Whether nothing matched: no rows, or an ungrouped row that counts none (R1)."""
    result = report.result
    if result.key_names or len(result.points) != 1 or TOTAL not in result.value_names:
        return not result.points
    if result.points[0].start is not None:
        return False
    counts = [name for name in (TOTAL, TOTAL + BEFORE) if name in result.value_names]
    return all(result.column(name) == (0,) for name in counts)


def _is_same(one: Number | None, other: Number | None) -> bool:
    """Whether values differ by no more than the order of adding floats; NaN is as NaN."""
    if not (isinstance(one, float) and isinstance(other, float)):
        return one == other
    is_close = math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    return is_close or (math.isnan(one) and math.isnan(other))
