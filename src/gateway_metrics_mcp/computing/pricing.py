"""Which calls have a price, and where their cost, number and tokens can be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway_metrics_mcp.computing.assembling import Sheet
from gateway_metrics_mcp.computing.cost_split import NEEDED
from gateway_metrics_mcp.computing.plan import Call
from gateway_metrics_mcp.computing.probing import SUBJECT_KINDS
from gateway_metrics_mcp.query.model import Aggregation, Filter, Query
from gateway_metrics_mcp.query.window import Window
from gateway_metrics_mcp.question import Question
from gateway_metrics_mcp.question_values import COST, asks_cost
from gateway_metrics_mcp.result import TOTAL, Number, Result
from gateway_metrics_mcp.sums import add_up

_COSTED: Final = Filter(field_name=COST, operator="GREATER_THAN_EQUAL", value=0)
_COUNT: Final = Aggregation(type="count", column=COST).key


@dataclass(frozen=True, slots=True)
class Priced:
    """The calls that have a price, and all calls.

    `is_exact`: each call counts once, as it does not in the rows of its caller's teams, or in
    those of one kind of subject.
    """

    priced: Number
    calls: Number
    is_exact: bool = True


def count_priced(question: Question, sheet: Sheet) -> Priced | None:
    """The calls that have a price, of all; None if that is not known or not asked."""
    if not asks_cost(question.values):
        return None
    priced, calls, is_exact = sheet.of_all(_COUNT), sheet.of_all(TOTAL), True
    if calls is None and {_COUNT, TOTAL} <= set(sheet.raw.value_names):
        priced, calls = add_up(sheet.raw.column(_COUNT)), add_up(sheet.raw.column(TOTAL))
        is_exact = not {"team", *SUBJECT_KINDS} & set(question.query.group_by)
    return None if priced is None or calls is None else Priced(priced, calls, is_exact)


def list_priced(question: Question, *sheets: Sheet) -> tuple[Priced, ...]:
    """The same of each window of which it is known."""
    counted = [count_priced(question, sheet) for sheet in sheets]
    return tuple(priced for priced in counted if priced is not None)


def is_all_priced(sheet: Sheet) -> bool:
    """Whether every call has a price."""
    return sheet.of_all(_COUNT) is not None and sheet.of_all(_COUNT) == sheet.of_all(TOTAL)


def all_of(sheet: Sheet) -> Result:
    """All calls together, as a result."""
    if sheet.raw_all is None:
        return sheet.raw
    return Result((), sheet.raw.value_names, (sheet.raw_all,))


def find_costed(
    answers: Mapping[Call, Result], *, is_before: bool, is_grouped: bool
) -> Result | None:
    """The calls that have a price, where a measure has asked for them."""
    wanted = {aggregation.key for aggregation in NEEDED} - {_COUNT} | {TOTAL}
    for call, result in answers.items():
        is_mine = call.is_before == is_before and call.is_all != is_grouped
        if is_mine and call.rows.filters == (_COSTED,) and wanted <= set(result.value_names):
            return result
    return None


def costed_queries(question: Question, earlier: Window, *, is_grouped: bool) -> list[Query]:
    """The calls of both windows that have a price."""
    costed = question.query.model_copy(
        update={
            "aggregations": NEEDED,
            "filters": (*question.query.filters, _COSTED),
            "group_by": question.query.group_by if is_grouped else (),
        }
    )
    window = {"start_ts": earlier.start, "end_ts": earlier.end}
    return [costed, costed.model_copy(update=window)]
