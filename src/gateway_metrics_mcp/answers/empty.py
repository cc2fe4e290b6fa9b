"""What is said when nothing matched: empty is not zero."""

from __future__ import annotations

from gateway_metrics_mcp.answers.asked import Asked
from gateway_metrics_mcp.answers.header import describe_filters, write_header
from gateway_metrics_mcp.answers.notes import write_notes
from gateway_metrics_mcp.result import TOTAL
from gateway_metrics_mcp.scope import FIELD


def write_empty(asked: Asked) -> str:
    """The header, then what matched nothing and the next steps that are most useful."""
    return "\n".join([write_header(asked, "rows none"), *write_notes(asked), *explain_empty(asked)])


def is_empty(asked: Asked) -> bool:
    """Whether nothing matched: no rows, or an ungrouped row that counts none (R1)."""
    result = asked.result
    if result.key_names or len(result.points) != 1 or TOTAL not in result.value_names:
        return not result.points
    return result.column(TOTAL) == (0,) and result.points[0].start is None


def explain_empty(asked: Asked) -> list[str]:
    """What matched nothing, and what to ask next."""
    question = asked.question
    given = [f for f in question.query.filters if f.field_name != FIELD]
    counted = f"(a row counts {question.datasource.rows})"
    window = "a wider window" if question.window.is_to_now else "a wider or a later window"
    if not given:
        return [f"no rows in this window {counted}", f"# next: {window}, or another datasource"]
    filters = " AND ".join(describe_filters(given))
    return [
        f"no rows in this window {counted} match {filters}",
        f"# next: {window}, or group by a filtered field without its filter: values match exactly",
    ]
