"""Tables that others made: their names, types and engines are read as meant, or refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from clickhouse_connect.driver.client import Client

from gateway_metrics_mcp.backends.clickhouse.backend import ClickHouseBackend
from gateway_metrics_mcp.errors import EngineError, TooManyRowsError
from gateway_metrics_mcp.query.model import LOCAL, Caller, Query
from gateway_metrics_mcp.query.result import Result

Open = Callable[..., ClickHouseBackend]
Make = Callable[..., Query]
Run = Callable[[str], None]
Insert = Callable[..., None]
Answer = Callable[..., Any]

TABLE: Final = "gateway_model_metrics"
NOON: Final = "'2026-07-10 12:00:00'"
MODEL: Final = {"groupBy": ["modelName"]}
COST: Final = {"aggregations": ["sum costInUSD"]}
TOKENS: Final = {"aggregations": ["sum inputTokens"]}


@pytest.fixture
def database(server: Client) -> Iterator[Run]:
    """Run statements in a database `own`, which ends with the test; `TABLE_` is its table."""
    server.command("CREATE DATABASE own")

    def run(statement: str) -> None:
        server.command(statement.replace("TABLE_", f"own.{TABLE}"))

    yield run
    server.command("DROP DATABASE own")


@pytest.fixture
def insert(database: Run) -> Insert:
    """Insert what a statement has after the table's name."""
    return lambda rows, table=TABLE: database(f"INSERT INTO own.{table} {rows}")


@pytest.fixture
def answer(open_backend: Open, make_query: Make) -> Answer:
    """Ask of the table in `own`: the result and its rows."""

    async def ask(**changes: Any) -> tuple[Result, list[dict[str, Any]]]:
        query = make_query(**changes)
        result = await open_backend(database="own").query(query, LOCAL)
        return result, result.rows(query)

    return ask


# --- rows without a time ---


async def test_rows_without_a_time_are_said_with_each_answer(
    database: Run, insert: Insert, answer: Answer
) -> None:
    database("CREATE TABLE TABLE_ (CreatedAt Nullable(DateTime)) ENGINE = Memory")
    insert(f"VALUES (NULL), ({NOON}), (NULL)")

    for _ in range(2):
        result, rows = await answer()
        assert rows == [{"total": 1}]
        assert [note for note in result.notes if "no time" in note] == [
            "2 rows have no time in CreatedAt: they are in no window, and no question counts them"
        ]


async def test_a_table_whose_times_are_all_there_has_no_such_note(
    database: Run, insert: Insert, answer: Answer
) -> None:
    database("CREATE TABLE TABLE_ (CreatedAt Nullable(DateTime)) ENGINE = Memory")
    insert(f"VALUES ({NOON})")

    assert [note for note in (await answer())[0].notes if "no time" in note] == []


# --- names ---


@pytest.mark.parametrize(
    ("column", "alias"),
    [("created_at", 'DateTime ALIAS "created_at"'), ("ts", '<its type> ALIAS "its name"')],
)
async def test_a_table_without_the_time_is_refused_with_its_columns_and_the_way_out(
    database: Run, insert: Insert, answer: Answer, column: str, alias: str
) -> None:
    columns = f"{column} DateTime, model_name String"
    database(f"CREATE TABLE TABLE_ ({columns}) ENGINE = MergeTree ORDER BY {column}")
    insert(f"VALUES ({NOON}, 'a'), ({NOON}, 'b'), ({NOON}, 'c')")

    with pytest.raises(EngineError) as caught:
        await answer()

    said = str(caught.value)
    assert f"{TABLE} has no column CreatedAt, so its 3 rows are in no window" in said
    assert f"Its columns: {column}, model_name." in said
    way_out = f'ALTER TABLE {TABLE} ADD COLUMN "CreatedAt" {alias}'
    assert way_out in said
    if column == "created_at":
        database(way_out.replace(TABLE, "TABLE_"))
        assert (await answer())[1] == [{"total": 3}]


