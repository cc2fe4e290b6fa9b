"""What one server counts of its own work, in plain numbers that `/metrics` shows.

`build_server` makes one `Meter` and hands it down as an argument: whoever retries calls
`count_retry()`, whoever caches `count_cache(is_hit=...)`, whoever joins a question that is
already being asked `count_joined()`. `MeasuredBackend` counts the upstream calls themselves.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

OK: Final = "ok"
"""The code of a call without an error; an error's code is that of its class in errors.py."""
CANCELLED: Final = "cancelled"
"""The code of a call that was given up before it had an outcome."""

BOUNDS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""The upper ends of the latency buckets, in seconds."""


class Histogram:
    """How many durations fell up to each bound, and their sum."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self._counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds

    def cumulated(self) -> list[tuple[str, int]]:
        """Each bound, and how many durations are not above it; `+Inf` last."""
        total = 0
        rows = []
        for bound, count in zip((*BOUNDS_S, "+Inf"), self._counts, strict=True):
            total += count
            rows.append((str(bound), total))
        return rows


@dataclass(slots=True)
class Metrics:
    """The counts of one server since it started; no label ever comes from a caller."""

    clock: Callable[[], float] = monotonic
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By tool and code."""
    call_seconds: defaultdict[str, Histogram] = field(
        default_factory=lambda: defaultdict(Histogram)
    )
    bytes_returned: Counter[str] = field(default_factory=Counter)
    calls_in_flight: int = 0
    requests_in_flight: int = 0
    """HTTP requests that bring a message, until their answer is sent."""
    refusals: Counter[int] = field(default_factory=Counter)
    """HTTP requests that were refused before any tool, by status."""
    upstream: Counter[str] = field(default_factory=Counter)
    """By code."""
    upstream_seconds: Histogram = field(default_factory=Histogram)
    upstream_in_flight: int = 0
    answered_at: float | None = None
    """When the backend last answered a question, by `clock`."""
    retries: int = 0
    cache: Counter[bool] = field(default_factory=Counter)
    """By whether it was a hit."""
    joined: int = 0

    def count_call(self, tool: str, code: str, seconds: float, size: int) -> None:
        """One tool call and the bytes of its answer; `tool` is a name of the registry."""
        self.calls[tool, code] += 1
        self.call_seconds[tool].add(seconds)
        self.bytes_returned[tool] += size

    def count_upstream(self, code: str, seconds: float) -> None:
        """One question to the backend; each try of it counts."""
        self.upstream[code] += 1
        if code == OK:
            self.answered_at = self.clock()
        self.upstream_seconds.add(seconds)

    @property
    def under_way(self) -> int:
        """What is still to be answered, of calls and of requests."""
        return self.calls_in_flight + self.requests_in_flight

    def count_retry(self) -> None:
        """A request that is sent once more."""
        self.retries += 1

    def count_cache(self, *, is_hit: bool) -> None:
        """A question looked up in the cache."""
        self.cache[is_hit] += 1

    def count_joined(self) -> None:
        """A question that waits for the same one, which is already being asked."""
        self.joined += 1
