"""Files of every format come in, and the engine answers from them."""

from __future__ import annotations

import gzip
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

if TYPE_CHECKING:
    from tests.cli.ingest.conftest import Data

Ask = Callable[..., Awaitable[dict[Any, Any]]]
Write = Callable[..., Path]

TRACE = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
    "2026-07-10 18:17:03.9799600,4808,10\r\n"
    "2026-07-10 18:17:04.0319600,3180,8\r\n"
    "2026-07-10 19:00:00.0000000,110,27\r\n"
)
MAP = "CreatedAt=TIMESTAMP,InputTokens=ContextTokens,OutputTokens=GeneratedTokens"
SUBJECT = "CreatedBySubjectSlug, CreatedBySubjectType, CreatedBySubjectId, CreatedBySubject"


async def test_a_trace_comes_in_with_one_command(data: Data, csv: Write, ask: Ask) -> None:
    done = data.bring(csv(TRACE), "--map", MAP, "--set", "ModelName=code", "--timezone", "UTC")

    assert (done.code, done.err) == (0, "")
    assert await ask("modelName") == {("code",): (3, 8098, 45, None)}
    hourly = await ask(type="timeseries", intervalInSeconds=3600)
    assert hourly == {
        (datetime(2026, 7, 10, 18, tzinfo=UTC),): (2, 7988, 18, None),
        (datetime(2026, 7, 10, 19, tzinfo=UTC),): (1, 110, 27, None),
    }


def test_the_report_says_what_became_of_rows_and_columns(data: Data, csv: Write) -> None:
    text = "ts,input_tokens,model\n2026-07-10T00:00Z,5,x\n2026-07-11T00:00Z,many,x\n"

    done = data.bring(csv(text), "--map", "CreatedAt=ts", "--set", "ModelName=m=1, really")

    (folder,) = (data.path / "gateway_model_metrics").glob("import-*")
    assert done.out.splitlines() == [
        "1 file: 2 rows read, 1 new, 1 refused",
        "  1 refused: InputTokens: not a whole number (first: calls.csv, row 2)",
        "rows without ids of their own, which could not be matched: 1 new",
        f"refused rows: {folder / '_refused.jsonl'}",
        "mapped: InputTokens=input_tokens, CreatedAt=ts",
        "set: ModelName=m=1, really",
        "made from each file's content and row number: TraceId, SpanId",
        f"filled with a default, as the layout requires a value: {SUBJECT}",
        "not read: model",
        f"1 UTC day, 2026-07-10, in {folder}",
        "to undo it, remove that folder",
    ]
    assert data.rows('"ModelName"') == [("m=1, really",)]


def test_names_of_files_are_said_without_marks(data: Data, tmp_path: Path) -> None:
    """They may come from anywhere, and a terminal would obey them."""
    path = tmp_path / "calls\u202e\x1bc.csv"
    path.write_text("ts,model\n2026-07-10T00:00Z,x\nnever,x\n", "utf-8")

    said = [
        data.bring(path, "--map", "CreatedAt=ts,ModelName=model"),
        data.bring(path.with_name("none\u202e\x1bc.csv")),
    ]
    assert [done.code for done in said] == [0, 1]
    assert "calls\\u202e\\u001bc.csv" in said[0].out
    assert "none\\u202e\\u001bc.csv" in said[1].err


@pytest.mark.parametrize("format_", ["csv", "jsonl", "parquet"])
async def test_every_format_gives_the_same_answer(
    data: Data, tmp_path: Path, ask: Ask, format_: str
) -> None:
    path = tmp_path / f"calls [1].{format_}"
    with duckdb.connect() as engine:
        engine.execute("SET TimeZone = 'UTC'")
        nested = "" if format_ == "csv" else ", ['a', 'b'] AS teams, {'env': 'x'} AS metadata"
        engine.execute(
            "CREATE TABLE t AS SELECT TIMESTAMPTZ '2026-07-10 12:00:00+00' AS created_at,"
            f" 'm' AS model_name, 7::BIGINT AS input_tokens, 0.25 AS cost_in_usd{nested}"
        )
        form = {"jsonl": "json"}.get(format_, format_)
        engine.execute(f"COPY t TO '{path}' (FORMAT {form})")

    assert data.bring(path).code == 0

    assert await ask("modelName") == {("m",): (1, 7, None, 0.25)}
    if format_ != "csv":
        assert data.rows('"Teams", "Metadata"') == [(["a", "b"], {"env": "x"})]


def test_a_time_without_a_zone_in_parquet_needs_one_too(data: Data, tmp_path: Path) -> None:
    path = tmp_path / "calls.parquet"
    moment = "TIMESTAMP_NS '2026-07-10 12:00:00.123456789'"
    duckdb.execute(f"COPY (SELECT {moment} AS created_at) TO '{path}'")

    assert "no UTC offset: give --timezone" in data.bring(path).err
    assert data.bring(path, "--timezone", "Asia/Tokyo").code == 0
    assert data.rows('"CreatedAt"::VARCHAR') == [("2026-07-10 03:00:00.123456+00",)]


