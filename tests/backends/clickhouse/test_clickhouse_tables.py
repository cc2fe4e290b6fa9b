"""Tables as operators have them: the recommended ones, older ones, and those of many shards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest
from clickhouse_connect.driver.client import Client

from gateway_metrics_mcp.backends.clickhouse.backend import ClickHouseBackend
from gateway_metrics_mcp.backends.clickhouse.dialect import (
    ClickHouseDialect,
    WideClickHouseDialect,
)
from gateway_metrics_mcp.backends.clickhouse.tables import add_projections, create_table, fits
from gateway_metrics_mcp.backends.sql.compiler import compile_query, read_rows
from gateway_metrics_mcp.backends.sql.dialect import Layout, published_tables
from gateway_metrics_mcp.errors import EngineError, SettingsError, TooManyRowsError
from gateway_metrics_mcp.query.catalog import Catalog
from gateway_metrics_mcp.query.model import LOCAL, Caller, Query
from gateway_metrics_mcp.query.result import Result

Open = Callable[..., ClickHouseBackend]
Fill = Callable[..., None]
Make = Callable[..., Query]
Run = Callable[[str], None]

TABLE: Final = "gateway_model_metrics"
DOCUMENT: Final = Path(__file__).parents[3] / "docs/clickhouse.md"
HOSTILE: Final = (
    *("'", '"', "`", "\\", "\\'", "\\N", "\\0", "%", "_", "{p0:String}", "{p0}", "$1", "?", "NULL"),
    *("' OR 1=1 --", "'; DROP TABLE metrics.gateway_model_metrics; --", "/* */", "a\nb\tc\rd"),
    *("\x7f", "\ufeff", "\u2019", "\uff07", "😀", "\U0010ffff", "&a=b", "a;b"),
    *("--boundary\r\n", "' || currentUser() || '", "x" * 20_000),
)


@pytest.fixture
def database(server: Client) -> Iterator[Run]:
    """Run statements in a database `own`, which ends with the test."""
    server.command("CREATE DATABASE own")

    def run(statement: str) -> None:
        server.command(statement)

    yield run
    server.command("DROP DATABASE own")


def rows_of(result: Result, query: Query) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = result.rows(query)
    return rows


# --- what stands in a table ---


@pytest.mark.parametrize(("team", "found"), [("red", 1), ("gren", 0)])
async def test_a_look_for_one_row_stops_at_the_first(
    database: Run, open_backend: Open, make_query: Make, team: str, found: int
) -> None:
    columns = "CreatedAt DateTime, Teams Array(String)"
    database(f"CREATE TABLE own.{TABLE} ({columns}) ENGINE = Memory")
    rows = "'2026-07-10 12:00:00', ['red', 'blue'] FROM numbers(3)"
    database(f"INSERT INTO own.{TABLE} SELECT {rows}")
    query = make_query(filters=[("team", "ARRAY_HAS_ANY", [team])])
    query = query.model_copy(update={"finds_one": True})

    result = await open_backend(database="own").query(query, LOCAL)

    assert rows_of(result, query) == [{"total": found}]


async def test_columns_that_an_older_table_lacks_are_null(
    database: Run, open_backend: Open, make_query: Make
) -> None:
    database(f"CREATE TABLE own.{TABLE} (CreatedAt DateTime, ModelName String) ENGINE = Memory")
    database(f"INSERT INTO own.{TABLE} VALUES ('2026-07-10 12:00:00', 'gpt-4o')")  # noqa: S608 - ours
    aggregations = ["sum inputTokens", "p99 latencyMs", "avg costInUSD", "count team"]
    query = make_query(
        groupBy=["modelName", "team", "metadata.k", "userEmail", "virtualaccount"],
        aggregations=[*aggregations, "countDistinct team", "countDistinct outputTokens"],
        filters=[("isFailure", "EQUAL", True)],
    )
    unfiltered = query.model_copy(update={"filters": ()})
    backend = open_backend(database="own")

    assert rows_of(await backend.query(query, LOCAL), query) == []
    assert rows_of(await backend.query(unfiltered, LOCAL), query) == [
        {
            "modelName": "gpt-4o",
            "team": None,
            "metadata.k": None,
            "createdBySubjectSlug": None,
            "total": 1,
            "sumInputTokens": None,
            "p99LatencyMs": None,
            "avgCostInUSD": None,
            "countTeam": 0,
            "countDistinctTeam": 0,
            "countDistinctOutputTokens": 0,
        }
    ]
    assert (await backend.query(unfiltered, Caller("ann", teams=frozenset("a")))).points == ()


async def test_other_types_of_the_same_kind_are_read_as_the_published_ones(
    database: Run, open_backend: Open, make_query: Make
) -> None:
    database(
        f"CREATE TABLE own.{TABLE} (CreatedAt DateTime64(9, 'Asia/Kolkata'), ModelName String,"
        " InputTokens UInt64, LatencyMs Float32, Teams Array(Nullable(String)),"
        " Metadata Map(LowCardinality(String), Nullable(String))) ENGINE = Memory"
    )
    database(
        f"INSERT INTO own.{TABLE} VALUES"  # noqa: S608 - ours
        " (1783684800.123456789, 'a', 18446744073709551615, 0.5, ['x', NULL, 'x'], map('k', 'v')),"
        " (1783684800.123456789, 'b', 18446744073709551615, 0.5, [NULL], map('k', NULL))"
    )
    query = make_query(
        groupBy=["team", "metadata.k"],
        aggregations=["sum inputTokens", "avg inputTokens", "max latencyMs", "countDistinct team"],
        interval="1 second",
        filters=[("modelName", "STRING_NOT_CONTAINS", "c")],
    )

    rows = rows_of(await open_backend(database="own").query(query, LOCAL), query)

    both = {
        "startTimestamp": "2026-07-10T12:00:00.000Z",
        "endTimestamp": "2026-07-10T12:00:01.000Z",
        "total": 1,
        "sumInputTokens": 2**64 - 1,
        "avgInputTokens": 2.0**64,
        "maxLatencyMs": 0.5,
    }
    assert rows == [
        {**both, "team": "x", "metadata.k": "v", "countDistinctTeam": 1},
        {**both, "team": None, "metadata.k": None, "countDistinctTeam": 0},
    ]


@pytest.mark.parametrize(
    ("column", "type_"),
    [
        ("IsFailure", "String"),
        ("InputTokens", "String"),
        ("ModelName", "Float64"),
        ("ModelName", "Date"),
        ("ModelName", "SimpleAggregateFunction(anyLast, String)"),
        ("Teams", "Array(Float64)"),
        ("Metadata", "Array(String)"),
        ("Metadata", "Map(String, Float64)"),
        ("Metadata", "Tuple(String, String)"),
        ("Metadata", "Tuple(k String, n Float64)"),
        ("Metadata", "Array(Tuple(value String, key String))"),
        ("CreatedAt", "String"),
        ("CreatedAt", "UInt64"),
    ],
)
async def test_a_column_of_another_kind_is_refused_by_name_where_it_is_asked(
    database: Run, open_backend: Open, make_query: Make, column: str, type_: str
) -> None:
    created = "" if column == "CreatedAt" else "CreatedAt DateTime, "
    database(f"CREATE TABLE own.{TABLE} ({created}{column} {type_}) ENGINE = Memory")
    asked: dict[str, dict[str, Any]] = {
        "IsFailure": {"filters": [("isFailure", "EQUAL", True)]},
        "InputTokens": {"aggregations": ["sum inputTokens"]},
        "ModelName": {"groupBy": ["modelName"]},
        "Teams": {"groupBy": ["team"]},
        "Metadata": {"groupBy": ["metadata.k"]},
    }
    backend = open_backend(database="own")

    with pytest.raises(EngineError, match=rf"{column} of {TABLE} is of type") as caught:
        await backend.query(make_query(**asked.get(column, {})), LOCAL)

    assert type_ in str(caught.value)
    if column != "CreatedAt":
        assert rows_of(await backend.query(make_query(), LOCAL), make_query()) == [{"total": 0}]


async def test_a_missing_table_is_named(
    database: Run, open_backend: Open, make_query: Make
) -> None:
    del database
    with pytest.raises(EngineError, match=f"no table {TABLE}"):
        await open_backend(database="own").query(make_query(), LOCAL)
    with pytest.raises(EngineError, match=f"no table {TABLE}"):
        await open_backend(database="nowhere").query(make_query(), LOCAL)


async def test_any_text_stays_a_value(
    open_backend: Open, fill: Fill, make_query: Make, at: Callable[[str], Any]
) -> None:
    noon = at("2026-07-10T12:00:00+00:00")
    columns = ["CreatedAt", "ModelName", "Teams", "Metadata"]
    rows = [
        {"CreatedAt": noon, "ModelName": text, "Teams": [text], "Metadata": {text: text}}
        for text in HOSTILE
    ]
    fill(TABLE, columns, rows)
    backend = open_backend()
    for text in HOSTILE:
        key = f"metadata.{text}"
        for field, operator, value in (
            ("modelName", "EQUAL", text),
            ("modelName", "IN", [text, text]),
            ("team", "ARRAY_HAS_ANY", [text]),
            (key, "EQUAL", text),
        ):
            query = make_query(filters=[(field, operator, value)], groupBy=["modelName", key])
            (row,) = rows_of(await backend.query(query, LOCAL), query)
            assert row == {"modelName": text, key: text, "total": 1}
        owner = Caller("nobody", teams=frozenset({text}))
        assert (await backend.query(make_query(), owner)).column("total") == (1,)


async def test_more_rows_than_the_cap_are_counted_and_refused(
    open_backend: Open, fill: Fill, make_query: Make, at: Callable[[str], Any]
) -> None:
    noon = at("2026-07-10T12:00:00+00:00")
    rows = [{"CreatedAt": noon, "ModelName": str(n), "Teams": ["a", "b"]} for n in range(30)]
    fill(TABLE, ["CreatedAt", "ModelName", "Teams"], rows)
    query = make_query(groupBy=["modelName", "team"], interval="1 day")

    with pytest.raises(TooManyRowsError, match="would have 60 rows, the limit is 59"):
        await open_backend(row_cap=59).query(query, LOCAL)
    assert len((await open_backend(row_cap=60).query(query, LOCAL)).points) == 60


async def test_a_profile_that_allows_partial_answers_is_refused(
    server: Client, open_backend: Open, make_query: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixed = type(server.server_settings["limit"])("timeout_overflow_mode", "break", readonly=1)
    monkeypatch.setitem(server.server_settings, "timeout_overflow_mode", fixed)

    with pytest.raises(SettingsError, match="fixes timeout_overflow_mode to break"):
        await open_backend().query(make_query(), LOCAL)


# --- many shards ---


class Sharded(ClickHouseDialect):
    """The table on two shards, each of which has a part of its rows."""

    def rows(self, source: str, condition: str, *, by_team: bool, by_key: bool) -> str:
        database, table = source.replace('"', "").split(".")
        part = "cityHash64(CreatedAt, ifNull(CreatedBySubjectSlug, '')) % 2 + 1 = shardNum()"
        remote = f"remote('127.0.0.1,127.0.0.1', {database}, {table})"
        return super().rows(remote, f"{part} AND {condition}", by_team=by_team, by_key=by_key)


class WideSharded(Sharded, WideClickHouseDialect):
    """The same for doubles of any size."""


def test_two_shards_answer_as_one_server(
    server: Client,
    fill: Fill,
    evaluate: Callable[..., Result],
    make_example: Callable[[bytes], Any],
    assert_same: Callable[..., None],
    catalog: Catalog,
) -> None:
    chance = Random(5)  # noqa: S311 - no secret
    dialect, layout = WideSharded(), Layout.of(catalog)
    for _ in range(60):
        example = make_example(chance.randbytes(24))
        fill(example.table, example.columns, example.rows)
        statement = compile_query(
            example.query,
            example.caller,
            source=dialect.source("metrics", example.table),
            dialect=dialect,
            layout=layout,
            row_cap=1000,
        )
        parameters = {name: dialect.parameter(v) for name, v in statement.parameters.items()}
        rows = server.query(statement.text, parameters).result_rows
        got = read_rows(rows, statement, example.query, catalog)
        expected = evaluate(example.query, example.caller, example.rows, catalog)
        assert_same(got, expected, example.tolerance)


def test_each_shard_aggregates_its_own_rows(
    server: Client, make_query: Make, catalog: Catalog
) -> None:
    dialect = Sharded()
    statement = compile_query(
        make_query(
            groupBy=["team", "modelName"],
            aggregations=["p99 latencyMs", "countDistinct team", "sum inputTokens"],
            interval="1 hour",
        ),
        LOCAL,
        source=dialect.source("metrics", TABLE),
        dialect=dialect,
        layout=Layout.of(catalog),
        row_cap=1000,
    )
    parameters = {name: dialect.parameter(v) for name, v in statement.parameters.items()}

    plan = server.query(f"EXPLAIN {statement.text}", parameters).result_rows

    steps = [row[0].strip("│├└─ ") for row in plan]
    assert steps.count("MergingAggregated") == 1
    assert steps.count("Aggregating") == 2


# --- the recommended tables ---


def test_a_window_reads_its_days_alone(
    server: Client, database: Run, make_query: Make, catalog: Catalog
) -> None:
    database(create_table(f"own.{TABLE}", published_tables()[TABLE]))
    moments = "toDateTime64('2026-07-01 00:00:00', 6, 'UTC') + toIntervalMinute(number)"
    database(f"INSERT INTO own.{TABLE} (CreatedAt) SELECT {moments} FROM numbers(31 * 1440)")  # noqa: S608 - ours
    dialect = ClickHouseDialect()
    statement = compile_query(
        make_query(startTs="2026-07-10T12:00:00Z", endTs="2026-07-11T12:00:00Z", groupBy=["team"]),
        LOCAL,
        source=dialect.source("own", TABLE),
        dialect=dialect,
        layout=Layout.of(catalog),
        row_cap=1000,
    )
    parameters = {name: dialect.parameter(v) for name, v in statement.parameters.items()}

    plan = server.query(f"EXPLAIN indexes = 1 {statement.text}", parameters).result_rows

    assert "Parts: 2/31" in [row[0].strip("│├└─ ") for row in plan]


@pytest.mark.parametrize("table", published_tables())
def test_the_recommended_types_fit_the_published_ones(
    server: Client, database: Run, table: str
) -> None:
    columns = published_tables()[table]
    database(create_table(f"own.{table}", columns))

    stored = server.query(f"DESCRIBE TABLE own.{table}").result_rows

    assert [row[0] for row in stored] == [*columns]
    assert [row for row in stored if not fits(row[1], columns[row[0]])] == []


def test_the_document_shows_the_recommended_table() -> None:
    text = DOCUMENT.read_text("utf-8")

    assert create_table("gateway_mcp_metrics", published_tables()["gateway_mcp_metrics"]) in text
    added = add_projections(
        "gateway_mcp_metrics", published_tables()["gateway_mcp_metrics"], ["environment"]
    )
    assert added.partition("count()")[0] + "count(), ..." in text
    assert (
        "CREATE TABLE gateway_mcp_metrics AS gateway_mcp_metrics_local\n"
        "ENGINE = Distributed(metrics, currentDatabase(), gateway_mcp_metrics_local, rand())"
    ) in text


def test_questions_of_any_size_are_answered(
    open_backend: Open, make_query: Make, runner: asyncio.Runner
) -> None:
    many = [f"model-{n}" for n in range(2000)]
    query = make_query(filters=[("modelName", "IN", many), ("team", "ARRAY_HAS_NONE", many[:500])])

    assert runner.run(open_backend().query(query, LOCAL)).column("total") == (0,)