async def test_columns_are_found_in_any_case(database: Run, insert: Insert, answer: Answer) -> None:
    columns = (
        "createdat DateTime, MODELNAME String, CostInUsd Float64, metadata Map(String, String)"
    )
    database(f"CREATE TABLE TABLE_ ({columns}) ENGINE = Memory")
    insert(f"VALUES ({NOON}, 'gpt-4o', 0.5, map('Env', 'p', 'env', 'q'))")

    _, rows = await answer(
        groupBy=["modelName", "metadata.env"],
        aggregations=["sum costInUSD"],
        filters=[("modelName", "EQUAL", "gpt-4o"), ("metadata.Env", "EQUAL", "p")],
    )

    assert rows == [{"modelName": "gpt-4o", "metadata.env": "q", "total": 1, "sumCostInUSD": 0.5}]


async def test_columns_that_differ_by_case_alone_are_refused(database: Run, answer: Answer) -> None:
    columns = "CreatedAt DateTime, modelname String, MODELNAME String, costinusd String"
    database(f"CREATE TABLE TABLE_ ({columns}) ENGINE = Memory")

    with pytest.raises(EngineError) as caught:
        await answer(groupBy=["modelName"], aggregations=["sum costInUSD"])

    assert "has no column ModelName, but modelname and MODELNAME" in str(caught.value)
    assert "the column costinusd of" in str(caught.value)  # all that is wrong, at once


async def test_a_column_of_a_similar_name_is_named_where_the_published_one_reads_as_null(
    database: Run, insert: Insert, answer: Answer, open_backend: Open, make_query: Make
) -> None:
    columns = "CreatedAt DateTime, model_name String, Metadata Nested(key String, value String)"
    database(f"CREATE TABLE TABLE_ ({columns}) ENGINE = Memory")
    insert(f"VALUES ({NOON}, 'gpt-4o', [], [])")

    result, rows = await answer(groupBy=["modelName"])

    assert rows == [{"modelName": None, "total": 1}]
    assert result.notes == (
        f"{TABLE} has no column ModelName, which reads as null; it has model_name",
    )
    assert (await answer(groupBy=["team"]))[0].notes == ()
    database('ALTER TABLE TABLE_ ADD COLUMN "cost-in USD" Float64, ADD COLUMN cost_in_usd Float64')
    (cost,) = (await open_backend(database="own").query(make_query(**COST), LOCAL)).notes
    assert cost.endswith(
        "no column CostInUSD, which reads as null; it has cost-in USD, cost_in_usd"
    )
    (nested,) = (await answer(groupBy=["metadata.k"]))[0].notes
    assert nested.endswith(
        "no column Metadata, which reads as null; it has Metadata.key, Metadata.value"
    )


# --- types ---


@pytest.mark.parametrize(
    ("column", "value", "changes", "expected"),
    [
        ("ModelName FixedString(8)", "'é4'", MODEL, "é4"),
        ("ModelName Enum8('a' = 1, 'b' = 2)", "'b'", MODEL, "b"),
        ("ModelName LowCardinality(Nullable(FixedString(3)))", "NULL", MODEL, None),
        ("ModelName Nullable(Int32)", "42", MODEL, "42"),
        ("Teams Array(Enum8('a' = 1))", "['a']", {"groupBy": ["team"]}, "a"),
        ("Teams Array(LowCardinality(Nullable(String)))", "[NULL]", {"groupBy": ["team"]}, None),
        ("Teams String", """'["a", null]'""", {"groupBy": ["team"]}, "a"),
        ("Teams Nullable(String)", "NULL", {"groupBy": ["team"]}, None),
        ("IsFailure UInt8", "1", {"filters": [("isFailure", "EQUAL", True)]}, 1),
        ("IsFailure Nullable(Int8)", "NULL", {"filters": [("isFailure", "EQUAL", False)]}, 0),
        ("InputTokens Float64", "2.5", TOKENS, 3),
        ("InputTokens Float64", "-3.49", TOKENS, -3),
        ("InputTokens Decimal(9, 1)", "2.5", TOKENS, 3),
        ("InputTokens Nullable(Float32)", "nan", TOKENS, None),
        ("InputTokens Decimal(38, 0)", "7", TOKENS, 7),
        ("CostInUSD Decimal(18, 9)", "0.3", COST, 0.3),
        ("CostInUSD Decimal(38, 30)", "'12345.6789'", COST, 12345.6789),
        ("CostInUSD Decimal(9, 1)", "0.3", {"aggregations": ["avg costInUSD"]}, 0.3),
        ("CostInUSD Nullable(Decimal(76, 3))", "NULL", COST, None),
        ("CostInUSD Decimal(9, 1)", "0.3", {"aggregations": ["p50 costInUSD"]}, 0.3),
        ("CostInUSD Decimal(9, 1)", "0.3", {"aggregations": ["max costInUSD"]}, 0.3),
        ("CostInUSD Decimal(9, 1)", "0.3", {"aggregations": ["countDistinct costInUSD"]}, 1),
    ],
)  # fmt: skip
async def test_types_whose_values_are_the_published_ones_are_read(
    database: Run,
    insert: Insert,
    answer: Answer,
    column: str,
    value: str,
    changes: dict[str, Any],
    expected: Any,
) -> None:
    database(f"CREATE TABLE TABLE_ (CreatedAt DateTime, {column}) ENGINE = Memory")
    insert(f"SELECT {NOON}, {value} ")

    _, rows = await answer(**changes)

    first = {"groupBy": 0, "aggregations": 1, "filters": 0}[next(iter(changes))]
    assert [[*row.values()][first] for row in rows] == [expected]


