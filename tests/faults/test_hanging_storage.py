"""Processes of ours whose storage hangs: questions end, and so does the process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import duckdb
import httpx2
import pytest
from tests import forked
from tests.faults.test_shutdown import PATIENCE_S, SOURCES, connect, start_process
from tests.hanging import hanging

from gateway_metrics_mcp.cli.main import main
from gateway_metrics_mcp.query.vocabulary import API_PATH

DAY: Final = {"startTs": "2026-07-10", "endTs": "2026-07-11"}
HANGS: Final = "no answer within 1 s, and reading gateway_model_metrics cannot be stopped"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The only file of a data directory."""
    path = tmp_path / "data" / "gateway_model_metrics" / "rows.parquet"
    path.parent.mkdir(parents=True)
    select = "SELECT TIMESTAMPTZ '2026-07-10 12:00:00Z' AS \"CreatedAt\""
    duckdb.connect().execute(f"COPY ({select}) TO '{path}'")
    return path


@asynccontextmanager
async def start(file: Path, *arguments: str) -> AsyncIterator[Process]:
    """Our program over the file's data directory, with pipes."""
    process = await asyncio.create_subprocess_exec(
        *forked.command(),
        *(*arguments, "--backend", str(file.parents[1])),
        env={"PYTHONPATH": str(SOURCES), "PATH": os.environ["PATH"], "HOME": str(file.parents[2])},
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_ask_and_check_end_by_the_time_limit(file: Path) -> None:
    question = ("query_distribution", "--range", "2026-07-10")
    with hanging(file):
        async with (
            start(file, "ask", *question, "--timeout", "1") as asking,
            start(file, "check", "--timeout", "1") as checking,
        ):
            _, asked = await asking.communicate()
            checked, _ = await checking.communicate()

    assert (asking.returncode, checking.returncode) == (1, 1)
    assert HANGS in asked.decode()
    assert f"FAIL  modelMetrics: {HANGS}" in checked.decode()
    assert "ok    mcpMetrics: 0 rows" in checked.decode()


async def test_check_gives_up_on_a_file_whose_checksum_hangs(file: Path) -> None:
    data = file.parents[1]
    source = data.with_name("calls.csv")
    source.write_text("CreatedAt,ModelName\n2026-07-10T12:00:00Z,gpt-4o\n", "utf-8")
    assert main(["import", str(source), "--into", str(data)]) == 0
    (imported,) = data.rglob("import-*/**/*.parquet")

    with hanging(imported):
        async with start(file, "check", "--timeout", "1") as checking:
            checked, _ = await checking.communicate()

    assert checking.returncode == 1
    assert "FAIL  checksums: not compared: the storage has not answered for 1 s" in checked.decode()


async def test_ctrl_c_ends_a_question_that_hangs(file: Path) -> None:
    with hanging(file) as is_opened:
        async with start(file, "ask", "query_distribution", "--range", "2026-07-10") as asking:
            await is_opened.wait()
            asking.send_signal(signal.SIGINT)
            code = await asking.wait()

    assert code == 130


async def test_a_server_over_stdio_ends_with_its_input(file: Path) -> None:
    opened = {"protocolVersion": "2025-11-25", "capabilities": {}}
    opened["clientInfo"] = {"name": "test", "version": "1"}
    called = {"name": "query_distribution", "arguments": DAY}
    messages: list[dict[str, Any]] = [
        {"id": 0, "method": "initialize", "params": opened},
        {"method": "notifications/initialized"},
        {"id": 1, "method": "tools/call", "params": called},
    ]
    with hanging(file) as is_opened:
        async with start(file) as process:
            assert process.stdin is not None
            for message in messages:
                process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
            await is_opened.wait()
            process.stdin.close()
            code = await process.wait()

    assert code == 0


async def test_the_api_ends_after_its_drain(file: Path, tmp_path: Path) -> None:
    body = {name: f"{day}T00:00:00Z" for name, day in DAY.items()}
    body |= {"datasource": "modelMetrics", "type": "distribution"}
    arguments = ("api", "--backend", str(file.parents[1]), "--drain", "1")
    with hanging(file) as is_opened:
        async with (
            start_process(tmp_path, *arguments) as (process, url),
            httpx2.AsyncClient(timeout=PATIENCE_S) as client,
        ):
            asking = asyncio.create_task(client.post(url, json=body))
            await is_opened.wait()
            process.send_signal(signal.SIGTERM)
            code = await process.wait()
            answer = await asking

    assert url.endswith(API_PATH)
    assert (code, answer.status_code) == (0, 503)


async def test_a_server_over_http_ends_after_its_drain(file: Path, tmp_path: Path) -> None:
    arguments = ("--transport", "http", "--backend", str(file.parents[1]), "--drain", "1")
    with hanging(file) as is_opened:
        async with (
            start_process(tmp_path, *arguments) as (process, url),
            connect(url, "auto") as client,
        ):
            await client.list_tools()
            asking = asyncio.create_task(client.call_tool("query_distribution", DAY))
            await is_opened.wait()
            process.send_signal(signal.SIGTERM)
            code = await process.wait()
            answer = await asking

    assert code == 0
    assert answer.is_error
