"""Other spellings of the API's names, and words that people use for what it measures.

Imported when a name is not exactly the API's; the words are in words.json. What begins with
`read_` has one meaning and is taken; what begins with `guess_` is the likeliest one, which a
refusal suggests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any, Final, NamedTuple

from gateway_metrics_mcp.query.suggestions import closest_matches, find_misspelt, fold
from gateway_metrics_mcp.query.vocabulary import (
    AGGREGATION_TYPES,
    DATASOURCES,
    LIST_OPERATORS,
    METADATA,
    METADATA_PREFIX,
    OPERATORS,
    AggregationType,
    DatasourceName,
    Operator,
)


@cache
def _load() -> dict[str, Any]:
    text = resources.files(__package__).joinpath("words.json").read_text("utf-8")
    words: dict[str, Any] = json.loads(text)
    return words


def _has(kind: str, word: str) -> bool:
    """Whether a list of words.json has a word."""
    return word in _load()[kind].split()


def _find(kind: str, word: str, names: Iterable[str] | None = None) -> str | None:
    """The name, of these if given, for which words.json lists a word."""
    of_names: dict[str, str] = _load()[kind]
    allowed = of_names if names is None else names
    return next((name for name in allowed if word in of_names.get(name, "").split()), None)


# --- operators and filters ---


def read_operator(text: str) -> tuple[Operator | None, bool]:
    """The operator in another spelling (`=`, `gte`, `not in`), and whether it is `is not null`."""
    word = re.sub(r"[\s_-]+", "", text.casefold())
    if _has("notNull", word):
        return "IS_NULL", True
    name = _find("operators", word)
    named = (one for one in OPERATORS if one == name or fold(one) == word)
    return next(named, None), False


def guess_operator(
    given: str, value: object, allowed: Iterable[Operator]
) -> tuple[Operator] | tuple[Operator, str] | tuple[()]:
    """The likeliest allowed operator, of the same sense, and its value if that changes too."""
    pattern = _read_pattern(given, value)
    if pattern is not None and pattern[0] in allowed:
        return pattern
    word = re.sub(r"[\s_-]+", "", given.casefold())
    # A suggestion must never say the opposite.
    is_negative = _is_negative(given) or "!" in word
    fitting = [one for one in allowed if _is_negative(one) == is_negative]
    if len(fitting) == 1 and read_operator(given)[0] in ("EQUAL", "IN", "NOT_EQUAL", "NOT_IN"):
        return (fitting[0],)
    said = _find("likelyOperators", word, fitting)
    near = [said] if said else closest_matches(given, fitting)[:1]
    found = [one for one in fitting if one in near]
    return (found[0],) if found else ()


def _read_pattern(operator: str, value: object) -> tuple[Operator, str] | None:
    """The operator and value of SQL's `like "gpt%"`; None for anything else."""
    values = [*value] if isinstance(value, list | tuple) else [value]
    if not _has("patterns", fold(operator)) or len(values) != 1 or not isinstance(values[0], str):
        return None
    text, plain = values[0], values[0].strip("%*")
    ends: dict[tuple[bool, bool], Operator] = {
        (True, False): "STRING_STARTS_WITH",
        (False, True): "STRING_ENDS_WITH",
    }
    is_open = (text[-1:] in ("%", "*"), text[:1] in ("%", "*"))
    return (ends.get(is_open, "STRING_CONTAINS"), plain) if plain else None


def _is_negative(operator: str) -> bool:
    """Whether an operator keeps the rows that are not so."""
    return bool(re.search(r"(?i)\b(?:not|none)|_no(?:t|ne)|not\b|n't", operator))


_FIELD: Final = r"""\s*["'`]?([A-Za-z_][\w.\-]*)["'`]?\s*(.*)"""
_BOTH: Final = r"\s+(?:and|AND|&&)\s+"
_MOST_TEXT: Final = 1_000
_ALL_OF: Final = ("and", "all", "allof", "must")
_ONE_OF: Final = ("or", "any", "anyof", "not", "should")
_FILTER_KEYS: Final = frozenset(("fieldName", "metadataKey", "operator", "value"))


