"""DuckDB's SQL: for the compiler, and for reading a Parquet file's columns as the table's."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from duckdb.sqltypes import DuckDBPyType

from gateway_metrics_mcp.backends.duckdb.stored import (
    COUNT_COLUMN,
    TEAMS_KEY,
    decode_teams,
    has_team,
    metadata_column,
)
from gateway_metrics_mcp.backends.sql.dialect import (
    FINE_BITS,
    INTEGERS,
    LEAST_EXPONENT,
    MICROSECONDS,
    TEAMS_COLUMN,
    TIME_COLUMN,
    Dialect,
    Function,
    Sums,
    TextPlace,
    power,
    quote_identifier,
)
from gateway_metrics_mcp.query import Interval, Number
from gateway_metrics_mcp.query.result import round_sum
from gateway_metrics_mcp.query.time.interval import EPOCH

DUCK_TYPES: Final = {
    "TEXT": "VARCHAR",
    "DOUBLE PRECISION": "DOUBLE",
    "Array(Text)": "VARCHAR[]",
    "Map(Text, Text)": "MAP(VARCHAR, VARCHAR)",
    "Map(Text, Array(Text))": "MAP(VARCHAR, VARCHAR[])",
}
"""The published types that DuckDB calls by another name."""
ALLOWED: Final = {
    "TEXT": "text",
    "TIMESTAMPTZ": "a timestamp, or ISO 8601 text with an offset from UTC in every row",
    "INTEGER": "a number of 32 bits",
    "BIGINT": "a number of 64 bits",
    "DOUBLE PRECISION": "a number",
    "BOOLEAN": "a boolean, or a number",
    "Array(Text)": "a list of texts, or a JSON array as text",
    "Map(Text, Text)": "a map, a struct, a list of key and value, or a JSON object as text",
}
ALLOWED["Map(Text, Array(Text))"] = f"{ALLOWED['Map(Text, Text)']}, of lists"
"""What a column of a published type may be stored as."""

UNREADABLE: Final = "the text is no value of its column"
"""What the engine's error says of such a text."""
WHOLE: Final = frozenset(
    f"{sign}{size}int" for sign in ("", "u") for size in ("tiny", "small", "big", "huge")
) | {"integer", "uinteger"}
"""The types of whole numbers, as DuckDB's Python types name them."""
_FLOATS: Final = frozenset({"float", "double"})
_NUMBERS: Final = WHOLE | _FLOATS | {"decimal"}
_TEXTS: Final = frozenset({"varchar", "blob", "enum", "uuid"})
_INSTANTS: Final = frozenset(
    {"timestamp", "timestamp_s", "timestamp_ms", "timestamp with time zone"}
)
_NANOSECONDS: Final = frozenset({"timestamp_ns", "timestamptz_ns"})
_NESTED: Final = frozenset({"struct", "list", "map", "union", "array", "variant"})
_WHOLE_TEXT: Final = r"[+-]?\d+(\.\d*)?"
_NUMBER_TEXT: Final = r"(?i)[+-]?((\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?|nan|inf(inity)?)"
"""As in `import`, but for what is no finite number: it reads as null. The engine's cast would take
`1_5` for 15."""
_BOOLEAN_TEXT: Final = "(?i)true|false|1|0"
_WITH_OFFSET: Final = (
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?"
    r" ?([Zz]|[+-](0\d|1[0-5])(:?[0-5]\d)?)"
)


_DUCK_TEXT: Final = {"anywhere": "contains", "start": "starts_with", "end": "ends_with"}
_DISTINCT: Final = 'list_distinct("Teams")'
_IS_TEAMED: Final = f"len({_DISTINCT}) > 0"
FILES: Final = "files"
"""The name of the files' rows in a statement."""
_METADATA_KEYS: Final = (
    'list_filter(list_distinct(map_keys("Metadata")), lambda k: "Metadata"[k] IS NOT NULL)'
)
"""The row's metadata keys, each once; a key without a value does not count (R6)."""


_COARSE_BITS: Final = 24
_MOST_BITS: Final = 1074
"""Each double is a whole number of 2**-1074."""
_FAR: Final = (
    (f"{{0}} >= {power(38)} AND {{0}} < {power(900)}", (14,)),
    (f"{{0}} >= {power(900)} AND {{0}} < 'inf'", ()),
    (f"{{0}} >= {power(-500)} AND {{0}} < {power(LEAST_EXPONENT)}", (552,)),
    (f"{{0}} > 0 AND {{0}} < {power(-500)}", (500, 574)),
)
"""The sizes of doubles apart from those near 1, and the powers of two that make integers of them
and stay finite."""


