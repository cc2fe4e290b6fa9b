"""Whether the time of an answer tells what others' rows hold: filters on known and invented names.

Callers with narrow rights, one by subject and one by team, filter on names that others' rows have
and on invented ones, in turn, over the same 3 million rows in DuckDB and ClickHouse (`chdb`). The
95 % interval of the median ratio has to be within 0.87 and 1.15 for each question. Beside it stands
the ratio without the guard, where rights are filters like others, and for usual questions what the
guard costs. Usage: python benchmarks/timing.py [--rows 3_000_000] [--pairs 30] [--data DIR]
[--only duckdb|clickhouse] [--wall]

What is compared is processor time, which other programs disturb less: both engines run in this
process. `--wall` compares the time that a caller sees; it needs a quiet machine. Generating the
rows takes two minutes; `--data` keeps them in DIR, or finds them there.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple, Protocol

import anyio
import clickhouse_connect
import duckdb

from against import interval
from engine_rows import DAYS, FIRST, TABLE, prepare
from gateway_metrics_mcp.backends.clickhouse.backend import ClickHouseBackend
from gateway_metrics_mcp.backends.clickhouse.tables import add_projections, create_table
from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.backends.sql.dialect import published_tables
from gateway_metrics_mcp.http.body import read_query
from gateway_metrics_mcp.query import LOCAL, Caller
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.query.model import Query
from gateway_metrics_mcp.query.result import Result

LEAST: Final = 0.87
MOST: Final = 1.15
WARM_UP: Final = 2
IS_WALL: Final = "--wall" in sys.argv
CHANCE: Final = random.Random(1)  # noqa: S311 - no secret
WINDOW: Final = {"startTs": f"{FIRST}T00:00:00Z", "endTs": f"{FIRST.replace(day=DAYS)}T23:59:59Z"}
LOAD: Final = (
    "SETTINGS input_format_parquet_case_insensitive_column_matching = 1, use_hive_partitioning = 0"
)
Filter = tuple[str, str, object]
PARTS: Final = (
    ("userEmail", "STRING_STARTS_WITH"),
    ("userEmail", "STRING_CONTAINS"),
    ("modelName", "STRING_ENDS_WITH"),
)
"""How parts of names are asked for."""


class Engine(Protocol):
    """A backend that answers queries."""

    async def query(self, query: Query, caller: Caller) -> Result:
        """The rows that answer the query."""


class Reader(NamedTuple):
    """A caller with narrow rights, and the filters that say the same."""

    name: str
    caller: Caller
    rights: tuple[Filter, ...]


class Question(NamedTuple):
    """Filters on names that others' rows have, and on invented ones; with other names each time."""

    name: str
    known: tuple[Filter, ...]
    invented: tuple[Filter, ...]
    finds_one: bool = False


def choose_readers(rows: duckdb.DuckDBPyConnection) -> Iterator[Reader]:
    """A user with some rows who never called one of the models, and a team of few."""
    ((user,),) = rows.execute(
        "SELECT CreatedBySubjectSlug FROM calls WHERE CreatedBySubjectType = 'user' GROUP BY 1"
        " HAVING count(*) > 100 AND count(DISTINCT ModelName) < (SELECT count(DISTINCT ModelName)"
        " FROM calls) ORDER BY count(*), 1 LIMIT 1"
    ).fetchall()
    ((team,),) = rows.execute(
        "SELECT unnest(Teams) FROM calls GROUP BY 1 ORDER BY count(*) LIMIT 1"
    ).fetchall()
    yield Reader("by subject", Caller(user), (("userEmail", "EQUAL", user),))
    of_team = Caller("nobody@example.com", teams=frozenset({team}))
    yield Reader("by team", of_team, (("team", "ARRAY_HAS_ANY", [team]),))


def foreign(rows: duckdb.DuckDBPyConnection, reader: Reader, value: str, where: str) -> list[Any]:
    """Up to 40 values that only rows of others have, the most frequent first."""
    team = next(iter(reader.caller.teams), "")
    own = f"CreatedBySubjectSlug = '{reader.caller.subject}' OR list_contains(Teams, '{team}')"
    found = rows.execute(
        f"SELECT v FROM (SELECT {value} AS v, {own} AS own FROM calls WHERE {where})"  # noqa: S608 - ours
        " WHERE v IS NOT NULL GROUP BY v HAVING NOT coalesce(bool_or(own), false)"
        " ORDER BY count(*) DESC, v LIMIT 40"
    ).fetchall()
    return [value for (value,) in found]


