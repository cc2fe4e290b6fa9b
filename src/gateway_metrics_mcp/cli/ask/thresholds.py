"""`--fail-if 'sumCostInUSD > 100'`: checks limits on an answer, for scheduled jobs and CI.

An unknown value never passes a check silently: it is a failure of its own.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

from gateway_metrics_mcp.query import Aggregation, Key, Number, did_you_mean, quote
from gateway_metrics_mcp.rendering.cells import count_rows, format_key, format_value
from gateway_metrics_mcp.rendering.exports import format_start
from gateway_metrics_mcp.rendering.grid import PARTIAL
from gateway_metrics_mcp.rendering.report_document import ReportDocument
from gateway_metrics_mcp.reports.columns import (
    PERCENT,
    RATIO,
    Value,
    asks_cost,
    compared,
    split_aggregation,
)
from gateway_metrics_mcp.reports.report import Report
from gateway_metrics_mcp.reports.request import ReportRequest

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


class Outcome(IntEnum):
    """The outcome of a check; its value is the command's exit code."""

    KEPT = 0
    UNKNOWN = 1
    EXCEEDED = 3


@dataclass(frozen=True, slots=True)
class Limit:
    """A condition that must not hold, such as `sumCostInUSD > 100`."""

    text: str
    name: str
    comparison: str
    number: float
    is_percent: bool
    is_any: bool
    """Whether every row is checked instead of ALL."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check, and a sentence for stderr."""

    outcome: Outcome
    text: str


class _Row(NamedTuple):
    """A checked value, with its bucket and group."""

    time: str
    keys: tuple[Key, ...]
    number: Number | None


@dataclass(slots=True)
class _Count:
    """How many rows passed the limit or had no value."""

    passed: int = 0
    lacking: int = 0
    first: _Row | None = None
    """The first row for which the limit holds."""
    last: _Row | None = None


