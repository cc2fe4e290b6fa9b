"""The demo, from the command to the stories it is to tell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from mcp.client import Client

from gateway_metrics_mcp.backends.demo.backend import DEFAULT_SEED, DemoBackend
from gateway_metrics_mcp.backends.demo.data import tell_stories
from gateway_metrics_mcp.cli import demo
from gateway_metrics_mcp.cli.demo import QUESTIONS
from gateway_metrics_mcp.cli.main import main
from gateway_metrics_mcp.cli.mcp_client import connect
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.settings import Settings

NOW = datetime(2026, 7, 15, 9, 30, tzinfo=UTC)


def first_rows(text: str) -> list[str]:
    """The first row of each table."""
    return re.findall(r"^---(?:\|---)*\n(.*)$", text, flags=re.MULTILINE)


def check_output(text: str, home: Path, days: set[date]) -> None:
    parts = text.split("\n=== ")[1:]
    assert [part.splitlines()[0] for part in parts] == [
        f"{number}. {title}" for number, (title, _) in enumerate(QUESTIONS, 1)
    ]
    picture = re.findall(r"^picture: (.*)$", parts[1], flags=re.MULTILINE)
    assert Path(picture[0]).read_bytes().startswith(b"\x89PNG")
    assert Path(picture[0]).is_relative_to(home)
    stories = [tell_stories(DEFAULT_SEED, day) for day in days]
    latency, spend = first_rows(parts[2])[0], first_rows(parts[3])[0]
    assert any(latency.startswith(f"{s.slow_model}|{s.slow_environment}|") for s in stories)
    assert any(spend.startswith(f"{s.spend_account}|{s.spend_model}|") for s in stories)


def test_the_demo_asks_five_questions_and_the_answers_tell_both_stories(
    cache_home: Path,
    demo_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[str] = []

    @asynccontextmanager
    async def connect_here(backend: str) -> AsyncIterator[Client]:
        asked.append(backend)
        data = DemoBackend(DEFAULT_SEED, load_catalog(), cache=demo_cache, clock=lambda: NOW)
        server = build_server(Settings(), backend=data, clock=lambda: NOW)
        async with aclosing(data), Client(server) as client:
            yield client

    monkeypatch.setattr(demo, "connect", connect_here)
    monkeypatch.setattr("gateway_metrics_mcp.cli.parsers.configure_logging", lambda *_: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_home))

    code = main(["demo", "--backend", "https://tenant.example.com"])

    written = capsys.readouterr()
    assert (code, written.err, asked) == (0, "", ["demo:"])
    check_output(written.out, cache_home, {NOW.date()})


async def test_its_client_asks_a_server_that_is_given_none_of_our_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_METRICS_BUDGET", "nonsense")

    async with connect(str(tmp_path)) as client:
        tools = await client.list_tools()

    assert "query_distribution" in [tool.name for tool in tools.tools]


@pytest.mark.thorough
def test_the_command_makes_its_data_and_asks_a_server_of_its_own(tmp_path: Path) -> None:
    days = {datetime.now(UTC).date()}
    done = subprocess.run(
        [sys.executable, "-m", "gateway_metrics_mcp", "demo"],
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    days.add(datetime.now(UTC).date())  # midnight may come in between

    assert (done.returncode, done.stderr) == (0, "")
    check_output(done.stdout, tmp_path, days)
