"""What all tests share: data, commands, and servers in memory, over sockets and as processes."""

from __future__ import annotations

import fcntl
import gc
import os
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import certifi
import duckdb
import pytest
from hypothesis import HealthCheck, settings
from mcp.client import Client
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters
from mcp_types import CallToolResult, TextContent
from starlette.applications import Starlette
from tests import forked as forking
from tests import loopback
from tests.backends.demo.reading import make_demo_data
from tests.forked import ADDRESS

import gateway_metrics_mcp
from gateway_metrics_mcp.backends.base import Backend
from gateway_metrics_mcp.backends.demo.backend import DEFAULT_SEED
from gateway_metrics_mcp.cli.main import main
from gateway_metrics_mcp.http.transports import build_http_app, build_sse_app
from gateway_metrics_mcp.query.catalog import Catalog, load_catalog
from gateway_metrics_mcp.query.model import Caller, Query
from gateway_metrics_mcp.query.result import DataPoint, Result, key_names_of, value_names_of
from gateway_metrics_mcp.query.vocabulary import DatasourceName
from gateway_metrics_mcp.server.app import MetricsServer, build_server
from gateway_metrics_mcp.settings import Settings

# Machines differ too much for deadlines, and for how fast examples are made. The usual examples
# are the same in each run, so that a change alone can fail it; `make verify` takes the thorough
# profile, and new ones each time. What is compared with a reference takes more than others there,
# and says how many.
_EITHER: Final = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("usual", _EITHER, max_examples=20, derandomize=True)
settings.register_profile("thorough", _EITHER, max_examples=500, print_blob=True)
settings.load_profile("usual")

# What a shell starts in the background ignores interrupts, and so do its children: some tests
# interrupt processes that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

NOW: Final = datetime(2026, 7, 15, 9, 30, tzinfo=UTC)
"""A Wednesday; tests ask their questions at this instant."""
SOURCES: Final = Path(gateway_metrics_mcp.__file__).parents[1]


# Whoever runs the tests may have a gateway set up, or a proxy: none of it is theirs.
for _name in [*os.environ]:
    if _name.startswith(("GATEWAY_METRICS_", "TFY_")) or _name.lower().endswith("_proxy"):
        del os.environ[_name]


@pytest.fixture(scope="session", autouse=True)
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One certificate authority is trusted, not the machine's: each HTTP client would read them.

    That takes 20 ms of a processor; hardly a client of the tests uses TLS.
    """
    end = "-----END CERTIFICATE-----\n"
    file = tmp_path_factory.mktemp("authorities") / "one.pem"
    file.write_text(Path(certifi.where()).read_text("ascii").partition(end)[0] + end, "ascii")
    default = ssl.get_default_verify_paths()
    paths = default._replace(openssl_cafile=str(file), openssl_capath=str(file.with_name("none")))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
            patch.delenv(name, raising=False)
        patch.setattr(certifi, "where", lambda: str(file))
        patch.setattr(ssl, "get_default_verify_paths", lambda: paths)
        yield


def pytest_configure(config: pytest.Config) -> None:
    """Start what forks commands of ours: one for all processes of the suite."""
    if ADDRESS in os.environ:
        return
    folder = tempfile.mkdtemp()
    given = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    os.environ[ADDRESS] = f"{folder}/socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.environ[ADDRESS])
        listener.listen(64)
        process = subprocess.Popen(  # noqa: S603 - this Python, our code
            [sys.executable, forking.__file__, "--serve", str(listener.fileno())],
            env={**given, "PYTHONPATH": str(SOURCES), "HOME": folder},
            stdin=subprocess.PIPE,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )

    def end() -> None:
        del os.environ[ADDRESS]
        process.communicate()
        shutil.rmtree(folder)

    config.add_cleanup(end)


@pytest.fixture(scope="session")
def forked() -> tuple[str, ...]:
    """As `python -m gateway_metrics_mcp`, but for the imports: see tests/forked.py."""
    return forking.command()


@pytest.fixture(scope="session")
def forked_bin(forked: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a `gateway-metrics-mcp` that does not import."""
    folder = tmp_path_factory.mktemp("bin")
    program = folder / "gateway-metrics-mcp"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(forked)} "$@"\n')
    program.chmod(0o755)
    return folder


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Collections skip what was imported and collected, and come seldom.

    It all stays until the end, and looking through it at each collection takes a thirtieth of the
    suite's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)


Once = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """`once(name, make)`: a directory that one process of the suite fills for all of them."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent

    def once(name: str, make: Callable[[Path], object]) -> Path:
        directory = root / name
        with (root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not directory.exists():
                directory.mkdir()
                make(directory)
        return directory

    return once


@pytest.fixture(scope="session")
def cache_home(once: Once) -> Path:
    """A home for caches, with the data of `demo:` at NOW: making them takes some seconds."""

    def make(home: Path) -> None:
        make_demo_data(home / "gateway-metrics-mcp", seed=DEFAULT_SEED, end_day=NOW.date())

    return once("caches", make)


@pytest.fixture(scope="session")
def demo_cache(cache_home: Path) -> Path:
    """Where `demo:` finds its data of NOW."""
    return cache_home / "gateway-metrics-mcp"


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return load_catalog()


Run = Callable[..., tuple[int, str, str]]
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run a command of ours to its end: exit code, output, errors.

    In this process, with these variables alone: starting one takes a second of a processor.
    """

    def run(*arguments: str, **variables: str) -> tuple[int, str, str]:
        handlers = {number: signal.getsignal(number) for number in _SIGNALS}
        with monkeypatch.context() as patch:
            for name in [*os.environ]:
                patch.delenv(name)
            for name, text in {"HOME": str(tmp_path), **variables}.items():
                patch.setenv(name, text)
            patch.setattr("gateway_metrics_mcp.cli.parsers.configure_logging", lambda *_: None)
            capsys.readouterr()
            try:
                code: int | str | None = main(arguments)
            except SystemExit as end:
                code = end.code
        for number, handler in handlers.items():
            signal.signal(number, handler)
        gc.unfreeze()
        gc.enable()
        assert isinstance(code, int)
        return (code, *capsys.readouterr())

    return run


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


@pytest.fixture(scope="session")
def listen() -> Listen:
    """Serve an app on loopback; its port."""
    return loopback.listen


@pytest.fixture(scope="session")
def connect(directory: Path, environment: dict[str, str], forked: tuple[str, ...]) -> Connect:
    """A client of a new server over the directory, by transport and mode."""
    settings = Settings(backend=str(directory))

    @asynccontextmanager
    async def connect(transport: str, mode: str) -> AsyncIterator[Client]:
        if transport == "stdio":
            command, *arguments = [*forked, "--backend", str(directory)]
            process = StdioServerParameters(command=command, args=arguments, env=environment)
            async with Client(process, mode=mode) as client:
                yield client
            return
        server = build_server(settings)
        if transport == "memory":
            async with Client(server, mode=mode) as client:
                yield client
            return
        build = build_http_app if transport == "http" else build_sse_app
        async with loopback.listen(build(server, settings)) as port:
            url = f"http://127.0.0.1:{port}"
            where = f"{url}/mcp" if transport == "http" else sse_client(f"{url}/sse")
            async with Client(where, mode=mode) as client:
                yield client

    return connect


class _Recorder:
    """A backend that answers every query with the same rows, and keeps what it was sent."""

    description = "a recorder"
    is_by_rulings = False

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
