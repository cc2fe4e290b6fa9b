"""The API over a little Parquet: in memory, on loopback and as a process."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import anyio
import anyio.abc
import httpx
import pytest
from starlette.applications import Starlette
from tests import loopback

import gateway_metrics_mcp
from gateway_metrics_mcp.auth.policies import OpenPolicy, TokenFilePolicy
from gateway_metrics_mcp.auth.tokens import OperatorFile, Tokens, make_token
from gateway_metrics_mcp.backends.base import Engine
from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.http.api import MetricsApi, build_api_app
from gateway_metrics_mcp.query.catalog import Catalog
from gateway_metrics_mcp.query.vocabulary import API_PATH as PATH
from gateway_metrics_mcp.settings import Settings

NOW: Final = datetime(2026, 7, 15, 9, 30, tzinfo=UTC)
TESTS: Final = Path(__file__).parents[2]
SOURCES: Final = Path(gateway_metrics_mcp.__file__).parents[1]

ROWS: Final[Sequence[dict[str, Any]]] = [
    {
        "ModelName": model,
        "InputTokens": tokens,
        "CostInUSD": tokens / 1000,
        "LatencyMs": latency,
        "CreatedBySubjectSlug": slug,
        "CreatedBySubjectType": kind,
        "Teams": teams,
        "Metadata": {"environment": "production"} if tokens > 100 else None,
    }
    for model, tokens, latency, slug, kind, teams in (
        ("gpt-4o", 100, 200.0, "ada@example.com", "user", ["search"]),
        ("gpt-4o", 300, 400.0, "bob@example.com", "user", ["search", "data"]),
        ("claude", 50, 900.0, "ada@example.com", "user", []),
        ("claude", 70, 950.0, "ada@example.com", "virtualaccount", None),
        ("claude", 80, 100.0, "ci-bot", "virtualaccount", ["data"]),
    )
]


def load_module(path: str) -> ModuleType:
    """A module of another folder of tests: the tests are no package."""
    name = f"tests_api_{path.replace('/', '_').removesuffix('.py')}"
    spec = importlib.util.spec_from_file_location(name, TESTS / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def write_rows() -> Callable[..., Path]:
    """`write_rows(directory, rows, table=..., name=...)`."""
    write: Callable[..., Path] = load_module("backends/parquet.py").write_rows
    return write


@pytest.fixture(scope="session")
def write_select() -> Callable[..., Path]:
    """`write_select(directory, select, table=..., name=...)`."""
    write: Callable[..., Path] = load_module("backends/parquet.py").write_select
    return write


@pytest.fixture(scope="session")
def make_example(catalog: Catalog) -> Callable[[bytes], Any]:
    """A question, its caller and the rows of its table, out of 24 bytes of chance."""
    generation = load_module("reference/generation.py")
    return lambda choices: generation.make_example(choices, catalog)


@pytest.fixture(scope="session")
def bodies() -> list[dict[str, Any]]:
    """The documented request bodies."""
    read: list[dict[str, Any]] = json.loads((TESTS / "query/examples.json").read_text("utf-8"))
    return read


@pytest.fixture(scope="session")
def generated_bodies() -> list[dict[str, Any]]:
    """A body and more for every column, field and operator."""
    text = (TESTS / "query/generated_bodies.json").read_text("utf-8")
    read: list[dict[str, Any]] = json.loads(text)
    return read


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory, write_rows: Callable[..., Path]) -> Path:
    """Five model calls of July 2026, by two users and two virtual accounts."""
    directory = tmp_path_factory.mktemp("parquet")
    write_rows(directory, ROWS)
    return directory


@pytest.fixture(scope="session")
def long_directory(
    tmp_path_factory: pytest.TempPathFactory, write_select: Callable[..., Path]
) -> Path:
    """Rows of which a question can take a minute."""
    directory = tmp_path_factory.mktemp("long")
    select = (
        'SELECT TIMESTAMPTZ \'2026-07-10 12:00:00Z\' AS "CreatedAt", i::VARCHAR AS "ModelName",'
        ' random() AS "LatencyMs" FROM range(2000000) AS r(i)'
    )
    write_select(directory, select)
    return directory


def ask_july(**changes: Any) -> dict[str, Any]:
    """July 2026 of modelMetrics, with the changes."""
    return {
        "startTs": "2026-07-01T00:00:00Z",
        "endTs": "2026-08-01T00:00:00Z",
        "datasource": "modelMetrics",
        "type": "distribution",
        **changes,
    }


@pytest.fixture(scope="session")
def july() -> Callable[..., dict[str, Any]]:
    """Build a body over July 2026 of modelMetrics."""
    return ask_july


@pytest.fixture(scope="session")
def read_error() -> Callable[[Any], dict[str, Any]]:
    """The body of an error, whose shape is checked."""

    def read_error(response: Any) -> dict[str, Any]:
        assert response.headers["content-type"] == "application/json"
        body: dict[str, Any] = response.json()
        assert list(body) == ["statusCode", "message", "code", "details"]
        assert body["statusCode"] == response.status_code
        assert isinstance(body["message"], str)
        assert body["message"]
        assert isinstance(body["code"], str)
        assert all(isinstance(detail, str) for detail in body["details"])
        return body

    return read_error


Issue = Callable[..., str]


class Book(OperatorFile[Tokens]):
    """Tokens that tests issue, without a file."""

    def __init__(self) -> None:
        self.current = Tokens()

    def issue(
        self,
        subject: str = "ada@example.com",
        subject_type: Any = "user",
        teams: Sequence[str] = (),
        *,
        is_tenant_admin: bool = False,
        expires: datetime | None = None,
    ) -> str:
        token, entry = make_token(
            subject, subject_type, teams, is_tenant_admin=is_tenant_admin, expires=expires
        )
        self.current = Tokens(tokens=(*self.current.tokens, entry))
        return token


@pytest.fixture
def book() -> Book:
    """A book of tokens; empty, it lets nobody in."""
    return Book()


def build_api(backend: Engine, book: Book | None = None, **options: Any) -> Starlette:
    """The API over an engine, for the tokens of a book or open to all; `options` are settings."""
    settings = Settings(**options)
    api = MetricsApi(settings, backend=backend, clock=lambda: NOW)
    policy = OpenPolicy() if book is None else TokenFilePolicy(book)
    return build_api_app(api, settings, policy)


@dataclass
class Asking:
    """A client of one API."""

    client: httpx.AsyncClient

    async def post(
        self, body: object = None, *, token: str | None = None, **headers: str
    ) -> httpx.Response:
        """Ask; a body that is no text is sent as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"content-type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent["authorization"] = f"Bearer {token}"
        return await self.client.post(PATH, content=content, headers=sent)

    async def rows(self, body: object, *, token: str | None = None) -> list[dict[str, Any]]:
        """The data points of an answer that has to be good."""
        response = await self.post(body, token=token)
        assert response.status_code == 200, response.text
        rows: list[dict[str, Any]] = response.json()["data"]["dataPoints"]
        return rows


