"""What a tool returns, whatever carries it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway_metrics_mcp.rendering.distribution import write_distribution
from gateway_metrics_mcp.rendering.json import write_json
from gateway_metrics_mcp.rendering.timeseries import write_timeseries
from gateway_metrics_mcp.rendering.value_list import Listed
from gateway_metrics_mcp.reports.report import Report


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer; `text` is all that a model needs to read."""

    text: str
    report: Report | None = field(default=None, repr=False)
    """What it was written from, where rows were asked for."""
    listed: Listed | None = field(default=None, repr=False)
    """The same, where values of a field were listed."""
    image: bytes | None = field(default=None, repr=False)
    """A picture of it, as PNG."""
    notes: Sequence[str] = ()
    """What is to be known of a text that is rows alone."""
    view: Mapping[str, Any] | None = field(default=None, repr=False)
    """What an interactive view draws, which no model reads."""


def write_answer(report: Report, budget: int) -> str:
    """The answer in the format that was asked for, within `budget` estimated tokens."""
    if report.request.format == "json":
        return write_json(report, budget)
    if report.request.query.interval is not None:
        return write_timeseries(report, budget)
    return write_distribution(report, budget)
