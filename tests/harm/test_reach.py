"""Nothing that is asked chooses a host or a file; the engine reaches its directory alone."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

import duckdb
import pytest

from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.server.tools import TOOLS

WEEK: Final = {"startTs": "2026-07-08", "endTs": "2026-07-15"}
SECRET: Final = "hunter2-outside"  # noqa: S105 - planted outside the data directory
PLACES: Final = (
    "/etc/passwd",
    "../../../../etc/passwd",
    "{outside}/secret.txt",
    "{outside}/secret.parquet",
    "{outside}/*",
    "{data}/../secret.parquet",
    "file:///etc/passwd",
    "file://{outside}/secret.txt",
    "http://127.0.0.1:{port}/secret",
    "http://169.254.169.254/latest/meta-data/",
    "https://evil.example/x.parquet",
    "s3://bucket/key.parquet",
    "hf://datasets/x/y.csv",
    "\\\\\\\\evil\\\\share",
    "clickhouse://127.0.0.1:{port}/x",
    "duckdb:{outside}/other.db",
    "read_csv('{outside}/secret.txt')",
    "read_parquet('{outside}/secret.parquet')",
    "(SELECT content FROM read_text('{outside}/secret.txt'))",
    "glob('{outside}/*')",
    "getenv('HOME')",
    "${{jndi:ldap://127.0.0.1:{port}/a}}",
    "@{outside}/secret.txt",
    "~/.ssh/id_rsa",
    "%2e%2e%2fetc%2fpasswd",
    "/proc/self/environ",
    "demo:7",
)
NAMES: Final = (
    *("datasource", "aggregations", "groupBy", "filters", "startTs", "endTs", "timezone"),
    *("compareTo", "orderBy", "limit", "offset", "format", "interval", "field", "search"),
    *("backend", "catalog", "config", "host"),
)

Call = Callable[[str, dict[str, Any]], Awaitable[tuple[str, bool]]]
Opened = list[tuple[str, object]]


class Watch:
    """What Python opens or connects to while it is on; hooks cannot be taken off again."""

    def __init__(self) -> None:
        self.seen: Opened | None = None
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[object, ...]) -> None:
        watched = ("open", "socket.connect", "socket.getaddrinfo", "os.listdir", "subprocess.Popen")
        if self.seen is not None and event in watched:
            self.seen.append((event, arguments[1] if event == "socket.connect" else arguments[0]))


@pytest.fixture(scope="session")
def watch() -> Watch:
    return Watch()


@pytest.fixture
def opened(watch: Watch) -> Iterator[Opened]:
    watch.seen = []
    yield watch.seen
    watch.seen = None


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("outside")
    (directory / "secret.txt").write_text(SECRET, "utf-8")
    duckdb.execute(f"COPY (SELECT '{SECRET}' AS ModelName) TO '{directory}/secret.parquet'")
    return directory


@pytest.fixture
async def lure() -> AsyncIterator[tuple[int, list[int]]]:
    """A port, and a list that grows with each connection to it."""
    came: list[int] = []

    async def count(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(1)
        writer.close()

    server = await asyncio.start_server(count, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1], came
    server.close()
    await server.wait_closed()


def shapes(name: str, text: str) -> Iterator[object]:
    """The text where the argument takes text, and as a member of what it takes else."""
    yield text
    yield [text]
    if name == "aggregations":
        yield [f"sum {text}"]
        yield [{"type": "sum", "column": text}]
    if name == "groupBy":
        yield [f"metadata.{text}"]
    if name == "field":
        yield f"metadata.{text}"
    if name == "filters":
        for field in ("modelName", f"metadata.{text}", text):
            yield [{"fieldName": field, "operator": "IN", "value": [text]}]


@pytest.mark.parametrize(
    "tool",
    [
        pytest.param(name, marks=pytest.mark.thorough if name == "query_timeseries" else ())
        for name in TOOLS
    ],
)
async def test_no_argument_names_a_place(
    tool: str,
    hostile: Path,
    outside: Path,
    serve: Callable[..., Any],
    lure: tuple[int, list[int]],
    opened: Opened,
) -> None:
    port, came = lure
    answered = 0
    async with serve(hostile) as call:
        await call(tool, {"datasource": "modelMetrics", "field": "team"} | WEEK)
        opened.clear()
        for place in PLACES:
            text = place.format(outside=outside, data=hostile, port=port)
            for name in NAMES:
                for value in shapes(name, text):
                    base = {} if tool == "list_fields" else WEEK
                    answer, is_error = await call(tool, {**base, name: value})
                    assert SECRET not in answer
                    assert "root:" not in answer
                    answered += not is_error
        places = [where for event, where in opened if not is_expected(event, where, hostile)]

    assert answered > 10 or tool == "list_fields"
    assert (came, places) == ([], [])


def is_expected(event: str, where: object, data: Path) -> bool:
    """The data's own directory, zones of time, and what Python imports late."""
    text = os.fsdecode(where) if isinstance(where, str | bytes | os.PathLike) else str(where)
    if event == "os.listdir":
        return text.startswith(str(data))
    return event == "open" and (
        text.startswith((str(data), sys.prefix, sys.base_prefix))
        or text.endswith((".py", ".pyc", ".md"))
        or isinstance(where, int)
    )