Serve = Callable[..., Asking]


@pytest.fixture
async def serve(directory: Path, catalog: Catalog) -> AsyncIterator[Serve]:
    """Build an API over an engine, or the backend given: its client, in memory."""
    async with anyio.create_task_group() as group:
        clients: list[httpx.AsyncClient] = []
        backends: list[Engine] = []

        def build(
            book: Book | None = None,
            *,
            backend: Engine | None = None,
            at: Path = directory,
            **options: Any,
        ) -> Asking:
            if backend is None:
                backend = DuckDBBackend(at, catalog, threads=1)
            backends.append(backend)
            app = build_api(backend, book, **options)
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")
            clients.append(client)
            return Asking(client)

        yield build
        group.cancel_scope.cancel()
    for client in clients:
        await client.aclose()
    for backend in backends:
        await backend.aclose()


Listen = Callable[..., AbstractAsyncContextManager[int]]


@pytest.fixture
def listen(directory: Path, catalog: Catalog) -> Listen:
    """Serve an API over an engine, or the backend given, on loopback: its port."""

    @asynccontextmanager
    async def listen(
        book: Book | None = None,
        *,
        backend: Engine | None = None,
        at: Path = directory,
        **options: Any,
    ) -> AsyncIterator[int]:
        backend = backend or DuckDBBackend(at, catalog)
        async with loopback.listen(build_api(backend, book, **options)) as port:
            yield port

    return listen


@dataclass
class Exchange:
    """A connection on which bytes are sent as they are."""

    stream: anyio.abc.SocketStream

    async def send(self, text: str | bytes) -> None:
        await self.stream.send(text.encode() if isinstance(text, str) else text)

    async def read_until(self, text: str) -> str:
        """All up to the text and a little more."""
        read = ""
        while text not in read:
            read += (await self.stream.receive()).decode()
        return read

    async def read_to_end(self) -> str:
        """All until the server closes."""
        parts = []
        try:
            while True:
                parts.append(await self.stream.receive())
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return b"".join(parts).decode()


@pytest.fixture(scope="session")
def connect() -> Callable[[int], AbstractAsyncContextManager[Exchange]]:
    """A bare connection to a port; the block has a minute."""

    @asynccontextmanager
    async def connect(port: int) -> AsyncIterator[Exchange]:
        with anyio.fail_after(60):
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                yield Exchange(stream)

    return connect


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """All that a process of ours is given."""
    home = str(tmp_path_factory.mktemp("home"))
    return {"PYTHONPATH": str(SOURCES), "PATH": os.environ["PATH"], "HOME": home}


@dataclass
class Process:
    """A server as a process: where it listens, and all it wrote."""

    process: anyio.abc.Process
    url: str = ""
    said: str = ""

    async def wait_for(self, text: str) -> None:
        """Until it has written the text to stderr."""
        assert self.process.stderr is not None
        while text not in self.said:
            self.said += (await self.process.stderr.receive()).decode()


@pytest.fixture(scope="session")
def run_api(
    environment: dict[str, str], directory: Path, forked: tuple[str, ...]
) -> Callable[..., AbstractAsyncContextManager[Process]]:
    """`gateway-metrics-mcp api` with these flags, as a process of its own."""

    @asynccontextmanager
    async def run(*flags: str, program: Sequence[str] = forked) -> AsyncIterator[Process]:
        command = [*program, "api", "--port", "0", "--backend", str(directory), *flags]
        with anyio.fail_after(60):
            async with await anyio.open_process(command, env=environment) as process:
                running = Process(process)
                await running.wait_for("listening at ")
                await running.wait_for(PATH)
                running.url = running.said.partition("listening at ")[2].partition(PATH)[0]
                yield running
                process.terminate()
                assert process.stderr is not None
                async for part in process.stderr:
                    running.said += part.decode()
                await process.wait()

    return run