class DuckDialect(Dialect):
    """The dialect of DuckDB 2."""

    metadata_key = "unnested_key"
    team = "unnested_team"
    count_teamed = f"count(*) FILTER (WHERE {_IS_TEAMED})"
    distinct_teams = (
        'coalesce(len(list_distinct(flatten(list(DISTINCT "Teams")'
        ' FILTER (WHERE "Teams" IS NOT NULL)))), 0)'
    )

    def create_table(self, table: str, columns: Mapping[str, str]) -> str:
        """An empty table in the vendor's layout."""
        listed = [f"{quote_identifier(n)} {DUCK_TYPES.get(t, t)}" for n, t in columns.items()]
        return f"CREATE TABLE {quote_identifier(table)} ({', '.join(listed)})"

    def placeholder(self, name: str, value: object) -> str:  # noqa: ARG002 - types follow the value
        return f"${name}"

    def finite(self, number: str) -> str:
        return f"CASE WHEN isfinite({number}) THEN {number} END"

    def as_float(self, number: str) -> str:
        return f"CAST({number} AS DOUBLE)"

    def has_text(self, place: TextPlace, text: str, part: str) -> str:
        return f"{_DUCK_TEXT[place]}({text}, {part})"

    def aggregate(self, function: Function, value: str) -> str:
        if function == "countDistinct":
            return f"count(DISTINCT {value})"
        return f"{function}({value})"

    def count_doubles(self, number: str) -> str:
        return f"count({number})"  # the sum beside it refuses NaN and infinity

    def sum_doubles(self, number: str) -> str:
        return f"CAST({self._units(number)} AS DOUBLE) * {power(-FINE_BITS)}"

    def rest_of_sum(self, number: str) -> str | None:
        units = self._units(number)
        rest = f"CAST({units} - CAST(CAST({units} AS DOUBLE) AS HUGEINT) AS DOUBLE)"
        return f"{rest} * {power(-FINE_BITS)}"

    def read_sum(self, cell: Any) -> Number | None:
        value: float | None = cell
        return value

    def _units(self, number: str) -> str:
        # An error if some value is infinite, NaN or large: to look at each costs half a question.
        return f"sum(CAST({number} * {power(FINE_BITS)} AS HUGEINT))"

    def bucket(self, interval: Interval) -> str:
        # Integer arithmetic (R4): DuckDB's calendar functions on time zones take fifty times as
        # long, and its time_bucket aligns some intervals differently from ClickHouse.
        microseconds = f'epoch_us("{TIME_COLUMN}")'
        seconds = interval.fixed_seconds
        if seconds is None:
            day = f"make_timestamp({microseconds})"
            return f"((year({day}) - 1970) * 12 + month({day}) - 1) // {interval.months}"
        width = seconds * MICROSECONDS
        origin = int((interval.origin - EPOCH).total_seconds()) * MICROSECONDS
        # // truncates towards zero; adding one width first makes it round down before 1970 too.
        return f"({microseconds} - {origin} + {width}) // {width} - 1"

    def percentiles(self, number: str, fractions: Sequence[float]) -> str:
        # Exact (R12): approx_quantile is slower, and wrong by a multiple in small groups.
        listed = ", ".join(str(fraction) for fraction in fractions)
        return f"quantile_cont({number}::DOUBLE, [{listed}])"

    def metadata(self, key: str) -> str:
        return f'"Metadata"[{key}]'

    def has_team(self, team: str) -> str:
        # A null list has no team: ARRAY_HAS_NONE matches it (R9).
        return f'coalesce(list_contains("Teams", {team}), false)'

    def guard(self, rights: str, condition: str) -> str:
        return f"CASE WHEN {rights} THEN {condition} ELSE false END"

    def opaque(self, condition: str) -> str:
        # A file's least and greatest value would decide other conditions before a row is read; into
        # a lambda the planner does not look.
        return f"list_transform([0], lambda guarded: {condition})[1]"

    def opaque_in(self, value: str, items: Sequence[str]) -> str:
        # Beside the lambda: in it, a long list would be made for each row.
        listed = f"[[{', '.join(items)}]]"
        return f"list_transform({listed}, lambda guarded: list_contains(guarded, {value}))[1]"

    def rows(self, source: str, condition: str, *, by_team: bool, by_key: bool) -> str:
        unnested = f", {self._unnested()} AS {self.team}" if by_team else ""
        unnested += f", unnest({_METADATA_KEYS}) AS {self.metadata_key}" if by_key else ""
        return f"(SELECT *{unnested} FROM {source} WHERE {condition}) AS r"

    def _unnested(self) -> str:
        # list_distinct takes five times as long as the rest of the query, so lists of up to three
        # different teams skip it. A comparison with null is not true, so nulls take the long way.
        first, second, third = (f'"Teams"[{number}]' for number in (1, 2, 3))
        is_plain = (
            f'len("Teams") = 1 AND {first} IS NOT NULL'
            f' OR len("Teams") = 2 AND {first} <> {second}'
            f' OR len("Teams") = 3 AND {first} <> {second} AND {first} <> {third}'
            f" AND {second} <> {third}"
        )
        return (
            f'unnest(CASE WHEN {is_plain} THEN "Teams" WHEN len("Teams") > 0 AND'
            f" {_IS_TEAMED} THEN {_DISTINCT} ELSE [NULL] END)"
        )


