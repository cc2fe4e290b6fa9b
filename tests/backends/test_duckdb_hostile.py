"""The embedded engine against values that are SQL, files that are broken, and holes of our own."""

from __future__ import annotations

import json
import random
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import anyio
import duckdb
import pytest

from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.errors import EngineError, SettingsError
from gateway_metrics_mcp.query.catalog import Catalog, load_catalog
from gateway_metrics_mcp.query.model import Caller

Row = dict[str, Any]
Ask = Callable[..., Awaitable[list[Row]]]
Write = Callable[..., Path]
Open = Callable[..., DuckDBBackend]

INJECTIONS: Final = (
    "' OR 1=1 --",
    "' OR '1'='1",
    "'; DROP TABLE gateway_model_metrics; --",
    '"; DROP TABLE gateway_model_metrics; --',
    "x') OR true) --",
    "\\' OR true --",
    "$p0",
    "$files",
    "{p0:String}",
    "?",
    "NULL",
    "*",
    "read_text('/etc/passwd')",
    "') UNION ALL SELECT content FROM read_text('/etc/passwd') --",
    "]; COPY gateway_model_metrics TO 'out.csv'; --",
    "' || getenv('HOME') || '",
    "/* */",
    "\u2019 OR 1=1 --",
    "\uff07 OR 1=1 --",
    "line\nbreak; SELECT 1",
    "\ufeff",
    "$$x$$",
    "E'\\x41'",
)
TABLES: Final = [{"modelName": "gpt-4o", "total": 1}]


@pytest.fixture
def rows(write: Write) -> None:
    write(
        [
            {
                "ModelName": "gpt-4o",
                "CreatedBySubjectSlug": "analyst-1@example.com",
                "CreatedBySubjectType": "user",
                "Teams": ["search"],
                "Metadata": {"environment": "production"},
            }
        ]
    )


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("text", INJECTIONS)
async def test_a_filter_value_that_is_sql_stays_a_value(ask: Ask, text: str) -> None:
    for field in ("modelName", "userEmail", "virtualAccount", "traceId", "metadata.environment"):
        assert await ask(filters=[(field, "EQUAL", text)]) == [{"total": 0}]
    for operator, value in (
        ("IN", [text, text]),
        ("STRING_CONTAINS", text),
        ("STRING_STARTS_WITH", text),
        ("STRING_ENDS_WITH", text),
        ("BETWEEN", [text, text]),
    ):
        assert await ask(filters=[("modelName", operator, value)]) == [{"total": 0}]
    assert await ask(filters=[("team", "ARRAY_HAS_ANY", [text])]) == [{"total": 0}]
    assert await ask(filters=[("team", "ARRAY_HAS_NONE", [text])]) == [{"total": 1}]
    assert await ask(filters=[("modelName", "NOT_EQUAL", text)]) == [{"total": 1}]
    assert await ask(groupBy=["modelName"]) == TABLES


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("text", INJECTIONS)
async def test_a_metadata_key_that_is_sql_stays_a_key(ask: Ask, text: str) -> None:
    grouped = await ask(groupBy=[f"metadata.{text}"], interval="1 year")
    filtered = await ask(filters=[(f"metadata.{text}", "STRING_NOT_CONTAINS", text)])

    assert [(row[f"metadata.{text}"], row["total"]) for row in grouped] == [(None, 1)]
    assert filtered == [{"total": 0}]
    assert await ask(groupBy=["modelName"]) == TABLES


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("text", INJECTIONS)
async def test_a_caller_whose_name_or_team_is_sql_sees_nothing(ask: Ask, text: str) -> None:
    for caller in (Caller(text), Caller("x", teams=frozenset([text, f"{text}2"]))):
        assert await ask(caller=caller) == [{"total": 0}]
    assert await ask(groupBy=["modelName"]) == TABLES


@pytest.mark.parametrize("text", INJECTIONS)
async def test_stored_text_that_is_sql_comes_back_as_it_is(
    ask: Ask, write: Write, text: str
) -> None:
    write([{"ModelName": text, "Teams": [text], "Metadata": {text: text}}])

    rows = await ask(
        groupBy=["modelName", "team", f"metadata.{text}"],
        filters=[("modelName", "EQUAL", text), (f"metadata.{text}", "IN", [text])],
        caller=Caller("x", teams=frozenset([text])),
    )

    assert rows == [{"modelName": text, "team": text, f"metadata.{text}": text, "total": 1}]


# --- the user's own catalog ---


