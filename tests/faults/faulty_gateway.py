"""A real gateway on loopback that does, request by request, what a test tells it to."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

GOOD: Final = b'{"data":{"dataPoints":[{"total":7}]}}'

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def http(body: bytes = GOOD, status: str = "200 OK", **headers: str) -> bytes:
    """A whole response."""
    given = {"Content_Type": "application/json", "Content_Length": str(len(body)), **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in given.items()]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode() + body


def say(*parts: bytes, reset: bool = False, then: Behaviour | None = None) -> Behaviour:
    """Send the parts, then reset the connection or go on."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
        if reset:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        if then is not None:
            await then(reader, writer)

    return behave


async def stay_silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Say nothing until the client hangs up."""
    await reader.readexactly(1)


@dataclass
class Gateway:
    """What it was asked, who is connected, and how it behaves: `script` first, then `usual`."""

    port: int = 0
    usual: Behaviour = field(default_factory=lambda: say(http()))
    script: list[Behaviour] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    connections: int = 0
    is_open: dict[asyncio.Task[Any], bytes] = field(default_factory=dict)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def request(self) -> bytes:
        """The one that a behaviour answers."""
        task = asyncio.current_task()
        return b"" if task is None else self.is_open[task]

    @property
    def open_connections(self) -> int:
        return len(self.is_open)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(request.partition(b"\r\n\r\n")[2]) for request in self.requests]

    async def until(self, is_so: Callable[[Gateway], bool]) -> None:
        """Wait for what it was sent, or for who has gone."""
        async with asyncio.timeout(60), self.changed:
            await self.changed.wait_for(lambda: is_so(self))

    async def _tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, as many requests as come."""
        task = asyncio.current_task()
        assert task is not None
        self.is_open[task] = b""
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().partition(b"content-length:")[2].partition(b"\r")[0])
                body = await reader.readexactly(size)
                self.is_open[task] = head + body
                self.requests.append(head + body)
                self.times.append(time.monotonic())
                await self._tell()
                await (self.script.pop(0) if self.script else self.usual)(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            del self.is_open[task]
            with suppress(asyncio.CancelledError):
                await self._tell()


@asynccontextmanager
async def start_gateway(port: int = 0, **behaviour: Any) -> AsyncIterator[Gateway]:
    gateway = Gateway(**behaviour)
    server = await asyncio.start_server(gateway.serve, "127.0.0.1", port)
    gateway.port = server.sockets[0].getsockname()[1]
    try:
        yield gateway
    finally:
        server.close()
        tasks = [*gateway.is_open]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
        return port
