"""Every documented body has one answer on both engines: over the same Parquet files, loaded."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import settings

from gateway_metrics_mcp.backends.clickhouse.tables import create_table
from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.backends.sql.dialect import published_tables
from gateway_metrics_mcp.http.body import read_query
from gateway_metrics_mcp.query.catalog import Catalog
from gateway_metrics_mcp.query.model import LOCAL, Caller
from gateway_metrics_mcp.query.result import Result

QUERIES: Final = Path(__file__).parents[2] / "query"
BODIES: Final = [
    body
    for name in ("examples.json", "generated_bodies.json")
    for body in json.loads((QUERIES / name).read_text("utf-8"))
]
ASKED: Final = BODIES if settings().max_examples >= 500 else BODIES[::5]
"""All in `make verify`; the others are alike, a body for each column, field and operator."""
ROWS: Final = 500
"""A table: enough for several in nearly every group and bucket."""

SOMEONE: Final = Caller("analyst-1@example.com", teams=frozenset({"search", "team-alpha"}))
NULLS: Final = (None, None, "")


class Invention:
    """Rows in the windows of the bodies, with values that their filters name."""

    def __init__(self, catalog: Catalog, chance: Random) -> None:
        self._chance = chance
        self._windows = [
            (datetime.fromisoformat(start), datetime.fromisoformat(end))
            for start, end in sorted({(body["startTs"], body["endTs"]) for body in BODIES})
        ]
        self._asked: dict[tuple[str, str], list[Any]] = {}
        self._keys: dict[str, list[Any]] = {}
        for body in BODIES:
            query = read_query(body, catalog)
            datasource = catalog.datasources[query.datasource]
            for asked in query.filters:
                values = asked.value if isinstance(asked.value, tuple) else (asked.value,)
                if asked.metadata_key is not None:
                    self._keys.setdefault(asked.metadata_key, []).extend(values)
                    continue
                column = datasource.filters[asked.field_name].table_column
                self._asked.setdefault((datasource.table, column), []).extend(values)
        self._keys.setdefault("environment", []).append("production")

    def rows(self, table: str) -> list[dict[str, Any]]:
        columns = published_tables()[table]
        return [
            {column: self._cell(table, column, type_) for column, type_ in columns.items()}
            for _ in range(ROWS)
        ]

    def _cell(self, table: str, column: str, type_: str) -> Any:
        chance, asked = self._chance, self._asked.get((table, column), [])
        if type_ == "TIMESTAMPTZ":
            start, end = chance.choice(self._windows)
            return start + (end - start) * chance.random()
        if column == "CreatedBySubjectType":
            return chance.choice(["user", "user", "virtualaccount", None])
        if type_.startswith("Map"):
            return self._map(type_)
        if type_ == "Array(Text)":
            teams = [team for team in asked if isinstance(team, str)]
            return chance.choices([*teams, "search", "team-alpha"], k=chance.randrange(4))
        if chance.random() < 0.2:
            return None
        if type_ == "BOOLEAN":
            return chance.random() < 0.5
        if type_ == "TEXT":
            texts = [text for text in asked if isinstance(text, str)]
            return chance.choice([*texts, *(f"a {text} b" for text in texts), "x", "Ω", *NULLS])
        numbers = [n for n in asked if not isinstance(n, bool | str)]
        number = chance.choice([*numbers, chance.lognormvariate(5, 2), chance.randrange(1000)])
        if type_ == "DOUBLE PRECISION":
            return chance.choice([*[float(number)] * 9, math.nan])
        return int(number)

    def _map(self, type_: str) -> dict[str, Any] | None:
        if type_ != "Map(Text, Text)":
            return None
        some = [key for key in self._keys if self._chance.random() < 0.7]
        return {key: self._chance.choice([*self._keys[key], "other"]) for key in some}


@pytest.fixture(scope="module")
def directory(
    tmp_path_factory: pytest.TempPathFactory, write_rows: Callable[..., Path], catalog: Catalog
) -> Path:
    """Parquet of all five tables, two files each."""
    directory = tmp_path_factory.mktemp("parquet")
    invention = Invention(catalog, Random(7))  # noqa: S311 - no secret
    for table in published_tables():
        for name in ("first.parquet", "deeper/second.parquet"):
            write_rows(directory, invention.rows(table), table=table, name=name)
    return directory


@pytest.fixture(scope="module")
def embedded(
    directory: Path, catalog: Catalog, runner: asyncio.Runner
) -> Iterator[Callable[..., Result]]:
    backend = DuckDBBackend(directory, catalog)
    yield lambda query, caller: runner.run(backend.query(query, caller))
    runner.run(backend.aclose())


@pytest.fixture(scope="module")
def loaded(
    directory: Path,
    server: Client,
    open_backend: Callable[..., Any],
    runner: asyncio.Runner,
) -> Iterator[Callable[..., Result]]:
    """The tables as recommended, loaded as recommended."""
    server.command("CREATE DATABASE loaded")
    for table, columns in published_tables().items():
        server.command(create_table(f"loaded.{table}", columns))
        files = f"file('{directory}/{table}/**/*.parquet', Parquet)"
        files += f" WHERE NOT match(_path, '{table}/(.*/)?[._]')"
        server.command(f"INSERT INTO loaded.{table} SELECT * FROM {files}")  # noqa: S608 - ours
    backend = open_backend(database="loaded")
    yield lambda query, caller: runner.run(backend.query(query, caller))
    server.command("DROP DATABASE loaded")


@pytest.mark.parametrize(
    "caller", [pytest.param(LOCAL, marks=pytest.mark.thorough), SOMEONE], ids=["all", "own"]
)
def test_both_engines_answer_every_body_alike(
    embedded: Callable[..., Result],
    loaded: Callable[..., Result],
    assert_same: Callable[..., None],
    catalog: Catalog,
    caller: Caller,
) -> None:
    answered = 0
    for body in ASKED:
        query = read_query(body, catalog)
        expected = embedded(query, caller)
        try:
            assert_same(loaded(query, caller), expected, 1e-300)
        except AssertionError as error:
            raise AssertionError(f"{json.dumps(body)}: {error}") from error
        answered += any(expected.column("total"))
    assert answered >= len(ASKED) * (0.9 if caller is LOCAL else 0.7)
