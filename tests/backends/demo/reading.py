"""The data of `demo:`, and an engine over them."""

from __future__ import annotations

from contextlib import closing
from datetime import date
from pathlib import Path

import duckdb

from gateway_metrics_mcp.backends.demo.data import TABLES, DemoTables
from gateway_metrics_mcp.backends.sql.dialect import published_tables


def make_demo_data(cache: Path, *, seed: int, end_day: date, threads: int = 2) -> Path:
    """The directory of all tables, made if necessary.

    Raises:
        EngineError: if the data cannot be written.
    """
    tables = DemoTables(cache, seed=seed, end_day=end_day, threads=threads)
    with closing(tables):
        for table in TABLES:
            tables.make(table)
    return tables.directory


def open_data(directory: Path) -> duckdb.DuckDBPyConnection:
    """An engine with a view on each table, `date` left out."""
    engine = duckdb.connect()
    engine.execute("SET TimeZone = 'UTC'")
    for table in published_tables():
        files = engine.read_parquet(str(directory / table / "*/*.parquet"), hive_partitioning=False)
        files.create_view(table)
    return engine
