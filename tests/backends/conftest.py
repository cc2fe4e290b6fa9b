"""A question, a failing question, and real servers on this machine to ask."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import ssl
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.backends.gateway.backend import GatewayBackend
from gateway_metrics_mcp.errors import GatewayMetricsError
from gateway_metrics_mcp.http.body import read_query
from gateway_metrics_mcp.query.catalog import Catalog, load_catalog
from gateway_metrics_mcp.query.model import LOCAL, Caller, Query

TOKEN = "tok-secret-1234"  # noqa: S105  # planted: no failure may show it

Ask = Callable[..., Awaitable[GatewayMetricsError]]
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Site:
    """A server on loopback and what it was sent; `gone` is set when a client hangs up.

    Each connection that ended gives `ended` one more place.
    """

    port: int = 0
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))


Serve = Callable[..., Awaitable[Site]]


@pytest.fixture
def question(catalog: Catalog) -> Query:
    body = {
        "startTs": "2026-07-01T00:00:00Z",
        "endTs": "2026-07-02T00:00:00Z",
        "datasource": "modelMetrics",
        "type": "distribution",
        "filters": [{"fieldName": "modelName", "operator": "EQUAL", "value": "gpt-4o"}],
    }
    return read_query(body, catalog)


@pytest.fixture
def proxyless(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy and no certificates of the machine that the tests happen to run on."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "NETRC"):
        monkeypatch.delenv(name, raising=False)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@pytest.fixture
def failure(question: Query, caplog: pytest.LogCaptureFixture) -> Ask:
    """Ask what has to fail: the error, which shows the token nowhere; nor does any log."""
    caplog.set_level(logging.DEBUG)

    async def ask(backend: GatewayBackend, caller: Caller = LOCAL) -> GatewayMetricsError:
        with pytest.raises(GatewayMetricsError) as caught:
            await backend.query(question, caller)
        await backend.aclose()
        error = caught.value
        trace = traceback.TracebackException.from_exception(error, capture_locals=True)
        shown = [str(error), repr(error), repr(backend), caplog.text, *trace.format()]
        assert not [text for text in shown if TOKEN in text]
        assert not [link for link in _chain(error) if isinstance(link, httpx.HTTPError)]
        return error

    return ask


@pytest.fixture
def gateway(catalog: Catalog) -> Callable[..., GatewayBackend]:
    """Build a backend whose gateway gives one response; what it was sent goes into `sent`."""

    def build(
        response: httpx.Response | None = None,
        *,
        sent: list[httpx.Request] | None = None,
        token: str | None = TOKEN,
        host: str = "https://tenant.example.com",
        max_body_bytes: int = 10_000,
    ) -> GatewayBackend:
        def answer(request: httpx.Request) -> httpx.Response:
            if sent is not None:
                sent.append(request)
            return httpx.Response(200, json={"data": []}) if response is None else response

        return GatewayBackend(
            host,
            token,
            catalog,
            max_body_bytes=max_body_bytes,
            transport=httpx.MockTransport(answer),
        )

    return build


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start servers that read each request whole, unless raw, and leave the rest to a handler."""
    tasks: set[asyncio.Task[object]] = set()
    servers: list[asyncio.Server] = []

    async def start(
        handler: Handler, context: ssl.SSLContext | None = None, *, is_raw: bool = False
    ) -> Site:
        site = Site()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            site.connections += 1
            with suppress(asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError):
                while not is_raw:
                    site.requests.append(await _read_request(reader))
                    site.arrived.set()
                    await handler(reader, writer)
                await handler(reader, writer)
            site.gone.set()
            site.ended.release()
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

        server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
        servers.append(server)
        site.port = server.sockets[0].getsockname()[1]
        return site

    yield start
    for server in servers:
        server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.lower().splitlines():
        if line.startswith(b"content-length:"):
            return head + await reader.readexactly(int(line.split(b":")[1]))
    return head


# --- the embedded engine ---


def _load(name: str) -> ModuleType:
    """A module beside this one: the tests are no package."""
    path = Path(__file__).parent / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"tests_backends_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_PARQUET = _load("parquet")


@pytest.fixture(scope="session")
def write_rows() -> Callable[..., Path]:
    """`write_rows(directory, rows, table=..., folder=..., name=..., types=...)`."""
    write: Callable[..., Path] = _PARQUET.write_rows
    return write


@pytest.fixture(scope="session")
def write_select() -> Callable[..., Path]:
    """`write_select(directory, select, table=..., folder=..., name=...)`."""
    write: Callable[..., Path] = _PARQUET.write_select
    return write


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An empty data directory."""
    directory = tmp_path / "data"
    directory.mkdir()
    return directory


@pytest.fixture
def write(data: Path, write_rows: Callable[..., Path]) -> Callable[..., Path]:
    """`write(rows, table=..., ...)` into the data directory."""
    return lambda rows, **layout: write_rows(data, rows, **layout)


@pytest.fixture
async def engine(data: Path) -> AsyncIterator[Callable[..., DuckDBBackend]]:
    """Open engines over the data directory; all are closed in the end."""
    opened: list[DuckDBBackend] = []

    def build(directory: Path = data, **options: Any) -> DuckDBBackend:
        backend = DuckDBBackend(directory, options.pop("catalog", load_catalog()), **options)
        opened.append(backend)
        return backend

    yield build
    for backend in opened:
        await backend.aclose()


def _read_question(catalog: Catalog, changes: dict[str, Any]) -> Query:
    """July 2026 of modelMetrics with the changes; aggregations as "sum inputTokens"."""
    body = {
        "startTs": "2026-07-01T00:00:00Z",
        "endTs": "2026-08-01T00:00:00Z",
        "datasource": "modelMetrics",
        "type": "timeseries" if "interval" in changes else "distribution",
        **changes,
    }
    pairs = [text.split() for text in body.pop("aggregations", [])]
    body["aggregations"] = [{"type": type_, "column": column} for type_, column in pairs]
    keys = ("fieldName", "operator", "value")
    body["filters"] = [dict(zip(keys, given, strict=True)) for given in body.pop("filters", [])]
    return read_query(body, catalog)


@pytest.fixture(scope="session")
def make_query() -> Callable[..., Query]:
    """Build a query of July 2026; filters as `(field, operator, value)`."""

    def make(catalog: Catalog | None = None, **changes: Any) -> Query:
        return _read_question(catalog or load_catalog(), changes)

    return make


@pytest.fixture
def ask(
    engine: Callable[..., DuckDBBackend], make_query: Callable[..., Query]
) -> Callable[..., Awaitable[list[dict[str, Any]]]]:
    """Ask an engine over the data directory: the rows as the API would give them."""
    opened: list[DuckDBBackend] = []

    async def ask_engine(
        backend: DuckDBBackend | None = None, *, caller: Caller = LOCAL, **changes: Any
    ) -> list[dict[str, Any]]:
        if backend is None:
            backend = opened[0] if opened else engine()
            opened.append(backend)
        query = make_query(**changes)
        rows: list[dict[str, Any]] = (await backend.query(query, caller)).rows(query)
        return rows

    return ask_engine
