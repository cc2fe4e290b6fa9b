"""The five tables under the API, in the vendor's published layout."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final, Self

from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.query.catalog import Catalog, Datasource

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
