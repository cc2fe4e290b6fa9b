"""Rows full of hostile text, and clients of a server over them."""

from __future__ import annotations

import importlib.util
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest
from mcp.client import Client
from mcp_types import CallToolResult, TextContent

from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.backends.sql.dialect import published_tables
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.settings import Settings

NOW: Final = datetime(2026, 7, 15, 9, 30, tzinfo=UTC)
HERE: Final = Path(__file__).parent
CORPUS: Final[tuple[str, ...]] = tuple(json.loads((HERE / "corpus.json").read_text("utf-8")))

_DAYS: Final = (datetime(2026, 7, 3, 12, tzinfo=UTC), datetime(2026, 7, 10, 12, tzinfo=UTC))
_NO_NAMES: Final = frozenset(("CreatedBySubjectType", "SpanId", "TraceId"))
_NUMBERS: Final = ("BIGINT", "DOUBLE PRECISION", "INTEGER")

Call = Callable[[str, dict[str, Any]], Awaitable[tuple[str, bool]]]
Serve = Callable[..., AbstractAsyncContextManager[Call]]
Plant = Callable[[Path, Sequence[str]], None]


def _load(path: Path) -> ModuleType:
    """A module of the tests, which are no package."""
    spec = importlib.util.spec_from_file_location(f"tests_harm_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_PARQUET: Final = _load(HERE.parent / "backends" / "parquet.py")


def _row(table: str, text: str, number: int, day: datetime) -> dict[str, Any]:
    """A row with the text in every place where a third party can write one."""
    row: dict[str, Any] = {"CreatedAt": day + timedelta(minutes=number)}
    for column, kind in published_tables()[table].items():
        if kind == "TEXT" and column not in _NO_NAMES:
            row[column] = text
        elif kind in _NUMBERS:
            row[column] = number % 7
    row["CreatedBySubjectType"] = "virtualaccount" if number % 5 == 0 else "user"
    # Without a name of a virtual model half of the rows: these are the models' own.
    if "VirtualModelName" in row and number % 2:
        row["VirtualModelName"] = None
    return row | {"Teams": [text, "team"], "Metadata": {text or "key": text, "env": text}}


def _plant(directory: Path, texts: Sequence[str]) -> None:
    """Rows of each text in all tables: in the earlier week, the later one, or both."""
    for table in published_tables():
        rows = [
            _row(table, text, 2 * number + side, day)
            for number, text in enumerate(texts)
            for side, day in enumerate(_DAYS)
            if number % 3 != side
            for side in (0, 1)
        ]
        _PARQUET.write_rows(directory, rows, table=table)


@asynccontextmanager
async def _serve(
    directory: Path,
    *,
    mode: str = "auto",
    backend: Callable[[DuckDBBackend], Any] = lambda engine: engine,
    **settings: Any,
) -> AsyncIterator[Call]:
    read = Settings(**settings)
    engine = DuckDBBackend(directory, load_catalog(read.catalog))
    server = build_server(read, backend=backend(engine), clock=lambda: NOW)
    async with aclosing(engine), Client(server, mode=mode, cache=None) as client:

        async def call(tool: str, arguments: dict[str, Any]) -> tuple[str, bool]:
            return read_text(await client.call_tool(tool, arguments))

        yield call


def read_text(result: CallToolResult) -> tuple[str, bool]:
    (block,) = result.content
    assert isinstance(block, TextContent)
    assert result.structured_content is None
    return block.text, bool(result.is_error)


@pytest.fixture(scope="session")
def corpus() -> tuple[str, ...]:
    return CORPUS


@pytest.fixture(scope="session")
def plant() -> Plant:
    """Write rows with these texts everywhere into a directory."""
    return _plant


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with the whole corpus in every table."""
    directory = tmp_path_factory.mktemp("hostile")
    _plant(directory, CORPUS)
    return directory


@pytest.fixture(scope="session")
def serve() -> Serve:
    """`serve(directory, mode=..., **settings)`: call the tools of a server over it."""
    return _serve


class _Keeper(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def _listening() -> Iterator[list[logging.LogRecord]]:
    """All that is logged meanwhile, at every level."""
    handler = _Keeper()
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield handler.records
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


@pytest.fixture(scope="session")
def listening() -> Callable[[], Any]:
    """Collect what is logged."""
    return _listening