def test_packed_files_and_other_delimiters_are_read(data: Data, tmp_path: Path) -> None:
    packed = tmp_path / "a.csv.gz"
    packed.write_bytes(gzip.compress(b"\xef\xbb\xbfCreatedAt,ModelName\n2026-07-10T00:00Z,a\n"))
    lines = tmp_path / "b.jsonl.gz"
    lines.write_bytes(gzip.compress(b'{"CreatedAt": "2026-07-10T01:00Z", "ModelName": "b"}\n'))
    tabs = tmp_path / "c.tsv"
    tabs.write_text('CreatedAt\tModelName\n2026-07-10T02:00Z\t"c,\n""d"""\n')

    assert data.bring(packed, lines, tabs).code == 0
    assert data.rows('"ModelName"') == [("a",), ("b",), ('c,\n"d"',)]


def test_a_pattern_stands_for_its_files(data: Data, csv: Write, tmp_path: Path) -> None:
    csv("CreatedAt,ModelName\n2026-07-10T00:00Z,a\n", "1.csv")
    csv("CreatedAt,ModelName\n2026-07-11T00:00Z,b\n", "2.csv")

    done = data.bring(f"{tmp_path}/?.csv")

    assert done.out.startswith("2 files: 2 rows read, 2 new, 0 refused\n")
    assert data.rows('"ModelName"') == [("a",), ("b",)]


def test_a_column_is_mapped_by_itself_if_only_case_and_underscores_differ(
    data: Data, csv: Write
) -> None:
    text = (
        "created_at,ModelName,model_name,inputtokens,CONVERSATION_ID,ConversationID\n"
        "2026-07-10T00:00Z,exact,other,5,a,b\n"
    )

    done = data.bring(csv(text))

    assert "not mapped, as several could be the same column: CONVERSATION_ID, ConversationID" in (
        done.out
    )
    columns = '"ModelName", "InputTokens", "ConversationId"'
    assert data.rows(columns) == [("exact", 5, None)]


def test_what_is_mapped_or_set_goes_before_what_has_the_name(data: Data, csv: Write) -> None:
    text = 'CreatedAt,ModelName,Other,"a,b"\n2026-07-10T00:00Z,x,y,z\n'

    done = data.bring(
        csv(text),
        "--map", 'ModelName=Other,"ProviderModelName=a,b"',
        "--set", "RequestedModelName=it's",
    )  # fmt: skip

    assert done.code == 0
    columns = '"ModelName", "ProviderModelName", "RequestedModelName"'
    assert data.rows(columns) == [("y", "z", "it's")]


def test_what_the_layout_requires_is_filled_in(data: Data, jsonl: Write) -> None:
    created = {"CreatedAt": "2026-07-10T00:00Z"}
    rows = [created, created, created | {"TraceId": "t", "CreatedBySubjectSlug": "robot"}]

    data.bring(jsonl(rows))

    columns = '"TraceId", "SpanId", "CreatedBySubjectSlug", "CreatedBySubjectType"'
    found = data.rows(f'{columns}, "CreatedBySubjectId", "CreatedBySubject"')
    assert len({row[0] for row in found}) == len({row[1] for row in found}) == 3
    assert all(len(row[0]) == 32 or row[0] == "t" for row in found)
    assert all(len(row[1]) == 16 for row in found)
    assert sorted(row[2:] for row in found) == [
        ("imported", "virtualaccount", "imported", "imported"),
        ("imported", "virtualaccount", "imported", "imported"),
        ("robot", "virtualaccount", "robot", "robot"),
    ]


@pytest.mark.parametrize(
    ("table", "columns", "row"),
    [
        ("gateway_mcp_metrics", '"Method"', ("unknown",)),
        ("gateway_guardrail_metrics", '"IsFailure"', (False,)),
        ("gateway_config_metrics", '"ConfigType"', ("unknown",)),
        ("gateway_request_metrics", '"CreatedBySubject"', ("imported",)),
    ],
)
def test_every_table_can_be_filled(
    data: Data, csv: Write, table: str, columns: str, row: tuple[Any, ...]
) -> None:
    assert data.bring(csv("CreatedAt\n2026-07-10T00:00Z\n"), "--table", table).code == 0
    assert data.rows(columns, table) == [row]


def test_an_empty_file_adds_nothing(data: Data, csv: Write) -> None:
    done = data.bring(csv("CreatedAt,ModelName\n"))

    assert done.out.splitlines() == [
        "1 file: 0 rows read, 0 new, 0 refused",
        "no new rows, so nothing was written",
    ]
    assert data.files() == {}
