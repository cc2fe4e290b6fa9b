"""Compiles a query and its caller to one SQL statement with bound parameters, by R1 to R24.

Values are always bound, identifiers come from the catalog, and output columns are referred to by
position: no text of a caller becomes SQL. Nothing here runs a statement.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, NamedTuple

from gateway_metrics_mcp.backends.sql.dialect import (
    LEAST_EXPONENT,
    SLUG_COLUMN,
    SUBJECT_TYPE_COLUMN,
    TEAMS_COLUMN,
    Dialect,
    Function,
    Layout,
    TextPlace,
    quote_identifier,
)
from gateway_metrics_mcp.query import (
    METADATA,
    METADATA_PREFIX,
    Aggregation,
    Caller,
    Catalog,
    DataPoints,
    Filter,
    Number,
    Query,
    Result,
    Scalar,
)
from gateway_metrics_mcp.query.result import RoundedSum, Row, key_names_of, value_names_of
from gateway_metrics_mcp.query.vocabulary import (
    NEGATIVE_OPERATORS,
    PERCENTILES,
    AggregationType,
    Operator,
)

_FUNCTIONS: Final[dict[AggregationType, Function]] = {
    "sum": "sum",
    "count": "count",
    "countDistinct": "countDistinct",
    "min": "min",
    "max": "max",
    "avg": "sum",
    "rateSum": "sum",
    "rateAvg": "sum",
    "rateMin": "min",
    "rateMax": "max",
    "ratePerMinute": "sum",
}
_MEANS: Final = ("avg", "rateAvg")
_PER: Final[dict[AggregationType, Literal["second", "minute"]]] = {
    "rateSum": "second",
    "rateAvg": "second",
    "rateMin": "second",
    "rateMax": "second",
    "ratePerMinute": "minute",
}
"""The unit of a rate (R14)."""
_SUBJECT_KINDS: Final = {
    "userEmail": "user",
    "virtualaccount": "virtualaccount",
    "virtualAccount": "virtualaccount",
}
"""Fields that mean the subject's slug together with one kind of subject (R7, R8)."""

_POSITIVE: Final[dict[Operator, Operator]] = {
    "NOT_EQUAL": "EQUAL",
    "NOT_IN": "IN",
    "STRING_NOT_CONTAINS": "STRING_CONTAINS",
    "STRING_NOT_STARTS_WITH": "STRING_STARTS_WITH",
    "STRING_NOT_ENDS_WITH": "STRING_ENDS_WITH",
}
_COMPARISONS: Final[dict[Operator, str]] = {
    "EQUAL": "=",
    "GREATER_THAN": ">",
    "LESS_THAN": "<",
    "GREATER_THAN_EQUAL": ">=",
    "LESS_THAN_EQUAL": "<=",
}
_TEXT_PLACES: Final[dict[Operator, TextPlace]] = {
    "STRING_CONTAINS": "anywhere",
    "STRING_STARTS_WITH": "start",
    "STRING_ENDS_WITH": "end",
}


class Output(NamedTuple):
    """Where to find a value in a row: a column, and an index if the column is a list."""

    column: int
    item: int | None = None
    per: Literal["second", "minute"] | None = None
    """The unit of a rate, whose value is divided by the bucket's length (R14); else None."""
    divisor: int | None = None
    """The column of the number of values, by which a sum is divided to a mean."""
    rest: int | None = None
    """The column of what rounding took away from a sum."""
    read: Callable[[Any], Number | None] | None = None
    """Reads the value out of the column, where it is not the value itself."""


class Statement(NamedTuple):
    """SQL text, its parameters, and how to read its rows.

    A row is the bucket's number (timeseries only), the keys, `total`, then the aggregates.
    """

    text: str
    count_text: str
    """SQL that counts the rows of `text` without its limit, for the message of R19."""
    parameters: dict[str, Any]
    outputs: tuple[Output, ...]

    def opened_by(self, clause: str, **parameters: object) -> Statement:
        """The statement with a WITH clause in front, which may have its own parameters."""
        text, count_text = f"{clause} {self.text}", f"{clause} {self.count_text}"
        return Statement(text, count_text, {**self.parameters, **parameters}, self.outputs)


