"""The HTTP server's end: calls under way are answered within a set time, then all is closed."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

import uvicorn
from sse_starlette.sse import AppStatus

_LOOK_EVERY_S: Final = 0.05


class DrainingServer(uvicorn.Server):
    """Streams stay open at a signal for as long as calls are under way.

    sse-starlette would cut them at once, and with them the answers; one without a call, such as an
    idle SSE session, would hold up the end. What outlasts the time limit uvicorn cancels.
    """

    def __init__(self, config: uvicorn.Config, calls_under_way: Callable[[], int]) -> None:
        super().__init__(config)
        self._calls_under_way = calls_under_way
        AppStatus.disable_automatic_graceful_drain()  # type: ignore[no-untyped-call]  # its own

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections, let the calls end, and close."""
        ending = asyncio.create_task(self._end_streams())
        await super().shutdown(sockets)
        ending.cancel()

    async def _end_streams(self) -> None:
        while self._calls_under_way():  # noqa: ASYNC110 - the count is plain numbers
            await asyncio.sleep(_LOOK_EVERY_S)
        AppStatus.should_exit = True
