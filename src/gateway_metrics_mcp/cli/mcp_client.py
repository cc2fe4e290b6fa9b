"""An MCP client over stdio, with which `demo` and `install` use a server as hosts do."""

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
    """Start a server for `backend` in a process of its own, and connect to it.

    Our variables are removed from its environment, so that it queries this backend and no other.
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
    """Call a tool.

    Returns:
        The text, whether it is an error, and the PNG if there is one.
    """
    result = await client.call_tool(tool, dict(arguments))
    texts = [block.text for block in result.content if isinstance(block, TextContent)]
    images = [block.data for block in result.content if isinstance(block, ImageContent)]
    picture = b64decode(images[0]) if images else None
    return "\n".join(texts), bool(result.is_error), picture


async def list_tools(
    command: str, args: Sequence[str], env: Mapping[str, str], *, timeout_s: float
) -> list[str]:
    """Start a server and list the names of its tools.

    Raises:
        UnreachableError: if it does not start, or does not answer within `timeout_s`.
    """
    server = StdioServerParameters(command=command, args=[*args], env={**env})
    try:
        with anyio.fail_after(timeout_s):
            # `legacy`: the handshake of 2025-11-25 and before, with which most clients connect.
            async with Client(server, mode="legacy") as client:
                return [tool.name for tool in (await client.list_tools()).tools]
    except FileNotFoundError:
        wrong = "the command was not found"
    except TimeoutError:
        wrong = f"the server gave no answer within {timeout_s:g} seconds"
    except Exception:  # noqa: BLE001 - the SDK's own are many; the server has said why on stderr
        wrong = "the server ended before it answered; its output is above"
    raise UnreachableError(wrong)
