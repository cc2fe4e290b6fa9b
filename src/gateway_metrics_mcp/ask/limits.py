"""`--fail-if 'sumCostInUSD > 100'`: a limit on the answer, for jobs and builds."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from gateway_metrics_mcp.answers.asked import Asked
from gateway_metrics_mcp.answers.cells import format_key, format_value
from gateway_metrics_mcp.answers.empty import is_empty
from gateway_metrics_mcp.answers.table import count_rows
from gateway_metrics_mcp.query.model import Aggregation, format_instant
from gateway_metrics_mcp.query.near import explain_choice, quote
from gateway_metrics_mcp.question import Question
from gateway_metrics_mcp.question_names import split_aggregation
from gateway_metrics_mcp.question_values import asks_cost
from gateway_metrics_mcp.result import DataPoint, Number
from gateway_metrics_mcp.values import PERCENT, RATIO, Value, compared

_COMPARISONS: Final[Mapping[str, Callable[[Number, Number], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "!=": operator.ne,
    "==": operator.eq,
    "=": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
_LIMIT: Final = re.compile(
    rf"\s*(?P<any>any\s+)?(?P<name>\S.*?)\s*(?P<comparison>{'|'.join(_COMPARISONS)})"
    r"\s*(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(?P<percent>%|pp)?\s*"
)
_PARTS: Final = (RATIO, "pp", PERCENT)


class Outcome(IntEnum):
    """What a check found; also the command's exit code."""

    KEPT = 0
    UNKNOWN = 1
    PASSED = 3


@dataclass(frozen=True, slots=True)
class Limit:
    """What must not hold of a value."""

    text: str
    name: str
    comparison: str
    number: float
    is_percent: bool
    is_any: bool
    """Whether each row is checked, rather than ALL."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check, and a sentence on it."""

    outcome: Outcome
    text: str


def read_limit(text: str) -> Limit:
    """The limit that the text states.

    Raises:
        ValueError: if it states none.
    """
    match = _LIMIT.fullmatch(text)
    if match is None:
        raise ValueError("expected a column, a comparison and a number: sumCostInUSD > 100")
    return Limit(
        text.strip(),
        match["name"],
        match["comparison"],
        float(match["number"]),
        match["percent"] is not None,
        match["any"] is not None,
    )


def settle_limit(limit: Limit, question: Question) -> tuple[Limit, Value]:
    """The limit in the value's own unit, and the column of the answer that it is about.

    Raises:
        ValueError: if the answer has no such column, or the limit would say nothing of it.
    """
    columns = {column.name: column for column in _list_columns(question)}
    value = columns.get(limit.name) or columns.get(_spell(limit.name))
    if value is None:
        choice = explain_choice(limit.name, columns)
        raise ValueError(f"{quote(limit.name)} is no value of this answer. {choice}")
    if question.query.interval is not None and not limit.is_any:
        raise ValueError(f"a timeseries has no ALL row. For each bucket: any {limit.text}")
    if limit.is_percent and value.unit not in _PARTS:
        raise ValueError(f"{value.name} is not in percent")
    number = limit.number
    if value.unit in (RATIO, "pp"):
        if not limit.is_percent and abs(number) > 1:
            raise ValueError(f"{value.name} is a part of 1. Write {number:g}%, or {number / 100:g}")
        number = number / 100 if limit.is_percent else number
    return Limit(limit.text, value.name, limit.comparison, number, False, limit.is_any), value


def _list_columns(question: Question) -> Iterator[Value]:
    for value in question.values:
        yield from (value,) if question.earlier is None else compared(value)


def _spell(name: str) -> str:
    """`sumCostInUSD` for `sum costInUSD`."""
    split = split_aggregation(name)
    if not isinstance(split, dict) or split["type"] is None or split["column"] is None:
        return name
    column = str(split["column"])
    return f"{split['type']}{column[:1].upper()}{column[1:]}"


def check_limit(limit: Limit, value: Value, asked: Asked) -> Finding:
    """Whether the limit, as it was settled, is passed; what is not known is never a pass."""
    unknown = f"--fail-if {quote(limit.text)} cannot be checked"
    if is_empty(asked):
        return Finding(Outcome.UNKNOWN, f"{unknown}: no rows")
    if value.name not in asked.result.value_names:
        return Finding(Outcome.UNKNOWN, f"{unknown}: the answer has no {value.name}")
    rows = _list_rows(asked, value.name, is_any=limit.is_any)
    if not rows:
        why = "there is no ALL row" if not limit.is_any else "no rows"
        return Finding(Outcome.UNKNOWN, f"{unknown}: {why}")
    holds = _COMPARISONS[limit.comparison]
    known = [(name, number) for name, number in rows if _is_known(number)]
    passed = [(name, n) for name, n in known if n is not None and holds(n, limit.number)]
    bound = _describe_bound(asked, value)
    if passed:
        name, number = passed[0]
        rest = f", and in {count_rows(len(passed) - 1)} more" if len(passed) > 1 else ""
        text = f"{value.name} of {name} is {_show(number, value)}: {limit.text} holds{rest}{bound}"
        return Finding(Outcome.PASSED, text)
    if len(known) < len(rows):
        lacking = count_rows(len(rows) - len(known)) if limit.is_any else "ALL"
        return Finding(Outcome.UNKNOWN, f"{unknown}: {value.name} of {lacking} is null or n/a")
    what = "every row" if limit.is_any else f"ALL ({_show(known[0][1], value)})"
    text = f"{value.name} of {what} is within the limit, {limit.text}{bound}"
    return Finding(Outcome.KEPT, text)


def _is_known(number: Number | None) -> bool:
    return number is not None and math.isfinite(number)


def _show(number: Number | None, value: Value) -> str:
    return format_value(number, value.unit, signed=value.is_signed)


def _list_rows(asked: Asked, name: str, *, is_any: bool) -> Sequence[tuple[str, Number | None]]:
    """What is checked, by its name: every row, or the one that stands for all."""
    result = asked.result
    i = result.value_names.index(name)
    if is_any:
        return [(_name_row(point), point.values[i]) for point in result.points]
    of_all = asked.of_all or asked.totals
    if not result.key_names and len(result.points) == 1:
        of_all = result.points[0].values
    return [] if of_all is None else [("ALL", of_all[i])]


def _name_row(point: DataPoint) -> str:
    """Its bucket and its keys; ALL where it has neither."""
    start = [] if point.start is None else [format_instant(point.start)]
    return " ".join([*start, *map(format_key, point.keys)]) or "ALL"


def _describe_bound(asked: Asked, value: Value) -> str:
    """That spend is at least so much, where some calls have no price."""
    base = next((v for v in asked.question.values if value.name.startswith(v.name)), value)
    is_spend = isinstance(base.source, Aggregation) and base.source.type == "sum"
    if not is_spend or not asks_cost([base]):
        return ""
    if not asked.priced:
        return "; whether all calls have a price is not known: spend may be a lower bound"
    lacking = [one.calls - one.priced for one in asked.priced]
    if not any(lacking):
        return ""
    return f"; {max(lacking)} calls have no price: spend is a lower bound"
