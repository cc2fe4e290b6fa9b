"""The programs of docs/automation.md do what it says: these are its very blocks."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Final

import pytest
from tests.cli.ask.conftest import TOKEN, Server

MANUAL: Final = Path(__file__).parents[3] / "docs" / "automation.md"
SECRET: Final = "/services/T0/B0/hunter2"  # noqa: S105 - planted: nothing may show it
HARNESS: Final = """\
import json
from agent_pydantic_ai import build_agent
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import FunctionModel

QUESTION = {"startTs": "2026-07-01", "endTs": "2026-07-02", "groupBy": ["modelName"]}


def think(messages, info):
    returned = [p for p in messages[-1].parts if isinstance(p, ToolReturnPart)]
    if returned:
        return ModelResponse(parts=[TextPart(str(returned[0].content))])
    names = sorted(tool.name for tool in info.function_tools)
    assert names == ["list_fields", "list_values", "query_distribution", "query_timeseries"]
    return ModelResponse(parts=[ToolCallPart("query_distribution", QUESTION)])


print(build_agent(FunctionModel(think)).run_sync("What does each model do?").output)
"""


def block(name: str) -> str:
    """The manual's block whose first line is the file's name."""
    pattern = rf"^```\w+\n# {re.escape(name)}\n(.*?)^```$"
    found = re.search(pattern, MANUAL.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def run(forked_bin: Path) -> Run:
    """Run a program of the manual, where Python and our command lie side by side."""
    python = forked_bin / "python"
    python.symlink_to(sys.executable)
    variables = {
        "PATH": f"{forked_bin}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }

    def run(*command: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, **variables, **environ}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)  # noqa: S603 - our own programs
        assert TOKEN not in done.stdout + done.stderr
        assert "hunter2" not in done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A Slack of the tests' own, and what was posted to it."""
    posted: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            posted.append(json.loads(self.rfile.read(length)))
            self.send_response(200 if self.path == SECRET else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", posted
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def report(tmp_path: Path, run: Run) -> Run:
    """Run the report, which posts to a webhook."""
    script = tmp_path / "slack_report.py"
    script.write_text(block("slack_report.py"), "utf-8")
    return lambda webhook: run("python", script, SLACK_WEBHOOK_URL=webhook)


def test_the_report_is_posted_as_text_that_slack_takes_for_no_markup(
    gateway: Server, webhook: tuple[str, list[dict[str, Any]]], report: Run
) -> None:
    gateway.rows = [
        {
            "modelName": "<!channel> & ```co",
            "total": 40,
            "sumCostInUSD": 90.5,
            "countCostInUSD": 40,
        },
        {"modelName": "gpt-4o", "total": 10, "sumCostInUSD": 9.25, "countCostInUSD": 10},
    ]
    url, posted = webhook

    done = report(url + SECRET)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (message,) = posted
    lines = message["text"].splitlines()
    assert lines[:2] == ["*LLM cost of the last 7 days*", "```"]
    assert lines[2].startswith("# modelMetrics by modelName | ")
    assert [line.split() for line in lines[-4:-1]] == [
        ['"\\u003c!channel&gt;', "&amp;", "'''co\"", "40", "90.50", "90.7%"],
        ["gpt-4o", "10", "9.25", "9.3%"],
        ["ALL", "50", "99.75", "100.0%"],
    ]
    assert lines[-1] == "```"


def test_a_long_report_is_cut_at_a_line(
    gateway: Server, webhook: tuple[str, list[dict[str, Any]]], report: Run
) -> None:
    gateway.rows = [
        {"modelName": f"{'<' * 60}{i}", "total": 40, "sumCostInUSD": 1.5} for i in range(30)
    ]
    url, posted = webhook

    done = report(url + SECRET)

    assert done.returncode == 0
    (message,) = posted
    assert len(message["text"]) < 4_000
    assert re.fullmatch(r"\(\d+ more lines\)", message["text"].splitlines()[-2])


def test_a_report_that_fails_says_so_and_not_where(
    gateway: Server, webhook: tuple[str, list[dict[str, Any]]], report: Run
) -> None:
    url, posted = webhook

    done = report(f"{url}/hunter2")
    assert (done.returncode, done.stderr) == (1, "Slack answered 404\n")

    done = report("http://127.0.0.1:1/hunter2")
    assert (done.returncode, done.stderr) == (1, "Slack was not reached: ConnectError\n")

    posted.clear()
    gateway.status = 401
    done = report(url + SECRET)
    assert done.returncode == 1
    assert done.stderr.startswith("gateway-metrics-mcp ask: ")
    assert posted == []


def test_a_report_with_nowhere_to_go_asks_nothing(gateway: Server, report: Run) -> None:
    done = report("")

    assert (done.returncode, done.stderr) == (1, "SLACK_WEBHOOK_URL is not set\n")
    assert gateway.bodies == []


def test_the_job_of_cron_is_given_the_variables_of_the_file(tmp_path: Path) -> None:
    found = re.search(r"^```\n0 8 \* \* 1  (.*)\n```$", MANUAL.read_text("utf-8"), re.MULTILINE)
    assert found is not None
    (tmp_path / ".gateway-metrics.env").write_text(block(".gateway-metrics.env"), "utf-8")
    python = tmp_path / "metrics/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$1 $TFY_HOST $TFY_API_KEY $SLACK_WEBHOOK_URL"\n')
    python.chmod(0o755)

    done = subprocess.run(  # noqa: S603 - our own manual
        ["/bin/sh", "-c", found[1]],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == [
        str(tmp_path / "slack_report.py"),
        "https://your-org.truefoundry.cloud",
        "...",
        "https://hooks.slack.com/services/...",
    ]


@pytest.mark.parametrize(
    ("spend", "limit", "code"), [(99.75, "100", 0), (99.75, "99", 3), (None, "100", 1)]
)
def test_the_gate_fails_a_build_that_is_over_its_budget(
    gateway: Server, run: Run, spend: float | None, limit: str, code: int, tmp_path: Path
) -> None:
    gateway.all = {"total": 50, "sumCostInUSD": spend, "countCostInUSD": 50 if spend else 0}
    _, _, step = block("budget.yaml").partition("        run: |\n")
    summary = tmp_path / "summary.md"

    done = run(
        *("bash", "-e", "-o", "pipefail", "-c", textwrap.dedent(step)),
        BUDGET_USD=limit,
        GITHUB_STEP_SUMMARY=str(summary),
    )

    assert (done.returncode, done.stdout) == (code, "")
    assert "sumCostInUSD" in done.stderr
    shown = "null" if spend is None else "99.75"
    assert re.search(rf"^\| sumCostInUSD \| +{shown} \|$", summary.read_text(), re.MULTILINE)


def test_the_gate_needs_a_budget(gateway: Server, run: Run) -> None:
    _, _, step = block("budget.yaml").partition("        run: |\n")

    done = run("bash", "-e", "-c", textwrap.dedent(step))

    assert done.returncode != 0
    assert gateway.bodies == []


@pytest.mark.usefixtures("gateway")
def test_the_sdk_s_client_gets_an_answer(run: Run, tmp_path: Path) -> None:
    script = tmp_path / "agent_sdk.py"
    script.write_text(block("agent_sdk.py"), "utf-8")

    done = run("python", script)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("# modelMetrics by team | ")


@pytest.mark.thorough
@pytest.mark.usefixtures("gateway")
def test_an_agent_framework_asks_through_its_adapter(run: Run, tmp_path: Path) -> None:
    (tmp_path / "agent_pydantic_ai.py").write_text(block("agent_pydantic_ai.py"), "utf-8")
    harness = tmp_path / "harness.py"
    harness.write_text(HARNESS, "utf-8")

    done = run("python", harness)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-4:] == [
        "gpt-4o|40",
        '"claude\\|haiku"|7',
        "own|3",
        "ALL|50",
    ]
