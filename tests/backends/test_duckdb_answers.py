"""Which rows the embedded engine answers with, in which order (R1-R3, R15-R17, R19, R21)."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.errors import TooManyRowsError
from gateway_metrics_mcp.http.body import read_query
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.query.model import LOCAL, Query
from gateway_metrics_mcp.query.vocabulary import PERCENTILES

Row = dict[str, Any]
Ask = Callable[..., Awaitable[list[Row]]]
Write = Callable[..., Path]
Open = Callable[..., DuckDBBackend]
Make = Callable[..., Query]

UTC_NOON: Final = datetime(2026, 7, 10, 12, tzinfo=UTC)
EXAMPLES: Final = json.loads(
    (Path(__file__).parents[1] / "query" / "examples.json").read_text("utf-8")
)
AGGREGATES: Final = ("sum", "count", "countDistinct", "min", "max", "avg", *PERCENTILES)
COUNTS: Final = {"countInputTokens": 0, "countDistinctInputTokens": 0}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# --- R1 to R3: what an answer over nothing is ---


@pytest.mark.parametrize("model", ["absent", None], ids=["nothing matches", "no files"])
async def test_r1_an_ungrouped_distribution_over_nothing_is_one_row(
    ask: Ask, write: Write, model: str | None
) -> None:
    if model is not None:
        write([{"ModelName": "gpt-4o", "InputTokens": 3, "Teams": ["search"]}])

    rows = await ask(
        aggregations=[f"{name} inputTokens" for name in AGGREGATES]
        + ["count team", "countDistinct team", "sum costInUSD"],
        filters=[("modelName", "EQUAL", "absent")],
    )

    nulls = {f"{name}InputTokens": None for name in AGGREGATES}
    teams = {"countTeam": 0, "countDistinctTeam": 0, "sumCostInUSD": None}
    assert rows == [{"total": 0, **nulls, **COUNTS, **teams}]


async def test_r1_an_aggregate_of_nulls_alone_is_null_and_its_count_zero(
    ask: Ask, write: Write
) -> None:
    write([{"InputTokens": None}, {"InputTokens": None}])

    rows = await ask(aggregations=[f"{name} inputTokens" for name in AGGREGATES])

    assert rows == [{"total": 2, **{f"{n}InputTokens": None for n in AGGREGATES}, **COUNTS}]


async def test_r2_a_grouped_query_over_nothing_has_no_rows(ask: Ask, write: Write) -> None:
    write([{"ModelName": "gpt-4o"}])

    rows = await ask(groupBy=["modelName"], filters=[("modelName", "EQUAL", "absent")])

    assert rows == []


async def test_r3_buckets_without_rows_are_not_returned(ask: Ask, write: Write) -> None:
    write([{"CreatedAt": at("2026-07-02T00:00")}, {"CreatedAt": at("2026-07-05T00:00")}])

    rows = await ask(interval="1 day")
    nothing = await ask(interval="1 day", endTs="2026-07-02T00:00:00Z")

    assert [row["startTimestamp"][:10] for row in rows] == ["2026-07-02", "2026-07-05"]
    assert nothing == []


# --- R15 to R17: order, the cache's rows, timestamps ---


async def test_r15_a_distribution_goes_by_total_then_keys_with_nulls_last(
    ask: Ask, write: Write
) -> None:
    once: list[tuple[str | None, str | None]] = [
        ("b", "x"),
        ("a", None),
        ("a", "z"),
        ("a", "x"),
        (None, "x"),
    ]
    once += [("é", "x"), ("Z", "x"), ("😀", "x"), ("\uffff", "x")]
    keys = [*once, *[("z", "z")] * 3]
    write([{"ModelName": model, "RequestType": request} for model, request in keys])

    rows = await ask(groupBy=["modelName", "requestType"])

    assert [(row["modelName"], row["requestType"]) for row in rows] == [
        ("z", "z"),
        ("Z", "x"),
        ("a", "x"),
        ("a", "z"),
        ("a", None),
        ("b", "x"),
        ("é", "x"),
        ("\uffff", "x"),
        ("😀", "x"),
        (None, "x"),
    ]


async def test_r15_a_timeseries_goes_by_time_then_as_a_distribution(ask: Ask, write: Write) -> None:
    days = {"2026-07-11T00:00": ["b", "a", None], "2026-07-10T00:00": ["b", "b", "a", None, None]}
    write([{"CreatedAt": at(day), "ModelName": name} for day, row in days.items() for name in row])

    rows = await ask(groupBy=["modelName"], interval="1 day")

    assert [(row["startTimestamp"][8:10], row["modelName"], row["total"]) for row in rows] == [
        ("10", "b", 2),
        ("10", None, 2),
        ("10", "a", 1),
        ("11", "a", 1),
        ("11", "b", 1),
        ("11", None, 1),
    ]


async def test_r16_cache_metrics_hold_the_calls_that_looked_in_the_cache(
    ask: Ask, write: Write
) -> None:
    write([{"CacheLookupStatus": status} for status in ("hit", "miss", "miss", None)])

    cache = await ask(datasource="cacheMetrics", groupBy=["cacheLookupStatus"])
    calls = await ask(datasource="modelMetrics")

    assert cache == [
        {"cacheLookupStatus": "miss", "total": 2},
        {"cacheLookupStatus": "hit", "total": 1},
    ]
    assert calls == [{"total": 4}]


async def test_r17_and_r21_rows_have_milliseconds_and_z(
    engine: Open, write: Write, make_query: Make
) -> None:
    write([{"ModelName": "gpt-4o", "CostInUSD": 0.25}])
    query = make_query(interval="1 hour", groupBy=["modelName"], aggregations=["sum costInUSD"])

    result = await engine().query(query, LOCAL)

    assert result.rows(query) == [
        {
            "startTimestamp": "2026-07-10T12:00:00.000Z",
            "endTimestamp": "2026-07-10T13:00:00.000Z",
            "modelName": "gpt-4o",
            "total": 1,
            "sumCostInUSD": 0.25,
        }
    ]


# --- R19: the cap ---


@pytest.mark.parametrize("changes", [{}, {"interval": "1 day"}], ids=["rows", "buckets"])
async def test_r19_more_rows_than_the_cap_are_refused_with_their_number(
    engine: Open, ask: Ask, write: Write, changes: dict[str, str]
) -> None:
    write(
        [
            {"Metadata": {"run": f"r{n}"}, "CreatedAt": UTC_NOON + timedelta(days=n)}
            for n in range(12)
        ]
    )

    with pytest.raises(TooManyRowsError, match=r"12 rows, the limit is 11\. Ask for a shorter"):
        await ask(engine(row_cap=11), groupBy=["metadata.run"], **changes)
    assert len(await ask(engine(row_cap=12), groupBy=["metadata.run"], **changes)) == 12


# --- all documented questions ---


@pytest.mark.parametrize("body", EXAMPLES, ids=[str(index) for index in range(len(EXAMPLES))])
async def test_every_documented_question_is_answered(
    engine: Open, write: Write, body: dict[str, Any]
) -> None:
    catalog = load_catalog()
    query = read_query(body, catalog)
    start = query.start_ts
    write([{"CreatedAt": start}], table=catalog.datasources[query.datasource].table)

    result = await engine().query(query, LOCAL)

    assert len(result.points) <= 1
    assert all(len(point.values) == len(result.value_names) for point in result.points)