@pytest.mark.parametrize(
    ("type_", "value"), [("Float64", "1e300"), ("Float32", "-1e19"), ("Decimal(38, 0)", "'1e37'")]
)
async def test_a_number_beyond_64_bits_is_refused_as_on_duckdb(
    database: Run, insert: Insert, answer: Answer, type_: str, value: str
) -> None:
    database(f"CREATE TABLE TABLE_ (CreatedAt DateTime, InputTokens {type_}) ENGINE = Memory")
    insert(f"VALUES ({NOON}, {value})")

    with pytest.raises(EngineError, match="is not of the published type"):
        await answer(**TOKENS)


@pytest.mark.parametrize("type_", ["Decimal(9, 1)", "Decimal(38, 18)", "Decimal(76, 30)"])
async def test_a_decimal_compares_as_the_nearest_double(
    database: Run, insert: Insert, answer: Answer, type_: str
) -> None:
    database(f"CREATE TABLE TABLE_ (CreatedAt DateTime, CostInUSD {type_}) ENGINE = Memory")
    insert(f"VALUES ({NOON}, '0.1'), ({NOON}, '0.3')")

    for operator, value, found in (
        ("BETWEEN", [0.1, 0.1], 0.1),
        ("BETWEEN", [0.3, 1], 0.3),
        ("LESS_THAN", 0.3, 0.1),
    ):
        filters = [("costInUSD", operator, value)]
        _, rows = await answer(filters=filters, aggregations=["p50 costInUSD"])
        assert rows == [{"total": 1, "p50CostInUSD": found}]


async def test_decimal_costs_are_added_exactly_and_compare_with_numbers(
    database: Run, insert: Insert, answer: Answer
) -> None:
    database("CREATE TABLE TABLE_ (CreatedAt DateTime, CostInUSD Decimal(38, 20)) ENGINE = Memory")
    insert("VALUES " + f"({NOON}, '0.1'), " * 1000 + f"({NOON}, '0.2')")
    insert(f"VALUES ({NOON}, '123456789.123456789')")

    _, rows = await answer(aggregations=["sum costInUSD"])
    _, cheap = await answer(filters=[("costInUSD", "LESS_THAN_EQUAL", 0.1)])

    assert rows[0]["sumCostInUSD"] == 123456889.323456789
    assert cheap == [{"total": 1000}]


