"""Files of other writers: what they mean is the same whatever is beside them, or they are refused.

`foreign/` holds files that DuckDB cannot write; pyarrow 26.0.1 wrote them.
"""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest

from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.errors import EngineError
from gateway_metrics_mcp.query.model import LOCAL, Caller, Query
from gateway_metrics_mcp.query.result import Result

Row = dict[str, Any]
Ask = Callable[..., Awaitable[list[Row]]]
Write = Callable[..., Path]
Select = Callable[..., Path]
Open = Callable[..., DuckDBBackend]
Make = Callable[..., Query]
Tell = Callable[..., Awaitable[Result]]

TABLE: Final = "gateway_model_metrics"
FOREIGN: Final = Path(__file__).parent / "foreign"
NOON: Final = "TIMESTAMPTZ '2026-07-10 12:00:00+00'"


@pytest.fixture
def select(data: Path, write_select: Write) -> Select:
    """`select(columns, ...)`: a file of one row at noon with the columns in SQL."""

    def write(columns: str, name: str = "part-0.parquet", **layout: Any) -> Path:
        listed = f'SELECT {NOON} AS "CreatedAt", {columns}'
        return write_select(data, listed, name=name, **layout)

    return write


@pytest.fixture
def tell(engine: Open, make_query: Make) -> Tell:
    """Ask one engine: the result with its notes."""
    backend = engine()
    return lambda **question: backend.query(make_query(**question), LOCAL)


@pytest.fixture
def put(data: Path) -> Callable[[str], None]:
    """Put a file of `foreign/` into the table."""

    def copy(name: str) -> None:
        (data / TABLE).mkdir(exist_ok=True)
        shutil.copy(FOREIGN / f"{name}.parquet", data / TABLE)

    return copy


# --- no time ---


async def test_a_file_without_the_time_is_refused_with_its_columns_its_rows_and_the_way_out(
    ask: Ask, write: Write, data: Path, write_select: Write
) -> None:
    write([{"InputTokens": 1}], name="right.parquet")
    write_select(
        data,
        f"SELECT {NOON} AS created_at, 'gpt-4o' AS \"ModelName\" FROM range(2)",  # noqa: S608 - ours
        folder="date=2026-07-10",
        name="left.parquet",
    )

    with pytest.raises(EngineError) as caught:
        await ask()

    said = str(caught.value)
    assert '"date=2026-07-10/left.parquet" has 2 rows and no column CreatedAt' in said
    assert '"created_at", "ModelName"' in said
    assert "--map CreatedAt=COLUMN" in said
    assert str(data) not in said


async def test_a_file_without_the_time_and_without_rows_harms_nothing(
    ask: Ask, write: Write, data: Path, write_select: Write
) -> None:
    write([{"InputTokens": 1}], name="right.parquet")
    write_select(data, "SELECT 1 AS created_at WHERE false", name="left.parquet")

    assert await ask() == [{"total": 1}]


async def test_rows_without_a_time_are_said_as_they_are_in_no_window(
    tell: Tell, write: Write, data: Path, write_select: Write
) -> None:
    write([{}], name="right.parquet")
    write([{"CreatedAt": None}, {}, {"CreatedAt": None}], name="left.parquet")
    texts = "SELECT unnest(['', '2026-07-10T12:00:00Z']) AS \"CreatedAt\""
    write_select(data, texts, name="text.parquet")

    first, second = await tell(), await tell()

    assert first.points[0].values == (3,)
    assert first.notes == (
        (
            f'3 rows of 2 files of {TABLE}, such as "left.parquet", have no time in CreatedAt: they'
            " are in no window, and no question counts them"
        ),
    )
    assert second.notes == first.notes


