"""What is said when nothing matched: empty is not zero."""

from __future__ import annotations

from collections.abc import Sequence

from gateway_metrics_mcp.query.result import TOTAL, Number
from gateway_metrics_mcp.query.vocabulary import METADATA, METADATA_PREFIX
from gateway_metrics_mcp.rendering.budget import TokenBudget
from gateway_metrics_mcp.rendering.cells import quote_text
from gateway_metrics_mcp.rendering.header import (
    describe_filters,
    name_rows,
    shown_filters,
    write_header,
)
from gateway_metrics_mcp.rendering.notes import describe_unmatched, write_notes
from gateway_metrics_mcp.reports.diagnosis import Probe, Unmatched
from gateway_metrics_mcp.reports.report import Report


def write_empty(report: Report, budget: int) -> str:
    """The header, then what matched nothing and the next steps that are most useful.

    Notes in the middle give way where the budget has no room for them.
    """
    head, verdict = write_header(report, "rows none"), explain_empty(report)
    room = TokenBudget(budget)
    room.take(head, verdict[0], verdict[-1])
    notes = [line for line in (*write_notes(report), *verdict[1:-1]) if room.fits(line)]
    return "\n".join([head, verdict[0], *notes, *([verdict[-1]] if len(verdict) > 1 else [])])


def explain_empty(report: Report) -> list[str]:
    """The verdict, what matched nothing, and what to ask next."""
    outside = _count_outside(report)
    if outside:
        counted = f"(a row counts {name_rows(report.request)})"
        return [f"no groups: none of the {outside} rows here {counted} has the group-by fields"]
    probe = report.probe
    if probe is None and not report.request.query.filters:
        return _explain_silence(report)
    if probe is not None and probe.total == 0 and not probe.is_later_alone:
        return _explain_silence(report)
    return _explain_filters(report, probe)


def _explain_silence(report: Report) -> list[str]:
    """Nothing at all, as far as the asker can see."""
    request = report.request
    wider = "a wider window" if request.window.is_to_now else "a wider or a later window"
    counted = f"(a row counts {name_rows(request)})"
    where = _where(report)
    if report.is_restricted:
        verdict = f"no rows {where} {counted} are visible to this token"
        own = "it sees its own calls and those of its teams"
        return [f"{verdict}: {own}", f"# next: {wider}, or a token that sees more"]
    if report.probe is not None and report.probe.is_virtual_side:
        verdict = f"no rows {where} {counted} match {request.scope}"
        return [f"{verdict}, with or without the other filters", f"# next: {wider}"]
    if not report.result.is_by_rulings:
        verdict = f"no traffic {where} {counted}, or none that this token may see"
        return [verdict, f"# next: {wider}, another datasource, or a token that sees more"]
    return [
        f"no traffic {where} {counted}: this is no zero of a filter",
        f"# next: {wider}, or another datasource",
    ]


def _explain_filters(report: Report, probe: Probe | None) -> list[str]:
    """There is traffic, but none with these filters."""
    request = report.request
    filters = " AND ".join(describe_filters(shown_filters(report))) or (request.scope or "these")
    counted = f"(a row counts {name_rows(request)})"
    lines = [f"no rows {_where(report)} {counted} match {filters}{_describe_rest(probe)}"]
    unmatched = () if probe is None else probe.unmatched
    lines += [f"# {line}" for line in describe_unmatched(report, unmatched)]
    return [*lines, f"# next: {_next_step(report, probe, unmatched)}"]


def _where(report: Report) -> str:
    return "in this window" if report.request.earlier is None else "in either window"


def _describe_rest(probe: Probe | None) -> str:
    """What there is without the filters."""
    if probe is None or probe.total is None:
        return ""
    where = " in the later window" if probe.is_later_alone else ""
    if not probe.total:
        return f"; without the filters there are none{where} either"
    if probe.is_exact:
        return f"; without the filters {probe.total} do{where}"
    return f"; without the filters there are rows{where}"


def _next_step(report: Report, probe: Probe | None, unmatched: Sequence[Unmatched]) -> str:
    if not shown_filters(report):
        return "a wider window"
    if any(report.near_keys.values()):
        return "the same with a metadata key that exists: case counts"
    if any(one.near for one in unmatched):
        return "the same with a value that exists: values match exactly, case counts"
    if unmatched:
        name = unmatched[0].field
        field = METADATA if name.startswith(METADATA_PREFIX) else name
        return f"list_values of {field} shows what exists, or a wider window"
    twice = _filtered_twice(report)
    if twice is not None:
        return f"{quote_text(twice)} cannot be all of this at once: keep one of its filters"
    if probe is not None and 1 < len(probe.fields) == len(shown_filters(report)):
        return "each value exists, but not together with the other filters: drop one of them"
    if probe is not None and 0 < len(probe.fields) < len(shown_filters(report)):
        listed = ", ".join(map(quote_text, probe.fields))
        return (
            f"the values of {listed} exist: drop one of the other filters, which were not looked at"
        )
    return "drop a filter, or a wider window"


def _filtered_twice(report: Report) -> str | None:
    """A field that has one value, of which filters want several."""
    names = [f.field_name for f in shown_filters(report) if f.operator in ("EQUAL", "IN")]
    return next((name for name in names if names.count(name) > 1), None)


def _count_outside(report: Report) -> Number | None:
    """The rows that the ungrouped question counts though no group has any (R7)."""
    names = report.result.value_names
    if report.totals is None or TOTAL not in names:
        return None
    return report.totals[names.index(TOTAL)]