@pytest.mark.parametrize(
    ("type_", "value", "expected"),
    [
        ("String", """'{"k": "v", "n": null, "deep": {"a": 1}}'""", ["deep", "k"]),
        ("LowCardinality(Nullable(String))", "NULL", []),
        ("String", "''", []),
        ("JSON", """'{"k": "v", "n": null, "a.b": "c"}'""", ["a.b", "k"]),
        ("Tuple(k String, K Nullable(String), n Int64)", "('v', NULL, 2)", ["k", "n"]),
        ("Tuple(`a b` String, k String)", "('x', 'v')", ["a b", "k"]),
        ("Tuple(`it's, (\\\\` String, k String)", "('x', 'v')", ["it's, (\\", "k"]),
        ("Array(Tuple(key String, value Nullable(String)))", "[('k', 'v'), ('n', NULL)]", ["k"]),
        ("Map(LowCardinality(String), Int64)", "map('k', 2)", ["k"]),
        ("Map(String, LowCardinality(Nullable(String)))", "map('k', 'v', 'n', NULL)", ["k"]),
    ],
)
async def test_metadata_of_other_types_has_its_keys_and_values(
    database: Run,
    insert: Insert,
    answer: Answer,
    open_backend: Open,
    make_query: Make,
    type_: str,
    value: str,
    expected: list[str],
) -> None:
    database(f"CREATE TABLE TABLE_ (CreatedAt DateTime, Metadata {type_}) ENGINE = Memory")
    insert(f"VALUES ({NOON}, {value})")
    window = make_query()
    backend = open_backend(database="own")

    _, rows = await answer(groupBy=["metadata.k", "metadata.n", "metadata.a.b"])
    keys = await backend.metadata_keys("modelMetrics", window.start_ts, window.end_ts, LOCAL)

    assert keys is not None
    assert sorted(str(point.keys[0]) for point in keys.points) == expected
    assert rows[0]["metadata.k"] == (
        ("2" if "Int64)" in type_[:40] else "v") if "k" in expected else None
    )
    assert rows[0]["metadata.n"] == ("2" if "n" in expected else None)
    assert rows[0]["metadata.a.b"] == ("c" if "a.b" in expected else None)


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("Metadata", "env=p"),
        ("Metadata", "[1]"),
        ("Metadata", '{"k": "v"'),
        ("Metadata", '"k"'),
        ("Teams", "red,blue"),
        ("Teams", '{"k": "v"}'),
    ],
)
async def test_text_that_is_not_the_columns_json_is_refused_where_it_is_asked(
    database: Run, insert: Insert, answer: Answer, column: str, text: str
) -> None:
    database(f"CREATE TABLE TABLE_ (CreatedAt DateTime, {column} String) ENGINE = Memory")
    insert(f"VALUES ({NOON}, '{text}')")

    with pytest.raises(EngineError, match=f"a row of {TABLE} has text that is not the JSON"):
        await answer(groupBy=["metadata.k" if column == "Metadata" else "team"])
    assert (await answer())[1] == [{"total": 1}]


@pytest.mark.parametrize(
    ("type_", "value", "days"),
    [
        ("DateTime64(9)", "'2026-07-10 23:59:59.999999999'", 1),
        ("DateTime64(9, 'Asia/Kolkata')", "toDateTime64('2026-07-11 00:00:00', 9, 'UTC')", 0),
        (
            "DateTime64(3, 'Asia/Kolkata')",
            "toDateTime64('2026-07-10 23:59:59.999', 3, 'UTC')",
            True,
        ),
        ("DateTime('America/New_York')", "toDateTime('2026-07-10 00:00:00', 'UTC')", 1),
        ("Date", "'2026-07-10'", 1),
        ("Date32", "'2026-07-11'", 0),
        ("Nullable(DateTime64(6))", "NULL", 0),
    ],
)
async def test_a_time_of_any_precision_is_in_the_day_it_is_in(
    database: Run, insert: Insert, answer: Answer, type_: str, value: str, days: int
) -> None:
    database(f"CREATE TABLE TABLE_ (CreatedAt {type_}) ENGINE = Memory")
    insert(f"SELECT {value}")
    day = {"startTs": "2026-07-10T00:00:00Z", "endTs": "2026-07-11T00:00:00Z"}

    _, rows = await answer(**day, interval="1 day")

    begins = [row["startTimestamp"] for row in rows]
    assert begins == ["2026-07-10T00:00:00.000Z"] * days


async def test_a_window_beyond_the_nanoseconds_range_is_answered(
    database: Run, insert: Insert, answer: Answer
) -> None:
    database("CREATE TABLE TABLE_ (CreatedAt DateTime64(9)) ENGINE = Memory")
    insert(f"SELECT {NOON}")

    _, rows = await answer(startTs="1970-01-01T00:00:00Z", endTs="2999-01-01T00:00:00Z")

    assert rows == [{"total": 1}]


