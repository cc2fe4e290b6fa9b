"""A question with its results: what the answer is written from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gateway_metrics_mcp.answers.cells import format_number
from gateway_metrics_mcp.question import Question
from gateway_metrics_mcp.result import TOTAL, Number, Result


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
        is_exact = self.question.format == "exact"
        return format_number(value, self.unit_of(value_name), exact=is_exact)

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
    def first_value(self) -> str:
        """The first requested value; `total` where none was requested."""
        aggregations = self.question.query.aggregations
        return aggregations[0].key if aggregations else self.result.value_names[0]

    @property
    def rows_overlap(self) -> bool:
        """Whether one row of the source can count in several rows of the answer (R5)."""
        return "team" in self.question.query.group_by
