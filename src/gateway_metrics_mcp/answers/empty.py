"""What is said when nothing matched: empty is not zero."""

from __future__ import annotations

from gateway_metrics_mcp.answers.asked import Asked
from gateway_metrics_mcp.answers.header import describe_filters, write_header
from gateway_metrics_mcp.answers.notes import write_notes
from gateway_metrics_mcp.scope import FIELD


def write_empty(asked: Asked) -> str:
    """The header, then what matched nothing and the next steps that are most useful."""
    question = asked.question
    given = [f for f in question.query.filters if f.field_name != FIELD]
    counted = f"(a row counts {question.datasource.rows})"
    lines = [write_header(asked, "rows none"), *write_notes(asked)]
    if given:
        filters = " AND ".join(describe_filters(given))
        lines.append(f"no rows in this window {counted} match {filters}")
        lines.append("# next: the same without the filters, or a wider window (earlier startTs)")
    else:
        lines.append(f"no rows in this window {counted}")
        lines.append("# next: a wider window (earlier startTs), or another datasource")
    return "\n".join(lines)
