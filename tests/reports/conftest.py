"""A world of a few rows: real Parquet, the real engine, an MCP client; and the truth by hand."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest
from mcp.client import Client
from mcp_types import TextContent

from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.query.model import Caller, Query
from gateway_metrics_mcp.query.result import Result
from gateway_metrics_mcp.query.vocabulary import DatasourceName
from gateway_metrics_mcp.rendering.answer import write_answer
from gateway_metrics_mcp.rendering.report_document import describe_report
from gateway_metrics_mcp.reports.executor import QueryExecutor
from gateway_metrics_mcp.reports.request import ParserOptions, read_distribution
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.settings import Settings

NOW: Final = datetime(2026, 7, 15, 9, 30, tzinfo=UTC)
BUDGET: Final = 12_000

Row = dict[str, Any]
Change = Callable[[Query, Result], Result]
Groups = dict[tuple[Any, ...], list[Row]]

COLUMNS: Final = {
    "modelName": "ModelName",
    "requestType": "RequestType",
    "userEmail": "CreatedBySubjectSlug",
    "virtualaccount": "CreatedBySubjectSlug",
    "createdBySubjectType": "CreatedBySubjectType",
}
KINDS: Final = {"userEmail": "user", "virtualaccount": "virtualaccount"}


def _load_writer() -> Callable[..., Path]:
    """`write_rows` of the engine's own tests: the tests are no package."""
    path = Path(__file__).parents[1] / "backends" / "parquet.py"
    spec = importlib.util.spec_from_file_location("tests_computing_parquet", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    write: Callable[..., Path] = module.write_rows
    return write


@dataclass
class Recorder:
    """The backend protocol's seam: keeps what passes, and changes answers where a test says so."""

    backend: DuckDBBackend
    sent: list[Query] = field(default_factory=list)
    callers: list[Caller] = field(default_factory=list)
    listings: int = 0
    change: Change | None = None
    is_by_rulings: bool = False
    """Whether ALL may be added up from the groups, as from an engine, or is asked."""

    @property
    def description(self) -> str:
        return self.backend.description

    @property
    def calls(self) -> int:
        return len(self.sent) + self.listings

    async def query(self, query: Query, caller: Caller) -> Result:
        self.sent.append(query)
        self.callers.append(caller)
        result = await self.backend.query(query, caller)
        return result if self.change is None else self.change(query, result)

    def explain(self, query: Query, caller: Caller) -> str:
        return self.backend.explain(query, caller)

    async def metadata_keys(
        self, datasource: DatasourceName, start: datetime, end: datetime, caller: Caller
    ) -> Result | None:
        self.listings += 1
        return await self.backend.metadata_keys(datasource, start, end, caller)

    async def aclose(self) -> None:
        """The engine is the world's to close."""


class World:
    """A data directory whose rows are replaced at will, and a server over it."""

    def __init__(self, directory: Path, runner: asyncio.Runner) -> None:
        self.directory = directory
        self.runner = runner
        self.engine = DuckDBBackend(directory, load_catalog(), threads=2)
        self.recorder = Recorder(self.engine)
        self._write = _load_writer()
        self._numbers = count()
        self._written: list[Path] = []

    def fill(self, rows: Sequence[Row], table: str = "gateway_model_metrics") -> None:
        """Replace all rows; each file's name is new, so that nothing cached can answer."""
        for path in self._written:
            with suppress(FileNotFoundError):
                path.unlink()
        name = f"{next(self._numbers)}.parquet"
        self._written = [self._write(self.directory, rows, table=table, name=name)]

    def call(
        self,
        arguments: Mapping[str, Any],
        *,
        tool: str | None = None,
        now: datetime = NOW,
        change: Change | None = None,
        catalog: Path | None = None,
        is_by_rulings: bool = False,
        **settings: Any,
    ) -> tuple[str, bool]:
        """The text of the tool that fits, through an MCP client, and whether it is an error."""
        if tool is None:
            is_series = "interval" in arguments
            tool = "query_timeseries" if is_series else "query_distribution"
        given = {name: value for name, value in arguments.items() if value is not None}
        engine = self.engine
        if catalog is not None:
            engine = DuckDBBackend(self.directory, load_catalog(catalog), threads=1)
        self.recorder = Recorder(engine, change=change, is_by_rulings=is_by_rulings)
        options = Settings(**{"budget": BUDGET, "catalog": catalog, **settings})
        server = build_server(options, backend=self.recorder, clock=lambda: now)

        async def call() -> tuple[str, bool]:
            async with Client(server) as client:
                result = await client.call_tool(tool, given)
            (block,) = result.content
            assert isinstance(block, TextContent)
            return block.text, bool(result.is_error)

        answer = self.runner.run(call())
        if engine is not self.engine:
            self.runner.run(engine.aclose())
        return answer

    def ask(self, arguments: Mapping[str, Any], **options: Any) -> str:
        """The text of an answer that is no error."""
        text, is_error = self.call(arguments, **options)
        assert not is_error, text
        return text

    def refusal(self, arguments: Mapping[str, Any], **options: Any) -> str:
        """The text of an error."""
        text, is_error = self.call(arguments, **options)
        assert is_error, text
        return text

    def read(self, arguments: Mapping[str, Any], **options: Any) -> dict[str, Any]:
        """The answer in JSON, whole."""
        body: dict[str, Any] = json.loads(self.ask({**arguments, "format": "json"}, **options))
        assert body["isComplete"], json.dumps(body)
        return body

    def ask_as(self, caller: Caller, arguments: Mapping[str, Any]) -> str:
        """The answer to a caller who may not see everything."""
        self.recorder = Recorder(self.engine)
        question = read_distribution(arguments, ParserOptions(load_catalog()), NOW)
        asker = QueryExecutor(self.recorder, caller, load_catalog(), NOW)
        report = self.runner.run(asker.run(question))
        return write_answer(describe_report(report), BUDGET).text


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One event loop and one engine for a module: examples are drawn outside of both."""
    with asyncio.Runner() as runner:
        world = World(tmp_path_factory.mktemp("world"), runner)
        yield world
        runner.run(world.engine.aclose())


# --- the truth ---


def keys_of(row: Row, group_by: Sequence[str]) -> list[tuple[Any, ...]]:
    """The groups that a row counts in: none of the other subject kind, one per team (R5, R7)."""
    kinds = {KINDS[name] for name in group_by if name in KINDS}
    if len(kinds) == 1 and row.get("CreatedBySubjectType") not in kinds:
        return []
    teams = list(dict.fromkeys(row.get("Teams") or [])) or [None]
    found = []
    for team in teams if "team" in group_by else [None]:
        keys: dict[str, Any] = {}
        for name in group_by:
            if name == "team":
                keys[name] = team
            elif name.startswith("metadata."):
                keys[name] = (row.get("Metadata") or {}).get(name.removeprefix("metadata."))
            else:
                keys[COLUMNS[name]] = row.get(COLUMNS[name])
        found.append(tuple(keys.values()))
    return found


def group(rows: Sequence[Row], group_by: Sequence[str]) -> Groups:
    """The rows of each group."""
    groups: Groups = {}
    for row in rows:
        for keys in keys_of(row, group_by):
            groups.setdefault(keys, []).append(row)
    return groups


@pytest.fixture(scope="session")
def group_rows() -> Callable[[Sequence[Row], Sequence[str]], Groups]:
    """Group rows by group-by fields, as the rulings say."""
    return group
