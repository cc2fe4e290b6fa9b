"""Questions over what `import` stores give the figures of the rows alone, to the last digit.

The same rows lie in two directories: as a run of `import`, with rollups and columns of its own, and
as plain files of another writer, which are read row by row.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final

import anyio
import duckdb
import pytest

from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.cli.main import main
from gateway_metrics_mcp.errors import GatewayMetricsError
from gateway_metrics_mcp.query import LOCAL, Aggregation, Caller, Filter, Query
from gateway_metrics_mcp.query.catalog import Catalog, load_catalog
from gateway_metrics_mcp.query.result import Result
from gateway_metrics_mcp.query.time.interval import Interval

FIRST: Final = datetime(2026, 6, 1, tzinfo=UTC)
DAYS: Final = 4
ROWS: Final = 12_000
"""Of each day but the last: of a small day no rollups are made."""

MAKE: Final = """
CREATE MACRO draw(i, n) AS hash(i * 64 + n) % 1000003 / 1000003.0;
CREATE MACRO pick(i, n, items) AS items[1 + floor(len(items) * draw(i, n))::INTEGER];
CREATE TABLE calls AS
SELECT
    TIMESTAMPTZ '2026-06-01 00:00:00+00' + to_microseconds((draw(i, 0) * $length)::BIGINT)
        AS "CreatedAt",
    md5('t' || i) AS "TraceId", left(md5('s' || i), 16) AS "SpanId",
    pick(i, 1, ['gpt', 'GPT', 'claude', 'zürich']) AS "ModelName",
    CASE WHEN draw(i, 2) < 0.1 THEN pick(i, 3, ['route', 'other']) END AS "VirtualModelName",
    pick(i, 4, ['ChatCompletion', 'ChatCompletion', 'Embedding', NULL]) AS "RequestType",
    'provider' AS "ProviderAccountType",
    pick(i, 5, ['gpt-1', 'gpt-2', NULL]) AS "ProviderModelName",
    draw(i, 6) < 0.05 AS "IsFailure",
    CASE WHEN draw(i, 6) < 0.05 THEN pick(i, 7, ['timeout', 'limit']) END AS "ErrorType",
    CASE WHEN draw(i, 6) < 0.05 THEN 429 ELSE 200 END AS "HttpStatusCode",
    pick(i, 8, ['hit', 'miss', NULL, NULL]) AS "CacheLookupStatus",
    CASE WHEN draw(i, 9) < 0.95 THEN (draw(i, 10) * 5000)::BIGINT END AS "InputTokens",
    (draw(i, 11) * 900)::BIGINT AS "OutputTokens",
    CASE WHEN draw(i, 12) < 0.9 THEN round(draw(i, 13) / 7, 8) END AS "CostInUSD",
    draw(i, 14) * 3000 AS "LatencyMs",
    CASE WHEN draw(i, 15) < 0.5 THEN draw(i, 16) * -300 END AS "TimeToFirstTokenMs",
    -- Too fine for the usual sums.
    CASE WHEN draw(i, 17) < 0.5 THEN draw(i, 18) * 1e-12 END AS "InterTokenLatencyMs",
    CASE WHEN draw(i, 19) < 0.2 THEN NULL ELSE MAP {
        'env': pick(i, 20, ['prod', 'dev', '']), 'Env': pick(i, 21, ['x', 'X']),
        'two words': pick(i, 22, ['a', 'b', NULL])
    } END AS "Metadata",
    CASE WHEN draw(i, 23) < 0.7 THEN 'user' || floor(20 * draw(i, 24))::INTEGER || '@example.com'
        ELSE 'bot' || floor(5 * draw(i, 25))::INTEGER END AS "CreatedBySubjectSlug",
    CASE WHEN draw(i, 23) < 0.7 THEN 'user' ELSE 'virtualaccount' END AS "CreatedBySubjectType",
    pick(i, 26, [NULL, [], ['red'], ['red', 'blue'], ['blue', 'red'], ['red', 'red'], [NULL],
        ['a,b'], ['a', 'b'], ['q"r'], ['\\'], ['Red', NULL, 'ünï']]::VARCHAR[][]) AS "Teams"
