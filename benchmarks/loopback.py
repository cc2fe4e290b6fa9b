"""Shared by the load and soak benchmarks: a gateway, a yardstick server, and their processes.

As a script it is one of the processes: `gateway FAULTS`, `yardstick GATEWAY` or `server ARGUMENTS`.
Each prints a line with its port or address. On SIGUSR1 `server` prints its number of tasks.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from layouts import load_main

WAIT_S: Final = 0.02
GROUPS: Final = 20
SLOW_S: Final = 30.0
FAULTS: Final = (
    "status 500",
    "status 502",
    "status 503",
    "status 429",
    "slow headers",
    "slow body",
    "reset before the answer",
    "reset in mid-body",
    "a web page",
    "half a JSON text",
    "rows of another kind",
)
PAGE_KB: Final = os.sysconf("SC_PAGE_SIZE") / 1024 if hasattr(os, "sysconf") else 4


# The gateway: its rows name the caller and the question, so that a mixed-up answer is found.


def _row(number: int) -> dict[str, Any]:
    return {
        "total": 1000 + number,
        "sumCostInUSD": 12.345678 + number,
        "sumInputTokens": 987654 + number,
        "p95LatencyMs": 1234.5678 + number,
        "countCostInUSD": 1000 + number,
        "countLatencyMs": 1000 + number,
    }


def _head(status: int, size: int, *more: str, kind: str = "application/json") -> bytes:
    lines = [f"HTTP/1.1 {status} x", f"Content-Type: {kind}", f"Content-Length: {size}", *more]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


GROUPED: Final = json.dumps(
    {
        "data": {
            "dataPoints": [
                {"modelName": name, **_row(n)}
                for n, name in enumerate(["ASKED", "CALLER", *(f"p/m-{i}" for i in range(2, 20))])
            ]
        }
    }
).encode()
TOTAL: Final = {name: sum(_row(n)[name] for n in range(GROUPS)) for name in _row(0)}
UNGROUPED: Final = json.dumps({"data": {"dataPoints": [TOTAL]}}).encode()


class Gateway(asyncio.Protocol):
    """One connection to the gateway; a share `faults` of its requests fails."""

    def __init__(self, faults: float) -> None:
        self._faults = faults
        self._chance = random.Random()  # noqa: S311 - any will do
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each complete request after the wait."""
        self._received += data
        while True:
            head, end, rest = self._received.partition(b"\r\n\r\n")
            fields = dict(line.partition(b": ")[::2] for line in head.lower().split(b"\r\n")[1:])
            size = int(fields.get(b"content-length", 0))
            if not end or len(rest) < size:
                return
            self._received = rest[size:]
            if self._transport is not None and head.startswith(b"HEAD "):  # a probe
                self._transport.write(_head(401, 0))
                continue
            caller = fields.get(b"authorization", b"").removeprefix(b"bearer ")
            fault = ""
            if self._chance.random() < self._faults:
                fault = self._chance.choice(FAULTS)
            loop = asyncio.get_running_loop()
            wait = SLOW_S if fault == "slow headers" else WAIT_S
            loop.call_later(wait, self._answer, json.loads(rest[:size]), caller, fault)

    def _answer(self, body: dict[str, Any], caller: bytes, fault: str) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        content = UNGROUPED
        if body.get("groupBy"):
            asked = str(body["filters"][0]["value"][0]).encode()
            content = GROUPED.replace(b"ASKED", asked).replace(b"CALLER", caller)
        if fault == "reset before the answer":
            transport.abort()
        elif fault in ("slow body", "reset in mid-body"):
            transport.write(_head(200, len(content)) + content[:100])
            if fault == "reset in mid-body":
                transport.abort()
        else:
            transport.write(_whole(content, fault))


