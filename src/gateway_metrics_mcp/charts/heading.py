"""What stands above a picture: what it shows, of which window, with which filters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway_metrics_mcp.answers.asked import Asked
from gateway_metrics_mcp.answers.cells import add_unit, keep_on_line, quote_column, quote_text
from gateway_metrics_mcp.answers.header import describe_filters, shown_filters
from gateway_metrics_mcp.answers.notes import describe_rows
from gateway_metrics_mcp.charts.chart import Drawn, name_unit
from gateway_metrics_mcp.charts.cutting import cut_end
from gateway_metrics_mcp.query.earlier import explain_earlier
from gateway_metrics_mcp.query.window import format_window

_LONGEST_TITLE: Final = 84
_LONGEST_LINE: Final = 118
"""Characters of a line of the subtitle: more would be wider than the picture."""


def write_title(asked: Asked, drawn: Sequence[Drawn]) -> str:
    """`sumCostInUSD by modelName`; a unit is added where the name has none."""
    values = ", ".join(map(_label, drawn))
    groups = ", ".join(map(quote_text, asked.question.query.group_by))
    title = f"{values} by {groups}" if groups else values
    return cut_end(title, _LONGEST_TITLE)


def write_subtitle(asked: Asked, *facts: str) -> tuple[str, ...]:
    """The datasource with its window, the filters with the scope, and what else is true."""
    question = asked.question
    earlier = question.earlier
    lines = [f"{question.query.datasource}, {format_window(question.window)}"]
    if question.query.interval is not None:
        lines[0] += f", buckets of {asked.buckets}"
    if earlier is not None:
        lines.append(f"compared with {format_window(earlier)}")
        lines += explain_earlier(question.window, earlier)
    filters = " AND ".join(describe_filters(shown_filters(asked)))
    limits = [part for part in (filters, question.scope) if part]
    lines += ["; ".join(limits)] if limits else []
    lines += map(keep_on_line, describe_rows(asked))
    lines += [fact for fact in facts if fact]
    return tuple(cut_end(line, _LONGEST_LINE) for line in lines)


def _label(one: Drawn) -> str:
    name = quote_column(one.name)
    is_said = add_unit(one.name, one.value.unit) == name
    return name if is_said else f"{name} ({name_unit(one.value)})"
