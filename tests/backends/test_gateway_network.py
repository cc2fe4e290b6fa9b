"""The remote gateway over real connections: what breaks on the way, and what must not leak."""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from gateway_metrics_mcp import errors
from gateway_metrics_mcp.backends.gateway.backend import GatewayBackend
from gateway_metrics_mcp.backends.gateway.transport import IdleTransports
from gateway_metrics_mcp.errors import GatewayMetricsError
from gateway_metrics_mcp.query.catalog import Catalog, load_catalog
from gateway_metrics_mcp.query.model import LOCAL, Caller, Query

pytestmark = pytest.mark.usefixtures("proxyless")

TOKEN = "tok-secret-1234"  # noqa: S105  # planted: no failure may show it
BODY = b'{"data": {"dataPoints": [{"total": 7}]}}'
PATIENCE_S = 60

Ask = Callable[..., Awaitable[GatewayMetricsError]]
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Serve = Callable[..., Awaitable[Any]]


def at(port: int, **options: Any) -> GatewayBackend:
    return GatewayBackend(f"http://127.0.0.1:{port}", TOKEN, load_catalog(), **options)


def http(body: bytes = BODY, status: str = "200 OK", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def saying(*parts: bytes, then_reset: bool = False, then_close: bool = False) -> Handler:
    async def handle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
        if then_reset:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        if then_reset or then_close:
            writer.transport.abort()

    return handle


def silent_after(*parts: bytes) -> Handler:
    """Say the parts, then nothing until the client hangs up."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await saying(*parts)(reader, writer)
        await reader.readexactly(1)

    return handle


def closed_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
        return port


async def test_an_answer_comes_back_over_a_real_connection(serve: Serve, question: Query) -> None:
    site = await serve(saying(http()))
    backend = at(site.port)

    results = [await backend.query(question, LOCAL) for _ in range(2)]
    await backend.aclose()

    assert [result.column("total") for result in results] == [(7,), (7,)]
    assert site.connections == 1
    assert f"authorization: Bearer {TOKEN}\r\n".encode() in site.requests[0]


async def test_a_gzip_body_is_unpacked(serve: Serve, question: Query) -> None:
    site = await serve(saying(http(gzip.compress(BODY), Content_Encoding="gzip")))
    backend = at(site.port)

    result = await backend.query(question, LOCAL)
    await backend.aclose()

    assert result.column("total") == (7,)


@pytest.mark.parametrize(
    "packed", [gzip.compress(BODY)[:-9], gzip.compress(BODY) + b"more", BODY], ids=len
)
async def test_a_damaged_gzip_body_is_unreadable(packed: bytes, serve: Serve, failure: Ask) -> None:
    site = await serve(saying(http(packed, Content_Encoding="gzip")))

    assert type(await failure(at(site.port))) is errors.UnreadableResponseError


async def test_a_refused_connection_is_unreachable(failure: Ask) -> None:
    error = await failure(at(closed_port()))

    assert type(error) is errors.UnreachableError
    assert "check the address and its port" in str(error)


async def test_an_unknown_host_name_is_unreachable(failure: Ask, catalog: Catalog) -> None:
    error = await failure(GatewayBackend("https://nowhere.invalid", TOKEN, catalog))

    assert type(error) is errors.UnreachableError
    assert "is unknown" in str(error)
    assert "nowhere" not in str(error)


@pytest.mark.parametrize(
    "handler",
    [
        saying(then_close=True),
        saying(http()[:-5], then_close=True),
        saying(http()[:-5], then_reset=True),
        saying(b"SSH-2.0-OpenSSH\r\n", then_close=True),
    ],
    ids=["no answer", "cut body", "reset", "no HTTP"],
)
async def test_a_connection_that_breaks_off_is_the_gateways_to_mend(
    handler: Handler, serve: Serve, failure: Ask
) -> None:
    site = await serve(handler)

    error = await failure(at(site.port))

    assert type(error) is errors.UnavailableError
    assert "closed the connection" in str(error)


@pytest.mark.parametrize("sent", [(), (http()[:-5],)], ids=["no headers", "half a body"])
async def test_a_gateway_that_falls_silent_is_left_when_the_time_is_up(
    sent: tuple[bytes, ...], serve: Serve, failure: Ask
) -> None:
    site = await serve(silent_after(*sent))

    with anyio.fail_after(PATIENCE_S):
        error = await failure(at(site.port, timeout_s=0.05))
        await site.gone.wait()

    assert type(error) is errors.BackendTimeoutError
    assert "within 0.05 seconds" in str(error)


async def test_a_status_counts_even_if_its_body_breaks_off(serve: Serve, failure: Ask) -> None:
    site = await serve(saying(http(status="401 Unauthorized")[:-5], then_reset=True))

    assert type(await failure(at(site.port))) is errors.UnauthorizedError


async def test_an_endless_body_is_cut_off_at_the_limit(serve: Serve, failure: Ask) -> None:
    async def pour(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            writer.write(b" " * 65_536)
            await writer.drain()

    site = await serve(pour)

    assert type(await failure(at(site.port))) is errors.ResponseTooLargeError
    with anyio.fail_after(PATIENCE_S):
        await site.gone.wait()


async def test_a_small_body_that_unpacks_to_a_large_one_is_never_unpacked_whole(
    serve: Serve, failure: Ask
) -> None:
    packed = gzip.compress(b" " * 30_000_000)
    site = await serve(saying(http(packed, Content_Encoding="gzip")))
    backend = at(site.port, max_body_bytes=100_000)

    tracemalloc.start()
    error = await failure(backend)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert type(error) is errors.ResponseTooLargeError
    assert peak < 20_000_000


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Again", "308 Moved"])
async def test_a_redirect_is_not_followed_and_the_token_stays_home(
    status: str, serve: Serve, failure: Ask
) -> None:
    elsewhere = await serve(saying(http()))
    location = f"http://127.0.0.1:{elsewhere.port}/"
    site = await serve(saying(http(b"", status, Location=location)))

    error = await failure(at(site.port))

    assert type(error) is errors.WrongHostError
    assert str(elsewhere.port) not in str(error)
    assert elsewhere.connections == 0


async def test_a_cancelled_query_hangs_up_at_once(serve: Serve, question: Query) -> None:
    site = await serve(silent_after())
    backend = at(site.port)

    with anyio.fail_after(PATIENCE_S):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(backend.query, question, LOCAL)
            await site.arrived.wait()
            tasks.cancel_scope.cancel()
        await site.gone.wait()
    await backend.aclose()


async def test_a_connection_serves_one_query_after_the_other_and_all_are_closed_in_the_end(
    serve: Serve, question: Query
) -> None:
    site = await serve(saying(http()))
    backend = at(site.port)
    assert site.connections == 0

    for _ in range(3):
        await backend.query(question, LOCAL)
    assert site.connections == 1
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(backend.query, question, LOCAL)
    await backend.aclose()

    assert 1 < site.connections <= 5
    with anyio.fail_after(PATIENCE_S):
        for _ in range(site.connections):
            await site.ended.acquire()


async def test_a_connection_that_the_gateway_closed_between_two_queries_is_opened_anew(
    serve: Serve, question: Query
) -> None:
    async def answer_and_hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(http())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    site = await serve(answer_and_hang_up)
    backend = at(site.port)

    for count in (1, 2, 3):
        await backend.query(question, LOCAL)
        with anyio.fail_after(PATIENCE_S):
            await site.ended.acquire()
        assert site.connections == count
    await backend.aclose()


OTHER = BODY.replace(b"7", b"666")


@pytest.mark.parametrize(
    "rest",
    [
        http(OTHER),
        b"HTTP/1.1 100 Continue\r\n\r\n" + http(OTHER),
        b"HTTP/1.1 204 No Content\r\n\r\n" + OTHER,
        b"garbage!",
    ],
)
async def test_what_comes_after_an_answer_is_nobodys_answer(
    serve: Serve, question: Query, rest: bytes
) -> None:

    site = await serve(saying(http() + rest))
    backend = at(site.port)

    for caller in (LOCAL, LOCAL, Caller("ana@example.com", token="tok-own")):  # noqa: S106
        result = await backend.query(question, caller)
        assert result.points[0].values == (7,)
    await backend.aclose()
    assert site.connections == 3


async def test_an_answer_that_comes_too_late_reaches_no_other_caller(
    serve: Serve, question: Query
) -> None:

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"tok-own" not in site.requests[-1]:
            writer.write(http(OTHER))
            await writer.drain()
            connections.append(writer)
            return
        for late in connections:  # of the other caller, whose question has been answered
            late.write(http(OTHER))
        writer.write(http())

    connections: list[asyncio.StreamWriter] = []
    site = await serve(answer)
    backend = at(site.port)

    mine = await backend.query(question, LOCAL)
    other = await backend.query(question, Caller("ana@example.com", token="tok-own"))  # noqa: S106
    await backend.aclose()

    assert (mine.points[0].values, other.points[0].values) == ((666,), (7,))


async def test_a_session_cookie_of_one_caller_never_travels_with_another(
    serve: Serve, question: Query
) -> None:
    site = await serve(saying(http(Set_Cookie="session=admin; Path=/")))
    backend = at(site.port)

    await backend.query(question, LOCAL)
    await backend.query(question, Caller("ana@example.com", token="tok-own"))  # noqa: S106
    await backend.aclose()

    assert b"Bearer tok-own" in site.requests[1]
    assert b"cookie" not in site.requests[1].lower()


async def test_a_netrc_file_does_not_replace_the_token(
    serve: Serve, question: Query, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login other password other\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    site = await serve(saying(http()))
    backend = at(site.port)

    await backend.query(question, LOCAL)
    await backend.aclose()

    headers = site.requests[0].lower().splitlines()
    assert [line for line in headers if line.startswith(b"authorization:")] == [
        f"authorization: bearer {TOKEN}".encode()
    ]


async def test_connections_may_be_taken_while_old_ones_are_being_closed() -> None:
    idle = IdleTransports()

    class Slow(httpx.MockTransport):
        async def aclose(self) -> None:
            while idle.take(b"ana"):
                pass

    await idle.put(b"old", Slow(lambda _: httpx.Response(200)))
    for _ in range(200):  # one more than are kept
        await idle.put(b"ana", httpx.MockTransport(lambda _: httpx.Response(200)))

    assert idle.take(b"old") is None
    assert idle.take(b"ana") is None
