"""The backend `demo:`: DuckDB over generated data that end now."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import platformdirs

from gateway_metrics_mcp.backends.demo.data import make_demo_data
from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.backends.duckdb.dialect import DuckDialect
from gateway_metrics_mcp.backends.sql.engine import SqlEngine
from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.query import Caller, Catalog, Query, Result

logger = logging.getLogger(__name__)

DEFAULT_SEED: Final = 7
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
    """Generates the data at the first query, and again at the first query of each new UTC day."""

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
        self._day: date | None = None
        self._backend: DuckDBBackend | None = None
        self._lock = anyio.Lock()

    @property
    def description(self) -> str:
        """`generated demo data, seed 7`."""
        return f"generated demo data, seed {self._seed}"

    async def query(self, query: Query, caller: Caller) -> Result:
        """The rows that answer the query; none are after now.

        Raises:
            EngineError: if the data cannot be generated.
            GatewayMetricsError: as DuckDBBackend raises.
        """
        return await (await self._today()).query(query, caller)

    async def aclose(self) -> None:
        """Close the engine, if it was opened; the data stay in the cache."""
        if self._backend is not None:
            await self._backend.aclose()

    async def _today(self) -> DuckDBBackend:
        async with self._lock:
            day = self._clock().astimezone(UTC).date()
            if self._backend is None or day != self._day:
                logger.info("making demo data for %s", day)
                yesterday = self._backend
                self._backend = await anyio.to_thread.run_sync(self._open, day)
                self._day = day
                if yesterday is not None:
                    await yesterday.aclose()
            return self._backend

    def _open(self, day: date) -> DuckDBBackend:
        directory = make_demo_data(self._cache, seed=self._seed, end_day=day)
        return DuckDBBackend(
            directory,
            self._layout.catalog,
            timeout_s=self._timeout_s,
            threads=self.most_queries,
            row_cap=self._row_cap,
            until=self._clock,
            **self._engine,
        )
