"""What is said when nothing matched: empty is not zero."""

from __future__ import annotations

from gateway_metrics_mcp.answers.asked import Asked
from gateway_metrics_mcp.answers.header import describe_filters, shown_filters, write_header
from gateway_metrics_mcp.answers.notes import write_notes
from gateway_metrics_mcp.result import TOTAL


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
    given = shown_filters(asked)
    counted = f"(a row counts {question.datasource.rows})"
    window = "a wider window" if question.window.is_to_now else "a wider or a later window"
    outside = _count_outside(asked)
    if outside:
        return [f"no groups: none of the {outside} rows here {counted} has the group-by fields"]
    if not given:
        return [f"no rows in this window {counted}", f"# next: {window}, or another datasource"]
    filters = " AND ".join(describe_filters(given))
    return [
        f"no rows in this window {counted} match {filters}",
        f"# next: {window}, or group by a filtered field without its filter: values match exactly",
    ]


def _count_outside(asked: Asked) -> int | float | None:
    """The rows that the ungrouped question counts though no group has any (R7)."""
    names = asked.result.value_names
    if asked.totals is None or TOTAL not in names:
        return None
    return asked.totals[names.index(TOTAL)]
