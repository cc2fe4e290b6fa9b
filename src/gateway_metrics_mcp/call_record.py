"""What is known of the tool call under way: counted and logged when it ends, never its values."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final
from uuid import uuid4

from gateway_metrics_mcp.metering import CANCELLED, Meter
from gateway_metrics_mcp.telemetry import current_trace_id

logger = logging.getLogger("gateway_metrics_mcp.calls")


@dataclass(slots=True)
class CallRecord:
    """One tool call: who made it and what it asked for is not in here."""

    tool: str
    request_id: str = field(default_factory=lambda: uuid4().hex[:16])
    """Of our making: the client's own could hold anything."""
    datasource: str | None = None
    rows: int | None = None
    """Of the answer, before any are left out for its budget."""
    code: str = CANCELLED
    """Until the call has an outcome."""
    size: int = 0
    """Bytes of the answer's text."""


_CURRENT: Final[ContextVar[CallRecord | None]] = ContextVar("call_record", default=None)


def current_call() -> CallRecord | None:
    """The call that this task works for."""
    return _CURRENT.get()


def describe_call(*, datasource: str | None = None, rows: int | None = None) -> None:
    """Say of the call under way what is known by now; `datasource` is one of the catalog's."""
    record = _CURRENT.get()
    if record is not None:
        record.datasource = datasource or record.datasource
        record.rows = record.rows if rows is None else rows


@contextmanager
def watch_call(tool: str, meter: Meter) -> Iterator[CallRecord]:
    """Count and log one call of a tool of the registry; the block sets its code and size."""
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
        "bytes": record.size,
        "trace_id": current_trace_id(),
    }
    known = {name: value for name, value in fields.items() if value is not None}
    logger.info("tool call", extra={"fields": known})
