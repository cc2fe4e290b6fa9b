"""`format: "explain"`: the request, what was added to it and why; nothing is run."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import duckdb
import pytest
from mcp.client import Client
from mcp_types import TextContent

from gateway_metrics_mcp.backends.gateway.backend import GatewayBackend
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.settings import Settings

HOST: Final = "https://gateway.invalid"
TOKEN: Final = "planted-token-1234"  # noqa: S105 - planted: no answer may show it
WEEK: Final = {"startTs": "2025-03-01", "endTs": "2025-03-08", "format": "explain"}


@pytest.fixture
async def engine(directory: Path) -> AsyncIterator[Client]:
    async with Client(build_server(Settings(backend=str(directory)))) as client:
        yield client


@pytest.fixture
async def gateway() -> AsyncIterator[Client]:
    """A gateway that cannot be reached: whoever asks it gets an error."""
    backend = GatewayBackend(HOST, TOKEN, load_catalog())
    async with Client(build_server(Settings(backend=HOST), backend=backend)) as client:
        yield client
    await backend.aclose()


async def explain(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, {**WEEK, **arguments})
    (block,) = result.content
    assert isinstance(block, TextContent)
    assert not result.is_error, block.text
    return block.text


def blocks_of(text: str) -> list[str]:
    """The requests, each under its purpose."""
    return re.split(r"^## \d+\. .*\n", text, flags=re.MULTILINE)[1:]


async def test_a_gateway_is_shown_the_exact_bodies_and_is_not_asked(gateway: Client) -> None:
    text = await explain(
        gateway, "query_distribution", aggregations=["sum costInUSD"], groupBy=["modelName"]
    )

    rows, whole = (json.loads(block) for block in blocks_of(text))
    assert rows == {
        "startTs": "2025-03-01T00:00:00.000Z",
        "endTs": "2025-03-08T00:00:00.000Z",
        "datasource": "modelMetrics",
        "type": "distribution",
        "aggregations": [
            {"type": "sum", "column": "costInUSD"},
            {"type": "count", "column": "costInUSD"},
        ],
        "groupBy": ["modelName"],
        "filters": [{"fieldName": "virtualModelName", "operator": "IS_NULL", "value": True}],
    }
    assert whole == {key: value for key, value in rows.items() if key != "groupBy"}
    assert HOST not in text
    assert TOKEN not in text


async def test_what_was_added_is_said_with_its_reason(gateway: Client) -> None:
    text = await explain(gateway, "query_distribution", aggregations=["sum costInUSD"])

    assert "# upstream calls: 1; " in text
    assert "# added count costInUSD: calls without a price make spend too low" in text
    assert "# added filter virtualModelName IS_NULL true: " in text
    assert "| not run" in text.split("\n")[0]
    assert "2025-03-01T00:00Z to 2025-03-08T00:00Z (7 days)" in text.split("\n")[0]


async def test_the_sql_that_is_shown_is_the_one_that_answers(
    engine: Client, directory: Path
) -> None:
    asked = {"aggregations": ["sum inputTokens"], "groupBy": ["modelName"], "startTs": "2025-03"}
    text = await explain(engine, "query_distribution", **asked)
    statement, *parameters = blocks_of(text)[0].strip().split("\n")

    given = dict(line.split(" = ", 1) for line in parameters)
    table = f"read_parquet('{directory}/gateway_model_metrics/*.parquet')"
    statement = statement.replace('"gateway_model_metrics"', table)
    for name, value in given.items():
        statement = statement.replace(f"${name}", f"TIMESTAMPTZ '{json.loads(value)}'")

    rows = duckdb.execute(statement).fetchall()
    assert rows == [("gpt-4o", 2, 400, 100), ("claude", 1, 50, 50)]
    assert str(directory) not in text


async def test_rows_and_buckets_to_expect_and_the_calls_for_local_days_are_told(
    engine: Client,
) -> None:
    text = await explain(
        engine,
        "query_timeseries",
        aggregations=["p95 latencyMs"],
        groupBy=["modelName"],
        interval="1 day",
        timezone="Asia/Kolkata",
    )

    assert "# upstream calls: 8; " in text
    buckets = "# rows to expect: at most 7 buckets of 1 day x the groups of modelName, number"
    assert buckets in text
    assert "## 1. first, how many groups there are\n" in text
    assert "one call for each day of Asia/Kolkata; the first (7 times)\n" in text


async def test_what_cannot_be_asked_cannot_be_explained(engine: Client) -> None:
    result = await engine.call_tool(
        "query_timeseries", {**WEEK, "startTs": "2025-01-01", "interval": "1 minute"}
    )

    (block,) = result.content
    assert isinstance(block, TextContent)
    assert result.is_error
    assert "buckets" in block.text


async def test_requests_beyond_the_budget_are_left_out_whole(directory: Path) -> None:
    names = [f"model-{number:04}-{'x' * 60}" for number in range(100)]
    long = {"fieldName": "modelName", "operator": "IN", "value": names}
    settings = Settings(backend=str(directory), budget=1_000)
    async with Client(build_server(settings)) as client:
        text = await explain(client, "query_distribution", filters=[long])

    assert "## 1. the rows: too long to show" in text
    assert len(text) < 4_000


async def test_a_scope_that_the_asker_chose_is_not_called_added(gateway: Client) -> None:
    asked = {"fieldName": "virtualModelName", "operator": "IS_NULL", "value": True}
    named = {"fieldName": "virtualModelName", "operator": "EQUAL", "value": "router"}

    for filter_ in (asked, named):
        text = await explain(
            gateway, "query_distribution", aggregations=["sum costInUSD"], filters=[filter_]
        )

        assert "# added count costInUSD: " in text
        assert "added filter" not in text
