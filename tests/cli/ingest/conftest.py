"""Imports through the command, and questions to the engine over what they made."""

from __future__ import annotations

import io
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pytest

from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.backends.duckdb.files import find_files
from gateway_metrics_mcp.cli.ingest.command import main
from gateway_metrics_mcp.cli.integrity import Comparison, Fault
from gateway_metrics_mcp.http.body import read_query
from gateway_metrics_mcp.query.catalog import Catalog
from gateway_metrics_mcp.query.model import LOCAL

FIRST = datetime(1, 1, 2, tzinfo=UTC)
LAST = datetime(9999, 12, 30, tzinfo=UTC)
Row = Mapping[str, Any]
Keys = tuple[Any, ...]


@dataclass(frozen=True)
class Done:
    """A run of the command: its exit code and what it said."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Data:
    """A data directory to import into."""

    path: Path
    run: Callable[[Sequence[str]], Done]

    def bring(self, *arguments: str | Path) -> Done:
        """`gateway-metrics-mcp import ARGUMENTS --into PATH`."""
        return self.run([*map(str, arguments), "--into", str(self.path)])

    def rows(self, columns: str = '"SpanId"', table: str = "gateway_model_metrics") -> list[Any]:
        """What is in, in order of time; without files nothing is."""
        return read_rows(self.path, columns, table)

    def files(self) -> dict[str, bytes]:
        """Every file that is there, but for the lock."""
        found = (path for path in self.path.rglob("*") if path.is_file() and path.name != "lock")
        return {str(path.relative_to(self.path)): path.read_bytes() for path in found}

    def faults(self) -> list[Fault]:
        """The files that are not as the records of runs have them."""
        comparison = Comparison(self.path)
        comparison.compare(io.StringIO())
        return comparison.faults


def read_rows(directory: Path, columns: str, table: str = "gateway_model_metrics") -> list[Any]:
    """Of what counts."""
    files = sorted(find_files(directory / table, FIRST, LAST).paths)
    if not files:
        return []
    source = "read_parquet($files, hive_partitioning = false, union_by_name = true)"
    query = f'SELECT {columns} FROM {source} ORDER BY "CreatedAt", "SpanId"'  # noqa: S608 - the tests' own
    return open_engine().execute(query, {"files": files}).fetchall()


@cache
def open_engine() -> duckdb.DuckDBPyConnection:
    """One engine for all the questions of a run: opening one takes longer than a question."""
    engine = duckdb.connect(config={"threads": 1})
    engine.execute("SET TimeZone = 'UTC'")
    return engine


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[[Sequence[str]], Done]:
    def start(argv: Sequence[str]) -> Done:
        try:
            code = main(argv)
        except SystemExit as error:
            code = int(str(error.code))
        said = capsys.readouterr()
        return Done(code, said.out, said.err)

    return start


@pytest.fixture
def data(tmp_path: Path, run: Callable[[Sequence[str]], Done]) -> Data:
    return Data(tmp_path / "data", run)


@pytest.fixture
def csv(tmp_path: Path) -> Callable[..., Path]:
    def write(text: str, name: str = "calls.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode())
        return path

    return write


@pytest.fixture
def jsonl(tmp_path: Path) -> Callable[..., Path]:
    def write(rows: Sequence[object], name: str = "calls.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
        return path

    return write


@pytest.fixture
def ask(data: Data, catalog: Catalog) -> Callable[..., Awaitable[dict[Keys, Keys]]]:
    """Sums of tokens and of cost, by whatever; the keys of each row and its values."""

    async def answer(*group_by: str, **more: Any) -> dict[Keys, Keys]:
        body = {
            "startTs": "2026-07-01T00:00:00Z",
            "endTs": "2026-08-01T00:00:00Z",
            "datasource": "modelMetrics",
            "type": "distribution",
            "groupBy": list(group_by),
            "aggregations": [
                {"type": "sum", "column": "inputTokens"},
                {"type": "sum", "column": "outputTokens"},
                {"type": "sum", "column": "costInUSD"},
            ],
            **more,
        }
        backend = DuckDBBackend(data.path, catalog)
        result = await backend.query(read_query(body, catalog), LOCAL)
        await backend.aclose()
        starts = [() if point.start is None else (point.start,) for point in result.points]
        points = zip(starts, result.points, strict=True)
        return {(*start, *point.keys): point.values for start, point in points}

    return answer
