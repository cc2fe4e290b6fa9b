"""More at once than the operator allows: who comes too late is told when to come back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from gateway_metrics_mcp.settings import Settings

Serve = Callable[..., AbstractAsyncContextManager[Any]]

ACCEPT: Final = {"accept": "application/json, text/event-stream", "x-tfy-api-key": "tok"}
CALL: Final = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {"name": "query_distribution", "arguments": {"startTs": "yesterday"}},
}
APP: Final = "https://app.example.com"


async def test_a_call_too_many_is_refused_until_one_has_ended(
    open_server: Serve, gateway: Any
) -> None:
    gateway.gate = anyio.Event()
    settings = {"backend": gateway.url, "connections": 1, "cors_origin": (APP,), "all_row": False}
    statuses = []
    async with open_server(**settings) as server:

        async def ask() -> None:
            answer = await server.bare.post("/mcp", json=CALL, headers=ACCEPT)
            statuses.append(answer.status_code)

        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                group.start_soon(ask)
                await gateway.is_asked.wait()
                late = await server.bare.post("/mcp", json=CALL, headers={**ACCEPT, "origin": APP})
                live = await server.bare.get("/livez")
                shown = (await server.bare.get("/metrics")).text
                gateway.gate.set()
            await ask()

    assert statuses == [200, 200]
    assert (late.status_code, late.headers["retry-after"], live.status_code) == (503, "5", 200)
    assert late.json() == {
        "error": "busy",
        "error_description": "too many requests at once: ask again in a few seconds",
    }
    assert late.headers["access-control-allow-origin"] == APP
    assert 'gateway_metrics_refused_requests_total{status="503"} 1.0' in shown


async def test_open_streams_are_limited_and_leave_room_for_messages(
    open_server: Serve, directory: Path
) -> None:
    async with open_server("sse", backend=str(directory), connections=1) as server:
        async with server.connect() as client:  # whose stream is the one
            late = await server.bare.get("/sse")
            names = [tool.name for tool in (await client.list_tools()).tools]
        with anyio.fail_after(60):
            while True:  # a stream that its client has left ends soon
                async with server.bare.stream("GET", "/sse") as stream:
                    if stream.status_code == 200:
                        break

    assert (late.status_code, late.headers["retry-after"]) == (503, "5")
    assert names[0] == "query_distribution"


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_what_is_refused_for_another_reason_frees_its_place(
    open_server: Serve, directory: Path, transport: str
) -> None:
    given = {"backend": str(directory), "connections": 1}
    async with open_server(transport, **given) as server:
        answers = [await server.bare.post("/none", headers={"host": "evil"}) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [421] * 3


def test_the_usual_limit_is_generous() -> None:
    assert Settings().connections == 1000
