"""What is true of one answer and changes how it is to be read, a line each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from gateway_metrics_mcp.query.arithmetic import add_up
from gateway_metrics_mcp.query.model import Query
from gateway_metrics_mcp.query.result import Number
from gateway_metrics_mcp.query.virtual_models import FIELD
from gateway_metrics_mcp.query.vocabulary import METADATA_PREFIX, NEGATIVE_OPERATORS
from gateway_metrics_mcp.rendering.budget import Room
from gateway_metrics_mcp.rendering.cells import (
    NOT_APPLICABLE,
    cell_formatter,
    describe_age,
    format_cell,
    format_key,
    keep_on_line,
    quote_text,
)
from gateway_metrics_mcp.rendering.column_notes import (
    measure_notes,
    null_notes,
    price_notes,
    run_rate_notes,
)
from gateway_metrics_mcp.rendering.comparison_notes import change_notes
from gateway_metrics_mcp.reports.columns import RATIO
from gateway_metrics_mcp.reports.diagnosis import Unmatched, absent_keys
from gateway_metrics_mcp.reports.report import Asked

_MOST_LINES: Final = 5


def unmatched_notes(asked: Asked) -> list[str]:
    """Keys of the metadata that no row has, and values of a filter that match nothing."""
    keys = absent_keys(asked.result) if asked.result.points else []
    return [
        *(describe_key(asked, field) for field in keys),
        *describe_unmatched(asked, asked.unmatched),
    ]


def describe_unmatched(asked: Asked, unmatched: Sequence[Unmatched]) -> list[str]:
    """A line for each value that no row has, unless there are very many."""
    keys = [one.field for one in unmatched if one.field in asked.near_keys]
    if keys:
        return [describe_key(asked, key) for key in dict.fromkeys(keys)]
    is_part = asked.probe is not None and asked.probe.is_later_alone
    where = " in the later window" if is_part else ""
    lines = [_describe_unmatched(one, where) for one in unmatched[:_MOST_LINES]]
    rest = len(unmatched) - len(lines)
    return [*lines, f"and {rest} more values have no rows"] if rest else lines


def describe_key(asked: Asked, field: str) -> str:
    """What is said of a metadata key that no row has: it is most often misspelt."""
    key = quote_text(field.removeprefix(METADATA_PREFIX))
    near = asked.near_keys.get(field, ())
    if field.removeprefix(METADATA_PREFIX) in near:
        return f"none of these rows has the metadata key {key}, which others have"
    meant = f": did you mean {' or '.join(map(quote_text, near))}?" if near else ": case counts"
    return f"no row has the metadata key {key}{meant}"


def _describe_unmatched(one: Unmatched, where: str) -> str:
    """`modelName "gtp-4o" has no rows: did you mean openai/gpt-4o?`."""
    wrong = f"{format_key(one.field)} {_quoted(one.value)} has no rows{where}"
    if one.is_elsewhere:
        return f"{wrong} with the other filters"
    if one.near is None:
        return wrong
    if not one.near:
        return f"{wrong}, and no value comes near"
    return f"{wrong}: did you mean {' or '.join(format_key(near) for near in one.near)}?"


def _quoted(value: str) -> str:
    text = format_key(value)
    return text if text.startswith('"') else f'"{text}"'


STILL_FILLING: Final = timedelta(minutes=10)
"""Data this young may be incomplete: the API does not say how far it reaches."""

_MOST_OF_BUDGET: Final = 0.5
_FEWEST_NOTES: Final = 3
_NEW_DATA_SHARE: Final = 0.01
_LEAST_SHARE: Final = 0.0005
_OTHER_KIND: Final = {"userEmail": "virtual accounts", "virtualAccount": "users"}
_RULE_FIELDS: Final = frozenset(("loadbalanceRuleId", "ratelimitRuleId", "budgetRuleId"))


def write_notes(asked: Asked, budget: int | None = None) -> list[str]:
    """The `# ` lines below the header, the most misleading first.

    Where they would take most of the budget, the last give way, and are counted.
    """
    notes = _list_notes(asked)
    if budget is None:
        return notes
    room = Room(int(budget * _MOST_OF_BUDGET))
    shown: list[str] = []
    for note in notes:
        if len(shown) < _FEWEST_NOTES:
            room.take(note)
        elif not room.fits(note):
            break
        shown.append(note)
    rest = len(notes) - len(shown)
    if rest:
        shown.append(f"# and {rest} more notes, for which the budget is too small")
    return shown


def _list_notes(asked: Asked) -> list[str]:
    notes = [
        *describe_rows(asked),
        *_filter_notes(asked),
        *unmatched_notes(asked),
        *_gap_notes(asked),
        *price_notes(asked),
        *change_notes(asked),
        *measure_notes(asked),
        *null_notes(asked),
        *asked.question.window.notes,
        *asked.notes,
        *asked.result.notes,
        *run_rate_notes(asked),
    ]
    if asked.result.age_s is not None:
        notes.append(describe_age(asked.result.age_s))
    if is_still_filling(asked):
        notes.append("the window touches now: its last minutes may still be filling")
    if _has_rounded(asked):
        notes.append("decimals rounded (format exact: all digits)")
    return [f"# {keep_on_line(note)}" for note in notes]


def describe_rows(asked: Asked) -> list[str]:
    """What a row stands for, where its names alone would mislead: this belongs to pictures too."""
    query = asked.question.query
    return [*_overlap_notes(asked), *_subject_notes(asked), *_datasource_notes(query)]


def is_still_filling(asked: Asked) -> bool:
    """Whether the window ends so near to now that rows may still arrive."""
    return asked.question.query.end_ts > asked.now - STILL_FILLING


def _has_rounded(asked: Asked) -> bool:
    """Whether some value is shown with fewer digits than it has."""
    rows = [point.values for point in asked.result.points]
    rows += [] if asked.totals is None else [asked.totals]
    forms = [cell_formatter(asked, name) for name in asked.result.value_names]
    return asked.question.format == "table" and any(
        isinstance(value, float) and _is_rounded(form(value), value)
        for row in rows
        for value, form in zip(row, forms, strict=True)
    )


def _is_rounded(text: str, value: float) -> bool:
    """Percentages are always rounded, and read so."""
    return text != NOT_APPLICABLE and text[-1] not in "%p" and float(text) != value


def _overlap_notes(asked: Asked) -> list[str]:
    query = asked.question.query
    if not asked.rows_overlap:
        return []
    notes = ["team rows overlap: a caller in several teams counts in each, so never add them up"]
    if any(f.field_name == "team" for f in query.filters):
        notes.append("the team filter chooses callers; their other teams are rows here too")
    return notes


def _subject_notes(asked: Asked) -> list[str]:
    query = asked.question.query
    kinds = {"userEmail", "virtualaccount"} & set(query.group_by)
    rest = "left out" if asked.totals is None else "left out of the rows, not of ALL"
    if kinds == {"userEmail"}:
        return [f"rows are users only; virtual accounts are {rest}"]
    if kinds == {"virtualaccount"}:
        return [f"rows are virtual accounts only; users are {rest}"]
    if len(kinds) == 2 and "createdBySubjectType" not in query.group_by:
        return ["users and virtual accounts share one column: group by createdBySubjectType too"]
    return []


def _filter_notes(asked: Asked) -> list[str]:
    """What a negative filter leaves in or out that its words do not say (R8, R9)."""
    negative = [f for f in asked.question.query.filters if f.operator in NEGATIVE_OPERATORS]
    notes = []
    for name, operator in ((f.field_name, f.operator) for f in negative):
        what = _OTHER_KIND.get(name, f"rows where {name} is null")
        if not asked.result.is_by_rulings:
            notes.append(f"whether {name} {operator} keeps {what} is the gateway's choice")
        elif name in _OTHER_KIND:
            notes.append(f"{name} {operator} keeps all {what}")
        elif name != FIELD:
            notes.append(f"{name} {operator} also leaves out {what}")
    return notes


def _datasource_notes(query: Query) -> list[str]:
    """The traps of a datasource, said where they bite."""
    filtered = {f.field_name for f in query.filters}
    if query.datasource == "agentMetrics" and not any(n.startswith("agent") for n in filtered):
        return ["all gateway requests are counted, not only agents: filter agentName for those"]
    if query.datasource == "mcpMetrics" and not filtered & {"method", "toolName"}:
        if "method" in query.group_by:
            return []
        return ['MCP requests of all methods: for tool calls filter method IN ["tools/call"]']
    if query.datasource == "configMetrics" and not filtered & _RULE_FIELDS:
        if "configType" in query.group_by:
            return []
        return ["load-balance, rate-limit and budget rules are mixed: group by configType"]
    return []


def _gap_notes(asked: Asked) -> list[str]:
    """Where additive rows do not add up to ALL: by how much, and why."""
    if asked.of_all is None or not asked.result.points:
        return []
    summed = [v for v in asked.question.values if v.is_additive and v.unit != RATIO]
    gaps: list[tuple[str, Number, Number]] = []
    for name, of_all in zip(asked.result.value_names, asked.of_all, strict=True):
        if asked.value(name) not in summed:
            continue
        rows, total = add_up(asked.result.column(name)) or 0, of_all or 0
        if _differ(rows, total):
            gaps.append((name, rows - total, total))
    if not gaps:
        return []
    if (
        is_still_filling(asked)
        and not _structural(asked)
        and all(_is_new_data(gap, total) for _, gap, total in gaps)
    ):
        return ["rows and ALL differ by new data that arrived between the two calls"]
    listed = ", ".join(_describe_gap(asked, *gap) for gap in gaps)
    return [f"rows add up to {listed} than ALL: {_reason(asked, [gap for _, gap, _ in gaps])}"]


def _differ(rows: Number, total: Number) -> bool:
    """Whether the sums differ by more than the order of adding floats can explain."""
    if isinstance(rows, int) and isinstance(total, int):
        return rows != total
    return not math.isclose(rows, total, rel_tol=1e-9, abs_tol=1e-12)


def _is_new_data(gap: Number, total: Number) -> bool:
    return abs(gap) < _NEW_DATA_SHARE * abs(total)


def _describe_gap(asked: Asked, name: str, gap: Number, total: Number) -> str:
    amount = format_cell(asked, abs(gap), name)
    part = abs(gap) / abs(total) if total else None
    share = "" if part is None else f" ({part:.1%})" if part >= _LEAST_SHARE else " (<0.1%)"
    return f"{amount} {name}{share} {'more' if gap > 0 else 'less'}"


def _structural(asked: Asked) -> list[tuple[int, str]]:
    """Why the rows cannot add up to ALL, whatever arrives meanwhile; 1 makes them more, -1 less."""
    groups = set(asked.question.query.group_by)
    reasons = []
    if asked.rows_overlap:
        reasons.append((1, "callers in several teams count once per team"))
    kinds = {"userEmail", "virtualaccount"} & groups
    if len(kinds) == 1:
        other = "virtual accounts" if kinds == {"userEmail"} else "users"
        reasons.append((-1, f"{other} are not in the rows"))
    return reasons


def _reason(asked: Asked, gaps: Sequence[Number]) -> str:
    """What explains the gaps, each by a cause that works in its direction."""
    reasons = _structural(asked)
    signs = {1 if gap > 0 else -1 for gap in gaps}
    explained = {sign for sign, _ in reasons}
    if -1 in signs - explained and not asked.result.is_by_rulings:
        reasons.append((-1, "calls without a value of the group-by fields are not in the rows"))
    if signs - {sign for sign, _ in reasons}:
        if is_still_filling(asked) and asked.result.is_by_rulings:
            return "new data arrived between the two calls; ask again for figures that fit"
        return "the backend's two answers disagree; ask again before relying on either"
    texts = [text for _, text in reasons]
    return texts[0] if len(texts) == 1 else f"{' and '.join(texts)}, so these amounts are net"
