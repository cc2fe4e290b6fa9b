"""A report: the data of one tool call, without layout; rendering/ writes the answer from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from gateway_metrics_mcp.query import TOTAL, DataPoint, Interval, Key, Number, Result, add_up
from gateway_metrics_mcp.reports.assembly import ValueMatch, WindowRows, put_together
from gateway_metrics_mcp.reports.columns import BEFORE, CHANGE, Value
from gateway_metrics_mcp.reports.cost_drivers import CostDecomposition, PriceCoverage
from gateway_metrics_mcp.reports.diagnosis import SUBJECT_KINDS, Probe, Unmatched
from gateway_metrics_mcp.reports.plan import MissingStart
from gateway_metrics_mcp.reports.request import ReportRequest


@dataclass(frozen=True, slots=True)
class Report:
    """A request and its combined results.

    `values` describe the columns of `result`, in its order. `of_all` is the row of the same
    request without group-by, None if there is none. `now` is the time of the call.
    """

    request: ReportRequest
    result: Result
    of_all: tuple[Number | None, ...] | None
    now: datetime
    values: tuple[Value, ...]
    notes: tuple[str, ...] = ()
    """What was changed in the request, and other notes on it."""
    spelt: Mapping[str, ValueMatch] = field(default_factory=dict)
    """By measure: the values it counted of a field with an undocumented spelling."""
    earlier_spelt: Mapping[str, ValueMatch] = field(default_factory=dict)
    """The same in the earlier window."""
    priced: tuple[PriceCoverage, ...] = ()
    """If cost was requested: the calls with a price in the window, then in the earlier one."""
    new: tuple[tuple[Key, ...], ...] = ()
    """The groups that only the current window of a comparison has."""
    vanished: tuple[tuple[Key, ...], ...] = ()
    """The groups that only the earlier window has."""
    split: CostDecomposition | None = None
    """The drivers of a change of cost."""
    way_to_split: str = ""
    """How to ask for the drivers, if they would have taken too many calls."""
    gap: MissingStart | None = None
    """The start of the window without rows, if it was checked."""
    earlier_gap: MissingStart | None = None
    """The same of the earlier window."""
    probe: Probe | None = None
    """What the window holds without the filters, if nothing matched them."""
    in_the_way: tuple[str, ...] | None = None
    """If nothing matched: the fields without whose filters rows match; None if not checked."""
    unmatched: tuple[Unmatched, ...] = ()
    """Values of a filter that no row has, while its other values match some."""
    near_keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By metadata field that no row has: similar keys, if the backend can list keys."""
    source: str = ""
    """What the figures come from, as answers print it; empty if it has no name."""
    windows: tuple[WindowRows, ...] = field(default=(), repr=False)
    """The rows of the window, and of the earlier one in a comparison, with the parts of ratios."""
    is_restricted: bool = False
    """Whether our rules restrict the caller's rows (R23); a gateway restricts by token."""

    @property
    def totals(self) -> tuple[Number | None, ...] | None:
        """The ALL row to show; None if a single row has the same values."""
        totals, points = self.of_all, self.result.points
        if totals is None or len(points) != 1:
            return totals
        pairs = zip(points[0].values, totals, strict=True)
        return None if all(_is_same(*pair) for pair in pairs) else totals

    def put_together(self, points: Sequence[DataPoint]) -> tuple[Number | None, ...]:
        """The values of these rows as one; NaN for what they do not tell."""
        windows = self.windows or (None,) * len(self.request.windows)
        return put_together(self.values, points, windows, has_overlap=self.rows_overlap)

    @property
    def buckets(self) -> Interval | None:
        """The buckets of a timeseries: the zone's days, or the query's interval."""
        return self.request.buckets

    def value(self, name: str) -> Value:
        """The description of a value column."""
        return next(value for value in self.values if value.name == name)

    @property
    def first_value(self) -> str | None:
        """The first requested value; `total` if none was; None if the rows have no values."""
        names = [value.name for value in (*self.request.values[1:], *self.values)]
        return next((name for name in names if name in self.result.value_names), None)

    @property
    def order_column(self) -> str | None:
        """The column that sorts the rows: as requested, else the first value or its change."""
        wanted = self.request.order_by
        if wanted in (*self.result.key_names, *self.result.value_names):
            return wanted
        first = self.first_value
        return first if first is None or self.request.earlier is None else first + CHANGE

    @property
    def is_by_size(self) -> bool:
        """Whether rows are sorted by absolute size: changes, unless an order was requested."""
        return self.request.earlier is not None and self.request.order_by is None

    @property
    def rows_overlap(self) -> bool:
        """Whether one row of the source can count in several rows of the report (R5).

        A caller can be in several teams, so any two teams can share calls.
        """
        if "team" not in self.request.query.group_by or "team" not in self.result.key_names:
            return False
        position = self.result.key_names.index("team")
        teams = {point.keys[position] for point in self.result.points}
        return len(teams - {None}) > 1

    @property
    def only_kind(self) -> str | None:
        """The kind of subject, if the group-by leaves out all other rows (R7)."""
        kinds = [kind for kind in SUBJECT_KINDS if kind in self.request.query.group_by]
        return kinds[0] if len(kinds) == 1 else None

    @property
    def is_counted_twice(self) -> bool | None:
        """Whether some row of the source counts in several rows; None if ALL does not tell.

        A gateway may leave rows out of the groups, as a kind of subject does: that can hide it.
        """
        if not self.rows_overlap:
            return False
        gaps = self._gaps_of_total()
        if any(gap > 0 for gap in gaps):
            return True
        is_told = bool(gaps) and self.only_kind is None and self.result.is_by_rulings
        return False if is_told and not any(gaps) else None

    @property
    def has_others(self) -> bool | None:
        """Whether ALL has rows of other subjects than the groups; None if it does not tell."""
        if self.only_kind is None:
            return False
        gaps = self._gaps_of_total()
        if any(gap < 0 for gap in gaps):
            return True
        return None if not gaps or self.rows_overlap else False

    def _gaps_of_total(self) -> list[Number]:
        """By window: how many more rows of the source the groups count than ALL."""
        if self.of_all is None:
            return []
        names = self.result.value_names
        return [
            (add_up(self.result.column(name)) or 0) - (self.of_all[names.index(name)] or 0)
            for name in (TOTAL, TOTAL + BEFORE)
            if name in names
        ]


def is_empty(report: Report) -> bool:
    """Whether nothing matched: no rows, or an ungrouped row that counts none (R1)."""
    result = report.result
    if result.key_names or len(result.points) != 1 or TOTAL not in result.value_names:
        return not result.points
    if result.points[0].start is not None:
        return False
    # A comparison is empty only if both windows are.
    counts = [name for name in (TOTAL, TOTAL + BEFORE) if name in result.value_names]
    return all(result.column(name) == (0,) for name in counts)


def _is_same(one: Number | None, other: Number | None) -> bool:
    """Whether two values are equal up to float noise; not computable equals itself."""
    if not (isinstance(one, float) and isinstance(other, float)):
        return one == other
    is_close = math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    return is_close or (math.isnan(one) and math.isnan(other))
