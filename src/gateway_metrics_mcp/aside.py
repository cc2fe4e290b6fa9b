"""Work over very many rows: beside the event loop, in pieces, so that nobody else waits for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import merge
from typing import Any, Final, ParamSpec, TypeVar

from anyio import to_thread

_MANY: Final = 2_000
"""Rows that take about as long as a question of somebody else does."""

_MOST_SORTED: Final = 5_000
"""Rows that are sorted in some 10 ms, in which no other thread has a turn."""

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


def sort_rows(
    rows: Sequence[T],
    key: Callable[[T], Any],
    *,
    is_descending: bool = False,
    most: int = _MOST_SORTED,
) -> list[T]:
    """As `sorted` does, and as stable; in runs of at most so many, which are merged."""
    runs = [
        sorted(rows[first : first + most], key=key, reverse=is_descending)
        for first in range(0, len(rows), most)
    ]
    return runs[0] if len(runs) == 1 else list(merge(*runs, key=key, reverse=is_descending))