@pytest.fixture
def own_catalog(tmp_path: Path) -> Callable[..., Catalog]:
    """The packaged catalog with fields of one's own: `own_catalog(groupBy={...}, ...)`."""

    def load(**fields: dict[str, dict[str, Any]]) -> Catalog:
        file = tmp_path / "own.json"
        file.write_text(json.dumps({"datasources": {"modelMetrics": fields}}), "utf-8")
        return load_catalog(file)

    return load


@pytest.mark.parametrize(
    "column",
    [
        'quo"te',
        '"',
        "semi;colon",
        "x\") FROM read_text('/etc/passwd') --",
        "it's",
        "two words",
        "🔑",
    ],
)
async def test_a_column_of_the_users_own_may_have_any_name(
    engine: Open, ask: Ask, write: Write, own_catalog: Callable[..., Catalog], column: str
) -> None:
    entry = {"type": "string", "tableColumn": column}
    catalog = own_catalog(
        columns={"own": {**entry, "aggregations": ["countDistinct"]}},
        groupBy={"own": entry},
        filters={"own": {**entry, "operators": ["IN"]}},
    )
    write([{column: "x"}, {column: "y"}])

    rows = await ask(
        engine(catalog=catalog),
        catalog=catalog,
        groupBy=["own"],
        aggregations=["countDistinct own"],
        filters=[("own", "IN", ["x"])],
    )

    assert rows == [{"own": "x", "total": 1, "countDistinctOwn": 1}]


async def test_a_number_of_the_users_own_groups_without_nan(
    engine: Open, ask: Ask, write: Write, own_catalog: Callable[..., Catalog]
) -> None:
    catalog = own_catalog(groupBy={"score": {"type": "number", "tableColumn": "Score"}})
    scores = (0.5, float("nan"), float("inf"))
    write([{"Score": score} for score in scores], types={"Score": "DOUBLE"})

    rows = await ask(engine(catalog=catalog), catalog=catalog, groupBy=["score"])

    assert rows == [{"score": None, "total": 2}, {"score": 0.5, "total": 1}]


async def test_a_list_of_the_users_own_is_refused_and_never_read_as_the_teams(
    engine: Open, own_catalog: Callable[..., Catalog]
) -> None:
    labels = {"type": "array", "tableColumn": "Labels", "operators": ["ARRAY_HAS_ANY"]}

    with pytest.raises(SettingsError, match="Labels of gateway_model_metrics"):
        engine(catalog=own_catalog(filters={"labels": labels}))


async def test_another_name_for_the_teams_splits_rows_as_team_does(
    engine: Open, ask: Ask, write: Write, own_catalog: Callable[..., Catalog]
) -> None:
    catalog = own_catalog(groupBy={"squad": {"type": "array", "tableColumn": "Teams"}})
    write([{"Teams": ["a", "b"]}, {"Teams": ["a"]}])

    rows = await ask(engine(catalog=catalog), catalog=catalog, groupBy=["squad"])

    assert rows == [{"squad": "a", "total": 2}, {"squad": "b", "total": 1}]


@pytest.mark.parametrize(
    ("field", "column", "type_"),
    [("userEmail", "CreatedBySubjectSlug", "string"), ("team", "Teams", "array")],
)
async def test_is_null_may_be_allowed_on_subjects_and_teams(
    engine: Open,
    ask: Ask,
    write: Write,
    own_catalog: Callable[..., Catalog],
    field: str,
    column: str,
    type_: str,
) -> None:
    entry = {"type": type_, "tableColumn": column, "operators": [], "isNull": True}
    catalog = own_catalog(filters={field: entry})
    write(
        [
            {"CreatedBySubjectSlug": "shared", "CreatedBySubjectType": "user", "Teams": ["a"]},
            {"CreatedBySubjectSlug": None, "CreatedBySubjectType": "user", "Teams": None},
        ]
    )
    backend = engine(catalog=catalog)

    for value in (True, False):
        rows = await ask(backend, catalog=catalog, filters=[(field, "IS_NULL", value)])
        assert rows == [{"total": 1}]


# --- the sandbox: what would hold if a text of a caller became SQL after all ---


