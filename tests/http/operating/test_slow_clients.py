"""Callers who send too slowly, hold what they do not use, or go away: nobody else notices."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import httpx2
import pytest
from anyio.abc import SocketStream
from starlette.applications import Starlette
from tests.loopback import listen_as_served

from gateway_metrics_mcp.auth.tokens import make_token
from gateway_metrics_mcp.http.api import MetricsApi, build_api_app
from gateway_metrics_mcp.http.shutdown import BoundedConnection
from gateway_metrics_mcp.http.transports import build_http_app, build_sse_app
from gateway_metrics_mcp.query.vocabulary import API_PATH
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.settings import Settings

SESSION: Final = "0" * 32
PATHS: Final = {"http": "/mcp", "sse": f"/messages/?session_id={SESSION}", "api": API_PATH}
KINDS: Final = [*PATHS]
PING: Final = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
ACCEPT: Final = {"accept": "application/json, text/event-stream"}
BODY: Final = "content-type: application/json\r\ncontent-length: 9\r\n"
LATE: Final = "the body did not arrive in time"

Listen = Callable[[Starlette], AbstractAsyncContextManager[int]]
Serve = Callable[..., AbstractAsyncContextManager["Served"]]


class Served:
    """A server as an operator runs it, and two callers of it."""

    def __init__(self, kind: str, port: int, tokens: Sequence[str]) -> None:
        self.path = PATHS[kind]
        self.port = port
        self.ada, self.bob = tokens
        url = f"http://127.0.0.1:{port}"
        self.bare = httpx2.AsyncClient(base_url=url, trust_env=False, timeout=60)

    @asynccontextmanager
    async def begin(
        self, token: str, *, method: str = "POST", path: str = "", headers: str = BODY
    ) -> AsyncIterator[SocketStream]:
        """A request whose body is announced and not sent."""
        async with await anyio.connect_tcp("127.0.0.1", self.port) as stream:
            await stream.send(self.write_request(token, method, path, headers) + b"\r\n")
            yield stream

    def write_request(
        self, token: str, method: str = "POST", path: str = "", headers: str = BODY
    ) -> bytes:
        """The head of a request; `headers` may end with the body."""
        head = f"{method} {path or self.path} HTTP/1.1\r\nhost: localhost\r\n"
        head += f"authorization: Bearer {token}\r\naccept: {ACCEPT['accept']}\r\n"
        return f"{head}{headers}".encode()

    async def ask(self, token: str, path: str = "", **headers: str) -> httpx2.Response:
        """A whole request; over SSE it has no session, which is found out last."""
        sent = {"authorization": f"Bearer {token}", **ACCEPT, **headers}
        return await self.bare.post(path or self.path, json=PING, headers=sent)

    async def is_served(self, token: str) -> bool:
        """Whether this caller finds a place."""
        return (await self.ask(token)).status_code != 503

    async def why_not_ready(self) -> str | None:
        reason: str | None = (await self.bare.get("/readyz")).json().get("reason")
        return reason


@pytest.fixture
def serve_slow(directory: Path, tmp_path: Path, listen: Listen) -> Serve:
    """Serve what `kind` names, for two callers with tokens."""
    made = [
        make_token(name, "user", (), is_tenant_admin=False, expires=None) for name in ("ada", "bob")
    ]
    file = tmp_path / "tokens.toml"
    file.write_text("\n".join(entry.to_toml() for _, entry in made), "utf-8")
    file.chmod(0o600)

    @asynccontextmanager
    async def serve(kind: str, *, listens: Any = None, **given: Any) -> AsyncIterator[Served]:
        of_kind = {} if kind == "api" else {"transport": kind}
        settings = Settings(backend=str(directory), tokens=file, **of_kind, **given)
        service: Any = MetricsApi(settings) if kind == "api" else build_server(settings)
        builders: dict[str, Callable[..., Starlette]] = {
            "http": build_http_app,
            "sse": build_sse_app,
            "api": build_api_app,
        }
        app = builders[kind](service, settings)
        async with listen(app) if listens is None else listens(app, service) as port:
            served = Served(kind, port, [token for token, _ in made])
            async with served.bare:
                with anyio.fail_after(60):
                    yield served

    return serve


async def read_to_end(stream: SocketStream) -> str:
    parts = []
    try:
        while True:
            parts.append(await stream.receive())
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return b"".join(parts).decode()


async def send_on(stream: SocketStream, requests: bytes) -> None:
    while True:
        await stream.send(requests)


async def until(is_so: Callable[[], Any]) -> None:
    while not await is_so():
        await anyio.lowlevel.checkpoint()


# --- bodies ---


@pytest.mark.parametrize("kind", KINDS)
async def test_a_body_that_does_not_arrive_is_408_and_ends_the_connection(
    serve_slow: Serve, kind: str
) -> None:
    async with serve_slow(kind, timeout=1) as server, server.begin(server.ada) as stream:
        await stream.send(b"{")
        answer = await read_to_end(stream)

    assert answer.startswith("HTTP/1.1 408 ")
    assert LATE in answer


@pytest.mark.parametrize("kind", KINDS)
async def test_slow_bodies_of_one_caller_leave_places_for_others(
    serve_slow: Serve, kind: str
) -> None:
    async with serve_slow(kind, connections=4) as server, AsyncExitStack() as stack:
        for _ in range(6):
            await stack.enter_async_context(server.begin(server.ada))
        await until(lambda: refuses(server, server.ada))
        others = await server.is_served(server.bob)
        obstacle = await server.why_not_ready()

    assert others
    assert obstacle is None


async def refuses(server: Served, token: str) -> bool:
    return not await server.is_served(token)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_slow_body_makes_way_and_the_probe_tells_where_none_does(
    serve_slow: Serve, kind: str
) -> None:
    async with serve_slow(kind, connections=1) as server, server.begin(server.ada) as stream:
        await until(server.why_not_ready)
        obstacle = await server.why_not_ready()
        await until(lambda: server.is_served(server.bob))
        answer = await read_to_end(stream)
        later = await server.why_not_ready()

    assert obstacle == "all places for requests are taken (--connections)"
    assert answer.startswith("HTTP/1.1 408 ")
    assert later is None


@pytest.mark.parametrize(("kind", "path"), [("http", "/mcp"), ("sse", "/sse")])
async def test_idle_streams_of_one_caller_leave_streams_for_others(
    serve_slow: Serve, kind: str, path: str
) -> None:
    async with serve_slow(kind, connections=4) as server, AsyncExitStack() as stack:
        answers = []
        for token in (*[server.ada] * 4, server.bob):
            opening = server.begin(token, method="GET", path=path, headers="x: y\r\n")
            stream = await stack.enter_async_context(opening)
            answers.append((await stream.receive()).decode().split()[1])
        obstacle = await server.why_not_ready()

    assert answers == ["200", "200", "503", "503", "200"]
    assert obstacle is None


async def test_the_probe_tells_when_nobody_can_open_a_stream(serve_slow: Serve) -> None:
    async with serve_slow("sse", connections=1) as server:
        opening = server.begin(server.ada, method="GET", path="/sse", headers="x: y\r\n")
        async with opening as stream:
            await stream.receive()
            obstacle = await server.why_not_ready()

    assert obstacle == "all places for streams are taken (--connections)"


# --- those who go away ---


@pytest.mark.parametrize("sent", [b"", b"{"])
@pytest.mark.parametrize("kind", KINDS)
async def test_who_hangs_up_before_the_body_is_complete_leaves_no_trace(
    serve_slow: Serve, kind: str, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve_slow(kind, connections=2) as server:
        for _ in range(4):
            async with server.begin(server.ada) as stream:
                await stream.send(sent or b"")
        await until(lambda: server.is_served(server.ada))

    assert [record for record in caplog.records if record.exc_info] == []
    assert "Exception" not in caplog.text


async def test_who_does_not_read_the_answers_loses_the_connection_and_the_place(
    serve_slow: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedConnection, "headers_s", 0.1)
    body = json.dumps({**PING, "method": "tools/list"})
    headers = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}"
    listens = partial(listen_as_served, buffer_bytes=4096)
    async with serve_slow("http", listens=listens, connections=1) as server:
        request = server.write_request(server.ada, headers=headers)
        async with await anyio.connect_tcp("127.0.0.1", server.port) as stream:
            with pytest.raises(anyio.BrokenResourceError):
                await send_on(stream, request * 50)
        served = await server.is_served(server.bob)

    assert served


async def test_requests_sent_ahead_are_not_read_before_their_turn(serve_slow: Serve) -> None:
    """Else memory grows as fast as a caller can send."""
    body = json.dumps(PING)
    headers = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}"
    listens = partial(listen_as_served, buffer_bytes=1 << 16)
    async with serve_slow("http", listens=listens) as server:
        requests = server.write_request(server.ada, headers=headers) * 1000
        sent = answers = 0
        async with (
            await anyio.connect_tcp("127.0.0.1", server.port) as stream,
            anyio.create_task_group() as group,
        ):

            async def ask() -> None:
                nonlocal sent
                while True:
                    await stream.send(requests)
                    sent += len(requests)

            group.start_soon(ask)
            while answers < 150:
                answers += (await stream.receive()).count(b"HTTP/1.1 200 ")
            group.cancel_scope.cancel()

    assert sent < 8_000_000  # of which this side of the connection keeps some


@pytest.mark.parametrize(("kind", "path"), [("http", "/mcp"), ("sse", "/sse")])
async def test_what_is_no_http_ends_a_response_under_way_and_leaves_no_trace(
    serve_slow: Serve, kind: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    opening = {"method": "GET", "path": path, "headers": "connection: close\r\n"}
    async with serve_slow(kind, listens=listen_as_served, connections=1) as server:
        async with server.begin(server.ada, **opening) as stream:
            await stream.receive()
            await stream.send(b"no HTTP\r\n\r\n")
            await read_to_end(stream)
        async with server.begin(server.bob, **opening) as stream:
            answer = (await stream.receive()).decode()

    assert answer.startswith("HTTP/1.1 200 ")
    assert [record for record in caplog.records if record.exc_info] == []


# --- headers ---


@pytest.mark.parametrize("sent", [b"", b"POST /mcp HTTP/1.1\r\nhost: x\r\n"])
async def test_headers_that_do_not_arrive_end_the_connection(
    serve_slow: Serve, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedConnection, "headers_s", 0.1)
    async with (
        serve_slow("http", listens=listen_as_served) as server,
        server.begin(server.ada) as after_an_answer,
    ):
        await after_an_answer.send(b"{}       ")
        await after_an_answer.receive()
        await after_an_answer.send(sent or b"")
        async with await anyio.connect_tcp("127.0.0.1", server.port) as stream:
            await stream.send(sent or b"")
            ends = [await read_to_end(stream), await read_to_end(after_an_answer)]

    assert ends[0] == ""
    assert "HTTP/1.1" not in ends[1]


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
async def test_half_open_connections_do_not_use_up_the_files(
    directory: Path, environment: dict[str, str]
) -> None:
    program = f"{sys.executable} -m gateway_metrics_mcp api --backend {directory} --port 0"
    command = ["/bin/sh", "-c", f"ulimit -n 128; exec {program}"]
    async with await anyio.open_process(command, env=environment) as process:
        try:
            assert process.stderr is not None
            told = ""
            while "listening at" not in told:
                told += (await process.stderr.receive()).decode()
            port = int(told.rpartition(":")[2].partition("/")[0])
            async with AsyncExitStack() as stack:
                for _ in range(150):
                    stream = await anyio.connect_tcp("127.0.0.1", port)
                    await stack.enter_async_context(stream)
                    await stream.send(b"POST / HTTP/1.1\r\n")
                async with httpx2.AsyncClient(trust_env=False, timeout=60) as client:
                    answer = await client.post(f"http://127.0.0.1:{port}{API_PATH}", json={})
        finally:
            process.kill()
        rest = b"".join([part async for part in process.stderr])

    assert "too few files may be open for --connections 1000: 43 requests" in told
    assert answer.status_code == 400
    assert rest.count(b"\n") <= 1  # that files are scarce is told once, without a trace
    assert b"Traceback" not in rest


# --- paths and headers ---


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("http", "/mcp/"),
        ("sse", f"/messages?session_id={SESSION}"),
        ("api", f"{API_PATH}/"),
    ],
)
async def test_a_slash_at_the_end_of_a_path_makes_no_difference(
    serve_slow: Serve, kind: str, path: str
) -> None:
    async with serve_slow(kind) as server:
        usual = await server.ask(server.ada)
        answer = await server.ask(server.ada, path)
        missing = (await server.bare.get("/nothing/")).status_code

    assert usual.status_code == {"http": 200, "sse": 404, "api": 400}[kind]
    assert (answer.status_code, answer.text) == (usual.status_code, usual.text)
    assert missing in (401, 404)


async def test_the_stream_of_sse_is_served_with_a_slash(serve_slow: Serve) -> None:
    async with serve_slow("sse") as server:
        opening = server.begin(server.ada, method="GET", path="/sse/", headers="x: y\r\n")
        async with opening as stream:
            answer = (await stream.receive()).decode()

    assert answer.startswith("HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "name", ["Authorization", "Origin", "Host", "Mcp-Session-Id", "X-Tfy-Api-Key", "Content-Type"]
)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_header_sent_twice_is_400(serve_slow: Serve, kind: str, name: str) -> None:
    body = json.dumps(PING)
    twice = f"{name}: http://localhost\r\n" * 2
    rest = f"content-length: {len(body)}\r\nconnection: close\r\n\r\n{body}"
    async with (
        serve_slow(kind) as server,
        server.begin(server.ada, headers=twice + rest) as stream,
    ):
        answer = await read_to_end(stream)

    assert answer.startswith("HTTP/1.1 400 ")


@pytest.mark.parametrize("kind", KINDS)
async def test_two_lengths_of_a_body_are_400(serve_slow: Serve, kind: str) -> None:
    """A proxy that goes by the other one would see another request begin in the body."""
    body = json.dumps(PING)
    lengths = f"content-length: {len(body)}\r\ntransfer-encoding: chunked\r\n"
    rest = f"\r\n{len(body):x}\r\n{body}\r\n0\r\n\r\nGET /livez HTTP/1.1\r\nhost: localhost\r\n"
    headers = f"content-type: application/json\r\n{lengths}{rest}"
    async with (
        serve_slow(kind) as server,
        server.begin(server.ada, headers=headers) as stream,
    ):
        answer = await read_to_end(stream)

    assert answer.startswith("HTTP/1.1 400 ")
    assert "Content-Length" in answer
    assert answer.count("HTTP/1.1 ") == 1
