"""Answers are kept for who asked them, for a while that depends on whether rows may still come."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from cachetools import TLRUCache

from gateway_metrics_mcp.query.result import DataPoint, Result

_ENTRY_BYTES: Final = 1_000
"""Of the key's parts, the entry and its places in the cache's own tables, about."""
_MOST_MEASURED: Final = 1_000


@dataclass(frozen=True, slots=True)
class _Entry:
    result: Result
    asked_at: datetime
    lifetime_s: float
    size: int


class AnswerCache:
    """Results by key, the least recently used left out when they are more than `most_bytes`.

    A window is closed when it ended more than `closed_after_s` ago: its rows are all in. Times are
    the wall clock's; an answer from the future, after it was set back, is none.
    """

    def __init__(
        self,
        most_bytes: int,
        *,
        closed_s: float,
        open_s: float,
        closed_after_s: float,
        clock: Callable[[], datetime],
    ) -> None:
        self._most_bytes = most_bytes
        self._closed_s = closed_s
        self._open_s = open_s
        self._closed_after = timedelta(seconds=closed_after_s)
        self._clock = clock
        self._entries: TLRUCache[Hashable, _Entry] = TLRUCache(
            most_bytes,
            ttu=lambda _, entry, __: entry.asked_at.timestamp() + entry.lifetime_s,
            timer=lambda: clock().timestamp(),
            getsizeof=lambda entry: entry.size,
        )

    def get(self, key: Hashable) -> Result | None:
        """The result and how old it is, if it is still good."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        age_s = (self._clock() - entry.asked_at).total_seconds()
        if age_s < 0:
            self._entries.pop(key, None)
            return None
        return replace(entry.result, age_s=age_s)

    def put(self, key: Hashable, size: int, end: datetime, asked_at: datetime, got: Result) -> None:
        """Keep the answer of a window that ends at `end`; `size` is the key's own."""
        is_closed = end < asked_at - self._closed_after
        lifetime_s = self._closed_s if is_closed else self._open_s
        size += _ENTRY_BYTES + estimate_bytes(got)
        if size <= self._most_bytes:
            self._entries[key] = _Entry(got, asked_at, lifetime_s, size)

    def clear(self) -> None:
        """Keep nothing."""
        self._entries.clear()


def estimate_bytes(result: Result) -> int:
    """The memory of a result, about; of many rows some are measured, evenly spread."""
    points = result.points
    if not points:
        return sys.getsizeof(result)
    step = -(-len(points) // _MOST_MEASURED)
    measured = points[::step]
    rows = sum(map(_bytes_of_row, measured)) * len(points) // len(measured)
    return sys.getsizeof(result) + sys.getsizeof(result.plain_rows()) + rows


def _bytes_of_row(point: DataPoint) -> int:
    own = sys.getsizeof(point) + sys.getsizeof(point.keys) + sys.getsizeof(point.values)
    start = 0 if point.start is None else sys.getsizeof(point.start)
    return own + start + sum(map(sys.getsizeof, (*point.keys, *point.values)))
