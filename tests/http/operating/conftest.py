"""Servers over HTTP on loopback, as their operators meet them, and a gateway behind them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import anyio
import httpx2
import pytest
from mcp.client import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway_metrics_mcp.http.transports import build_http_app, build_sse_app
from gateway_metrics_mcp.query.vocabulary import API_PATH as PATH
from gateway_metrics_mcp.runtime.metrics import Metrics
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.settings import Settings

Listen = Callable[[Starlette], AbstractAsyncContextManager[int]]

TOKEN: Final = "tok-planted-1234"  # noqa: S105 - nothing may show it
ROWS: Final = [{"modelName": f"model-{n}", "total": n} for n in (3, 2, 1)]


@dataclass
class Gateway:
    """A gateway that answers rows, or the statuses it is told, in their order."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    gate: anyio.Event | None = None
    """Where there is one, questions wait for it."""
    is_asked: anyio.Event = field(default_factory=anyio.Event)

    async def answer(self, request: Request) -> Response:
        self.requests.append((request.method, dict(request.headers)))
        self.is_asked.set()
        status = self.statuses.pop(0) if self.statuses else 200
        if request.method == "POST" and self.gate is not None:
            await self.gate.wait()
        if request.method == "HEAD" and status == 200:
            return Response(status_code=401)
        if status != 200:
            return Response(status_code=status)
        return JSONResponse({"data": {"dataPoints": ROWS}})


@pytest.fixture
async def gateway(listen: Listen) -> AsyncIterator[Gateway]:
    gateway = Gateway()
    route = Route(PATH, gateway.answer, methods=["HEAD", "POST"])
    async with listen(Starlette(routes=[route])) as port:
        gateway.url = f"http://127.0.0.1:{port}"
        yield gateway


@dataclass
class Served:
    """A server on loopback, and a bare HTTP client of it."""

    url: str
    meter: Metrics
    bare: httpx2.AsyncClient
    transport: str

    @asynccontextmanager
    async def connect(self, mode: str = "auto") -> AsyncIterator[Client]:
        """An MCP client that brings a token."""
        headers = {"X-TFY-API-Key": TOKEN}
        if self.transport == "sse":
            async with Client(sse_client(f"{self.url}/sse", headers=headers), mode="legacy") as c:
                yield c
            return
        async with (
            httpx2.AsyncClient(headers=headers, timeout=120) as bare,
            Client(streamable_http_client(f"{self.url}/mcp", http_client=bare), mode=mode) as c,
        ):
            yield c


Serve = Callable[..., AbstractAsyncContextManager[Served]]


@pytest.fixture
def open_server(listen: Listen) -> Serve:
    """Serve these settings, whatever address they name, on loopback."""

    @asynccontextmanager
    async def open_server(transport: str = "http", **given: Any) -> AsyncIterator[Served]:
        settings = Settings(transport=transport, **given)
        build = build_http_app if transport == "http" else build_sse_app
        server = build_server(settings)
        async with listen(build(server, settings)) as port:
            url = f"http://127.0.0.1:{port}"
            async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=120) as bare:
                yield Served(url, server.meter, bare, transport)

    return open_server
