"""Is it up, and can it answer: what a load balancer asks every few seconds."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from gateway_metrics_mcp.backends.factory import BackendHolder
from gateway_metrics_mcp.errors import UnreachableError
from gateway_metrics_mcp.runtime.metrics import OK, Metrics
from gateway_metrics_mcp.runtime.readiness import Readiness
from gateway_metrics_mcp.settings import Settings

Serve = Callable[..., AbstractAsyncContextManager[Any]]

POD: Final = {"host": "10.42.0.17:8000"}
"""What a kubelet sends: the pod's address, no name that anyone allowed, and no token."""


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_probes_need_no_known_host_and_no_token_while_all_else_does(
    open_server: Serve, gateway: Any, transport: str
) -> None:
    async with open_server(transport, backend=gateway.url) as server:
        path = "/mcp" if transport == "http" else "/sse"
        live = await server.bare.get("/livez", headers=POD)
        ready = await server.bare.get("/readyz", headers=POD)
        foreign = await server.bare.get(path, headers=POD)
        nobody = await server.bare.get(path)

    assert (live.status_code, live.json()) == (200, {"status": "alive"})
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})
    assert {r.headers["cache-control"] for r in (live, ready)} == {"no-store"}
    assert (foreign.status_code, nobody.status_code) == (421, 401)


async def test_it_is_up_and_not_ready_where_no_gateway_answers(open_server: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with open_server(backend=f"http://127.0.0.1:{port}") as server:
        live, ready = await server.bare.get("/livez"), await server.bare.get("/readyz")

    reason = "the backend cannot be used (unreachable); the log has details"
    assert live.status_code == 200
    assert (ready.status_code, ready.json()) == (503, {"status": "not ready", "reason": reason})


@pytest.mark.parametrize(
    ("status", "expected"),
    [(401, 200), (404, 200), (429, 200), (500, 503), (501, 200), (502, 503), (503, 503)],
)
async def test_a_gateway_is_there_whatever_it_thinks_of_a_request_without_a_token(
    open_server: Serve, gateway: Any, status: int, expected: int
) -> None:
    gateway.statuses = [status]
    async with open_server(backend=gateway.url) as server:
        ready = await server.bare.get("/readyz")

    ((method, headers),) = gateway.requests
    assert ready.status_code == expected
    assert method == "HEAD"
    assert "authorization" not in headers


async def test_a_gateway_that_does_not_answer_is_told_within_the_probes_patience(
    open_server: Serve,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        async with open_server(backend=url) as server:
            with anyio.fail_after(60):
                ready = await server.bare.get("/readyz")

    assert ready.status_code == 503
    assert ready.json()["reason"] in (
        "the backend gave no answer in time",
        "the backend gave no answer within 3 seconds",
    )


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_an_engine_is_asked_a_question(
    open_server: Serve, directory: Path, transport: str
) -> None:
    async with open_server(transport, backend=str(directory)) as server:
        ready = await server.bare.get("/readyz")
        metrics = (await server.bare.get("/metrics")).text

    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})
    assert 'gateway_metrics_upstream_calls_total{code="ok"} 1.0' in metrics


@pytest.mark.parametrize("backend", [None, "/nowhere/secret-name"])
async def test_a_wrong_set_up_is_not_ready_and_its_paths_are_in_the_log_alone(
    open_server: Serve, caplog: pytest.LogCaptureFixture, backend: str | None
) -> None:
    async with open_server(backend=backend) as server:
        ready = await server.bare.get("/readyz")

    reason = "the configuration is wrong; the log has details"
    assert (ready.status_code, ready.json()) == (503, {"status": "not ready", "reason": reason})
    assert f"not ready: {'the data directory' if backend else 'no backend is set'}" in caplog.text


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
async def test_operators_paths_are_only_read(
    open_server: Serve, directory: Path, path: str
) -> None:
    async with open_server(backend=str(directory)) as server:
        posted = await server.bare.post(path, json={})
        head = await server.bare.head(path)

    assert (posted.status_code, posted.headers["allow"]) == (405, "GET, HEAD")
    assert (head.status_code, head.text) == (200, "")


async def test_a_busy_server_stays_ready_without_asking() -> None:
    times = count()
    meter = Metrics(clock=lambda: next(times))

    async def fail() -> None:
        raise UnreachableError("no connection")

    readiness = Readiness(fail, meter)
    meter.count_upstream(OK, 0.1)
    found = [await readiness.find_obstacle() for _ in range(14)]

    assert found == [None] * 14
    assert await readiness.find_obstacle() is not None


async def test_a_finding_holds_for_some_seconds_and_then_it_is_asked_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seconds = 100.0
    asked = 0

    async def fail_twice() -> None:
        nonlocal asked
        asked += 1
        if asked <= 2:
            raise UnreachableError("no connection")

    readiness = Readiness(fail_twice, Metrics(clock=lambda: seconds))
    found = []
    for _ in range(9):
        found.append((asked, await readiness.find_obstacle() is None))
        seconds += 2

    assert found == [
        (0, False),
        (1, False),
        (1, False),
        (1, False),
        (2, False),
        (2, False),
        (2, True),
        (3, True),
        (3, True),
    ]
    assert [r.message for r in caplog.records] == ["not ready: no connection", "ready again"]


async def test_the_probes_own_question_is_not_one_of_a_caller() -> None:
    seconds = 100.0
    meter = Metrics(clock=lambda: seconds)
    is_up = True

    async def ask() -> None:
        if not is_up:
            raise UnreachableError("no connection")
        meter.count_upstream(OK, 0.1)

    readiness = Readiness(ask, meter)
    assert await readiness.find_obstacle() is None
    is_up = False
    seconds += 6

    assert await readiness.find_obstacle() is not None
    meter.count_upstream(OK, 0.1)
    assert await readiness.find_obstacle() is None


async def test_probes_at_once_ask_once(gateway: Any) -> None:
    holder = BackendHolder(Settings(backend=gateway.url), lambda: datetime.now(UTC))
    readiness = Readiness(holder.check, Metrics())
    found = await asyncio.gather(*[readiness.find_obstacle() for _ in range(20)])

    assert found == [None] * 20
    assert [method for method, _ in gateway.requests] == ["HEAD"]
