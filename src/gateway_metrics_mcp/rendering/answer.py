"""What a tool returns, whatever carries it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway_metrics_mcp.rendering.distribution import write_distribution
from gateway_metrics_mcp.rendering.json import write_json
from gateway_metrics_mcp.rendering.timeseries import write_timeseries
from gateway_metrics_mcp.rendering.value_list import Listed
from gateway_metrics_mcp.reports.report import Asked


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer; `text` is all that a model needs to read."""

    text: str
    asked: Asked | None = field(default=None, repr=False)
    """What it was written from, where rows were asked for."""
    listed: Listed | None = field(default=None, repr=False)
    """The same, where values of a field were listed."""
    image: bytes | None = field(default=None, repr=False)
    """A picture of it, as PNG."""
    notes: Sequence[str] = ()
    """What is to be known of a text that is rows alone."""
    view: Mapping[str, Any] | None = field(default=None, repr=False)
    """What an interactive view draws, which no model reads."""


def write_answer(asked: Asked, budget: int) -> str:
    """The answer in the format that was asked for, within `budget` estimated tokens."""
    if asked.question.format == "json":
        return write_json(asked, budget)
    if asked.question.query.interval is not None:
        return write_timeseries(asked, budget)
    return write_distribution(asked, budget)