@pytest.fixture(scope="module")
def linked(
    tmp_path_factory: pytest.TempPathFactory, outside: Path, plant: Callable[..., None]
) -> Path:
    """A data directory with links that lead out of it."""
    data = tmp_path_factory.mktemp("linked") / "data"
    data.mkdir()
    plant(data, ["gpt-4o"])
    (data / "link.parquet").symlink_to(outside / "secret.parquet")
    (data / "linked").symlink_to(outside)
    return data


@pytest.fixture(scope="module")
async def engine(linked: Path) -> AsyncIterator[DuckDBBackend]:
    """One for all statements: none of them may leave it another."""
    async with aclosing(DuckDBBackend(linked, load_catalog())) as engine:
        yield engine


def list_all(*directories: Path) -> list[Path]:
    return sorted(path for directory in directories for path in directory.rglob("*"))


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM read_csv('/etc/passwd', header=false)",
        "SELECT * FROM read_parquet('{outside}/secret.parquet')",
        "SELECT * FROM read_parquet(['{data}/*/*.parquet', '{outside}/secret.parquet'])",
        "SELECT * FROM read_parquet('{data}/../*/secret.parquet')",
        "SELECT * FROM parquet_metadata('{outside}/secret.parquet')",
        "SELECT * FROM parquet_schema('{outside}/secret.parquet')",
        "SELECT * FROM sniff_csv('/etc/passwd')",
        "SELECT * FROM read_parquet('{data}/link.parquet')",
        "SELECT * FROM read_text('{data}/linked/secret.txt')",
        "SELECT * FROM read_parquet('http://127.0.0.1:1/x.parquet')",
        "SELECT * FROM read_parquet('s3://bucket/x.parquet')",
        "LOAD httpfs",
        "INSTALL httpfs FROM 'http://127.0.0.1:1'",
        "FORCE INSTALL httpfs",
        "ATTACH '{outside}/other.db' AS other",
        "ATTACH 'http://127.0.0.1:1/x.db'",
        "COPY (SELECT 1) TO '{outside}/out.parquet'",
        "COPY (SELECT 1) TO '{data}/../out.csv'",
        "COPY (SELECT 1) TO '{data}/linked/out.csv'",
        "COPY (SELECT 1) TO '/dev/stdout'",
        "EXPORT DATABASE '{outside}/dump'",
        "IMPORT DATABASE '{outside}'",
        "SET enable_external_access = true",
        "SET allowed_paths = ['/etc/passwd']",
        "SET allowed_directories = ['/']",
        "SET lock_configuration = false",
        "SET home_directory = '/'",
        "SET extension_directory = '{outside}'",
        "SET custom_extension_repository = 'http://127.0.0.1:1'",
        "SET allow_unsigned_extensions = true",
        "SET autoinstall_known_extensions = true",
        "SET log_query_path = '{outside}/log'",
        "SET profiling_output = '{outside}/profile'",
        "CALL enable_logging(storage = 'file', storage_path = '{outside}')",
        "CREATE PERSISTENT SECRET s (TYPE http)",
        "SELECT getenv('PATH')",
        "SELECT * FROM duckdb_secrets() WHERE read_text('/etc/passwd') IS NULL",
    ],
)
async def test_the_engine_reaches_nothing_outside(
    engine: DuckDBBackend, linked: Path, outside: Path, statement: str
) -> None:
    before = list_all(linked.parent, outside)
    cursor = engine._connection.cursor()  # noqa: SLF001 - no public road leads here: that is the point

    with pytest.raises(duckdb.Error):
        cursor.execute(statement.format(data=linked, outside=outside)).fetchall()

    cursor.close()
    assert list_all(linked.parent, outside) == before
