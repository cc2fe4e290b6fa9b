"""What a filter asks for reaches no scan of rows that the caller may not see.

Else the time of an answer would tell whether others have such rows (docs/security.md). The plan of
a question shows what an engine does before it knows whose a row is: where the guard holds, it is
the same whatever the filter's value is. `benchmarks/timing.py` measures the times.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import duckdb
import pytest

from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.errors import EngineError
from gateway_metrics_mcp.http.body import read_query
from gateway_metrics_mcp.query import LOCAL, Caller
from gateway_metrics_mcp.query.catalog import Catalog
from gateway_metrics_mcp.query.model import Query

COLUMN: Final = re.compile(r"\b[A-Z]\w+(?= [<>=])")
Operator = dict[str, Any]
Plan = Callable[[Query, Caller], list[Operator]]

TABLE: Final = "gateway_model_metrics"
ADA: Final = Caller("ada@example.com")
SEARCH: Final = Caller("nobody@example.com", teams=frozenset({"search"}))
ROWS: Final = """
    SELECT TIMESTAMPTZ '2026-07-10 12:00:00+00' + to_seconds(n) AS "CreatedAt",
        CASE n % 3 WHEN 0 THEN 'ada@example.com' WHEN 1 THEN 'bob@example.com' ELSE 'bot' END
            AS "CreatedBySubjectSlug",
        CASE n % 3 WHEN 2 THEN 'virtualaccount' ELSE 'user' END AS "CreatedBySubjectType",
        CASE n % 3 WHEN 0 THEN ['search'] WHEN 1 THEN ['support'] END AS "Teams",
        'model-' || n % 7 AS "ModelName", 'chat' AS "RequestType", 100 + n AS "InputTokens",
        CAST(n AS DOUBLE) / 8 AS "CostInUSD", 200 + n % 3 AS "HttpStatusCode",
        n % 5 = 0 AS "IsFailure", NULL::VARCHAR AS "VirtualModelName",
        MAP {'project': 'project-' || n % 4} AS "Metadata"
    FROM range(5000) AS t(n)
"""
"""Rows of three callers in one file, of which the engine knows each column's extremes."""
GUESSES: Final[tuple[tuple[str, str, tuple[Any, ...]], ...]] = (
    ("userEmail", "EQUAL", ("bob@example.com", "eve@example.com", "~", " ")),
    ("userEmail", "NOT_EQUAL", ("bob@example.com", "~")),
    ("userEmail", "IN", (["bob@example.com"], ["eve@example.com"], ["~"])),
    ("userEmail", "STRING_STARTS_WITH", ("bob", "eve", "~")),
    ("userEmail", "GREATER_THAN", ("bob", "~")),
    ("virtualAccount", "EQUAL", ("bot", "bat", "~")),
    ("virtualAccount", "STRING_CONTAINS", ("bot", "~")),
    ("team", "ARRAY_HAS_ANY", (["support"], ["absent"], ["~"])),
    ("team", "ARRAY_HAS_NONE", (["support"], ["absent"], ["~"])),
    ("metadata.project", "EQUAL", ("project-1", "project-x", "~")),
    ("metadata.project", "IN", (["project-1"], ["~"])),
    ("modelName", "EQUAL", ("model-1", "model-x", "~")),
    ("modelName", "STRING_ENDS_WITH", ("1", "~")),
    ("modelName", "BETWEEN", (["model-1", "model-2"], ["~", "~~"])),
    ("requestType", "EQUAL", ("chat", "embedding", "~")),
    ("createdBySubjectType", "EQUAL", ("user", "~")),
    ("inputTokens", "GREATER_THAN", (150, 2 * 10**9, 3)),
    ("inputTokens", "LESS_THAN_EQUAL", (1.5, 1e12)),
    ("httpStatusCode", "EQUAL", (201, 999)),
    ("costInUSD", "BETWEEN", ([1.0, 2.0], [1e12, 2e12])),
    ("isFailure", "EQUAL", (True, False)),
    ("virtualModelName", "EQUAL", ("router", "~")),
)


def ask(catalog: Catalog, field: str, operator: str, value: object) -> Query:
    body = {
        "startTs": "2026-07-01T00:00:00Z",
        "endTs": "2026-08-01T00:00:00Z",
        "datasource": "modelMetrics",
        "type": "distribution",
        "groupBy": ["modelName"],
        "aggregations": [{"type": "sum", "column": "costInUSD"}],
        "filters": [{"fieldName": field, "operator": operator, "value": value}],
    }
    return read_query(body, catalog)