class StoredDuckDialect(DuckDialect):
    """The dialect over rows with the columns that `import` writes beside the vendor's.

    `keys` are the metadata keys that some file has a column of; `has_teams` says that teams are
    looked for in their text, `is_finite` that no double is NaN or infinite.
    """

    def __init__(self, keys: Container[str], *, has_teams: bool, is_finite: bool) -> None:
        self._keys = keys
        self._has_teams = has_teams
        self._is_finite = is_finite
        self.metadata_keys: dict[str, str] = {}
        """The columns of metadata keys that the statement names, and their keys."""

    def finite(self, number: str) -> str:
        return number if self._is_finite else super().finite(number)

    def stored_metadata(self, key: str) -> str | None:
        if key not in self._keys:
            return None
        column = metadata_column(key)
        if column is None:
            return None
        self.metadata_keys[column] = key
        return quote_identifier(column)

    def column(self, name: str) -> str:
        return quote_identifier(TEAMS_KEY if self._has_teams and name == TEAMS_COLUMN else name)

    def has_team(self, team: str) -> str:
        if not self._has_teams:
            return super().has_team(team)
        return has_team(_TEAMS_KEY, team)


_TEAMS_KEY: Final = quote_identifier(TEAMS_KEY)


class NotAddedUpError(Exception):
    """A question needs each row by itself, such as one for percentiles."""


Part = Literal["n", "sum", "min", "max"]
"""What is kept of a column's values: their number, sum, least and greatest."""
_MERGED: Final[dict[Part, str]] = {"n": "sum", "sum": "sum", "min": "min", "max": "max"}


def part_column(column: str, part: Part) -> str:
    """The column that holds a part of another column's values."""
    return f"{column}#{part}"


