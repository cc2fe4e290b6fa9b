"""The embedded engine: DuckDB over a directory of Parquet in the vendor's table layout.

Read-only and shut in: nothing outside the directory can be reached, and no text of a caller
becomes SQL. A query runs in a worker thread on a cursor of its own.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import duckdb

from gateway_metrics_mcp.access import Caller
from gateway_metrics_mcp.backends.dialect import DuckDialect
from gateway_metrics_mcp.backends.files import find_files, read_directory
from gateway_metrics_mcp.backends.sql import Statement, compile_query, read_rows
from gateway_metrics_mcp.backends.tables import Layout
from gateway_metrics_mcp.errors import (
    BackendTimeoutError,
    EngineError,
    InternalError,
    TooManyRowsError,
)
from gateway_metrics_mcp.query.catalog import Catalog
from gateway_metrics_mcp.query.model import Query
from gateway_metrics_mcp.result import Result

logger = logging.getLogger(__name__)

_TYPES: Final = {
    "TEXT": "VARCHAR",
    "DOUBLE PRECISION": "DOUBLE",
    "Array(Text)": "VARCHAR[]",
    "Map(Text, Text)": "MAP(VARCHAR, VARCHAR)",
    "Map(Text, Array(Text))": "MAP(VARCHAR, VARCHAR[])",
}
_MOST_ON_DISK: Final = "4GB"
_INTERRUPT_EVERY_S: Final = 0.005


class DuckDBBackend:
    """Answers from `<directory>/<table>/**/*.parquet`, partitioned by `date=` or not.

    Columns that a file lacks read as null. `until`, where given, hides rows from that instant
    on: the demo's data reach to the end of the day.

    Raises:
        SettingsError: if the directory is missing or cannot be used.
    """

    def __init__(
        self,
        directory: Path,
        catalog: Catalog,
        *,
        memory_limit: str = "2GB",
        threads: int = 2,
        timeout_s: float = 60,
        row_cap: int = 100_000,
        until: Callable[[], datetime] | None = None,
    ) -> None:
        self._directory = read_directory(directory)
        self._layout = Layout.of(catalog)
        self._timeout_s = timeout_s
        self._row_cap = row_cap
        self._until = until
        self._limiter = anyio.CapacityLimiter(threads)
        self._connection = _connect(self._directory, self._layout, memory_limit, threads)

    @property
    def description(self) -> str:
        """`DuckDB over Parquet in <directory>`."""
        return f"DuckDB over Parquet in {self._directory}"

    async def query(self, query: Query, caller: Caller) -> Result:
        """The rows that answer the query, by rulings R1 to R24.

        Raises:
            TooManyRowsError: if there are more rows than the cap (R19).
            BackendTimeoutError: if it takes longer than the time limit.
            EngineError: if the files cannot be read or memory does not suffice.
        """
        job = _Job(self._connection, lambda cursor: self._answer(cursor, query, caller))
        try:
            with anyio.fail_after(self._timeout_s):
                return await job.run(self._limiter)
        except TimeoutError:
            raise BackendTimeoutError(
                f"no answer within {self._timeout_s:g} s. Ask a shorter window or fewer groups"
            ) from None

    async def aclose(self) -> None:
        """Close the engine."""
        self._connection.close()

    def _answer(self, cursor: duckdb.DuckDBPyConnection, query: Query, caller: Caller) -> Result:
        """The whole of one query, in the worker thread."""
        table = self._layout.catalog.datasources[query.datasource].table
        end = query.end_ts if self._until is None else min(query.end_ts, self._until())
        files = find_files(self._directory / table, query.start_ts, end)
        clipped = query.model_copy(update={"end_ts": max(end, query.start_ts)})
        statement = compile_query(
            clipped,
            caller,
            source=_source(table, has_files=bool(files)),
            dialect=DuckDialect(),
            layout=self._layout,
            row_cap=self._row_cap,
        )
        parameters = {**statement.parameters, **({"files": files} if files else {})}
        try:
            rows = cursor.execute(statement.text, parameters).fetchall()
            if len(rows) > self._row_cap:
                self._refuse(cursor, statement, parameters)
        except duckdb.InterruptException:
            raise
        except duckdb.Error as error:
            raise _translate(error, table) from error
        notes = () if files or (self._directory / table).is_dir() else (_no_table(table),)
        result = read_rows(rows, statement, query, self._layout.catalog)
        return result.with_notes(*notes)

    def _refuse(
        self,
        cursor: duckdb.DuckDBPyConnection,
        statement: Statement,
        parameters: dict[str, Any],
    ) -> None:
        (count,) = cursor.execute(statement.count_text, parameters).fetchall()[0]
        raise TooManyRowsError(
            f"the answer would have {count} rows, the limit is {self._row_cap}. Ask a shorter"
            " window, a longer interval, fewer group-by fields, or filter"
        )


class _Job:
    """One piece of work in a worker thread, which a cancellation interrupts.

    An interrupt that comes before the statement starts is lost, so it is repeated until the
    thread is done.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        work: Callable[[duckdb.DuckDBPyConnection], Result],
    ) -> None:
        self._cursor = connection.cursor()
        self._work = work
        self._is_cancelled = False
        self._done = threading.Event()

    async def run(self, limiter: anyio.CapacityLimiter) -> Result:
        started = False

        def work() -> Result:
            nonlocal started
            started = True
            return self._run()

        try:
            return await anyio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=limiter)
        except anyio.get_cancelled_exc_class():
            self._is_cancelled = True
            with anyio.CancelScope(shield=True):
                while started and not self._done.is_set():
                    self._cursor.interrupt()
                    await anyio.sleep(_INTERRUPT_EVERY_S)
            raise

    def _run(self) -> Result:
        try:
            if self._is_cancelled:
                raise InternalError("cancelled before it started")
            return self._work(self._cursor)
        finally:
            self._cursor.close()
            self._done.set()


