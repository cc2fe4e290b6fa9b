"""The layouts and the types in which the engine reads files."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest

from gateway_metrics_mcp.errors import EngineError

Row = dict[str, Any]
Ask = Callable[..., Awaitable[list[Row]]]
Write = Callable[..., Path]

TABLE: Final = "gateway_model_metrics"


# --- layouts ---


async def test_files_may_be_partitioned_or_not_or_mixed_or_nested_deeper(
    ask: Ask, write: Write
) -> None:
    folders = ("", "date=2026-07-10", "tenant=a/date=2026-07-10", "date=2026-07-10/hour=12/x")
    for folder in folders:
        write([{"InputTokens": 1}], folder=folder)

    assert await ask(aggregations=["sum inputTokens"]) == [{"total": 4, "sumInputTokens": 4}]


async def test_a_column_that_some_files_lack_is_null_in_their_rows(ask: Ask, write: Write) -> None:
    write([{"ModelName": "a", "InputTokens": 5, "Metadata": {"k": "v"}}], name="whole.parquet")
    write([{"ModelName": "b"}], name="old.parquet")

    rows = await ask(groupBy=["modelName", "metadata.k"], aggregations=["sum inputTokens"])

    assert rows == [
        {"modelName": "a", "metadata.k": "v", "total": 1, "sumInputTokens": 5},
        {"modelName": "b", "metadata.k": None, "total": 1, "sumInputTokens": None},
    ]


async def test_a_column_that_all_files_lack_is_null(ask: Ask, write: Write) -> None:
    write([{}])

    rows = await ask(
        groupBy=["team", "modelName", "metadata.k", "userEmail", "virtualaccount"],
        aggregations=["sum inputTokens", "p99 latencyMs", "countDistinct team", "avg costInUSD"],
    )

    assert rows == [
        {
            "team": None,
            "modelName": None,
            "metadata.k": None,
            "createdBySubjectSlug": None,
            "total": 1,
            "sumInputTokens": None,
            "p99LatencyMs": None,
            "countDistinctTeam": 0,
            "avgCostInUSD": None,
        }
    ]


@pytest.mark.parametrize(
    "column", ["date", "unnested_team", "total", "r", 'quo"ted', "Teams_1", "p0", "files"]
)
async def test_a_column_of_ones_own_is_ignored(ask: Ask, write: Write, column: str) -> None:
    write([{column: "x", "Teams": ["search"]}], folder="date=2026-07-10")

    assert await ask(groupBy=["team"]) == [{"team": "search", "total": 1}]


async def test_columns_may_be_spelt_in_another_case(ask: Ask, write: Write) -> None:
    write([{"modelname": "gpt-4o", "INPUTTOKENS": 5}], types={"INPUTTOKENS": "BIGINT"})

    rows = await ask(groupBy=["modelName"], aggregations=["sum inputTokens"])

    assert rows == [{"modelName": "gpt-4o", "total": 1, "sumInputTokens": 5}]


# --- types ---


@pytest.mark.parametrize(
    "type_", ["TIMESTAMP", "TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMP_S", "TIMESTAMPTZ"]
)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/Los_Angeles"])
async def test_an_instant_of_any_precision_and_without_a_zone_reads_as_utc(
    data: Path,
    write_select: Write,
    ask: Ask,
    monkeypatch: pytest.MonkeyPatch,
    type_: str,
    zone: str,
) -> None:
    instant = "TIMESTAMP '2026-07-10 23:30:00'"
    instant = f"{instant} AT TIME ZONE 'UTC'" if type_ == "TIMESTAMPTZ" else instant
    write_select(data, f'SELECT ({instant})::{type_} AS "CreatedAt"')
    monkeypatch.setenv("TZ", zone)
    time.tzset()

    rows = await ask(interval="1 hour", startTs="2026-07-10T23:30:00Z")
    none = await ask(interval="1 hour", startTs="2026-07-10T23:30:01Z")

    monkeypatch.undo()
    time.tzset()
    assert [(row["startTimestamp"], row["total"]) for row in rows] == [
        ("2026-07-10T23:00:00.000Z", 1)
    ]
    assert none == []


@pytest.mark.parametrize(
    "type_", ["TINYINT", "INTEGER", "UBIGINT", "HUGEINT", "DECIMAL(12, 2)", "FLOAT", "DOUBLE"]
)
async def test_tokens_stored_in_another_numeric_type_stay_exact_integers(
    ask: Ask, write: Write, type_: str
) -> None:
    write([{"InputTokens": n} for n in (1, 2, None, 100)], types={"InputTokens": type_})
    functions = ("sum", "min", "max", "count", "countDistinct")

    (row,) = await ask(aggregations=[f"{name} inputTokens" for name in functions])

    assert list(row.values()) == [4, 103, 1, 100, 3, 3]
    assert {type(value) for value in row.values()} == {int}


async def test_files_may_disagree_on_the_type_of_a_number(ask: Ask, write: Write) -> None:
    for name, type_ in (("a", "INTEGER"), ("b", "DOUBLE"), ("c", "BIGINT")):
        write([{"InputTokens": 1}], name=f"{name}.parquet", types={"InputTokens": type_})

    (row,) = await ask(aggregations=["sum inputTokens"])

    assert row == {"total": 3, "sumInputTokens": 3}
    assert type(row["sumInputTokens"]) is int


async def test_nan_in_tokens_stored_as_double_is_null(ask: Ask, write: Write) -> None:
    tokens = [float("nan"), float("inf"), float("-inf"), 7.0]
    write([{"InputTokens": n} for n in tokens], types={"InputTokens": "DOUBLE"})

    rows = await ask(
        aggregations=[f"{name} inputTokens" for name in ("sum", "avg", "max", "p50", "count")]
    )

    assert rows == [
        {
            "total": 4,
            "sumInputTokens": 7,
            "avgInputTokens": 7.0,
            "maxInputTokens": 7,
            "p50InputTokens": 7.0,
            "countInputTokens": 1,
        }
    ]


async def test_numbers_stored_as_decimal_come_back_as_plain_numbers(ask: Ask, write: Write) -> None:
    write([{"CostInUSD": 0.25}, {"CostInUSD": 0.5}], types={"CostInUSD": "DECIMAL(18, 6)"})

    (row,) = await ask(aggregations=["sum costInUSD", "max costInUSD", "p50 costInUSD"])

    assert list(row.values()) == [2, 0.75, 0.5, 0.375]
    assert {type(value) for value in row.values()} == {int, float}


async def test_a_flag_stored_as_a_number_groups_and_filters_as_a_boolean(
    ask: Ask, write: Write
) -> None:
    write(
        [{"IsFailure": n} for n in (0, 0, 1, None)],
        table="gateway_request_metrics",
        types={"IsFailure": "INTEGER"},
    )

    rows = await ask(datasource="agentMetrics", groupBy=["isFailure"])
    failed = await ask(datasource="agentMetrics", filters=[("isFailure", "EQUAL", True)])

    assert [(row["isFailure"], row["total"]) for row in rows] == [(False, 2), (True, 1), (None, 1)]
    assert [type(row["isFailure"]) for row in rows] == [bool, bool, type(None)]
    assert failed == [{"total": 1}]


@pytest.mark.parametrize(
    ("column", "type_", "value"),
    [
        ("InputTokens", "VARCHAR", "many"),
        ("LatencyMs", "VARCHAR", "fast"),
        ("LatencyMs", "DOUBLE[]", [1.0]),
        ("CreatedAt", "VARCHAR", "yesterday"),
        ("CreatedAt", "BIGINT", 1_783_684_800_000),
        ("Teams", "INTEGER", 1),
        ("Teams", "VARCHAR", "search"),
        ("Metadata", "VARCHAR", "text"),
        ("Metadata", "VARCHAR[]", ["text"]),
    ],
)
async def test_a_column_of_the_wrong_type_is_said_without_a_path(
    ask: Ask, write: Write, data: Path, column: str, type_: str, value: object
) -> None:
    write([{column: value}], types={column: type_})

    with pytest.raises(EngineError, match=f"a column of {TABLE} is not of the published") as caught:
        await ask(groupBy=["team", "metadata.k"], aggregations=["sum inputTokens", "p50 latencyMs"])
    assert str(data) not in str(caught.value)


async def test_a_column_of_the_wrong_type_harms_no_question_that_leaves_it_out(
    ask: Ask, write: Write
) -> None:
    write([{"LatencyMs": "fast", "ModelName": "a"}], types={"LatencyMs": "VARCHAR"})

    assert await ask(groupBy=["modelName"]) == [{"modelName": "a", "total": 1}]
