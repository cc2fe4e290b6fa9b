"""Spans of a tool call, and the trace that the gateway can join; silence unless set up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler, SamplingResult
from opentelemetry.trace import SpanKind, StatusCode

Serve = Callable[..., AbstractAsyncContextManager[Any]]

WEEK: Final = {"startTs": "2025-03-01", "endTs": "2025-03-08"}
SECRETS: Final = ("tok-planted-1234", "planted@example.com", "planted-group")
QUESTION: Final = {
    **WEEK,
    "groupBy": ["modelName"],
    "filters": [{"fieldName": "userEmail", "operator": "IN", "value": [SECRETS[1]]}],
}


@dataclass
class Switch(Sampler):
    """Samples while it is on: the provider is the process's, and can be set but once."""

    is_on: bool = False
    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)

    def should_sample(self, *given: Any, **more: Any) -> SamplingResult:
        return (ALWAYS_ON if self.is_on else ALWAYS_OFF).should_sample(*given, **more)

    def get_description(self) -> str:
        return "a switch"


@pytest.fixture(scope="session")
def switch() -> Switch:
    switch = Switch()
    provider = TracerProvider(sampler=switch, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(switch.exporter))
    trace.set_tracer_provider(provider)
    return switch


@pytest.fixture
def spans(switch: Switch) -> Iterator[Callable[[], list[ReadableSpan]]]:
    """The spans that were finished since the test began."""
    switch.exporter.clear()
    switch.is_on = True
    yield lambda: list(switch.exporter.get_finished_spans())
    switch.is_on = False


def find(spans: list[ReadableSpan], name: str, kind: SpanKind) -> list[ReadableSpan]:
    return [span for span in spans if (span.name, span.kind) == (name, kind)]


async def test_a_call_shows_its_steps_and_the_gateway_joins_its_trace(
    open_server: Serve, gateway: Any, spans: Callable[[], list[ReadableSpan]]
) -> None:
    async with open_server(backend=gateway.url) as server, server.connect() as client:
        await client.call_tool("query_distribution", QUESTION)

    (call,) = find(spans(), "tools/call query_distribution", SpanKind.SERVER)
    assert call.context is not None
    steps = [
        s for s in spans() if s.parent is not None and s.parent.span_id == call.context.span_id
    ]
    upstream = find(spans(), "upstream", SpanKind.CLIENT)
    sent = {headers["traceparent"].rpartition("-")[0] for _, headers in gateway.requests}
    assert sorted({step.name for step in steps}) == ["render", "upstream", "validate"]
    assert len(upstream) == len(gateway.requests) >= 2
    assert sent == {
        f"00-{s.context.trace_id:032x}-{s.context.span_id:016x}"
        for s in upstream
        if s.context is not None
    }
    assert {s.context.trace_id for s in steps if s.context} == {call.context.trace_id}
    assert dict(upstream[0].attributes or {}) == {"datasource": "modelMetrics"}


async def test_no_value_and_no_token_is_in_a_span(
    open_server: Serve, gateway: Any, spans: Callable[[], list[ReadableSpan]]
) -> None:
    gateway.statuses = [200, 200, 400]
    async with open_server(backend=gateway.url) as server, server.connect() as client:
        await client.call_tool("query_distribution", QUESTION)
        await client.call_tool("query_distribution", {**QUESTION, "groupBy": [SECRETS[2]]})
        await client.call_tool("query_timeseries", {**QUESTION, "interval": "1 day"})

    ours = [s for s in spans() if s.name in ("validate", "upstream", "render")]
    assert len(ours) >= 6
    assert [text for s in spans() for text in SECRETS if text in s.to_json()] == []
    assert [s.name for s in ours if s.events] == []


async def test_a_step_that_fails_leaves_the_errors_code(
    open_server: Serve, gateway: Any, spans: Callable[[], list[ReadableSpan]]
) -> None:
    gateway.statuses = [503]
    async with (
        open_server(backend=gateway.url, all_row=False, retries=0) as server,
        server.connect() as client,
    ):
        await client.call_tool("query_distribution", WEEK)
        await client.call_tool("query_distribution", {**WEEK, "datasource": "no"})

    failed = {
        (s.name, s.status.description, str((s.attributes or {})["error.type"]))
        for s in spans()
        if s.name in ("validate", "upstream") and s.status.status_code is StatusCode.ERROR
    }
    assert failed == {
        ("validate", None, "invalid_query"),
        ("upstream", None, "unavailable"),
    }


async def test_without_sampling_nothing_is_kept_and_nothing_passed_on(
    open_server: Serve, gateway: Any, switch: Switch
) -> None:
    switch.exporter.clear()
    async with open_server(backend=gateway.url) as server, server.connect() as client:
        await client.call_tool("query_distribution", QUESTION)

    assert switch.exporter.get_finished_spans() == ()
    assert gateway.requests != []
    assert [h for _, headers in gateway.requests for h in headers if "trace" in h] == []
