"""A server over one tenant's generated data, and MCP clients of both eras."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from mcp.client import Client

from gateway_metrics_mcp.backends.demo.backend import DemoBackend
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.settings import Settings

NOW: Final = datetime(2026, 7, 15, 9, 30, tzinfo=UTC)
MODES: Final = ("legacy", "2026-07-28")

Connect = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    """The era of the protocol that the client speaks."""
    mode: str = request.param
    return mode


# While an async fixture is open, no test that is not async can run an event loop: not per session.
@pytest.fixture(scope="module")
async def demo(demo_cache: Path) -> AsyncIterator[DemoBackend]:
    """One engine for all servers: none of them changes what it reads."""
    async with aclosing(
        DemoBackend(7, load_catalog(), cache=demo_cache, clock=lambda: NOW)
    ) as backend:
        yield backend


@pytest.fixture(scope="module")
def connect(demo: DemoBackend) -> Connect:
    """`connect(mode, **settings)`: a client of a server over the demo's data."""

    @asynccontextmanager
    async def connect(mode: str = "auto", **settings: Any) -> AsyncIterator[Client]:
        server = build_server(Settings(**settings), backend=demo, clock=lambda: NOW)
        async with Client(server, mode=mode, cache=None) as client:
            yield client

    return connect


@pytest.fixture
def own(tmp_path: Path) -> Callable[..., Path]:
    """Write a folder of prompts: `own(name=text)`."""

    def write(**files: str) -> Path:
        folder = tmp_path / "own"
        folder.mkdir(exist_ok=True)
        for name, text in files.items():
            (folder / f"{name.replace('_', '-')}.md").write_text(text, "utf-8")
        return folder

    return write
