"""Projections and columns of metadata keys, as docs/clickhouse.md recommends them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import islice
from random import Random
from typing import Any, Final

import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import settings

from gateway_metrics_mcp.backends.clickhouse.backend import ClickHouseBackend
from gateway_metrics_mcp.backends.clickhouse.tables import add_projections, create_table
from gateway_metrics_mcp.backends.sql.dialect import published_tables
from gateway_metrics_mcp.query.catalog import Catalog
from gateway_metrics_mcp.query.model import LOCAL, Aggregation, Caller, Query
from gateway_metrics_mcp.query.result import Result

Make = Callable[..., Query]
Open = Callable[..., ClickHouseBackend]
TABLE: Final = "gateway_model_metrics"
EXAMPLES: Final = 300 if settings().max_examples >= 500 else 20
KEYS: Final = ("env", "it's", "a b")
GROUPS: Final = (
    *((), ("modelName",), ("team",), ("userEmail",), ("metadata.env",), ("metadata.it's",)),
    *(("team", "modelName"), ("errorCode", "virtualModel"), ("virtualaccount", "team")),
)
HOUR: Final = timedelta(hours=1)
NARROW: Final = Caller("ann@example.com", teams=frozenset({"search"}))
COLUMNS: Final = (
    *("CreatedAt", "ModelName", "CostInUSD", "InputTokens", "IsFailure", "Teams", "Metadata"),
    *("CreatedBySubjectSlug", "CreatedBySubjectType", "VirtualModelName"),
)


class Recorder:
    """A client that keeps what it was asked, and the plans."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.asked: list[tuple[str, dict[str, Any], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def query(self, text: str, parameters: Any = None, settings: Any = None, **more: Any) -> Any:
        if "GROUP BY" in text or "count(*)" in text:
            self.asked.append((text, parameters, settings))
        return self._client.query(text, parameters, settings, **more)

    def plan(self) -> str:
        """The plan of the last question."""
        text, parameters, settings = self.asked[-1]
        lines = self._client.query(f"EXPLAIN {text}", parameters, settings).result_rows
        return "\n".join(line for (line,) in lines)


@pytest.fixture(scope="module")
def databases(server: Client) -> Iterator[Client]:
    """All tables in `projected`, with projections, and one without them in `plain`."""
    server.command("CREATE DATABASE projected")
    server.command("CREATE DATABASE plain")
    for table, columns in published_tables().items():
        create = create_table(f"projected.{table}", columns)
        # Rows of any age, a few at a time.
        create = create.partition(",\n    CONSTRAINT")[0] + ") ENGINE = MergeTree ORDER BY ()"
        server.command(create)
        server.command(add_projections(f"projected.{table}", columns, KEYS))
    rows = f"SELECT {', '.join(COLUMNS)} FROM projected.{TABLE}"  # noqa: S608 - ours
    server.command(f"CREATE TABLE plain.{TABLE} ENGINE = MergeTree ORDER BY () EMPTY AS {rows}")
    for database in ("projected", "plain"):
        fill(server, f"{database}.{TABLE}")
    yield server
    server.command("DROP DATABASE projected")
    server.command("DROP DATABASE plain")


@pytest.fixture
def recorder(databases: Client) -> Recorder:
    """A client of these databases."""
    return Recorder(databases)


@pytest.fixture
def own(server: Client) -> Iterator[Client]:
    """A database `own`, which ends with the test."""
    server.command("CREATE DATABASE own")
    yield server
    server.command("DROP DATABASE own")


@pytest.fixture
def open_database(recorder: Recorder, catalog: Catalog) -> Open:
    """Open a backend over one of the databases."""
    return lambda name="projected": ClickHouseBackend(
        f"clickhouse://reader@127.0.0.1/{name}",
        catalog,
        connect=lambda: recorder,  # type: ignore[arg-type,return-value]
    )


