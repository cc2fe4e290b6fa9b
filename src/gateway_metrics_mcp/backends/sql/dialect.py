"""What a SQL engine tells the compiler: its dialect and its tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final, Literal, Protocol, Self

from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.query import Catalog, Datasource, Interval

MICROSECONDS = 1_000_000
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

    def rows(self, source: str, condition: str, *, by_team: bool, by_key: bool) -> str:
        """What follows FROM: the rows that fulfil the condition.

        For `team` one per team (R5), for the metadata's keys one per key.
        """
        ...

    def metadata_key(self) -> str:
        """The metadata key of such a row; no row where it has none."""
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


TIME_COLUMN: Final = "CreatedAt"
TEAMS_COLUMN: Final = "Teams"
METADATA_COLUMN: Final = "Metadata"
SLUG_COLUMN: Final = "CreatedBySubjectSlug"
SUBJECT_TYPE_COLUMN: Final = "CreatedBySubjectType"
INTEGERS: Final = ("INTEGER", "BIGINT")


@cache
def published_tables() -> dict[str, dict[str, str]]:
    """Table name -> column name -> type, as the vendor names the types."""
    text = resources.files(__package__).joinpath("tables.json").read_text("utf-8")
    tables: dict[str, dict[str, str]] = json.loads(text)
    return tables


@dataclass(frozen=True, slots=True)
class Layout:
    """The catalog and the tables that its fields stand in."""

    catalog: Catalog
    tables: dict[str, dict[str, str]]

    @classmethod
    def of(cls, catalog: Catalog) -> Self:
        """The published tables and the columns that a user's own catalog file adds to them.

        Raises:
            SettingsError: if one of them is a list: what splits rows by lists knows teams alone.
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
        """Whether the column holds whole numbers, the sums of which are exact (R22)."""
        return self.tables[datasource.table][column] in INTEGERS
