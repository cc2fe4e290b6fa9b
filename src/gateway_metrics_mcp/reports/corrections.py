"""The call that a refused one was probably meant to be, for its refusal; never applied here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from gateway_metrics_mcp.errors import InvalidQueryError, Problem
from gateway_metrics_mcp.query import DATASOURCES, SHARE, Aggregation, Filter
from gateway_metrics_mcp.query.spellings import (
    guess_argument,
    guess_filters,
    is_field,
    read_name,
)
from gateway_metrics_mcp.query.suggestions import fold
from gateway_metrics_mcp.reports.arguments import (
    LISTS,
    Arguments,
    apply_fixes,
    is_left_out,
    list_entries,
)
from gateway_metrics_mcp.reports.request import ReportRequest

_ROUNDS: Final = 5
_MOST_LETTERS: Final = 2_000
"""The length of a corrected call, and of one that is corrected."""
_EXPLAIN: Final = ("explain", "dryrun", "explainonly")
"""Names of arguments that ask for `format: "explain"`."""
_TIMES: Final = ("startTs", "endTs", "timezone", "compareTo")
_TWIN: Final = {
    "query_distribution": "query_timeseries",
    "query_timeseries": "query_distribution",
}


class Reader(NamedTuple):
    """A tool's arguments, and what reads them."""

    arguments: type[Arguments]
    read: Callable[[Mapping[str, Any]], object]


class _Call(NamedTuple):
    """A tool and its arguments."""

    tool: str
    arguments: dict[str, Any]


def correct_call(tool: str, raw: Mapping[str, Any], readers: Mapping[str, Reader]) -> str:
    """The line of a refusal with the corrected call; empty if none is certain to be valid."""
    if _is_too_large(raw):
        return ""
    named = _rename(tool, raw, readers)
    if named is None:
        return ""
    call, left = _correct(_choose_tool(named, readers), readers)
    if left:
        call, left = _try_datasources(call, left, readers)
    else:
        call = _spell(call, readers[call.tool].read(call.arguments))
    places = dict.fromkeys(problem.argument for problem in left)
    if any(place not in _TIMES for place in places):
        return ""
    shown = {name: value for name, value in call.arguments.items() if name not in places}
    given = {name: value for name, value in raw.items() if name not in places}
    if not shown or (left and shown == given):
        return ""
    text = json.dumps(shown, ensure_ascii=False)
    text = text if text.isprintable() else json.dumps(shown)
    if len(text) > _MOST_LETTERS:
        return ""
    where = "" if call.tool == tool else f", with {call.tool}"
    rest = f" except {', '.join(places)}" if places else ""
    return f"Corrected{rest}{where}: {text}"


def _is_too_large(raw: object) -> bool:
    """Whether a call is longer than anyone's mistake, or nests too deeply to be written."""
    try:
        return len(json.dumps(raw)) > _MOST_LETTERS
    except RecursionError:
        return True


def _rename(tool: str, raw: Mapping[str, Any], readers: Mapping[str, Reader]) -> _Call | None:
    """The call with the arguments' published names; None if one of them is like no argument."""
    own = readers[tool].arguments.names()
    other = readers[_TWIN.get(tool, tool)].arguments.names()
    arguments: dict[str, Any] = {}
    fields: list[object] = []
    for name, value in raw.items():
        if is_left_out(value):
            continue
        argument = name if name in own else read_name(name, own) or read_name(name, other)
        argument = argument or guess_argument(name, own) or guess_argument(name, other)
        if argument is not None:
            if name == argument or argument not in raw:
                arguments[argument] = list_entries(argument, value)
        elif fold(name) in _EXPLAIN:
            arguments["format"] = "explain"
        elif "filters" in own and is_field(name):
            fields += guess_filters({name: value})
        else:
            return None
    if fields:
        arguments["filters"] = [*arguments.get("filters", ()), *fields]
    return _Call(tool, arguments)


def _choose_tool(call: _Call, readers: Mapping[str, Reader]) -> _Call:
    """The tool that takes all arguments: a comparison is a distribution, an interval a series."""
    tool, arguments = call
    if "compareTo" in arguments and tool in _TWIN:
        tool = "query_distribution"
    elif "interval" in arguments and tool in _TWIN:
        tool = "query_timeseries"
    names = readers[tool].arguments.names()
    return _Call(tool, {name: value for name, value in arguments.items() if name in names})


def _correct(call: _Call, readers: Mapping[str, Reader]) -> tuple[_Call, Sequence[Problem]]:
    """The call with all problems fixed that say how, and the problems that are left."""
    problems: Sequence[Problem] = ()
    for _ in range(_ROUNDS):
        try:
            readers[call.tool].read(call.arguments)
        except InvalidQueryError as error:
            problems = error.problems
        else:
            return call, ()
        if any(problem.fix and not problem.fix.has_answer for problem in problems):
            break
        fixed = _choose_tool(_Call(call.tool, apply_fixes(problems, call.arguments)), readers)
        if fixed == call:
            break
        call = fixed
    return call, problems


def _spell(call: _Call, question: object) -> _Call:
    """The call in the published forms: what is taken in others may be spelt oddly."""
    if not isinstance(question, ReportRequest):
        return call
    query = question.query
    sources = [value.source for value in question.values if value.source is not None]
    names = [s if isinstance(s, Aggregation) else getattr(s, "name", SHARE) for s in sources]
    order = question.order_by
    filters = [one for one in query.filters if one is not question.scope_filter]
    spelt = {
        "datasource": query.datasource,
        "aggregations": [str(name) for name in names],
        "groupBy": [*query.group_by],
        "filters": [*map(_write_filter, filters)],
        "orderBy": None if order is None else f"{'' if question.is_descending else '-'}{order}",
    }
    arguments = {name: spelt.get(name, value) for name, value in call.arguments.items()}
    return _Call(call.tool, {name: v for name, v in arguments.items() if not is_left_out(v)})


def _write_filter(one: Filter) -> dict[str, Any]:
    values = [v if isinstance(v, str) else json.dumps(v) for v in one.values]
    return {"fieldName": one.field_name, "operator": one.operator, "value": values}


def _try_datasources(
    call: _Call, left: Sequence[Problem], readers: Mapping[str, Reader]
) -> tuple[_Call, Sequence[Problem]]:
    """The call of another datasource that has all the names, where the given one lacks some."""
    is_hopeless = any(problem.fix and not problem.fix.has_answer for problem in left)
    if is_hopeless or not any(problem.argument in LISTS for problem in left):
        return call, left
    for name in DATASOURCES:
        other = _Call(call.tool, {**call.arguments, "datasource": name})
        found, problems = _correct(other, readers)
        # Only names that are right there: a guess of another datasource's would be a guess twice.
        same = all(found.arguments.get(part) == call.arguments.get(part) for part in LISTS)
        if same and all(problem.argument in _TIMES for problem in problems):
            return found, problems
    return call, left