FROM range($count) AS t(i);
"""
PEOPLE: Final = ["user1@example.com", "user2@example.com", "USER1@example.com", "bot1"]
VALUES: Final[dict[str, list[Any]]] = {
    "modelName": ["gpt", "claude", "nope"],
    "requestType": ["ChatCompletion", "Embedding"],
    "errorCode": ["timeout", "x"],
    "providerModelName": ["gpt-1"],
    "team": ["red", "a,b", 'q"r', "\\", "a", "Red", "none"],
    "userEmail": PEOPLE,
    "virtualAccount": ["bot1", "bot2"],
    "createdBySubjectType": ["user"],
    "virtualModelName": ["route"],
    "isFailure": [True, False],
    "httpStatusCode": [429],
    "metadata.env": ["prod", "dev", ""],
    "metadata.Env": ["x"],
    "metadata.two words": ["a"],
    "metadata.none": ["a"],
    "inputTokens": [500, 4000],
    "latencyMs": [1500.5],
}
KEYS: Final = [name for name in VALUES if name.startswith("metadata.")]
USUAL: Final[tuple[tuple[Any, str], ...]] = (
    ("sum", "inputTokens"),
    ("sum", "costInUSD"),
    ("avg", "latencyMs"),
    ("count", "team"),
)
INTERVALS: Final = ("1 hour", "1 day", "6 hours", "1 week", "30 minutes", "1 month", "7 hours")
CALLERS: Final = (
    *[LOCAL] * 5,
    Caller("user1@example.com"),
    Caller("nobody@example.com", teams=frozenset({"red", 'q"r'})),
    Caller("bot1", "virtualaccount", teams=frozenset({"a,b"})),
)


def make_directories(root: Path) -> tuple[Path, Path]:
    """The rows as imported, and as plain files."""
    plain, stored = root / "plain", root / "stored"
    (plain / "gateway_model_metrics").mkdir(parents=True)
    file = plain / "gateway_model_metrics" / "calls.parquet"
    with duckdb.connect() as engine:
        engine.execute("SET TimeZone = 'UTC'")
        length = (DAYS - 0.7) * 86_400e6
        values = {"length": str(length), "count": str(round(ROWS * (DAYS - 0.7)))}
        text = MAKE
        for name, value in values.items():
            text = text.replace(f"${name}", value)
        engine.execute(text)
        engine.execute(f"COPY calls TO '{file}' (FORMAT parquet)")
    assert main(["import", str(file), "--into", str(stored)]) == 0
    return plain, stored


@dataclass
class Sides:
    """The two engines."""

    plain: DuckDBBackend
    stored: DuckDBBackend
    stored_at: Path
    catalog: Catalog
    made: list[Path]
    """What the import made beside the rows."""

    def ask(self, query: Query, caller: Caller) -> tuple[object, object]:
        """The rows of both, or their errors."""
        return anyio.run(self._ask, query, caller)

    async def _ask(self, query: Query, caller: Caller) -> tuple[object, object]:
        plain = await _points(self.plain, query, caller)
        for _ in range(2):  # rollups that are read again are kept in memory
            if (stored := await _points(self.stored, query, caller)) != plain:
                break
        return plain, stored


async def _points(engine: DuckDBBackend, query: Query, caller: Caller) -> object:
    try:
        result: Result = await engine.query(query, caller)
    except GatewayMetricsError as error:
        return str(error)
    return result.key_names, [(*point, *map(type, point.values)) for point in result.points]


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    catalog = load_catalog()
    plain, stored = make_directories(tmp_path_factory.mktemp("rollups"))
    engines = [DuckDBBackend(directory, catalog) for directory in (plain, stored)]
    yield Sides(engines[0], engines[1], stored, catalog, [*stored.rglob("_*.parquet")])
    for engine in engines:
        anyio.run(engine.aclose)


# --- random questions ---


def draw_window(chance: Random) -> tuple[datetime, datetime]:
    """Whole days, whole hours, or neither."""
    start = FIRST + timedelta(days=chance.randrange(-1, DAYS))
    kind = chance.choice(["days", "days", "hours", "any"])
    if kind == "days":
        return start, start + timedelta(days=chance.choice([1, 1, 2, DAYS]))
    if kind == "hours":
        start += timedelta(hours=chance.randrange(24))
        return start, start + timedelta(hours=chance.randrange(1, 60))
    start += timedelta(seconds=chance.randrange(86_400))
    return start, start + timedelta(seconds=chance.randrange(1, 200_000), microseconds=1)


def draw_filter(datasource: str, chance: Random, catalog: Catalog) -> Filter:
    known = None
    while known is None:
        name = chance.choice([*VALUES])
        known = catalog.filter_field(datasource, name)  # type: ignore[arg-type]
    operator, values = chance.choice(known.allowed), VALUES[name]
    value: Any = chance.choice(values)
    if operator == "IS_NULL":
        value = chance.random() < 0.5
    elif operator == "BETWEEN":
        value = (min(values), max(values))
    elif operator in ("IN", "NOT_IN") or operator.startswith("ARRAY"):
        value = tuple(chance.sample(values, chance.randrange(1, len(values) + 1)))
    return Filter(field_name=name, operator=operator, value=value)


def draw_query(chance: Random, catalog: Catalog) -> Query:
    """A question that rollups can answer, or nearly so."""
    name: Any = chance.choices(["modelMetrics", "cacheMetrics"], [5, 1])[0]
    datasource = catalog.datasources[name]
    start, end = draw_window(chance)
    groups = chance.sample([*datasource.group_by, *KEYS], chance.choice([0, 1, 1, 2, 3]))
    aggregations = dict[Aggregation, None]()
    for _ in range(chance.randrange(4)):
        if chance.random() < 0.6 and name == "modelMetrics":
            kind, column = chance.choice(USUAL)
            aggregations[Aggregation(type=kind, column=column)] = None
            continue
        column = chance.choice([*datasource.columns])
        kinds = datasource.columns[column].aggregations
        kinds = tuple(k for k in kinds if k[0] != "p" or chance.random() < 0.1) or kinds
        aggregations[Aggregation(type=chance.choice(kinds), column=column)] = None
    filters = [draw_filter(name, chance, catalog) for _ in range(chance.choice([0, 0, 0, 1, 2]))]
    if chance.random() < 0.8:  # as most questions have
        filters.append(Filter(field_name="virtualModelName", operator="IS_NULL", value=True))
    if chance.random() < 0.02:
        finding = {"datasource": name, "type": "distribution", "filters": tuple(filters)}
        return Query(**finding, start_ts=start, end_ts=end, finds_one=True)
    interval = Interval.parse(chance.choice(INTERVALS)) if chance.random() < 0.3 else None
    if interval is None:
        aggregations = {a: None for a in aggregations if not a.type.startswith("rate")}
    return Query(
        datasource=name,
        type="distribution" if interval is None else "timeseries",
        start_ts=start,
        end_ts=end,
        aggregations=tuple(aggregations),
        group_by=tuple(groups),
        filters=tuple(filters),
        interval=interval,
    )


def compare(sides: Sides, seed: int) -> bool:
    """Ask a random question of both; whether it was answered."""
    chance = Random(seed)  # noqa: S311 - no secret
    query, caller = draw_query(chance, sides.catalog), chance.choice(CALLERS)
    plain, stored = sides.ask(query, caller)
    assert stored == plain, f"seed {seed}: {query!r} by {caller!r}"
    return not isinstance(plain, str)


def test_random_questions_have_the_figures_of_the_rows(sides: Sides) -> None:
    answered = [compare(sides, seed) for seed in range(50)]

    assert all(answered)
    assert {path.name.partition("-")[0] for path in sides.made} >= {"_day", "_hour"}


@pytest.mark.thorough
@pytest.mark.parametrize("part", range(20))
def test_many_random_questions_have_the_figures_of_the_rows(sides: Sides, part: int) -> None:
    for seed in range(1000 + part * 500, 1500 + part * 500):
        compare(sides, seed)


async def test_rollups_that_are_kept_answer_for_their_days_alone(sides: Sides) -> None:
    """Those of a second day are kept while a question is made that already reads the first's."""
    engine = DuckDBBackend(sides.stored_at, sides.catalog)

    async def count(length: timedelta) -> tuple[object, object]:
        query = Query(
            datasource="modelMetrics",
            type="distribution",
            start_ts=FIRST,
            end_ts=FIRST + length,
            group_by=("metadata.env",),
        )
        return await _points(sides.plain, query, LOCAL), await _points(engine, query, LOCAL)

    for length in (24, 24, 30, 36, 48, 60):
        plain, stored = await count(timedelta(hours=length))
        assert stored == plain
    await engine.aclose()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
