"""Rows written down in either format come back as they were."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Final

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_metrics_mcp.cli.ingest.command import main

Row = dict[str, Any]
EXAMPLES: Final = settings().max_examples if settings().max_examples >= 500 else 10
"""Of each format: each is a whole import."""
COLUMNS: Final = (
    "TraceId",
    "ModelName",
    "InputTokens",
    "HttpStatusCode",
    "LatencyMs",
    "Streaming",
    "Metadata",
    "Teams",
)

offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
values = st.fixed_dictionaries(
    {
        "CreatedAt": st.datetimes(
            datetime(1970, 1, 3),  # noqa: DTZ001 - a zone is drawn
            datetime(2999, 12, 29),  # noqa: DTZ001 - likewise
            timezones=offsets,
        ),
        "ModelName": st.none() | texts,
        "InputTokens": st.none() | st.integers(-(2**63), 2**63 - 1),
        "HttpStatusCode": st.none() | st.integers(-(2**31), 2**31 - 1),
        "LatencyMs": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "Streaming": st.none() | st.booleans(),
        "Metadata": st.none() | st.dictionaries(texts, texts, max_size=3),
        "Teams": st.none() | st.lists(texts.filter(bool), max_size=3),
    }
)


@pytest.mark.parametrize("format_", ["csv", pytest.param("jsonl", marks=pytest.mark.thorough)])
@settings(max_examples=EXAMPLES)
@given(rows=st.lists(values, min_size=1, max_size=12))
def test_rows_come_back_as_they_were(format_: str, rows: list[dict[str, Any]]) -> None:
    numbered = [row | {"TraceId": f"row-{number}"} for number, row in enumerate(rows)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"calls.{format_}")
        (write_csv if format_ == "csv" else write_jsonl)(path, numbered)

        assert main([str(path), "--into", f"{folder}/data", "--strict"]) == 0

        found = read_back(Path(folder, "data"))
    assert found == {row["TraceId"]: expect(row, format_) for row in numbered}


def expect(row: Row, format_: str) -> tuple[Any, ...]:
    """The row's values; a CSV file has one way to write an empty text and none."""
    model = row["ModelName"]
    kept = row | {"ModelName": None if format_ == "csv" and model == "" else model}
    since = row["CreatedAt"] - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(microseconds=1), *(kept[name] for name in COLUMNS)


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        for row in rows:
            nested = {k: json.dumps(v) for k, v in row.items() if isinstance(v, dict | list)}
            writer.writerow(row | nested | {"CreatedAt": row["CreatedAt"].isoformat()})


def write_jsonl(path: Path, rows: Sequence[Row]) -> None:
    lines = (json.dumps(row | {"CreatedAt": row["CreatedAt"].isoformat()}) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")


def read_back(directory: Path) -> dict[str, tuple[Any, ...]]:
    pattern = f"{directory}/gateway_model_metrics/**/*.parquet"
    listed = ", ".join(f'"{name}"' for name in COLUMNS)
    with duckdb.connect(config={"threads": 1}) as engine:
        query = f'SELECT epoch_us("CreatedAt"), {listed} FROM read_parquet($pattern)'  # noqa: S608 - our own
        return {row[1]: row for row in engine.execute(query, {"pattern": pattern}).fetchall()}