class SummedDuckDialect(StoredDuckDialect):
    """The dialect over rows that each stand for several: those of rollups, and others beside them.

    Raises:
        NotAddedUpError: for what cannot be told from sums.
    """

    _IS_TEAMED: Final = f"contains({_TEAMS_KEY}, '\"')"
    count_teamed = f'CAST(coalesce(sum("{COUNT_COLUMN}") FILTER (WHERE {_IS_TEAMED}), 0) AS BIGINT)'
    distinct_teams = (
        "coalesce(len(list_distinct(flatten(list_transform("
        f"list(DISTINCT {_TEAMS_KEY}), lambda k: {decode_teams('k')})))), 0)"
    )

    def __init__(self, keys: Container[str], *, is_finite: bool) -> None:
        super().__init__(keys, has_teams=True, is_finite=is_finite)
        self.parts: dict[tuple[str, Part], None] = {}
        """The parts that the statement names, by column."""
        self._distinct: dict[str, None] = {}

    def _part(self, quoted: str, part: Part) -> str:
        column = quoted[1:-1].replace('""', '"')
        self.parts[column, part] = None
        return quote_identifier(part_column(column, part))

    def count_rows(self) -> str:
        return f'CAST(coalesce(sum("{COUNT_COLUMN}"), 0) AS BIGINT)'

    def measured(self, number: str) -> str:
        return number

    def aggregate(self, function: Function, value: str) -> str:
        if function == "countDistinct":
            self._distinct[value] = None
            return super().aggregate(function, value)
        if function == "count":
            return f"CAST(coalesce(sum({self._part(value, 'n')}), 0) AS BIGINT)"
        part = self._part(value, function)
        return f"CAST(sum({part}) AS HUGEINT)" if function == "sum" else f"{function}({part})"

    def count_doubles(self, number: str) -> str:
        return self.aggregate("count", number)

    def sum_doubles(self, number: str) -> str:
        # Rounded in Python: to plan that takes a third of what a small rollup does.
        return f"CAST(sum({self._part(number, 'sum')}) AS HUGEINT)"

    def rest_of_sum(self, number: str) -> None:  # noqa: ARG002 - `read_sum` gives it
        return None

    def read_sum(self, cell: Any) -> float | None:
        return None if cell is None else round_sum(cell, FINE_BITS)

    def percentiles(self, number: str, fractions: Sequence[float]) -> str:  # noqa: ARG002 - none
        raise NotAddedUpError

    def rows(self, source: str, condition: str, *, by_team: bool, by_key: bool) -> str:  # noqa: ARG002 - as below
        if by_key:
            raise NotAddedUpError
        return f"{source} WHERE {condition}"  # `rows_by_team` makes those of teams

    def rows_by_team(self, source: str, condition: str, groups: Sequence[str]) -> str:
        listed = [f"{group} AS g{number}" for number, group in enumerate(groups)]
        listed += [_TEAMS_KEY, *self._distinct, f'sum("{COUNT_COLUMN}") AS "{COUNT_COLUMN}"']
        for column, part in self.parts:
            name = quote_identifier(part_column(column, part))
            listed.append(f"{_MERGED[part]}({name}) AS {name}")
        added = f"SELECT {', '.join(listed)} FROM {source} WHERE {condition} GROUP BY ALL"
        teams = f"CASE WHEN {self._IS_TEAMED} THEN {decode_teams(_TEAMS_KEY)} ELSE [NULL] END"
        return f"(SELECT *, unnest({teams}) AS {self.team} FROM ({added}) AS added) AS r"


class FineDuckDialect(DuckDialect):
    """The dialect that finds parts of doubles too fine for the usual sums, instead of a sum."""

    def rest_of_sum(self, number: str) -> None:  # noqa: ARG002 - nothing is summed
        return None

    def sum_doubles(self, number: str) -> str:
        return f"bool_or(abs({number}) < {power(LEAST_EXPONENT)} AND {number} <> 0)"


class WideDuckDialect(DuckDialect):
    """The dialect that sums any doubles exactly, by their sizes; it takes several times as long."""

    def count_doubles(self, number: str) -> str:
        return f"count({self.finite(number)})"

    def rest_of_sum(self, number: str) -> None:  # noqa: ARG002 - `read_sum` gives it
        return None

    def sum_doubles(self, number: str) -> str:
        is_near = f"abs({number}) < {power(38)}"
        is_near += f" AND (abs({number}) >= {power(LEAST_EXPONENT)} OR {number} = 0)"
        near = f"CASE WHEN {is_near} THEN {number} END"
        coarse = f"CAST({near} * {power(_COARSE_BITS)} AS BIGINT)"
        below = f"({near} - CAST({coarse} AS DOUBLE) * {power(-_COARSE_BITS)})"
        fine = f"CAST({below} * {power(FINE_BITS)} AS BIGINT)"
        sums = [coarse, fine]
        for condition, scales in _FAR:
            scaled = " * ".join([number, *(power(scale) for scale in scales)])
            case = f"CASE WHEN {condition.format(f'abs({number})')} THEN {scaled} END"
            sums.append(f"CAST({case} AS BIGNUM)")
        return f"[{', '.join(f'CAST(sum({one}) AS VARCHAR)' for one in sums)}]"

    def read_sum(self, cell: Any) -> float | None:
        scales = (_COARSE_BITS, FINE_BITS, *(sum(scales) for _, scales in _FAR))
        parts = [
            int(n) << (_MOST_BITS - scale)
            for n, scale in zip(cell, scales, strict=True)
            if n is not None
        ]
        return round_sum(sum(parts), _MOST_BITS) if parts else None


DIALECTS: Final[dict[Sums, DuckDialect]] = {
    "usual": DuckDialect(),
    "fine": FineDuckDialect(),
    "wide": WideDuckDialect(),
}