@pytest.mark.parametrize(
    ("column", "latin", "key"),
    [
        ("ModelName String", "unhex('6d6f64e86c65')", "modelName"),
        ("ModelName LowCardinality(Nullable(String))", "unhex('ff')", "modelName"),
        ("Teams Array(LowCardinality(Nullable(String)))", "[NULL, unhex('e8')]", "team"),
        ("Metadata Map(String, String)", "map('k', unhex('e8'))", "metadata.k"),
    ],
)
@pytest.mark.parametrize("interval", [None, "1 hour"])
async def test_bytes_that_are_no_text_are_refused_and_never_shown_as_digits(
    database: Run,
    insert: Insert,
    answer: Answer,
    column: str,
    latin: str,
    key: str,
    interval: str | None,
) -> None:
    database(f"CREATE TABLE TABLE_ (CreatedAt DateTime, {column}) ENGINE = Memory")
    insert(f"SELECT {NOON}, {latin}")
    changes: dict[str, Any] = {"groupBy": [key]} | ({"interval": interval} if interval else {})

    with pytest.raises(EngineError, match=f"{key} of {TABLE} has bytes that are no UTF-8 text"):
        await answer(**changes)
    assert (await answer())[1] == [{"total": 1}]


async def test_a_text_of_digits_that_could_be_such_bytes_is_a_text(
    database: Run, insert: Insert, answer: Answer
) -> None:
    database("CREATE TABLE TABLE_ (CreatedAt DateTime, ModelName String) ENGINE = Memory")
    insert(f"VALUES ({NOON}, '6d6f64e86c65')")

    assert (await answer(**MODEL))[1] == [{"modelName": "6d6f64e86c65", "total": 1}]


@pytest.mark.parametrize("team", ["red", "gree"])
async def test_a_caller_sees_their_own_rows_and_their_teams_of_any_types(
    database: Run, insert: Insert, open_backend: Open, make_query: Make, team: str
) -> None:
    columns = (
        "createdat DateTime, createdbysubjectslug FixedString(8), Teams Array(FixedString(5)),"
        " CreatedBySubjectType Enum8('user' = 1, 'virtualaccount' = 2)"
    )
    database(f"CREATE TABLE TABLE_ ({columns}) ENGINE = Memory")
    kinds = ("'ann', ['x'], 'user'", "'ann', ['x'], 'virtualaccount'", "'bob', ['green'], 'user'")
    insert(
        "VALUES " + ", ".join(f"({NOON}, {kind})" for kind in (*kinds, "'eve', ['red'], 'user'"))
    )
    backend = open_backend(database="own", row_cap=1)
    ann = Caller("ann", teams=frozenset({team}))

    own = await backend.query(make_query(), ann)

    assert own.column("total") == (2 if team == "red" else 1,)
    if team == "red":
        with pytest.raises(TooManyRowsError, match="would have 2 rows, the limit is 1"):
            await backend.query(make_query(groupBy=["userEmail"]), ann)


# --- engines ---

COLUMNS: Final = "CreatedAt DateTime64(6), TraceId String, CostInUSD Float64, Sign Int8, V UInt8"
KEY: Final = "PARTITION BY toYYYYMMDD(CreatedAt) ORDER BY TraceId"


def fill_twice(database: Run, insert: Insert, name: str, engine: str) -> None:
    """A call stored twice, the second time another day and dearer, and a call stored once."""
    database(f"CREATE TABLE own.{name} ({COLUMNS}) ENGINE = {engine} {KEY}")
    database(f"SYSTEM STOP MERGES own.{name}")
    insert(f"VALUES ({NOON}, 'a', 1, 1, 1), ({NOON}, 'b', 8, 1, 1)", name)
    if "Collapsing" in engine:
        insert(f"VALUES ({NOON}, 'a', 1, -1, 1)", name)
    insert(f"VALUES ({NOON}, 'a', 2, 1, 2)", name)