async def test_what_is_no_file_in_the_place_of_a_rollup_is_not_opened(
    sides: Sides, tmp_path: Path
) -> None:
    stored = shutil.copytree(sides.stored_at, tmp_path / "stored")
    for number, path in enumerate(sorted(stored.rglob("_*.parquet"))):
        path.unlink()
        if number % 2:
            path.symlink_to("nowhere")
        else:
            os.mkfifo(path)
    engine = DuckDBBackend(stored, sides.catalog)
    query = Query(
        datasource="modelMetrics",
        type="distribution",
        start_ts=FIRST,
        end_ts=FIRST + timedelta(days=1),
        group_by=("metadata.env",),
    )

    assert await _points(engine, query, LOCAL) == await _points(sides.plain, query, LOCAL)
    await engine.aclose()


async def test_columns_of_keys_are_kept_from_callers_with_rights_to_some_rows(
    tmp_path: Path, catalog: Catalog
) -> None:
    """Which keys have one depends on the rows of others, and would show in the time."""
    _, stored = make_directories(tmp_path)
    (first, *_) = sorted(stored.rglob("rows.parquet"))
    changed = first.with_name("changed")
    with duckdb.connect() as engine:
        engine.execute(
            f"COPY (SELECT * REPLACE ('column' AS md_env) FROM '{first}') TO '{changed}'"  # noqa: S608 - our words
            " (FORMAT parquet)"
        )
    changed.rename(first)
    engine_of_all = DuckDBBackend(stored, catalog)
    query = Query(
        datasource="modelMetrics",
        type="distribution",
        start_ts=FIRST,
        end_ts=FIRST + timedelta(days=1),
        group_by=("metadata.env",),
    )

    keys = {
        caller.subject: {
            point.keys[0] for point in (await engine_of_all.query(query, caller)).points
        }
        for caller in (LOCAL, *CALLERS[-3:])
    }

    assert keys.pop(LOCAL.subject) == {"column"}
    assert all(found <= {"prod", "dev", "", None} for found in keys.values())
    await engine_of_all.aclose()