def fill(client: Any, table: str) -> None:
    """Calls of two days, from the first hour of July 10 on."""
    client.command(
        f"INSERT INTO {table} ({', '.join(COLUMNS)}) SELECT"  # noqa: S608 - ours
        " toDateTime64('2026-07-10 00:00:00', 6, 'UTC') + toIntervalSecond(number * 34 % 172800),"
        " concat('model-', toString(number % 3)), number / 7, number, number % 5 = 0,"
        " [['search'], ['search', 'data'], []][number % 3 + 1],"
        " map('env', ['a', 'b', NULL][number % 3 + 1], 'rare', toString(number % 100)),"
        " concat('user-', toString(number % 10)), 'user', NULL"
        " FROM numbers(5000)"
    )


def test_random_rows_are_answered_as_the_rulings_say(
    own: Client,
    open_database: Open,
    recorder: Recorder,
    evaluate: Callable[..., Result],
    make_example: Callable[[bytes], Any],
    assert_same: Callable[..., None],
    catalog: Catalog,
    runner: asyncio.Runner,
) -> None:
    columns = published_tables()[TABLE]
    create = create_table(f"own.{TABLE}", columns).partition(",\n    CONSTRAINT")[0]
    # Projections are chosen where they have fewer granules: here each row is one.
    own.command(f"{create}) ENGINE = MergeTree ORDER BY () SETTINGS index_granularity = 1")
    own.command(add_projections(f"own.{TABLE}", columns, KEYS))
    chance, backend, served = Random(17), open_database("own"), 0  # noqa: S311 - no secret
    examples = (make_example(chance.randbytes(24)) for _ in range(10 * EXAMPLES))
    for example in islice((e for e in examples if e.table == TABLE and e.rows), EXAMPLES):
        own.command(f"TRUNCATE TABLE own.{TABLE}")
        rows = [*example.rows] * 4  # or a projection would have as many
        insert(own, f"own.{TABLE}", example.columns, rows)
        query = make_fitting(example.query, chance)
        for caller in (example.caller, LOCAL):
            expected = evaluate(query, caller, rows, catalog)
            got = runner.run(backend.query(query, caller))
            assert_same(got, expected, example.tolerance)
        served += "ReadFromMergeTree (by_" in recorder.plan()
    assert served >= EXAMPLES // 4


def make_fitting(query: Query, chance: Random) -> Query:
    """A question about the same hours that a projection may serve, half with the same filters."""
    types = ("sum", "avg", "count")
    times = (query.start_ts, query.end_ts)
    start, end = (at.replace(minute=0, second=0, microsecond=0) for at in times)
    return query.model_copy(
        update={
            "type": "distribution",
            "interval": None,
            "start_ts": start,
            "end_ts": end + HOUR,
            "group_by": tuple(chance.choice(GROUPS)),
            "filters": chance.choice(((), query.filters)),
            "aggregations": tuple(
                Aggregation(type=chance.choice(types), column=column)
                for column in chance.sample(("costInUSD", "inputTokens", "outputTokens"), 2)
            ),
        }
    )


def insert(client: Client, table: str, columns: Any, rows: Any) -> None:
    types = published_tables()[TABLE]
    empty: dict[str, Any] = {"Array(Text)": [], "Map(Text, Text)": {}}
    stored = [
        [empty.get(types[column]) if row[column] is None else row[column] for column in columns]
        for row in rows
        if row["CreatedAt"] is not None
    ]
    if stored:
        client.insert(table, stored, columns)


