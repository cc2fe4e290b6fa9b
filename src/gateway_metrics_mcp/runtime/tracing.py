"""Spans of one tool call beside the SDK's own, and the trace handed on; no-ops unless set up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway_metrics_mcp import __version__

Step = Literal["validate", "upstream", "render"]

_PROPAGATOR: Final = TraceContextTextMapPropagator()
"""Of the trace alone: baggage could carry what the asker wrote to the gateway."""


@contextmanager
def trace_step(name: Step, **attributes: str) -> Iterator[None]:
    """A span of one step; an error leaves its code there, never its text.

    `attributes` are names of ours, such as a datasource's: no values, no tokens.
    """
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        yield  # nothing is set up
        return
    kind = SpanKind.CLIENT if name == "upstream" else SpanKind.INTERNAL
    tracer = trace.get_tracer("gateway_metrics_mcp", __version__)
    with tracer.start_as_current_span(
        name,
        kind=kind,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield
        except Exception as error:
            span.set_attribute("error.type", getattr(error, "code", "internal"))
            span.set_status(StatusCode.ERROR)
            raise


def trace_headers() -> dict[str, str]:
    """The headers by which the backend's own spans join this trace; none if nothing records."""
    headers: dict[str, str] = {}
    if trace.get_current_span().is_recording():
        _PROPAGATOR.inject(headers)
    return headers


def current_trace_id() -> str | None:
    """The trace that a log line belongs to; None if nothing records."""
    span = trace.get_current_span()
    return f"{span.get_span_context().trace_id:032x}" if span.is_recording() else None