def invent(name: str) -> str:
    """A name that no row has, of the same length, with letters for the digits."""
    return re.sub(r"\d", lambda digit: "abcdefghij"[int(digit[0])], name)


def make_questions(rows: duckdb.DuckDBPyConnection, reader: Reader) -> Iterator[Question]:
    """The questions about each kind of name that only others' rows have."""
    users = foreign(rows, reader, "CreatedBySubjectSlug", "CreatedBySubjectType = 'user'")
    bots = foreign(rows, reader, "CreatedBySubjectSlug", "CreatedBySubjectType <> 'user'")
    texts = {
        "userEmail": users,
        "virtualAccount": bots,
        "modelName": foreign(rows, reader, "ModelName", "true"),
        "metadata.project": foreign(rows, reader, "Metadata['project']", "true"),
    }
    for field, names in texts.items():
        if names:
            yield _ask(f"{field} =", field, "EQUAL", names, invent)
    for field, operator in PARTS:
        parts = [re.sub("@.*", "@", name) for name in texts[field]]  # no longer name has this part
        if parts:  # a team calls every model
            yield _ask(f"{field} {operator[7:].lower()}", field, operator, parts, invent)
    yield _ask("userEmail in 20", "userEmail", "IN", [users[:20]], _invent_all)
    teams = foreign(rows, reader, "unnest(Teams)", "true")
    if teams:
        yield _ask("team", "team", "ARRAY_HAS_ANY", [[team] for team in teams], _invent_all)
    tokens = foreign(rows, reader, "InputTokens", "true")
    yield _ask("inputTokens =", "inputTokens", "EQUAL", tokens, lambda n: n + 10**12)
    yield _ask("has one row", "userEmail", "EQUAL", users, invent)._replace(finds_one=True)
    keys = tuple((f"metadata.{key}", "EQUAL", "nobody") for key in ("project", "feature"))
    unknown = tuple((f"metadata.{key}", "EQUAL", "nobody") for key in ("prxject", "fexture"))
    yield Question("metadata key", keys, unknown)


def _ask(
    name: str, field: str, operator: str, names: list[Any], invented: Callable[[Any], Any]
) -> Question:
    known = tuple((field, operator, value) for value in names)
    return Question(name, known, tuple((field, operator, invented(v)) for v in names))


def _invent_all(names: list[str]) -> list[str]:
    return [invent(name) for name in names]


def build(*filters: Filter, finds_one: bool = False) -> Query:
    body = {
        "datasource": "modelMetrics",
        "type": "distribution",
        **WINDOW,
        "groupBy": [] if finds_one else ["modelName"],
        "aggregations": [] if finds_one else [{"type": "sum", "column": "costInUSD"}],
        "filters": [{"fieldName": f, "operator": o, "value": v} for f, o, v in filters],
    }
    return read_query(body, load_catalog()).model_copy(update={"finds_one": finds_one})


async def time_query(engine: Engine, query: Query, caller: Caller) -> float:
    clock = time.perf_counter if IS_WALL else time.process_time
    start = clock()
    await engine.query(query, caller)
    return clock() - start


async def take_pairs(
    engine: Engine,
    first: list[tuple[Query, Caller]],
    second: list[tuple[Query, Caller]],
    pairs: int,
) -> tuple[list[float], list[float]]:
    """The seconds of both sides in turn, in random order within a pair."""
    taken: tuple[list[float], list[float]] = ([], [])
    for number in range(WARM_UP + pairs):
        for side in CHANCE.sample((0, 1), 2):
            asked = (first, second)[side]
            seconds = await time_query(engine, *asked[number % len(asked)])
            if number >= WARM_UP:
                taken[side].append(seconds)
    return taken


def compare(taken: tuple[list[float], list[float]]) -> tuple[float, float, float]:
    """The median ratio of the pairs, and its interval."""
    ratios = sorted(one / other for one, other in zip(*taken, strict=True))
    low, high, _ = interval(ratios)
    return median(ratios), low, high


