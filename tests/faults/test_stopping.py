"""What outlasts the drain at a SIGTERM is told so: no bare cut, no traceback in the log."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.faults.conftest import TOKEN
from tests.faults.faulty_gateway import Gateway
from tests.faults.test_merging import Gate
from tests.faults.test_shutdown import WAYS, Serve, ask, connect, serve, start_process

__all__ = ["serve"]  # the fixture

STOPPING = "Error (unavailable): this server is stopping: ask again in a minute"


@asynccontextmanager
async def log_of(process: asyncio.subprocess.Process) -> AsyncIterator[Callable[[], Any]]:
    """All that the process writes to its log until its end."""
    assert process.stderr is not None
    reading = asyncio.create_task(process.stderr.read())

    async def read() -> str:
        return (await reading).decode()

    yield read


@pytest.mark.parametrize(("transport", "mode"), WAYS)
async def test_a_call_that_outlasts_the_drain_is_answered_that_the_server_stops(
    gateway: Gateway, serve: Serve, transport: str, mode: str
) -> None:
    gateway.usual = Gate()
    async with serve(transport, 1) as (process, url), log_of(process) as log:
        async with connect(url, mode) as client:
            await client.list_tools()  # which the client would ask for after its call
            asking = asyncio.create_task(ask(client))
            await gateway.until(lambda gateway: len(gateway.requests) == 1)
            process.send_signal(signal.SIGTERM)
            text = await asking
        said = await log()
        code = await process.wait()

    assert (text, code) == (STOPPING, 0)
    assert said == ""


async def post_without_an_end(url: str) -> str:
    """The answer to a message of which one letter comes."""
    host = httpx2.URL(url)
    reader, writer = await asyncio.open_connection(host.host, host.port)
    head = [
        f"POST {host.raw_path.decode()} HTTP/1.1",
        f"Host: {host.host}:{host.port}",
        "Content-Type: application/json",
        f"X-TFY-API-Key: {TOKEN}",
        "Content-Length: 9",
    ]
    writer.write("\r\n".join([*head, "", "{"]).encode())
    await writer.drain()
    answer = await reader.read()
    writer.close()
    return answer.decode()


async def answering_has_begun(url: str) -> None:
    """Wait until the server has read what was sent before."""
    async with httpx2.AsyncClient(trust_env=False, timeout=60) as http:
        for _ in range(3):
            assert (await http.get(httpx2.URL(url).join("/livez"))).status_code == 200


@pytest.mark.parametrize("has_message", [False, True])
async def test_a_stream_that_is_open_at_the_end_is_closed_as_it_should_be(
    serve: Serve,
    has_message: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    async with (
        serve("sse", 1) as (process, url),
        log_of(process) as log,
        httpx2.AsyncClient(headers={"X-TFY-API-Key": TOKEN}, trust_env=False, timeout=60) as http,
        http.stream("GET", url) as stream,
    ):
        parts = stream.aiter_text()
        path = (await anext(parts)).split("data: ")[1].strip()
        answering = None
        if has_message:
            messages = str(httpx2.URL(url).join(path))
            answering = asyncio.create_task(post_without_an_end(messages))
            await answering_has_begun(url)
        process.send_signal(signal.SIGTERM)
        rest = [part async for part in parts]  # raises where the end is a bare cut
        answer = None if answering is None else await answering
        said = await log()
        code = await process.wait()

    assert (rest, code) == ([], 0)
    assert answer is None or answer.startswith("HTTP/1.1 503 ")
    assert "Traceback" not in said
    assert has_message or not said


async def test_the_api_tells_a_request_that_it_stops(tmp_path: Path) -> None:
    arguments = ("api", "--backend", "demo:", "--drain", "1")
    async with start_process(tmp_path, *arguments) as (process, url), log_of(process) as log:
        answering = asyncio.create_task(post_without_an_end(url))
        await answering_has_begun(url)
        process.send_signal(signal.SIGTERM)
        answer = await answering
        said = await log()
        code = await process.wait()

    assert answer.startswith("HTTP/1.1 503 ")
    assert answer.endswith("this server is stopping: ask again in a minute\n")
    assert code == 0
    assert "Traceback" not in said
