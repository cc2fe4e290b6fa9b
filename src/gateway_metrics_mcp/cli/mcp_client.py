"""Our own use of MCP as a client: a session with the real server over stdio."""

from __future__ import annotations

import os
import sys
from base64 import b64decode
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp_types import ImageContent, TextContent

from gateway_metrics_mcp.errors import UnreachableError
from gateway_metrics_mcp.settings import OUR_VARIABLES


@asynccontextmanager
async def connect(backend: str) -> AsyncIterator[Client]:
    """A session with a server of that backend, in a process of its own.

    Nothing of the set-up here reaches it: it asks that backend and no other.
    """
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "gateway_metrics_mcp", "--backend", backend, "--transport", "stdio"],
        env={name: os.environ[name] for name in os.environ if not name.startswith(OUR_VARIABLES)},
    )
    async with Client(server) as client:
        yield client


async def call_tool(
    client: Client, tool: str, arguments: Mapping[str, Any]
) -> tuple[str, bool, bytes | None]:
    """The text of a tool's answer, whether it is an error, and the PNG that came with it."""
    result = await client.call_tool(tool, dict(arguments))
    texts = [block.text for block in result.content if isinstance(block, TextContent)]
    images = [block.data for block in result.content if isinstance(block, ImageContent)]
    picture = b64decode(images[0]) if images else None
    return "\n".join(texts), bool(result.is_error), picture


async def list_tools(
    command: str, args: Sequence[str], env: Mapping[str, str], *, timeout_s: float
) -> list[str]:
    """The names of the tools of a server that is started for it, with that environment.

    Raises:
        UnreachableError: if it does not start, or does not answer as MCP has it.
    """
    server = StdioServerParameters(command=command, args=[*args], env={**env})
    try:
        with anyio.fail_after(timeout_s):
            async with Client(server, mode="legacy") as client:
                return [tool.name for tool in (await client.list_tools()).tools]
    except FileNotFoundError:
        wrong = "the command is not there"
    except TimeoutError:
        wrong = f"the server gave no answer within {timeout_s:g} seconds"
    except Exception:  # noqa: BLE001 - the SDK's own are many; the server has said why on stderr
        wrong = "the server ended before it answered; what it said stands above"
    raise UnreachableError(wrong)