async def measure(
    engine: Engine, name: str, reader: Reader, questions: list[Question], pairs: int
) -> bool:
    """Compare known with invented names; whether each ratio is within the limits."""
    are_good = []
    print(f"{name}, {reader.name}: {'known / invented':22}  [95 %]          ms  without the guard")
    for question in questions:
        sides, bare = [], []
        for filters in (question.known, question.invented):
            asked = [build(f, finds_one=question.finds_one) for f in filters]
            sides.append([(query, reader.caller) for query in asked])
            unguarded = [build(f, *reader.rights, finds_one=question.finds_one) for f in filters]
            bare.append([(query, LOCAL) for query in unguarded])
        taken = await take_pairs(engine, sides[0], sides[1], pairs)
        ratio, low, high = compare(taken)
        before, *_ = compare(await take_pairs(engine, bare[0], bare[1], pairs // 5))
        are_good.append(low >= LEAST and high <= MOST)
        print(
            f"{'ok  ' if are_good[-1] else 'FAIL'} {question.name:30} {ratio:6.3f}"
            f"  [{low:.3f}, {high:.3f}] {median(taken[1]) * 1e3:7.1f}  {before:.3f}"
        )
    return all(are_good)


async def measure_cost(engine: Engine, name: str, reader: Reader, pairs: int) -> None:
    """What the guard costs, against the rights as filters like others."""
    usual: dict[str, tuple[Filter, ...]] = {
        "no filter": (),
        "one model": (("modelName", "EQUAL", "provider-1/model-1"),),
        "production": (("metadata.environment", "EQUAL", "production"),),
        "20 users": (("userEmail", "IN", [f"user-{n}@example.com" for n in range(20)]),),
    }
    for what, filters in usual.items():
        ours = [(build(*filters), reader.caller)]
        theirs = [(build(*filters, *reader.rights), LOCAL)]
        taken = await take_pairs(engine, ours, theirs, pairs // 2)
        ratio, low, high = compare(taken)
        print(
            f"cost {name}, {reader.name}, {what:12} {ratio:6.3f}  [{low:.3f}, {high:.3f}]"
            f" {median(taken[0]) * 1e3:7.1f} ms"
        )


def open_clickhouse(directory: Path) -> ClickHouseBackend:
    """The same rows in a table as docs/clickhouse.md recommends, in this process."""
    client = clickhouse_connect.get_client(dsn="chdb://memory")
    # It would answer questions from the second round on, as there are fewer names than rounds.
    client.set_client_setting("use_query_condition_cache", "0")
    client.command("CREATE DATABASE metrics")
    table, columns = f"metrics.{TABLE}", published_tables()[TABLE]
    client.command(create_table(table, columns))
    client.command(add_projections(table, columns, ("project",)))
    for file in sorted((directory / TABLE).rglob("rows.parquet")):
        client.command(f"INSERT INTO metrics.{TABLE} SELECT * FROM file('{file}', Parquet) {LOAD}")  # noqa: S608 - ours
    url = "clickhouse://reader@127.0.0.1/metrics"
    return ClickHouseBackend(url, load_catalog(), connect=lambda: client)


async def measure_all(directory: Path, pairs: int, only: str | None) -> bool:
    opened: dict[str, Callable[[], DuckDBBackend | ClickHouseBackend]] = {
        "duckdb": lambda: DuckDBBackend(directory, load_catalog()),
        "clickhouse": lambda: open_clickhouse(directory),
    }
    rows = duckdb.connect()
    files = str(directory / TABLE / "**/rows.parquet")
    rows.execute(f"CREATE VIEW calls AS FROM read_parquet('{files}', union_by_name = true)")
    readers = [(reader, list(make_questions(rows, reader))) for reader in choose_readers(rows)]
    rows.close()
    are_good = []
    for name, open_engine in opened.items():
        if only in (None, name):
            engine = open_engine()
            for reader, questions in readers:
                are_good.append(await measure(engine, name, reader, questions, pairs))
                await measure_cost(engine, name, reader, pairs)
            await engine.aclose()
    return all(are_good)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--data", type=Path, help="where the rows are, or come to stay")
    parser.add_argument("--wall", action="store_true", help="elapsed time, not the processor's")
    parser.add_argument("--only", choices=("duckdb", "clickhouse"))
    flags = parser.parse_args()
    with ExitStack() as stack:
        directory = flags.data or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        prepare(directory, flags.rows)
        return 0 if anyio.run(measure_all, directory, flags.pairs, flags.only) else 1


if __name__ == "__main__":
    sys.exit(main())
