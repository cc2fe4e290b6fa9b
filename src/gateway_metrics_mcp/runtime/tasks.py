"""Runs work off the event loop, until shutdown, or with progress reports."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final, ParamSpec, TypeVar

import anyio
from anyio import to_thread

from gateway_metrics_mcp.errors import UnavailableError

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
Report = Callable[[float, float | None, str | None], Awaitable[None]]

STOPPING: Final = "this server is stopping: ask again in a minute"
PERIOD_S: Final = 1.0
_MANY: Final = 2_000
"""Fewer rows are processed faster than a thread hop takes."""


async def run_in_thread_if_large(
    rows: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """What `work` returns; with many rows it runs in a thread, so that others are answered.

    Raises:
        Exception: whatever `work` raises.
    """
    if rows < _MANY:
        return work(*args, **kwargs)
    return await to_thread.run_sync(lambda: work(*args, **kwargs), abandon_on_cancel=True)


class ShutdownScope:
    """Cancels all running work at once when the server stops."""

    def __init__(self) -> None:
        self._scopes: set[anyio.CancelScope] = set()
        self._is_over = False

    @contextmanager
    def until_the_end(self) -> Iterator[None]:
        """Run the block, unless the server stops first.

        Raises:
            UnavailableError: if it stops.
        """
        scope = anyio.CancelScope()
        if self._is_over:
            scope.cancel()
        self._scopes.add(scope)
        try:
            with scope:
                yield
        finally:
            self._scopes.discard(scope)
        if scope.cancelled_caught:
            raise UnavailableError(STOPPING)

    def end(self) -> None:
        """Cancel all running work, and at once whatever starts later."""
        self._is_over = True
        for scope in list(self._scopes):
            scope.cancel()


async def report_while(work: Callable[[], Awaitable[T]], report: Report) -> T:
    """What `work` returns; reports the elapsed seconds every second until then.

    Most calls are faster than a second: those cost a timer, and no task.
    """
    tasks: list[asyncio.Task[None]] = []

    def begin() -> None:
        tasks.append(asyncio.create_task(_report(report)))

    timer = asyncio.get_running_loop().call_later(PERIOD_S, begin)
    try:
        return await work()
    finally:
        timer.cancel()
        for task in tasks:
            task.cancel()


async def _report(report: Report) -> None:
    passed = 0
    while True:
        passed += 1
        try:
            await report(passed, None, f"waiting for the backend, {passed} s so far")
        except Exception:  # noqa: BLE001 - nobody may be listening any more; the answer goes on
            logger.debug("progress could not be reported")
            return
        await asyncio.sleep(PERIOD_S)