def guess_filters(item: object) -> list[dict[str, object]]:
    """The filters in `{"team": "x"}`, `{"field", "op", "value"}`, `team = 'x'`; else none.

    Also in a list of a field, an operator and a value, and in `{"and": [...]}`, which is what
    several filters mean; `{"or": [...]}` cannot be asked.
    """
    if isinstance(item, str):
        parts = re.split(_BOTH, item) if len(item) <= _MOST_TEXT else []
        read = [_read_condition(part) for part in parts]
        if not all(read):
            read = [_read_condition(item)]
        return [one for one in read if one is not None] if parts else []
    if isinstance(item, list | tuple) and len(item) == 3:
        name, operator, value = item
        is_triple = isinstance(name, str) and isinstance(operator, str)
        return [_make_filter(name, operator, value)] if is_triple else []
    if not isinstance(item, Mapping) or not all(isinstance(key, str) for key in item):
        return []
    if len(item) == 1 and (word := fold(next(iter(item)))) in (*_ALL_OF, *_ONE_OF):
        parts = next(iter(item.values()))
        if word in _ONE_OF or not isinstance(parts, list | tuple):
            return []
        guessed = [guess_filters(part) for part in parts]
        return [one for found in guessed for one in found] if all(guessed) else []
    named = {_find("filterParts", fold(key)): value for key, value in item.items()}
    if None not in named and len(named) == len(item) and isinstance(named.get("fieldName"), str):
        return [{str(name): value for name, value in named.items()}]
    if _FILTER_KEYS & set(item):
        return []
    return [one for name, value in item.items() for one in _read_pair(name, value)]


def _read_pair(name: str, value: object) -> list[dict[str, object]]:
    """`"team": "x"`, `"team": ["x", "y"]` and `"latencyMs": {"$gt": 5}`."""
    if not isinstance(value, Mapping):
        operator = "IN" if isinstance(value, list | tuple) else "EQUAL"
        return [] if value is None else [_make_filter(name, operator, value)]
    signs = {str(sign).removeprefix("$"): one for sign, one in value.items()}
    return [_make_filter(name, read_operator(sign)[0] or sign, one) for sign, one in signs.items()]


def _make_filter(name: str, operator: str, value: object) -> dict[str, object]:
    return {"fieldName": name, "operator": operator, "value": value}


def _read_condition(text: str) -> dict[str, object] | None:
    """`team = 'platform'`, `model in (a, b)`, `errorCode is not null`."""
    match = re.fullmatch(_FIELD, text, re.DOTALL)
    if match is None:
        return None
    name, rest = match.groups()
    signs = re.match(r"[=!<>~:]+", rest)
    ends = [signs.end()] if signs else [word.end() for word in re.finditer(r"[A-Za-z_]+", rest)]
    for end in reversed(ends[:4]):  # `is not null` before `is`
        sign, after = rest[:end].strip(), rest[end:].strip()
        operator, is_negated = read_operator("=" if sign == ":" else sign)
        if operator == "IS_NULL":
            return _make_filter(name, operator, not is_negated)
        if operator is not None and after:
            return _make_filter(name, operator, _read_text(after, operator))
    return None


def _read_text(text: str, operator: Operator) -> object:
    """The value after an operator, several for one that takes a list."""
    if operator not in LIST_OPERATORS and operator != "BETWEEN":
        return text.strip("\"'`")
    separator = r"\s+and\s+|," if operator == "BETWEEN" else ","
    parts = re.split(separator, text.strip("()[] "), flags=re.IGNORECASE)
    return [part.strip().strip("\"'`") for part in parts]


# --- names ---

_UNITS: Final = ("ms", "inusd", "milliseconds")


def read_name(name: str, names: Iterable[str], *, without_unit: bool = False) -> str | None:
    """The one name with the same letters and digits; `without_unit` also takes `latency`.

    None if there is none, or several.
    """
    wanted = fold(name)
    spelt = {wanted}
    if without_unit:
        spelt |= {wanted + unit for unit in _UNITS} | {re.sub(r"usd$", "inusd", wanted)}
    found = [known for known in names if fold(known) in spelt]
    return found[0] if len(found) == 1 else None


# --- aggregations ---

_PERCENTILE: Final = (
    r"(?:p|perc|percentile|quantile)(\d+(?:\.\d+)?)"
    r"|(\d+(?:\.\d+)?)(?:st|nd|rd|th)?(?:p|perc|percentile)"
)
_CALL: Final = r"(?i)([\w .]+?)\s*\(\s*(distinct\s+)?([^()]*?)\s*\)"
_MOST_WORDS: Final = 3
"""The words of a function: `95th percentile of`."""
_LONGEST: Final = 256


class Call(NamedTuple):
    """A function and a column, as far as a text names them."""

    type: AggregationType | None
    column: str


