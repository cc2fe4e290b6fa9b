"""The server as a process of its own: its pipes, its signals, its end."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.abc
import pytest
from anyio.abc import SocketAttribute
from anyio.streams.buffered import BufferedByteReceiveStream
from mcp.client import Client
from mcp.client.sse import sse_client

from gateway_metrics_mcp import __version__
from gateway_metrics_mcp.server.tools import TOOLS

TOKEN: Final = "tok-secret-1234"  # noqa: S105 - planted: nothing may show it
INITIALIZE: Final[dict[str, Any]] = {
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
INITIALIZED: Final[dict[str, Any]] = {"method": "notifications/initialized"}
MODERN: Final = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
}


PYTHON: Final = (sys.executable, "-m", "gateway_metrics_mcp")
"""Where what is imported, or the process list, matters."""


def call(number: int, tool: str, **arguments: object) -> dict[str, Any]:
    params = {"name": tool, "arguments": arguments}
    return {"id": number, "method": "tools/call", "params": params}


@dataclass
class Process:
    """A process of ours: JSON lines in, all it wrote kept."""

    process: anyio.abc.Process
    lines: BufferedByteReceiveStream
    out: list[bytes] = field(default_factory=list)
    err: bytes = b""
    has_said: anyio.Event = field(default_factory=anyio.Event)

    async def send(self, *messages: dict[str, Any]) -> None:
        """Write the messages at once."""
        lines = [json.dumps({"jsonrpc": "2.0", **message}) + "\n" for message in messages]
        assert self.process.stdin is not None
        await self.process.stdin.send("".join(lines).encode())

    async def receive(self) -> dict[str, Any]:
        """The next message."""
        line = await self.lines.receive_until(b"\n", 1_000_000)
        self.out.append(line)
        message: dict[str, Any] = json.loads(line)
        return message

    async def wait_for(self, text: str) -> str:
        """What it has written to stderr, once the text is in it."""
        while text.encode() not in self.err:
            await self.has_said.wait()
        return self.err.decode()

    async def end(self) -> int:
        """Close its input, read the rest of its output, and wait for it."""
        assert self.process.stdin is not None
        await self.process.stdin.aclose()
        return await self.wait()

    async def wait(self) -> int:
        """Read the rest of its output, and wait for it."""
        with suppress(anyio.EndOfStream):
            while True:
                self.out.append(await self.lines.receive())
        return await self.process.wait()


Start = Callable[..., AbstractAsyncContextManager[Process]]


@pytest.fixture
def start(environment: dict[str, str], forked: tuple[str, ...]) -> Start:
    """Start the server; the block has to end it. A minute is for what hangs."""

    @asynccontextmanager
    async def start(
        *arguments: str, program: Sequence[str] = forked, **more: str
    ) -> AsyncIterator[Process]:
        command = [*program, *arguments]
        with anyio.fail_after(60):
            async with await anyio.open_process(command, env={**environment, **more}) as process:
                assert process.stdout is not None
                running = Process(process, BufferedByteReceiveStream(process.stdout))
                async with anyio.create_task_group() as group:
                    group.start_soon(_keep_errors, running)
                    yield running

    return start


async def _keep_errors(running: Process) -> None:
    assert running.process.stderr is not None
    async for part in running.process.stderr:
        running.err += part
        running.has_said.set()
        running.has_said = anyio.Event()


@dataclass
class Gateway:
    """A gateway on loopback: with an answer, or with none ever."""

    port: int = 0
    request: str = ""
    is_asked: anyio.Event = field(default_factory=anyio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def _gateway(rows: str | None = None) -> AsyncIterator[Gateway]:
    """It reads a question; `rows` is its answer, in which it repeats what it was sent."""
    gateway = Gateway()

    async def answer(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            request = await stream.receive()
            gateway.request = request.decode()
            gateway.is_asked.set()
            if rows is None:
                await anyio.sleep_forever()
            body = f'{{"data":{{"dataPoints":{rows}}}}}'
            echo = request.decode().lower().partition("authorization: ")[2].partition("\r\n")[0]
            head = f"HTTP/1.1 200 OK\r\nX-Echo: {echo}\r\nContent-Length: {len(body)}\r\n\r\n"
            await stream.send((head + body).encode())

    async with await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0) as listener:
        gateway.port = listener.extra(SocketAttribute.local_port)  # noqa: S610 - no Django
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, answer)
            yield gateway
            group.cancel_scope.cancel()


@pytest.mark.parametrize("level", ["WARNING", "DEBUG"])
async def test_nothing_but_the_protocol_is_on_stdout(
    start: Start, directory: Path, level: str
) -> None:
    question = {"startTs": "2025-03-01", "endTs": "2025-03-03", "groupBy": ["modelName"]}
    arguments = ("--backend", str(directory), "--log-level", level)
    async with start(*arguments, program=PYTHON) as server:
        await server.send(INITIALIZE, INITIALIZED, {"id": 1, "method": "tools/list"})
        opened, listed = await server.receive(), await server.receive()
        await server.send(
            call(2, "query_distribution", **question),
            call(3, "query_distribution", nothing=1),
            call(4, "nothing"),
            {"id": 5, "method": "no/such/method"},
        )
        answers = [await server.receive() for _ in range(4)]
        code = await server.end()

    assert code == 0
    assert [json.loads(line)["jsonrpc"] for line in server.out] == ["2.0"] * 6
    assert opened["result"]["serverInfo"] == {
        "name": "gateway-metrics",
        "title": "Gateway metrics",
        "version": __version__,
    }
    assert [tool["name"] for tool in listed["result"]["tools"]] == list(TOOLS)
    assert {message["id"]: sorted(message.get("result", ())) for message in answers} == {
        2: ["content", "isError"],
        3: ["content", "isError"],
        4: ["content", "isError"],
        5: [],
    }
    assert (b"DEBUG" in server.err) == (level == "DEBUG")


async def test_a_modern_client_needs_no_handshake(start: Start) -> None:
    async with start() as server:
        await server.send({"id": 1, "method": "tools/list", "params": {"_meta": MODERN}})
        listed = (await server.receive())["result"]
        code = await server.end()

    assert (code, server.err) == (0, b"")
    assert (listed["ttlMs"], listed["cacheScope"]) == (3_600_000, "public")
    assert [sorted(tool) for tool in listed["tools"]] == (
        [["annotations", "description", "inputSchema", "name", "title"]] * len(TOOLS)
    )


async def test_lines_that_are_no_messages_do_not_end_the_server(start: Start) -> None:
    async with start() as server:
        assert server.process.stdin is not None
        await server.process.stdin.send(b'no json\n\n{"jsonrpc":"2.0","id":\xff}\n[]\n"\\ud800"\n')
        await server.send(INITIALIZE, INITIALIZED, {"id": 1, "method": "ping"})
        answers = [await server.receive() for _ in range(6)]
        code = await server.end()

    assert ([answer["id"] for answer in answers], code) == ([None, None, None, None, 0, 1], 0)
    assert [a["error"]["code"] for a in answers[:4]] == [-32700, -32700, -32600, -32700]


async def test_the_end_of_its_input_ends_it(start: Start) -> None:
    async with start() as server:
        code = await server.end()

    assert (code, server.out, server.err) == (0, [], b"")


async def test_the_end_of_its_input_ends_a_running_call(start: Start) -> None:
    async with (
        _gateway() as gateway,
        start("--backend", gateway.url, "--timeout", "600", TFY_API_KEY=TOKEN) as server,
    ):
        await server.send(INITIALIZE, INITIALIZED, call(1, "query_distribution", startTs="today"))
        await server.receive()
        await gateway.is_asked.wait()
        code = await server.end()

    assert (code, server.err) == (0, b"")


@pytest.mark.parametrize("is_busy", [False, True])
async def test_an_interrupt_ends_it_at_once_without_a_trace(
    start: Start,
    is_busy: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    async with (
        _gateway() as gateway,
        start("--backend", gateway.url, "--timeout", "600", TFY_API_KEY=TOKEN) as server,
    ):
        await server.send(INITIALIZE, INITIALIZED)
        await server.receive()
        if is_busy:
            await server.send(call(1, "query_distribution", startTs="today"))
            await gateway.is_asked.wait()
        server.process.send_signal(signal.SIGINT)
        code = await server.wait()

    assert (code, server.err) == (-signal.SIGINT, b"")


async def test_an_interrupt_ends_a_command_without_a_trace(start: Start) -> None:
    async with (
        _gateway() as gateway,
        start("check", "--backend", gateway.url, "--timeout", "600", TFY_API_KEY=TOKEN) as command,
    ):
        await gateway.is_asked.wait()
        command.process.send_signal(signal.SIGINT)
        code = await command.wait()

    assert (code, command.out, command.err) == (130, [], b"")


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_over_http_it_says_where_it_listens_and_an_interrupt_ends_it(
    start: Start, directory: Path, transport: str
) -> None:
    arguments = ("--transport", transport, "--port", "0", "--backend", str(directory))
    async with start(*arguments) as server:
        said = await server.wait_for(f"/{'mcp' if transport == 'http' else 'sse'}\n")
        url = said.split()[-1]
        async with Client(url if transport == "http" else sse_client(url)) as client:
            names = [tool.name for tool in (await client.list_tools()).tools]
        server.process.send_signal(signal.SIGINT)
        code = await server.wait()

    assert names == list(TOOLS)
    path = "/mcp" if transport == "http" else "/sse"
    open_to_all, where = said.splitlines()
    assert open_to_all.endswith(": no --tokens: every caller is a tenant admin")
    assert where.startswith("gateway-metrics-mcp: listening at http://127.0.0.1:")
    assert said.endswith(f"{path}\n")
    assert (code, server.out, server.err.decode()) == (0, [], said)


async def test_the_token_is_in_no_output_log_or_process_list(start: Start) -> None:
    async with (
        _gateway('[{"total": 7}]') as gateway,
        start(
            *("--log-level", "DEBUG"), program=PYTHON, TFY_HOST=gateway.url, TFY_API_KEY=TOKEN
        ) as server,
    ):
        await server.send(INITIALIZE, INITIALIZED, call(1, "query_distribution", startTs="today"))
        await server.receive()
        answer = await server.receive()
        shown = await anyio.Path(f"/proc/{server.process.pid}/cmdline").read_bytes()
        code = await server.end()

    assert code == 0
    assert "total: 7" in answer["result"]["content"][0]["text"]
    assert f"Bearer {TOKEN}" in gateway.request
    assert b" DEBUG " in server.err
    assert [text for text in (shown, server.err, *server.out) if TOKEN.encode() in text] == []
