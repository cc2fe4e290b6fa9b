"""A Parquet file means the same to `import` as to the engine that reads it where it is."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import duckdb
import pytest

if TYPE_CHECKING:
    import duckdb
    from tests.cli.ingest.conftest import Data

Ask = Callable[..., Awaitable[dict[tuple[Any, ...], tuple[Any, ...]]]]
Write = Callable[[str], Path]

FOREIGN: Final = Path(__file__).parents[2] / "backends" / "foreign"
NOON: Final = "TIMESTAMPTZ '2026-07-10 12:00:00+00' AS \"CreatedAt\""


@pytest.fixture
def parquet(tmp_path: Path) -> Write:
    """`parquet(columns)`: a file of one row at noon with the columns in SQL."""

    def write(columns: str) -> Path:
        path = tmp_path / "calls.parquet"
        with duckdb.connect(config={"threads": 1}) as engine:
            engine.execute(f"COPY (SELECT {NOON}, {columns}) TO '{path}'")
        return path

    return write


@pytest.fixture
def both(data: Data, ask: Ask) -> Callable[..., Awaitable[tuple[Any, Any]]]:
    """Ask about a file where it is, then after an import in its place."""

    async def answer(path: Path, *group_by: str) -> tuple[Any, Any]:
        table = data.path / "gateway_model_metrics"
        table.mkdir(parents=True)
        copied = table / path.name
        shutil.copy(path, copied)
        direct = await ask(*group_by)
        copied.unlink()
        done = data.bring(path)
        assert done.code == 0, done.err
        return direct, await ask(*group_by)

    return answer


@pytest.mark.parametrize(
    "metadata",
    [
        "MAP {'environment': 'production', 'retries': '2'}",
        "MAP {encode('environment'): encode('production'), encode('retries'): encode('2')}",
        "{'environment': 'production', 'retries': 2}",
        "{'environment': encode('production'), 'retries': 2::DECIMAL(3, 0)}",
        "[{'key': 'environment', 'value': 'production'}, {'key': 'retries', 'value': '2'}]",
        "[{'name': 'environment', 'value': 'production'}, {'name': 'retries', 'value': '2'}]",
        '\'{"environment": "production", "retries": 2}\'::JSON',
        '\'{"environment": "production", "retries": 2}\'',
        'encode(\'{"environment": "production", "retries": 2}\')',
    ],
)
async def test_metadata_of_every_shape_arrive_as_in_the_direct_reading(
    parquet: Write, both: Callable[..., Awaitable[tuple[Any, Any]]], metadata: str
) -> None:
    path = parquet(f'{metadata} AS "Metadata"')

    direct, imported = await both(path, "metadata.environment", "metadata.retries")

    assert direct == imported
    assert list(direct) == [("production", "2")]


@pytest.mark.parametrize("name", ["struct", "nulls", "nanoseconds-utc"])
async def test_a_foreign_file_arrives_as_in_the_direct_reading(
    both: Callable[..., Awaitable[tuple[Any, Any]]], name: str
) -> None:
    keys = ("environment", "Environment", "retries", "ratio", "flag", "nested")

    direct, imported = await both(
        FOREIGN / f"{name}.parquet", "modelName", "team", *(f"metadata.{key}" for key in keys)
    )

    assert direct == imported


@pytest.mark.parametrize(
    "columns",
    [
        '\'modèle\' AS "ModelName", [\'süd\', NULL] AS "Teams", 2.5::DOUBLE AS "InputTokens"',
        'encode(\'modèle\') AS "ModelName", [encode(\'süd\')] AS "Teams", 2.5 AS "InputTokens"',
        '\'"modèle"\'::JSON AS "ModelName", \'["süd"]\' AS "Teams", \'2.5\' AS "InputTokens"',
        '\'modèle\' AS "ModelName", \'süd\' AS "Teams", 3e0::FLOAT AS "InputTokens"',
    ],
)
async def test_text_teams_and_tokens_of_every_type_arrive_alike(
    data: Data, ask: Ask, parquet: Write, columns: str
) -> None:
    assert data.bring(parquet(columns)).code == 0

    assert await ask("modelName", "team") == {("modèle", "süd"): (1, 3, None, None)}


def test_tokens_in_doubles_of_many_digits_are_whole_numbers(data: Data, parquet: Write) -> None:
    data.bring(parquet('1e17::DOUBLE AS "InputTokens"'), "--strict")

    assert data.rows('"InputTokens"') == [(10**17,)]


def test_bytes_that_are_no_text_are_refused_by_column_and_file(data: Data) -> None:
    done = data.bring(FOREIGN / "latin1.parquet")

    assert done.code == 1
    assert "latin1.parquet: the column ModelName has bytes that are no UTF-8 text" in done.err
    assert data.rows() == []


def test_two_columns_that_differ_by_case_are_refused(data: Data) -> None:
    done = data.bring(FOREIGN / "two-spellings.parquet")

    assert done.code == 1
    assert 'has the columns "ModelName" and "modelname", which differ by case' in done.err


async def test_values_in_folder_names_arrive_as_in_the_direct_reading(
    data: Data, ask: Ask, parquet: Write, tmp_path: Path
) -> None:
    folders = ("ModelName=a%2Fb/inputtokens=5", "ModelName=__HIVE_DEFAULT_PARTITION__")
    for n, folder in enumerate(folders):
        path = tmp_path / folder / f"{n}.parquet"
        path.parent.mkdir(parents=True)
        parquet(f'{n} AS "OutputTokens"').rename(path)

    done = data.bring(tmp_path / "ModelName=*" / "**" / "*.parquet", "--strict")

    assert done.code == 0, done.err
    assert await ask("modelName") == {("a/b",): (1, 5, 0, None), (None,): (1, None, 1, None)}


def test_a_folder_name_whose_value_is_unclear_is_refused_unless_the_flags_give_it(
    data: Data, parquet: Write, tmp_path: Path
) -> None:
    path = tmp_path / "ModelName=openai" / "gpt-4o" / "calls.parquet"
    path.parent.mkdir(parents=True)
    parquet('1 AS "OutputTokens"').rename(path)

    refused = data.bring(path)
    data.bring(path, "--set", "ModelName=openai/gpt-4o")

    assert refused.code == 1
    assert "give ModelName a value that is unclear" in refused.err
    assert data.rows('"ModelName"') == [("openai/gpt-4o",)]


def test_files_of_a_table_with_a_log_are_refused(data: Data, parquet: Write) -> None:
    lake = parquet('1 AS "InputTokens"').rename(data.path.with_name("part-0.parquet"))
    table = data.path.with_name("lake")
    (table / "_delta_log").mkdir(parents=True)
    (table / "ModelName=a").mkdir()
    lake = lake.rename(table / "ModelName=a" / lake.name)

    done = data.bring(lake)

    assert done.code == 1
    assert f"{table} is a Delta table (it has _delta_log): its log says which" in done.err
    assert data.files() == {}


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ("'nan'::DOUBLE AS \"LatencyMs\"", "LatencyMs: not a number"),
        ("'-inf'::DOUBLE AS \"InputTokens\"", "InputTokens: not a whole number"),
        ('2147483648 AS "HttpStatusCode"', "HttpStatusCode: not a whole number of 32 bits"),
        ('true AS "InputTokens"', "InputTokens: not a whole number"),
        (
            "TIMESTAMPTZ 'infinity' AS \"CreatedAt\"",
            "CreatedAt: not an ISO 8601 date and time",
        ),
        (
            "TIMESTAMPTZ '3000-01-01 00:00:00+00' AS \"CreatedAt\"",
            "CreatedAt: not between 1970 and 2999",
        ),
        ('NULL::TIMESTAMPTZ AS "CreatedAt"', "CreatedAt: empty"),
    ],
)
def test_values_that_do_not_fit_are_refused_with_their_text(
    data: Data, tmp_path: Path, columns: str, reason: str
) -> None:
    path = tmp_path / "calls.parquet"
    created = "" if "CreatedAt" in columns else f"{NOON}, "
    good = f'SELECT {NOON}, 1 AS "OutputTokens"'
    with duckdb.connect(config={"threads": 1}) as engine:
        engine.execute("SET TimeZone = 'UTC'")
        rows = f'{good} UNION ALL BY NAME SELECT {created}{columns}, 2 AS "OutputTokens"'
        engine.execute(f"COPY ({rows}) TO '{path}'")

    done = data.bring(path)

    assert data.rows('"OutputTokens"') == [(1,)]
    assert f"1 refused: {reason}" in done.out


def test_a_map_with_a_key_twice_is_refused(data: Data) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    maps = pa.array(
        [[("a", "1"), ("a", "2")], [("a", "3"), ("b", None)]], pa.map_(pa.string(), pa.string())
    )
    times = pa.array([1783684800000000] * 2, pa.timestamp("us", tz="UTC"))
    path = data.path.with_name("calls.parquet")
    pq.write_table(pa.table({"CreatedAt": times, "Metadata": maps}), path)

    done = data.bring(path)

    assert data.rows('"Metadata"') == [({"a": "3", "b": None},)]
    assert "1 refused: Metadata: not a JSON object (first: calls.parquet, row 1)" in done.out
