"""A gateway of the tests' own, and the command as a person or a script runs it."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import pytest

from gateway_metrics_mcp.cli.main import main

TOKEN: Final = "tok-secret-1234"  # noqa: S105 - planted: nothing may show it
ROWS: Final[list[dict[str, Any]]] = [
    {"modelName": "gpt-4o", "total": 40, "sumCostInUSD": 90.5, "countCostInUSD": 40},
    {"modelName": "claude|haiku", "total": 7, "sumCostInUSD": 9.25, "countCostInUSD": 7},
    {"modelName": "own", "total": 3, "sumCostInUSD": None, "countCostInUSD": 0},
]
ALL: Final[dict[str, Any]] = {"total": 50, "sumCostInUSD": 99.75, "countCostInUSD": 47}


@dataclass
class Server:
    """An HTTP server on loopback that keeps what it was sent and answers what it is told."""

    port: int = 0
    rows: list[dict[str, Any]] = field(default_factory=lambda: list(ROWS))
    all: dict[str, Any] = field(default_factory=lambda: dict(ALL))
    buckets: list[dict[str, Any]] = field(default_factory=list)
    """Of a timeseries without groups; if there are none, the row of all is its one bucket."""
    status: int = 200
    bodies: list[dict[str, Any]] = field(default_factory=list)
    has_asked: threading.Event = field(default_factory=threading.Event)
    may_answer: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environ(self) -> dict[str, str]:
        """The settings of a process that asks it."""
        return {
            "GATEWAY_METRICS_BACKEND": self.url,
            "GATEWAY_METRICS_SOURCE_NAME": "acme prod",
            "TFY_API_KEY": TOKEN,
        }

    def reset(self) -> None:
        self.rows, self.all, self.status = list(ROWS), dict(ALL), 200
        self.buckets.clear()
        self.bodies.clear()
        self.has_asked.clear()
        self.may_answer.set()

    def answer(self, body: dict[str, Any]) -> bytes:
        """The rows where groups or buckets were asked, else the row of all."""
        self.bodies.append(body)
        self.has_asked.set()
        self.may_answer.wait(60)
        points = self.rows if body.get("groupBy") else [self.all]
        if body["type"] == "timeseries":
            bucket = {"startTimestamp": body["startTs"], "endTimestamp": body["endTs"]}
            points = points if body.get("groupBy") else self.buckets or points
            points = [{**bucket, **row} for row in points]
        return json.dumps({"data": {"dataPoints": points}}).encode()


@pytest.fixture(scope="session")
def _server() -> Iterator[Server]:
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            answer = server.answer(json.loads(self.rfile.read(length)))
            self.send_response(server.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            with suppress(BrokenPipeError):  # an interrupted command has gone
                self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Nothing: pytest shows what matters."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    server.port = httpd.server_port
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield server
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.fixture
def gateway(_server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The gateway, set up for this process."""
    _server.reset()
    for name, value in _server.environ.items():
        monkeypatch.setenv(name, value)
    return _server


Ran = tuple[int, str, str]
Ask = Callable[..., Ran]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    """`ask`, in this process: its exit code, stdout and stderr."""

    def run(*argv: str) -> Ran:
        capsys.readouterr()
        try:
            code = main(["ask", *argv])
        except SystemExit as end:
            code = int(end.code or 0)
        gc.unfreeze()
        gc.enable()
        done = capsys.readouterr()
        assert TOKEN not in done.out + done.err
        return code, done.out, done.err

    return run


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="session")
def start(forked: tuple[str, ...]) -> Start:
    """`ask` as a process of its own."""

    def start(
        argv: Sequence[str],
        environ: dict[str, str],
        program: Sequence[str] = forked,
        **options: Any,
    ) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        given = {"stdout": pipe, "stderr": pipe, "text": True, "env": {**os.environ, **environ}}
        return subprocess.Popen([*program, "ask", *argv], **{**given, **options})  # noqa: S603 - our own command

    return start
