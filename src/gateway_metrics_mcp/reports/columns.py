"""The value columns of a report: how `aggregations` are read, and what each column needs.

The columns are computed in assembly.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from gateway_metrics_mcp.query import (
    DATASOURCES,
    SHARE,
    TOTAL,
    Aggregation,
    Catalog,
    Datasource,
    DatasourceName,
    Measure,
    closest_matches,
    fold,
    quote,
)
from gateway_metrics_mcp.query.catalog import Term, lacking_fields, load_measures
from gateway_metrics_mcp.query.validation import QueryValidator
from gateway_metrics_mcp.query.vocabulary import AGGREGATION_TYPES, PERCENTILES, AggregationType

RATIO: Final = "ratio"
"""The unit of a fraction from 0 to 1, shown in percent."""

PERCENT: Final = "%"
"""The unit of a relative change: 12.5 is 12.5 %."""

BEFORE: Final = "_before"
CHANGE: Final = "_change"
CHANGE_PERCENT: Final = "_change%"


class Share(NamedTuple):
    """A row's fraction of ALL in another value; `of` is that value's name."""

    of: str


class Value(NamedTuple):
    """One value column.

    `is_additive`: values of disjoint rows may be added up. `is_zero_in_gaps`: a bucket without
    rows has 0 rather than null (R3). `is_signed`: a difference, shown with its sign.
    """

    name: str
    source: Aggregation | Measure | Share | None
    """None for `total`, and for the columns of a comparison."""
    unit: str | None = None
    is_additive: bool = False
    is_zero_in_gaps: bool = False
    is_signed: bool = False


TOTAL_VALUE: Final = Value(TOTAL, None, is_additive=True, is_zero_in_gaps=True)


def value_of_aggregation(aggregation: Aggregation, datasource: Datasource) -> Value:
    """The column of an aggregation; counts have no unit."""
    column = datasource.columns.get(aggregation.column)
    is_count = aggregation.type.startswith("count")
    return Value(
        aggregation.key,
        aggregation,
        unit=None if column is None or is_count else column.unit,
        is_additive=aggregation.is_additive,
        is_zero_in_gaps=aggregation.is_zero_in_gaps,
    )


def compared(value: Value) -> tuple[Value, ...]:
    """The columns of a value in a comparison: now, before, difference, percent."""
    name, unit, is_additive = value.name, value.unit, value.is_additive
    # A ratio changes in percentage points, so that its change is not read as relative.
    difference = "pp" if unit == RATIO else unit
    return (
        value,
        Value(name + BEFORE, None, unit=unit, is_additive=is_additive),
        Value(name + CHANGE, None, unit=difference, is_additive=is_additive, is_signed=True),
        Value(name + CHANGE_PERCENT, None, unit=PERCENT, is_signed=True),
    )


def strip_unit(name: str) -> str:
    """The name of a value column without the unit that its heading has, as in `(USD)`."""
    return re.sub(r"(?<=\w) \([\w/%$ ]+\)$", "", name)


_CALL: Final = r"(\w+)\s*\(\s*([^()]+?)\s*\)"
_TOTAL_NAMES: Final = frozenset((TOTAL, "count", "count(*)", "count *"))


def split_aggregation(text: str) -> tuple[str | None, str | None]:
    """Function and column in `sum costInUSD`, `sum(costInUSD)`, `sumCostInUSD`; None if absent."""
    text = text.strip()
    if match := re.fullmatch(_CALL, text):
        return match[1], match[2]
    type_, _, column = text.partition(" ")
    if column:
        return type_, column.strip()
    for known in sorted(AGGREGATION_TYPES, key=len, reverse=True):  # countDistinct, then count
        column = text.removeprefix(known)
        if column != text and column[:1].isupper():
            return known, column[0].lower() + column[1:]
    return (text, None) if text in AGGREGATION_TYPES else (None, text)


COST: Final = "costInUSD"
SPEND: Final = "sumCostInUSD"
TOKENS: Final = ("inputTokens", "outputTokens")


Source = Aggregation | Measure | Literal["share"]
"""What an entry of `aggregations` means."""


def read_sources(entries: Sequence[object], parts: QueryValidator) -> list[Source]:
    """The requested values besides `total`, in order; each invalid entry is a problem."""
    sources: list[Source] = []
    known = parts.datasource
    measures = {} if known is None else parts.catalog.measures[known]
    for index, given in enumerate(entries):
        place = f"aggregations[{index}]"
        entry = strip_unit(given) if isinstance(given, str) else given
        source: Source | None
        if not isinstance(entry, str):
            source = parts.read_aggregation_entry(place, entry)
        elif name := _measure_name(entry, measures):
            source = measures.get(name, SHARE)
            if source in sources:
                parts.problems.add(place, f"{quote(name)} appears twice")
        elif entry.strip().lower() in _TOTAL_NAMES:
            continue  # every answer has total
        elif problem := _explain(entry, known, measures, parts.catalog):
            parts.problems.add(place, problem)
            continue
        else:
            source = parts.read_aggregation(place, *split_aggregation(entry))
        if source is not None:
            sources.append(source)
    return sources


_COUNTED: Final = ("calls", "count", "requestcount", "requests", "rows", "total", "totalrequests")
"""Words for what every answer has as `total`."""


def _measure_name(entry: str, allowed: Iterable[str]) -> str | None:
    """The measure's name for `errorRate`, `error rate` or `error_rate`; None if it is none."""
    folded = fold(entry)
    return next((name for name in (*allowed, SHARE) if fold(name) == folded), None)