def _whole(content: bytes, fault: str) -> bytes:
    if fault.startswith("status "):
        status = int(fault.removeprefix("status "))
        error = b'{"error": {"message": "a fault"}}'
        return _head(status, len(error), *(["Retry-After: 1"] if status == 429 else [])) + error
    if fault == "a web page":
        page = b"<html><body>sign in</body></html>"
        return _head(200, len(page), kind="text/html") + page
    if fault == "half a JSON text":
        content = content[: len(content) // 2]
    elif fault:
        content = b'{"data": {"dataPoints": [{"total": "many"}, 7]}}'
    return _head(200, len(content)) + content


async def _serve_gateway(faults: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Gateway(faults), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


# The servers.


def _serve_yardstick(gateway: str) -> None:
    """Run the SDK's server with three trivial tools that each take 20 ms.

    `ask` posts one question to the gateway and returns the response, `ask_twice` posts two side by
    side, as a report does, and returns the first response; `wait` sleeps.
    """
    import gc
    import socket

    import httpx
    import uvicorn
    from mcp.server.mcpserver import MCPServer

    mcp = MCPServer("yardstick", version="1", log_level="WARNING", subscriptions=False)
    client = httpx.AsyncClient(trust_env=False, timeout=60)

    async def post(question: str) -> str:
        headers = {"authorization": "Bearer anyone"}
        response = await client.post(gateway, content=question, headers=headers)
        return response.text

    @mcp.tool(structured_output=False)
    async def ask(question: str) -> str:
        return await post(question)

    @mcp.tool(structured_output=False)
    async def ask_twice(question: str, second: str) -> str:
        first, _ = await asyncio.gather(post(question), post(second))
        return first

    @mcp.tool(structured_output=False)
    async def wait(question: str) -> str:
        await asyncio.sleep(WAIT_S)
        return question

    app = mcp.streamable_http_app(stateless_http=True)
    listener = socket.create_server(("127.0.0.1", 0))
    # Else each response waits for the client's delayed acknowledgement (see cli.serve.listen).
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)
    gc.freeze()
    uvicorn.Server(uvicorn.Config(app, log_config=None, server_header=False)).run([listener])


def _serve(arguments: list[str]) -> int:
    """Run our command; on SIGUSR1 it prints its number of tasks."""
    signal.signal(signal.SIGUSR1, lambda *_: print(len(asyncio.all_tasks()), flush=True))
    status: int = load_main()(arguments)
    return status


@dataclass
class Process:
    """A process of this file, and its address. The figures are read from /proc, on Linux."""

    popen: subprocess.Popen[str]
    address: str
    log: list[str] = field(default_factory=list)
    """Its lines on stderr since it began to listen."""

    @property
    def rss_mb(self) -> float:
        """Its resident memory in MB."""
        pages = Path(f"/proc/{self.popen.pid}/statm").read_text("ascii").split()[1]
        return int(pages) * PAGE_KB / 1024

    @property
    def peak_mb(self) -> float:
        """The peak of its resident memory in MB."""
        status = Path(f"/proc/{self.popen.pid}/status").read_text("ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024

    @property
    def files(self) -> int:
        """Its number of open files and connections."""
        return len(os.listdir(f"/proc/{self.popen.pid}/fd"))  # noqa: PTH208 - names alone

    @property
    def cpu_s(self) -> float:
        """The processor time it has used, in seconds."""
        fields = Path(f"/proc/{self.popen.pid}/stat").read_text("ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def count_tasks(self) -> int:
        """Its number of asyncio tasks, which only the process itself knows."""
        self.popen.send_signal(signal.SIGUSR1)
        assert self.popen.stdout is not None  # noqa: S101 - it is a pipe
        return int(await asyncio.to_thread(self.popen.stdout.readline))


@contextmanager
def start(kind: str, *arguments: str, python: str = sys.executable) -> Iterator[Process]:
    """Run a process of this file until the block ends; `python` may have another build."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    if kind == "server":
        pipes["stderr"] = subprocess.PIPE
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHONDONTWRITE")}
    with subprocess.Popen(  # noqa: S603 - this file
        [python, __file__, kind, *arguments], text=True, env=environment, **pipes
    ) as popen:
        try:
            said = popen.stderr or popen.stdout
            assert said is not None  # noqa: S101 - one of them is a pipe
            address = next((line for line in said if line.strip().isdigit() or "http" in line), "")
            if not address:
                raise RuntimeError(f"the {kind} did not start")
            process = Process(popen, address.split()[-1])
            if popen.stderr is not None:  # unread, the log would fill the pipe and stop the process
                log = popen.stderr
                threading.Thread(target=process.log.extend, args=(log,), daemon=True).start()
            yield process
        finally:
            popen.terminate()


if __name__ == "__main__":
    if sys.argv[1] == "gateway":
        asyncio.run(_serve_gateway(float(sys.argv[2])))
    elif sys.argv[1] == "yardstick":
        _serve_yardstick(sys.argv[2])
    else:
        sys.exit(_serve(sys.argv[2:]))
