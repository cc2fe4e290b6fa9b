"""Writes the rows of a UTC day: sorted, with columns derived from them, and rolled up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway_metrics_mcp.backends.duckdb.stored import IDENTITY_COLUMNS, ROWS_FILE
from gateway_metrics_mcp.backends.sql.dialect import (
    TIME_COLUMN,
    published_tables,
    quote_identifier,
)
from gateway_metrics_mcp.cli.ingest.mapping import sql_text

if TYPE_CHECKING:
    import duckdb

_ROW_GROUP: Final = 122_880
_VECTOR: Final = 2048  # DuckDB's row groups are multiples of this many rows


def write_day(
    connection: duckdb.DuckDBPyConnection, rows: str, day: str, folder: Path, table: str
) -> None:
    """Write a day's rows and rollups into `folder/date=<day>`.

    `rows` is SQL of a relation with the table's columns in their published types, and perhaps those
    of `IDENTITY_COLUMNS`; its rows of other days are left out.
    """
    target = folder / f"date={day}" / ROWS_FILE
    target.parent.mkdir(parents=True)
    start = f"TIMESTAMPTZ '{day} 00:00:00+00'"
    of_day = f'"{TIME_COLUMN}" >= {start} AND "{TIME_COLUMN}" < {start} + INTERVAL 1 DAY'
    ((count,),) = connection.execute(f"SELECT count(*) FROM {rows} WHERE {of_day}").fetchall()
    found = {name for name, *_ in connection.execute(f"DESCRIBE FROM {rows}").fetchall()}
    listed = [*published_tables()[table], *(name for name in IDENTITY_COLUMNS if name in found)]
    # At least two row groups: DuckDB reads a file in parallel by row group.
    row_group = min(_ROW_GROUP, -(-count // 2 // _VECTOR) * _VECTOR)
    connection.execute(
        f"""
        COPY (
            SELECT {", ".join(map(quote_identifier, listed))} FROM {rows}
            WHERE {of_day} ORDER BY "{TIME_COLUMN}"
        ) TO {sql_text(str(target))} (
            FORMAT parquet, PARQUET_VERSION v2, COMPRESSION zstd, ROW_GROUP_SIZE {row_group}
        )
        """
    )
