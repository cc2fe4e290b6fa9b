"""The overhead of one tool call: its time as a ratio to a bare POST with httpx.

The gateway is a separate process on loopback that answers at once: 20 groups to the grouped query,
one row to the ALL query, which our call sends beside it. The bare request sends only the grouped
query and parses the JSON. Usage: python benchmarks/overhead.py [CALLS]
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from statistics import median
from typing import Any, Final

from layouts import load_build_server, load_settings

MOST: Final = 2.5
CALLS: Final = 400
WARM_UP: Final = 50
GROUPS: Final = 20
TOKEN: Final = "benchmark"  # noqa: S105 - for our own gateway
GATED: Final = "2026-07-28"
NOW: Final = datetime(2026, 7, 15, 9, 30, tzinfo=UTC)
ARGUMENTS: Final = {
    "startTs": "last 7 days",
    "aggregations": ["sum costInUSD", "sum inputTokens", "p95 latencyMs"],
    "groupBy": ["modelName"],
}
PATH: Final = "/api/svc/v1/llm-gateway/metrics/query"
BODY: Final = {
    "startTs": "2026-07-08T00:00:00.000Z",
    "endTs": "2026-07-15T00:00:00.000Z",
    "datasource": "modelMetrics",
    "type": "distribution",
    "aggregations": [
        {"type": "sum", "column": "costInUSD"},
        {"type": "sum", "column": "inputTokens"},
        {"type": "p95", "column": "latencyMs"},
        {"type": "count", "column": "costInUSD"},
        {"type": "count", "column": "latencyMs"},
    ],
    "groupBy": ["modelName"],
    "filters": [{"fieldName": "virtualModelName", "operator": "IS_NULL", "value": True}],
}
"""The query that the tool sends for these arguments; it sends the same without groups too."""


def _row(number: int) -> dict[str, Any]:
    return {
        "total": 1000 + number,
        "sumCostInUSD": 12.345678 + number,
        "sumInputTokens": 987654 + number,
        "p95LatencyMs": 1234.5678 + number,
        "countCostInUSD": 1000 + number,
        "countLatencyMs": 1000 + number,
    }


def _response(rows: list[dict[str, Any]]) -> bytes:
    body = json.dumps({"data": {"dataPoints": rows}}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return f"{head}\r\n\r\n".encode() + body


async def serve_gateway() -> None:
    """Run the gateway until stdin ends; prints its port."""
    rows = [{"modelName": f"provider/model-{i}", **_row(i)} for i in range(GROUPS)]
    total = {name: sum(row[name] for row in rows) for name in _row(0)}
    grouped, ungrouped = _response(rows), _response([total])

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            size = int(head.lower().partition(b"content-length:")[2].partition(b"\r")[0])
            body = await reader.readexactly(size)
            writer.write(grouped if b'"groupBy"' in body else ungrouped)

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


@asynccontextmanager
async def gateway() -> AsyncIterator[str]:
    """Run a gateway in a process of its own; its address."""
    process = subprocess.Popen(  # noqa: ASYNC220, S603 - started once, this file
        [sys.executable, __file__, "--gateway"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("no pipes")
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.stdin.close()
        process.wait()


async def measure(calls: int) -> dict[str, list[float]]:
    """The seconds of each call per subject, measured in turn, so that load affects all alike."""
    async with AsyncExitStack() as stack:
        subjects = await open_subjects(stack)
        times: dict[str, list[float]] = {name: [] for name in subjects}
        gc.freeze()  # as the command does
        for number in range(WARM_UP + calls):
            for name, subject in subjects.items():
                start = time.perf_counter()
                await subject()
                if number >= WARM_UP:
                    times[name].append(time.perf_counter() - start)
        return times


async def open_subjects(stack: AsyncExitStack) -> dict[str, Callable[[], Awaitable[None]]]:
    """The compared calls, over connections that stay open."""
    import httpx
    from mcp.client import Client

    url = await stack.enter_async_context(gateway())
    bare = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
    settings = load_settings()(backend=url, token=TOKEN, cache_bytes=0)
    server = load_build_server()(settings, clock=lambda: NOW)
    modern = await stack.enter_async_context(Client(server))
    legacy = await stack.enter_async_context(Client(server, mode="legacy"))

    async def post() -> None:
        headers = {"authorization": f"Bearer {TOKEN}"}
        response = await bare.post(url + PATH, json=BODY, headers=headers)
        if len(response.json()["data"]["dataPoints"]) != GROUPS:
            raise RuntimeError(f"no rows: {response.text}")

    return {"bare POST": post, GATED: lambda: ask(modern), "legacy": lambda: ask(legacy)}


async def ask(client: Any) -> None:
    """Call the tool once.

    Raises:
        RuntimeError: if the answer is not complete.
    """
    result = await client.call_tool("query_distribution", ARGUMENTS)
    (block,) = result.content
    if f"rows 1-{GROUPS} of {GROUPS}" not in getattr(block, "text", ""):
        raise RuntimeError(f"no answer: {block}")


def main(calls: int) -> int:
    times = asyncio.run(measure(calls))
    yardstick = median(times["bare POST"])
    ratios = {name: median(taken) / yardstick for name, taken in times.items()}
    for name, taken in times.items():
        print(
            f"{name:10}  median {median(taken) * 1000:6.2f} ms  least {min(taken) * 1000:6.2f} ms"
            f"  ratio {ratios[name]:.2f}"
        )
    is_good = ratios[GATED] <= MOST
    print(f"{'ok' if is_good else 'FAIL'}: {GATED} at most {MOST} times a bare POST, {calls} each")
    return 0 if is_good else 1


if __name__ == "__main__":
    if sys.argv[1:] == ["--gateway"]:
        asyncio.run(serve_gateway())
    else:
        sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else CALLS))
