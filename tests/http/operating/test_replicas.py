"""Several processes behind a plain load balancer: any of them may answer any request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any, Final

import anyio
import httpx2
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import TextContent
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from tests import forked

Listen = Callable[[Starlette], AbstractAsyncContextManager[int]]
Serve = Callable[..., AbstractAsyncContextManager[Any]]

WEEK: Final = {"startTs": "2025-03-01", "endTs": "2025-03-08"}
HEADERS: Final = {"X-TFY-API-Key": "tok-1"}
_HOP_BY_HOP: Final = ("host", "connection", "transfer-encoding", "content-length")


@dataclass
class Proxy:
    """Sends each request to the next replica, whoever sent the one before."""

    replicas: list[str]
    url: str = ""
    sent: list[tuple[int, str, int]] = field(default_factory=list)
    """The replica, the method and the status of each."""

    def __post_init__(self) -> None:
        self._next = cycle(range(len(self.replicas)))
        self._client = httpx2.AsyncClient(trust_env=False, timeout=60)

    async def forward(self, request: Request) -> Response:
        number = next(self._next)
        headers = [(k, v) for k, v in request.headers.items() if k not in _HOP_BY_HOP]
        url = self.replicas[number] + request.url.path
        body = await request.body()
        passed = self._client.build_request(request.method, url, headers=headers, content=body)
        answer = await self._client.send(passed, stream=True)
        self.sent.append((number, request.method, answer.status_code))
        kept = {k: v for k, v in answer.headers.items() if k not in _HOP_BY_HOP}
        return StreamingResponse(
            answer.aiter_raw(),
            answer.status_code,
            kept,
            background=BackgroundTask(answer.aclose),
        )

    async def aclose(self) -> None:
        await self._client.aclose()


@asynccontextmanager
async def _start(backend: str, environment: dict[str, str]) -> AsyncIterator[str]:
    """A process of ours that serves HTTP: its address."""
    command = [*forked.command(), "--transport", "http", "--port", "0"]
    command += ["--backend", backend, "--cache-bytes", "0"]
    async with await anyio.open_process(command, env=environment) as run:
        try:
            assert run.stderr is not None
            stderr = BufferedByteReceiveStream(run.stderr)
            with anyio.fail_after(60):
                said = (await stderr.receive_until(b"/mcp\n", 10_000)).decode()
            yield said.split()[-1]
        finally:
            run.terminate()


@pytest.fixture
async def proxy(gateway: Any, environment: dict[str, str], listen: Listen) -> AsyncIterator[Proxy]:
    """Two processes behind a round-robin proxy."""
    async with _start(gateway.url, environment) as one, _start(gateway.url, environment) as other:
        proxy = Proxy([one, other])
        route = Route("/mcp", proxy.forward, methods=["GET", "POST", "DELETE"])
        async with listen(Starlette(routes=[route])) as port:
            proxy.url = f"http://127.0.0.1:{port}/mcp"
            yield proxy
        await proxy.aclose()


@asynccontextmanager
async def _connect(url: str, mode: str) -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(headers=HEADERS, timeout=60) as bare,
        Client(streamable_http_client(url, http_client=bare), mode=mode) as client,
    ):
        yield client


@pytest.mark.parametrize("mode", [pytest.param("legacy", marks=pytest.mark.thorough), "2026-07-28"])
async def test_any_replica_answers_any_request_and_progress_still_arrives(
    proxy: Proxy, gateway: Any, mode: str
) -> None:
    texts = []
    reported: list[tuple[float, float | None, str | None]] = []

    async def release(progress: float, total: float | None, message: str | None) -> None:
        reported.append((progress, total, message))
        gateway.gate.set()

    with anyio.fail_after(60):
        async with _connect(proxy.url, mode) as client:
            await client.list_tools()
            for _ in range(4):
                answer = await client.call_tool("query_distribution", WEEK)
                texts.append((answer.content[0], answer.is_error))
            gateway.gate = anyio.Event()  # its answer waits for a sign of life
            slow = await client.call_tool(
                "query_distribution", {**WEEK, "endTs": "2025-03-09"}, progress_callback=release
            )

    posts = [(replica, status) for replica, method, status in proxy.sent if method == "POST"]
    assert {status for _, status in posts} <= {200, 202}
    assert {replica for replica, _ in posts} == {0, 1}
    assert [is_error for _, is_error in texts] == [False] * 4
    assert len({block.text for block, _ in texts if isinstance(block, TextContent)}) == 1
    assert not slow.is_error
    assert reported[0] == (1, None, "waiting for the backend, 1 s so far")


@pytest.mark.parametrize(("transport", "mode"), [("http", "auto"), ("sse", "legacy")])
async def test_a_slow_question_shows_signs_of_life_and_a_quick_one_none(
    open_server: Serve, gateway: Any, transport: str, mode: str
) -> None:
    reported: list[float] = []

    async def note(progress: float, _total: float | None, _message: str | None) -> None:
        reported.append(progress)
        if progress == 2:
            gateway.gate.set()

    async with (
        open_server(transport, backend=gateway.url) as server,
        server.connect(mode) as client,
    ):
        with anyio.fail_after(60):
            await client.call_tool("query_distribution", WEEK, progress_callback=note)
            quick = list(reported)
            gateway.gate = anyio.Event()
            question = {**WEEK, "endTs": "2025-03-09"}
            slow = await client.call_tool("query_distribution", question, progress_callback=note)

    assert (quick, reported[:2]) == ([], [1, 2])
    assert not slow.is_error