QUESTIONS: Final[list[tuple[dict[str, Any], str | None]]] = [
    ({"groupBy": ["modelName"], "aggregations": ["sum costInUSD", "avg inputTokens"]}, "by_label"),
    ({"groupBy": ["modelName"], "aggregations": ["count inputTokens"]}, "by_label"),
    ({"groupBy": ["modelName"], "aggregations": ["avg costInUSD"]}, "by_label"),
    ({"interval": "1 hour", "aggregations": ["sum costInUSD"]}, "by_label"),
    ({"interval": "1 month", "groupBy": ["modelName"]}, "by_label"),
    ({"groupBy": ["team"], "aggregations": ["sum costInUSD", "count team"]}, "by_team"),
    ({"groupBy": ["team"], "aggregations": ["countDistinct modelName"]}, "by_team"),
    (
        {
            "groupBy": ["modelName"],
            "filters": [
                ("isFailure", "EQUAL", True),
                ("team", "ARRAY_HAS_ANY", ["search"]),
                ("virtualModelName", "IS_NULL", True),
            ],
        },
        "by_team",
    ),
    ({"groupBy": ["userEmail"], "aggregations": ["sum inputTokens"]}, "by_subject"),
    ({"groupBy": ["userEmail", "team"], "aggregations": ["sum costInUSD"]}, "by_subject"),
    ({"groupBy": ["metadata.env"], "aggregations": ["sum inputTokens"]}, "by_md_env"),
    ({"groupBy": ["modelName"], "filters": [("metadata.env", "EQUAL", "a")]}, "by_md_env"),
    ({"groupBy": ["metadata.rare"]}, None),
    ({"groupBy": ["modelName"], "aggregations": ["p50 costInUSD"]}, None),
    ({"interval": "30 minutes", "groupBy": ["modelName"]}, None),
    ({"groupBy": ["modelName"], "endTs": "2026-07-11T00:00:01Z"}, None),
    ({"groupBy": ["modelName"], "startTs": "1970-01-01T00:00:00Z"}, None),
]


@pytest.mark.parametrize(("asked", "projection"), QUESTIONS)
async def test_a_question_is_served_by_its_projection(
    recorder: Recorder,
    open_database: Open,
    make_query: Make,
    asked: dict[str, Any],
    projection: str | None,
) -> None:
    window = {"startTs": "2026-07-10T05:00:00Z", "endTs": "2026-07-11T07:00:00Z"}
    query = make_query(**{**window, **asked})

    served = await open_database().query(query, LOCAL)
    plan = recorder.plan()
    plain = await open_database("plain").query(query, LOCAL)

    assert f"ReadFromMergeTree ({projection or f'projected.{TABLE}'})" in plan
    assert plain.rows(query) == served.rows(query)
    assert plain.column("total")


async def test_callers_with_rights_to_some_rows_are_asked_without_projections_and_key_columns(
    recorder: Recorder, open_database: Open, make_query: Make
) -> None:
    window = {"startTs": "2026-07-10T05:00:00Z", "endTs": "2026-07-11T07:00:00Z"}
    filters = [("metadata.env", "EQUAL", "a"), ("modelName", "EQUAL", "model-0")]
    query = make_query(**window, groupBy=["modelName", "metadata.env"], filters=filters)

    await open_database().query(query, NARROW)

    text, _, settings = recorder.asked[-1]
    assert "md_" not in text
    assert "toStartOfHour" not in text
    assert settings["optimize_use_projections"] == "0"
    assert f"ReadFromMergeTree (projected.{TABLE})" in recorder.plan()


async def test_hours_that_clickhouse_cannot_tell_apart_are_in_no_window(
    server: Client, own: Client, recorder: Recorder, open_database: Open, make_query: Make
) -> None:
    server.command(f"CREATE TABLE own.{TABLE} AS projected.{TABLE}")
    times = ("1950-01-01 00:00", "1970-01-01 01:30", "2106-02-07 05:59", "2150-01-01 00:00")
    listed = ", ".join(f"('{time}:00')" for time in times)
    own.command(f"INSERT INTO own.{TABLE} (CreatedAt) VALUES {listed}")  # noqa: S608 - ours
    query = make_query(startTs="1970-01-01T01:00:00Z", endTs="2106-02-07T06:00:00Z")

    result = await open_database("own").query(query, LOCAL)

    assert "toStartOfHour" in recorder.asked[-1][0]
    assert result.column("total") == (2,)


