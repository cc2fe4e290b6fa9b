"""The values of an answer: what each column is, and what it is made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from gateway_metrics_mcp.errors import Problem
from gateway_metrics_mcp.query.catalog import Catalog, Datasource
from gateway_metrics_mcp.query.measures import (
    SHARE,
    Measure,
    lacking_fields,
    load_measures,
    measures_of,
)
from gateway_metrics_mcp.query.model import Aggregation
from gateway_metrics_mcp.query.result import TOTAL
from gateway_metrics_mcp.query.suggestions import closest_matches, quote
from gateway_metrics_mcp.query.vocabulary import (
    AGGREGATION_TYPES,
    DATASOURCES,
    PERCENTILES,
    AggregationType,
    DatasourceName,
)

RATIO: Final = "ratio"
"""The unit of a part of a whole, 0 to 1 for all that is honest; shown in percent."""

PERCENT: Final = "%"
"""The unit of a change against what was before: 12.5 is 12.5 %."""

BEFORE: Final = "_before"
CHANGE: Final = "_change"
CHANGE_PERCENT: Final = "_change%"


@dataclass(frozen=True, slots=True)
class Share:
    """The part that a row has of ALL of another value."""

    of: str


@dataclass(frozen=True, slots=True)
class Value:
    """One column of values.

    `is_additive`: values of disjoint rows may be added up. `is_zero_in_gaps`: a bucket without
    rows means 0 rather than no data (R3). `is_signed`: a difference, shown with its sign.
    """

    name: str
    source: Aggregation | Measure | Share | None
    """None for `total`, and for what was computed from two answers."""
    unit: str | None = None
    is_additive: bool = False
    is_zero_in_gaps: bool = False
    is_signed: bool = False


TOTAL_VALUE: Final = Value(TOTAL, None, is_additive=True, is_zero_in_gaps=True)


def value_of_aggregation(aggregation: Aggregation, datasource: Datasource) -> Value:
    """A value that the API gives."""
    column = datasource.columns.get(aggregation.column)
    is_count = aggregation.type.startswith("count")
    return Value(
        aggregation.key,
        aggregation,
        unit=None if column is None or is_count else column.unit,
        is_additive=aggregation.is_additive,
        is_zero_in_gaps=aggregation.is_zero_in_gaps,
    )


def value_of_measure(measure: Measure) -> Value:
    """A value that we compute of several that the API gives."""
    return Value(measure.name, measure, unit=measure.unit)


def value_of_share(of: Value) -> Value:
    """The share of an additive value; shares of disjoint rows add up as it does."""
    return Value(SHARE, Share(of.name), unit=RATIO, is_additive=True)


def compared(value: Value) -> tuple[Value, ...]:
    """The columns of a value in a comparison: now, before, difference, percent."""
    name, unit, is_additive = value.name, value.unit, value.is_additive
    difference = "pp" if unit == RATIO else unit
    return (
        value,
        Value(name + BEFORE, None, unit=unit, is_additive=is_additive),
        Value(name + CHANGE, None, unit=difference, is_additive=is_additive, is_signed=True),
        Value(name + CHANGE_PERCENT, None, unit=PERCENT, is_signed=True),
    )


_CALL: Final = re.compile(r"(\w+)\s*\(\s*([^()]+?)\s*\)")
_TOTAL_NAMES: Final = frozenset((TOTAL, "count", "count(*)", "count *"))


def read_total(entry: str) -> bool:
    """Whether the entry asks for the number of rows, which always comes."""
    return entry.strip().lower() in _TOTAL_NAMES


def split_aggregation(item: object) -> object:
    """The entry as `{type, column}`; what is no text is left as it is."""
    if not isinstance(item, str):
        return item
    text = item.strip()
    if match := _CALL.fullmatch(text):
        return {"type": match[1], "column": match[2]}
    type_, _, column = text.partition(" ")
    if column:
        return {"type": type_, "column": column.strip()}
    for known in AGGREGATION_TYPES:
        column = text.removeprefix(known)
        if column != text and column[:1].isupper():
            return {"type": known, "column": column[0].lower() + column[1:]}
    if text in AGGREGATION_TYPES:
        return {"type": text, "column": None}
    return {"type": None, "column": text}


COST: Final = "costInUSD"
SPEND: Final = "sumCostInUSD"
TOKENS: Final = ("inputTokens", "outputTokens")


@dataclass(frozen=True, slots=True)
class RequestedColumns:
    """The entries of `aggregations` by their position: API functions, and measures.

    `functions` are bodies' entries, still unchecked. A position that is in neither is `total`.
    """

    functions: Mapping[int, object]
    measures: Mapping[int, Measure | None]
    """None stands for `share`."""

    @property
    def positions(self) -> tuple[int, ...]:
        """The argument's position of each function, in order."""
        return tuple(self.functions)


def parse_columns(
    entries: Sequence[object], datasource: object, catalog: Catalog, problems: list[Problem]
) -> RequestedColumns:
    """Tell measures from functions; a measure that is not to be had is a problem."""
    functions: dict[int, object] = {}
    measures: dict[int, Measure | None] = {}
    known = next((name for name in DATASOURCES if name == datasource), None)
    allowed = {} if known is None else measures_of(known, catalog)
    for position, entry in enumerate(entries):
        if not isinstance(entry, str):
            functions[position] = entry
            continue
        name = _measure_name(entry, allowed)
        if name is None and not read_total(entry):
            problem = _explain(entry, known, allowed, catalog)
            if problem is None:
                functions[position] = split_aggregation(entry)
            else:
                problems.append(Problem(f"aggregations[{position}]", problem))
        elif name is not None:
            measure = allowed.get(name)
            if measure in measures.values():
                problems.append(
                    Problem(f"aggregations[{position}]", f"{quote(name)} stands here twice")
                )
            measures[position] = measure
    return RequestedColumns(functions, measures)


