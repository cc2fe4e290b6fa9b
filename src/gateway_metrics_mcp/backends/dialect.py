"""How each SQL engine spells what the compiler needs; the meaning is pinned by the rulings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, Protocol

from gateway_metrics_mcp.backends.tables import INTEGERS, TIME_COLUMN
from gateway_metrics_mcp.query.interval import EPOCH, Interval

MICROSECONDS = 1_000_000
_DUCK_TYPES: Final = {
    "TEXT": "VARCHAR",
    "DOUBLE PRECISION": "DOUBLE",
    "Array(Text)": "VARCHAR[]",
    "Map(Text, Text)": "MAP(VARCHAR, VARCHAR)",
    "Map(Text, Array(Text))": "MAP(VARCHAR, VARCHAR[])",
}
_DUCK_TEXT: Final = {"anywhere": "contains", "start": "starts_with", "end": "ends_with"}
_TEAM: Final = "unnested_team"

TextPlace = Literal["anywhere", "start", "end"]
Function = Literal["sum", "count", "countDistinct", "min", "max", "avg"]


def quote_identifier(name: str) -> str:
    """A table or a column as an identifier; its own quotes are doubled."""
    return '"' + name.replace('"', '""') + '"'


class Dialect(Protocol):
    """One engine's spelling. Every argument is SQL text, never a user's value."""

    def placeholder(self, name: str, value: object) -> str:
        """The place of a bound value."""
        ...

    def finite(self, number: str) -> str:
        """The number, or null where it is NaN or infinite (R22)."""
        ...

    def as_float(self, number: str) -> str:
        """An integer as a double, in which it is compared with doubles."""
        ...

    def has_text(self, place: TextPlace, text: str, part: str) -> str:
        """Whether the text has the part there: case-sensitive, no wildcards (R10)."""
        ...

    def aggregate(self, function: Function, value: str, *, is_integer: bool) -> str:
        """The aggregate of the values that are not null; null of none, but for counts (R22)."""
        ...

    def bucket(self, interval: Interval) -> str:
        """The number of the row's bucket: equal to `Interval.number_of` (R4)."""
        ...

    def percentiles(self, number: str, fractions: Sequence[float]) -> str:
        """A list of exact, linearly interpolated percentiles (R12)."""
        ...

    def metadata(self, key: str) -> str:
        """The value of a metadata key, null where the row has none (R6)."""
        ...

    def has_team(self, team: str) -> str:
        """Whether the row's teams hold the team; false where it has none."""
        ...

    def rows(self, source: str, condition: str, *, by_team: bool) -> str:
        """What follows FROM: the rows that fulfil the condition, for `team` one per team (R5)."""
        ...

    def team(self) -> str:
        """The team of such a row; null where it has none."""
        ...

    def count_teamed(self) -> str:
        """How many rows have at least one team (R24)."""
        ...

    def distinct_teams(self) -> str:
        """How many distinct teams the rows have (R24)."""
        ...


class DuckDialect:
    """DuckDB 2."""

    def create_table(self, table: str, columns: Mapping[str, str]) -> str:
        """An empty table in the vendor's layout."""
        listed = [f"{quote_identifier(n)} {_DUCK_TYPES.get(t, t)}" for n, t in columns.items()]
        return f"CREATE TABLE {quote_identifier(table)} ({', '.join(listed)})"

    def source(self, table: str, columns: Mapping[str, str], *, has_files: bool) -> str:
        """The rows of `$files`: the table's own columns, in its own types.

        The empty table lends the files the columns that they lack.
        """
        quoted = quote_identifier(table)
        if not has_files:
            return quoted
        listed = ", ".join(self._read_column(n, _DUCK_TYPES.get(t, t)) for n, t in columns.items())
        files = "read_parquet($files, union_by_name = true, hive_partitioning = false)"
        united = f"SELECT * FROM {quoted} UNION ALL BY NAME SELECT * FROM {files}"  # noqa: S608 - the catalog's
        return f"(SELECT {listed} FROM ({united}) AS f)"  # noqa: S608 - likewise

    def _read_column(self, name: str, type_: str) -> str:
        quoted = quote_identifier(name)
        cast = f"CAST({quoted} AS {type_})"
        if type_ in INTEGERS:  # stored as a float, NaN and infinity have no integer: null
            floats = f"typeof({quoted}) IN ('FLOAT', 'DOUBLE')"
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

    def aggregate(self, function: Function, value: str, *, is_integer: bool) -> str:  # noqa: ARG002 - its integers never overflow
        if function == "countDistinct":
            return f"count(DISTINCT {value})"
        return f"{function}({value})"

    def bucket(self, interval: Interval) -> str:
        # Integers throughout: the calendar functions on time zones cost fifty times as much.
        microseconds = f'epoch_us("{TIME_COLUMN}")'
        seconds = interval.fixed_seconds
        if seconds is None:
            day = f"make_timestamp({microseconds})"
            return f"((year({day}) - 1970) * 12 + month({day}) - 1) // {interval.months}"
        width = seconds * MICROSECONDS
        origin = int((interval.origin - EPOCH).total_seconds()) * MICROSECONDS
        # One width is added and taken off again: // does not round down below zero.
        return f"({microseconds} - {origin} + {width}) // {width} - 1"

    def percentiles(self, number: str, fractions: Sequence[float]) -> str:
        listed = ", ".join(str(fraction) for fraction in fractions)
        return f"quantile_cont({number}::DOUBLE, [{listed}])"

    def metadata(self, key: str) -> str:
        return f'"Metadata"[{key}]'

    def has_team(self, team: str) -> str:
        return f'coalesce(list_contains("Teams", {team}), false)'

    def rows(self, source: str, condition: str, *, by_team: bool) -> str:
        unnested = f", {self._unnested()} AS {_TEAM}" if by_team else ""
        return f"(SELECT *{unnested} FROM {source} WHERE {condition}) AS r"  # noqa: S608 - conditions bind their values

    def team(self) -> str:
        return _TEAM

    def count_teamed(self) -> str:
        return f"count(*) FILTER (WHERE {self._is_teamed()})"

    def distinct_teams(self) -> str:
        listed = 'list(DISTINCT "Teams") FILTER (WHERE "Teams" IS NOT NULL)'
        return f"coalesce(len(list_distinct(flatten({listed}))), 0)"

    def _unnested(self) -> str:
        # Most lists have one team, or two that differ: those need no list_distinct, which takes
        # five times as long as all the rest.
        plain = '"Teams"[1] IS NOT NULL AND len("Teams") = 1 OR "Teams"[1] <> "Teams"[2]'
        is_plain = f'len("Teams") <= 2 AND ({plain})'
        return (
            f'unnest(CASE WHEN {is_plain} THEN "Teams"'
            f" WHEN {self._is_teamed()} THEN {self._distinct()} ELSE [NULL] END)"
        )

    def _distinct(self) -> str:
        return 'list_distinct("Teams")'

    def _is_teamed(self) -> str:
        return f"len({self._distinct()}) > 0"