def _connect(
    directory: Path, layout: Layout, memory_limit: str, threads: int
) -> duckdb.DuckDBPyConnection:
    """An in-memory database that can read the directory and nothing else."""
    connection = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": memory_limit,
            "threads": threads,
            "temp_directory": str(
                Path(tempfile.gettempdir()) / f"gateway-metrics-mcp-{os.getpid()}"
            ),
            "max_temp_directory_size": _MOST_ON_DISK,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,
        },
    )
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    for table, columns in layout.tables.items():
        listed = ", ".join(f'"{name}" {_TYPES.get(kind, kind)}' for name, kind in columns.items())
        connection.execute(f'CREATE TABLE "{table}" ({listed})')
    connection.execute("SET allowed_directories = $directory", {"directory": [str(directory)]})
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def _source(table: str, *, has_files: bool) -> str:
    """The empty table gives the columns and their types, the files give the rows."""
    if not has_files:
        return f'"{table}"'
    files = "read_parquet($files, union_by_name = true, hive_partitioning = false)"
    return f'(SELECT * FROM "{table}" UNION ALL BY NAME SELECT * FROM {files})'


def _no_table(table: str) -> str:
    return f"the data directory has no table {table}: nothing of this datasource was ever loaded"


def _translate(error: duckdb.Error, table: str) -> EngineError | InternalError:
    """DuckDB's error as one of ours; its own words go to the log alone."""
    logger.warning("DuckDB on %s: %s: %s", table, type(error).__name__, error)
    if isinstance(error, duckdb.OutOfMemoryException):
        return EngineError(
            "the question needs more memory than the engine may use. Ask a shorter window, fewer"
            " percentiles or fewer groups, or raise the memory limit"
        )
    if isinstance(error, duckdb.IOException | duckdb.InvalidInputException | duckdb.HTTPException):
        return EngineError(f"a Parquet file of {table} cannot be read; the log names it")
    if isinstance(error, duckdb.ConversionException | duckdb.BinderException):
        return EngineError(f"a column of {table} is not of the published type; the log names it")
    return InternalError("the engine failed; the log has the details")