@pytest.fixture(scope="module")
def explain(tmp_path_factory: pytest.TempPathFactory, catalog: Catalog) -> Iterator[Plan]:
    """DuckDB's plan of a question's own SQL over one file: its operators, the scan the last."""
    file = tmp_path_factory.mktemp("rows") / "rows.parquet"
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"COPY ({ROWS}) TO '{file}'")
    connection.read_parquet(str(file)).create_view(TABLE)
    backend = DuckDBBackend(file.parent, catalog)

    def plan(query: Query, caller: Caller) -> list[Operator]:
        text, *lines = backend.explain(query, caller).split("\n")
        parameters = {n: json.loads(v) for n, _, v in (line.partition(" = ") for line in lines)}
        found = connection.execute(f"EXPLAIN (FORMAT json) {text}", parameters).fetchall()[0][1]
        operators = json.loads(found)
        for operator in operators:  # each has one child at most, which is added here
            operators += operator.pop("children")
        return list(operators)

    yield plan
    connection.close()


def blank(plan: list[Operator]) -> str:
    """The plan without its literals."""
    return re.sub(r"'[^']*'|-?\b\d+(\.\d+)?\b|\b(true|false)\b", "?", json.dumps(plan))


@pytest.mark.parametrize(
    ("caller", "of_rights"),
    [(ADA, {"CreatedBySubjectSlug", "CreatedBySubjectType"}), (SEARCH, set[str]())],
    ids=["by subject", "by team"],
)
def test_duckdb_plans_the_same_whatever_is_guessed(
    explain: Plan, catalog: Catalog, caller: Caller, of_rights: set[str]
) -> None:
    for field, operator, values in GUESSES:
        plans = [explain(ask(catalog, field, operator, value), caller) for value in values]

        assert len({blank(plan) for plan in plans}) == 1, (field, operator, plans)
        for plan in plans:
            pushed = str(plan[-1]["extra_info"].get("Filters"))
            assert set(COLUMN.findall(pushed)) == of_rights, (field, plan)


def test_duckdb_would_plan_by_what_is_guessed(explain: Plan, catalog: Catalog) -> None:
    """As it does for those who see all rows: the checks above see what they look for."""
    known, invented = (
        explain(ask(catalog, "modelName", "EQUAL", name), LOCAL) for name in ("model-1", "~")
    )

    assert "ModelName = 'model-1'" in str(known[-1])
    assert invented[-1]["name"] == "EMPTY_RESULT"


async def test_what_cannot_be_read_in_others_rows_fails_nobody_elses_question(
    tmp_path: Path, catalog: Catalog
) -> None:
    """Else an error, or how soon it comes, would tell what they hold."""
    (tmp_path / TABLE).mkdir()
    texts = """CASE "CreatedBySubjectSlug" WHEN 'bob@example.com' THEN 'x' ELSE '12' END"""
    select = f'SELECT * REPLACE ({texts} AS "InputTokens") FROM ({ROWS})'  # noqa: S608 - ours
    duckdb.execute(f"COPY ({select}) TO '{tmp_path}/{TABLE}/rows.parquet'")
    backend = DuckDBBackend(tmp_path, catalog)
    question = ask(catalog, "inputTokens", "EQUAL", 12)

    for caller in (ADA, SEARCH):
        assert len((await backend.query(question, caller)).points) == 7
    with pytest.raises(EngineError, match="not all rows"):
        await backend.query(question, Caller("bob@example.com"))
    await backend.aclose()


# --- what cannot be read in the files of others ---

FOLDER: Final = "team=qxvault/date=2026-07-12"
"""Of a file whose rows the callers may not see; like all its names it tells whose it is."""
OTHERS: Final = """
    SELECT TIMESTAMPTZ '2026-07-12 12:00:00+00' AS "CreatedAt", 'qxbob' AS "CreatedBySubjectSlug",
        'user' AS "CreatedBySubjectType", ['qxvault'] AS "Teams"
"""


def _copy(file: Path, columns: str, *, has_time: bool = True) -> None:
    select = f"{'*, ' if has_time else ''}{columns} FROM ({OTHERS})"
    duckdb.execute(f"COPY (SELECT {select}) TO '{file}' (COMPRESSION uncompressed)")


def _cut(file: Path) -> None:
    _copy(file, '\'qxmodel\' AS "ModelName", 1 AS "InputTokens"')
    os.truncate(file, file.stat().st_size - 9)


def _spoil(file: Path) -> None:
    """Bytes that are no UTF-8, where the file promises text; only the callers' rows are read."""
    name = b"qx-model-with-a-long-name"
    own = "'ada@example.com' AS \"CreatedBySubjectSlug\", ['search'] AS \"Teams\""
    columns = f"""* REPLACE ({own}), '{name.decode()}' AS "ModelName", 9 AS "InputTokens" """
    _copy(file, columns, has_time=False)
    file.write_bytes(file.read_bytes().replace(name, b"\xff\xfe" + name[2:]))


