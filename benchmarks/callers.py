"""The callers of the load and soak benchmarks: connections, questions and replies.

They speak plain HTTP, each with a token of its own, in either protocol era.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, Final

STATELESS: Final = "2026-07-28"
HANDSHAKE: Final = "2025-11-25"


@dataclass
class Reply:
    """A reply: the HTTP status, and the tool's text."""

    status: int
    text: str
    is_error: bool


@dataclass
class Caller:
    """One caller, with a kept-alive connection and a token of its own."""

    url: str
    token: str
    version: str = STATELESS
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    number: int = field(default=0, init=False)

    async def send(self, tool: str, arguments: dict[str, Any]) -> asyncio.StreamReader:
        """Send a call without reading its answer; the stream to read it from."""
        host = self.url.removeprefix("http://").partition("/")[0]
        if self.streams is None:
            name, _, port = host.partition(":")
            self.streams = await asyncio.open_connection(name, int(port))
        reader, writer = self.streams
        self.number += 1
        params = {"name": tool, "arguments": arguments}
        lines = [f"POST /mcp HTTP/1.1\r\nHost: {host}", f"MCP-Protocol-Version: {self.version}"]
        if self.version == STATELESS:
            prefix = "io.modelcontextprotocol"
            params["_meta"] = {
                f"{prefix}/protocolVersion": STATELESS,
                f"{prefix}/clientCapabilities": {},
                f"{prefix}/clientInfo": {"name": "load", "version": "1"},
            }
            lines += ["Mcp-Method: tools/call", f"Mcp-Name: {tool}"]
        request = {"jsonrpc": "2.0", "id": self.number, "method": "tools/call", "params": params}
        content = json.dumps(request).encode()
        lines += [
            "Accept: application/json, text/event-stream",
            "Content-Type: application/json",
            f"X-TFY-API-Key: {self.token}",
            f"Content-Length: {len(content)}",
        ]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + content)
        return reader

    async def ask(self, tool: str, arguments: dict[str, Any]) -> Reply:
        """Send a call and read its answer."""
        reader = await self.send(tool, arguments)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        status = int(head.split(" ", 2)[1])
        content = b""
        if "content-length:" in head:
            size = int(head.partition("content-length:")[2].partition("\r")[0])
            content = await reader.readexactly(size)
        elif "chunked" in head:
            while size := int(await reader.readuntil(b"\r\n"), 16):
                content += (await reader.readexactly(size + 2))[:-2]
            await reader.readexactly(2)
        return _read_reply(status, content)

    def close(self) -> None:
        """Drop the connection, even if an answer is under way."""
        if self.streams is not None:
            self.streams[1].transport.abort()
            self.streams = None


def _read_reply(status: int, content: bytes) -> Reply:
    # In an SSE body the response is the last event: progress notifications come before it.
    if b"data: " in content[:200]:
        content = next(
            line.removeprefix(b"data: ")
            for line in reversed(content.splitlines())
            if line.startswith(b"data: {")
        )
    try:
        result = json.loads(content)["result"]
    except (ValueError, KeyError):
        return Reply(status, content[:300].decode(errors="replace"), is_error=True)
    return Reply(status, result["content"][0]["text"], bool(result.get("isError")))


def question(number: int) -> dict[str, Any]:
    """A question made unique by its number, so that no cache or merging answers it."""
    return {
        "startTs": "2026-06-01",
        "endTs": "2026-06-08",
        "aggregations": ["sum costInUSD", "sum inputTokens", "p95 latencyMs"],
        "groupBy": ["modelName"],
        "filters": [{"fieldName": "userEmail", "operator": "IN", "value": [f"q-{number}-q"]}],
    }
