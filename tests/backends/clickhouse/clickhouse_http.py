"""ClickHouse's HTTP interface on loopback, over the ClickHouse in this process.

As much of it as clickhouse-connect uses: settings and parameters in the URL or in a form, one
login, errors with their code. A held server answers no query until it is killed by its id.
"""

from __future__ import annotations

import base64
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import chdb
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

USER: Final = "reader"
PASSWORD: Final = "pass-secret-1234"  # noqa: S105  # planted: no failure may show it
LOGIN: Final = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

_OF_HTTP: Final = re.compile(
    "query|query_id|database|wait_end_of_query|enable_http_compression|client_protocol_version"
    "|send_progress_in_http_headers|http_headers_progress_interval_ms|session_id|param_.*"
    "|cancel_http_readonly_queries_on_client_close"
)


@dataclass
class Report:
    """A statement as it came in."""

    text: str
    settings: dict[str, str]
    parameters: dict[str, str]
    query_id: str

    @property
    def is_question(self) -> bool:
        """Whether it comes from the backend and not from its client's own housekeeping."""
        return self.query_id.startswith("gateway-metrics-mcp-")


@dataclass
class HttpServer:
    """The server, what it was asked, and what became of the queries that it held."""

    port: int = 0
    asked: list[Report] = field(default_factory=list)
    is_held: bool = False
    held: int = 0
    least_held: int = 1
    holding: threading.Event = field(default_factory=threading.Event)
    hidden: str | None = None
    """A word of the statements that the user may not run."""
    has_final: bool = True
    """Whether its shards know FINAL."""
    deaf_to: int = 0
    """Kills that come too early: the server does not know the query yet."""
    waiting: dict[str, anyio.Event] = field(default_factory=dict)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def questions(self) -> list[Report]:
        return [asked for asked in self.asked if asked.is_question]

    def application(self) -> Starlette:
        routes = [
            Route("/ping", lambda _: PlainTextResponse("Ok.\n")),
            Route("/", self._answer, methods=["GET", "POST"]),
        ]
        return Starlette(routes=routes)

    async def _answer(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Basic {LOGIN}":
            return _error(516, "reader: Authentication failed", 403)
        asked = await _read(request)
        self.asked.append(asked)
        if asked.text.startswith("KILL QUERY"):
            if self.deaf_to:
                self.deaf_to -= 1
            elif (query := self.waiting.get(asked.parameters["id"])) is not None:
                query.set()
            return PlainTextResponse("")
        if self.hidden is not None and self.hidden in asked.text.split():
            return _error(497, f"reader: Not enough privileges on {self.hidden}", 403)
        if asked.settings.get("final") == "1" and not self.has_final:
            return _error(181, "Storage MergeTree doesn't support FINAL. (ILLEGAL_FINAL)", 500)
        if self.is_held and asked.is_question:
            killed = self.waiting[asked.query_id] = anyio.Event()
            self.held += 1
            if self.held >= self.least_held:
                self.holding.set()
            await killed.wait()
            self.ended.set()
            return _error(394, "Code: 394. Query was cancelled. (QUERY_WAS_CANCELLED)", 500)
        try:
            body = await anyio.to_thread.run_sync(_execute, asked)
        except RuntimeError as error:
            code, text = _read_error(str(error))
            return _error(code, text, 500)
        return Response(body, headers={"X-ClickHouse-Timezone": "UTC"})


async def _read(request: Request) -> Report:
    given: dict[str, str] = dict(request.query_params)
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        async with request.form() as form:
            given |= {name: value for name, value in form.items() if isinstance(value, str)}
        text = given["query"]
    else:
        text = given.get("query", "") + (await request.body()).decode()
    return Report(
        text=text,
        settings={name: value for name, value in given.items() if not _OF_HTTP.fullmatch(name)},
        parameters={
            name.removeprefix("param_"): value
            for name, value in given.items()
            if name.startswith("param_")
        },
        query_id=given.get("query_id", ""),
    )


def _read_error(text: str) -> tuple[int, str]:
    found = re.search(r"Code: (\d+)\. .*", text, re.DOTALL)
    assert found is not None, text
    return int(found[1]), found[0]


def _error(code: int, text: str, status: int) -> Response:
    headers = {"X-ClickHouse-Exception-Code": str(code)}
    return PlainTextResponse(text, status_code=status, headers=headers)


def _execute(asked: Report) -> bytes:
    """In a session of its own, which ends with the statement."""
    session: Any = chdb.connect(":memory:")  # type: ignore[no-untyped-call]  # as chdb has it
    try:
        settings: Mapping[str, str] = asked.settings
        for name in sorted(settings, key=lambda name: name == "readonly"):  # that one forbids more
            session.query(f"SET {name} = '{settings[name]}'")
        result: Any = session.query(asked.text, "TabSeparated", params=asked.parameters)
        return bytes(result.bytes())
    finally:
        session.close()


@contextmanager
def serve(certificate: Path | None = None) -> Iterator[HttpServer]:
    """The server, in a thread of its own; with a certificate and its key, over TLS."""
    site = HttpServer()
    listening = socket.create_server(("127.0.0.1", 0))
    site.port = listening.getsockname()[1]
    config = uvicorn.Config(
        site.application(), log_level="error", lifespan="off", ssl_certfile=certificate
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        yield site
    finally:
        server.should_exit = True
        thread.join()
        listening.close()