@pytest.mark.parametrize(
    "engine",
    [
        "ReplacingMergeTree",
        "ReplacingMergeTree(V)",
        "CollapsingMergeTree(Sign)",
        "VersionedCollapsingMergeTree(Sign, V)",
        "CoalescingMergeTree",
    ],
)
@pytest.mark.parametrize("way", ["table", "view", "shards", "materialized view"])
async def test_a_day_has_one_answer_before_and_after_a_merge(
    database: Run, insert: Insert, answer: Answer, engine: str, way: str
) -> None:
    name = TABLE if way == "table" else "beneath"
    fill_twice(database, insert, name, engine)
    if way == "view":
        database("CREATE VIEW TABLE_ AS SELECT * FROM own.beneath")
    if way == "shards":
        engine_of_all = "Distributed(two, own, beneath, cityHash64(TraceId))"
        database(f"CREATE TABLE TABLE_ AS own.beneath ENGINE = {engine_of_all}")
    if way == "materialized view":
        database("CREATE MATERIALIZED VIEW TABLE_ TO own.beneath AS SELECT * FROM own.beneath")
    twice = 2 if way == "shards" else 1

    result, before = await answer(aggregations=["sum costInUSD"])
    database(f"SYSTEM START MERGES own.{name}")
    database(f"OPTIMIZE TABLE own.{name} FINAL")
    _, after = await answer(aggregations=["sum costInUSD"])

    assert before == after == [{"total": 2 * twice, "sumCostInUSD": 10.0 * twice}]
    assert result.notes == ()


@pytest.mark.parametrize("engine", ["SummingMergeTree", "AggregatingMergeTree"])
@pytest.mark.parametrize("way", ["table", "view"])
async def test_engines_that_make_one_row_of_several_calls_are_refused(
    database: Run, insert: Insert, answer: Answer, engine: str, way: str
) -> None:
    fill_twice(database, insert, "beneath" if way == "view" else TABLE, engine)
    if way == "view":
        database("CREATE VIEW TABLE_ AS SELECT * FROM own.beneath")

    with pytest.raises(EngineError, match=f"whose engine {engine} makes one row of several"):
        await answer()


@pytest.mark.parametrize("way", ["table", "view", "shards", "plain", "plain view"])
async def test_a_profile_that_fixes_final_is_overcome_or_said(
    database: Run,
    insert: Insert,
    answer: Answer,
    server: Client,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    engine = "MergeTree" if "plain" in way else "ReplacingMergeTree"
    fill_twice(database, insert, TABLE if way in ("table", "plain") else "beneath", engine)
    if "view" in way:
        database("CREATE VIEW TABLE_ AS SELECT * FROM own.beneath")
    if way == "shards":
        shards = "Distributed(two, own, beneath, cityHash64(TraceId))"
        database(f"CREATE TABLE TABLE_ AS own.beneath ENGINE = {shards}")
    fixed = type(server.server_settings["limit"])("final", "0", readonly=1)
    monkeypatch.setitem(server.server_settings, "final", fixed)

    result, rows = await answer(aggregations=["sum costInUSD"])

    assert rows[0]["total"] == {"table": 2, "shards": 4}.get(way, 3)
    said = [note for note in result.notes if "has yet to merge may count twice" in note]
    assert len(said) == (1 if way == "view" else 0)


@pytest.mark.parametrize("key", ["", ", rand()"])
async def test_a_sharding_key_that_spreads_equal_rows_is_said(
    database: Run, insert: Insert, answer: Answer, key: str
) -> None:
    fill_twice(database, insert, "beneath", "ReplacingMergeTree")
    database(f"CREATE TABLE TABLE_ AS own.beneath ENGINE = Distributed(two, own, beneath{key})")

    result, rows = await answer()

    assert rows == [{"total": 4}]
    assert [note for note in result.notes if "stored again on another shard counts twice" in note]


async def test_columns_of_other_types_are_read_behind_a_distributed_table(
    database: Run, insert: Insert, answer: Answer
) -> None:
    columns = "createdat DateTime, ModelName FixedString(4), CostInUSD Decimal(9, 2)"
    database(f"CREATE TABLE own.beneath ({columns}) ENGINE = MergeTree ORDER BY createdat")
    insert(f"VALUES ({NOON}, 'a', 0.1), ({NOON}, 'a', 0.2)", "beneath")
    database("CREATE TABLE TABLE_ AS own.beneath ENGINE = Distributed(two, own, beneath)")

    result, rows = await answer(**COST, groupBy=["modelName"])

    assert rows == [{"modelName": "a", "total": 4, "sumCostInUSD": 0.6}]
    assert result.notes == ()