def read_call(text: str) -> Call:
    """The function and the rest of `SUM(x)`, `P95 x`, `sum_x`, `x p95`, `average of x`.

    The function is None if none is named; the rest is as it was written.
    """
    text = re.sub(r"(?i)\s+as\s+\w+$", "", text.strip()[:_LONGEST])
    if match := re.fullmatch(_CALL, text):
        function = read_function(match[1])
        if match[2] and function == "count":
            function = "countDistinct"
        return Call(function, match[3]) if function else Call(None, text)
    words = [word for word in re.split(r"[\s_:()]+", text) if word]
    for size in range(min(_MOST_WORDS, len(words)), 0, -1):
        first = read_function(" ".join(words[:size]))
        last = read_function(" ".join(words[-size:]))
        rest = words[size:] if first else words[:-size]
        if (first or last) and (rest or len(words) == 1):
            return _skip_fillers(first or last, rest)
    return _split_camel(text)


def _skip_fillers(function: AggregationType | None, words: list[str]) -> Call:
    """The rest without `of` and `the`; `count distinct x` is one function."""
    while words and words[0].lower() in ("of", "the", "distinct"):
        if words[0].lower() == "distinct" and function == "count":
            function = "countDistinct"
        words = words[1:]
    return Call(function, " ".join(words))


def _split_camel(text: str) -> Call:
    """`SumCostInUSD`, `averageLatency`: a function before a capital letter."""
    for size in range(1, len(text)):
        if text[size].isupper() and (function := read_function(text[:size])):
            return Call(function, text[size:])
    return Call(None, text)


def read_function(text: str) -> AggregationType | None:
    """The function in another spelling: `SUM`, `average`, `95th percentile`."""
    word = fold(re.sub(r"(?i)\bof$", "", text.strip()))
    percentile = re.fullmatch(_PERCENTILE, re.sub(r"[\s_]+", "", text.casefold()))
    if percentile is not None:
        word = "p" + (percentile[1] or percentile[2]).replace(".", "")
    name = _find("functions", word)
    return next((one for one in AGGREGATION_TYPES if one == name or fold(one) == word), None)


def is_total(text: str) -> bool:
    """Whether a word means what every answer has as `total`: calls, requests, rows, `*`."""
    return text.strip() in ("*", "1") or _has("counted", fold(text))


def is_people(text: str) -> bool:
    """Whether a word means users, which are counted by the rows of an answer."""
    return _has("people", fold(text))


class Meaning(NamedTuple):
    """What a word asks for: columns and their usual function, or measures."""

    columns: tuple[str, ...] = ()
    function: str = "sum"
    measures: tuple[str, ...] = ()


def guess_meaning(text: str) -> Meaning | None:
    """What a word such as `cost`, `ttft` or `failures` asks for."""
    word = fold(text)
    for wanted in (word, word.removeprefix("total")):
        for entry in _load()["meanings"]:
            if wanted in entry["words"].split():
                columns, measures = entry.get("columns", ()), entry.get("measures", ())
                return Meaning(tuple(columns), entry.get("function", "sum"), tuple(measures))
    return None


def guess_columns(name: str, names: Iterable[str]) -> tuple[str, ...]:
    """The columns that a word asks for; `tokens` are two."""
    known, meaning = [*names], guess_meaning(name)
    if meaning is not None and meaning.columns and set(meaning.columns) <= set(known):
        return meaning.columns
    return find_like(name, known)[:1]


def find_like(name: str, names: Iterable[str]) -> tuple[str, ...]:
    """The names that resemble one, the most similar first.

    Of several words each counts: `input cost` is not `inputTokens`, nor `costPerUser` a cost per
    request.
    """
    if len(re.findall(r"[A-Z]?[a-z]{2,}|[A-Z]{2,}", name)) == 1:
        return closest_matches(name, names)
    wanted = fold(name)
    near = find_misspelt(name, names)
    return tuple(one for one in near if fold(one) == wanted or fold(one) not in wanted)


def guess_aggregation(item: Mapping[Any, object]) -> str | None:
    """`sum costInUSD` for `{"function": "sum", "field": "costInUSD"}`, `{"sum": "costInUSD"}`."""
    texts = {fold(str(key)): value for key, value in item.items() if isinstance(value, str)}
    if len(texts) == 1 == len(item):
        ((key, value),) = texts.items()
        return f"{key} {value}" if read_function(key) else value
    names = {key: value for key, value in texts.items() if key not in ("alias", "as", "label")}
    slots = {read_function(value) is not None: value for value in names.values()}
    return f"{slots[True]} {slots[False]}" if len(slots) == len(names) == 2 else None


