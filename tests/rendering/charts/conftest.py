"""Servers over a little Parquet, and what their answers draw."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import duckdb
import pytest
from mcp.client import Client
from mcp_types import CallToolResult
from pydantic_core import to_json
from vl_convert import vegalite_to_png

from gateway_metrics_mcp.rendering.charts.renderer import ChartRenderer
from gateway_metrics_mcp.rendering.charts.vega import SCALES
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.settings import Settings

NOW: Final = datetime(2026, 7, 15, 9, 30, tzinfo=UTC)
META: Final = "gateway-metrics/view"
HOSTILE: Final = (
    "<img src=x onerror=\"document.title='taken'\">",
    "</script><script>document.title='taken'</script>",
    "datum.value > 0 ? 'taken' : event",
    '{"signal": "\'taken\'"}',
    "constructor",
    "__proto__",
    "a\u202eb\u200bc\x1b[31m",
    "other (3)",
    "日本語の模型 \U0001f600",
)


class Row(NamedTuple):
    """One model call: a plain tuple of the same will do."""

    day: int
    hour: int
    model: str
    cost: float | None
    latency_ms: float = 100.0
    email: str = "ada@example.com"
    tokens: int = 600


Make = Callable[..., Path]
Ask = Callable[..., Awaitable[CallToolResult]]
Specify = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """A data directory with these calls of a month of 2026, July if none is named."""

    def make(rows: Sequence[tuple[Any, ...]], month: int = 7) -> Path:
        directory = tmp_path_factory.mktemp("charts")
        table = directory / "gateway_model_metrics"
        table.mkdir()
        connection = duckdb.connect()
        connection.execute(
            "CREATE TABLE calls (CreatedAt TIMESTAMPTZ, ModelName VARCHAR,"
            " VirtualModelName VARCHAR, CostInUSD DOUBLE, LatencyMs DOUBLE,"
            " CreatedBySubjectSlug VARCHAR, CreatedBySubjectType VARCHAR,"
            " InputTokens BIGINT, OutputTokens BIGINT)"
        )
        values = [
            (
                datetime(2026, month, row.day, row.hour, tzinfo=UTC),
                *(row.model, None, row.cost, row.latency_ms, row.email, "user"),
                *(row.tokens, row.tokens),
            )
            for row in itertools.starmap(Row, rows)
        ]
        connection.executemany("INSERT INTO calls VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        connection.execute(f"COPY calls TO '{table / 'rows.parquet'}' (FORMAT parquet)")
        connection.close()
        return directory

    return make


@pytest.fixture(scope="session")
def ask() -> Ask:
    """Ask a query tool for a chart; the whole result."""

    async def ask(
        directory: Path, arguments: dict[str, Any], *, mode: str = "auto", **settings: Any
    ) -> CallToolResult:
        tool = "query_timeseries" if "interval" in arguments else "query_distribution"
        server = build_server(Settings(backend=str(directory), **settings), clock=lambda: NOW)
        async with Client(server, mode=mode) as client:
            return await client.call_tool(tool, {"format": "chart", **arguments})

    return ask


@pytest.fixture(scope="session")
def specify(ask: Ask) -> Specify:
    """Ask, and take the specification out of the result."""

    async def specify(
        directory: Path, arguments: dict[str, Any], **settings: Any
    ) -> dict[str, Any]:
        result = await ask(directory, arguments, ui=True, **settings)
        assert not result.is_error, result.content
        assert result.meta is not None
        specification: dict[str, Any] = result.meta["gateway-metrics/view"]
        return specification

    return specify


@pytest.fixture(scope="session")
def few(make: Make) -> Path:
    """Two models over three days; one has no call on the second, the third is not over."""
    return make(
        [
            Row(13, 8, "gpt-4o", 1.25, 300.0),
            Row(13, 9, "claude", 0.5, 500.0),
            Row(14, 8, "gpt-4o", 2.5, 200.0),
            Row(15, 8, "gpt-4o", 0.75, 100.0),
            Row(15, 9, "claude", 0.125, 900.0),
        ]
    )


@pytest.fixture(scope="session")
def many(make: Make) -> Path:
    """Fourteen models, each cheaper than the one before."""
    return make(
        [
            Row(day, 8, f"model-{number:02}", 20.0 - number + math.sin(day))
            for day in range(8, 15)
            for number in range(14)
        ]
    )


@pytest.fixture(scope="session")
def hostile(make: Make) -> Path:
    """Names that would be markup, expressions or properties if they were not data."""
    return make(
        [
            Row(day, 8, name, 10.0 - number)
            for day in (13, 14)
            for number, name in enumerate(HOSTILE)
        ]
    )


@pytest.fixture
def drawn_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are drawn in this process: starting one for each takes twenty times as long."""

    def draw(self: ChartRenderer, specification: dict[str, Any]) -> bytes:
        del self
        return vegalite_to_png(
            json.loads(to_json(specification)), scale=SCALES[0], allowed_base_urls=[]
        )

    monkeypatch.setattr(ChartRenderer, "_draw", draw)


@pytest.fixture(autouse=True)
def painting(drawn_here: None) -> None:
    """How the pictures of all tests are drawn that say nothing else."""


@pytest.fixture
def demo(cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for a directory, of the demo's data."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_home))
    return Path("demo:")