def _link_out(file: Path) -> None:
    out = file.parents[5] / "qxout.parquet"
    _copy(out, '1 AS "InputTokens"')
    file.symlink_to(out)


def _link_folder(file: Path) -> None:
    (file.parents[5] / "qxout").mkdir()
    file.with_name("qxlink").symlink_to(file.parents[5] / "qxout")


def _copy_into(folder: Path, columns: str) -> None:
    folder.mkdir()
    _copy(folder / "qxfile.parquet", columns)


DAMAGE: Final[dict[str, tuple[Callable[[Path], object], str]]] = {
    "empty": (lambda file: file.touch(), "qxfile.parquet. is empty"),
    "no Parquet": (lambda file: file.write_text("qx"), "qxfile.parquet. is no Parquet"),
    "cut short": (_cut, "qxfile.parquet. is cut short"),
    "no UTF-8": (_spoil, "ModelName of .*qxfile.parquet. has bytes that are no UTF-8"),
    "another type": (
        lambda file: _copy(file, '[1] AS "InputTokens", \'m\' AS "ModelName"'),
        "InputTokens of .*qxfile.parquet. is stored as",
    ),
    "no time": (
        lambda file: _copy(file, "1 AS qxown, 2 AS qxtime", has_time=False),
        'its columns are "qxown", "qxtime"',
    ),
    "a pipe": (os.mkfifo, "a named pipe: .*qxfile.parquet"),
    "a link out": (_link_out, "a link out of the data directory"),
    "a linked folder": (_link_folder, "is a link, which is not followed: .*qxlink"),
    "a pattern": (lambda file: file.with_name("qx[1].parquet").touch(), r"in its name: .*qx\[1\]"),
    "a name that is no UTF-8": (
        lambda file: file.with_name(os.fsdecode(b"qx\xff.parquet")).touch(),
        "a name that is no UTF-8",
    ),
    "a Delta table": (lambda file: file.with_name("_delta_log").mkdir(), "a Delta table"),
    "a folder of a type": (
        lambda file: _copy_into(file.parent / "InputTokens=qxmany", "'m' AS \"ModelName\""),
        "the folder names of .* give InputTokens a value",
    ),
}
"""How a file of others cannot be read, and what those who see all rows are told of it."""


@pytest.mark.parametrize("kind", DAMAGE)
async def test_what_cannot_be_read_is_named_to_those_who_see_all_rows(
    kind: str, tmp_path: Path, catalog: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    make, named = DAMAGE[kind]
    folder = tmp_path / "data" / TABLE / FOLDER
    folder.mkdir(parents=True)
    duckdb.execute(f"COPY ({ROWS}) TO '{tmp_path}/data/{TABLE}/rows.parquet'")
    make(folder / "qxfile.parquet")
    backend = DuckDBBackend(tmp_path / "data", catalog, cache_bytes=1_000_000)
    question = ask(catalog, "inputTokens", "GREATER_THAN", 1)

    with pytest.raises(EngineError, match=named):
        await backend.query(question, LOCAL)
    caplog.clear()
    for caller in (ADA, SEARCH):
        with pytest.raises(EngineError) as refused:
            await backend.query(question, caller)
        assert str(refused.value) == (
            f"not all rows of {TABLE} in this window can be read. Ask for another window or again"
            " later, or tell the operator of this server, whose log says why"
        )
        assert re.search(named, caplog.text)
    await backend.aclose()


async def test_what_is_not_read_is_named_to_those_who_see_all_rows(
    tmp_path: Path, catalog: Catalog
) -> None:
    folder = tmp_path / TABLE / FOLDER
    folder.mkdir(parents=True)
    duckdb.execute(f"COPY ({ROWS}) TO '{tmp_path}/{TABLE}/rows.parquet'")
    for name in ("qxrows.csv", "qxfile.parquet.tmp"):
        (folder / name).write_text("qx")
    _copy(folder / "qxfile.parquet", "1 AS input_tokens, 'm' AS \"ModelName\"")
    _copy(folder / "qxfile (1).parquet", "1 AS input_tokens, 'm' AS \"ModelName\"")
    backend = DuckDBBackend(tmp_path, catalog)
    question = ask(catalog, "inputTokens", "GREATER_THAN", 1)

    told = {
        caller: (await backend.query(question, caller)).notes for caller in (LOCAL, ADA, SEARCH)
    }
    assert len([note for note in told.pop(LOCAL) if "qx" in note]) == 4
    assert told == {ADA: (), SEARCH: ()}
    await backend.aclose()
