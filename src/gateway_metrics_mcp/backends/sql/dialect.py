"""What the compiler needs to know of an engine: its SQL dialect and its tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any, Final, Literal, NamedTuple, Protocol, Self

from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.query import Catalog, Datasource, Interval, Number

MICROSECONDS = 1_000_000
TextPlace = Literal["anywhere", "start", "end"]
Function = Literal["sum", "count", "countDistinct", "min", "max"]
Sums = Literal["usual", "fine", "wide"]
"""How doubles are summed: fast but not all of them; not at all, only whether some have parts too
fine for that; or any of them."""
FINE_BITS: Final = 84
"""Sums of doubles are integers in units of 2**-84, which add up exactly in any order (R22)."""
LEAST_EXPONENT: Final = -32
"""From 2**-32 on, each double is a whole number of those units. Parts of smaller ones are rounded
off, which a sum of that size does not show; a smaller sum is computed another way."""


def power(exponent: int) -> str:
    """A power of two as an SQL literal, exactly, which the engines read as a double."""
    return f"{2.0**exponent:.16e}"


def quote_identifier(name: str) -> str:
    """A quoted identifier; quotes in the name are doubled."""
    return '"' + name.replace('"', '""') + '"'


class Dialect(Protocol):
    """How one engine writes an expression. Arguments are SQL text, never a caller's value."""

    metadata_key: str
    """The metadata key of a row by key; a row without keys is dropped."""
    team: str
    """The team of a row by team; null if it has none (R5)."""
    count_teamed: str
    """The number of rows with at least one team (R24)."""
    distinct_teams: str
    """The number of distinct teams in the rows (R24)."""
    time: str = '"CreatedAt"'
    """The row's time, to compare it with the window."""

    def placeholder(self, name: str, value: object) -> str:
        """The placeholder of a bound value."""

    def finite(self, number: str) -> str:
        """The number, or null where it is NaN or infinite (R22)."""

    def measured(self, number: str) -> str:
        """A double to aggregate, but for its sum."""
        return self.finite(number)

    def as_float(self, number: str) -> str:
        """An integer as a double, to compare it with doubles."""

    def has_text(self, place: TextPlace, text: str, part: str) -> str:
        """Whether the text contains, starts or ends with the part; no wildcards (R10)."""

    def aggregate(self, function: Function, value: str) -> str:
        """The aggregate of the non-null values; of none null, but 0 for counts (R1).

        Not the sum of doubles, which `sum_doubles` computes.
        """

    def sum_doubles(self, number: str) -> str:
        """The exact sum of the finite values, in the form that `read_sum` reads."""

    def rest_of_sum(self, number: str) -> str | None:
        """What the rounding of `sum_doubles` takes away; None if `read_sum` tells it."""

    def read_sum(self, cell: Any) -> Number | None:
        """The value of `sum_doubles`; null if there were no finite values."""

    def count_doubles(self, number: str) -> str:
        """The number of values in `sum_doubles`."""

    def bucket(self, interval: Interval) -> str:
        """The number of the row's bucket, equal to `Interval.number_of` (R4)."""

    def percentiles(self, number: str, fractions: Sequence[float]) -> str:
        """A list of exact, linearly interpolated percentiles (R12)."""

    def metadata(self, key: str) -> str:
        """The value of a metadata key; null if the row lacks the key (R6)."""

    def count_rows(self) -> str:
        """The number of rows (R2)."""
        return "count(*)"

    def stored_metadata(self, key: str) -> str | None:  # noqa: ARG002 - most have none
        """The column that holds the values of a metadata key, if it has one of its own."""
        return None

    def column(self, name: str) -> str:
        """A column, to compare it or to test it for null."""
        return quote_identifier(name)

    def has_team(self, team: str) -> str:
        """Whether the row's teams include the team; false for a row without teams."""

    def guard(self, rights: str, condition: str) -> str:
        """The condition where the rights hold, else false, without a look at other rows.

        Nothing of it may reach a scan: no index, no statistics, no filter while decoding.
        """

    def opaque(self, condition: str) -> str:
        """A condition that the planner cannot decide by what it knows of all rows."""

    def opaque_in(self, value: str, items: Sequence[str]) -> str:
        """Likewise, whether the value is one of the items; null for a null."""

    def rows(self, source: str, condition: str, *, by_team: bool, by_key: bool) -> str:
        """The SQL after FROM: the rows that meet the condition.

        With `by_team` one row per team (R5), with `by_key` one per metadata key.
        """

    def rows_by_team(self, source: str, condition: str, groups: Sequence[str]) -> str | None:  # noqa: ARG002 - most do not
        """Likewise with one row per team, of rows that are added up by `groups` beforehand.

        The groups are called `g0`, `g1` and so on. Call it when all aggregates are known; None if
        the dialect does not add up rows.
        """
        return None


TIME_COLUMN: Final = "CreatedAt"
TEAMS_COLUMN: Final = "Teams"
METADATA_COLUMN: Final = "Metadata"
SLUG_COLUMN: Final = "CreatedBySubjectSlug"
SUBJECT_TYPE_COLUMN: Final = "CreatedBySubjectType"
INTEGERS: Final = ("INTEGER", "BIGINT")


def find_used(columns: Mapping[str, str], text: str) -> dict[str, str]:
    """The columns that the compiler's text names: to read all takes longer than a small query."""
    unquoted = [name for name in (SLUG_COLUMN, SUBJECT_TYPE_COLUMN) if name in text]
    return {n: t for n, t in columns.items() if quote_identifier(n) in text or n in unquoted}


@cache
def published_tables() -> dict[str, dict[str, str]]:
    """The vendor's published tables: table -> column -> type, in the vendor's names."""
    text = resources.files(__package__).joinpath("tables.json").read_text("utf-8")
    tables: dict[str, dict[str, str]] = json.loads(text)
    return tables


class Layout(NamedTuple):
    """The catalog, and the types of the table columns behind its fields."""

    catalog: Catalog
    tables: dict[str, dict[str, str]]

    @classmethod
    def of(cls, catalog: Catalog) -> Self:
        """The published tables, with the columns that the operator's catalog file adds.

        Raises:
            SettingsError: if an added column is a list: only teams can be split into rows.
        """
        tables = {table: dict(columns) for table, columns in published_tables().items()}
        for datasource in catalog.datasources.values():
            columns = tables[datasource.table]
            kinds = (datasource.columns, datasource.group_by, datasource.filters)
            for entry in (value for kind in kinds for value in kind.values()):
                name = entry.table_column
                if entry.type == "array" and name != TEAMS_COLUMN:
                    raise SettingsError(
                        f'the catalog file: {name} of {datasource.table} is of type "array". The'
                        f" one list that an engine can read is {TEAMS_COLUMN}"
                    )
                columns.setdefault(name, catalog.table_type(datasource.table, name))
        return cls(catalog, tables)

    def is_float(self, datasource: Datasource, column: str) -> bool:
        """Whether the column can hold NaN."""
        return self.tables[datasource.table][column] == "DOUBLE PRECISION"

    def is_integer(self, datasource: Datasource, column: str) -> bool:
        """Whether the column holds integers, whose sums are exact (R22)."""
        return self.tables[datasource.table][column] in INTEGERS
