"""Which values an answer shows: those asked, and how many rows stand behind a percentile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway_metrics_mcp.query.model import Aggregation
from gateway_metrics_mcp.query.vocabulary import PERCENTILES
from gateway_metrics_mcp.question import Question
from gateway_metrics_mcp.result import TOTAL, Number, Result
from gateway_metrics_mcp.values import TOTAL_VALUE, Value, value_of_aggregation

FEW: Final = 100
"""A percentile of fewer values is shown with their number."""


def choose_values(question: Question, raws: Sequence[Result]) -> tuple[Value, ...]:
    """The values to show of these results.

    `total` is left out where the source does not count rows. The number behind a percentile is
    left out where `total` says it.
    """
    shown: list[Value] = []
    asked = {value.name for value in question.values}
    for value in question.values:
        if value is TOTAL_VALUE and not all(TOTAL in raw.value_names for raw in raws):
            continue
        shown.append(value)
        source = value.source
        if not isinstance(source, Aggregation) or source.type not in PERCENTILES:
            continue
        count = Aggregation(type="count", column=source.column)
        if count.key not in asked and _are_few(count.key, raws):
            asked.add(count.key)
            shown.append(value_of_aggregation(count, question.datasource))
    return tuple(shown)


def _are_few(name: str, raws: Sequence[Result]) -> bool:
    """Whether some percentile stands on few values, and `total` does not say how many."""
    counts: list[tuple[Number | None, Number | None]] = []
    for raw in raws:
        if name not in raw.value_names or TOTAL not in raw.value_names:
            return False
        counts += zip(raw.column(name), raw.column(TOTAL), strict=True)
    has_few = any(count is not None and count < FEW for count, _ in counts)
    return has_few and any(count != total for count, total in counts)
