"""Work over very many rows, in a thread of its own: nobody else waits for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

from anyio import to_thread

_MANY: Final = 2_000
"""Rows that take about as long as a question of somebody else does."""

P = ParamSpec("P")
T = TypeVar("T")


async def work_aside(rows: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `work` returns; with many rows it runs beside the event loop.

    Raises:
        Exception: whatever `work` raises.
    """
    if rows < _MANY:
        return work(*args, **kwargs)
    return await to_thread.run_sync(lambda: work(*args, **kwargs), abandon_on_cancel=True)
