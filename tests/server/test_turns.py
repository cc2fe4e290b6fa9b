"""Very many rows in one caller's answer: the others have their turn meanwhile."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import anyio
import duckdb
import httpx
import pytest
from mcp.client import Client

from gateway_metrics_mcp.backends.gateway.backend import GatewayBackend
from gateway_metrics_mcp.query.catalog import Catalog
from gateway_metrics_mcp.server.app import MetricsServer, build_server
from gateway_metrics_mcp.settings import Settings

Serve = Callable[..., MetricsServer]

ROWS: Final = 50_000
DAY: Final = {"datasource": "modelMetrics", "startTs": "2026-07-10", "endTs": "2026-07-11"}
MOST: Final = 0.2
"""Of the whole call: the longest time in which nobody else has a turn."""


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many models as rows, on one day and the day before."""
    directory = tmp_path_factory.mktemp("wide")
    table = directory / "gateway_model_metrics"
    table.mkdir()
    rows = f"""
        SELECT TIMESTAMPTZ '2026-07-10 00:00:00Z' + to_seconds(i) - to_days(day) AS "CreatedAt",
            'model-' || i AS "ModelName", 'of-' || i || '@example.com' AS "CreatedBySubjectSlug",
            'user' AS "CreatedBySubjectType", i / 7 AS "CostInUSD", i AS "LatencyMs"
        FROM range({ROWS}) AS r(i), range(2) AS d(day)
    """  # noqa: S608 - our own
    duckdb.execute(f"COPY ({rows}) TO '{table / 'rows.parquet'}' (FORMAT parquet)")
    return directory


@pytest.fixture(autouse=True)
def nothing_to_look_through() -> Iterator[None]:
    """The collector leaves out what the other tests have made, as it does in a server."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


async def share_of_the_longest_wait(
    server: MetricsServer, tool: str, arguments: dict[str, Any]
) -> float:
    """A pause counts as far as this process worked in it: a busy machine is not its doing."""
    async with Client(server) as client:
        await client.call_tool("query_distribution", DAY)  # opens the backend
        longest = 0.0
        is_done = False

        async def watch() -> None:
            nonlocal longest
            while not is_done:
                begun, worked = time.perf_counter(), time.process_time()
                await anyio.sleep(0.001)
                wall, cpu = time.perf_counter() - begun, time.process_time() - worked
                longest = max(longest, min(wall, cpu))

        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            begun = time.perf_counter()
            result = await client.call_tool(tool, DAY | arguments)
            took = time.perf_counter() - begun
            is_done = True
    assert not result.is_error
    return longest / took


@pytest.mark.parametrize(
    "hide_emails", [pytest.param(False, marks=pytest.mark.thorough), True], ids=["plain", "hidden"]
)
@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("query_distribution", {"aggregations": ["sum costInUSD"], "groupBy": ["userEmail"]}),
        ("query_distribution", {"groupBy": ["modelName"], "compareTo": "previous"}),
        ("query_distribution", {"groupBy": ["userEmail"], "format": "json"}),
        ("list_values", {"field": "userEmail"}),
    ],
    ids=["table", "comparison", "json", "values"],
)
async def test_an_answer_of_very_many_rows_holds_nobody_up(
    wide: Path, tool: str, arguments: dict[str, Any], *, hide_emails: bool
) -> None:
    server = build_server(Settings(backend=str(wide), hide_emails=hide_emails))

    assert await share_of_the_longest_wait(server, tool, arguments) < MOST


async def test_a_large_body_of_the_gateway_holds_nobody_up(serve: Serve, catalog: Catalog) -> None:
    rows = [{"modelName": f"model-{i}", "total": i, "sumcostInUSD": i / 7} for i in range(ROWS)]
    body = httpx.Response(200, json={"data": {"dataPoints": rows}}).content
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    server = serve(GatewayBackend("https://t.example.com", "tok", catalog, transport=transport))

    share = await share_of_the_longest_wait(
        server,
        "query_distribution",
        {"aggregations": ["sum costInUSD"], "groupBy": ["modelName"]},
    )

    assert share < MOST
