"""The counts of a server in the format that Prometheus reads; prometheus_client's one door."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from gateway_metrics_mcp import __version__
from gateway_metrics_mcp.runtime.metrics import Histogram, Metrics

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX: Final = "gateway_metrics"


class _MeterCollector(Collector):
    """Reads the meter when it is asked: between two scrapes it costs nothing."""

    def __init__(self, meter: Metrics) -> None:
        self._meter = meter

    def collect(self) -> Iterable[Metric]:
        """Every family, those without a sample too, so that their names can be found."""
        yield from _tool_calls(self._meter)
        yield from _upstream_calls(self._meter)
        yield from _savings(self._meter)
        build = GaugeMetricFamily(f"{_PREFIX}_build_info", "The version.", labels=["version"])
        build.add_metric([__version__], 1)
        yield build


def write_metrics(meter: Metrics) -> bytes:
    """All counts as text, out of a registry of this server's own."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_MeterCollector(meter))
    return generate_latest(registry)


def _tool_calls(meter: Metrics) -> Iterable[Metric]:
    calls = CounterMetricFamily(
        f"{_PREFIX}_tool_calls", "Tool calls by outcome.", labels=["tool", "code"]
    )
    for (tool, code), count in sorted(meter.calls.items()):
        calls.add_metric([tool, code], count)
    yield calls
    latency = HistogramMetricFamily(
        f"{_PREFIX}_tool_call_seconds", "How long tool calls took.", labels=["tool"]
    )
    for tool, histogram in sorted(meter.call_seconds.items()):
        _fill(latency, [tool], histogram)
    yield latency
    size = CounterMetricFamily(
        f"{_PREFIX}_returned_bytes", "Bytes of the answers' text.", labels=["tool"]
    )
    for tool, count in sorted(meter.bytes_returned.items()):
        size.add_metric([tool], count)
    yield size
    refused = CounterMetricFamily(
        f"{_PREFIX}_refused_requests", "HTTP requests refused before any tool.", labels=["status"]
    )
    for status, count in sorted(meter.refusals.items()):
        refused.add_metric([str(status)], count)
    yield refused
    yield GaugeMetricFamily(
        f"{_PREFIX}_tool_calls_in_flight", "Tool calls under way.", meter.calls_in_flight
    )


def _upstream_calls(meter: Metrics) -> Iterable[Metric]:
    calls = CounterMetricFamily(
        f"{_PREFIX}_upstream_calls", "Questions to the backend by outcome.", labels=["code"]
    )
    for code, count in sorted(meter.upstream.items()):
        calls.add_metric([code], count)
    yield calls
    latency = HistogramMetricFamily(
        f"{_PREFIX}_upstream_call_seconds", "How long the backend took.", labels=[]
    )
    _fill(latency, [], meter.upstream_seconds)
    yield latency
    yield GaugeMetricFamily(
        f"{_PREFIX}_upstream_calls_in_flight",
        "Questions to the backend under way.",
        meter.upstream_in_flight,
    )
    yield CounterMetricFamily(
        f"{_PREFIX}_upstream_retries", "Requests sent once more.", meter.retries
    )


def _savings(meter: Metrics) -> Iterable[Metric]:
    lookups = CounterMetricFamily(
        f"{_PREFIX}_cache_lookups", "Questions looked up in the cache.", labels=["result"]
    )
    for name, is_hit in (("hit", True), ("miss", False)):
        lookups.add_metric([name], meter.cache[is_hit])
    yield lookups
    yield CounterMetricFamily(
        f"{_PREFIX}_joined_calls", "Questions that waited for the same one.", meter.joined
    )


def _fill(family: HistogramMetricFamily, labels: list[str], histogram: Histogram) -> None:
    family.add_metric(labels, buckets=histogram.cumulated(), sum_value=histogram.sum_s)