async def test_a_column_that_a_file_spells_in_another_way_is_said_with_the_way_out(
    tell: Tell, select: Select, write: Write
) -> None:
    write([{"ModelName": "right", "InputTokens": 1}], name="right.parquet")
    for name in ("a.parquet", "b.parquet"):
        select("'left' AS model_name, 2 AS \"Input-Tokens\", 3 AS input_tokens", name=name)
    select('2 AS "InputTokens"', folder="model_name=in folder", name="c.parquet")

    result = await tell(groupBy=["modelName"], aggregations=["sum inputTokens"])

    assert result.notes == (
        (
            f'2 files of {TABLE}, such as "a.parquet", have no column ModelName but "model_name",'
            ' and no column InputTokens but "Input-Tokens" and "input_tokens": what they lack reads'
            " as null. Rename that, or bring the files in with `gateway-metrics-mcp import`, which"
            " takes --map ModelName=COLUMN,InputTokens=COLUMN"
        ),
        (
            f'1 file of {TABLE}, such as "model_name=…/c.parquet", has no column ModelName but'
            ' "model_name": what it lacks reads as null. Rename that, or bring the file in with'
            " `gateway-metrics-mcp import`, which takes --map ModelName=COLUMN"
        ),
    )
    assert (await tell()).notes == ()


@pytest.mark.parametrize(
    ("value", "is_read"),
    [
        ("'2026-07-10T12:00:00Z'", True),
        ("'2026-07-10 14:00:00.999999999+02:00'", True),
        ("'2026-07-10T12:00:00Z'::BLOB", True),
        ("'2026-07-10t12:00:00z'", True),
        ("'2026-07-10 12:00:00 Z'", True),
        ("'2026-07-10 07:00:00.5 -0500'", True),
        ("'2026-07-10 17:30:00 +05:30'", True),
        ("'2026-07-10T12:00:00+99:99'", False),
        ("'2026-07-10T12:00:00'", False),
        ("'2026-07-10'", False),
        ("'10.07.2026 12:00+00'", False),
        ("DATE '2026-07-10'", False),
        ("1783684800", False),
        ("1783684800000.0::DOUBLE", False),
        ("TIME '12:00:00'", False),
    ],
)
async def test_a_time_of_another_type_is_read_only_if_it_is_clear(
    ask: Ask, data: Path, write_select: Write, value: str, *, is_read: bool
) -> None:
    write_select(data, f'SELECT {value} AS "CreatedAt"', name="odd.parquet")

    if is_read:
        (row,) = await ask(interval="1 second")
        assert row["startTimestamp"] == "2026-07-10T12:00:00.000Z"
        return
    with pytest.raises(EngineError, match=r'CreatedAt of "odd\.parquet" is .* an offset from UTC'):
        await ask()


@pytest.mark.parametrize("name", ["int96", "nanoseconds-utc", ""])
async def test_nanoseconds_are_cut_to_microseconds_so_that_no_row_changes_its_day(
    ask: Ask, put: Callable[[str], None], data: Path, write_select: Write, name: str
) -> None:
    if name:
        put(name)
    else:
        late, next_ = "2026-07-10 23:59:59.999999999", "2026-07-11 00:00:00"
        write_select(data, f"SELECT unnest(['{late}', '{next_}']::TIMESTAMP_NS[]) AS \"CreatedAt\"")

    rows = await ask(interval="1 day")

    assert [(row["startTimestamp"][:10], row["total"]) for row in rows] == [
        ("2026-07-10", 1),
        ("2026-07-11", 1),
    ]


# --- text as bytes ---


async def test_text_that_is_stored_as_bytes_is_text_wherever_it_stands(
    ask: Ask, select: Select, write: Write
) -> None:
    write([{"ModelName": "modèle", "Teams": ["süd"], "Metadata": {"clé": "o'neil"}}])
    select(
        "encode('modèle') AS \"ModelName\", [encode('süd')] AS \"Teams\","
        " MAP {encode('clé'): encode('o''neil')} AS \"Metadata\","
        " encode('zoë') AS \"CreatedBySubjectSlug\", encode('user') AS \"CreatedBySubjectType\"",
        name="bytes.parquet",
    )

    grouped = await ask(groupBy=["modelName", "team", "metadata.clé"])
    found = await ask(filters=[("modelName", "EQUAL", "modèle"), ("userEmail", "EQUAL", "zoë")])
    own = await ask(caller=Caller("zoë"))

    assert grouped == [{"modelName": "modèle", "team": "süd", "metadata.clé": "o'neil", "total": 2}]
    assert found == [{"total": 1}]
    assert own == [{"total": 1}]