def list_all(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*"))


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_text('{data}/../secret.txt')",
        "SELECT * FROM read_blob('/proc/self/environ')",
        "SELECT * FROM read_csv('{outside}/secret.txt')",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM glob('{outside}/*')",
        "SELECT * FROM '{outside}/secret.txt'",
        "SELECT * FROM read_text('https://example.com/')",
        "COPY (SELECT 1) TO '{outside}/out.csv'",
        "COPY gateway_model_metrics FROM '{outside}/secret.txt'",
        "EXPORT DATABASE '{outside}/dump'",
        "ATTACH '{outside}/other.db'",
        "INSTALL httpfs",
        "LOAD '{outside}/extension'",
        "SELECT getenv('HOME')",
        "SET enable_external_access = true",
        "SET allowed_directories = ['/']",
        "SET memory_limit = '100GB'",
        "SET temp_directory = '{outside}'",
        "RESET lock_configuration",
        "PRAGMA enable_profiling",
        "CREATE SECRET s (TYPE s3)",
    ],
)
async def test_nothing_outside_the_data_directory_can_be_reached(
    engine: Open, tmp_path: Path, data: Path, statement: str
) -> None:
    (tmp_path / "secret.txt").write_text("hunter2", "utf-8")
    before = list_all(tmp_path)
    cursor = engine()._connection.cursor()  # noqa: SLF001 - no public road leads here: that is the point

    with pytest.raises(duckdb.Error):
        cursor.execute(statement.format(data=data, outside=tmp_path)).fetchall()

    cursor.close()
    assert list_all(tmp_path) == before


@pytest.mark.usefixtures("rows")
async def test_the_data_themselves_can_be_reached(engine: Open, data: Path) -> None:
    cursor = engine()._connection.cursor()  # noqa: SLF001 - else the refusals above show nothing

    found = cursor.execute(f"SELECT \"ModelName\" FROM '{data}/*/*.parquet'").fetchall()  # noqa: S608

    cursor.close()
    assert found == [("gpt-4o",)]


@pytest.mark.usefixtures("rows")
async def test_a_variable_of_python_is_no_table(engine: Open) -> None:
    cursor = engine()._connection.cursor()  # noqa: SLF001 - likewise
    secret = cursor.sql("SELECT 'hunter2'")  # DuckDB could find it by the variable's name

    with pytest.raises(duckdb.CatalogException):
        cursor.execute("SELECT * FROM secret")

    assert secret.columns
    cursor.close()


# --- broken files ---


@pytest.mark.parametrize(
    "content",
    [b"", b"PAR1", b"PAR1PAR1", b"not Parquet", b"\0" * 4096, b"a,b\n1,2\n", b"PAR1" * 500],
    ids=["empty", "magic", "twice", "text", "zeros", "csv", "repeated"],
)
async def test_a_file_that_is_no_parquet_is_said_by_its_name_in_the_table(
    ask: Ask, write: Write, data: Path, content: bytes
) -> None:
    write([{}])
    write([{}], name="broken.parquet", folder="date=2026-07-10").write_bytes(content)

    named = r'a Parquet file of .* cannot be read: "date=2026-07-10/broken.parquet" is'
    with pytest.raises(EngineError, match=named) as caught:
        await ask()
    assert str(data) not in str(caught.value)


async def test_a_file_cut_short_is_said(ask: Ask, write: Write) -> None:
    file = write([{"ModelName": f"m{n}"} for n in range(500)])
    file.write_bytes(file.read_bytes()[:-100])

    with pytest.raises(EngineError, match="cannot be read"):
        await ask(groupBy=["modelName"])


def damage(whole: bytes) -> Iterator[bytes]:
    """Random bytes anywhere, then each byte of the footer: its sizes can turn negative."""
    rng = random.Random(22)  # noqa: S311 - which bytes are damaged
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(rng.choice((1, 3, 20))):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        yield bytes(damaged)
    for place in range(len(whole) * 6 // 10, len(whole) - 8):
        yield whole[:place] + b"\xff" + whole[place + 1 :]


async def test_damaged_files_end_their_own_question_and_never_the_engine(
    ask: Ask, write: Write
) -> None:
    write([{}], table="gateway_mcp_metrics")
    file = write([{"ModelName": f"m{n % 7}", "InputTokens": n} for n in range(9)])
    whole = file.read_bytes()
    refused = asked = 0
    is_over = anyio.Event()

    async def ask_elsewhere() -> None:
        nonlocal asked
        while not is_over.is_set():
            assert await ask(datasource="mcpMetrics") == [{"total": 1}]
            asked += 1

    async with anyio.create_task_group() as group:
        group.start_soon(ask_elsewhere)
        for damaged in damage(whole):
            file.write_bytes(damaged)
            try:
                await ask(groupBy=["modelName"], aggregations=["sum inputTokens"])
            except EngineError:
                refused += 1
        is_over.set()

    assert refused > 20
    assert asked > 20
    file.write_bytes(whole)
    assert await ask() == [{"total": 9}]
