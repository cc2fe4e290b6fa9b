"""Applications served over HTTP on loopback, in the process of the tests."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import uvicorn

from gateway_metrics_mcp.cli.serve import listen as open_listener
from gateway_metrics_mcp.http.shutdown import GracefulServer

_PATIENCE_S: Final = 1
"""For responses that are under way at the end; then they are cancelled."""


class _Server(uvicorn.Server):
    """uvicorn's, but it ends when told: its own waits up to 0.3 s for that, and tests open many."""

    def __init__(self, app: Any) -> None:
        super().__init__(uvicorn.Config(app, log_config=None))
        self.ending = anyio.Event()

    async def main_loop(self) -> None:
        await self.on_tick(0)  # the date that each response has
        await self.ending.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for listener in sockets or ():
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        with anyio.move_on_after(_PATIENCE_S):
            while self.server_state.connections or self.server_state.tasks:  # noqa: ASYNC110 - no event
                await anyio.sleep(0.002)
        for task in self.server_state.tasks:
            task.cancel()
        await self.lifespan.shutdown()


@asynccontextmanager
async def listen(app: Any) -> AsyncIterator[int]:
    """The port of an application served on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = _Server(app)
        async with anyio.create_task_group() as group:
            group.start_soon(server.serve, [listener])
            try:
                yield listener.getsockname()[1]
            finally:
                server.should_exit = True  # which ends streams that are still open
                server.ending.set()


@asynccontextmanager
async def listen_as_served(app: Any, service: Any, *, buffer_bytes: int = 0) -> AsyncIterator[int]:
    """The port of an application served as `serve` and `api` do, with their limits.

    `buffer_bytes`: the system keeps no more of what is sent or received; else it keeps megabytes.
    """
    running = GracefulServer(app, service, drain_s=0)
    with open_listener("127.0.0.1", 0) as listener:
        if buffer_bytes:
            for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                listener.setsockopt(socket.SOL_SOCKET, buffer, buffer_bytes)
        async with anyio.create_task_group() as group:
            group.start_soon(running.serve, [listener])
            yield listener.getsockname()[1]
            running.should_exit = True