def find_column(name: str, columns: Sequence[str]) -> tuple[str | None, str | None]:
    """The one column of an answer that a name means, and the likeliest if there are several."""
    exact = read_name(name, columns)
    if exact is None and is_total(name):
        exact = read_name("total", columns)
    call = read_call(name)
    meaning = guess_meaning(name) or guess_meaning(call.column) or Meaning()
    wanted = [call.column, *meaning.columns]
    keys = {fold((call.type or "") + one + unit) for one in wanted for unit in ("", *_UNITS)}
    keys |= {fold(one) for one in meaning.measures}
    values = [column for column in columns if "_" not in column]  # not `sumCostInUSD_before`
    found = [column for column in values if fold(column) in keys]
    if call.type is None:
        found += [c for c in values if any(fold(c).endswith(key) for key in keys if len(key) > 2)]
    found = [*dict.fromkeys(found)]
    if exact is None and len(found) == 1:
        exact = found[0]
    return exact, next(iter((*found, *closest_matches(name, columns))), None)


# --- fields ---

_KEY: Final = r"[A-Za-z][\w-]{0,63}"
_KEY_ELSEWHERE: Final = (
    r"(?i)(?:metadata|meta|tags?|labels?)(?:\.|:|_|/|\[[\"']?)([A-Za-z][\w.-]{0,63})[\"']?\]?"
)


def guess_interval(text: str) -> str | None:
    """The interval of a word for time among fields to group by: `1 day` for `date`."""
    return _find("intervals", fold(text))


def guess_field(name: str, names: Iterable[str]) -> str | None:
    """The likeliest of the names, or `metadata.<key>` for a word that only a key can be."""
    known = [one for one in names if not one.startswith(METADATA_PREFIX)]
    is_shared = "/" in name and all(read_name(part, known) for part in name.split("/"))
    if fold(name) == METADATA or is_shared:
        return None
    if match := re.fullmatch(_KEY_ELSEWHERE, name.strip()):
        return METADATA_PREFIX + match[1]
    if _has("metadataKeys", fold(name)):
        return METADATA_PREFIX + name.strip()
    said = _find("fields", fold(name), known)
    near = (said,) if said else closest_matches(name, known)
    if near:
        return near[0]
    return METADATA_PREFIX + name if re.fullmatch(_KEY, name) else None


NO_MCP_FAILURES: Final = "isToolCallExecutionError"
"""The field of a catalog file of an operator's own that tells which MCP calls failed."""


def is_field(name: str) -> bool:
    """Whether a name is a field's or a usual metadata key, as a filter gives it."""
    word = fold(name)
    known = _find("fields", word) or read_name(name, _load()["fields"])
    return known is not None or _has("metadataKeys", word)


class Limit(NamedTuple):
    """What cannot be known of a name, and the datasource that answers what remains, if one does."""

    text: str
    elsewhere: str | None


def find_limit(
    datasource: DatasourceName, part: str, name: str, *, has_mcp_failures: bool
) -> Limit | None:
    """What cannot be known of a name that a datasource lacks, so that nobody searches for it."""
    word = fold(name)
    for limit in _load()["limits"]:
        is_here = datasource in limit["datasources"] and part in limit["parts"]
        if is_here and word in map(fold, limit["names"].split()):
            found = Limit(limit["text"], limit.get("elsewhere"))
            return None if has_mcp_failures and NO_MCP_FAILURES in found.text else found
    return None


# --- datasources and arguments ---


def guess_datasource(text: str) -> DatasourceName | None:
    """`modelMetrics` for `costMetrics` or `usage`, `mcpMetrics` for `mcp_tool_calls`."""
    word = re.sub(r"^gateway(?=.)|(?:data|table|stats|logs)$", "", fold(text))
    name = _find("datasources", re.sub(r"(?<=.)metrics?$", "", word))
    near = [name] if name else closest_matches(text, DATASOURCES)
    return next((known for known in DATASOURCES if known in near[:1]), None)


def guess_argument(name: str, names: Iterable[str]) -> str | None:
    """The argument of a tool that a name such as `metrics`, `group_by` or `since` stands for."""
    known = [*names]
    said = read_name(name, known) or _find("arguments", fold(name), known)
    return said or next(iter(closest_matches(name, known)), None)
