"""Every note that an answer can carry: how it reads, when it is true, and when it is due."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from fractions import Fraction
from typing import Any, Final, NamedTuple

from tests.reference import evaluator
from tests.truth.answers import (
    MEASURES_OF_VALUES,
    SUBJECTS,
    Truth,
    near,
    read_instant,
    texts_of,
    unquote,
)
from tests.truth.cases import Row

Check = Callable[[Truth, "re.Match[str]"], bool]
Due = Callable[[Truth], bool | None]


class Kind(NamedTuple):
    """One kind of note."""

    name: str
    pattern: str
    is_true: Check
    is_due: Due
    """Whether the answer needs it; None where that cannot be decided."""


def _unknown(_: Truth) -> bool | None:
    return None


KINDS: Final[list[Kind]] = []


def kind(name: str, pattern: str, is_due: Due = _unknown) -> Callable[[Check], Check]:
    def keep(check: Check) -> Check:
        KINDS.append(Kind(name, pattern, check, is_due))
        return check

    return keep


def always(name: str, pattern: str, is_true: Callable[[Truth], bool]) -> None:
    """A kind that is due exactly where it is true."""
    KINDS.append(Kind(name, pattern, lambda truth, _: is_true(truth), is_true))


T: Final = r"(\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?Z)"
N: Final = r"([-+]?[\d.]+(?:e[-+]\d+)?)"


# --- rows: what a row stands for ---


def _is_known_apart(t: Truth) -> bool:
    """Whether ALL tells that no two team rows share a call."""
    return t.has_all and not t.is_gateway and len(t.subjects) != 1


@kind(
    "rows: teams overlap",
    "team rows overlap: a caller in several teams counts in each, so never add them up",
    lambda t: _needs_overlap(t) and _is_known_apart(t),
)
def _overlap(t: Truth, _: re.Match[str]) -> bool:
    return bool(t.overlapping)


@kind(
    "rows: teams may overlap",
    "team rows may overlap: a caller in several teams counts in each, so never add them up",
)
def _may_overlap(t: Truth, _: re.Match[str]) -> bool:
    return "team" in t.groups and not _is_known_apart(t)


def _needs_overlap(t: Truth) -> bool:
    if t.case.tool == "list_values" or t.is_empty:
        return False
    place = t.groups.index("team") if "team" in t.groups else None
    return place is not None and bool(t.overlapping)


@kind(
    "rows: other teams",
    "the team filter chooses callers; their other teams are rows here too",
    lambda t: t.case.tool != "list_values" and bool(_other_teams(t)),
)
def _teams_of_callers(t: Truth, _: re.Match[str]) -> bool:
    return bool(_other_teams(t))


def _other_teams(t: Truth) -> set[str]:
    asked = [
        set(v) for name, op, v in t.case.conditions if name == "team" and op == "ARRAY_HAS_ANY"
    ]
    if not asked or "team" not in t.groups:
        return set()
    teams = t.values_of("team", t.all_rows(grouped=True))
    return teams - set.union(*asked)


@kind(
    "rows: one kind of subject",
    r"rows are (users|virtual accounts) only; other callers are in ALL, not in the rows",
    lambda t: (
        _needs_kind(t)
        and t.has_all
        and bool(t.left_out)
        and not t.is_empty
        and "team" not in t.groups
    ),
)
def _one_kind(t: Truth, m: re.Match[str]) -> bool:
    kinds = {"users": "user", "virtual accounts": "virtualaccount"}
    rows = t.all_rows(grouped=True)
    return (
        t.has_all
        and bool(t.left_out)
        and {r["CreatedBySubjectType"] for r in rows} == {kinds[m[1]]}
    )


def _needs_kind(t: Truth) -> bool:
    return len(t.subjects) == 1 and t.case.tool != "list_values"


@kind(
    "rows: one kind of subject, the rest excluded",
    r"rows are (users|virtual accounts) only; other callers(, if any,)? are excluded",
    lambda t: _needs_kind(t) and bool(t.left_out) and (not t.has_all or t.is_empty),
)
def _one_kind_alone(t: Truth, m: re.Match[str]) -> bool:
    return len(t.subjects) == 1 and (bool(m[2]) or bool(t.left_out))


@kind(
    "rows: one kind of subject, perhaps others",
    r"rows are (users|virtual accounts) only; other callers, if any, are in ALL, not in the rows",
)
def _one_kind_perhaps(t: Truth, _: re.Match[str]) -> bool:
    return len(t.subjects) == 1 and t.has_all and "team" in t.groups


@kind(
    "rows: two kinds in one column",
    "users and virtual accounts share one column: group by createdBySubjectType too",
    lambda t: _shares_column(t) and not t.is_empty and _has_both(t),
)
def _one_column(t: Truth, _: re.Match[str]) -> bool:
    return _shares_column(t) and not _is_of_one_kind(t)


def _shares_column(t: Truth) -> bool:
    is_asked = t.case.tool != "list_values" and len(t.subjects) == 2
    return is_asked and "createdBySubjectType" not in t.groups


def _has_both(t: Truth) -> bool:
    return len({row["CreatedBySubjectType"] for row in t.all_rows(grouped=True)}) > 1


def _is_of_one_kind(t: Truth) -> bool:
    """Whether a filter leaves one kind of subject."""
    return any(
        (name in ("userEmail", "virtualAccount") and op == "IN")
        or (name == "createdBySubjectType" and op == "IN")
        for name, op, _ in t.case.conditions
    )


def _trap(datasource: str, filters: str, group: str) -> Callable[[Truth], bool]:
    def is_due(t: Truth) -> bool:
        names = [name for name, *_ in t.case.conditions]
        is_avoided = group in t.groups or any(re.fullmatch(filters, name) for name in names)
        is_asked = t.case.tool != "list_values"
        return is_asked and t.case.datasource == datasource and not is_avoided

    return is_due


always(
    "rows: agents",
    "gateway requests of all kinds are counted, not only of agents: filter agentName for those",
    _trap("agentMetrics", "agent.*", "-"),
)
always(
    "rows: methods",
    r'MCP requests of all methods: for tool calls filter method IN \["tools/call"\]',
    _trap("mcpMetrics", "method|toolName", "method"),
)
always(
    "rows: rules",
    "load-balance, rate-limit and budget rules are mixed: group by configType",
    _trap("configMetrics", "(loadbalance|ratelimit|budget)RuleId", "configType"),
)


# --- filter: what else a negative filter keeps or drops ---


@kind("filter: keeps", r"(userEmail|virtualAccount) (\w+) keeps all (virtual accounts|users)")
def _keeps(t: Truth, m: re.Match[str]) -> bool:
    """All of them that the other filters let through are in the answer."""
    other = {"virtual accounts": "virtualaccount", "users": "user"}[m[3]]
    rest = [c for c in t.case.conditions if (c[0], c[1]) != (m[1], m[2])]
    passing = [r for r in t.all_rows(conditions=rest) if r["CreatedBySubjectType"] == other]
    shown = t.all_rows(grouped=not t.has_all)
    return len(rest) < len(t.case.conditions) and all(row in shown for row in passing)


@kind("filter: excludes null", r"([\w.]+) (\w+) also excludes rows where ([\w.]+) is null")
def _drops(t: Truth, m: re.Match[str]) -> bool:
    query = t.query(t.window, (), [m[1]])
    rows = t.all_rows()
    is_null = [
        key == (None,) for row in rows for _, key in evaluator.groups_of(row, query, t.datasource)
    ]
    return (m[1], m[2]) in [c[:2] for c in t.case.conditions] and m[1] == m[3] and not any(is_null)


@kind("filter: gateway", r"whether ([\w.]+) (\w+) keeps (.+) depends on the gateway")
def _may_keep(t: Truth, m: re.Match[str]) -> bool:
    return t.is_gateway and (m[1], m[2]) in [c[:2] for c in t.case.conditions]


# --- unmatched ---


def _value_is_seen(t: Truth, name: str, value: str, rows: Sequence[Row]) -> bool:
    operators = {op for field, op, v in t.case.conditions if field == name and value in (v, *v)}
    texts = t.values_of(name, rows)
    if "STRING_CONTAINS" in operators and any(value in text for text in texts):
        return True
    return value in texts


def _without(t: Truth, name: str) -> list[Any]:
    return [c for c in t.case.conditions if c[0] != name]


@kind(
    "unmatched: value",
    r'([\w.]+) "((?:[^"\\]|\\.)*)" has no rows( in the later window)?'
    r"( with the other filters|, and no value is similar|: did you mean (.+)\?)?",
)
def _unmatched(t: Truth, m: re.Match[str]) -> bool:
    name, value = m[1], m[2]
    windows = t.windows[:1] if m[3] else t.windows
    others = [c for c in t.case.conditions if c[0] != name or c[1] == "NOT_IN"]
    asked = [row for w in windows for row in t.rows(w, conditions=others, grouped=True)]
    there = [row for w in windows for row in t.rows(w, conditions=())]
    if _value_is_seen(t, name, value, asked):
        return False
    is_there = _value_is_seen(t, name, value, there)
    if m[4] and "other filters" in m[4]:
        return is_there
    if m[5]:
        near_names = [unquote(text) for text in m[5].split(" or ")]
        return not is_there and set(near_names) <= t.values_of(name, there)
    return not is_there or m[4] is None


@kind("unmatched: more values", r"and (\d+) more (?:values have|value has) no rows")
def _more_unmatched(_t: Truth, m: re.Match[str]) -> bool:
    return int(m[1]) > 0


@kind(
    "unmatched: key",
    r"(none of these rows|none of the rows here|none of the rows in the later window) has"
    r' the metadata key ("(?:[^"\\]|\\.)*"|[^\s":;]+)'
    r"(; others do| \(case-sensitive\)|: did you mean (.+)\?)",
    lambda t: (
        t.case.tool != "list_values"
        and not t.is_empty
        and any(
            name.startswith("metadata.") and {key[i] for key in t.keys} == {None}
            for i, name in enumerate(_key_names(t))
        )
    ),
)
def _no_key(t: Truth, m: re.Match[str]) -> bool:
    key = unquote(m[2])
    own = _keys_of(t.all_rows(grouped=True))
    everywhere = _keys_of([r for w in t.windows for r in t.rows(w, conditions=(), side=False)])
    if t.is_empty and t.case.tool != "list_values":
        windows = t.windows[: 1 if "later" in m[1] else 2]
        own = _keys_of([row for w in windows for row in t.rows(w, conditions=())])
    if m[3] == "; others do":
        return key not in own and key in everywhere
    near_keys = {unquote(text) for text in m[4].split(" or ")} if m[4] else set()
    return key not in own and near_keys <= everywhere - {key}


def _keys_of(rows: Sequence[Row]) -> set[str]:
    return {key for row in rows for key in row["Metadata"] or ()}


def _key_names(t: Truth) -> list[str]:
    """What heads the key columns: users and virtual accounts share one."""
    shared = "/".join(name for name in t.groups if name in SUBJECTS)
    names = evaluator.key_names(t.query(t.window, (), t.groups), t.datasource)
    return [shared if name == "createdBySubjectSlug" else name for name in names]


# --- gap: rows and ALL ---


def _sums(t: Truth, window: Any, name: str) -> tuple[Fraction, Fraction]:
    """What the rows add up to, and ALL."""
    if "share" in name:
        raise ValueError(name)
    text = {"total": "total"}.get(name) or _text_of(t, name)
    query = t.query(window, (), t.groups)
    rows = t.rows(window, grouped=True)
    times = [(row, len(list(evaluator.groups_of(row, query, t.datasource)))) for row in rows]
    added = sum((_exact(t.aggregate(text, [row])) * n for row, n in times), Fraction(0))
    return added, _exact(t.aggregate(text, t.rows(window)))


def _exact(value: float | None) -> Fraction:
    return Fraction(value or 0)


def _text_of(t: Truth, name: str) -> str:
    """`sum costInUSD` for `sumCostInUSD`."""
    name = re.sub("_(before|change)$", "", name)
    found = [x for x in t.names if x.replace(" ", "", 1).lower() == name.lower()]
    return (
        found[0]
        if found
        else re.sub("^(count|sum)([A-Z])", lambda m: f"{m[1]} {m[2].lower()}", name)
    )


def _summed(t: Truth) -> list[str]:
    texts = [x for x in t.names if x.startswith(("sum ", "count ")) or x == "total"]
    names = [x.split(" ")[0] + x.split(" ")[1][0].upper() + x.split(" ")[1][1:] for x in texts]
    return ["total", *names]


def _gaps(t: Truth) -> dict[str, Fraction]:
    found: dict[str, Fraction] = {}
    if not (t.has_all and not t.is_empty):
        return {}
    for name in _summed(t):
        pairs = [_sums(t, window, name) for window in t.windows]
        for suffix, (rows, whole) in zip(("", "_before"), pairs, strict=False):
            # Sums of doubles are rounded once each.
            if not math.isclose(rows, whole, rel_tol=1e-9, abs_tol=1e-12):
                found[name + suffix] = rows - whole
    return found


@kind("gap: amounts", r"rows add up to (.+) than ALL: (.+)", lambda t: bool(_gaps(t)))
def _gap(t: Truth, m: re.Match[str]) -> bool:
    gaps = _gaps(t)
    said: dict[str, Fraction] = {}
    for amount, name, which in re.findall(rf"{N} (\w+)(?: \([^)]*\))? (more|less)", m[1]):
        gap = gaps.get(name, Fraction(0))
        if not near(amount, abs(float(gap))) or (gap > 0) != (which == "more"):
            return False
        said[name] = gap
    reason = m[2]
    has_overlap, has_rest = bool(t.overlapping), bool(t.left_out)
    later = {name for name in gaps if not name.endswith("_before")}
    is_true = set(said) == (later or {name for name in gaps if name.endswith("_before")})
    if "callers in several teams count" in reason:
        is_true &= has_overlap
    if re.search("(virtual accounts|users|other callers) are not in the rows", reason):
        is_true &= has_rest
    if "these amounts are net" in reason:
        is_true &= has_overlap and has_rest
    return is_true and "disagree" not in reason and "new data" not in reason


@kind("gap: new data", "rows and ALL differ by new data that arrived between the two calls")
def _new_data(_t: Truth, _m: re.Match[str]) -> bool:
    return False  # nothing arrives here


# --- price ---


def _asks_cost(t: Truth) -> bool:
    costs = ("sum costInUSD", "costPerRequest", "costPerMillionTokens")
    return t.case.tool != "list_values" and any(name in costs for name in t.names)


def _unpriced(t: Truth, window: Any, *, grouped: bool = False) -> tuple[int, int]:
    rows = t.rows(window, grouped=grouped)
    return sum(row["CostInUSD"] is None for row in rows), len(rows)


@kind(
    "price: calls without",
    r"(.+) have no price \(often failed calls\): (spend is a lower bound|excluded from"
    r" the figures)",
    lambda t: (
        None
        if t.is_empty or not _asks_cost(t)
        else True
        if any(_unpriced(t, w, grouped=True)[0] for w in t.windows)
        else None
    ),
)
def _price(t: Truth, m: re.Match[str]) -> bool:
    for part in f"{m[1]} have no price".split("; "):
        window = t.windows["earlier window" in part]
        some = re.fullmatch(r"some calls( in the \w+ window)? have no price", part)
        exact = re.fullmatch(
            r"([\d.]+)% of the calls(?: in the \w+ window)?, (\d+) of (\d+), have no price", part
        )
        if some:
            if not _unpriced(t, window)[0]:
                return False
        elif exact is None or (int(exact[2]), int(exact[3])) != _unpriced(t, window):
            return False
    is_spend = any(name.startswith("sum ") and "ost" in name for name in t.names)
    return is_spend == ("lower bound" in m[2])


# --- change ---


@kind(
    "change: late start",
    rf"the earlier window has no (rows|rows that match) before {T} \((.+)% of it\):"
    " if the data begins there, these are not real changes",
)
def _late(t: Truth, m: re.Match[str]) -> bool:
    until = read_instant(m[2])
    start, end = t.earlier
    rows = t.rows(t.earlier)
    share = (until - start) / (end - start)
    return (
        all(r["CreatedAt"] >= until for r in rows) and near(m[3], share * 100, 0.06) and share > 0
    )


@kind(
    "change: no rows before",
    "the earlier window has no (rows|rows that match) at all: if the data begins there,"
    " these are not real changes",
    lambda t: t.is_compared and not t.is_empty and not t.rows(t.earlier) and None,
)
def _none_before(t: Truth, _: re.Match[str]) -> bool:
    return not t.rows(t.earlier)


@kind(
    "change: start not checked",
    r"not checked where the rows of the earlier window begin \(call limit reached\): if the data"
    " begins there, these are not real changes",
)
def _not_checked(t: Truth, _: re.Match[str]) -> bool:
    return t.is_compared and bool(t.rows(t.earlier))


def _starts_late(t: Truth) -> bool:
    """Whether the earlier window begins with a long time without rows."""
    if not t.is_compared or t.is_empty:
        return False
    start, end = t.earlier
    rows = t.rows(t.earlier)
    return not rows or min(r["CreatedAt"] for r in rows) >= start + (end - start) * 0.3


KINDS.append(
    Kind("change: any of the three", "-", lambda *_: True, lambda t: _starts_late(t) or None)
)
INSTEAD: Final = {
    "change: any of the three": (
        "change: late start",
        "change: no rows before",
        "change: start not checked",
    ),
    "rows: teams overlap": ("rows: teams overlap",),
}


def _lengths(t: Truth) -> tuple[timedelta, timedelta]:
    (start, end), (before, until) = t.windows
    return end - start, until - before


@kind("change: lengths", r"the windows differ in length: (.+) against (.+)")
def _differ(t: Truth, _: re.Match[str]) -> bool:
    ours, theirs = _lengths(t)
    return ours != theirs


@kind("change: clocks", rf"the clocks changed: {N} h against {N} h")
def _clocks(t: Truth, m: re.Match[str]) -> bool:
    hours = [length / timedelta(hours=1) for length in _lengths(t)]
    is_said = all(near(said, real) for said, real in zip(m.groups(), hours, strict=True))
    offsets = {i.astimezone(t.zone).utcoffset() for w in t.windows for i in w}
    return is_said and hours[0] != hours[1] and len(offsets) > 1


@kind(
    "change: overlap",
    "the windows overlap by (.+): shared rows hide change",
    lambda t: t.is_compared and t.earlier[1] > t.window[0],
)
def _windows_overlap(t: Truth, _: re.Match[str]) -> bool:
    return t.earlier[1] > t.window[0]


@kind(
    "change: in progress",
    r"the (\w+) is in progress: compared with as much of the earlier (\w+)",
)
def _in_progress(t: Truth, m: re.Match[str]) -> bool:
    return m[1] == m[2] and t.window[1] == t.case.now


def _only(t: Truth, place: int) -> list[tuple[Any, ...]]:
    if not t.is_compared or not t.groups:
        return []
    here, there = t.counts(t.windows[place]), t.counts(t.windows[1 - place])
    return [key for key in here if key not in there]


def _lists(listed: str, groups: Sequence[tuple[Any, ...]]) -> bool:
    more = re.search(r" and (\d+) more$", listed)
    shown = re.sub(r" and \d+ more$", "", listed)
    count = len(re.findall(r'(?:"(?:[^"\\]|\\.)*"|[^",])+', shown))
    return count + int(more[1] if more else 0) == len(groups)


@kind(
    "change: new",
    "new, with no row in the earlier window: (.+)",
    lambda t: bool(_only(t, 0)),
)
def _new(t: Truth, m: re.Match[str]) -> bool:
    return bool(_only(t, 0)) and _lists(m[1], _only(t, 0))


@kind(
    "change: vanished",
    "vanished, with no row in the later window: (.+)",
    lambda t: bool(_only(t, 1)),
)
def _vanished(t: Truth, m: re.Match[str]) -> bool:
    return bool(_only(t, 1)) and _lists(m[1], _only(t, 1))


# --- drivers ---


def _spend(rows: Sequence[Row]) -> Fraction:
    return sum((Fraction(row["CostInUSD"] or 0) for row in rows), Fraction(0))


def _priced(t: Truth, window: Any) -> list[Row]:
    return [row for row in t.rows(window) if row["CostInUSD"] is not None]


@kind(
    "drivers",
    rf"of the {N} USD of ALL: (.+)",
)
def _drivers(t: Truth, m: re.Match[str]) -> bool:
    parts = re.findall(rf"([a-z ]+) {N}(?=[,(]| \(|$)", m[2].partition(" (")[0])
    named = {name.strip(): Fraction(amount) for name, amount in parts}
    if sum(named.values()) != Fraction(m[1]):
        return False
    change = _spend(t.rows(t.window)) - _spend(t.rows(t.earlier))
    unit = Fraction(1, 10 ** len(m[1].partition(".")[2]))
    if abs(Fraction(m[1]) - change) > unit:
        return False
    expected = _split(t)
    return expected is None or all(
        abs(named.get(name, Fraction(0)) - value) <= unit * 3 for name, value in expected.items()
    )


def _split(t: Truth) -> dict[str, Fraction] | None:
    """The parts, by the formula, where each call is in one group; None elsewhere."""
    if "team" in t.groups or len(t.subjects) == 1:
        return _split_groups([(_priced(t, t.window), _priced(t, t.earlier))])
    if t.is_gateway or not t.has_all:
        return None
    grouped: dict[Any, tuple[list[Row], list[Row]]] = {}
    for place, window in enumerate(t.windows):
        query = t.query(window, (), t.groups)
        for row in _priced(t, window):
            for _, key in evaluator.groups_of(row, query, t.datasource):
                grouped.setdefault(key, ([], []))[place].append(row)
    return _split_groups(list(grouped.values()))


def _tokens(rows: Sequence[Row]) -> Fraction:
    return Fraction(sum((r["InputTokens"] or 0) + (r["OutputTokens"] or 0) for r in rows))


def _split_groups(groups: Sequence[tuple[list[Row], list[Row]]]) -> dict[str, Fraction]:
    """dN*t0*p0 + N1*dt*p0 + N1*t1*dp, over the groups of both windows together."""
    both = [(now, before) for now, before in groups if now and before]
    new = sum((_spend(now) for now, before in groups if not before), Fraction(0))
    gone = sum((_spend(before) for now, before in groups if not now), Fraction(0))
    found = {"new groups": new, "vanished groups": -gone}
    now = [row for ours, _ in both for row in ours]
    before = [row for _, theirs in both for row in theirs]
    if not now:
        return found
    calls, calls0 = len(now), len(before)
    cost, cost0, tokens, tokens0 = _spend(now), _spend(before), _tokens(now), _tokens(before)
    of_calls = (calls - calls0) * cost0 / calls0
    if not (tokens and tokens0):
        return {**found, "calls": of_calls, "cost per call": cost - cost0 - of_calls}
    price0, price = cost0 / tokens0, cost / tokens
    of_tokens = calls * (tokens / calls - tokens0 / calls0) * price0
    of_price = tokens * (price - price0)
    return {**found, "calls": of_calls, "tokens per call": of_tokens, "price or mix": of_price}


@kind(
    "drivers: cannot",
    r"what moved the cost \(calls, tokens per call, price\) cannot be computed here: (.+)",
)
def _no_drivers(t: Truth, _: re.Match[str]) -> bool:
    return t.is_compared and "sum costInUSD" in t.names  # that its advice helps: test_lines.py


KINDS.append(
    Kind(
        "drivers: either",
        "-",
        lambda *_: True,
        lambda t: (
            (
                t.is_compared
                and "sum costInUSD" in t.names
                and all(_priced(t, window) for window in t.windows)
                and not t.is_empty
            )
            or None
        ),
    )
)
INSTEAD["drivers: either"] = ("drivers", "drivers: cannot")


# --- measure ---

FORMULAS: Final = {
    "costPerRequest": "sum costInUSD / count costInUSD: calls that have a price",
    "costPerMillionTokens": "sum costInUSD / (sum inputTokens + sum outputTokens) x 1,000,000, of"
    " calls that have a price",
    "tokensPerRequest": "(sum inputTokens + sum outputTokens) / count inputTokens",
    "outputTokensPerSecond": "sum outputTokens / sum latencyMs x 1000, of calls with output and a"
    " latency, answers from the cache too",
    "errorRate": "total where isFailure is true / total",
    "cacheHitRate": "total where cacheLookupStatus is a hit / total",
    "guardrailBlockRate": "total where guardrailResult is a fail or block / total",
    "guardrailErrorRate": "total where guardrailResult is an error / total",
    "ruleFailureRate": "total where status is a fail or block / total",
}


@kind(
    "measure: formula",
    r"(\w+Rate|\w+Per\w+) = (.+)",
    lambda t: (any(name in FORMULAS for name in t.names) and not t.is_empty) or None,
)
def _measure(t: Truth, m: re.Match[str]) -> bool:
    name, said = m[1], m[2]
    if name not in t.names or not said.startswith(FORMULAS[name]):
        return False
    if name in MEASURES_OF_VALUES and "earlier window" not in said:
        column, words = MEASURES_OF_VALUES[name]
        # A group that R7 drops has its values in ALL alone.
        stored = {row[column] for row in t.all_rows(grouped=True)}
        for key, is_taken in (("taken: ", True), (", not ", False)):
            match = re.search(rf"{key}([^()]*?)(?:, not |\)|$)", said)
            if match and "none of" not in match[1]:
                listed = {None if x == "null" else x for x in texts_of(match[1])}
                wanted = {x for x in stored if (str(x).casefold() in words) is is_taken}
                if listed != wanted:
                    return False
    if "ALL would take more calls" in said:
        return t.has_all
    return True


@kind(
    "measure: share",
    r"share = part of ALL's (\w+)(; rows (?:may )?overlap, so shares (?:may )?add up to more)?",
    lambda t: ("share" in t.names and not t.is_empty) or None,
)
def _share(t: Truth, m: re.Match[str]) -> bool:
    is_said = m[2] is not None
    if is_said and "may" not in m[2]:
        return bool(t.overlapping)
    return "share" in t.names and (not t.overlapping or is_said)


@kind(
    "measure: not checked",
    r"not checked whether rates of 0(?: in the (?:earlier|later) window)? were recorded at all"
    r" \(.+\)",
)
def _rates_not_checked(t: Truth, _: re.Match[str]) -> bool:
    return any(name.endswith("Rate") for name in t.names)


# --- values that cannot be right ---


@kind(
    "impossible: cost", rf"cannot be right(?: in the \w+ window)?: {N} USD for (.+), in (\d+) rows?"
)
def _free(t: Truth, m: re.Match[str]) -> bool:
    """No more than all the rows cost, and of rows that there can be."""
    spent = max(float(_spend(t.rows(window, grouped=True))) for window in t.windows)
    is_of_rows = "CostInUSD" in t.case.rows[0] and int(m[3]) > 0
    return is_of_rows and 0 < float(m[1]) <= spent * len(t.keys) * 1.01


@kind("impossible: other", r"cannot be right(?: in the \w+ window)?: .+ (?:above|below) .+")
def _impossible(t: Truth, _: re.Match[str]) -> bool:
    return not t.is_empty  # the cases of tests/reports/test_impossible.py have more of them


@kind("price: from the cache", r"(\d+) of the calls with a price were answered from the cache")
def _paid_hits(t: Truth, m: re.Match[str]) -> bool:
    return 0 < int(m[1]) <= len(t.all_rows(grouped=True)) * max(len(t.keys), 1)


# --- null ---


@kind("null: not recorded", r"(.+) is null in all of these rows: (.+)")
def _null(t: Truth, m: re.Match[str]) -> bool:
    rows = t.all_rows(grouped=True)
    for name in texts_of(m[1]):
        if name in t.datasource.columns:
            is_null = all(evaluator.value_of(row, t.column(name)) is None for row in rows)
            if not is_null or m[2] != "not recorded (not 0)":
                return False
        elif not _is_null_measure(name, rows, m[2]):
            return False
    return True


def _is_null_measure(name: str, rows: Sequence[Row], why: str) -> bool:
    columns = {
        "costPerRequest": ("CostInUSD",),
        "tokensPerRequest": ("InputTokens", "OutputTokens"),
    }
    if name in columns:
        is_recorded = any(row[c] is not None for row in rows for c in columns[name])
        return not (is_recorded and why == "not recorded (not 0)")
    if why == "not recorded (not 0)":
        column = MEASURES_OF_VALUES.get(name, ("IsFailure", set()))[0]
        return name.endswith("Rate") and all(row[column] is None for row in rows)
    return name in FORMULAS


# --- window ---


@kind(
    "window: cut to now",
    rf"endTs {T} is in the future: cut to now, {T}",
)
def _cut(t: Truth, m: re.Match[str]) -> bool:
    return read_instant(m[1]) > t.case.now and read_instant(m[2]) == t.case.now == t.window[1]


@kind("window: excluded", r"(today|this \w+) excluded \(still in progress\)")
def _excluded(t: Truth, _: re.Match[str]) -> bool:
    return t.window[1] <= t.case.now


@kind("window: in progress", r"(\S+) is in progress: (.+ so far, )?up to now")
def _so_far(t: Truth, _: re.Match[str]) -> bool:
    return t.window[1] == t.case.now


# --- source ---

always("source: token", "figures cover what this token may see", lambda t: t.is_gateway)


@kind(
    "source: late start",
    r"(?:in the earlier window: )?the data of this window begin on (\S+): it has no"
    r" (files|rows) of the days before",
)
def _begins(t: Truth, m: re.Match[str]) -> bool:
    first = m[1]
    # Others' rows are not a restricted caller's to know of.
    start, end = t.windows["earlier" in m[0]]
    rows = [
        row
        for row in t.case.rows
        if start <= row["CreatedAt"] < end and evaluator.is_visible(row, t.case.caller)
    ]
    return bool(rows) and min(f"{row['CreatedAt']:%Y-%m-%d}" for row in rows) >= first


@kind(
    "source: no table",
    r"the data directory has no table (\w+): no data of this datasource was loaded",
)
def _no_table(t: Truth, _: re.Match[str]) -> bool:
    return not t.case.rows and not t.is_gateway


@kind("source: checked", r"unknown whether each value of (\S+) has rows: call limit reached")
def _unsure(t: Truth, m: re.Match[str]) -> bool:
    return m[1] in [name for name, *_ in t.case.conditions]


@kind("source: interval", r"buckets of (.+): (.+)")
def _widened(t: Truth, _: re.Match[str]) -> bool:
    return t.is_series and "interval" not in t.arguments


# --- run rate ---


def _is_this_month(t: Truth) -> bool:
    local = t.case.now.astimezone(t.zone)
    first = local.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    is_month = t.window == (first.astimezone(t.window[0].tzinfo), t.case.now)
    words = t.arguments["startTs"]
    return is_month and words in ("this month", f"{t.case.now:%Y-%m}")


@kind(
    "run rate",
    rf"run rate: at the pace so far sumCostInUSD would be {N} by {T}: extrapolated, not data",
)
def _run_rate(t: Truth, m: re.Match[str]) -> bool:
    start, now = t.window
    end = read_instant(m[2])
    local = start.astimezone(t.zone)
    following = (local.replace(day=28) + timedelta(days=5)).replace(day=1)
    spent = _spend(t.rows())
    rate = spent * Fraction((end - start) / (now - start))
    return _is_this_month(t) and end == following and near(m[1], float(rate))


@kind(
    "run rate: late start",
    "no run rate: the rows do not reach back to the start of the month",
)
def _no_run_rate(t: Truth, _: re.Match[str]) -> bool:
    start, now = t.window
    rows = t.rows()
    late = start + (now - start) * 0.075
    return _is_this_month(t) and all(row["CreatedAt"] >= late for row in rows)


@kind(
    "run rate: not checked",
    r"not checked where the rows of the month begin \(call limit reached\): if they begin"
    r" late, the"
    " run rate is too low",
)
def _rate_not_checked(t: Truth, _: re.Match[str]) -> bool:
    return _is_this_month(t)


KINDS.append(
    Kind(
        "run rate: any",
        "-",
        lambda *_: True,
        lambda t: (
            (
                t.case.tool != "list_values"
                and "sum costInUSD" in t.names
                and t.arguments["startTs"] == "this month"
                and (t.has_all or not t.groups)
                and not t.is_empty
                and any(row["CostInUSD"] is not None for row in t.rows())
            )
            or None
        ),
    )
)
INSTEAD["run rate: any"] = ("run rate", "run rate: late start", "run rate: not checked")


# --- age, filling, rounded ---


@kind("age", r"from the cache, (.+) old")
def _age(_t: Truth, _m: re.Match[str]) -> bool:
    return False  # nothing is kept here; test_lines.py asks twice


def _ends_now(t: Truth) -> bool:
    return t.case.tool != "list_values" and t.window[1] == t.case.now


always("filling: now", "the window touches now: its last minutes may still be filling", _ends_now)
always(
    "filling: just ended",
    "the window ended less than 10 minutes ago: its last minutes may still be filling",
    lambda t: (
        t.case.tool != "list_values"
        and t.case.now - timedelta(minutes=10) < t.window[1] < t.case.now
    ),
)


@kind("rounded", r"decimals rounded \(format exact: all digits\)")
def _rounded(t: Truth, _: re.Match[str]) -> bool:
    return t.arguments.get("format") == "table"  # which are: test_lines.py


# --- the verdict of an empty answer, and what to ask next ---


WHERE: Final = r"in (this|either) window \(rows are ([^)]+)\)"


@kind(
    "verdict: no groups",
    r"no groups: none of the (?:(\d+) )?rows here \(rows are .+\) has the group-by fields",
)
def _no_groups(t: Truth, m: re.Match[str]) -> bool:
    count = len(t.all_rows())
    return t.is_empty and count > 0 and (m[1] is None or int(m[1]) == count)


@kind(
    "verdict: nothing visible",
    rf"no rows {WHERE} are visible to this token: it sees its own calls and those of its teams",
)
def _invisible(t: Truth, _: re.Match[str]) -> bool:
    return t.is_restricted and not t.is_gateway and not t.all_rows(conditions=())


@kind(
    "verdict: no subjects",
    rf"no rows of (users|virtual accounts) {WHERE}( that this token may see)?",
)
def _no_subjects(t: Truth, m: re.Match[str]) -> bool:
    is_part = t.is_restricted or t.is_gateway
    return not t.all_rows(conditions=(), grouped=True) and is_part == bool(m[4])


@kind("verdict: no traffic", rf"no traffic {WHERE}: filters are not the reason")
def _silent(t: Truth, _: re.Match[str]) -> bool:
    return not t.is_restricted and not t.all_rows(conditions=())


@kind("verdict: no traffic or rights", rf"no traffic {WHERE}, or none that this token may see")
def _silent_there(t: Truth, _: re.Match[str]) -> bool:
    return t.is_gateway and not t.all_rows(conditions=())


@kind("verdict: no side", rf"no rows {WHERE} match (.+), with or without the other filters")
def _no_side(t: Truth, _: re.Match[str]) -> bool:
    return not t.all_rows(conditions=())


@kind(
    "verdict: filters",
    rf"no rows {WHERE} match (.+?)(; without the filters (there are none|there are rows|(\d+) do)"
    r"( in the later window)?( either)?)?",
)
def _no_match(t: Truth, m: re.Match[str]) -> bool:
    if t.all_rows(grouped=True):
        return False
    windows = t.windows[:1] if m[7] else t.windows
    rest = [row for w in windows for row in t.rows(w, conditions=())]
    if m[6]:
        return len({id(row) for row in rest}) == int(m[6]) or len(rest) == int(m[6])
    if m[5] == "there are rows":
        return bool(rest) or bool(
            [r for w in windows for r in t.rows(w, conditions=(), side=False)]
        )
    return m[5] != "there are none" or not rest


@kind("verdict: values", r"no values: no rows in this window \(rows are .+\)")
def _no_values(t: Truth, _: re.Match[str]) -> bool:
    if not t.all_rows(grouped=True):
        return not t.is_restricted and not t.is_gateway
    return False


@kind(
    "verdict: rows that may be seen",
    r"no values: no rows in this window \(rows are .+\) that this token may see",
)
def _no_seen_values(t: Truth, _: re.Match[str]) -> bool:
    return not t.all_rows(grouped=True)


@kind(
    "verdict: keys",
    r"no metadata keys in this window \(rows are .+\)(?: that this"
    " token may see)?",
)
def _no_keys(t: Truth, _: re.Match[str]) -> bool:
    return not _keys_of(t.rows())


@kind("verdict: search", r"none of (\d+) values? contains the text\.(?: Near: (.+))?")
def _no_hit(t: Truth, m: re.Match[str]) -> bool:
    text = t.arguments["search"].casefold()
    values = _listed(t)
    has_hit = any(text in value.casefold() for value in values)
    count = len(t.counts() if t.groups else values)
    is_true = count == int(m[1]) and not has_hit
    return is_true and (m[2] is None or {unquote(x) for x in m[2].split(", ")} <= values)


def _listed(t: Truth) -> set[str]:
    if t.arguments["field"] == "metadata":
        return _keys_of(t.rows())
    values = t.values_of(t.arguments["field"], t.rows(grouped=True))
    return {text.lower() if text in ("True", "False") else text for text in values}


def _helps(t: Truth, kept: Sequence[Any]) -> bool:
    return bool(t.all_rows(conditions=kept, grouped=True))


@kind(
    "next: wider",
    r"next: a wider(?: or a later)? window(, or another datasource|, another datasource,"
    r" or a token that sees more|, or a token that sees more)?",
)
def _wider(t: Truth, _: re.Match[str]) -> bool:
    return not t.all_rows(conditions=(), grouped=True) or not t.case.conditions


@kind("next: key", r"next: the same with a metadata key that exists \(case-sensitive\)")
def _next_key(t: Truth, _: re.Match[str]) -> bool:
    everywhere = _keys_of([r for w in t.windows for r in t.rows(w, conditions=(), side=False)])
    return bool(everywhere)


@kind(
    "next: value", r"next: the same with a value that exists: values match exactly, case-sensitive"
)
def _next_value(t: Truth, _: re.Match[str]) -> bool:
    return any("did you mean" in line for line in t.answer.lines)


@kind("next: list", r"next: list_values of (\S+) shows what exists, or a wider window")
def _next_list(t: Truth, m: re.Match[str]) -> bool:
    return any(name.startswith(m[1]) for name, *_ in t.case.conditions)


@kind("next: twice", r"next: (\S+) cannot match all its filters at once: keep one")
def _next_twice(t: Truth, m: re.Match[str]) -> bool:
    lists = [set(v) for name, _, v in t.case.conditions if name == m[1] and isinstance(v, list)]
    return len(lists) > 1 and not set.intersection(*lists)


def _single_drops(t: Truth) -> list[str]:
    """The fields without whose conditions the answer has rows."""
    names = dict.fromkeys(name for name, *_ in t.case.conditions)
    return [name for name in names if _helps(t, _without(t, name))]


@kind("next: drop named", r"next: drop (.+): rows match without (it|one)")
def _next_named(t: Truth, m: re.Match[str]) -> bool:
    return m[1].split(" or ") == _single_drops(t)


@kind(
    "next: drop several",
    "next: dropping one filter is not enough: drop more, or widen the window",
)
def _next_several(t: Truth, _: re.Match[str]) -> bool:
    return not _single_drops(t) and len(t.case.conditions) > 1


@kind("next: drop any", r"next: drop a filter \(not checked which\), or widen the window")
def _next_any(t: Truth, _: re.Match[str]) -> bool:
    return bool(t.case.conditions)


@kind("next: search", r"next: without search, or a wider(?: or a later)? window")
def _next_search(t: Truth, _: re.Match[str]) -> bool:
    return "search" in t.arguments


# --- buckets ---


def _has_buckets(t: Truth) -> bool:
    return t.is_series and not t.is_empty and t.surface == "text" and t.knows_edges


@kind(
    "buckets: first partial",
    rf"the first bucket is partial: only from {T} on",
    lambda t: _has_buckets(t) and t.edges[0] < t.window[0],
)
def _first(t: Truth, m: re.Match[str]) -> bool:
    is_first = not _has_buckets(t) or t.edges[0] < t.window[0]
    return is_first and read_instant(m[1]) == t.window[0]


@kind(
    "buckets: last partial",
    rf"the last bucket is partial, (still running|cut by the window): only to {T}",
    lambda t: _has_buckets(t) and t.edges[-1] > t.window[1],
)
def _last(t: Truth, m: re.Match[str]) -> bool:
    is_last = not _has_buckets(t) or t.edges[-1] > t.window[1]
    is_running = t.window[1] == t.case.now
    return is_last and read_instant(m[2]) == t.window[1] and is_running == (m[1] == "still running")


@kind(
    "buckets: rates",
    "rates of a partial bucket are too low: they divide by its whole width",
    lambda t: (
        _has_buckets(t)
        and any("rate" in name and " " in name for name in t.names)
        and (t.edges[0] < t.window[0] or t.edges[-1] > t.window[1])
    ),
)
def _rates(t: Truth, _: re.Match[str]) -> bool:
    return any(name.startswith("rate") for name in t.names)


@kind(
    "buckets: empty",
    r"(\d+) of (\d+) buckets had no rows at all",
    lambda t: _has_buckets(t) and t.empty_buckets > 0,
)
def _empty(t: Truth, m: re.Match[str]) -> bool:
    if not _has_buckets(t):
        return int(m[1]) < int(m[2])
    return (int(m[1]), int(m[2])) == (t.empty_buckets, len(t.edges) - 1)


@kind(
    "buckets: zone",
    r"buckets begin where those of UTC do, not of (\S+): (.+)",
)
def _utc(t: Truth, m: re.Match[str]) -> bool:
    return m[1] == t.zone.key != "UTC" and t.is_series


# --- columns, cut, link, more ---


@kind("columns: equal", r"(.+) equals total (everywhere|in every row)")
def _equal(t: Truth, m: re.Match[str]) -> bool:
    rows = t.rows(grouped=not t.has_all)
    for name in texts_of(m[1]):
        column = t.column(_text_of(t, name).partition(" ")[2])
        if any(evaluator.value_of(row, column) is None for row in rows):
            return False
    return True


@kind("columns: constant", r"all rows: (.+)")
def _constant(t: Truth, m: re.Match[str]) -> bool:
    names = _key_names(t)
    for name, i in zip(names, range(len(names)), strict=True):
        match = re.search(rf'(?:^|, ){re.escape(name)}=("(?:[^"\\]|\\.)*"|[^,]+)', m[1])
        if match:
            keys = {key[i] for key in t.keys}
            if len(keys) != 1 or str(keys.pop()) not in (
                _plain(match[1]),
                _plain(match[1]).title(),
            ):
                return False
    return True


def _plain(text: str) -> str:
    return "None" if text == "null" else unquote(text)


@kind("columns: domain", r"every (\S+) ending in @ below continues with (\S+): filters need it")
def _domain(t: Truth, m: re.Match[str]) -> bool:
    place = _key_names(t).index(m[1])
    return all(str(key[place]).endswith(f"@{m[2]}") for key in t.keys)


@kind(
    "cut: series",
    r"only (\d+) of the (\d+) requested series fit: a longer interval(?:, such as .+,)? or"
    r" a shorter window leaves room for more",
)
def _series_cut(t: Truth, m: re.Match[str]) -> bool:
    asked = min(t.arguments.get("limit") or 8, len(t.keys))
    shown = (
        len(t.answer.tables[0][1]) - 1 - any(h.startswith("other (") for h in t.answer.tables[0][1])
    )
    return int(m[1]) == shown < int(m[2]) == asked


@kind("cut: notes", r"and (\d+) more notes \(token budget too small\)")
def _notes_cut(_t: Truth, m: re.Match[str]) -> bool:
    return int(m[1]) > 0  # the number: test_lines.py


@kind(
    "cut: request",
    r"of the request the window, the datasource and the filters are shown|the request is"
    r" too long to be shown",
)
def _request_cut(t: Truth, _: re.Match[str]) -> bool:
    return bool(t.answer.body)


@kind("link", r"all (?:(\d+) rows?|buckets of all series) as CSV: resource (\S+)")
def _link(t: Truth, m: re.Match[str]) -> bool:
    return m[1] is None or int(m[1]) == len(t.keys)  # its rows: test_lines.py


def _shown_rows(t: Truth) -> int:
    if not t.answer.tables:
        return len(t.answer.pairs) > 0
    rows = t.answer.tables[0][2]
    return sum(not (row[0] == "ALL" or row[0].startswith("other (")) for row in rows)


@kind("more: rows", r"(\d+) more(?: rows?)?: same arguments with offset=(\d+)(, .+)?")
def _more(t: Truth, m: re.Match[str]) -> bool:
    count = len(_listed_rows(t)) if t.case.tool == "list_values" else len(t.keys)
    offset = t.arguments.get("offset", 0)
    reached = min(offset, count) + _shown_rows(t)
    return int(m[1]) == count - int(m[2]) > 0 and int(m[2]) == reached


def _listed_rows(t: Truth) -> list[Any]:
    text = t.arguments.get("search", "").casefold()
    if t.arguments["field"] == "metadata":
        return [k for k in _keys_of(t.rows()) if text in k.casefold()]
    keys = [key[0] for key in t.counts()]
    return [k for k in keys if not text or (k is not None and text in str(k).casefold())]


@kind(
    "more: buckets",
    r"(\d+) more buckets?: same arguments with startTs=(\S+), endTs=(\S+), interval=(.+);"
    r" or a longer interval(?:, such as .+)?",
)
def _more_buckets(t: Truth, m: re.Match[str]) -> bool:
    if not t.knows_edges:
        return True
    rest = [edge for edge in t.edges[:-1] if edge >= read_instant(m[2])]
    shown = _shown_rows(t)
    is_end = abs(read_instant(m[3]) - t.window[1]) < timedelta(seconds=1)
    return int(m[1]) == len(rest) == len(t.edges) - 1 - shown > 0 and is_end


# --- headers ---

Says = Callable[[Truth, "re.Match[str]"], bool]


def _count(t: Truth) -> int:
    return len(_listed_rows(t)) if t.case.tool == "list_values" else len(t.keys)


def _is_extent(t: Truth, m: re.Match[str]) -> bool:
    first = t.arguments.get("offset", 0) + 1
    is_right = (int(m[1]), int(m[3])) == (first, _count(t))
    return is_right and int(m[2]) - first + 1 == _shown_rows(t)


HEADER: Final[tuple[tuple[str, Says], ...]] = (
    (r"rows (\d+)-(\d+) of (\d+)", _is_extent),
    (
        r"no rows: offset is past the last of (\d+)",
        lambda t, m: t.arguments.get("offset", 0) >= _count(t) == int(m[1]),
    ),
    (
        r"(\d+) series, largest \S+ first",
        lambda t, m: not t.groups or int(m[1]) == len(t.keys),
    ),
    (
        r"top (\d+) of (\d+) series by .+",
        lambda t, m: int(m[1]) < int(m[2]) == len(t.keys),
    ),
    (
        r"(\d+) buckets? of .+",
        lambda t, m: not t.knows_edges or int(m[1]) == len(t.edges) - 1,
    ),
    (r"models only, .+", lambda t, _: t.side is True),
    (r"virtual models only, .+", lambda t, _: t.side is False),
)


def check_header(t: Truth) -> list[str]:
    """What the header says of rows, series and sides that is not so."""
    found = [
        (part, says(t, match))
        for part in t.answer.parts
        for pattern, says in HEADER
        if (match := re.fullmatch(pattern, part)) is not None
    ]
    return [part for part, is_true in found if not is_true]
