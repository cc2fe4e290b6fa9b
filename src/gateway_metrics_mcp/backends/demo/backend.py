"""The backend `demo:`: DuckDB over generated data that end now."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import platformdirs

from gateway_metrics_mcp.backends.demo.data import TABLES, DemoTables
from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.backends.duckdb.dialect import DuckDialect
from gateway_metrics_mcp.backends.sql.engine import SqlEngine
from gateway_metrics_mcp.errors import GatewayMetricsError, SettingsError, UnavailableError
from gateway_metrics_mcp.query import Caller, Catalog, Query, Result

logger = logging.getLogger(__name__)

DEFAULT_SEED: Final = 7
_STOP_EVERY_S: Final = 0.005
_FORM: Final = re.compile(r"demo:(\d{1,9})?")


def read_seed(text: str) -> int:
    """The seed of `demo:` or `demo:<seed>`.

    Raises:
        SettingsError: if the seed is not a whole number of at most nine digits.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise SettingsError(f"{text!r}: give demo: or demo:<seed>, a whole number such as demo:42")
    return int(match[1]) if match[1] else DEFAULT_SEED


def find_cache() -> Path:
    """The directory of generated data: the user's cache directory."""
    return Path(platformdirs.user_cache_dir("gateway-metrics-mcp"))


class DemoBackend(SqlEngine):
    """Makes a table at its first query, and all of them behind if `make_all` was called.

    The first query of each new UTC day begins again.
    """

    _dialect = DuckDialect()

    def __init__(
        self,
        seed: int,
        catalog: Catalog,
        *,
        cache: Path | None = None,
        clock: Callable[[], datetime] | None = None,
        timeout_s: float = 60,
        row_cap: int = 100_000,
        threads: int = 2,
        **engine: Any,
    ) -> None:
        super().__init__(catalog, timeout_s, row_cap, threads)
        self._seed = seed
        self._cache = cache or find_cache()
        self._clock = clock or (lambda: datetime.now(UTC))
        self._engine = engine
        self._makes_all = False
        self._day: date | None = None
        self._tables: _TableQueue | None = None
        self._backend: DuckDBBackend | None = None
        self._lock = anyio.Lock()

    @property
    def description(self) -> str:
        """`generated demo data, seed 7`."""
        return f"generated demo data, seed {self._seed}"

    async def make_all(self) -> None:
        """Begin to make all tables, in the background; a failure is told by the queries."""
        self._makes_all = True
        async with self._lock:
            await self._settle_day()

    async def query(self, query: Query, caller: Caller) -> Result:
        """The rows that answer the query; none are after now.

        Raises:
            EngineError: if the data cannot be generated.
            GatewayMetricsError: as DuckDBBackend raises.
        """
        backend = await self._open_with(self._table_of(query))
        return await backend.query(query, caller)

    async def aclose(self) -> None:
        """Stop making tables, and close the engine; finished tables stay in the cache."""
        if self._tables is not None:
            await self._tables.aclose()
        if self._backend is not None:
            await self._backend.aclose()

    async def _open_with(self, table: str) -> DuckDBBackend:
        """The engine over today's data, once they have the table."""
        while True:
            async with self._lock:
                tables = await self._settle_day()
            try:
                await tables.wait_for(table)
            except UnavailableError:
                if tables is self._tables:
                    raise
            async with self._lock:
                if tables is self._tables:  # else a new day began meanwhile
                    if self._backend is None:
                        self._backend = await anyio.to_thread.run_sync(self._open, tables)
                    return self._backend

    async def _settle_day(self) -> _TableQueue:
        """The tables of today; those of yesterday are closed."""
        day = self._clock().astimezone(UTC).date()
        if self._tables is None or day != self._day:
            await self.aclose()
            self._backend = None
            made = DemoTables(self._cache, seed=self._seed, end_day=day, threads=self.most_queries)
            self._tables, self._day = _TableQueue(made), day
            if self._makes_all:
                self._tables.add_all()
        return self._tables

    def _open(self, tables: _TableQueue) -> DuckDBBackend:
        return DuckDBBackend(
            tables.directory,
            self._layout.catalog,
            timeout_s=self._timeout_s,
            threads=self.most_queries,
            row_cap=self._row_cap,
            until=self._clock,
            **self._engine,
        )


class _TableQueue:
    """Makes one day's tables in a thread, one after another; the one a query needs comes next.

    The lock's turns are in order, and `make_all` waits for one table before it adds the next.
    """

    def __init__(self, tables: DemoTables) -> None:
        self._tables = tables
        self._turn = asyncio.Lock()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def directory(self) -> Path:
        """Where the tables are."""
        return self._tables.directory

    def add_all(self) -> None:
        """Make those that are missing, in the background."""
        self._begin("all tables", self._make_all())

    async def wait_for(self, table: str) -> None:
        """Return once the table is made. A caller that is cancelled leaves it to the others.

        Raises:
            EngineError: if it cannot be made; the next call tries again.
            UnavailableError: if `aclose` is called meanwhile.
        """
        if not self._tables.has(table):
            task = self._tasks.get(table) or self._begin(table, self._make(table))
            await asyncio.shield(task)

    async def aclose(self) -> None:
        """Stop the thread."""
        while self._tasks:
            self._tables.stop()
            await asyncio.wait(self._tasks.values(), timeout=_STOP_EVERY_S)

    def _begin(self, what: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._tasks[what] = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._tasks.pop(what))
        return task

    async def _make_all(self) -> None:
        with suppress(GatewayMetricsError):  # a query meets the same error, and explains it
            for table in TABLES:
                await self.wait_for(table)
        async with self._turn:
            await self._close_if_last()

    async def _make(self, table: str) -> None:
        async with self._turn:
            logger.info("making demo data: %s", table)
            try:
                await anyio.to_thread.run_sync(self._tables.make, table)
            finally:
                await self._close_if_last()

    async def _close_if_last(self) -> None:
        """Free the memory if no other task is to make a table."""
        if len(self._tasks) == 1:
            await anyio.to_thread.run_sync(self._tables.close)
