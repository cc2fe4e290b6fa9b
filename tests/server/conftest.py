"""Servers to talk to: in memory, over real sockets and as processes, over a little Parquet."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import anyio
import duckdb
import pytest
import uvicorn
from mcp.client import Client
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters
from mcp_types import CallToolResult, TextContent
from starlette.applications import Starlette

import gateway_metrics_mcp
from gateway_metrics_mcp.backends.base import Backend
from gateway_metrics_mcp.http.transports import build_http_app, build_sse_app
from gateway_metrics_mcp.query.caller import Caller
from gateway_metrics_mcp.query.catalog import Catalog
from gateway_metrics_mcp.query.model import Query
from gateway_metrics_mcp.query.result import DataPoint, Result, key_names_of, value_names_of
from gateway_metrics_mcp.query.vocabulary import DatasourceName
from gateway_metrics_mcp.server.app import MetricsServer, build_server
from gateway_metrics_mcp.settings import Settings

NOW: Final = datetime(2026, 7, 15, 9, 30, tzinfo=UTC)
SOURCES: Final = Path(gateway_metrics_mcp.__file__).parents[1]

Connect = Callable[[str, str], AbstractAsyncContextManager[Client]]
Listen = Callable[[Starlette], AbstractAsyncContextManager[int]]
Call = Callable[[str, dict[str, Any]], Awaitable[tuple[str, bool]]]

_ROWS: Final = """
    SELECT * FROM (VALUES
        (TIMESTAMPTZ '2025-03-01 10:00:00Z', 'gpt-4o', NULL, 100, 0.5125, 200.0, 'ada@example.com'),
        (TIMESTAMPTZ '2025-03-01 11:00:00Z', 'gpt-4o', NULL, 300, 1.7225, 400.0, 'bob@example.com'),
        (TIMESTAMPTZ '2025-03-02 10:00:00Z', 'claude', NULL, 50, 0.2516, 900.0, 'ada@example.com'),
        (TIMESTAMPTZ '2025-03-02 10:00:00Z', 'claude', 'fast', 50, 0.2516, 950.0, 'ada@example.com')
    ) AS rows(CreatedAt, ModelName, VirtualModelName, InputTokens, CostInUSD, LatencyMs,
        CreatedBySubjectSlug)
"""


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four model calls in the vendor's layout, one of them of a virtual model."""
    directory = tmp_path_factory.mktemp("parquet")
    table = directory / "gateway_model_metrics"
    table.mkdir()
    duckdb.execute(f"COPY ({_ROWS}) TO '{table / 'rows.parquet'}' (FORMAT parquet)")
    return directory


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """All that a process of ours is given."""
    home = str(tmp_path_factory.mktemp("home"))
    return {"PYTHONPATH": str(SOURCES), "PATH": os.environ["PATH"], "HOME": home}


@asynccontextmanager
async def _listen(app: Starlette) -> AsyncIterator[int]:
    """The port of an app served on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        async with anyio.create_task_group() as group:
            group.start_soon(server.serve, [listener])
            try:
                yield listener.getsockname()[1]
            finally:
                server.should_exit = True


@pytest.fixture(scope="session")
def listen() -> Listen:
    return _listen


@pytest.fixture(scope="session")
def connect(directory: Path, environment: dict[str, str]) -> Connect:
    """A client of a new server over the directory, by transport and mode."""
    settings = Settings(backend=str(directory))

    @asynccontextmanager
    async def connect(transport: str, mode: str) -> AsyncIterator[Client]:
        if transport == "stdio":
            arguments = ["-m", "gateway_metrics_mcp", "--backend", str(directory)]
            process = StdioServerParameters(command=sys.executable, args=arguments, env=environment)
            async with Client(process, mode=mode) as client:
                yield client
            return
        server = build_server(settings)
        if transport == "memory":
            async with Client(server, mode=mode) as client:
                yield client
            return
        build = build_http_app if transport == "http" else build_sse_app
        async with _listen(build(server, settings)) as port:
            url = f"http://127.0.0.1:{port}"
            where = f"{url}/mcp" if transport == "http" else sse_client(f"{url}/sse")
            async with Client(where, mode=mode) as client:
                yield client

    return connect


class _Recorder:
    """A backend that answers every query with the same rows, and keeps what it was sent."""

    description = "a recorder"

    def __init__(self, catalog: Catalog, sent: list[Query], names: tuple[str, ...]) -> None:
        self._catalog = catalog
        self._sent = sent
        self._names = names

    async def query(self, query: Query, caller: Caller) -> Result:
        del caller
        self._sent.append(query)
        keys = key_names_of(query, self._catalog.datasources[query.datasource])
        values = value_names_of(query)
        start = query.start_ts if query.interval is not None else None
        points = [
            DataPoint((name,) * len(keys), (1,) * len(values), start)
            for name in (self._names if keys else self._names[:1])
        ]
        return Result(keys, values, tuple(points))

    def explain(self, query: Query, caller: Caller) -> str:
        raise NotImplementedError

    async def metadata_keys(
        self, datasource: DatasourceName, start: datetime, end: datetime, caller: Caller
    ) -> Result | None:
        raise NotImplementedError

    async def aclose(self) -> None:
        """Nothing is open."""


@pytest.fixture
def sent() -> list[Query]:
    """What the recording backend was sent."""
    return []


@pytest.fixture
def recorder() -> type[_Recorder]:
    """Build a backend that answers a row of each name to everything."""
    return _Recorder


@pytest.fixture
def serve() -> Callable[..., MetricsServer]:
    """Build a server over a backend, at NOW."""

    def serve(backend: Backend | None = None, **settings: Any) -> MetricsServer:
        return build_server(Settings(**settings), backend=backend, clock=lambda: NOW)

    return serve


@pytest.fixture
def recording(
    catalog: Catalog, sent: list[Query], serve: Callable[..., MetricsServer]
) -> MetricsServer:
    """A server over a backend that answers one row to everything, into `sent`."""
    return serve(_Recorder(catalog, sent, ("one",)))


@asynccontextmanager
async def _calling(server: MetricsServer, mode: str) -> AsyncIterator[Call]:
    async with Client(server, mode=mode) as client:

        async def call(tool: str, arguments: dict[str, Any]) -> tuple[str, bool]:
            return read_text(await client.call_tool(tool, arguments))

        yield call


@pytest.fixture(params=["legacy", "auto"])
async def call(request: pytest.FixtureRequest, recording: MetricsServer) -> AsyncIterator[Call]:
    """Call a tool of the recording server: its one text, and whether it is an error."""
    async with _calling(recording, request.param) as call:
        yield call


@pytest.fixture
async def call_for_two(
    catalog: Catalog, sent: list[Query], serve: Callable[..., MetricsServer]
) -> AsyncIterator[Call]:
    """Call a tool of a server that answers two rows where there are groups."""
    async with _calling(serve(_Recorder(catalog, sent, ("one", "two"))), "auto") as call:
        yield call


@pytest.fixture(scope="session")
def calling() -> Callable[[MetricsServer, str], AbstractAsyncContextManager[Call]]:
    """Connect to a server in a mode, to call its tools."""
    return _calling


def read_text(result: CallToolResult) -> tuple[str, bool]:
    (block,) = result.content
    assert isinstance(block, TextContent)
    assert result.structured_content is None
    return block.text, bool(result.is_error)


@pytest.fixture(scope="session")
def text_of() -> Callable[[CallToolResult], tuple[str, bool]]:
    """The one text of an answer, and whether it is an error."""
    return read_text