async def test_bytes_that_are_no_text_are_refused_by_column_and_file(
    ask: Ask, put: Callable[[str], None], write: Write
) -> None:
    write([{"ModelName": "right"}])
    put("latin1")

    with pytest.raises(EngineError, match=r'ModelName of "latin1\.parquet" has bytes that are no'):
        await ask(groupBy=["modelName"])
    assert await ask() == [{"total": 3}]


# --- metadata and teams ---

SHAPES: Final = {
    "map": "MAP {'environment': 'production', 'retries': '2'}",
    "struct": "{'environment': 'production', 'retries': 2}",
    "list of key and value": (
        "[{'key': 'environment', 'value': 'production'}, {'key': 'retries', 'value': '2'}]"
    ),
    "list of Name and Value": (
        "[{'Name': 'environment', 'Value': 'production'}, {'Name': 'retries', 'Value': '2'},"
        " {'Name': 'retries', 'Value': '3'}, {'Name': NULL, 'Value': 'x'}]"
    ),
    "JSON": '\'{"environment": "production", "retries": 2, "none": null}\'::JSON',
    "JSON as text": '\' {"environment": "production", "retries": 2}\'',
    "JSON as bytes": '\'{"environment": "production", "retries": 2}\'::BLOB',
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_metadata_of_every_shape_read_alike_beside_each_other(
    ask: Ask, select: Select, shape: str
) -> None:
    select(f'{SHAPES["map"]} AS "Metadata"', name="a.parquet")
    select(f'{SHAPES[shape]} AS "Metadata"', name="b.parquet")
    select('NULL::VARCHAR AS "Metadata"', name="c.parquet")

    rows = await ask(groupBy=["metadata.environment", "metadata.retries"])

    assert rows == [
        {"metadata.environment": "production", "metadata.retries": "2", "total": 2},
        {"metadata.environment": None, "metadata.retries": None, "total": 1},
    ]


async def test_fields_of_a_struct_that_differ_by_case_are_different_keys(
    ask: Ask, put: Callable[[str], None]
) -> None:
    put("struct")

    keys = ("environment", "Environment", "retries", "ratio", "flag", "nested")
    rows = await ask(groupBy=[f"metadata.{key}" for key in keys])

    values = [[row[f"metadata.{key}"] for key in keys] for row in rows]
    assert values == [["production", "Paris", "2", "0.5", "true", '{"a":[1,null]}'], [None] * 6]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("Metadata", "'no JSON'"),
        ("Metadata", "'[1]'"),
        ("Metadata", "1"),
        ("Metadata", "[{'key': 'a', 'other': 'b'}]"),
        ("Teams", "'search'"),
        ("Teams", "[{'name': 'search'}]"),
        ("InputTokens", "'many'"),
        ("IsFailure", "'yes'"),
        ("IsFailure", "'t'::BLOB"),
        ("InputTokens", "'1_000'"),
        ("InputTokens", "'1e3'"),
        ("InputTokens", "1e300::DOUBLE"),
        ("InputTokens", "DATE '2026-07-10'"),
        ("LatencyMs", "'fast'"),
        ("LatencyMs", "'1_5'::BLOB"),
        ("LatencyMs", "INTERVAL 1 SECOND"),
        ("ModelName", "['gpt-4o']"),
        ("ModelName", "{'name': 'gpt-4o'}"),
    ],
)
async def test_what_cannot_be_read_is_refused_by_column_and_file_beside_what_can(
    ask: Ask, select: Select, write: Write, column: str, value: str
) -> None:
    write([{"Metadata": {"k": "v"}, "Teams": ["a"], "InputTokens": 1, "LatencyMs": 2.0}])
    select(f'{value} AS "{column}"', folder="date=2026-07-10", name="odd.parquet")

    with pytest.raises(EngineError, match=f'{column} of "date=2026-07-10/odd.parquet" is '):
        await ask(
            groupBy=["modelName", "team", "metadata.k"],
            filters=[("isFailure", "EQUAL", True)] if column == "IsFailure" else [],
            aggregations=["sum inputTokens", "p50 latencyMs"],
        )
    assert await ask() == [{"total": 2}]


async def test_all_columns_that_cannot_be_read_are_said_at_once(ask: Ask, select: Select) -> None:
    select('[1] AS "InputTokens", [2] AS "ModelName"')

    with pytest.raises(EngineError) as caught:
        await ask(groupBy=["modelName"], aggregations=["sum inputTokens"])

    assert "InputTokens of" in str(caught.value)
    assert "ModelName of" in str(caught.value)


