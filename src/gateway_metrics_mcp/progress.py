"""Signs of life for a client that asked for them, while a question takes long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

logger = logging.getLogger(__name__)

PERIOD_S: Final = 1.0

T = TypeVar("T")
Report = Callable[[float, float | None, str | None], Awaitable[None]]


async def report_while(work: Callable[[], Awaitable[T]], report: Report) -> T:
    """What `work` gives; each second until then, how many seconds have passed.

    Most calls end before the first: those cost a timer, and no task.
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
