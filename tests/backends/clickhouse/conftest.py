"""ClickHouse itself, in this process, with the tables that docs/clickhouse.md recommends.

It has one data path per process, so one server for all tests: each fills the tables anew.
"""

from __future__ import annotations

import asyncio
import importlib.util
import re
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client

from gateway_metrics_mcp.backends.clickhouse.backend import ClickHouseBackend
from gateway_metrics_mcp.backends.clickhouse.tables import create_table
from gateway_metrics_mcp.backends.sql.dialect import published_tables
from gateway_metrics_mcp.query.catalog import Catalog
from gateway_metrics_mcp.query.model import LOCAL
from gateway_metrics_mcp.query.result import Result
from gateway_metrics_mcp.settings import Settings, read_settings

TESTS: Final = Path(__file__).parents[2]
URL: Final = "clickhouse://reader@127.0.0.1/metrics"

Row = Mapping[str, Any]
Fill = Callable[..., None]
Ask = Callable[..., Result]


def load(path: Path) -> ModuleType:
    """A module of the tests, which are no package."""
    spec = importlib.util.spec_from_file_location(f"tests_clickhouse_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def load_beside() -> Callable[[str], ModuleType]:
    """Load a module that stands beside these tests."""
    return lambda name: load(Path(__file__).with_name(f"{name}.py"))


@pytest.fixture
def unused_port() -> int:
    """A port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


@pytest.fixture(scope="session")
def at() -> Callable[[str], datetime]:
    """An instant out of its text."""
    return datetime.fromisoformat


@pytest.fixture(scope="session")
def read() -> Callable[..., Settings]:
    """The settings of these variables alone."""
    return lambda **environ: read_settings({}, environ)


@pytest.fixture(scope="session")
def evaluate() -> Callable[..., Result]:
    """`evaluate(query, caller, rows, catalog)`, by the rulings in plain Python."""
    function: Callable[..., Result] = load(TESTS / "reference/evaluator.py").evaluate
    return function


@pytest.fixture(scope="session")
def make_example(catalog: Catalog) -> Callable[[bytes], Any]:
    """A question, its caller and the rows of its table, out of 24 bytes of chance."""
    generation = load(TESTS / "reference/generation.py")
    return lambda choices: generation.make_example(choices, catalog)


@pytest.fixture(scope="session")
def assert_same() -> Callable[[Result, Result, float], None]:
    """Names, order, keys and integers as they are; floats within a billionth."""
    function: Callable[[Result, Result, float], None] = load(
        TESTS / "reference/test_engine_agrees.py"
    ).assert_same
    return function


CLUSTER: Final = """<clickhouse><tcp_port>9000</tcp_port><remote_servers><two>
<shard><replica><host>127.0.0.1</host><port>9000</port></replica></shard>
<shard><replica><host>127.0.0.1</host><port>9000</port></replica></shard>
</two></remote_servers></clickhouse>"""
"""A cluster `two`, both shards of which are the server itself; it listens on no port."""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of the server in this process, and the five tables in `metrics`."""
    config = tmp_path_factory.mktemp("clickhouse") / "config.xml"
    config.write_text(CLUSTER, "utf-8")
    options = {"config-file": str(config)}
    client = clickhouse_connect.get_client(dsn="chdb://memory", chdb_options=options)
    client.command("CREATE DATABASE metrics")
    for table, columns in published_tables().items():
        whole = create_table(f"metrics.{table}", columns)
        # Rows of any age, a few at a time: a partition for each day would be a file for each row.
        client.command(re.sub(r",\n +CONSTRAINT .*|PARTITION BY .*\n", "", whole))
    yield client
    client.close()


@pytest.fixture(scope="session")
def fill(server: Client) -> Fill:
    """`fill(table, columns, rows)`: those rows are what the table then has."""

    def replace(table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        server.command(f"TRUNCATE TABLE metrics.{table}")
        types = published_tables()[table]
        stored = [
            [_cell(row[column], types[column]) for column in columns]
            for row in rows
            if row["CreatedAt"] is not None  # in no window
        ]
        if stored:
            server.insert(f"metrics.{table}", stored, columns)

    return replace


def _cell(value: Any, published: str) -> Any:
    """The value as the table can hold it: its lists and maps are never null."""
    if published == "Array(Text)":
        return value or []
    return value or {} if published.startswith("Map") else value


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for questions that are no coroutines: hypothesis draws outside of it."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="session")
def ask(server: Client, catalog: Catalog, runner: asyncio.Runner) -> Ask:
    """`ask(query, caller)` of the backend over the server in this process."""
    backend = ClickHouseBackend(URL, catalog, connect=lambda: server)
    return lambda query, caller=LOCAL: runner.run(backend.query(query, caller))


@pytest.fixture(scope="session")
def open_backend(server: Client, catalog: Catalog) -> Callable[..., ClickHouseBackend]:
    """Open backends over the server in this process; `database` is one of it."""

    def build(*, database: str = "metrics", **options: Any) -> ClickHouseBackend:
        url = f"clickhouse://127.0.0.1/{database}"
        return ClickHouseBackend(
            url, options.pop("catalog", catalog), connect=lambda: server, **options
        )

    return build
