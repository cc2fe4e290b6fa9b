"""What was asked -> the text of the answer, in the format that was asked for."""

from __future__ import annotations

from gateway_metrics_mcp.answers.as_json import write_json
from gateway_metrics_mcp.answers.asked import Asked
from gateway_metrics_mcp.answers.table import write_distribution
from gateway_metrics_mcp.answers.timeseries import write_timeseries


def write_answer(asked: Asked, budget: int) -> str:
    """The answer in the format that was asked for, within `budget` estimated tokens."""
    if asked.question.format == "json":
        return write_json(asked, budget)
    if asked.question.query.interval is not None:
        return write_timeseries(asked, budget)
    return write_distribution(asked, budget)
