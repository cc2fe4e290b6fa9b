"""A question with its results: what the answer is written from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gateway_metrics_mcp.answers.cells import format_number
from gateway_metrics_mcp.question import Question
from gateway_metrics_mcp.result import TOTAL, Number, Result

_TEAM: Final = "team"


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked and what came back.

    `totals` is the row of the same question without group-by, in the order of the result's
    value names; None where there is no ALL row. `now` is when the question was asked.
    """

    question: Question
    result: Result
    totals: tuple[Number | None, ...] | None
    now: datetime

    def format(self, value: Number | None, value_name: str) -> str:
        """A value as the answer shows it: rounded by its unit, or with all digits."""
        return self.formatter(value_name)(value)

    def formatter(self, value_name: str) -> Callable[[Number | None], str]:
        """What formats the values of one name."""
        is_exact = self.question.format in ("exact", "json")
        unit = self.unit_of(value_name)

        def form(value: Number | None) -> str:
            return str(value) if type(value) is int else format_number(value, unit, exact=is_exact)

        return form

    def unit_of(self, value_name: str) -> str | None:
        """The unit of a value: `USD`, `ms`, `tokens`; None for counts and unknown columns."""
        for aggregation in self.question.query.aggregations:
            if aggregation.key == value_name and not aggregation.type.startswith("count"):
                column = self.question.datasource.columns.get(aggregation.column)
                return None if column is None else column.unit
        return None

    def is_additive(self, value_name: str) -> bool:
        """Whether the value of disjoint rows may be added up."""
        if value_name == TOTAL:
            return True
        return any(a.key == value_name and a.is_additive for a in self.question.query.aggregations)

    def is_zero_in_gaps(self, value_name: str) -> bool:
        """Whether a bucket without rows means 0 rather than no data (R3)."""
        if value_name == TOTAL:
            return True
        aggregations = self.question.query.aggregations
        return any(a.key == value_name and a.is_zero_in_gaps for a in aggregations)

    @property
    def first_value(self) -> str | None:
        """The first requested value; `total` where none was; None if the rows have no value."""
        aggregations = self.question.query.aggregations
        if aggregations:
            return aggregations[0].key
        return next(iter(self.result.value_names), None)

    @property
    def rows_overlap(self) -> bool:
        """Whether one row of the source can count in several rows of the answer (R5).

        A caller is in several teams, so any two teams can share calls.
        """
        if _TEAM not in self.question.query.group_by or _TEAM not in self.result.key_names:
            return False
        position = self.result.key_names.index(_TEAM)
        teams = {point.keys[position] for point in self.result.points}
        return len(teams - {None}) > 1
