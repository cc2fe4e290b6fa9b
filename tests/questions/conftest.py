"""One tenant's generated data, the server over them in memory, and SQL on the same files."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import duckdb
import pytest
from mcp.client import Client
from tests.backends.demo.reading import make_demo_data

from gateway_metrics_mcp.backends.demo.backend import DemoBackend
from gateway_metrics_mcp.cli.mcp_client import call_tool
from gateway_metrics_mcp.query.catalog import Catalog
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.settings import Settings

NOW: Final = datetime(2026, 7, 15, 9, 30, tzinfo=UTC)
"""A Wednesday: the last 7 days are July 8 to 14."""
SEED: Final = 7

Ask = Callable[[str, dict[str, Any]], Awaitable[tuple[str, bool]]]
Query = Callable[[str], list[dict[str, Any]]]

_PERIODS: Final = """
    CREATE MACRO last_7_days(t) AS t >= '2026-07-08'::TIMESTAMPTZ AND t < '2026-07-15'::TIMESTAMPTZ;
    CREATE MACRO week_before(t) AS t >= '2026-07-01'::TIMESTAMPTZ AND t < '2026-07-08'::TIMESTAMPTZ;
"""


@pytest.fixture(scope="session")
def query(demo_cache: Path) -> Query:
    """The rows of SQL on the Parquet; as in the demo, nothing has happened after now."""
    directory = make_demo_data(demo_cache, seed=SEED, end_day=NOW.date())
    engine = duckdb.connect()
    engine.execute("SET TimeZone = 'UTC'")
    engine.execute(_PERIODS)
    for table in sorted(directory.iterdir()):
        files = engine.read_parquet(f"{table}/*/*.parquet", hive_partitioning=False)
        files.filter(f"CreatedAt < TIMESTAMPTZ '{NOW.isoformat()}'").create_view(table.name)

    def run(sql: str) -> list[dict[str, Any]]:
        result = engine.execute(sql)
        names = [column[0] for column in result.description or ()]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    return run


@pytest.fixture
def seed() -> int:
    """The seed of the data; tests may ask for another by a parameter."""
    return SEED


@asynccontextmanager
async def open_demo(seed: int, catalog: Catalog, cache: Path) -> AsyncIterator[Ask]:
    """Call a tool of a server over the demo: its text, and whether it is an error."""
    backend = DemoBackend(seed, catalog, cache=cache, clock=lambda: NOW)
    server = build_server(Settings(), backend=backend, clock=lambda: NOW)

    async def call(tool: str, arguments: dict[str, Any]) -> tuple[str, bool]:
        text, is_error, _ = await call_tool(client, tool, arguments)
        return text, is_error

    async with aclosing(backend), Client(server) as client:
        yield call


# While an async fixture is open, no test that is not async can run an event loop: not per session.
@pytest.fixture(scope="module")
async def ask(catalog: Catalog, demo_cache: Path) -> AsyncIterator[Ask]:
    """Ask of the data that all tests share."""
    async with open_demo(SEED, catalog, demo_cache) as ask:
        yield ask


@pytest.fixture
async def ask_of_seed(seed: int, catalog: Catalog, demo_cache: Path) -> AsyncIterator[Ask]:
    """Ask of the data of the seed."""
    async with open_demo(seed, catalog, demo_cache) as ask:
        yield ask
    if seed != SEED:  # 45 MB each
        shutil.rmtree(make_demo_data(demo_cache, seed=seed, end_day=NOW.date()))
