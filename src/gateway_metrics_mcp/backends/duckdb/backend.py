"""The embedded engine: DuckDB over a directory of Parquet in the vendor's table layout.

It only reads, cannot reach anything outside the directory, and runs no text of a caller as SQL.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import anyio
import duckdb

from gateway_metrics_mcp.backends.duckdb.dialect import (
    DIALECTS,
)
from gateway_metrics_mcp.backends.duckdb.files import (
    FoundFiles,
    Presence,
    describe_damage,
    find_files,
    find_late_start,
    is_of_import,
    read_directory,
)
from gateway_metrics_mcp.backends.duckdb.kept import KeptRollups
from gateway_metrics_mcp.backends.duckdb.layout import (
    FileVersion,
    LayoutCache,
    Reading,
    TableFiles,
    identify,
)
from gateway_metrics_mcp.backends.duckdb.planner import StoredDays
from gateway_metrics_mcp.backends.duckdb.roads import Roads
from gateway_metrics_mcp.backends.duckdb.strays import find_strays, list_tables
from gateway_metrics_mcp.backends.middleware import FileAnswerCache
from gateway_metrics_mcp.backends.sql.compiler import (
    Statement,
    read_points,
    read_rows,
)
from gateway_metrics_mcp.backends.sql.dialect import Sums
from gateway_metrics_mcp.backends.sql.engine import SqlEngine
from gateway_metrics_mcp.errors import (
    BackendTimeoutError,
    EngineError,
    GatewayMetricsError,
    InternalError,
    QueryTooLargeError,
    SettingsError,
)
from gateway_metrics_mcp.query import LOCAL, Caller, Catalog, DataPoints, Query, Result
from gateway_metrics_mcp.query.result import Row
from gateway_metrics_mcp.runtime.concurrency import AbandonableThreads, ConcurrencyLimiter
from gateway_metrics_mcp.runtime.scratch import ScratchFolder, is_full, remove_dead

logger = logging.getLogger(__name__)


def translate(error: duckdb.Error, table: str) -> GatewayMetricsError:
    """Our error for one of DuckDB's, whose text only goes to the log."""
    logger.warning("DuckDB on %s: %s: %s", table, type(error).__name__, error)
    if isinstance(error, duckdb.ConnectionException):
        return InternalError("the engine is closed")
    if isinstance(error, duckdb.ParserException | duckdb.CatalogException):
        return InternalError("the engine failed; the log has the details")
    if is_full(error):
        return EngineError(
            "the disk is full on which the engine keeps what exceeds its memory; the log names the"
            " directory. Ask for a shorter window or fewer groups"
        )
    if isinstance(error, duckdb.OutOfMemoryException):
        return QueryTooLargeError(
            "the question needs more memory than the engine may use. Ask for a shorter window,"
            " fewer percentiles or fewer groups, or raise the memory limit"
        )
    if isinstance(error, duckdb.DataError | duckdb.BinderException):
        return EngineError(f"a column of {table} is not of the published type; the log names it")
    if isinstance(error, duckdb.PermissionException):
        return EngineError(
            f"a Parquet file of {table} is a link out of the data directory; the log names it"
        )
    return EngineError(f"a Parquet file of {table} cannot be read; the log has the details")


_NO_DAMAGE: Final = (
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.ConnectionException,
    duckdb.DataError,
    duckdb.FatalException,
    duckdb.InternalException,
    duckdb.InterruptException,
    duckdb.OutOfMemoryException,
    duckdb.ParserException,
    duckdb.PermissionException,
)
"""Errors that say what they are. Anything else comes from a file: DuckDB has no error class for
most kinds of damage."""

_TOO_LARGE: Final = (duckdb.ConversionException, duckdb.OutOfRangeException)
"""What DuckDB says of doubles too large for the usual sums."""
_OF_VALUES: Final = (duckdb.DataError, duckdb.InvalidInputException)
"""Errors that a value may cause which is not of its column's type."""

