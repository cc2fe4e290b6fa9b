"""The slow and broken clients of the soak test: each kind visits again and again.

They share one token, and are more of them than one caller's share of places. What the server has to
end by itself it has to end in time; the others hang up after a while, half of them with a reset.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from callers import HANDSHAKE, question

ENDS_S: Final = 10
"""The server's time limit for headers, bodies, and for a client that reads nothing."""
LATE_S: Final = 5
"""How much later the server may be, because it is busy."""
STAY_S: Final = 20
"""How long a client stays whom the server need not send away."""
FILLING_S: Final = 240
"""The longest time until unread answers fill the system's buffers, and their client is ended."""
BROKEN_BODY: Final = b'{"jsonrpc": "2.0", "id": 1'
SIZE: Final = 900
ENDED: Final = "ended by the server"


class SlowClient:
    """A client over one connection at a time, with a small buffer for what it does not read."""

    def __init__(self, url: str, token: str, found: Counter[str], wrong: list[str]) -> None:
        self.host, _, path = url.removeprefix("http://").partition("/")
        self.stream_path = f"/{path}"
        self.path = "/messages/?session_id=" + "0" * 32 if path == "sse" else self.stream_path
        self._token = token
        self._found = found
        self._wrong = wrong
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self.chance = random.Random()  # noqa: S311 - any will do

    async def visit_again_and_again(self, kind: str, end: float) -> None:
        """Visit until the end, with short pauses."""
        while (now := time.perf_counter()) < end:
            outcome = "left"
            try:
                async with asyncio.timeout(end - now):
                    outcome = await KINDS[kind](self)
            except TimeoutError:
                pass
            except OSError:
                outcome = ENDED
            self.hang_up()
            self._found[f"{kind}: {outcome}"] += 1
            await asyncio.sleep(0.2 + self.chance.random())

    async def begin(self, method: str = "POST", content: bytes = b"", size: int = 0) -> None:
        """Connect and send a request, with less than its body if the size is more."""
        await self.connect()
        await self.send(self.write(method, content, size))

    async def connect(self) -> None:
        """Open the connection."""
        name, _, port = self.host.partition(":")
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.setblocking(False)
        await self._loop.sock_connect(self._socket, (name, int(port)))

    def write(self, method: str = "POST", content: bytes = b"", size: int = 0) -> bytes:
        """A request."""
        path = self.path if method == "POST" else self.stream_path
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}", f"X-TFY-API-Key: {self._token}"]
        lines += ["Accept: application/json, text/event-stream", "Content-Type: application/json"]
        lines += [f"MCP-Protocol-Version: {HANDSHAKE}"]
        lines += [f"Content-Length: {size or len(content)}"] if method == "POST" else []
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + content

    async def send(self, data: bytes) -> None:
        """Send all of it."""
        assert self._socket is not None  # noqa: S101 - connected
        await self._loop.sock_sendall(self._socket, data)

    async def read(self, most: int) -> bytes:
        """Read some bytes; none at the end."""
        assert self._socket is not None  # noqa: S101 - connected
        return await self._loop.sock_recv(self._socket, most)

    async def wait_for_end(self, slowly: bytes = b"") -> str:
        """Send a byte a second until the server answers or hangs up; the status."""
        end = time.perf_counter() + ENDS_S + LATE_S
        reading = asyncio.create_task(self.read(4096))
        try:
            while time.perf_counter() < end:
                await self.send(slowly[:1])
                slowly = slowly[1:]
                await asyncio.wait([reading], timeout=1)
                if reading.done():
                    return reading.result()[9:12].decode() or ENDED
        finally:
            reading.cancel()
        self._wrong.append(f"a slow client was not ended within {ENDS_S + LATE_S} s")
        return "not ended"

    def hang_up(self) -> None:
        """Leave."""
        if self._socket is not None:
            if self.chance.random() < 0.5:
                reset = struct.pack("ii", 1, 0)
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            self._socket.close()
            self._socket = None

    # --- the kinds ---

    async def send_nothing(self) -> str:
        """Connect, and say nothing."""
        await self.connect()
        return await self.wait_for_end()

    async def send_headers_slowly(self) -> str:
        """A byte a second."""
        await self.connect()
        return await self.wait_for_end(self.write())

    async def send_a_body_slowly(self) -> str:
        """Announce a body, and send a byte a second."""
        await self.begin(size=SIZE)
        return await self.wait_for_end(BROKEN_BODY)

    async def send_half_a_body(self) -> str:
        """Announce a body, and send a part of it."""
        await self.begin(content=BROKEN_BODY, size=SIZE)
        return await self.wait_for_end()

    async def hang_up_in_mid_body(self) -> str:
        """Within a second."""
        await self.begin(content=BROKEN_BODY, size=SIZE)
        await asyncio.sleep(self.chance.random())
        return "left"

    async def hold_a_stream(self) -> str:
        """Open a stream and leave it idle."""
        await self.begin("GET")
        status = (await self.read(4096))[9:12].decode() or ENDED
        if status == "200":
            await asyncio.sleep(STAY_S * self.chance.random())
        return status

    async def read_nothing(self) -> str:
        """Ask, and leave the answer unread."""
        await self.begin(content=_make_call())
        await asyncio.sleep(STAY_S)
        return "left"

    async def read_a_byte_a_second(self) -> str:
        """Ask, and read the answer slowly."""
        await self.begin(content=_make_call())
        for _ in range(STAY_S):
            await self.read(1)
            await asyncio.sleep(1)
        return "left"

    async def ask_on_and_read_nothing(self) -> str:
        """Ask without a pause until the server ends it."""
        await self.connect()
        requests = self.write(content=_make_call("tools/list")) * 20
        try:
            async with asyncio.timeout(FILLING_S):
                while True:
                    await self.send(requests)
        except TimeoutError:
            self._wrong.append(f"who read nothing for {FILLING_S} s was not ended")
        return "not ended"


def _make_call(method: str = "tools/call") -> bytes:
    params = {"name": "query_distribution", "arguments": question(0)}
    request = {"jsonrpc": "2.0", "id": 1, "method": method}
    return json.dumps(request | ({"params": params} if method == "tools/call" else {})).encode()


KINDS: Final[dict[str, Callable[[SlowClient], Awaitable[str]]]] = {
    "nothing sent": SlowClient.send_nothing,
    "headers a byte a second": SlowClient.send_headers_slowly,
    "a body a byte a second": SlowClient.send_a_body_slowly,
    "half a body": SlowClient.send_half_a_body,
    "hanging up in mid-body": SlowClient.hang_up_in_mid_body,
    "a stream held": SlowClient.hold_a_stream,
    "an answer not read": SlowClient.read_nothing,
    "an answer read a byte a second": SlowClient.read_a_byte_a_second,
    "thousands of answers not read": SlowClient.ask_on_and_read_nothing,
}


def list_kinds(places: int) -> list[str]:
    """The kind of each client: of those that hold a place more than one caller's share, a half."""
    many = places * 3 // 10
    counts = {"hanging up in mid-body": many // 3, "thousands of answers not read": 1}
    counts |= {"a stream held": 2 * many}
    return [kind for kind in KINDS for _ in range(counts.get(kind, many))]