def compile_query(
    query: Query,
    caller: Caller,
    *,
    source: str,
    dialect: Dialect,
    layout: Layout,
    row_cap: int,
    is_in_window: bool = False,
) -> Statement:
    """The statement that answers the query over `source`, the SQL of the datasource's table.

    It returns at most `row_cap` + 1 rows; the extra row shows that the cap is exceeded (R19).
    `is_in_window` says that the source has no rows outside the query's window.
    """
    compiler = _Compiler(query, caller, dialect, layout, is_in_window=is_in_window)
    return compiler.compile(source, row_cap)


class _Compiler:
    """Collects the parameters and output columns of one statement."""

    def __init__(
        self, query: Query, caller: Caller, dialect: Dialect, layout: Layout, *, is_in_window: bool
    ) -> None:
        self._query = query
        self._caller = caller
        self._is_in_window = is_in_window
        self._dialect = dialect
        self._layout = layout
        self._datasource = layout.catalog.datasources[query.datasource]
        self._parameters: dict[str, Any] = {}
        self._columns: list[str] = []

    def compile(self, source: str, row_cap: int) -> Statement:
        query = self._query
        where = " AND ".join(self._conditions()) or "true"
        by_team = any(self._is_team(name) for name in query.group_by)
        by_key = any(self._is_keys(name) for name in query.group_by)
        if query.interval is not None:
            self._select(self._dialect.bucket(query.interval))
        for name in self._keys_once():
            self._select(self._key(name))
        groups = range(1, len(self._columns) + 1)
        total = "count(*)" if query.finds_one else self._dialect.count_rows()
        outputs = (Output(self._select(total)), *self._aggregates())
        rows = self._dialect.rows(source, where, by_team=by_team, by_key=by_key)
        if by_team and not query.finds_one:
            rows = self._add_up(source, where, len(groups)) or rows
        if query.finds_one:
            rows = f"(SELECT 1 FROM {rows} LIMIT 1) AS found"

        grouped = f" GROUP BY {', '.join(map(str, groups))}" if groups else ""
        # By bucket, then total, then keys (R15).
        order = ["1 ASC"] if query.interval is not None else []
        order.append(f"{outputs[0].column + 1} DESC")
        order += [f"{position} ASC NULLS LAST" for position in groups[len(order) - 1 :]]
        text = (
            f"SELECT {', '.join(self._columns)} FROM {rows}{grouped}"
            f" ORDER BY {', '.join(order)} LIMIT {row_cap + 1}"
        )
        grouping = ", ".join(self._columns[: len(groups)]) or "1"
        count_text = f"SELECT count(*) FROM (SELECT {grouping}, count(*) FROM {rows}{grouped}) AS c"
        return Statement(text, count_text, self._parameters, outputs)

    def _add_up(self, source: str, where: str, groups: int) -> str | None:
        """The rows by team, added up before they are multiplied, if the dialect can do that."""
        team = self._columns.index(self._dialect.team)
        others = [n for n in range(groups) if n != team]
        given = [self._columns[n] for n in others]
        rows = self._dialect.rows_by_team(source, where, given)
        if rows is not None:
            for number, n in enumerate(others):
                self._columns[n] = f"g{number}"
        return rows

    def _bind(self, value: object) -> str:
        name = f"p{len(self._parameters)}"
        self._parameters[name] = value
        return self._dialect.placeholder(name, value)

    def _select(self, expression: str) -> int:
        """Add an output column; returns its index in a row."""
        self._columns.append(expression)
        return len(self._columns) - 1

    def _select_once(self, expression: str) -> int:
        """The index of an output column, added unless it is there."""
        try:
            return self._columns.index(expression)
        except ValueError:
            return self._select(expression)

    # --- conditions ---

    def _conditions(self) -> list[str]:
        query = self._query
        where = []
        if not self._is_in_window:
            where.append(f"{self._dialect.time} >= {self._bind(query.start_ts)}")
            where.append(f"{self._dialect.time} < {self._bind(query.end_ts)}")
        # Implied conditions: one kind of subject (R7), and a column that must not be null (R16).
        kinds = {_SUBJECT_KINDS[name] for name in query.group_by if name in _SUBJECT_KINDS}
        if len(kinds) == 1:
            where.append(f"{SUBJECT_TYPE_COLUMN} = {self._bind(kinds.pop())}")
        if self._datasource.requires is not None:
            where.append(f"{quote_identifier(self._datasource.requires)} IS NOT NULL")
        filters = [self._filter(filter_) for filter_ in query.filters]
        if self._caller.is_tenant_admin:
            return [*where, *filters]
        rights = self._rights(self._caller)
        # Filters see the caller's rows alone: the time would tell what others' rows hold.
        guarded = [self._dialect.guard(rights, " AND ".join(filters))] if filters else []
        return [*where, rights, *guarded]

    def _rights(self, caller: Caller) -> str:
        """The condition for the caller's own rows and those of their teams (R23)."""
        slug, kind = self._bind(caller.subject), self._bind(caller.subject_type)
        own = f"({SLUG_COLUMN} = {slug} AND {SUBJECT_TYPE_COLUMN} = {kind})"
        teams = [self._dialect.has_team(self._bind(team)) for team in sorted(caller.teams)]
        return f"({' OR '.join([own, *teams])})"

    def _filter(self, filter_: Filter) -> str:
        """The condition of one filter (R8 to R11)."""
        field = self._layout.catalog.filter_field(self._query.datasource, filter_.field_name)
        if field is None:  # validation refuses it; pass-through is for gateways alone
            raise KeyError(filter_.field_name)
        operator = filter_.operator
        is_negative = operator in NEGATIVE_OPERATORS
        kind = _SUBJECT_KINDS.get(filter_.field_name)
        if kind is not None:
            # Slug and kind together: a negative operator negates the whole (R8).
            slug = self._positive(quote_identifier(SLUG_COLUMN), filter_)
            both = f"({slug}) AND {self._hide(f'{SUBJECT_TYPE_COLUMN} = {self._bind(kind)}')}"
            return f"NOT ({both})" if is_negative else f"({both})"
        filter_, value = self._comparable(filter_, field.table_column)
        if field.type == "array" and operator != "IS_NULL":
            teams = filter_.value if isinstance(filter_.value, tuple) else (filter_.value,)
            # An OR of single tests: DuckDB's list_has_any takes more than twice as long.
            any_of = " OR ".join(self._dialect.has_team(self._bind(team)) for team in teams)
            return f"NOT ({any_of})" if operator == "ARRAY_HAS_NONE" else f"({any_of})"
        # NOT of null is null: a null never matches a negative operator (R9).
        positive = self._positive(value, filter_)
        return f"NOT ({positive})" if is_negative else positive

    def _metadata(self, key: str) -> str:
        # The key is a caller's text, so it is bound like a value.
        return self._dialect.stored_metadata(key) or self._dialect.metadata(self._bind(key))

    def _comparable(self, filter_: Filter, column: str) -> tuple[Filter, str]:
        """The filter and its SQL operand; if either side is a double, both become doubles."""
        if filter_.metadata_key is not None:
            return filter_, self._metadata(filter_.metadata_key)
        if self._layout.is_float(self._datasource, column):
            return _with_floats(filter_), self._finite(column)
        given = filter_.value if isinstance(filter_.value, tuple) else (filter_.value,)
        if any(isinstance(number, float) for number in given):
            return _with_floats(filter_), self._dialect.as_float(quote_identifier(column))
        return filter_, self._dialect.column(column)

    def _hide(self, condition: str) -> str:
        """The condition; of a caller with rights to some rows, one that the planner cannot read."""
        return condition if self._caller.is_tenant_admin else self._dialect.opaque(condition)

    def _positive(self, value: str, filter_: Filter) -> str:
        """The condition of the operator's positive form; the caller negates it."""
        operator = _POSITIVE.get(filter_.operator, filter_.operator)
        given = filter_.value
        if operator == "IS_NULL":
            return self._hide(f"{value} IS {'' if given else 'NOT '}NULL")
        if isinstance(given, tuple):
            bound = [self._bind(item) for item in given]
            if operator == "IN" and self._caller.is_tenant_admin:
                return f"{value} IN ({', '.join(bound)})"
            if operator == "IN":
                return self._dialect.opaque_in(value, bound)
            if operator == "BETWEEN":
                low, high = bound
                return self._hide(f"({value} >= {low} AND {value} <= {high})")
            raise TypeError("a single value is expected here")
        if operator in _TEXT_PLACES:
            place = _TEXT_PLACES[operator]
            return self._hide(self._dialect.has_text(place, value, self._bind(given)))
        return self._hide(f"{value} {_COMPARISONS[operator]} {self._bind(given)}")

    # --- output columns ---

    def _keys_once(self) -> list[str]:
        """The group-by fields; of those that share a response key, the first (R7)."""
        key, names = self._datasource.response_key, self._query.group_by
        first = {key(name): name for name in reversed(names)}  # the first name is written last
        return [name for name in names if first[key(name)] == name]

    def _is_team(self, name: str) -> bool:
        known = self._datasource.group_by.get(name)
        return known is not None and known.table_column == TEAMS_COLUMN

    def _is_keys(self, name: str) -> bool:
        """Whether the field groups by metadata keys, which only `metadata_keys` asks for."""
        return name == METADATA and name not in self._datasource.group_by

    def _key(self, name: str) -> str:
        if name.startswith(METADATA_PREFIX):
            return self._metadata(name.removeprefix(METADATA_PREFIX))
        if self._is_team(name):
            return self._dialect.team
        if self._is_keys(name):
            return self._dialect.metadata_key
        return self._finite(self._datasource.group_by[name].table_column)

    def _aggregates(self) -> list[Output]:
        """One output per aggregation.

        A column's percentiles are computed as one list: four separate ones take twice as long.
        """
        fractions: dict[str, list[float]] = {}
        for aggregation in self._query.aggregations:
            if aggregation.type in PERCENTILES:
                fractions.setdefault(aggregation.column, []).append(PERCENTILES[aggregation.type])
        lists: dict[str, int] = {}
        outputs = []
        for aggregation in self._query.aggregations:
            name, type_ = aggregation.column, aggregation.type
            if type_ not in PERCENTILES:
                outputs.append(self._aggregate(aggregation))
                continue
            if name not in lists:
                number = self._finite(self._datasource.columns[name].table_column)
                lists[name] = self._select(self._dialect.percentiles(number, fractions[name]))
            outputs.append(Output(lists[name], fractions[name].index(PERCENTILES[type_])))
        return outputs

    def _aggregate(self, aggregation: Aggregation) -> Output:
        column, type_ = self._datasource.columns[aggregation.column], aggregation.type
        dialect, per = self._dialect, _PER.get(type_)
        if column.type == "array":
            is_count = type_ == "count"
            teams = dialect.count_teamed if is_count else dialect.distinct_teams
            return Output(self._select(teams), per=per)
        function, value = _FUNCTIONS[type_], quote_identifier(column.table_column)
        if self._layout.is_float(self._datasource, column.table_column):
            value = dialect.measured(value)
        is_mean, rest = type_ in _MEANS, None
        if function == "sum" and not self._layout.is_integer(self._datasource, column.table_column):
            number = quote_identifier(column.table_column)
            if type_ == "sum":  # others are not added up
                rest = dialect.rest_of_sum(number)
            return Output(
                self._select_once(dialect.sum_doubles(number)),
                per=per,
                divisor=self._select_once(dialect.count_doubles(number)) if is_mean else None,
                rest=None if rest is None else self._select_once(rest),
                read=dialect.read_sum,
            )
        return Output(
            self._select_once(dialect.aggregate(function, value)),
            per=per,
            divisor=self._select_once(dialect.aggregate("count", value)) if is_mean else None,
        )

    def _finite(self, column: str) -> str:
        """The column, null where it is NaN or infinite (R22)."""
        quoted = quote_identifier(column)
        is_float = self._layout.is_float(self._datasource, column)
        return self._dialect.finite(quoted) if is_float else quoted


