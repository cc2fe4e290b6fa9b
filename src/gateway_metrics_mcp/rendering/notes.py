"""Notes that say how to read a report's rows, or why there are none.

They are computed from the report alone; notes on single columns are in column_notes.py.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Final

from gateway_metrics_mcp.query import (
    METADATA,
    METADATA_PREFIX,
    TOTAL,
    Aggregation,
    Number,
    Query,
    add_up,
)
from gateway_metrics_mcp.query.scope import FIELD
from gateway_metrics_mcp.query.vocabulary import NEGATIVE_OPERATORS
from gateway_metrics_mcp.rendering.cells import (
    NOT_APPLICABLE,
    cell_formatter,
    describe_age,
    describe_filters,
    format_cell,
    format_key,
    quote_always,
    quote_text,
)
from gateway_metrics_mcp.rendering.column_notes import (
    change_notes,
    driver_notes,
    impossible_notes,
    measure_notes,
    null_notes,
    price_notes,
    run_rate_notes,
)
from gateway_metrics_mcp.rendering.document import Note, NoteKind, TokenBudget, Words, explain
from gateway_metrics_mcp.reports.columns import BEFORE, RATIO
from gateway_metrics_mcp.reports.diagnosis import Probe, Unmatched, absent_keys
from gateway_metrics_mcp.reports.report import Report

_MOST_LINES: Final = 5
Values = Sequence[Number | None]


def unmatched_notes(report: Report) -> list[str]:
    """Notes on metadata keys that no row has, and on filter values that match nothing."""
    keys = absent_keys(report.result) if report.result.points else []
    return [
        *(_describe_key(report, field, "of these rows") for field in keys),
        *_describe_values(report, report.unmatched),
    ]


def _describe_values(report: Report, unmatched: Sequence[Unmatched]) -> list[str]:
    """A line for each filter value without rows, at most five."""
    is_part = report.probe is not None and report.probe.is_later_alone
    where = " in the later window" if is_part else ""
    texts = [
        _describe_key(report, one.field, f"of the rows{where or ' here'}")
        if one.field in report.near_keys
        else _describe_unmatched(one, where)
        for one in unmatched
    ]
    lines = [*dict.fromkeys(texts)]
    rest = len(lines) - _MOST_LINES
    if rest <= 0:
        return lines
    more = f"and {rest} more {'values have' if rest > 1 else 'value has'} no rows"
    return [*lines[:_MOST_LINES], more]


def _describe_key(report: Report, field: str, rows: str) -> str:
    """The note on a metadata key that none of `rows` has, with similar keys: most are misspelt."""
    key = quote_text(field.removeprefix(METADATA_PREFIX))
    near = report.near_keys.get(field, ())
    lacking = f"none {rows} has the metadata key {key}"
    if field.removeprefix(METADATA_PREFIX) in near:
        return f"{lacking}; others do"
    meant = f": did you mean {' or '.join(map(quote_text, near))}?" if near else " (case-sensitive)"
    return f"{lacking}{meant}"


def _describe_unmatched(one: Unmatched, where: str) -> str:
    """`modelName "gtp-4o" has no rows: did you mean openai/gpt-4o?`."""
    wrong = f"{format_key(one.field)} {quote_always(one.value)} has no rows{where}"
    if one.is_elsewhere:
        return f"{wrong} with the other filters"
    if one.near is None:
        return wrong
    if not one.near:
        return f"{wrong}, and no value is similar"
    return f"{wrong}: did you mean {' or '.join(format_key(near) for near in one.near)}?"


_PROMPT_CACHE: Final = ("cacheReadInputTokens", "cacheCreationInputTokens")
_KINDS: Final = {"userEmail": "users", "virtualaccount": "virtual accounts"}
_OTHER_KIND: Final = {"userEmail": "virtual accounts", "virtualAccount": "users"}
# By datasource: the filters (a pattern) and the group-by field that avoid the trap, and its note.
_TRAPS: Final = {
    "agentMetrics": (
        r"agent.*",
        "",
        "gateway requests of all kinds are counted, not only of agents: filter agentName for those",
    ),
    "mcpMetrics": (
        r"method|toolName",
        "method",
        'MCP requests of all methods: for tool calls filter method IN ["tools/call"]',
    ),
    "configMetrics": (
        r"(loadbalance|ratelimit|budget)RuleId",
        "configType",
        "load-balance, rate-limit and budget rules are mixed: group by configType",
    ),
}


def list_notes(report: Report, words: Words) -> list[Note]:
    """All notes of a report, those that prevent the worst misreading first."""
    rounded = f"decimals rounded ({words.exact}: all digits)"
    found: tuple[tuple[NoteKind, Iterable[str]], ...] = (
        ("rows", describe_rows(report)),
        ("rows", _prompt_cache_notes(report)),
        ("filter", (*report.request.remarks, *_filter_notes(report))),
        ("unmatched", unmatched_notes(report)),
        ("gap", _gap_notes(report)),
        ("price", price_notes(report)),
        ("impossible", impossible_notes(report)),
        ("change", change_notes(report)),
        ("drivers", driver_notes(report)),
        ("measure", measure_notes(report)),
        ("null", null_notes(report)),
        ("window", report.request.window.notes),
        ("source", (*report.notes, *report.result.notes)),
        ("run_rate", run_rate_notes(report)),
        ("age", describe_age(report.result)),
        ("filling", _filling_notes(report)),
        ("rounded", [rounded] if _has_rounded(report, _list_rows(report)) else []),
    )
    return [Note(kind, text) for kind, texts in found for text in texts]


def fit_notes(notes: Sequence[Note], budget: int) -> list[Note]:
    """The notes that fit half of the budget, at least three; dropped ones are counted."""
    room = TokenBudget(budget // 2)
    shown: list[Note] = []
    for note in notes:
        line = f"# {note.text}"
        if len(shown) < 3:
            room.take(line)
        elif not room.take_if_fits(line):
            break  # not `continue`: the notes are in order of importance
        shown.append(note)
    return [*shown, *count_cut_notes(len(notes) - len(shown))]


def count_cut_notes(rest: int) -> list[Note]:
    """The note that counts dropped notes."""
    return [Note("cut", f"and {rest} more notes (token budget too small)")] if rest > 0 else []


def describe_rows(report: Report) -> list[str]:
    """What a row stands for, if its names alone would mislead; charts show this too."""
    query = report.request.query
    return [*_overlap_notes(report), *_subject_notes(report), *_datasource_notes(query)]


def is_still_filling(report: Report) -> bool:
    """Whether the window ends so close to now that rows may still arrive."""
    # The API does not say up to when its data are complete.
    return report.request.query.end_ts > report.now - timedelta(minutes=10)


def _filling_notes(report: Report) -> list[str]:
    if not is_still_filling(report):
        return []
    is_over = report.request.query.end_ts < report.now.replace(microsecond=0)
    which = "ended less than 10 minutes ago" if is_over else "touches now"
    return [f"the window {which}: its last minutes may still be filling"]


def keep_true_of(
    notes: Sequence[Note], report: Report, shown: Callable[[], Iterable[Values]]
) -> list[Note]:
    """The notes that are true of a page: decimals are rounded only if those `shown` are."""
    return [n for n in notes if n.kind != "rounded" or _has_rounded(report, shown())]


def _list_rows(report: Report) -> list[Values]:
    rows: list[Values] = [values for _, values, _ in report.result.plain_rows()]
    return rows + ([] if report.totals is None else [report.totals])


def _has_rounded(report: Report, rows: Iterable[Values]) -> bool:
    """Whether any value of the rows is shown with fewer digits than it has."""
    if report.request.format != "table":
        return False
    forms = [cell_formatter(report, name) for name in report.result.value_names]
    return any(
        isinstance(value, float) and _is_rounded(form(value), value)
        for row in rows
        for value, form in zip(row, forms, strict=True)
    )


def _is_rounded(text: str, value: float) -> bool:
    """Whether the text has fewer digits; percentages do not count, they are read as rounded."""
    return text != NOT_APPLICABLE and text[-1] not in "%p" and float(text) != value


def _overlap_notes(report: Report) -> list[str]:
    is_twice = report.is_counted_twice
    notes = []
    if is_twice is not False:
        overlap = "overlap" if is_twice else "may overlap"
        each = "a caller in several teams counts in each, so never add them up"
        notes.append(f"team rows {overlap}: {each}")
    if _has_other_teams(report):
        notes.append("the team filter chooses callers; their other teams are rows here too")
    return notes


def _has_other_teams(report: Report) -> bool:
    """Whether some row is a team that a filter does not name."""
    asked = [f for f in report.request.query.filters if f.operator == "ARRAY_HAS_ANY"]
    if not asked or "team" not in report.result.key_names:
        return False
    place = report.result.key_names.index("team")
    named = {text for f in asked for text in f.texts}
    return any(point.keys[place] not in named for point in report.result.points)


def _subject_notes(report: Report) -> list[str]:
    query, kind = report.request.query, report.only_kind
    if kind is not None:
        has_others = report.has_others
        if has_others is False:
            return []
        which = "other callers" if has_others else "other callers, if any,"
        has_all = report.totals is not None and report.result.points
        where = "in ALL, not in the rows" if has_all else "excluded"
        return [f"rows are {_KINDS[kind]} only; {which} are {where}"]
    has_both = set(_KINDS) <= set(query.group_by)
    if has_both and "createdBySubjectType" not in query.group_by and not _names_kind(query):
        return ["users and virtual accounts share one column: group by createdBySubjectType too"]
    return []


def _names_kind(query: Query) -> bool:
    """Whether a filter leaves subjects of one kind."""
    return any(
        f.operator not in NEGATIVE_OPERATORS
        and (f.field_name in _OTHER_KIND or f.field_name == "createdBySubjectType")
        and (f.field_name in _OTHER_KIND or len(f.texts) == 1)
        for f in query.filters
    )


def _filter_notes(report: Report) -> list[str]:
    """What a negative filter also keeps or drops: nulls and the other kind of subject (R8, R9)."""
    negative = [f for f in report.request.query.filters if f.operator in NEGATIVE_OPERATORS]
    notes = []
    for name, operator in ((f.field_name, f.operator) for f in negative):
        what = _OTHER_KIND.get(name, f"rows where {name} is null")
        if not report.result.is_by_rulings:
            notes.append(f"whether {name} {operator} keeps {what} depends on the gateway")
        elif name in _OTHER_KIND:
            # A group-by of the other kind leaves them out after all; ALL alone has them then.
            if report.of_all is not None or report.only_kind is None:
                notes.append(f"{name} {operator} keeps all {what}")
        elif name != FIELD:
            notes.append(f"{name} {operator} also excludes {what}")
    return notes


def _datasource_notes(query: Query) -> list[str]:
    """The trap of a datasource, if this query runs into it."""
    if query.datasource not in _TRAPS:
        return []
    filters, field, note = _TRAPS[query.datasource]
    is_filtered = any(re.fullmatch(filters, f.field_name) for f in query.filters)
    return [] if is_filtered or field in query.group_by else [note]


def _prompt_cache_notes(report: Report) -> list[str]:
    """Which calls the tokens of the prompt cache are from: cacheMetrics has few of all."""
    sources = [value.source for value in report.request.values]
    asked = [s.column for s in sources if isinstance(s, Aggregation) and s.column in _PROMPT_CACHE]
    if report.request.query.datasource != "cacheMetrics" or not asked:
        return []
    names = " and ".join(dict.fromkeys(asked))
    only = "only of calls that looked in the gateway's response cache, not of all calls"
    return [f"{names}: {only}"]


def _gap_notes(report: Report) -> list[str]:
    """A note if additive rows do not add up to ALL: by how much, and why."""
    if report.of_all is None or not report.result.points:
        return []
    summed = [v.name for v in report.request.values if v.is_additive and v.unit != RATIO]
    # Of the earlier window where the later one has none: what holds for both is said once.
    gaps = _find_gaps(report, summed) or _find_gaps(report, [name + BEFORE for name in summed])
    if not gaps:
        return []
    if (
        is_still_filling(report)
        and not _structural(report)
        # The two queries run side by side: rows that arrive between them make a small gap.
        and all(abs(gap) < abs(total) / 100 for _, gap, total in gaps)
    ):
        return ["rows and ALL differ by new data that arrived between the two calls"]
    listed = ", ".join(_describe_gap(report, *gap) for gap in gaps)
    return [f"rows add up to {listed} than ALL: {_reason(report, [gap for _, gap, _ in gaps])}"]


def _find_gaps(report: Report, names: Sequence[str]) -> list[tuple[str, Number, Number]]:
    """By name, where rows and ALL differ: how much more the rows are, and ALL."""
    gaps: list[tuple[str, Number, Number]] = []
    for name, of_all in zip(report.result.value_names, report.of_all or (), strict=True):
        if name not in names:
            continue
        rows, total = add_up(report.result.column(name)) or 0, of_all or 0
        if _differ(rows, total):
            gaps.append((name, rows - total, total))
    return gaps


def _differ(rows: Number, total: Number) -> bool:
    """Whether the sums differ by more than floating-point rounding."""
    if isinstance(rows, int) and isinstance(total, int):
        return rows != total
    return not math.isclose(rows, total, rel_tol=1e-9, abs_tol=1e-12)


def _describe_gap(report: Report, name: str, gap: Number, total: Number) -> str:
    amount = format_cell(report, abs(gap), name)
    part = abs(gap) / abs(total) if total else None
    # A smaller share would print as 0.0%.
    share = "" if part is None else f" ({part:.1%})" if part >= 0.0005 else " (<0.1%)"
    return f"{amount} {name}{share} {'more' if gap > 0 else 'less'}"


_REASONS: Final = {
    1: ("callers in several teams", "count once per team"),
    -1: ("other callers", "are not in the rows"),
}
_KEYLESS: Final = "calls without a value of the group-by fields"


def _structural(report: Report) -> list[int]:
    """The signs of gaps between rows and ALL that the group-by explains: 1 for more than ALL."""
    return [1] * report.rows_overlap + [-1] * (report.only_kind is not None)


def _reason(report: Report, gaps: Sequence[Number]) -> str:
    """The reasons for the gaps; each gap needs a reason of its own sign.

    A reason of the other sign can only have made a gap smaller, if it applies at all.
    """
    explained = _structural(report)
    signs = sorted({1 if gap > 0 else -1 for gap in gaps}, reverse=True)
    lacking = [sign for sign in signs if sign not in explained]
    reasons = _REASONS
    if lacking == [-1] and not report.result.is_by_rulings:
        reasons = {**_REASONS, -1: (_KEYLESS, "are not in the rows")}
    elif lacking:
        if is_still_filling(report) and report.result.is_by_rulings:
            return "new data arrived between the two calls; ask again for consistent figures"
        return "the backend's two answers disagree; ask again before relying on either"
    certain = " and ".join(" ".join(reasons[sign]) for sign in signs)
    if len(signs) > 1:
        return f"{certain}, so these amounts are net"
    others = [", if any, ".join(reasons[sign]) for sign in explained if sign not in signs]
    return "; ".join([certain, *others])


def explain_empty(report: Report, words: Words) -> list[Note]:
    """Why an answer is empty, which filter values match nothing, and what to ask next."""
    outside = _count_outside(report)
    if outside:
        counted = f"(rows are {report.request.counted})"
        # Rows that both windows share would count twice.
        many = f"{outside} rows" if report.request.earlier is None else "rows"
        verdict = f"no groups: none of the {many} here {counted} has the group-by fields"
        return [Note("verdict", verdict)]
    probe = report.probe
    if probe is None and not report.request.query.filters:
        return _explain_silence(report)
    if probe is not None and probe.total == 0 and not probe.is_later_alone:
        return _explain_silence(report)
    return _explain_filters(report, probe, words)


def _explain_silence(report: Report) -> list[Note]:
    """The notes if the window has no rows even without filters, as far as the caller sees."""
    request = report.request
    wider = "a wider window" if request.window.is_to_now else "a wider or a later window"
    where = _where(report)
    if report.only_kind is not None and report.of_all is None and report.probe is None:
        # Only ALL, or a question without the group-by, would show rows of other subjects.
        return explain(f"no rows of {_KINDS[report.only_kind]} {where}{_sight(report)}", wider)
    if report.is_restricted:
        verdict = f"no rows {where} are visible to this token"
        own = "it sees its own calls and those of its teams"
        return explain(f"{verdict}: {own}", f"{wider}, or a token that sees more")
    if report.probe is not None and report.probe.is_virtual_side:
        verdict = f"no rows {where} match {request.scope}"
        return explain(f"{verdict}, with or without the other filters", wider)
    if not report.result.is_by_rulings:
        verdict = f"no traffic {where}, or none that this token may see"
        return explain(verdict, f"{wider}, another datasource, or a token that sees more")
    verdict = f"no traffic {where}: filters are not the reason"
    return explain(verdict, f"{wider}, or another datasource")


def _sight(report: Report) -> str:
    """Whose rights the rows depend on, if they may not be all rows."""
    is_part = report.is_restricted or not report.result.is_by_rulings
    return " that this token may see" if is_part else ""


def _explain_filters(report: Report, probe: Probe | None, words: Words) -> list[Note]:
    """The notes if there are rows, but none match the filters."""
    request = report.request
    filters = " AND ".join(describe_filters(request.shown_filters)) or (request.scope or "these")
    verdict, following = explain(
        f"no rows {_where(report)} match {filters}{_describe_rest(probe)}",
        _next_step(report, probe, words),
    )
    unmatched = _describe_values(report, () if probe is None else probe.unmatched)
    return [verdict, *(Note("unmatched", text) for text in unmatched), following]


def _where(report: Report) -> str:
    where = "in this window" if report.request.earlier is None else "in either window"
    return f"{where} (rows are {report.request.counted})"


def _describe_rest(probe: Probe | None) -> str:
    """How many rows there are without the filters."""
    if probe is None or probe.total is None:
        return ""
    where = " in the later window" if probe.is_later_alone else ""
    if not probe.total:
        return f"; without the filters there are none{where} either"
    if probe.is_exact:
        return f"; without the filters {probe.total} do{where}"
    return f"; without the filters there are rows{where}"


def _next_step(report: Report, probe: Probe | None, words: Words) -> str:
    unmatched = () if probe is None else probe.unmatched
    filters = report.request.shown_filters
    if not filters:
        return "a wider window"
    if any(report.near_keys.values()):
        return "the same with a metadata key that exists (case-sensitive)"
    if any(one.near for one in unmatched):
        return "the same with a value that exists: values match exactly, case-sensitive"
    if unmatched:
        name = unmatched[0].field
        field = METADATA if name.startswith(METADATA_PREFIX) else name
        return f"{words.list_values} of {field} shows what exists, or a wider window"
    twice = _filtered_twice(report)
    if twice is not None:
        return f"{quote_text(twice)} cannot match all its filters at once: keep one"
    if report.in_the_way:
        names = " or ".join(map(quote_text, report.in_the_way))
        return f"drop {names}: rows match without {'it' if len(report.in_the_way) == 1 else 'one'}"
    if report.in_the_way is not None and len(filters) > 1:
        return "dropping one filter is not enough: drop more, or widen the window"
    if report.in_the_way is not None:
        return "a wider window"
    return "drop a filter (not checked which), or widen the window"


def _filtered_twice(report: Report) -> str | None:
    """A single-valued field with several EQUAL or IN filters that exclude each other."""
    texts: dict[str, set[object]] = {}
    for f in report.request.shown_filters:
        if f.operator in ("EQUAL", "IN"):
            known = texts.setdefault(f.field_name, {*f.values})
            known &= {*f.values}
    return next((name for name, common in texts.items() if not common), None)


def _count_outside(report: Report) -> Number | None:
    """The rows of the ungrouped query if no group has any (R7); None if ALL was not queried."""
    names, totals = report.result.value_names, report.totals
    if totals is None or TOTAL not in names:
        return None
    counted = [name for name in (TOTAL, TOTAL + BEFORE) if name in names]
    return add_up(totals[names.index(name)] for name in counted)
