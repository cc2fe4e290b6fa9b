"""What a command imports: only what its question needs, as a start is mostly imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

# Prints the modules that are loaded when the command ends; on stderr, as stdout has the answer.
TOLD: Final = """
import json, sys
from gateway_metrics_mcp.cli.main import main
code = main({argv!r})
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
raise SystemExit(code)
"""
QUESTION: Final = ["ask", "distribution", "--range", "2026-06-01", "--by", "modelName"]
CHARTS: Final = "gateway_metrics_mcp.rendering.charts.chart"
LIST: Final[tuple[dict[str, Any], ...]] = (
    {
        "id": 0,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    },
    {"method": "notifications/initialized"},
    {"id": 1, "method": "tools/list"},
)


def run(argv: list[str], folder: Path, *sent: dict[str, Any]) -> tuple[int, set[str], str]:
    """The exit code of a command, the modules that it loaded, and its last line.

    It is sent the requests, and the end of stdin after their answers.
    """
    names = ("PATH", "HOME", "SYSTEMROOT")
    environ = {name: os.environ[name] for name in names if name in os.environ}
    with subprocess.Popen(  # noqa: S603 - this Python, our code
        [sys.executable, "-c", TOLD.format(argv=argv)],
        env={**environ, "XDG_CACHE_HOME": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for message in sent:
            process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        process.stdin.flush()
        last = [process.stdout.readline() for message in sent if "id" in message][-1:]
        _, errors = process.communicate()
    return process.returncode, set(json.loads(errors.splitlines()[-1])), "".join(last)


def test_ask_of_a_directory_imports_no_protocol_no_charts_and_no_client(tmp_path: Path) -> None:
    code, loaded, _ = run([*QUESTION, "--backend", str(tmp_path)], tmp_path)

    assert code == 0
    assert "duckdb" in loaded
    ours = {f"gateway_metrics_mcp.{name}" for name in ("cli.front", "server.masking")}
    unneeded = {"mcp", "mcp_types", "httpx", "uvicorn", CHARTS, *ours}
    assert loaded & unneeded == set()


@pytest.mark.parametrize(
    ("words", "backend"),
    [
        pytest.param((), "http://127.0.0.1:9", id="a gateway that refuses"),
        pytest.param(("--by", "modelNam"), "DIRECTORY", id="a wrong question"),
        pytest.param(("--format", "explain"), "http://127.0.0.1:9", id="a plan"),
    ],
)
def test_ask_imports_no_engine_where_none_is_asked(
    tmp_path: Path, words: tuple[str, ...], backend: str
) -> None:
    address = str(tmp_path) if backend == "DIRECTORY" else backend

    _, loaded, _ = run([*QUESTION, *words, "--backend", address, "--retries", "0"], tmp_path)

    assert "gateway_metrics_mcp.cli.ask.command" in loaded
    assert loaded & {"mcp", "mcp_types", "duckdb", CHARTS} == set()


def test_the_list_of_tools_imports_no_engine_and_no_charts(tmp_path: Path) -> None:
    code, loaded, answer = run(["--backend", str(tmp_path)], tmp_path, *LIST)

    assert code == 0
    assert json.loads(answer)["result"]["tools"]
    assert loaded & {"duckdb", "httpx", "clickhouse_connect", "vl_convert", CHARTS} == set()
