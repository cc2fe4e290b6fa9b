"""The HTTP server's end: calls under way are answered within a set time, then all is closed."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

import uvicorn
from sse_starlette.sse import AppStatus

_LOOK_EVERY_S: Final = 0.05
_QUIET_LOOKS: Final = 3


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
        quiet = 0
        while quiet < _QUIET_LOOKS:  # an answer over SSE is sent just after its call has ended
            await asyncio.sleep(_LOOK_EVERY_S)
            quiet = 0 if self._calls_under_way() else quiet + 1
        AppStatus.should_exit = True