@pytest.mark.parametrize(
    "column",
    [
        "LowCardinality(String) MATERIALIZED ifNull(Metadata['env'], '')",
        "Nullable(String) DEFAULT if(mapContains(Metadata, 'env'), Metadata['env'], NULL)",
        "Nullable(String)",
    ],
)
async def test_a_column_that_may_differ_from_the_metadata_is_not_read(
    own: Client, recorder: Recorder, open_database: Open, make_query: Make, column: str
) -> None:
    own.command(f"CREATE TABLE own.{TABLE} ENGINE = MergeTree ORDER BY () AS plain.{TABLE}")
    own.command(f"ALTER TABLE own.{TABLE} ADD COLUMN md_env {column}")

    await open_database("own").query(make_query(groupBy=["metadata.env"]), LOCAL)

    assert "md_env" not in recorder.asked[-1][0]


async def test_shards_choose_projections_beneath_a_distributed_table(
    own: Client, recorder: Recorder, make_query: Make, open_database: Open
) -> None:
    columns = published_tables()[TABLE]
    create = create_table(f"own.{TABLE}", columns).partition(",\n    CONSTRAINT")[0]
    own.command(f"{create}) ENGINE = Distributed(two, projected, {TABLE}, rand())")
    added = add_projections(f"own.{TABLE}", columns, ("env",))
    own.command(added.partition(",\n    ADD PROJECTION")[0])
    window = {"startTs": "2026-07-10T00:00:00Z", "endTs": "2026-07-12T00:00:00Z"}
    for asked, projection in QUESTIONS[:12:2]:
        query = make_query(**window, **asked)
        one, both = [await open_database(name).query(query, LOCAL) for name in ("plain", "own")]
        assert [row["total"] for row in both.rows(query)] == [
            2 * row["total"] for row in one.rows(query)
        ]
        assert recorder.plan().count(f"ReadFromMergeTree ({projection})") == 2


async def test_key_columns_are_filled_through_a_distributed_table(
    own: Client, recorder: Recorder, make_query: Make, open_database: Open
) -> None:
    columns = published_tables()[TABLE]
    own.command(create_table(f"own.{TABLE}", columns))
    own.command(add_projections(f"own.{TABLE}", columns, ("env",)))
    own.command("CREATE DATABASE spread")
    engine = f"Distributed(two, own, {TABLE}, rand())"
    own.command(f"CREATE TABLE spread.{TABLE} AS own.{TABLE} ENGINE = {engine}")
    try:
        own.command("SET distributed_foreground_insert = 1")
        fill(own, f"spread.{TABLE}")
        query = make_query(groupBy=["metadata.env"])
        found = [await open_database(name).query(query, LOCAL) for name in ("own", "plain")]
    finally:
        own.command("SET distributed_foreground_insert = 0")
        own.command("DROP DATABASE spread")

    assert "md_env" in recorder.asked[0][0]
    assert found[0].rows(query) == found[1].rows(query)


async def test_tables_of_an_earlier_version_take_projections(
    own: Client, recorder: Recorder, open_database: Open, make_query: Make
) -> None:
    columns = published_tables()[TABLE]
    create = create_table(f"own.{TABLE}", columns).partition("ORDER BY")[0]
    own.command(f"{create} ORDER BY CreatedAt")
    fill(own, f"own.{TABLE}")
    query = make_query(groupBy=["metadata.env"], aggregations=["sum costInUSD"])
    before = await open_database("own").query(query, LOCAL)

    own.command(add_projections(f"own.{TABLE}", columns, ("env",)))
    added = await open_database("own").query(query, LOCAL)
    own.command(
        f"ALTER TABLE own.{TABLE} MATERIALIZE PROJECTION by_md_env SETTINGS mutations_sync = 2"
    )
    served = await open_database("own").query(query, LOCAL)

    assert "ReadFromMergeTree (by_md_env)" in recorder.plan()
    assert before.rows(query) == added.rows(query) == served.rows(query)
