"""What is said when nothing matched: empty is not zero."""

from __future__ import annotations

from collections.abc import Sequence

from gateway_metrics_mcp.answers.absent import describe_unmatched
from gateway_metrics_mcp.answers.asked import Asked
from gateway_metrics_mcp.answers.budget import Room
from gateway_metrics_mcp.answers.cells import quote_text
from gateway_metrics_mcp.answers.header import (
    describe_filters,
    name_rows,
    shown_filters,
    write_header,
)
from gateway_metrics_mcp.answers.notes import write_notes
from gateway_metrics_mcp.computing.probing import Probe, Unmatched
from gateway_metrics_mcp.query.vocabulary import METADATA, METADATA_PREFIX
from gateway_metrics_mcp.result import TOTAL, Number
from gateway_metrics_mcp.values import BEFORE


def write_empty(asked: Asked, budget: int) -> str:
    """The header, then what matched nothing and the next steps that are most useful.

    Notes in the middle give way where the budget has no room for them.
    """
    head, verdict = write_header(asked, "rows none"), explain_empty(asked)
    room = Room(budget)
    room.take(head, verdict[0], verdict[-1])
    notes = [line for line in (*write_notes(asked), *verdict[1:-1]) if room.fits(line)]
    return "\n".join([head, verdict[0], *notes, *([verdict[-1]] if len(verdict) > 1 else [])])


def is_empty(asked: Asked) -> bool:
    """Whether nothing matched: no rows, or an ungrouped row that counts none (R1)."""
    result = asked.result
    if result.key_names or len(result.points) != 1 or TOTAL not in result.value_names:
        return not result.points
    if result.points[0].start is not None:
        return False
    counts = [name for name in (TOTAL, TOTAL + BEFORE) if name in result.value_names]
    return all(result.column(name) == (0,) for name in counts)


def explain_empty(asked: Asked) -> list[str]:
    """The verdict, what matched nothing, and what to ask next."""
    outside = _count_outside(asked)
    if outside:
        counted = f"(a row counts {name_rows(asked.question)})"
        return [f"no groups: none of the {outside} rows here {counted} has the group-by fields"]
    probe = asked.probe
    if probe is None and not asked.question.query.filters:
        return _explain_silence(asked)
    if probe is not None and probe.total == 0:
        return _explain_silence(asked)
    return _explain_filters(asked, probe)


def _explain_silence(asked: Asked) -> list[str]:
    """Nothing at all, as far as the asker can see."""
    question = asked.question
    wider = "a wider window" if question.window.is_to_now else "a wider or a later window"
    counted = f"(a row counts {name_rows(question)})"
    if asked.is_restricted:
        verdict = f"no rows in this window {counted} are visible to this token"
        own = "it sees its own calls and those of its teams"
        return [f"{verdict}: {own}", f"# next: {wider}, or a token that sees more"]
    if asked.probe is not None and asked.probe.is_virtual_side:
        verdict = f"no rows in this window {counted} match {question.scope}"
        return [f"{verdict}, with or without the other filters", f"# next: {wider}"]
    if not asked.result.is_by_rulings:
        verdict = f"no traffic in this window {counted}, or none that this token may see"
        return [verdict, f"# next: {wider}, another datasource, or a token that sees more"]
    return [
        f"no traffic in this window {counted}: this is no zero of a filter",
        f"# next: {wider}, or another datasource",
    ]


def _explain_filters(asked: Asked, probe: Probe | None) -> list[str]:
    """There is traffic, but none with these filters."""
    question = asked.question
    filters = " AND ".join(describe_filters(shown_filters(asked))) or (question.scope or "these")
    counted = f"(a row counts {name_rows(question)})"
    without = "" if not probe or not probe.total else "; without the filters there are rows"
    if probe is not None and probe.is_exact and probe.total:
        without = f"; without the filters {probe.total} do"
    lines = [f"no rows in this window {counted} match {filters}{without}"]
    unmatched = () if probe is None else probe.unmatched
    lines += [f"# {line}" for line in describe_unmatched(asked, unmatched)]
    return [*lines, f"# next: {_next_step(asked, probe, unmatched)}"]


def _next_step(asked: Asked, probe: Probe | None, unmatched: Sequence[Unmatched]) -> str:
    if not shown_filters(asked):
        return "a wider window"
    if any(asked.near_keys.values()):
        return "the same with a metadata key that exists: case counts"
    if any(one.near for one in unmatched):
        return "the same with a value that exists: values match exactly, case counts"
    if unmatched:
        name = unmatched[0].field
        field = METADATA if name.startswith(METADATA_PREFIX) else name
        return f"list_values of {field} shows what exists, or a wider window"
    if probe is not None and probe.fields and len(probe.fields) == len(shown_filters(asked)):
        return "each value exists, but not together with the other filters: drop one of them"
    if probe is not None and probe.fields:
        listed = ", ".join(map(quote_text, probe.fields))
        return (
            f"the values of {listed} exist: drop one of the other filters, which were not looked at"
        )
    return "drop a filter, or a wider window"


def _count_outside(asked: Asked) -> Number | None:
    """The rows that the ungrouped question counts though no group has any (R7)."""
    names = asked.result.value_names
    if asked.totals is None or TOTAL not in names:
        return None
    return asked.totals[names.index(TOTAL)]