def read_limit(text: str) -> Limit:
    """Parse a limit: `[any] COLUMN COMPARISON NUMBER[%|pp]`.

    Raises:
        ValueError: if the text is not a limit.
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


def settle_limit(limit: Limit, question: ReportRequest) -> tuple[Limit, Value]:
    """Match a limit with its column, and convert its number to the column's unit.

    Raises:
        ValueError: if the answer has no such column, or the limit cannot apply to it.
    """
    columns = {
        column.name: column
        for one in question.values
        for column in ((one,) if question.earlier is None else compared(one))
    }
    value = columns.get(limit.name) or columns.get(_spell(limit.name))
    if value is None:
        choice = did_you_mean(limit.name, columns)
        raise ValueError(f"unknown value {quote(limit.name)}. {choice}")
    if question.query.interval is not None and not limit.is_any:
        raise ValueError(f"a timeseries has no ALL row. For each bucket: any {limit.text}")
    if limit.is_percent and value.unit not in (RATIO, "pp", PERCENT):
        raise ValueError(f"{value.name} is not in percent")
    number = limit.number
    if value.unit in (RATIO, "pp"):
        # `errorRate > 5` would never hold, so 5 % is meant: a limit must not pass by a mistake.
        if not limit.is_percent and abs(number) >= 1:
            other = f"{number * 100:g}%" if abs(number) == 1 else f"{number / 100:g}"
            raise ValueError(f"{value.name} is a fraction of 1. Write {number:g}%, or {other}")
        number = number / 100 if limit.is_percent else number
    return Limit(limit.text, value.name, limit.comparison, number, False, limit.is_any), value


def _spell(name: str) -> str:
    """`sumCostInUSD` for `sum costInUSD`."""
    type_, column = split_aggregation(name)
    if type_ is None or column is None:
        return name
    return f"{type_}{column[:1].upper()}{column[1:]}"


def check_limit(limit: Limit, value: Value, document: ReportDocument) -> Finding:
    """Check a settled limit. A null, missing or `n/a` value is `UNKNOWN`, never `KEPT`."""
    unknown = f"--fail-if {quote(limit.text)} cannot be checked"
    asked = document.report
    if document.is_empty:
        return Finding(Outcome.UNKNOWN, f"{unknown}: no rows")
    if value.name not in asked.result.value_names:
        return Finding(Outcome.UNKNOWN, f"{unknown}: the answer has no {value.name}")
    rows = _list_rows(document, value.name) if limit.is_any else _list_all(asked, value.name)
    count = _count(rows, limit)
    bound = _describe_bound(asked, value)
    if count.first is not None:
        name, number = _name_row(count.first), _show(count.first.number, value)
        rest = f", and in {count.passed - 1} more" if count.passed > 1 else ""
        text = f"{value.name} of {name} is {number}: {limit.text} holds{rest}{bound}"
        return Finding(Outcome.EXCEEDED, text)
    if count.last is None:
        why = "there is no ALL row" if not limit.is_any else "no rows"
        return Finding(Outcome.UNKNOWN, f"{unknown}: {why}")
    if count.lacking:
        lacking = count_rows(count.lacking) if limit.is_any else "ALL"
        return Finding(Outcome.UNKNOWN, f"{unknown}: {value.name} of {lacking} is null or n/a")
    what = "every row" if limit.is_any else f"ALL ({_show(count.last.number, value)})"
    text = f"{value.name} of {what} is within the limit, {limit.text}{bound}"
    return Finding(Outcome.KEPT, text)


def _count(rows: Iterable[_Row], limit: Limit) -> _Count:
    """Count in one pass over the rows, which are not kept: a timeseries can have very many."""
    holds, count = _COMPARISONS[limit.comparison], _Count()
    for row in rows:
        count.last = row
        if row.number is None or not math.isfinite(row.number):
            count.lacking += 1
        elif holds(row.number, limit.number):
            count.passed += 1
            count.first = count.first or row
    return count


def _show(number: Number | None, value: Value) -> str:
    return format_value(number, value.unit, signed=value.is_signed)


def _list_all(asked: Report, name: str) -> Iterator[_Row]:
    """The ALL row, or the only row of an ungrouped answer."""
    result = asked.result
    of_all = asked.of_all or asked.totals
    if not result.key_names and len(result.points) == 1:
        of_all = result.points[0].values
    if of_all is not None:
        yield _Row("", (), of_all[result.value_names.index(name)])


def _list_rows(document: ReportDocument, name: str) -> Iterator[_Row]:
    """Every row; for a timeseries every bucket of every series, with gaps filled as in its table.

    Buckets without rows are skipped for averages, ratios and percentiles, which they do not have.
    """
    result, grid = document.report.result, document.grid
    i = result.value_names.index(name)
    if grid is None:
        yield from (_Row("", point.keys, point.values[i]) for point in result.points)
        return
    gap = grid.gap(name)
    for start, label in zip(grid.starts, grid.labels, strict=True):
        time = format_start(start, grid.zone) + (PARTIAL if label.endswith(PARTIAL) else "")
        for series in grid.series:
            row = series.values.get(start)
            if row is not None or gap is not None:
                yield _Row(time, series.keys, gap if row is None else row[i])


def _name_row(row: _Row) -> str:
    """A row's bucket and keys; `ALL` if it has neither."""
    return " ".join([*([row.time] if row.time else []), *map(format_key, row.keys)]) or "ALL"


def _describe_bound(asked: Report, value: Value) -> str:
    """A warning that spend is a lower bound, if some calls have no price; else empty."""
    base = next((v for v in asked.request.values if value.name.startswith(v.name)), value)
    is_spend = isinstance(base.source, Aggregation) and base.source.type == "sum"
    if not is_spend or not asks_cost([base]):
        return ""
    if not asked.priced:
        return "; whether all calls have a price is not known: spend may be a lower bound"
    lacking = [one.calls - one.priced for one in asked.priced]
    if not any(lacking):
        return ""
    return f"; {max(lacking)} calls have no price: spend is a lower bound"
