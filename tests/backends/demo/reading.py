"""An engine over the data of `demo:`."""

from __future__ import annotations

from pathlib import Path

import duckdb

from gateway_metrics_mcp.backends.sql.dialect import published_tables


def open_data(directory: Path) -> duckdb.DuckDBPyConnection:
    """An engine with a view on each table, `date` left out."""
    engine = duckdb.connect()
    engine.execute("SET TimeZone = 'UTC'")
    for table in published_tables():
        files = engine.read_parquet(str(directory / table / "*/*.parquet"), hive_partitioning=False)
        files.create_view(table)
    return engine
