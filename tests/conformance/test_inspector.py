"""The MCP Inspector's command line as a client: its lint, each tool, and its exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from gateway_metrics_mcp.server.tools import TOOLS

pytestmark = pytest.mark.thorough

TOOL_ERROR: Final = 5
SCHEMA_ERROR: Final = 6
WINDOW: Final = {"startTs": "2026-03-01", "endTs": "2026-03-03"}
CALLS: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "query_distribution": (
        {**WINDOW, "groupBy": ["modelName"], "aggregations": ["sum costInUSD"]},
        "rows 1-2 of 2",
    ),
    "query_timeseries": ({**WINDOW, "interval": "1 day"}, "2 buckets of 1 day"),
    "list_fields": ({"datasource": "modelMetrics"}, "costInUSD"),
    "list_values": ({**WINDOW, "datasource": "modelMetrics", "field": "modelName"}, "claude"),
}
UNPORTABLE: Final = """
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.tools import Tool

def answer(x: str) -> str:
    return x

tool = Tool.from_function(answer)
tool.parameters["properties"]["x"] = True
MCPServer("unportable", version="1", tools=[tool]).run()
"""

Inspect = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture(params=["stdio", "http"])
def server(request: pytest.FixtureRequest, command: list[str]) -> list[str]:
    """The Inspector's arguments that name the server, over each transport."""
    if request.param == "stdio":
        return command
    return ["--server-url", request.getfixturevalue("url"), "--transport", "http"]


@pytest.fixture(params=["legacy", "modern"])
def inspect(
    request: pytest.FixtureRequest, inspector: list[str], environment: dict[str, str]
) -> Inspect:
    """Ask something of a server: the exit code, and the JSON that was printed."""

    def inspect(server: list[str], method: str, *arguments: str) -> tuple[int, dict[str, Any]]:
        command = [*inspector, "--protocol-era", request.param, *server]
        command += ["--method", method, *arguments, "-q", "--format", "json"]
        done = subprocess.run(  # noqa: S603 - our own words
            command, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        answer: dict[str, Any] = json.loads(done.stdout or done.stderr)
        return done.returncode, answer

    return inspect


def _call(inspect: Inspect, server: list[str], tool: str, arguments: object) -> tuple[int, str]:
    code, answer = inspect(
        server, "tools/call", "--tool-name", tool, "--tool-args-json", json.dumps(arguments)
    )
    (block,) = answer["result"]["content"]
    return code, block["text"]


def test_its_strict_lint_finds_nothing(inspect: Inspect, server: list[str]) -> None:
    code, answer = inspect(server, "tools/list", "--strict")

    assert (code, answer.get("schemaFindings", [])) == (0, [])
    assert [tool["name"] for tool in answer["result"]["tools"]] == list(TOOLS)


def test_its_strict_lint_finds_an_unportable_schema(inspect: Inspect, tmp_path: Path) -> None:
    script = tmp_path / "unportable.py"
    script.write_text(UNPORTABLE, "utf-8")

    code, answer = inspect([sys.executable, str(script)], "tools/list", "--strict")

    assert code == SCHEMA_ERROR
    assert answer["schemaFindings"] != []


def test_each_tool_answers(inspect: Inspect, server: list[str]) -> None:
    for tool in TOOLS:
        arguments, expected = CALLS[tool]

        code, text = _call(inspect, server, tool, arguments)

        assert code == 0
        assert expected in text


def test_a_refused_call_ends_with_the_code_of_a_tool_error(
    inspect: Inspect, server: list[str]
) -> None:
    for tool in TOOLS:
        code, text = _call(inspect, server, tool, {"datasource": "nothing"})

        assert code == TOOL_ERROR
        assert text.startswith(f"Invalid arguments for {tool}:")
