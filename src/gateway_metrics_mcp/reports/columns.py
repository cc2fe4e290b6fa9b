"""The value columns of a report: how `aggregations` are read, and what each column needs.

The columns are computed in assembly.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from gateway_metrics_mcp.errors import Fix, Problem
from gateway_metrics_mcp.query import (
    DATASOURCES,
    SHARE,
    TOTAL,
    Aggregation,
    Datasource,
    DatasourceName,
    Measure,
    fold,
    quote,
)
from gateway_metrics_mcp.query.catalog import Term, lacking_fields, load_measures
from gateway_metrics_mcp.query.suggestions import find_misspelt
from gateway_metrics_mcp.query.validation import QueryValidator
from gateway_metrics_mcp.query.vocabulary import AGGREGATION_TYPES, PERCENTILES, AggregationType

if TYPE_CHECKING:
    from gateway_metrics_mcp.query.catalog import Column
    from gateway_metrics_mcp.query.spellings import Call, Meaning

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
    measures = _measures(parts)
    for index, given in enumerate(entries):
        place, found = f"aggregations[{index}]", len(parts.problems)
        entry = strip_unit(given) if isinstance(given, str) else given
        source: Source | None
        if not isinstance(entry, str):
            source = _read_object(place, entry, parts)
        elif name := _measure_name(entry, measures):
            source = measures.get(name, SHARE)
            if source in sources:
                parts.problems.add(place, f"{quote(name)} appears twice", Fix())
        elif entry.strip().lower() in _TOTAL_NAMES:
            continue  # every answer has total
        else:
            source = _read_entry(place, entry, parts)
        if source is not None:
            sources.append(source)
        if found < len(parts.problems):
            _attach_fix(entry, parts, found)
    return sources


def _measures(parts: QueryValidator) -> Mapping[str, Measure]:
    """The measures of the query's datasource, by name."""
    known = parts.datasource
    return {} if known is None else parts.catalog.measures[known]


def _measure_name(entry: str, allowed: Iterable[str]) -> str | None:
    """The measure's name for `errorRate`, `error rate` or `error_rate`; None if it is none."""
    folded = fold(entry)
    return next((name for name in (*allowed, SHARE) if fold(name) == folded), None)


def _read_entry(place: str, entry: str, parts: QueryValidator) -> Aggregation | None:
    """The aggregation in a text, in any spelling with one meaning; None for `requests` too."""
    type_, column = split_aggregation(entry)
    columns = {} if parts.datasource is None else parts.fields.columns
    if type_ not in AGGREGATION_TYPES or column not in columns:
        from gateway_metrics_mcp.query import spellings  # most calls spell it right

        call = spellings.read_call(entry)
        word = call.column if call.type in ("count", "sum") else entry
        if spellings.is_total(word):
            return None  # every answer has total
        if problem := _explain(place, entry, call, parts):
            parts.problems.append(problem)
            return None
        if call.type is not None:
            type_, column = call.type, call.column
    return parts.read_aggregation(place, type_, column)


def _read_object(place: str, entry: object, parts: QueryValidator) -> Aggregation | None:
    """The aggregation in an object; one with other keys is a problem, and still checked."""
    if isinstance(entry, Mapping) and not {"type", "column"} <= set(entry):
        from gateway_metrics_mcp.query import spellings  # hardly any call has others

        text = spellings.guess_aggregation(entry)
        if text is not None:
            wrong = f'expected {{"type", "column"}}, got {quote(entry)}'
            parts.problems.add(place, f"{wrong}. Did you mean {quote(text)}?", Fix((text,)))
            return _read_entry(place, text, parts)
    return parts.read_aggregation_entry(place, entry)


def _attach_fix(entry: object, parts: QueryValidator, first: int) -> None:
    """Give the first of an entry's problems the entry that was probably meant, if any."""
    found = parts.problems[first:]
    if isinstance(entry, Mapping) and any(problem.fix for problem in found):
        return  # its type or its column
    if found[0].fix is None or found[0].fix.entries:
        found = [problem._replace(fix=None) for problem in found]
        parts.problems[first:] = [found[0]._replace(fix=_guess_entry(entry, parts)), *found[1:]]


def _explain(place: str, entry: str, call: Call, parts: QueryValidator) -> Problem | None:
    """Why a text is no value here; None if it should be read as an aggregation."""
    from gateway_metrics_mcp.query import spellings  # likewise

    datasource, catalog = parts.datasource, parts.catalog
    if datasource is None or not entry.strip():
        return None
    allowed = catalog.measures[datasource]
    meaning = spellings.guess_meaning(entry)
    own = [m for m in load_measures() if fold(m.name) == fold(entry)]
    for measure in own:
        if datasource in measure.datasources:
            fields = ", ".join(lacking_fields(datasource, catalog, measure))
            wrong = (
                f"{measure.name} needs {fields}, which {datasource} does not have in the published"
                " API: a catalog file of your own can add it"
            )
            return Problem(place, wrong, Fix(has_answer=False))
    columns = [a.column for m in own for t in m.terms for a in t.aggregations]
    columns += [] if meaning is None else meaning.columns
    is_failure = meaning is not None and "toolCallErrorRate" in meaning.measures
    for column in (*columns, *(["isFailure"] if is_failure else [])):
        limit = parts.find_limit("columns", column)
        if limit is not None:
            wrong = f"{quote(entry)} is not a value of {datasource}. {limit.message}"
            return Problem(place, wrong, limit.fix)
    others = [other for other in DATASOURCES if _measure_name(entry, catalog.measures[other])]
    if others:
        listed = ", ".join((*allowed, SHARE))
        where = " and ".join(others)
        wrong = f"{entry} is a measure of {where}, not of {datasource}. Measures here: {listed}"
        return Problem(place, wrong)
    known = parts.respell("columns", call.column)
    is_counted = call.type in ("count", "countDistinct") and spellings.is_people(call.column)
    is_known = call.type is not None or (known is not None and meaning is None)
    if is_known and not is_counted:
        return None
    suggestion = _suggest_measure(entry, parts)
    return None if suggestion is None else Problem(place, suggestion)


