"""Log lines, one record per tool call, and trace spans. Counters are in metrics.py."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import perf_counter
from typing import Any, Final, Literal
from uuid import uuid4

from gateway_metrics_mcp import __version__
from gateway_metrics_mcp.runtime.metrics import CANCELLED, Metrics

Step = Literal["validate", "upstream", "render"]


def trace_step(name: Step, **attributes: str) -> AbstractContextManager[None]:
    """A span around one step; it records an error's code, never its text.

    `attributes` are known names such as a datasource, never values or tokens.
    """
    if not _may_trace():
        return nullcontext()
    from opentelemetry import trace

    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return nullcontext()  # no SDK is set up: skip the cost of a span
    return _span(name, attributes)


def _may_trace() -> bool:
    """Whether the tracing API is imported, as by whatever sets up an SDK, and by the server's SDK.

    `ask` would import it for nothing.
    """
    return "opentelemetry.trace" in sys.modules


@contextmanager
def _span(name: Step, attributes: Mapping[str, str]) -> Iterator[None]:
    from opentelemetry import trace
    from opentelemetry.trace import SpanKind, StatusCode

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
    if not _may_trace():
        return headers
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    if trace.get_current_span().is_recording():
        # No baggage: it could carry a client's data to the gateway.
        TraceContextTextMapPropagator().inject(headers)
    return headers


def current_trace_id() -> str | None:
    """The trace id for log lines; None if the trace is not recorded."""
    if not _may_trace():
        return None
    from opentelemetry import trace

    span = trace.get_current_span()
    return f"{span.get_span_context().trace_id:032x}" if span.is_recording() else None


logger = logging.getLogger("gateway_metrics_mcp.calls")

Format = Literal["text", "json"]

_RAW: Final = re.compile("[^ -~]")
_BLANK: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Characters that count as printable and show nothing."""


def escape(text: str, kept: str = "\t") -> str:
    """The text with escapes for what could forge a line, control a terminal, reorder or hide text.

    `kept` characters stay as they are.
    """

    def show(match: re.Match[str]) -> str:
        letter = match[0]
        is_seen = letter.isprintable() and _BLANK.match(letter) is None
        return letter if is_seen or letter in kept else f"\\u{ord(letter):04x}"

    return _RAW.sub(show, text)


@dataclass(slots=True)
class CallRecord:
    """The log record of one tool call; the caller and the arguments are never logged."""

    tool: str
    datasource: str | None = None
    rows: int | None = None
    """All rows of the report, including those that the token budget omits."""
    code: str = CANCELLED
    """The outcome; a cancelled call keeps the default."""
    size: int = 0
    """Bytes of the answer's text."""
    _id: str = field(default="", init=False)

    @property
    def request_id(self) -> str:
        """Generated here: the client's own id could contain anything."""
        self._id = self._id or uuid4().hex[:16]  # when first asked: most calls log nothing
        return self._id


# A context variable, because libraries' log lines need the request id and take no argument of ours.
_CURRENT: Final[ContextVar[CallRecord | None]] = ContextVar("call_record", default=None)


def describe_call(*, datasource: str | None = None, rows: int | None = None) -> None:
    """Add known names and counts to the current call's record; never a value from a caller."""
    record = _CURRENT.get()
    if record is not None:
        record.datasource = datasource or record.datasource
        record.rows = record.rows if rows is None else rows


@contextmanager
def watch_call(tool: str, meter: Metrics) -> Iterator[CallRecord]:
    """Count and log one call of a known tool; the block sets its code and size."""
    record = CallRecord(tool)
    token = _CURRENT.set(record)
    begun = perf_counter()
    meter.calls_in_flight += 1
    try:
        yield record
    finally:
        seconds = perf_counter() - begun
        meter.calls_in_flight -= 1
        meter.count_call(tool, record.code, seconds, record.size)
        if logger.isEnabledFor(logging.INFO):
            _log(record, seconds)
        _CURRENT.reset(token)


def _log(record: CallRecord, seconds: float) -> None:
    fields = {
        "tool": record.tool,
        "datasource": record.datasource,
        "code": record.code,
        "duration_ms": round(seconds * 1000, 1),
        "rows": record.rows,
        "bytes": record.size or None,  # the API counts its bytes itself, after the call
        "trace_id": current_trace_id(),
    }
    known = {name: value for name, value in fields.items() if value is not None}
    logger.info("tool call", extra={"fields": known})


def configure_logging(level: str, format_: Format) -> None:
    """Configure logging. Call it before the MCP SDK does: the first handler stays."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if format_ == "json" else TextFormatter())
    logging.basicConfig(level=level, handlers=[handler])
    # At DEBUG httpcore logs the gateway's response headers, including cookies.
    logging.getLogger("httpcore").setLevel(logging.INFO)
    if level == "INFO":  # the SDK's INFO lines only say that a request started and ended
        logging.getLogger("mcp").setLevel(logging.WARNING)


def announce(text: str) -> None:
    """Print a line for operators at any log level: plain, or JSON if the log is JSON."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler.formatter, JsonFormatter):
            values = ("gateway_metrics_mcp", logging.INFO, __file__, 0, text, (), None)
            handler.handle(logging.LogRecord(*values))
            return
    print(f"gateway-metrics-mcp: {escape(text)}", file=sys.stderr)  # noqa: T201 - stderr is ours


class TextFormatter(logging.Formatter):
    """Time, level, logger, message, then further fields as `name=value`."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line without a traceback."""
        fields = "".join(f" {name}={value}" for name, value in _fields(record).items())
        return escape(super().formatMessage(record) + fields)

    def format(self, record: logging.LogRecord) -> str:
        """The line, and those of a traceback, indented: its last can hold what looks like a record.

        Another handler may have formatted the traceback before, without escapes.
        """
        line, *rest = super().format(record).split("\n")
        return "\n".join([line, *(f"  {escape(text)}" for text in rest)])


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """The object; a traceback is one of its strings."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return escape(json.dumps(line, default=str))


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    call = _CURRENT.get()
    request = {} if call is None else {"request_id": call.request_id}
    return {**request, **getattr(record, "fields", {})}