def _with_floats(filter_: Filter) -> Filter:
    """The filter with doubles for its numbers."""
    given = filter_.value
    value = tuple(map(_as_float, given)) if isinstance(given, tuple) else _as_float(given)
    return filter_.model_copy(update={"value": value})


def _as_float(value: Scalar) -> Scalar:
    """A number as a double; -0.0 becomes 0.0, because ClickHouse's IN distinguishes them."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) + 0.0 if is_number else value


def choose_small_sums(query: Query, result: Result, layout: Layout) -> Query | None:
    """The sums of doubles of which some is so small that `FINE_BITS` may not do; without groups.

    None if there are none.
    """
    datasource = layout.catalog.datasources[query.datasource]
    small: dict[str, Aggregation] = {}
    for aggregation in query.aggregations:
        column = datasource.columns[aggregation.column]
        is_sum = _FUNCTIONS.get(aggregation.type) == "sum" and column.type != "array"
        if is_sum and not layout.is_integer(datasource, column.table_column):
            values = result.column(aggregation.key)
            if any(value is not None and abs(value) < 2.0**LEAST_EXPONENT for value in values):
                small[aggregation.column] = Aggregation(type="sum", column=aggregation.column)
    changes = {"aggregations": tuple(small.values()), "group_by": (), "interval": None}
    return query.model_copy(update={**changes, "type": "distribution"}) if small else None


def read_rows(
    rows: Sequence[Sequence[Any]], statement: Statement, query: Query, catalog: Catalog
) -> Result:
    """The result from an engine's rows."""
    key_names = key_names_of(query, catalog.datasources[query.datasource])
    points = read_points(rows, statement, query, keys=len(key_names))
    return Result(key_names, value_names_of(query), DataPoints(points))


