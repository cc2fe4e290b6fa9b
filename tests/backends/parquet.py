"""Rows -> Parquet in the vendor's table layout, hive-partitioned or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

import duckdb

from gateway_metrics_mcp.backends.sql.dialect import published_tables

NOON: Final = datetime(2026, 7, 10, 12, tzinfo=UTC)
"""When a row was made that does not say."""

_TYPES: Final = {
    "TEXT": "VARCHAR",
    "DOUBLE PRECISION": "DOUBLE",
    "Array(Text)": "VARCHAR[]",
    "Map(Text, Text)": "MAP(VARCHAR, VARCHAR)",
    "Map(Text, Array(Text))": "MAP(VARCHAR, VARCHAR[])",
}

Row = Mapping[str, Any]


def write_rows(
    directory: Path,
    rows: Sequence[Row],
    *,
    table: str = "gateway_model_metrics",
    folder: str = "",
    name: str = "part-0.parquet",
    types: Mapping[str, str] | None = None,
) -> Path:
    """One file of the rows, with the columns that they name and `CreatedAt`.

    `folder` is a partition such as `date=2026-07-10`; `types` are the engine's types of columns
    that are to be stored in another than the published one.
    """
    columns = dict.fromkeys(["CreatedAt", *(name for row in rows for name in row)])
    published = published_tables()[table]
    selected, parameters = [], {}
    for index, column in enumerate(columns):
        kind = published.get(column, "TEXT")
        values = [row.get(column, NOON if column == "CreatedAt" else None) for row in rows]
        type_ = (types or {}).get(column, _TYPES.get(kind, kind))
        expression = f"unnest($v{index}::{type_}[])"
        if type_.startswith("MAP"):
            # A map is bound as its keys and its values: a dict would become a struct.
            expression = f"map_or_null(unnest($k{index}::VARCHAR[][]), unnest($v{index}))"
            parameters[f"k{index}"] = [None if value is None else list(value) for value in values]
            values = [None if value is None else list(value.values()) for value in values]
        parameters[f"v{index}"] = values
        selected.append(f'{expression} AS "{column.replace(chr(34), chr(34) * 2)}"')
    return write_select(
        directory,
        f"SELECT {', '.join(selected)}",
        parameters,
        table=table,
        folder=folder,
        name=name,
    )


def write_select(
    directory: Path,
    select: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    table: str = "gateway_model_metrics",
    folder: str = "",
    name: str = "part-0.parquet",
) -> Path:
    """One file of a statement's rows: for more than are worth a dict each."""
    target = directory / table / folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    engine = _open_engine()
    engine.execute(f"CREATE OR REPLACE TABLE made AS {select}", dict(parameters or {}))
    engine.execute(f"COPY made TO '{str(target).replace(chr(39), chr(39) * 2)}'")
    return target


@cache
def _open_engine() -> duckdb.DuckDBPyConnection:
    """One engine for all the files of a run: opening one takes longer than a file."""
    engine = duckdb.connect(config={"threads": 2})
    engine.execute("SET TimeZone = 'UTC'")
    engine.execute(
        "CREATE MACRO map_or_null(k, v) AS"
        " CASE WHEN k IS NULL THEN NULL ELSE map(k, v::VARCHAR[]) END"
    )
    return engine
