"""What `/metrics` counts: by tool and outcome, and nothing that a caller wrote."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from prometheus_client.parser import text_string_to_metric_families

Serve = Callable[..., AbstractAsyncContextManager[Any]]

WEEK: Final = {"startTs": "2025-03-01", "endTs": "2025-03-08"}
SECRET: Final = "planted-value"  # noqa: S105 - no label may hold it


def read_samples(text: str) -> dict[str, float]:
    """Every sample but buckets and sums, by its name and labels."""
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith(("_bucket", "_sum"))
    }


async def scrape(server: Any) -> dict[str, float]:
    response = await server.bare.get("/metrics", headers={"host": "10.42.0.17:8000"})
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert SECRET not in response.text
    return read_samples(response.text)


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_calls_are_counted_by_tool_and_outcome(
    open_server: Serve, directory: Path, transport: str
) -> None:
    question = {**WEEK, "groupBy": ["team"]}  # teams overlap, so ALL is a call of its own
    async with open_server(transport, backend=str(directory)) as server:
        async with server.connect() as client:
            answer = await client.call_tool("query_distribution", question)
            await client.call_tool("query_distribution", {**WEEK, "groupBy": [SECRET]})
            await client.call_tool(SECRET, {})
        samples = await scrape(server)

    assert {
        name: value
        for name, value in samples.items()
        if name.startswith(("gateway_metrics_tool_calls_total", "gateway_metrics_upstream_calls_"))
    } == {
        "gateway_metrics_tool_calls_total[('code', 'ok'), ('tool', 'query_distribution')]": 1,
        "gateway_metrics_tool_calls_total"
        "[('code', 'invalid_query'), ('tool', 'query_distribution')]": 1,
        "gateway_metrics_tool_calls_total[('code', 'unknown_tool'), ('tool', 'unknown')]": 1,
        "gateway_metrics_upstream_calls_total[('code', 'ok')]": 2,
        "gateway_metrics_upstream_calls_in_flight[]": 0,
    }
    seconds = "gateway_metrics_tool_call_seconds_count[('tool', 'query_distribution')]"
    size = "gateway_metrics_returned_bytes_total[('tool', 'query_distribution')]"
    assert samples[seconds] == 2
    assert samples["gateway_metrics_upstream_call_seconds_count[]"] == 2
    assert samples[size] > len(answer.content[0].text.encode())


async def test_retries_and_what_the_cache_saved_are_counted(
    open_server: Serve, gateway: Any
) -> None:
    gateway.statuses = [503]
    question = {**WEEK, "groupBy": ["modelName"]}
    async with open_server(backend=gateway.url, all_row=False) as server:
        async with server.connect() as client:
            for _ in range(3):
                await client.call_tool("query_distribution", question)
        samples = await scrape(server)

    assert len(gateway.requests) == 2
    assert samples["gateway_metrics_upstream_calls_total[('code', 'unavailable')]"] == 1
    assert samples["gateway_metrics_upstream_calls_total[('code', 'ok')]"] == 1
    assert samples["gateway_metrics_upstream_retries_total[]"] == 1
    assert samples["gateway_metrics_cache_lookups_total[('result', 'hit')]"] == 2
    assert samples["gateway_metrics_cache_lookups_total[('result', 'miss')]"] == 1


async def test_an_upstream_call_that_ends_with_the_time_limit_is_a_timeout(
    open_server: Serve, gateway: Any
) -> None:
    gateway.gate = anyio.Event()
    async with open_server(backend=gateway.url, all_row=False, timeout=0.3) as server:
        async with server.connect() as client:
            answer = await client.call_tool("query_distribution", WEEK)
        samples = await scrape(server)
        gateway.gate.set()

    assert answer.content[0].text.startswith("Error (timeout)")
    name = "gateway_metrics_upstream_calls_total"
    assert {key: value for key, value in samples.items() if key.startswith(name)} == {
        f"{name}[('code', 'timeout')]": 1
    }


async def test_what_is_under_way_and_what_was_given_up_are_told_apart(
    open_server: Serve, gateway: Any
) -> None:
    gateway.gate = anyio.Event()
    async with (
        open_server(backend=gateway.url, all_row=False) as server,
        server.connect() as client,
        anyio.create_task_group() as group,
    ):
        group.start_soon(client.call_tool, "query_distribution", WEEK)
        await gateway.is_asked.wait()
        during = await scrape(server)
        group.cancel_scope.cancel()

    assert during["gateway_metrics_tool_calls_in_flight[]"] == 1
    assert during["gateway_metrics_upstream_calls_in_flight[]"] == 1
    assert not any("tool_calls_total" in name for name in during)
    assert server.meter.calls == {("query_distribution", "cancelled"): 1}
    assert server.meter.upstream == {"cancelled": 1}
    assert (server.meter.calls_in_flight, server.meter.upstream_in_flight) == (0, 0)


async def test_latencies_stand_in_buckets(open_server: Serve, directory: Path) -> None:
    async with open_server(backend=str(directory)) as server:
        async with server.connect() as client:
            await client.call_tool("list_fields", {})
        text = (await server.bare.get("/metrics")).text

    pattern = r'^gateway_metrics_tool_call_seconds_bucket\{le="(.+)",tool="list_fields"\} (.+)$'
    buckets = re.findall(pattern, text, re.MULTILINE)
    counts = [float(number) for _, number in buckets]
    assert [bound for bound, _ in buckets][-2:] == ["60.0", "+Inf"]
    assert counts == sorted(counts)
    assert counts[-1] == 1


async def test_two_servers_of_one_process_count_apart(open_server: Serve, directory: Path) -> None:
    async with (
        open_server(backend=str(directory)) as one,
        open_server(backend=str(directory)) as other,
    ):
        async with one.connect() as client:
            await client.call_tool("list_fields", {})
        counted = [await scrape(server) for server in (one, other)]

    name = "gateway_metrics_tool_calls_total[('code', 'ok'), ('tool', 'list_fields')]"
    assert [samples.get(name) for samples in counted] == [1, None]


async def test_metrics_can_be_switched_off(open_server: Serve, directory: Path) -> None:
    async with open_server(backend=str(directory), metrics=False) as server:
        response = await server.bare.get("/metrics")
        live = await server.bare.get("/livez")

    assert (response.status_code, live.status_code) == (404, 200)
    assert response.text == "no metrics here: they are switched off\n"


def test_without_the_extra_the_server_runs_and_says_what_to_install() -> None:
    code = """
import sys
sys.modules["prometheus_client"] = None
from starlette.testclient import TestClient
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.http.transports import build_http_app
from gateway_metrics_mcp.settings import Settings
settings = Settings(transport="http")
with TestClient(build_http_app(build_server(settings), settings)) as client:
    print(client.get("/livez").status_code)
    response = client.get("/metrics")
    print(response.status_code, response.text)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - our own code

    assert done.stdout.split("\n")[:2] == [
        "200",
        "404 no metrics here: pip install 'gateway-metrics-mcp[ops]'",
    ]


def test_serving_does_not_import_what_only_metrics_need() -> None:
    code = "import sys, gateway_metrics_mcp.server.app; print('prometheus_client' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - our own code

    assert done.stdout == "False\n"
