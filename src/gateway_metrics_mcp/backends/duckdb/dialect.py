"""DuckDB's SQL for the compiler, and its view of Parquet files as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from gateway_metrics_mcp.backends.sql.dialect import (
    INTEGERS,
    MICROSECONDS,
    TIME_COLUMN,
    Function,
    TextPlace,
    quote_identifier,
)
from gateway_metrics_mcp.query import Interval
from gateway_metrics_mcp.query.time.interval import EPOCH

_DUCK_TYPES: Final = {
    "TEXT": "VARCHAR",
    "DOUBLE PRECISION": "DOUBLE",
    "Array(Text)": "VARCHAR[]",
    "Map(Text, Text)": "MAP(VARCHAR, VARCHAR)",
    "Map(Text, Array(Text))": "MAP(VARCHAR, VARCHAR[])",
}
_DUCK_TEXT: Final = {"anywhere": "contains", "start": "starts_with", "end": "ends_with"}
_TEAM: Final = "unnested_team"
_DISTINCT: Final = 'list_distinct("Teams")'
_IS_TEAMED: Final = f"len({_DISTINCT}) > 0"
FILES: Final = "files"
"""The name of the files' rows in a statement."""
Reading = Literal["whole", "lacking", "nothing"]
"""Whether each column is in some file, or not, or there are no files."""
_KEY: Final = "unnested_key"
_METADATA_KEYS: Final = (
    'list_filter(list_distinct(map_keys("Metadata")), lambda k: "Metadata"[k] IS NOT NULL)'
)
"""The row's metadata keys, each once; a key without a value does not count (R6)."""


class DuckDialect:
    """The dialect of DuckDB 2."""

    def create_table(self, table: str, columns: Mapping[str, str]) -> str:
        """An empty table in the vendor's layout."""
        listed = [f"{quote_identifier(n)} {_DUCK_TYPES.get(t, t)}" for n, t in columns.items()]
        return f"CREATE TABLE {quote_identifier(table)} ({', '.join(listed)})"

    def define_files(self, columns: Mapping[str, str], statement: str, reading: Reading) -> str:
        """The WITH clause that defines `FILES` in the table's columns and types, from `$files`.

        If all files lack a column, a UNION with typed nulls adds it. That costs DuckDB the files'
        statistics, so it is only for "lacking". Only columns that the statement names are bound:
        to bind all takes longer than a small query.
        """
        named = {
            n: _DUCK_TYPES.get(t, t)
            for n, t in columns.items()
            if quote_identifier(n)[1:-1] in statement
        }
        nulls = ", ".join(f"CAST(NULL AS {t}) AS {quote_identifier(n)}" for n, t in named.items())
        rows = f"SELECT {nulls} WHERE false"
        if reading != "nothing":
            files = "read_parquet($files, union_by_name = true, hive_partitioning = false)"
            if reading == "lacking":
                files = f"({rows} UNION ALL BY NAME SELECT * FROM {files})"
            read = ", ".join(self._read_column(n, t) for n, t in named.items())
            rows = f"SELECT {read} FROM {files} AS f"
        return f"WITH {FILES} AS NOT MATERIALIZED ({rows})"

    def _read_column(self, name: str, type_: str) -> str:
        quoted = quote_identifier(name)
        column = f"f.{quoted}"  # unqualified, a missing column could bind to something else
        cast = f"CAST({column} AS {type_})"
        if type_ in INTEGERS:  # a file may store floats: NaN and infinity become null (R22)
            floats = f"typeof({column}) IN ('FLOAT', 'DOUBLE')"
            cast = f"CASE WHEN {floats} THEN TRY_{cast} ELSE {cast} END"
        return f"{cast} AS {quoted}"

    def placeholder(self, name: str, value: object) -> str:  # noqa: ARG002 - types follow the value
        return f"${name}"

    def finite(self, number: str) -> str:
        return f"CASE WHEN isfinite({number}) THEN {number} END"

    def as_float(self, number: str) -> str:
        return f"CAST({number} AS DOUBLE)"

    def has_text(self, place: TextPlace, text: str, part: str) -> str:
        return f"{_DUCK_TEXT[place]}({text}, {part})"

    def aggregate(self, function: Function, value: str, *, is_integer: bool) -> str:  # noqa: ARG002 - sums never overflow
        if function == "countDistinct":
            return f"count(DISTINCT {value})"
        return f"{function}({value})"

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

    def rows(self, source: str, condition: str, *, by_team: bool, by_key: bool) -> str:
        unnested = f", {self._unnested()} AS {_TEAM}" if by_team else ""
        unnested += f", unnest({_METADATA_KEYS}) AS {_KEY}" if by_key else ""
        return f"(SELECT *{unnested} FROM {source} WHERE {condition}) AS r"

    def metadata_key(self) -> str:
        return _KEY

    def team(self) -> str:
        return _TEAM

    def count_teamed(self) -> str:
        return f"count(*) FILTER (WHERE {_IS_TEAMED})"

    def distinct_teams(self) -> str:
        listed = 'list(DISTINCT "Teams") FILTER (WHERE "Teams" IS NOT NULL)'
        return f"coalesce(len(list_distinct(flatten({listed}))), 0)"

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
