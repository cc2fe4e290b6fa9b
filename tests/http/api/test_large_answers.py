"""An answer of 100,000 rows: in chunks, within bounds, and with nobody held up."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from gateway_metrics_mcp.query.vocabulary import API_PATH as PATH

July = Callable[..., dict[str, Any]]

ROWS: Final = 100_000
MOST_MIB: Final = 400
MOST_PAUSE_MS: Final = 50
SCRIPT: Final = Path(__file__).with_name("large_answer.py")


@pytest.fixture(scope="module")
def wide_directory(
    tmp_path_factory: pytest.TempPathFactory, write_select: Callable[..., Path]
) -> Path:
    """As many rows as an answer may have, in as many groups."""
    directory = tmp_path_factory.mktemp("wide")
    select = """
        SELECT TIMESTAMPTZ '2026-07-10 12:00:00Z' + to_seconds(i) AS "CreatedAt",
            'a-provider/a-model-with-a-usual-name-' || i AS "ModelName",
            'somebody-' || (i % 5000) || '@example.com' AS "CreatedBySubjectSlug",
            'user' AS "CreatedBySubjectType", i AS "InputTokens", i * 3 AS "OutputTokens",
            i / 7 AS "CostInUSD", i / 3 AS "LatencyMs"
        FROM range(100000) AS r(i)
    """
    write_select(directory, select)
    return directory


@dataclass
class Server:
    """The measuring server as a process."""

    process: subprocess.Popen[str]
    url: str

    def measure(self) -> dict[str, float]:
        """Memory and pauses since the last time."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        measured: dict[str, float] = json.loads(self.process.stdout.readline())
        return measured

    def ask(self, body: object) -> int:
        """How many rows the answer has."""
        response = httpx.post(self.url, json=body, timeout=600)
        assert response.status_code == 200
        return len(response.json()["data"]["dataPoints"])


@pytest.fixture
def server(wide_directory: Path, environment: dict[str, str]) -> Iterator[Server]:
    with subprocess.Popen(  # noqa: S603 - our own script
        [sys.executable, SCRIPT, wide_directory],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield Server(process, f"http://127.0.0.1:{int(process.stdout.readline())}{PATH}")
        process.stdin.close()
        process.wait(60)


WIDE: Final[dict[str, Any]] = {
    "groupBy": ["modelName", "userEmail", "virtualaccount", "createdBySubjectType"],
    "aggregations": [
        {"type": type_, "column": column}
        for column in ("inputTokens", "outputTokens", "costInUSD", "latencyMs")
        for type_ in ("sum", "avg", "p50", "p99")
        if column != "costInUSD" or type_ in ("sum", "avg")
    ],
}


@pytest.mark.parametrize(
    "type_", [pytest.param("distribution", marks=pytest.mark.thorough), "timeseries"]
)
def test_a_large_answer_takes_little_memory_and_holds_nobody_up(
    server: Server, july: July, capsys: pytest.CaptureFixture[str], type_: str
) -> None:
    interval = {"interval": "1 hour"} if type_ == "timeseries" else {}
    server.ask(july())
    idle = server.measure()["now_mib"]

    tries = []
    for _ in range(3):
        assert server.ask(july(type=type_, **interval, **WIDE)) == ROWS
        tries.append(server.measure())
        if tries[-1]["pause_ms"] < MOST_PAUSE_MS:
            break

    peak = max(measured["peak_mib"] for measured in tries) - idle
    pause = min(measured["pause_ms"] for measured in tries)
    with capsys.disabled():
        text = f"{ROWS} rows, {type_}: {peak:.0f} MiB above idle, pauses to {pause:.0f} ms"
        sys.stdout.write(f"\n{text}\n")
    assert peak < MOST_MIB
    assert pause < MOST_PAUSE_MS