# --- a file's columns ---


@dataclass(frozen=True, slots=True)
class StoredColumn:
    """A column of a file; equal columns are read alike."""

    name: str
    """As DuckDB calls it: the second of two that differ by case gets another name."""
    type: str
    """DuckDB's name of its type; un-annotated bytes are a BLOB, whatever they hold."""
    shape: DuckDBPyType = field(compare=False, repr=False)
    keys: tuple[str, ...] = ()
    """The names of a struct's fields, as the file spells them."""


def read_as(wanted: str, stored: StoredColumn, column: str) -> str | None:
    """SQL that reads `column`, stored so, as a published type; None if it is of another kind.

    Bytes are to come as text (`binary_as_string`). Values that do not fit raise an error, except
    NaN and infinity for an integer, which are null (R22).
    """
    shape = stored.shape
    if shape.id == "null":
        return f"CAST(NULL AS {DUCK_TYPES.get(wanted, wanted)})"
    if stored.type == "JSON" and wanted == "TEXT":
        return f"({column} ->> '$')"
    if wanted == "TEXT":
        return None if shape.id in _NESTED else _cast(column, shape, "VARCHAR")
    if wanted == "TIMESTAMPTZ":
        return _read_instant(column, shape)
    if wanted in INTEGERS:
        return _read_integer(column, shape, wanted)
    if wanted in ("BOOLEAN", "DOUBLE PRECISION"):
        return _read_number(column, shape, wanted)
    if wanted == "Array(Text)":
        return _read_list(column, shape)
    return _read_map(column, stored, wanted)


def _cast(column: str, shape: DuckDBPyType, type_: str) -> str:
    """The column in a type; itself if it has it, so that the engine can use its statistics."""
    same = {"BIGINT": "bigint", "INTEGER": "integer", "DOUBLE": "double", "BOOLEAN": "boolean"}
    is_same = shape.id == same.get(type_) or (
        type_ == "VARCHAR" and (str(shape) == "VARCHAR" or shape.id == "blob")
    )
    return column if is_same else f"CAST({column} AS {type_})"


def _filled(column: str) -> str:
    """A text without blanks around it; null if it is empty, as in `import`."""
    return f"nullif(trim(CAST({column} AS VARCHAR)), '')"


def _matching(column: str, pattern: str) -> str:
    """A filled text of the pattern; any other is an error."""
    text = _filled(column)
    is_clear = f"{text} IS NULL OR regexp_full_match({text}, '{pattern}')"
    return f"CASE WHEN {is_clear} THEN {text} ELSE error('{UNREADABLE}') END"


def _read_instant(column: str, shape: DuckDBPyType) -> str | None:
    if shape.id in _INSTANTS:  # without a zone it is taken as UTC, the connection's
        return _cast(column, shape, "TIMESTAMPTZ") if shape.id[-4:] != "zone" else column
    if shape.id in _NANOSECONDS:
        # DuckDB's cast rounds, and so moves the last half microsecond of a day to the next.
        late = f"epoch_ns({column})"
        return f"make_timestamptz(({late} - ({late} % 1000 + 1000) % 1000) // 1000)"
    if shape.id in _TEXTS:
        # The cast takes no blank before an offset, and no lower case.
        text = f"upper({_matching(column, _WITH_OFFSET)})"
        return f"CAST(regexp_replace({text}, ' ([Z+-])', '\\1') AS TIMESTAMPTZ)"
    return None


def _read_integer(column: str, shape: DuckDBPyType, type_: str) -> str | None:
    """A fraction is rounded to the nearest whole number, a half away from zero."""
    if shape.id in _FLOATS:
        return f"CASE WHEN isfinite({column}) THEN CAST(round({column}) AS {type_}) END"
    if shape.id in _TEXTS:
        return f"CAST(CAST({_matching(column, _WHOLE_TEXT)} AS DECIMAL(38, 18)) AS {type_})"
    # DuckDB rounds a float's half to the even number, but a decimal's away from zero.
    is_number = shape.id in _NUMBERS or shape.id == "boolean"
    return _cast(column, shape, type_) if is_number else None


