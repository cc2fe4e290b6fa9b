"""OpenTelemetry spans beside the SDK's own, and trace propagation; no-ops without an SDK."""

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
"""Without baggage, which could carry a client's data to the gateway."""


@contextmanager
def trace_step(name: Step, **attributes: str) -> Iterator[None]:
    """A span of one step; of an error it gets the code, never the text.

    `attributes` are known names such as a datasource, never values or tokens.
    """
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        yield  # no SDK is set up: skip the cost of a span
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
    """Headers that let the backend join this trace; none if it is not recorded."""
    headers: dict[str, str] = {}
    if trace.get_current_span().is_recording():
        _PROPAGATOR.inject(headers)
    return headers


def current_trace_id() -> str | None:
    """The trace id for log lines; None if the trace is not recorded."""
    span = trace.get_current_span()
    return f"{span.get_span_context().trace_id:032x}" if span.is_recording() else None
