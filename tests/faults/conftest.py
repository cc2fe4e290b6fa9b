"""A faulty gateway, and our server before it, spoken to as an MCP client does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from mcp.client import Client
from mcp_types import TextContent
from tests.faults.faulty_gateway import Gateway, start_gateway

from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.settings import Settings

TOKEN: Final = "tok-secret-1234"  # noqa: S105 - planted: no answer may show it
NOW: Final = datetime(2026, 7, 15, 9, 30, tzinfo=UTC)

Ask = Callable[..., Coroutine[Any, Any, tuple[str, bool]]]
Connect = Callable[..., AbstractAsyncContextManager[Ask]]


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with start_gateway() as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def proxyless(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy and no certificates of the machine that the tests happen to run on."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


@asynccontextmanager
async def _connect(
    url: str, *, clock: Callable[[], datetime] = lambda: NOW, mode: str = "auto", **settings: Any
) -> AsyncIterator[Ask]:
    given = Settings(backend=url, token=TOKEN, **settings)
    async with Client(build_server(given, clock=clock), mode=mode) as client:

        async def ask(tool: str = "query_distribution", **arguments: object) -> tuple[str, bool]:
            result = await client.call_tool(tool, {"startTs": "yesterday", **arguments})
            (block,) = result.content
            assert isinstance(block, TextContent)
            assert TOKEN not in block.text
            return block.text, bool(result.is_error)

        yield ask


@pytest.fixture
def connect() -> Connect:
    """A client in memory of our server before a gateway: `connect(url, **settings)`."""
    return _connect
