"""What the rows of a resource cannot say stands beside them, in the `_meta` of their contents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote as percent_encode

import duckdb
import pytest
from mcp.client import Client
from mcp_types import CallToolResult, TextResourceContents

from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.settings import Settings

ROWS: Final = "gateway-metrics://rows/"
WINDOW: Final = "'startTs':'2025-03-01','endTs':'2025-03-02T10:30Z'"
ASKED: Final = {"startTs": "2025-03-01", "endTs": "2025-03-02T10:30Z"}

_OF_ADA: Final = """
    SELECT TIMESTAMPTZ '2025-03-01 10:00:00Z' AS CreatedAt, 'gpt-4o' AS ModelName,
        'ada@example.com' AS CreatedBySubjectSlug, 'user' AS CreatedBySubjectType
"""

TextOf = Callable[[CallToolResult], tuple[str, bool]]


async def notes_of(client: Client, query: str) -> list[str]:
    (content,) = (await client.read_resource(f"{ROWS}({query},{WINDOW})")).contents
    notes: list[str] = (content.meta or {})["gateway-metrics/notes"]
    return notes


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize(
    ("query", "tool", "asked", "said"),
    [
        (
            "'groupBy':!'modelName';,'aggregations':!'p95+latencyMs';,'compareTo':'2025-02-01..2025-02-02'",
            "query_distribution",
            {
                "groupBy": ["modelName"],
                "aggregations": ["p95 latencyMs"],
                "compareTo": "2025-02-01T00:00Z..2025-02-02T00:00Z",
            },
            "new, with no row in the earlier window: ",
        ),
        (
            "'groupBy':!'modelName';,'interval':'1+day'",
            "query_timeseries",
            {"groupBy": ["modelName"], "interval": "1 day"},
            "partial",
        ),
    ],
)
async def test_window_scope_and_notes_are_those_of_the_answer(
    directory: Path, text_of: TextOf, query: str, tool: str, asked: Any, said: str, mode: str
) -> None:
    async with Client(build_server(Settings(backend=str(directory))), mode=mode) as client:
        notes = await notes_of(client, query)
        text, _ = text_of(await client.call_tool(tool, {**ASKED, **asked}))

    head, *others = [line.removeprefix("# ") for line in text.split("\n") if line.startswith("# ")]
    assert head.startswith(notes[0].partition(" | ")[0])
    assert " | 2025-03-01T00:00Z to 2025-03-02T10:30Z (34 h 30 min) | " in notes[0]
    assert " | models only, virtual-model rows excluded | " in notes[0]
    assert set(notes[1:]) <= set(others)
    assert [note for note in notes[1:] if said in note]
    assert not [note for note in notes if "rounded" in note], "a CSV has all digits"


async def test_addresses_are_hidden_there_too(directory: Path) -> None:
    filter_ = "'filters':!('fieldName':'userEmail','operator':'IN','value':!'ada%40example.com';);"
    async with Client(build_server(Settings(backend=str(directory), hide_emails=True))) as client:
        (head, *_) = await notes_of(client, filter_)

    assert ' | filter: userEmail IN ["user-' in head
    assert "@" not in head


async def test_one_row_has_no_order_and_none_has_no_buckets(directory: Path) -> None:
    none = "'filters':!('fieldName':'modelName','operator':'EQUAL','value':!'absent';);"
    async with Client(build_server(Settings(backend=str(directory)))) as client:
        (head, *_) = await notes_of(client, "'aggregations':!'sum+costInUSD';")
        empty = await notes_of(client, f"'interval':'1+day',{none}")

    assert "sorted" not in head
    assert not [note for note in empty if "buckets had no rows" in note]
    assert [note for note in empty if "no rows" in note]


@pytest.mark.parametrize(
    "spelling", ["ada@example.com", "%61da%40example.com", r"ada\u0040example.com"]
)
@pytest.mark.parametrize("safe", ["%", '%{}[]":,'])
async def test_plain_json_with_an_address_names_the_same_rows_as_its_hash(
    tmp_path: Path, spelling: str, safe: str
) -> None:
    (tmp_path / "gateway_model_metrics").mkdir()
    file = tmp_path / "gateway_model_metrics" / "rows.parquet"
    duckdb.execute(f"COPY ({_OF_ADA}) TO '{file}' (FORMAT parquet)")
    who = f'"filters":[{{"fieldName":"userEmail","operator":"IN","value":["{spelling}"]}}]'
    plain = f'{{{who},"startTs":"2025-03-01","endTs":"2025-03-03"}}'
    async with Client(build_server(Settings(backend=str(tmp_path), hide_emails=True))) as client:
        (shown,) = (await client.read_resource(ROWS + percent_encode(plain, safe=safe))).contents
        (content,) = (await client.read_resource(str(shown.uri))).contents

    assert "example.com" not in str(shown.uri)
    assert isinstance(content, TextResourceContents)
    assert content.text == "total\n1\n"


async def test_a_catalog_has_no_such_notes(directory: Path) -> None:
    async with Client(build_server(Settings(backend=str(directory)))) as client:
        (content,) = (await client.read_resource("gateway-metrics://catalog")).contents

    assert content.meta is None
