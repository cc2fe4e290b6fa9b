"""The counters of one server, and their export to Prometheus.

One `Metrics` per server is passed down as an argument. The counters are plain numbers, not
prometheus_client's types: readiness and shutdown read them too, and importing the package, which
is an extra, would slow the start over stdio by tens of milliseconds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final

from gateway_metrics_mcp import __version__

OK: Final = "ok"
"""The code of a successful call; a failed one has its error's code (errors.py)."""
CANCELLED: Final = "cancelled"
"""The code of a call that was cancelled by its caller."""

BOUNDS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""The upper bounds of the latency buckets, in seconds."""
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_TOOL: Final = ("tool",)

Samples = Mapping[Any, Any]
"""Label values (a tuple) -> a number or a histogram."""


class Histogram:
    """A histogram of durations: a count per bucket, and the sum."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self._counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds

    def cumulated(self) -> list[tuple[str, int]]:
        """Cumulative counts by upper bound, as Prometheus expects; `+Inf` last."""
        total = 0
        rows = []
        for bound, count in zip((*BOUNDS_S, "+Inf"), self._counts, strict=True):
            total += count
            rows.append((str(bound), total))
        return rows


@dataclass(slots=True)
class Metrics:
    """The counters of one server since its start.

    Label values never come from a caller, who could otherwise create series without limit.
    """

    clock: Callable[[], float] = monotonic
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By tool and code."""
    call_seconds: defaultdict[str, Histogram] = field(
        default_factory=lambda: defaultdict(Histogram)
    )
    bytes_returned: Counter[str] = field(default_factory=Counter)
    calls_in_flight: int = 0
    requests_in_flight: int = 0
    """POST requests whose response is not complete."""
    refusals: Counter[int] = field(default_factory=Counter)
    """HTTP requests answered with an error, by status."""
    upstream: Counter[str] = field(default_factory=Counter)
    """By code."""
    upstream_seconds: Histogram = field(default_factory=Histogram)
    upstream_in_flight: int = 0
    answered_at: float | None = None
    """When the backend last answered a query, in seconds of `clock`; readiness reads it."""
    retries: int = 0
    cache: Counter[bool] = field(default_factory=Counter)
    """Cache lookups, by whether it was a hit."""
    joined: int = 0
    """Queries that joined an identical one in flight."""

    def count_call(self, tool: str, code: str, seconds: float, size: int) -> None:
        """Count a tool call and the bytes of its answer; `tool` is a known name."""
        self.calls[tool, code] += 1
        self.call_seconds[tool].add(seconds)
        self.bytes_returned[tool] += size

    def count_upstream(self, code: str, seconds: float) -> None:
        """Count a query to the backend; each retry counts."""
        self.upstream[code] += 1
        if code == OK:
            self.answered_at = self.clock()
        self.upstream_seconds.add(seconds)

    def count_retry(self) -> None:
        """Count a request that is sent again."""
        self.retries += 1

    @property
    def under_way(self) -> int:
        """Calls and requests without an answer so far; shutdown waits for 0."""
        return self.calls_in_flight + self.requests_in_flight


def write_metrics(metrics: Metrics) -> bytes:
    """All counters in the Prometheus text format.

    Raises:
        ModuleNotFoundError: if prometheus_client, an extra, is not installed.
    """
    from prometheus_client import CollectorRegistry, core, generate_latest
    from prometheus_client.registry import Collector

    kinds: dict[str, Any] = {
        "counter": core.CounterMetricFamily,
        "gauge": core.GaugeMetricFamily,
        "histogram": core.HistogramMetricFamily,
    }

    class Families(Collector):
        def collect(self) -> Iterator[core.Metric]:
            for kind, name, text, labels, samples in _list_families(metrics):
                family = kinds[kind](f"gateway_metrics_{name}", text, labels=labels)
                for values, value in sorted(samples.items()):
                    is_histogram = isinstance(value, Histogram)
                    sample = (value.cumulated(), value.sum_s) if is_histogram else (value,)
                    family.add_metric(values, *sample)
                yield family

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Families())
    return generate_latest(registry)


def _list_families(m: Metrics) -> list[tuple[str, str, str, tuple[str, ...], Samples]]:
    """Every family as kind, name, help, labels, samples; empty ones too, for dashboards."""
    lookups = {("hit",): m.cache[True], ("miss",): m.cache[False]}
    asked_s, called_s = {(): m.upstream_seconds}, _key(m.call_seconds)
    return [
        ("counter", "tool_calls", "Tool calls by outcome.", ("tool", "code"), m.calls),
        ("histogram", "tool_call_seconds", "How long tool calls took.", _TOOL, called_s),
        ("gauge", "tool_calls_in_flight", "Tool calls in flight.", (), {(): m.calls_in_flight}),
        ("counter", "returned_bytes", "Bytes of the answers' text.", _TOOL, _key(m.bytes_returned)),
        (
            "counter",
            "refused_requests",
            "HTTP requests refused before any tool.",
            ("status",),
            _key(m.refusals),
        ),
        (
            "counter",
            "upstream_calls",
            "Backend queries by outcome.",
            ("code",),
            _key(m.upstream),
        ),
        ("histogram", "upstream_call_seconds", "How long the backend took.", (), asked_s),
        (
            "gauge",
            "upstream_calls_in_flight",
            "Backend queries in flight.",
            (),
            {(): m.upstream_in_flight},
        ),
        ("counter", "upstream_retries", "Requests retried.", (), {(): m.retries}),
        ("counter", "cache_lookups", "Queries looked up in the cache.", ("result",), lookups),
        (
            "counter",
            "joined_calls",
            "Queries that shared a call.",
            (),
            {(): m.joined},
        ),
        ("gauge", "build_info", "The version.", ("version",), {(__version__,): 1}),
    ]


def _key(counts: Mapping[Any, Any]) -> Samples:
    """Counts with one label as samples."""
    return {(str(name),): count for name, count in counts.items()}