def read_points(
    rows: Sequence[Sequence[Any]], statement: Statement, query: Query, *, keys: int
) -> list[Row]:
    """The data points from an engine's rows with `keys` group keys each."""
    first_key = 0 if query.interval is None else 1
    last_key = first_key + keys
    readers = [_reader_of(output) for output in statement.outputs]
    points: list[Row] = []
    for row in rows:
        start, seconds = None, math.nan
        if query.interval is not None:
            start = query.interval.start_of(row[0])
            seconds = query.interval.seconds_from(start) if query.has_rates else math.nan
        values = tuple([read(row, seconds) for read in readers])
        points.append((tuple(row[first_key:last_key]), values, start))
    return points


_Reader = Callable[[Sequence[Any], float], Number | None]


def _reader_of(output: Output) -> _Reader:
    """What reads a value out of a row: quickly, if it is a column's."""
    column, read = output.column, output.read

    def read_column(row: Sequence[Any], seconds: float) -> Number | None:  # noqa: ARG001 - no rate
        value = row[column] if read is None else read(row[column])
        if value is None or value.__class__ is int:
            whole: int | None = value
            return whole
        return (value or 0.0) if -math.inf < value < math.inf else None

    def read_any(row: Sequence[Any], seconds: float) -> Number | None:
        return _read_value(row, output, seconds)

    rest = (output.item, output.per, output.divisor, output.rest)
    return read_column if rest == (None,) * len(rest) else read_any


def _read_value(row: Sequence[Any], output: Output, seconds: float) -> Number | None:
    value = row[output.column]
    if output.item is not None and value is not None:
        value = value[output.item]
    if output.read is not None:
        value = output.read(value)
    if value is None:
        return None
    if output.rest is not None and row[output.rest]:
        value = RoundedSum(value, row[output.rest])
    if output.divisor is not None:
        value = value / row[output.divisor]
    if output.per is not None:
        value = value / (seconds if output.per == "second" else seconds / 60)
    if not isinstance(value, float):
        exact: Number = value
        return exact
    # Of 0 and -0, engines choose either as least and greatest.
    return (value or 0.0) if math.isfinite(value) else None