def _read_number(column: str, shape: DuckDBPyType, wanted: str) -> str | None:
    """A double, or a boolean that is false for 0."""
    type_ = DUCK_TYPES.get(wanted, wanted)
    if wanted == "BOOLEAN" and shape.id in _FLOATS:
        return f"CASE WHEN isfinite({column}) THEN {column} <> 0 END"
    if shape.id in _NUMBERS or shape.id == "boolean":
        return _cast(column, shape, type_)
    if shape.id not in _TEXTS:
        return None
    text = _matching(column, _BOOLEAN_TEXT if wanted == "BOOLEAN" else _NUMBER_TEXT)
    return f"CAST({text} AS {type_})"


def _read_list(column: str, shape: DuckDBPyType) -> str | None:
    if shape.id in _TEXTS:
        return f"CAST(CAST({_filled(column)} AS JSON) AS VARCHAR[])"
    if shape.id not in ("list", "array") or _child(shape, "child").id in _NESTED:
        return None
    is_text = shape.id == "list" and _is_text(_child(shape, "child"))
    return column if is_text else f"CAST({column} AS VARCHAR[])"


def _read_map(column: str, stored: StoredColumn, wanted: str) -> str | None:
    shape, type_ = stored.shape, DUCK_TYPES[wanted]
    if shape.id in _TEXTS:
        return f"CAST(CAST({_filled(column)} AS JSON) AS {type_})"
    if shape.id == "struct":
        return _read_struct(column, stored, wanted)
    if shape.id == "map":
        key, value = _child(shape, "key"), _child(shape, "value")
        if key.id in _NESTED:
            return None
        if value.id not in _NESTED and wanted == "Map(Text, Text)":
            return column if _is_text(key) and _is_text(value) else f"CAST({column} AS {type_})"
        return _read_entries(f"map_entries({column})", ("key", key), ("value", value), wanted)
    if shape.id == "list" and _child(shape, "child").id == "struct":
        fields = _fields(_child(shape, "child"))
        if [name.casefold() for name, _ in fields] in (["key", "value"], ["name", "value"]):
            return _read_entries(column, fields[0], fields[1], wanted)
    return None


def _read_struct(column: str, stored: StoredColumn, wanted: str) -> str | None:
    # By position: names that differ by case alone are one to DuckDB.
    read = [
        _read_value(f"struct_extract_at({column}, {n})", shape, wanted)
        for n, (_, shape) in enumerate(_fields(stored.shape), 1)
    ]
    values = [value for value in read if value is not None]
    if len(values) < len(read) or len(set(stored.keys)) < len(read):
        return None
    keys = ", ".join("'" + key.replace("'", "''") + "'" for key in stored.keys)
    return f"CASE WHEN {column} IS NOT NULL THEN map([{keys}], [{', '.join(values)}]) END"


def _read_entries(
    entries: str, key: tuple[str, DuckDBPyType], value: tuple[str, DuckDBPyType], wanted: str
) -> str | None:
    """A map from a list of structs; of equal keys the first counts, as in a map of the file."""
    (key_name, key_shape), (value_name, value_shape) = key, value
    k, v = (f'e."{name}"' for name in (key_name, value_name))
    read = _read_value(v, value_shape, wanted)
    if key_shape.id in _NESTED or read is None:
        return None
    keys = f'list_transform({entries}, lambda o: o."{key_name}")'
    is_kept = f"{k} IS NOT NULL AND list_position({keys}, {k}) = i"
    kept = f"list_filter({entries}, lambda e, i: {is_kept})"
    pair = f"{{'k': CAST({k} AS VARCHAR), 'v': {read}}}"
    return f"map_from_entries(list_transform({kept}, lambda e: {pair}))"


def _read_value(value: str, shape: DuckDBPyType, wanted: str) -> str | None:
    """A value of a map: text, JSON of what is nested, or a list of texts."""
    if wanted == "Map(Text, Array(Text))":
        return "CAST(NULL AS VARCHAR[])" if shape.id == "null" else _read_list(value, shape)
    return f"CAST({f'to_json({value})' if shape.id in _NESTED else value} AS VARCHAR)"


def _child(shape: DuckDBPyType, name: str) -> DuckDBPyType:
    return dict(_fields(shape))[name]


def _fields(shape: DuckDBPyType) -> list[tuple[str, DuckDBPyType]]:
    """The types inside a type; not the length of an array."""
    return [(n, child) for n, child in shape.children if isinstance(child, DuckDBPyType)]


def _is_text(shape: DuckDBPyType) -> bool:
    return str(shape) == "VARCHAR" or shape.id == "blob"
