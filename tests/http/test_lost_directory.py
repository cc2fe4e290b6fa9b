"""A data directory that disappears under a running server: errors, and not ready, until back."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from starlette.applications import Starlette

from gateway_metrics_mcp.http.api import MetricsApi, build_api_app
from gateway_metrics_mcp.http.transports import build_http_app
from gateway_metrics_mcp.query.vocabulary import API_PATH
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.settings import Settings

Listen = Callable[[Starlette], AbstractAsyncContextManager[int]]

DAY: Final = {"startTs": "2026-07-14T00:00:00Z", "endTs": "2026-07-15T00:00:00Z"}
BODY: Final[dict[str, Any]] = {**DAY, "datasource": "modelMetrics", "type": "distribution"}
MESSAGE: Final[dict[str, Any]] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {"name": "query_distribution", "arguments": DAY},
}
ACCEPT: Final = {"Accept": "application/json, text/event-stream"}


@pytest.fixture
def data(tmp_path: Path, directory: Path) -> Path:
    """A copy of the directory, to be moved."""
    return Path(shutil.copytree(directory, tmp_path / "data"))


def move(data: Path, *, is_empty: bool) -> Path:
    """Put it aside, and an empty folder in its place or nothing."""
    aside = data.rename(data.with_name("aside"))
    if is_empty:
        data.mkdir()
    return aside


def bring_back(aside: Path, data: Path) -> None:
    shutil.rmtree(data, ignore_errors=True)
    aside.rename(data)


@pytest.mark.parametrize("is_empty", [False, True], ids=["renamed", "unmounted"])
@pytest.mark.parametrize("kind", ["api", "mcp"])
async def test_a_directory_that_disappears_is_an_error_and_not_ready_until_it_is_back(
    listen: Listen, data: Path, kind: str, *, is_empty: bool
) -> None:
    settings = Settings(backend=str(data))
    if kind == "api":
        app, path, body = build_api_app(MetricsApi(settings), settings), API_PATH, BODY
    else:
        app, path, body = build_http_app(build_server(settings), settings), "/mcp", MESSAGE

    async with listen(app) as port:
        url = f"http://127.0.0.1:{port}"
        async with httpx2.AsyncClient(base_url=url, trust_env=False, headers=ACCEPT) as client:
            before = await _look(client, path, body)
            aside = move(data, is_empty=is_empty)
            lost = [await _look(client, path, body) for _ in range(2)]
            bring_back(aside, data)
            after = await _look(client, path, body)

    reason = "the backend cannot be used (engine); the log has details"
    assert before[:2] == after[:2] == (200, {"status": "ready"})
    for code, ready, text in lost:
        assert (code, ready) == (503, {"status": "not ready", "reason": reason})
        assert "data directory" in text
        assert str(data) not in text
        assert "dataPoints" not in text
        assert "no traffic" not in text


async def _look(
    client: httpx2.AsyncClient, path: str, body: dict[str, Any]
) -> tuple[int, dict[str, Any], str]:
    """Whether the server is ready, and its answer to a question."""
    answer = await client.post(path, json=body)
    ready = await client.get("/readyz")
    return ready.status_code, ready.json(), answer.text