def _explain(
    entry: str, datasource: DatasourceName | None, allowed: Mapping[str, Measure], catalog: Catalog
) -> str | None:
    """Why a single word is not a measure here; None if it should be read as an aggregation."""
    if datasource is None or not entry.strip() or " " in entry.strip() or "(" in entry:
        return None
    for measure in load_measures():
        if fold(measure.name) == fold(entry) and datasource in measure.datasources:
            fields = ", ".join(lacking_fields(datasource, catalog, measure))
            return (
                f"{measure.name} needs {fields}, which {datasource} does not have in the published"
                " API: a catalog file of your own can add it"
            )
    others = [other for other in DATASOURCES if _measure_name(entry, catalog.measures[other])]
    if others:
        listed = ", ".join((*allowed, SHARE))
        where = " and ".join(others)
        return f"{entry} is a measure of {where}, not of {datasource}. Measures here: {listed}"
    if fold(entry) in _COUNTED:
        return f"{quote(entry)} needs no aggregation: every answer counts its rows as total"
    has_function = split_aggregation(entry)[0] is not None
    if has_function or entry.strip() in catalog.datasources[datasource].columns:
        return None
    elsewhere = {m: None for other in DATASOURCES for m in catalog.measures[other]}
    near = closest_matches(entry, (*allowed, SHARE)) or closest_matches(entry, elsewhere)
    if not near:
        return None
    where = "" if near[0] in (*allowed, SHARE) else ", a measure of another datasource"
    return (
        f"{quote(entry)} is not a measure. Did you mean {' or '.join(near)}{where}? Measures here:"
        f" {', '.join((*allowed, SHARE))}; or a function and a column: sum costInUSD"
    )


def list_values(sources: Sequence[Source], datasource: Datasource) -> tuple[Value, ...]:
    """The columns: `total`, then the requested values in order.

    A share is of the additive value before it, else of the first one after it, else of `total`.
    """
    values = [_value_of(source, datasource) for source in sources]
    for index, value in enumerate(values):
        if value is None:
            before = [one for one in values[:index] if one and one.is_additive]
            after = [one for one in values[index:] if one and one.is_additive]
            of = (before[-1:] or after[:1] or [TOTAL_VALUE])[0]
            values[index] = Value(SHARE, Share(of.name), unit=RATIO, is_additive=True)
    return (TOTAL_VALUE, *(value for value in values if value is not None))


def _value_of(source: Source, datasource: Datasource) -> Value | None:
    """The column of a source; None for a share, which depends on the other columns."""
    if isinstance(source, Aggregation):
        return value_of_aggregation(source, datasource)
    return Value(source.name, source, unit=source.unit) if isinstance(source, Measure) else None


def list_aggregations(
    values: Sequence[Value], datasource: Datasource, *, is_compared: bool = False
) -> tuple[Aggregation, ...]:
    """The aggregations to query: those requested, and those that the answer needs with them.

    Costs and percentiles need the number of rows that have a value. A comparison of spend needs
    calls, tokens and cost, to split the change into its drivers. All travel in one request body,
    so they take no further query.
    """
    sources = [value.source for value in values]
    needed = dict.fromkeys(source for source in sources if isinstance(source, Aggregation))
    for term in list_terms(values):
        if not term.rows.has_conditions:
            needed |= dict.fromkeys(term.aggregations)
    # Calls without a price make spend a lower bound, so the answer states their share.
    counted = [COST] if asks_cost(values) else []
    counted += [a.column for a in needed if a.type in PERCENTILES]
    needed |= dict.fromkeys(_allowed("count", counted, datasource))
    if is_compared and asks_spend(values):
        needed |= dict.fromkeys(_allowed("sum", (COST, *TOKENS), datasource))
    return tuple(needed)


def _allowed(
    type_: AggregationType, columns: Iterable[str], datasource: Datasource
) -> list[Aggregation]:
    """The aggregation of each column that allows the function."""
    return [
        Aggregation(type=type_, column=column)
        for column in columns
        if column in datasource.columns and type_ in datasource.columns[column].aggregations
    ]


def list_terms(values: Iterable[Value]) -> list[Term]:
    """Both terms of each measure among the values."""
    return [term for v in values if isinstance(v.source, Measure) for term in v.source.terms]


def asks_cost(values: Sequence[Value]) -> bool:
    """Whether some value is a cost, which calls without a price make too low."""
    own = [value.source for value in values if isinstance(value.source, Aggregation)]
    summed = [one for one in own if one.type != "count"]
    of_measures = [one for term in list_terms(values) for one in term.aggregations]
    return any(one.column == COST for one in (*summed, *of_measures))


def asks_spend(values: Iterable[Value]) -> bool:
    """Whether `sum costInUSD` is a value: only it is split into drivers and extrapolated."""
    return any(value.name == SPEND for value in values)