_SPILL: Final = "gateway-metrics-mcp-"
_FIRST: Final = datetime(1, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(9999, 12, 31, tzinfo=UTC)
_MOST_FINER: Final = 200
_ROWS_AT_ONCE: Final = 500  # fetching all of 300,000 rows stops the event loop for 0.2 s


_MOST_ATTEMPTS: Final = 5


class _FilesChangedError(EngineError):
    """Files that a question reads went, or became others."""

    def __init__(self, table: str) -> None:
        super().__init__(
            f"files of {table} are replaced faster than the question reads them: ask for a shorter"
            " window, or when the import or compaction at work is done"
        )


class DuckDBBackend(SqlEngine):
    """Answers from `<directory>/<table>/**/*.parquet`, partitioned by `date=` or not.

    Columns that a file lacks read as null. `until` hides rows from that instant on: the demo's
    files reach to the end of the day. Answers are kept by the identity of their files, up to
    `cache_bytes`.

    Raises:
        SettingsError: if the directory is missing or cannot be used.
    """

    _dialect = DIALECTS["usual"]

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
        cache_bytes: int = 0,
    ) -> None:
        self._directory = read_directory(directory)
        super().__init__(catalog, timeout_s, row_cap, threads)
        self._presence = Presence(self._directory, frozenset(list_tables(catalog).values()))
        self._until = until
        self._cache = FileAnswerCache(cache_bytes)
        self._layouts = LayoutCache()
        self._stored_days = StoredDays()
        self._finer: dict[tuple[object, ...], bool] = {}
        # Queries are CPU bound: more at once than threads answer no more of them per second.
        self._limiter = ConcurrencyLimiter(threads)
        self._threads = AbandonableThreads()
        spill = _make_spill_folder()
        self._spill = str(spill.path) if spill is not None else ""
        self._remove_spill = weakref.finalize(self, spill.remove if spill is not None else str)
        self._memory_limit = memory_limit
        self._connection = self._connect()

    @property
    def description(self) -> str:
        """`DuckDB over Parquet in <directory>`."""
        return f"DuckDB over Parquet in {self._directory}"

    async def query(self, query: Query, caller: Caller) -> Result:
        """The rows that answer the query, by rulings R1 to R24.

        Raises:
            TooManyRowsError: if there are more rows than the cap (R19).
            BackendTimeoutError: if it takes longer than the time limit.
            QueryTooLargeError: if memory does not suffice.
            EngineError: if the files cannot be read.
        """
        try:
            with anyio.fail_after(self._timeout_s):
                try:
                    return await self._run(query, caller)
                except duckdb.FatalException:  # another query's file brought the database down
                    return await self._run(query, caller)
        except TimeoutError:
            raise self._explain_timeout(self._table_of(query)) from None
        except EngineError as error:
            if (told := self._withhold(error, query, caller)) is error:
                raise
            raise told from error
        except duckdb.Error as error:
            told = translate(error, self._table_of(query))
            raise told if is_full(error) else self._withhold(told, query, caller) from error

    async def look(self) -> None:
        """Look whether the data directory is still there.

        Raises:
            EngineError: if it has gone, or another is in its place.
            UnavailableError: if its storage has not answered several times.
        """
        await self._threads.run(self._presence.check, owner="the data directory")

    async def _run(self, query: Query, caller: Caller) -> Result:
        """One attempt; a database that a damaged file brought down is reopened.

        So is one with a thread that hangs: it can hold a lock, and a thread of the engine's own.
        """
        connection, table = self._connection, self._table_of(query)
        answer = partial(self._answer_of_whole, query=query, caller=caller)
        try:
            async with self._limiter.acquire(caller.identity):
                return await self._run_in_thread(connection, answer, table)
        except (duckdb.InternalException, duckdb.FatalException):
            if self._connection is connection:  # another query may have reopened it already
                self._connection = self._connect()
                _close(connection)
            raise
        except asyncio.CancelledError:
            if self._threads.is_stuck(table) and self._connection is connection:
                with suppress(SettingsError):
                    self._connection = self._connect()  # to close the old one would wait, too
            raise

    async def _run_in_thread(
        self,
        connection: duckdb.DuckDBPyConnection,
        work: Callable[[duckdb.DuckDBPyConnection], Result],
        table: str,
    ) -> Result:
        """Run one query in a worker thread, interrupted if its task is cancelled.

        DuckDB loses an interrupt that arrives before the statement starts, so it is repeated.
        """
        # A cursor per query: threads that share a connection silently get wrong, empty results.
        cursor = connection.cursor()

        def run() -> Result:
            try:
                return work(cursor)
            finally:
                cursor.close()

        def interrupt() -> None:
            with suppress(duckdb.ConnectionException):  # the thread has just closed it
                cursor.interrupt()

        return await self._threads.run(run, owner=table, interrupt=interrupt)

    def _explain_timeout(self, table: str) -> BackendTimeoutError:
        if not self._threads.is_stuck(table):
            return self._give_up()
        return BackendTimeoutError(
            f"no answer within {self._timeout_s:g} s, and reading {table} cannot be stopped: its"
            " storage may not answer. Ask for a shorter window; if that does not help, the operator"
            " of this server has to look at the storage"
        )

    async def aclose(self) -> None:
        """Close the engine."""
        _close(self._connection)
        self._remove_spill()

    def _connect(self) -> duckdb.DuckDBPyConnection:
        config = {
            "memory_limit": self._memory_limit,
            "threads": self.most_queries,
            "temp_directory": self._spill,
        }
        self._kept = KeptRollups()
        try:
            return _connect(self._directory, config)
        except duckdb.Error as error:
            first_line = str(error).partition("\n")[0]
            raise SettingsError(f"the embedded engine cannot be opened: {first_line}") from error

    def _answer_of_whole(
        self, cursor: duckdb.DuckDBPyConnection, query: Query, caller: Caller
    ) -> Result:
        """The answer, asked anew if files go meanwhile: their rows are in others then."""
        for _ in range(_MOST_ATTEMPTS):
            with suppress(_FilesChangedError):
                return self._answer(cursor, query, caller, may_change=True)
        return self._answer(cursor, query, caller, may_change=False)

    def _answer(
        self, cursor: duckdb.DuckDBPyConnection, query: Query, caller: Caller, *, may_change: bool
    ) -> Result:
        """The kept answer, or else that of the files; in the worker thread.

        Raises:
            EngineError: if files go meanwhile, or become others.
        """
        table = self._directory / self._table_of(query)
        end = query.end_ts if self._until is None else min(query.end_ts, self._until())
        found = find_files(table, query.start_ts, end)
        self._presence.check()
        self._presence.check_table(table.name, is_empty=found.is_empty)
        version = identify(found.paths)
        if version is None and may_change:
            raise _FilesChangedError(table.name)
        if version is None or not (self._cache.is_on and found.paths):
            return self._read(cursor, query, end, found, version, caller)
        key = self._cache.key_of(query, end, caller, (*version, *found.notes))
        answer = self._cache.get(key)
        if answer is None:
            answer = self._read(cursor, query, end, found, version, caller)
            if identify(found.paths) == version:
                self._cache.put(key, answer)
        return answer

    def _read(
        self,
        cursor: duckdb.DuckDBPyConnection,
        query: Query,
        end: datetime,
        found: FoundFiles,
        version: FileVersion | None,
        caller: Caller,
    ) -> Result:
        """Run one query over the files' rows before `end`.

        Raises:
            EngineError: that names the damaged files, if there are any.
        """
        try:
            return self._run_over(cursor, query, end, found, version, caller)
        except duckdb.Error as error:
            if isinstance(error, _NO_DAMAGE):
                raise
            if version is not None and identify(found.paths) != version:
                raise _FilesChangedError(self._table_of(query)) from error
            table = self._table_of(query)
            damage = describe_damage(self._directory / table, found.paths, str(error))
            if damage is None:
                raise
            logger.warning("DuckDB on %s: %s: %s", table, type(error).__name__, error)
            raise EngineError(
                f"a Parquet file of {table} cannot be read: {damage}. Write it again, or move it"
                " out of the data directory"
            ) from error

    def _run_over(
        self,
        cursor: duckdb.DuckDBPyConnection,
        query: Query,
        end: datetime,
        found: FoundFiles,
        version: FileVersion | None,
        caller: Caller,
    ) -> Result:
        table, files = self._directory / self._table_of(query), found.paths
        clipped = query.model_copy(update={"end_ts": max(end, query.start_ts)})
        columns = self._layout.tables[table.name]
        read = TableFiles(self._compile, cursor, table, columns, self._layouts, files, version)
        result, reading = self._ask(read, clipped, caller)
        is_absent = not files and not table.is_dir()
        # What is said of whole files is kept from callers whose rows are not all that is in them.
        notes = result.notes + (() if caller.is_restricted else found.notes)
        if is_absent:
            name = table.name
            notes += (
                f"the data directory has no table {name}: no data of this datasource was loaded",
            )
        if caller.is_restricted:
            return replace(result, is_absent=is_absent, notes=notes)
        if not files:
            notes += tuple(find_strays(self._directory, list_tables(self._layout.catalog)))
        notes += (*reading.describe_lacking(), *reading.describe_timeless())
        notes += self._note_late_start(read, found, clipped)
        return replace(result, is_absent=is_absent, notes=notes)

    def _ask(self, read: TableFiles, query: Query, caller: Caller) -> tuple[Result, Reading]:
        """The answer by the quickest road that does not fail, and how that reads the files."""
        roads = self._open(read, query, caller)
        statement, reading = next(roads)

        def run(sums: Sums, part: Query, reader: Caller = caller) -> Result:
            if sums != "usual":
                return self._fetch(read.cursor, read.open_plainly(part, reader, sums)[0], part)
            return self._fetch(read.cursor, statement, part)

        def has_finer(part: Query) -> bool:
            return self._has_finer(read.version, part, caller, run)

        while True:
            try:
                return self._add_exactly(query, run, has_finer, _TOO_LARGE), reading
            except duckdb.Error as error:
                # A table of kept rollups can have gone.
                is_lasting = isinstance(error, _NO_DAMAGE) and not isinstance(
                    error, duckdb.CatalogException
                )
                slower = None if is_lasting else next(roads, None)
                if slower is None and not isinstance(error, _OF_VALUES):
                    raise
                name = read.table.name
                logger.warning("DuckDB on %s: %s: %s", name, type(error).__name__, error)
                if slower is None:
                    reading.refuse_values()
                    raise
                statement, reading = slower

    def _open(
        self, read: TableFiles, query: Query, caller: Caller
    ) -> Iterator[tuple[Statement, Reading]]:
        """The statements that can answer, and how they read the files; the quickest first."""
        if not any(map(is_of_import, read.paths)):
            yield read.open_plainly(query, caller)
            return
        days = self._stored_days.find(read.table.name, read.paths, read.version)
        yield from Roads(read, self._layout.catalog, days, self._kept).open(query, caller)

    def _note_late_start(
        self, read: TableFiles, found: FoundFiles, query: Query
    ) -> tuple[str, ...]:
        """A note if the first days of the window have no rows for certain, and others have."""
        late = find_late_start(found.paths, query.start_ts)
        if late is None:
            return ()
        days, missing = [late.run], "files"
        # Rows of a day that the window ends within may be after it.
        latest = f"{query.end_ts.date() - timedelta(days=1)}"
        if late.near:
            near = read.find_layouts(late.near)
            first_day = self._layouts.find_first_day(read.cursor, read.table, near, read.version)
            days.append(first_day)
            missing, latest = "rows", min(latest, late.latest)
        first = min((day for day in days if day is not None), default="")
        if not f"{query.start_ts.date()}" < first <= latest:
            return ()
        return (
            f"the data of this window begin on {first}: it has no {missing} of the days before",
        )

    def _has_finer(
        self,
        version: FileVersion | None,
        part: Query,
        caller: Caller,
        run: Callable[[Sums, Query, Caller], Result],
    ) -> bool:
        """Whether some row that the caller may see has a double too fine for the usual sums.

        It looks at all of them in the files, and so once while these stay as they are.
        """
        reader = LOCAL if caller.is_tenant_admin else caller
        # A digest: the names and numbers of thousands of files would be kept with each answer.
        of_files = None if version is None else sha256(repr(version).encode()).digest()
        key = (of_files, reader, part.datasource, part.aggregations)
        known = None if version is None else self._finer.get(key)
        if known is None:
            times = {"start_ts": _FIRST, "end_ts": _LAST}
            whole = part.model_copy(update={**times, "filters": ()})
            _, *found = run("fine", whole, reader).points[0].values  # after total
            if len(self._finer) >= _MOST_FINER:
                self._finer.clear()
            self._finer[key] = known = any(found)
        return known

    def _fetch(
        self, cursor: duckdb.DuckDBPyConnection, statement: Statement, query: Query
    ) -> Result:
        """Run a statement, and take its rows up to the cap."""
        cursor.execute(statement.text, statement.parameters)
        result = read_rows((), statement, query, self._layout.catalog)
        points: list[Row] = []
        while rows := cursor.fetchmany(_ROWS_AT_ONCE):
            if points:  # a fetch holds the GIL and would win it again: let the event loop run
                time.sleep(0.0005)
            points += read_points(rows, statement, query, keys=len(result.key_names))
        if len(points) > self._row_cap:
            (count,) = cursor.execute(statement.count_text, statement.parameters).fetchall()[0]
            raise self._refuse_rows(count)
        return replace(result, points=DataPoints(points))


def _close(connection: duckdb.DuckDBPyConnection) -> None:
    """Close it; one that a thread has just begun to use refuses, and goes with that thread."""
    with suppress(duckdb.ResourceInUseException):
        connection.close()


def _make_spill_folder() -> ScratchFolder | None:
    """A folder for data that exceeds the memory limit, if one can be made."""
    parent = Path(tempfile.gettempdir())
    remove_dead(_SPILL, parent)
    try:
        return ScratchFolder(_SPILL, parent)
    except OSError as error:
        logger.warning("no temporary directory, queries cannot spill to disk: %s", error)
        return None


def _connect(directory: Path, config: dict[str, Any]) -> duckdb.DuckDBPyConnection:
    """An in-memory database that can read the directory and nothing else."""
    connection = duckdb.connect(
        ":memory:",
        config={
            **config,
            "max_temp_directory_size": "4GB",  # the default is 90 % of the disk
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,  # or SQL could read Python variables
        },
    )
    connection.execute("SET GLOBAL TimeZone = 'UTC'")  # for timestamps without a zone
    # In this order: access is closed after the directory is allowed, and the lock makes both final.
    connection.execute("SET allowed_directories = $directory", {"directory": [str(directory)]})
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection
