"""A query and its caller -> one SQL statement with bound parameters, by the rulings.

Values are always bound; identifiers come from the catalog alone; names of output columns are
positions. Nothing here touches an engine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from gateway_metrics_mcp.backends.sql.conditions import SUBJECT_KINDS, Bind, Conditions
from gateway_metrics_mcp.backends.sql.dialect import Dialect, Function, quote_identifier
from gateway_metrics_mcp.backends.sql.tables import (
    SUBJECT_TYPE_COLUMN,
    TEAMS_COLUMN,
    TIME_COLUMN,
    Layout,
)
from gateway_metrics_mcp.query.caller import Caller
from gateway_metrics_mcp.query.catalog import Catalog, Datasource
from gateway_metrics_mcp.query.model import Aggregation, Query
from gateway_metrics_mcp.query.result import (
    DataPoints,
    Number,
    Result,
    Row,
    key_names_of,
    value_names_of,
)
from gateway_metrics_mcp.query.vocabulary import (
    METADATA,
    METADATA_PREFIX,
    PERCENTILES,
    RATE_TYPES,
    AggregationType,
)

_FUNCTIONS: Final[dict[AggregationType, Function]] = {
    "sum": "sum",
    "count": "count",
    "countDistinct": "countDistinct",
    "min": "min",
    "max": "max",
    "avg": "avg",
    "rateSum": "sum",
    "rateAvg": "avg",
    "rateMin": "min",
    "rateMax": "max",
    "ratePerMinute": "sum",
}


@dataclass(frozen=True, slots=True)
class Output:
    """Where a value stands in a row: a column, and an item where that is a list."""

    column: int
    item: int | None = None
    per: Literal["second", "minute"] | None = None
    """A rate: the value is divided by the bucket's length in this unit (R14)."""


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL text, its parameters, and how its rows are read.

    A row is the bucket's number (timeseries only), the keys, `total`, then the aggregates.
    """

    text: str
    count_text: str
    """Counts the rows that `text` has without its limit (R19)."""
    parameters: dict[str, Any]
    outputs: tuple[Output, ...]

    def opened_by(self, clause: str, **parameters: object) -> Statement:
        """The statement after a clause of WITH, which has parameters of its own."""
        text, count_text = f"{clause} {self.text}", f"{clause} {self.count_text}"
        return Statement(text, count_text, {**self.parameters, **parameters}, self.outputs)


@dataclass(slots=True)
class _Selected:
    """The output columns of a statement, as SQL."""

    columns: list[str] = field(default_factory=list)

    def add(self, expression: str) -> int:
        self.columns.append(expression)
        return len(self.columns) - 1


def compile_query(
    query: Query, caller: Caller, *, source: str, dialect: Dialect, layout: Layout, row_cap: int
) -> Statement:
    """The statement that answers the query over `source`, SQL for the datasource's table.

    It returns at most `row_cap` rows and one, so that the reader can tell a cut (R19).
    """
    parameters: dict[str, Any] = {}

    def bind(value: object) -> str:
        name = f"p{len(parameters)}"
        parameters[name] = value
        return dialect.placeholder(name, value)

    datasource = layout.catalog.datasources[query.datasource]
    conditions = Conditions(dialect, layout, bind)
    where = [
        f'"{TIME_COLUMN}" >= {bind(query.start_ts)}',
        f'"{TIME_COLUMN}" < {bind(query.end_ts)}',
        *_implied(query, datasource, bind),
        *(conditions.of_filter(query, filter_) for filter_ in query.filters),
    ]
    rights = conditions.of_caller(caller)
    if rights is not None:
        where.append(rights)
    by_team = any(_is_team(name, datasource) for name in query.group_by)
    by_key = any(_is_keys(name, datasource) for name in query.group_by)
    rows = dialect.rows(source, " AND ".join(where), by_team=by_team, by_key=by_key)

    selected = _Selected()
    groups = []
    if query.interval is not None:
        groups.append(selected.add(dialect.bucket(query.interval)))
    groups += [
        selected.add(_key_expression(name, datasource, layout, dialect, bind))
        for name in _keys_once(query, datasource)
    ]
    total = selected.add("count(*)")
    outputs = (Output(total), *_aggregates(query, layout, dialect, selected))
    return _assemble(query, rows, selected, groups, outputs, parameters, row_cap)


def _assemble(
    query: Query,
    rows: str,
    selected: _Selected,
    groups: list[int],
    outputs: tuple[Output, ...],
    parameters: dict[str, Any],
    row_cap: int,
) -> Statement:
    positions = ", ".join(str(position + 1) for position in groups)
    grouped = f" GROUP BY {positions}" if groups else ""
    keys = groups[1:] if query.interval is not None else groups
    order = [f"{position + 1} ASC" for position in groups[: len(groups) - len(keys)]]
    order.append(f"{outputs[0].column + 1} DESC")
    order += [f"{position + 1} ASC NULLS LAST" for position in keys]
    text = (
        f"SELECT {', '.join(selected.columns)} FROM {rows}{grouped}"
        f" ORDER BY {', '.join(order)} LIMIT {row_cap + 1}"
    )
    expressions = ", ".join(selected.columns[position] for position in groups) or "1"
    count_text = f"SELECT count(*) FROM (SELECT {expressions}, count(*) FROM {rows}{grouped}) AS c"
    return Statement(text, count_text, parameters, outputs)


def _implied(query: Query, datasource: Datasource, bind: Bind) -> list[str]:
    """What the server adds by itself: one kind of subject (R7), a needed column (R16)."""
    kinds = {SUBJECT_KINDS[name] for name in query.group_by if name in SUBJECT_KINDS}
    implied = []
    if len(kinds) == 1:
        implied.append(f"{SUBJECT_TYPE_COLUMN} = {bind(kinds.pop())}")
    if datasource.requires is not None:
        implied.append(f"{quote_identifier(datasource.requires)} IS NOT NULL")
    return implied


def _keys_once(query: Query, datasource: Datasource) -> list[str]:
    """The group-by fields, the first of those that share a response key (R7)."""
    first = {datasource.response_key(name): name for name in reversed(query.group_by)}
    return [name for name in query.group_by if first[datasource.response_key(name)] == name]


def _is_team(name: str, datasource: Datasource) -> bool:
    known = datasource.group_by.get(name)
    return known is not None and known.table_column == TEAMS_COLUMN


def _is_keys(name: str, datasource: Datasource) -> bool:
    """Whether the rows are split by the keys of the metadata: asked by `metadata_keys` alone."""
    return name == METADATA and name not in datasource.group_by


def _key_expression(
    name: str, datasource: Datasource, layout: Layout, dialect: Dialect, bind: Bind
) -> str:
    if name.startswith(METADATA_PREFIX):
        return dialect.metadata(bind(name.removeprefix(METADATA_PREFIX)))
    if _is_team(name, datasource):
        return dialect.team()
    if _is_keys(name, datasource):
        return dialect.metadata_key()
    return _finite(datasource.group_by[name].table_column, datasource, layout, dialect)


def _aggregates(
    query: Query, layout: Layout, dialect: Dialect, selected: _Selected
) -> list[Output]:
    """One output per aggregation; the percentiles of a column share one list."""
    fractions: dict[str, list[float]] = {}
    for aggregation in query.aggregations:
        if aggregation.type in PERCENTILES:
            fractions.setdefault(aggregation.column, []).append(PERCENTILES[aggregation.type])
    lists: dict[str, int] = {}
    outputs = []
    for aggregation in query.aggregations:
        name, type_ = aggregation.column, aggregation.type
        if type_ not in PERCENTILES:
            position = selected.add(_aggregate(query, aggregation, layout, dialect))
            outputs.append(Output(position, per=_per(aggregation)))
            continue
        if name not in lists:
            number = _value(query, name, layout, dialect)
            lists[name] = selected.add(dialect.percentiles(number, fractions[name]))
        outputs.append(Output(lists[name], fractions[name].index(PERCENTILES[type_])))
    return outputs


def _aggregate(query: Query, aggregation: Aggregation, layout: Layout, dialect: Dialect) -> str:
    column = layout.catalog.datasources[query.datasource].columns[aggregation.column]
    if column.type == "array":
        is_count = aggregation.type == "count"
        return dialect.count_teamed() if is_count else dialect.distinct_teams()
    value = _value(query, aggregation.column, layout, dialect)
    is_integer = layout.is_integer(
        layout.catalog.datasources[query.datasource], column.table_column
    )
    return dialect.aggregate(_FUNCTIONS[aggregation.type], value, is_integer=is_integer)


def _value(query: Query, name: str, layout: Layout, dialect: Dialect) -> str:
    datasource = layout.catalog.datasources[query.datasource]
    return _finite(datasource.columns[name].table_column, datasource, layout, dialect)


def _finite(column: str, datasource: Datasource, layout: Layout, dialect: Dialect) -> str:
    """The column, null where it is NaN or infinite (R22)."""
    quoted = quote_identifier(column)
    return dialect.finite(quoted) if layout.is_float(datasource, column) else quoted


def _per(aggregation: Aggregation) -> Literal["second", "minute"] | None:
    if aggregation.type not in RATE_TYPES:
        return None
    return "minute" if aggregation.type == "ratePerMinute" else "second"


def read_rows(
    rows: Sequence[Sequence[Any]], statement: Statement, query: Query, catalog: Catalog
) -> Result:
    """The result in an engine's rows."""
    key_names = key_names_of(query, catalog.datasources[query.datasource])
    points = read_points(rows, statement, query, keys=len(key_names))
    return Result(key_names, value_names_of(query), DataPoints(points))


def read_points(
    rows: Sequence[Sequence[Any]], statement: Statement, query: Query, *, keys: int
) -> list[Row]:
    """The data points in an engine's rows, of so many keys each."""
    first_key = 0 if query.interval is None else 1
    last_key = first_key + keys
    points: list[Row] = []
    for row in rows:
        start, seconds = None, math.nan
        if query.interval is not None:
            start = query.interval.start_of(row[0])
            seconds = query.interval.seconds_from(start) if query.has_rates else math.nan
        values = tuple([_read_value(row, output, seconds) for output in statement.outputs])
        points.append((tuple(row[first_key:last_key]), values, start))
    return points


def _read_value(row: Sequence[Any], output: Output, seconds: float) -> Number | None:
    value = row[output.column]
    if output.item is not None and value is not None:
        value = value[output.item]
    if value is None:
        return None
    if output.per is not None:
        value = value / (seconds if output.per == "second" else seconds / 60)
    return None if isinstance(value, float) and not math.isfinite(value) else value