async def test_teams_as_a_json_array_or_with_nulls_are_teams(ask: Ask, select: Select) -> None:
    select('\'["search", null]\' AS "Teams"', name="json.parquet")
    select("['search', NULL]::BLOB[] AS \"Teams\"", name="bytes.parquet")
    select("''  AS \"Teams\"", name="none.parquet")

    assert await ask(groupBy=["team"]) == [
        {"team": "search", "total": 2},
        {"team": None, "total": 1},
    ]


async def test_columns_that_a_writer_knew_no_type_of_are_null(
    ask: Ask, put: Callable[[str], None], write: Write
) -> None:
    write([{"Teams": ["search"], "Metadata": {"k": "v"}, "InputTokens": 5}])
    put("nulls")

    rows = await ask(groupBy=["team", "metadata.k"], aggregations=["sum inputTokens"])

    assert [(row["team"], row["metadata.k"], row["sumInputTokens"]) for row in rows] == [
        (None, None, None),
        ("search", "v", 5),
    ]


async def test_two_columns_that_differ_by_case_are_refused_if_they_are_asked(
    ask: Ask, put: Callable[[str], None]
) -> None:
    put("two-spellings")

    with pytest.raises(EngineError, match='has "ModelName" and "modelname"'):
        await ask(groupBy=["modelName"])
    assert await ask() == [{"total": 2}]


@pytest.mark.parametrize(
    "type_", ["DOUBLE", "FLOAT", "DECIMAL(6, 2)", "VARCHAR", "DECIMAL(38, 10)", "BLOB"]
)
async def test_a_fraction_of_a_token_is_rounded_alike_in_every_type(
    ask: Ask, data: Path, write_select: Write, type_: str
) -> None:
    rows_ = "unnest([0.5, 1.5, 2.5, -0.5, 0.49, 7.0]::VARCHAR[]) AS v, unnest(range(6)) AS i"
    columns = f'{NOON} AS "CreatedAt", v::{type_} AS "InputTokens", i::VARCHAR AS "ModelName"'
    write_select(data, f"SELECT {columns} FROM (SELECT {rows_})")  # noqa: S608 - ours

    rows = await ask(groupBy=["modelName"], aggregations=["sum inputTokens"])

    assert [row["sumInputTokens"] for row in rows] == [1, 2, 3, -1, 0, 7]


# --- values in folder names ---


async def test_values_in_folder_names_are_those_of_the_columns_that_files_lack(
    ask: Ask, write: Write
) -> None:
    for folder in (
        "ModelName=alpha/InputTokens=5/date=2026-07-10",
        "modelname=caf%C3%A9%20%2F%3D/INPUTTOKENS=7",
        "ModelName=__HIVE_DEFAULT_PARTITION__/InputTokens=1",
    ):
        write([{"CostInUSD": 1.0}], folder=folder)
    write([{"ModelName": "in the file", "InputTokens": 3}], folder="ModelName=x/InputTokens=9")

    rows = await ask(groupBy=["modelName"], aggregations=["sum inputTokens"])
    found = await ask(filters=[("modelName", "STRING_CONTAINS", "é"), ("inputTokens", "EQUAL", 7)])

    assert [(row["modelName"], row["sumInputTokens"]) for row in rows] == [
        ("alpha", 5),
        ("café /=", 7),
        ("in the file", 3),
        (None, 1),
    ]
    assert found == [{"total": 1}]


@pytest.mark.parametrize(
    ("folder", "column", "value"),
    [
        ("CreatedAt=2026-07-10 12%3A00%3A00", "startTimestamp", "2026-07-10T12:00:00.000Z"),
        ("CreatedAt=2026-07-10T14%3A00%3A00+02%3A00", "startTimestamp", "2026-07-10T12:00:00.000Z"),
    ],
)
async def test_the_time_itself_may_be_in_a_folder_name(
    ask: Ask, data: Path, write_select: Write, folder: str, column: str, value: str
) -> None:
    write_select(data, "SELECT 'gpt-4o' AS \"ModelName\"", folder=folder)

    (row,) = await ask(interval="1 hour")

    assert (row[column], row["total"]) == (value, 1)


