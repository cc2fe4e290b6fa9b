"""The load that docs/clickhouse.md documents, over files of other writers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import duckdb
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from gateway_metrics_mcp.backends.clickhouse.backend import ClickHouseBackend
from gateway_metrics_mcp.backends.clickhouse.tables import create_table
from gateway_metrics_mcp.backends.sql.dialect import published_tables
from gateway_metrics_mcp.query.model import LOCAL, Query

TABLE: Final = "gateway_model_metrics"
DOCUMENT: Final = (Path(__file__).parents[3] / "docs/clickhouse.md").read_text("utf-8")
CALL: Final = (
    "'2026-07-10 23:59:59.999999999'::TIMESTAMP_NS AS createdat, encode('modèle') AS modelname,"
    " ['a', NULL, '']::VARCHAR[] AS teams, map(['k', 'n', 'e'], ['v', NULL, '']) AS metadata,"
    " 0.25::DECIMAL(18, 9) AS costinusd, 7 AS InputTokens"
)
"""A call as others write it: lower case, nanoseconds, bytes, nulls in a list and in a map."""

Load = Callable[[str], None]
Make = Callable[..., Query]
Open = Callable[..., ClickHouseBackend]


def find(pattern: str) -> str:
    """What the document has once."""
    (found,) = re.findall(pattern, DOCUMENT, re.DOTALL)
    return str(found)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file's path, in a folder that is named for another model."""
    path = tmp_path / TABLE / "ModelName=of-the-folder" / "part-0.parquet"
    path.parent.mkdir(parents=True)
    return path


@pytest.fixture
def own(server: Client) -> Iterator[Client]:
    """A client with the recommended table in a database `own`, which ends with the test."""
    server.command("CREATE DATABASE own")
    server.command(create_table(f"own.{TABLE}", published_tables()[TABLE]))
    yield server
    server.command("DROP DATABASE own")


@pytest.fixture(params=["file", "s3", "clickhouse-client"])
def load(request: pytest.FixtureRequest, own: Client, file: Path) -> Load:
    """Load a SELECT's rows by a documented statement, with the file in the bucket's place."""

    def run(select: str) -> None:
        duckdb.sql(f"COPY (SELECT {select}) TO '{file}' (FORMAT parquet)")
        if request.param == "clickhouse-client":
            listed = find(rf"--query 'INSERT INTO {TABLE} SETTINGS(.*?)FORMAT Parquet'")
            settings = dict(pair.split("=") for pair in re.sub(r"\s", "", listed).split(","))
            block = file.read_bytes()
            own.raw_insert(f"own.{TABLE}", insert_block=block, settings=settings, fmt="Parquet")
            return
        source = rf"{request.param}\('[^)]*\)"
        statement = find(rf"INSERT INTO {TABLE}\nSELECT \* FROM {source}[^;]*;").rstrip(";")
        here = f"file('{file.parents[1]}/**/*.parquet', Parquet)"
        statement = re.sub(source, lambda _: here, statement)
        own.command(statement.replace(TABLE, f"own.{TABLE}", 1))

    return run


async def test_a_file_of_another_writer_is_loaded_as_it_is_meant(
    load: Load, open_backend: Open, make_query: Make
) -> None:
    load(CALL)
    query = make_query(
        startTs="2026-07-10T00:00:00Z",
        endTs="2026-07-11T00:00:00Z",
        groupBy=["modelName", "team", "metadata.k", "metadata.n", "metadata.e"],
        aggregations=["sum costInUSD", "sum inputTokens", "countDistinct team"],
    )
    keys = {"modelName": "modèle", "metadata.k": "v", "metadata.n": None, "metadata.e": ""}
    values = {"sumCostInUSD": 0.25, "sumInputTokens": 7}

    rows = (await open_backend(database="own").query(query, LOCAL)).rows(query)

    assert [{**row, "team": None, "countDistinctTeam": None} for row in rows] == [
        {**keys, "team": None, "total": 1, **values, "countDistinctTeam": None} for _ in "ab"
    ]
    assert sorted(row["team"] for row in rows) == ["", "a"]  # the null is nobody's team (R5)