_COUNTED: Final = ("calls", "count", "requestcount", "requests", "rows", "total", "totalrequests")
"""What people ask for that `total` says in every answer."""


@lru_cache(maxsize=256)
def _fold(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalnum())


def _measure_name(entry: str, allowed: Iterable[str]) -> str | None:
    """`errorRate`, also as `error rate` or `error_rate`."""
    folded = _fold(entry)
    return next((name for name in (*allowed, SHARE) if _fold(name) == folded), None)


def _explain(
    entry: str, datasource: DatasourceName | None, allowed: Mapping[str, Measure], catalog: Catalog
) -> str | None:
    """Why a bare word is no measure here; None if it is to be read as a function."""
    if datasource is None or not entry.strip() or " " in entry.strip() or "(" in entry:
        return None
    for measure in load_measures():
        if _fold(measure.name) == _fold(entry) and datasource in measure.datasources:
            fields = ", ".join(lacking_fields(datasource, catalog, measure))
            return (
                f"{measure.name} needs {fields}, which {datasource} does not have in the published"
                " API: a catalog file of your own can add it"
            )
    others = [other for other in DATASOURCES if _measure_name(entry, measures_of(other, catalog))]
    if others:
        listed = ", ".join((*allowed, SHARE))
        where = " and ".join(others)
        return f"{entry} is a measure of {where}, not of {datasource}. Measures here: {listed}"
    if _fold(entry) in _COUNTED:
        return f"{quote(entry)} needs no aggregation: every answer counts its rows as total"
    split = split_aggregation(entry)
    is_bare = isinstance(split, Mapping) and split["type"] is None
    if not is_bare or entry.strip() in catalog.datasources[datasource].columns:
        return None
    elsewhere = {m: None for other in DATASOURCES for m in measures_of(other, catalog)}
    near = closest_matches(entry, (*allowed, SHARE)) or closest_matches(entry, elsewhere)
    if not near:
        return None
    where = "" if near[0] in (*allowed, SHARE) else ", a measure of another datasource"
    return (
        f"{quote(entry)} is no measure. Did you mean {' or '.join(near)}{where}? Measures here:"
        f" {', '.join((*allowed, SHARE))}; or a function and a column: sum costInUSD"
    )


def list_values(
    wanted: RequestedColumns, aggregations: Sequence[Aggregation], datasource: Datasource
) -> tuple[Value, ...]:
    """`total` and what was asked, in the order asked; `aggregations` are those of the functions."""
    read = dict(zip(wanted.positions, aggregations, strict=True))
    values = [TOTAL_VALUE]
    for position in sorted((*read, *wanted.measures)):
        if position in read:
            values.append(value_of_aggregation(read[position], datasource))
            continue
        measure = wanted.measures[position]
        if measure is not None:
            values.append(value_of_measure(measure))
            continue
        later = [value_of_aggregation(read[p], datasource) for p in sorted(read) if p > position]
        additive = [value for value in values[1:] if value.is_additive]
        following = [value for value in later if value.is_additive]
        values.append(value_of_share((additive[-1:] or following[:1] or [TOTAL_VALUE])[0]))
    return tuple(values)


def add_hidden(
    values: Sequence[Value],
    aggregations: Sequence[Aggregation],
    datasource: Datasource,
    *,
    is_compared: bool = False,
) -> tuple[Aggregation, ...]:
    """The aggregations to send: those asked, and those that the answer needs beside them.

    Costs and percentiles come with the number of rows that have one; a comparison of spend with
    all that splits it into calls, tokens and price.
    """
    needed: dict[Aggregation, None] = dict.fromkeys(aggregations)
    for value in values:
        if isinstance(value.source, Measure):
            for term in value.source.terms:
                if term.rows.is_all:
                    needed |= dict.fromkeys(term.aggregations)
    counted = [COST] if asks_cost(values) else []
    counted += [a.column for a in needed if a.type in PERCENTILES]
    needed |= dict.fromkeys(_allowed("count", counted, datasource))
    if is_compared and asks_spend(values):
        needed |= dict.fromkeys(_allowed("sum", (COST, *TOKENS), datasource))
    return tuple(needed)


def _allowed(
    type_: AggregationType, columns: Iterable[str], datasource: Datasource
) -> list[Aggregation]:
    """The function of those columns that have it."""
    return [
        Aggregation(type=type_, column=column)
        for column in columns
        if column in datasource.columns and type_ in datasource.columns[column].aggregations
    ]


def asks_cost(values: Iterable[Value]) -> bool:
    """Whether some value is money spent, which calls without a price leave too low."""
    for value in values:
        source = value.source
        if isinstance(source, Aggregation) and source.column == COST and source.type != "count":
            return True
        if isinstance(source, Measure) and any(
            aggregation.column == COST for term in source.terms for aggregation in term.aggregations
        ):
            return True
    return False


def asks_spend(values: Iterable[Value]) -> bool:
    """Whether the sum of all cost is a value: what can be split, and extrapolated."""
    return any(value.name == SPEND for value in values)


def as_body_entries(wanted: RequestedColumns) -> list[Any]:
    """The functions, as a request body has them."""
    return list(wanted.functions.values())