@pytest.mark.parametrize(
    ("value", "read"),
    [("1", True), ("0.4::DOUBLE", True), ("'False'", False), ("'NaN'::FLOAT", None), ("''", None)],
)
async def test_what_is_read_as_a_boolean(
    ask: Ask, data: Path, write_select: Write, value: str, *, read: bool | None
) -> None:
    listed = f'SELECT {NOON} AS "CreatedAt", {value} AS "IsFailure"'
    write_select(data, listed, table="gateway_request_metrics")

    (row,) = await ask(datasource="agentMetrics", groupBy=["isFailure"])

    assert row["isFailure"] is read


@pytest.mark.parametrize("value", ["5_0", "\N{ARABIC-INDIC DIGIT FIVE}", "inf", "1.5.0"])
async def test_a_folder_name_that_is_no_number_is_refused(
    ask: Ask, write: Write, value: str
) -> None:
    write([{}], folder=f"CostInUSD={value}")

    with pytest.raises(EngineError, match="give CostInUSD a value that is unclear or not a number"):
        await ask(aggregations=["sum costInUSD"])


@pytest.mark.parametrize(
    ("text", "value"), [("1.5e-3", 0.0015), (" .5 ", 0.5), ("-2", -2), ("nan", None), ("", None)]
)
async def test_a_number_as_text_is_read(
    ask: Ask, select: Select, text: str, value: float | None
) -> None:
    select(f"'{text}' AS \"CostInUSD\"")

    assert await ask(aggregations=["sum costInUSD"]) == [{"total": 1, "sumCostInUSD": value}]


@pytest.mark.parametrize(
    "folder",
    [
        *("InputTokens=many", "InputTokens=", "InputTokens=99999999999999999999"),
        *("InputTokens=%FF", "InputTokens=5/of-a-value-with-a-slash"),
    ],
)
async def test_a_folder_name_that_is_no_value_of_its_column_is_refused(
    ask: Ask, write: Write, folder: str
) -> None:
    write([{}], folder=folder)

    with pytest.raises(EngineError, match="give InputTokens a value that is unclear or not"):
        await ask(aggregations=["sum inputTokens"])
    assert await ask() == [{"total": 1}]


async def test_values_in_folder_names_stay_with_their_files_whatever_the_files_hold(
    ask: Ask, write: Write
) -> None:
    for n in range(5):
        for name in ("a", "b"):
            columns = {"file_index": "7", "filename": "x"} if name == "b" else {}
            write([columns | {"InputTokens": n}], folder=f"ModelName=m{n}", name=f"{name}.parquet")

    rows = await ask(groupBy=["modelName"], aggregations=["sum inputTokens"])

    assert [(r["modelName"], r["total"], r["sumInputTokens"]) for r in rows] == [
        (f"m{n}", 2, 2 * n) for n in range(5)
    ]


async def test_a_list_or_map_in_a_folder_name_is_refused(ask: Ask, write: Write) -> None:
    write([{}], folder="Teams=search")

    with pytest.raises(EngineError, match="give Teams a value that is unclear or not"):
        await ask(groupBy=["team"])


async def test_no_message_shows_the_values_of_folder_names_which_may_be_users(
    ask: Ask, write: Write, data: Path, write_select: Write
) -> None:
    folder = "CreatedBySubjectSlug=alice%40example.com/date=2026-07-10/Teams=secret"
    write([{"InputTokens": "many"}], folder=folder, types={"InputTokens": "VARCHAR"})
    shown = "CreatedBySubjectSlug=…/date=2026-07-10/Teams=…/part-0.parquet"

    for question in ({"aggregations": ["sum inputTokens"]}, {"groupBy": ["team"]}):
        with pytest.raises(EngineError) as caught:
            await ask(**question)
        assert shown in str(caught.value)
        assert "alice" not in str(caught.value)
    write_select(data, "SELECT 1 AS other", folder=folder, name="untimed.parquet")
    (data / TABLE / folder / "broken.parquet").write_bytes(b"")
    with pytest.raises(EngineError) as caught:
        await ask()
    assert "alice" not in str(caught.value)