@pytest.mark.parametrize(
    "time",
    [
        "'2026-07-10 12:00:00'::TIMESTAMP AS created_at",
        "NULL::TIMESTAMP AS CreatedAt",
        "1783684800000000 AS CreatedAt",
    ],
)
def test_rows_whose_time_is_not_found_are_refused(load: Load, own: Client, time: str) -> None:
    with pytest.raises(ClickHouseError, match="CreatedAt_is_given"):
        load(time)
    assert own.query(f"SELECT count() FROM own.{TABLE}").result_rows == [(0,)]  # noqa: S608 - ours


@pytest.mark.parametrize(
    "column",
    [
        "'NaN'::DOUBLE AS InputTokens",
        "{'k': 'v'} AS Metadata",
        "[{'key': 'k', 'value': 'v'}] AS Metadata",
        """'{"k": "v"}' AS Metadata""",
    ],
)
def test_what_the_document_says_is_refused_is_refused(load: Load, column: str) -> None:
    with pytest.raises(ClickHouseError):
        load(f"'2026-07-10 12:00:00'::TIMESTAMP AS CreatedAt, {column}")


def test_fractions_of_tokens_are_cut_as_the_document_says(load: Load, own: Client) -> None:
    load("'2026-07-10 12:00:00'::TIMESTAMP AS CreatedAt, 1.5::DOUBLE AS InputTokens")
    assert own.query(f"SELECT InputTokens FROM own.{TABLE}").result_rows == [(1,)]  # noqa: S608 - ours


async def test_tables_of_an_earlier_version_work_and_keep_nulls_once_they_are_altered(
    server: Client, own: Client, open_backend: Open, make_query: Make
) -> None:
    own.command(f"DROP TABLE own.{TABLE}")
    listed = "CreatedAt DateTime64(6, 'UTC'), Teams Array(LowCardinality(String)),"
    own.command(
        f"CREATE TABLE own.{TABLE} ({listed} Metadata Map(LowCardinality(String), String))"
        " ENGINE = MergeTree PARTITION BY toYYYYMMDD(CreatedAt) ORDER BY CreatedAt"
    )
    call = f"INSERT INTO own.{TABLE} VALUES ('2026-07-10 12:00:00', %s, %s)"  # noqa: S608 - ours
    own.command(call % ("['a']", "{'k': 'v'}"))
    query = make_query(groupBy=["team", "metadata.k"])
    backend = open_backend(database="own")
    before = (await backend.query(query, LOCAL)).rows(query)

    for statement in find(rf"(ALTER TABLE {TABLE}\n    MODIFY.*?;)\n```").split(";"):
        if statement.strip():
            server.command(statement.replace(TABLE, f"own.{TABLE}"))
    own.command(call % ("[NULL]", "{'k': NULL}"))
    after = (await open_backend(database="own").query(query, LOCAL)).rows(query)

    assert before == [{"team": "a", "metadata.k": "v", "total": 1}]
    assert after == [*before, {"team": None, "metadata.k": None, "total": 1}]
    with pytest.raises(ClickHouseError, match="CreatedAt_is_given"):
        own.command(f"INSERT INTO own.{TABLE} (Teams) VALUES (['a'])")  # noqa: S608 - ours


@pytest.mark.parametrize(
    "name", ["_hour-dims-1f.parquet", "_replaced/rows.parquet", ".x/a.parquet"]
)
def test_what_import_writes_beside_the_rows_does_not_count_again(
    load: Load, own: Client, file: Path, name: str
) -> None:
    beside = file.parent / name
    beside.parent.mkdir(exist_ok=True)
    duckdb.sql(f"COPY (SELECT {CALL}) TO '{beside}' (FORMAT parquet)")

    load(CALL)

    assert own.query(f"SELECT count() FROM own.{TABLE}").result_rows == [(1,)]  # noqa: S608 - ours
