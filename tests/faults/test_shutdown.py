"""The server as a process before a slow gateway: clients that go away, and SIGTERM."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import httpx2
import pytest
from mcp.client import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import TextContent
from tests import forked
from tests.faults.conftest import TOKEN
from tests.faults.faulty_gateway import Gateway
from tests.faults.test_merging import Gate

import gateway_metrics_mcp

SOURCES: Final = Path(gateway_metrics_mcp.__file__).parents[1]
PATIENCE_S: Final = 60
LONG_S: Final = 600
"""A drain that is not waited for."""
WAYS: Final = [
    ("http", "auto"),
    pytest.param("http", "legacy", marks=pytest.mark.thorough),
    ("sse", "legacy"),
]

Serve = Callable[..., AbstractAsyncContextManager[tuple[Process, Any]]]


@asynccontextmanager
async def start_process(home: Path, *arguments: str) -> AsyncIterator[tuple[Process, str]]:
    """Our program with these arguments: the process, and where it listens."""
    process = await asyncio.create_subprocess_exec(
        *forked.command(),
        *(*arguments, "--port", "0", "--log-level", "ERROR"),
        env={
            "PYTHONPATH": str(SOURCES),
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "TFY_API_KEY": TOKEN,
        },
        stderr=PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            assert process.stderr is not None
            said = b""
            while b"listening at" not in said:
                said = await process.stderr.readline()
            yield process, said.decode().split()[-1]
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.fixture
def serve(gateway: Gateway, tmp_path: Path) -> Serve:
    """Start the server before the gateway: `serve(transport, drain)`."""

    def serve(transport: str, drain: int) -> AbstractAsyncContextManager[tuple[Process, str]]:
        of_server = ("--transport", transport, "--backend", gateway.url)
        return start_process(tmp_path, *of_server, "--drain", str(drain))

    return serve


@asynccontextmanager
async def connect(url: str, mode: str) -> AsyncIterator[Client]:
    headers = {"X-TFY-API-Key": TOKEN}
    if url.endswith("/sse"):
        async with Client(sse_client(url, headers=headers), mode=mode) as client:
            yield client
        return
    async with (
        httpx2.AsyncClient(headers=headers, timeout=PATIENCE_S) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        yield client


async def ask(client: Client) -> str:
    result = await client.call_tool("query_distribution", {"startTs": "yesterday"})
    (block,) = result.content
    assert isinstance(block, TextContent)
    return block.text


async def ask_alone(url: str, mode: str) -> str:
    async with connect(url, mode) as client:
        return await ask(client)


@pytest.mark.parametrize(("transport", "mode"), WAYS)
async def test_a_call_under_way_at_a_sigterm_is_answered_within_the_drain(
    gateway: Gateway, serve: Serve, transport: str, mode: str
) -> None:
    gateway.usual = gate = Gate()
    async with serve(transport, 30) as (process, url):
        async with connect(url, mode) as client:
            await client.list_tools()  # which the client would ask for after its call
            asking = asyncio.create_task(ask(client))
            await gateway.until(lambda gateway: len(gateway.requests) == 1)
            process.send_signal(signal.SIGTERM)
            await is_refusing(url)
            gate.opened.set()
            text = await asking
        code = await process.wait()

    assert "total: 7" in text
    assert code == 0


@pytest.mark.parametrize(("transport", "mode"), WAYS)
async def test_a_call_that_outlasts_the_drain_is_closed_upstream_and_the_server_ends(
    gateway: Gateway, serve: Serve, transport: str, mode: str
) -> None:
    gateway.usual = Gate()
    async with serve(transport, 1) as (process, url):
        asking = asyncio.create_task(ask_alone(url, mode))
        await gateway.until(lambda gateway: len(gateway.requests) == 1)
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        await gateway.until(lambda gateway: not gateway.is_open)
        code = await process.wait()
        took_s = time.monotonic() - begun
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    assert code == 0
    assert took_s > 0.9


@pytest.mark.parametrize(("transport", "mode"), WAYS)
async def test_a_client_that_hangs_up_closes_the_call(
    gateway: Gateway, serve: Serve, transport: str, mode: str
) -> None:
    gateway.usual = Gate()
    async with serve(transport, LONG_S) as (process, url):
        asking = asyncio.create_task(ask_alone(url, mode))
        await gateway.until(lambda gateway: len(gateway.requests) == 1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await gateway.until(lambda gateway: not gateway.is_open)
        process.send_signal(signal.SIGTERM)
        code = await process.wait()

    assert code == 0


async def is_refusing(url: str) -> None:
    """Wait until the server takes no more connections."""
    host, port = url.split("/")[2].split(":")
    while True:
        try:
            stream = await anyio.connect_tcp(host, int(port))
        except OSError:
            return
        await stream.aclose()


@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])
async def test_a_connection_that_is_cut_closes_the_call(
    gateway: Gateway, serve: Serve, version: str
) -> None:
    gateway.usual = Gate()
    meta = {
        "io.modelcontextprotocol/protocolVersion": version,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    }
    params = {"name": "query_distribution", "arguments": {"startTs": "yesterday"}, "_meta": meta}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    headers = {
        "X-TFY-API-Key": TOKEN,
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": version,
        "Mcp-Method": "tools/call",
        "Mcp-Name": "query_distribution",
    }
    async with (
        serve("http", 30) as (_, url),
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
    ):
        asking = asyncio.create_task(http.post(url, json=message))
        await gateway.until(lambda gateway: len(gateway.requests) == 1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await gateway.until(lambda gateway: not gateway.is_open)


async def test_a_request_whose_body_is_still_coming_at_a_sigterm_is_answered(serve: Serve) -> None:
    body = (
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call",'
        b'"params":{"name":"list_fields","arguments":{}}}'
    )
    async with serve("http", 10) as (process, address):
        url = httpx2.URL(address)
        reader, writer = await asyncio.open_connection(url.host, url.port)
        head = [
            f"POST {url.path} HTTP/1.1",
            f"Host: {url.host}:{url.port}",
            "Accept: application/json, text/event-stream",
            "Content-Type: application/json",
            f"X-TFY-API-Key: {TOKEN}",
            f"Content-Length: {len(body)}",
            "Connection: close",
        ]
        writer.write("\r\n".join([*head, "", ""]).encode() + body[:20])
        await writer.drain()
        async with httpx2.AsyncClient(timeout=60) as client:  # by then the server has begun with it
            for _ in range(3):
                assert (await client.get(url.join("/livez"))).status_code == 200
        process.send_signal(signal.SIGTERM)
        writer.write(body[20:])
        await writer.drain()
        answer = await reader.read()
        writer.close()
        assert await process.wait() == 0

    assert b"modelMetrics" in answer
