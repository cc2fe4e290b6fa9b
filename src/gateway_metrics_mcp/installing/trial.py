"""The server started as a client would start it, to list its tools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import anyio

from gateway_metrics_mcp.client import list_tools
from gateway_metrics_mcp.errors import UnreachableError
from gateway_metrics_mcp.installing.clients import Client
from gateway_metrics_mcp.installing.entry import ServerEntry
from gateway_metrics_mcp.settings import OUR_VARIABLES

_PATIENCE_S: Final = 60
_POOR_PATH: Final = "/usr/bin:/bin:/usr/sbin:/sbin"
_POOR: Final = ("HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "LANG")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    is_good: bool
    text: str


def try_server(client: Client, entry: ServerEntry, environ: Mapping[str, str]) -> Outcome:
    """Start the entry's command with the entry's environment, and ask for the tools."""
    env = {**_surroundings(client, environ), **entry.resolve(environ)}
    ask = partial(list_tools, entry.command, entry.args, env, timeout_s=_PATIENCE_S)
    try:
        tools = anyio.run(ask)
    except UnreachableError as error:
        return Outcome(False, f"started as {client.title} would start it, {error}")
    listed = ", ".join(tools)
    return Outcome(True, f"started as {client.title} would start it: {len(tools)} tools: {listed}")


def _surroundings(client: Client, environ: Mapping[str, str]) -> dict[str, str]:
    """What the client hands on of its own environment; our variables are the entry's business."""
    if client.is_poor and "SYSTEMROOT" not in environ:
        return {**{n: environ[n] for n in _POOR if n in environ}, "PATH": _POOR_PATH}
    return {name: text for name, text in environ.items() if not name.startswith(OUR_VARIABLES)}
