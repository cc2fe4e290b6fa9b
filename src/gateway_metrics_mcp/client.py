"""Our own use of MCP as a client: a session with the real server over stdio."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp_types import TextContent

from gateway_metrics_mcp.settings import PREFIX

_OURS: Final = (PREFIX, "TFY_")


@asynccontextmanager
async def connect(backend: str) -> AsyncIterator[Client]:
    """A session with a server of that backend, in a process of its own.

    Nothing of the set-up here reaches it: it asks that backend and no other.
    """
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "gateway_metrics_mcp", "--backend", backend, "--transport", "stdio"],
        env={name: os.environ[name] for name in os.environ if not name.startswith(_OURS)},
    )
    async with Client(server) as client:
        yield client


async def call(client: Client, tool: str, arguments: Mapping[str, Any]) -> tuple[str, bool]:
    """The text of a tool's answer, and whether it is an error."""
    result = await client.call_tool(tool, dict(arguments))
    texts = [block.text for block in result.content if isinstance(block, TextContent)]
    return "\n".join(texts), bool(result.is_error)
