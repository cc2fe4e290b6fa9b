"""The tables of `demo:` are made one by one, from the start of a server or when they are asked."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import aclosing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import anyio
import pytest
from mcp.client import Client
from mcp_types import TextContent

from gateway_metrics_mcp.backends.demo.backend import DemoBackend
from gateway_metrics_mcp.backends.demo.data import FORMAT_VERSION, DemoTables
from gateway_metrics_mcp.backends.sql.dialect import published_tables
from gateway_metrics_mcp.errors import EngineError
from gateway_metrics_mcp.query import LOCAL, DatasourceName, Query, Result
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.settings import Settings

NOW: Final = datetime(2026, 7, 15, 9, 30, tzinfo=UTC)
COMPLETE: Final = f"demo-v{FORMAT_VERSION}-seed7-2026-07-15"
ROWS_OF_A_DAY: Final = 16_990
"""Of models on 2026-07-14."""
CALLS_OF_A_DAY: Final = 3729
"""Of MCP servers on that day, whose table is made in a fraction of the time."""


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def count(datasource: DatasourceName = "modelMetrics", day: datetime = NOW) -> Query:
    """How many rows there are of the day before."""
    end = day.replace(hour=0, minute=0)
    start = end - timedelta(1)
    return Query(datasource=datasource, type="distribution", start_ts=start, end_ts=end)


def total(result: Result) -> object:
    (point,) = result.points
    return point.values[0]


def tables_in(cache: Path, name: str = f"{COMPLETE}.tables") -> set[str]:
    directory = cache / name
    return {path.name for path in directory.iterdir()} if directory.is_dir() else set()


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def wait_until(is_reached: Callable[[], bool]) -> None:
    while not is_reached():  # noqa: ASYNC110 - no event tells of files
        await anyio.sleep(0.005)


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The cache directory of a new machine."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    yield tmp_path / "gateway-metrics-mcp"
    shutil.rmtree(tmp_path / "gateway-metrics-mcp", ignore_errors=True)


@pytest.mark.thorough
async def test_a_question_makes_its_own_table_alone(tmp_path: Path) -> None:
    backend = DemoBackend(7, load_catalog(), cache=tmp_path, clock=lambda: NOW)
    async with aclosing(backend):
        first = await backend.query(count("mcpMetrics"), LOCAL)
        made = tables_in(tmp_path)
        second = await backend.query(count("guardrailMetrics"), LOCAL)

    assert first.points
    assert second.points
    assert made == {"gateway_mcp_metrics"}
    assert tables_in(tmp_path) == {"gateway_mcp_metrics", "gateway_guardrail_metrics"}
    assert names_in(tmp_path) == [f"{COMPLETE}.tables"]


@pytest.mark.thorough
async def test_a_server_makes_all_tables_without_a_question(caches: Path) -> None:
    order: list[str] = []
    async with Client(build_server(Settings(backend="demo:"), clock=lambda: NOW)):
        while len(order) < len(published_tables()):
            order += sorted(tables_in(caches) - {*order})
            await anyio.sleep(0.005)

    assert order[0] == "gateway_model_metrics"
    assert names_in(caches) == [f"{COMPLETE}.tables"]


async def test_a_server_that_ends_stops_making_tables_and_leaves_none_in_part(
    caches: Path,
) -> None:
    async with Client(build_server(Settings(backend="demo:"), clock=lambda: NOW)):
        await wait_until(lambda: any(caches.glob(".making-*")))

    assert tables_in(caches) == set()
    assert names_in(caches) == []


async def test_after_a_failure_all_who_wait_for_a_table_are_answered_though_one_gives_up(
    tmp_path: Path,
) -> None:
    answers: list[object] = []
    cache = tmp_path / "cache"
    cache.write_text("in the way", "utf-8")
    backend = DemoBackend(7, load_catalog(), cache=cache, clock=lambda: NOW)

    async def ask() -> None:
        answers.append(total(await backend.query(count("mcpMetrics"), LOCAL)))

    async with aclosing(backend), anyio.create_task_group() as group:
        await backend.make_all()
        with pytest.raises(EngineError, match="needs a cache directory that can be written"):
            await ask()
        cache.unlink()  # the next question tries again
        with anyio.CancelScope() as impatient:
            async with anyio.create_task_group() as first:
                first.start_soon(ask)
                await anyio.wait_all_tasks_blocked()
                group.start_soon(ask)
                group.start_soon(ask)
                await anyio.wait_all_tasks_blocked()
                impatient.cancel()

    assert impatient.cancelled_caught
    assert answers == [CALLS_OF_A_DAY] * 2
    assert tables_in(cache) == {"gateway_mcp_metrics"}  # no others than were asked


async def test_the_directory_that_an_earlier_build_made_is_used(
    demo_directory: Path, tmp_path: Path
) -> None:
    shutil.copytree(demo_directory, tmp_path / COMPLETE, copy_function=os.link)
    backend = DemoBackend(7, load_catalog(), cache=tmp_path, clock=lambda: NOW)
    async with aclosing(backend):
        await backend.make_all()
        answer = total(await backend.query(count(), LOCAL))

    assert answer == ROWS_OF_A_DAY
    assert names_in(tmp_path) == [COMPLETE]


@pytest.mark.thorough
async def test_a_new_day_has_data_of_its_own(tmp_path: Path) -> None:
    clock = Clock()
    backend = DemoBackend(7, load_catalog(), cache=tmp_path, clock=clock)
    async with aclosing(backend):
        await backend.make_all()
        await backend.query(count(), LOCAL)
        clock.now = NOW + timedelta(1)
        answer = await backend.query(count(day=clock.now), LOCAL)

    assert answer.points
    days = names_in(tmp_path / f"{COMPLETE[:-2]}16.tables" / "gateway_model_metrics")
    assert days[-1] == "date=2026-07-16"


@pytest.mark.thorough
async def test_a_question_about_another_table_goes_first(caches: Path) -> None:
    async with Client(build_server(Settings(backend="demo:"), clock=lambda: NOW)) as client:
        result = await client.call_tool(
            "query_distribution",
            {"datasource": "agentMetrics", "startTs": "yesterday"},
        )
        made = tables_in(caches)

    (block,) = result.content
    assert isinstance(block, TextContent)
    assert not result.is_error, block.text
    assert "gateway_request_metrics" in made
    assert made < set(published_tables())


@pytest.mark.thorough
def test_a_process_that_is_killed_leaves_no_table_in_part(tmp_path: Path) -> None:
    cache = tmp_path / "gateway-metrics-mcp"
    with subprocess.Popen(
        [sys.executable, "-m", "gateway_metrics_mcp", "--backend", "demo:"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
    ) as server:
        while not any(cache.glob(".making-*/*/*")):
            assert server.poll() is None
        server.kill()

    DemoTables(cache, seed=7, end_day=date(2026, 7, 14))  # the next start
    assert [*cache.glob(".making-*")] == []
    days = [len([*table.iterdir()]) for table in cache.glob("demo-*.tables/*")]
    assert days == [35] * len(days)
    assert [*cache.glob("demo-*[0-9]")] == []