def _suggest_measure(entry: str, parts: QueryValidator) -> str | None:
    """What a single word was probably meant to be; None if nothing is like it."""
    fix = _guess_entry(entry, parts)
    if fix is None:
        return None
    wrong = f"{quote(entry)} is not a measure"
    if "groupBy" in fix.adds:
        field = fix.adds["groupBy"]
        return f"{wrong}. Group by {field}: the answer says how many rows there are"
    where = ""
    if "datasource" in fix.adds:
        where = f" of {fix.adds['datasource']}"
    listed = (
        ", ".join((*parts.catalog.measures[parts.datasource], SHARE)) if parts.datasource else ""
    )
    if "success" in fold(entry):
        where += ", of which success is the rest"
    meant = " and ".join(map(str, fix.entries))
    return (
        f"{wrong}. Did you mean {meant}{where}? Measures here: {listed};"
        " or a function and a column: sum costInUSD"
    )


def _guess_entry(entry: object, parts: QueryValidator) -> Fix | None:
    """What an invalid entry of `aggregations` was probably meant to be."""
    from gateway_metrics_mcp.query import spellings  # only for a refusal

    text = spellings.guess_aggregation(entry) if isinstance(entry, Mapping) else entry
    if not isinstance(text, str) or not text.strip() or parts.datasource is None:
        return None
    call = spellings.read_call(text)
    word = call.column or text
    if call.type in (None, "count", "countDistinct"):
        field = "userEmail" if spellings.is_people(word) else None
        if field is None and call.type is not None:
            field = parts.respell("groupBy", word)
        if field in parts.fields.group_by:
            return Fix(adds={"groupBy": field})
    meaning = spellings.guess_meaning(text) or spellings.guess_meaning(word)
    measure = _find_measure(text, meaning, parts) or _find_measure(word, meaning, parts)
    if measure is not None:
        return measure
    if meaning is not None and meaning.columns:
        return _ask_columns(meaning, call.type, parts)
    columns = spellings.guess_columns(word, parts.fields.columns)
    first, _, rest = text.partition(" ")
    misspelt = find_misspelt(first, AGGREGATION_TYPES) if rest and not call.type else ()
    if not columns and misspelt:
        columns = spellings.guess_columns(rest, parts.fields.columns)
    near = spellings.find_like(text, parts.catalog.measures[parts.datasource])
    if near and not (rest and columns):
        return Fix((near[0],))
    if not columns:
        return None
    column = parts.fields.columns[columns[0]]
    functions = (call.type,) if call.type else misspelt
    return Fix((f"{_choose(next(iter(functions), None), column)} {columns[0]}",))


def _find_measure(text: str, meaning: Meaning | None, parts: QueryValidator) -> Fix | None:
    """The measure that a text names or asks for, here or of another datasource."""
    measures = parts.catalog.measures
    of_all = list(dict.fromkeys(name for other in DATASOURCES for name in measures[other]))
    named = [name for name in of_all if fold(name) == fold(text)]
    wanted = [*named, *(() if meaning is None else meaning.measures)]
    own: DatasourceName = parts.datasource or "modelMetrics"
    for name in wanted:
        if name in measures[own]:
            return Fix((name,))
    if parts.find_limit("columns", "isFailure") and "toolCallErrorRate" in wanted:
        return None
    for name in wanted:
        for other in DATASOURCES:
            if name in measures[other]:
                return Fix((name,), {"datasource": other})
    return None


def _ask_columns(meaning: Meaning, function: str | None, parts: QueryValidator) -> Fix | None:
    """The aggregations of the columns that a word asks for, here or of another datasource."""
    own: DatasourceName = parts.datasource or "modelMetrics"
    datasources = parts.catalog.datasources
    lacking = [name for name in meaning.columns if name not in datasources[own].columns]
    limits = [parts.find_limit("columns", name) for name in lacking]
    if any(limit and limit.fix for limit in limits):
        return None
    holding = [own, *DATASOURCES]
    home = next((h for h in holding if set(meaning.columns) <= set(datasources[h].columns)), None)
    if home is None:
        return None
    columns = datasources[home].columns
    entries = [f"{_choose(function, columns[name], meaning)} {name}" for name in meaning.columns]
    return Fix((*entries,), {} if home == own else {"datasource": home})


def _choose(function: str | None, column: Column, meaning: Meaning | None = None) -> str:
    """The function if the column takes it, else its usual one."""
    usual = "p95" if column.unit == "ms" else "sum"
    for wanted in (function, meaning and meaning.function, usual, "countDistinct"):
        if wanted in column.aggregations:
            return str(wanted)
    return column.aggregations[0]


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
