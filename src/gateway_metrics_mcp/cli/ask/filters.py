"""`modelName = openai/gpt-4o`, `team in a, b`: a filter as people write it -> the API's filter."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from gateway_metrics_mcp.query.catalog import Catalog
from gateway_metrics_mcp.query.suggestions import did_you_mean, quote
from gateway_metrics_mcp.query.text import parse_json
from gateway_metrics_mcp.query.vocabulary import DATASOURCES, LIST_OPERATORS, OPERATORS, Operator

_SIGNS: Final[Mapping[str, Operator]] = {
    "==": "EQUAL",
    "!=": "NOT_EQUAL",
    "<>": "NOT_EQUAL",
    ">=": "GREATER_THAN_EQUAL",
    "<=": "LESS_THAN_EQUAL",
    "=": "EQUAL",
    ">": "GREATER_THAN",
    "<": "LESS_THAN",
}
_IS_NOT_NULL: Final = "is not null"
_HELD: Final[Mapping[Operator, Operator]] = {
    "EQUAL": "ARRAY_HAS_ANY",
    "IN": "ARRAY_HAS_ANY",
    "NOT_EQUAL": "ARRAY_HAS_NONE",
    "NOT_IN": "ARRAY_HAS_NONE",
}
"""What is meant of a field that holds several values, such as team."""

_FIELD: Final = re.compile(r'\s*(?:"([^"]+)"|\'([^\']+)\'|([^\s=!<>"\']+))\s*')
_SIGN: Final = re.compile("|".join(map(re.escape, _SIGNS)))
_RUN: Final = re.compile(r"[=<>!~]+(?:\s+=+)?")
_MEANT: Final = {
    "===": "=",
    "!==": "!=",
    "=!": "!=",
    "=>": ">=",
    "=<": "<=",
    "~": "contains",
    "=~": "contains",
    "!~": "not contains",
}
"""What is meant by the signs of other languages."""

_ITEM: Final = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([^,"']*[^,"'\s])|)\s*(,|$)""")
_BETWEEN: Final = re.compile(r"\s+and\s+|\s*,\s*", re.IGNORECASE)
_QUOTED: Final = re.compile(r""""[^"]*"|'[^']*'""")
_JOINED: Final = re.compile(r"\s(?:and|or|&&|\|\|)\s+", re.IGNORECASE)
_OR: Final = ("or", "||")
_ANOTHER: Final = re.compile(r"\s*(,|or\b|and\b|\|\||&&)", re.IGNORECASE)
_BY_PARTS: Final = re.compile(
    r"""("[^"]*"|'[^']*')|\s*(?:,|\bor\b|\band\b|\|\||&&)\s*""", re.IGNORECASE
)
_BRACKETS: Final = {"(": ")", "[": "]"}
_SEVERAL: Final = (*LIST_OPERATORS, "BETWEEN")


def _plain(operator: Operator) -> str:
    """The words of an operator's name: `not starts with`."""
    return operator.lower().replace("_", " ").removeprefix("string ").removeprefix("array ")


_WORDS: Final[Mapping[str, Operator]] = {
    **{operator.lower(): operator for operator in OPERATORS},
    **{_plain(operator): operator for operator in OPERATORS},
    **{
        _plain(operator).replace("not ", "does not ").replace("s with", " with"): operator
        for operator in OPERATORS
        if operator.startswith("STRING_NOT")
    },
    "does not contain": "STRING_NOT_CONTAINS",
    _IS_NOT_NULL: "IS_NULL",
}
_WORD: Final = re.compile(
    "(?:"
    + "|".join(
        re.escape(word).replace(r"\ ", r"\s+") for word in sorted(_WORDS, key=len, reverse=True)
    )
    + r")(?=[\s(\[\"']|$)",
    re.IGNORECASE,
)
_LISTED: Final = (
    *(sign for sign in _SIGNS if sign not in ("==", "<>")),
    *(_plain(operator) for operator in OPERATORS if operator not in _SIGNS.values()),
    _IS_NOT_NULL,
)
"""What a message offers: each operator once."""


def read_condition(text: str, datasource: object, catalog: Catalog) -> list[Any]:
    """The filters that the text states: one, or those of a JSON list.

    Raises:
        ValueError: with what is wrong, if it is no condition.
    """
    parsed = parse_json(text)
    if not isinstance(parsed, str):
        return parsed if isinstance(parsed, list) else [parsed]
    field = _FIELD.match(text)
    if field is None:
        raise ValueError(f"expected a field, an operator and a value, got {quote(text)}")
    name = field[1] or field[2] or field[3]
    operator, word, rest = _read_operator(text[field.end() :])
    if operator == "IS_NULL":
        return [{"fieldName": name, "operator": operator, "value": _read_null(word, rest)}]
    held = _hold(operator, name, datasource, catalog)
    _refuse_joined(rest, name)
    _refuse_several(rest, name, operator, takes_commas=held in _SEVERAL)
    if operator in _SEVERAL:
        rest = _strip_brackets(rest)
    return [{"fieldName": name, "operator": held, "value": _read_values(rest, held)}]


def _read_operator(text: str) -> tuple[Operator, str, str]:
    """The operator, how it was spelt, and the text behind it."""
    run = _RUN.match(text)
    if run is not None and run[0] not in _SIGNS:
        spelt = "".join(run[0].split())
        meant = _MEANT.get(spelt, "" if spelt not in _SIGNS else spelt)
        choice = f"Did you mean {meant}?" if meant else did_you_mean(spelt, _LISTED)
        quoted = "A value that begins with a sign stands in quotes"
        raise ValueError(f"{quote(run[0])} is no operator. {choice} {quoted}")
    sign = _SIGN.match(text)
    if sign is not None:
        return _SIGNS[sign[0]], sign[0], text[sign.end() :].strip()
    word = _WORD.match(text)
    if word is not None:
        spelt = " ".join(word[0].lower().split())
        return _WORDS[spelt], spelt, text[word.end() :].strip()
    first = next(iter(text.split(maxsplit=1)), "")
    if not first:
        raise ValueError(f"the operator is missing. Allowed: {', '.join(_LISTED)}")
    raise ValueError(f"{quote(first)} is no operator. {did_you_mean(first, _LISTED)}")


def _hold(operator: Operator, name: str, datasource: object, catalog: Catalog) -> Operator:
    """The operator for a field that holds several values, where it has one of its own."""
    for known in DATASOURCES:
        if known == datasource:
            field = catalog.filter_field(known, catalog.canonical("filters", name))
            if field is not None and operator not in field.allowed:
                held = _HELD.get(operator)
                return held if held is not None and held in field.allowed else operator
    return operator


def _read_null(word: str, rest: str) -> list[str]:
    if not rest:
        return ["false" if word == _IS_NOT_NULL else "true"]
    if word == _IS_NOT_NULL or rest.lower() not in ("true", "false"):
        raise ValueError(f"nothing follows {word}, got {quote(rest)}")
    return [rest.lower()]


def _refuse_joined(rest: str, name: str) -> None:
    """`team = a and modelName = b` would be one value that nothing has."""
    bare = _QUOTED.sub('""', rest)
    for joined in _JOINED.finditer(bare):
        field = _FIELD.match(bare, joined.end())
        if field is not None and any(w.match(bare, field.end()) for w in (_SIGN, _WORD)):
            if joined[0].strip().lower() in _OR:
                raise ValueError(f"all conditions must hold: for one of several, {name} in a, b")
            raise ValueError("one condition each: repeat --where, or quote the value")


def _refuse_several(rest: str, name: str, operator: Operator, *, takes_commas: bool) -> None:
    """`modelName = "a" or "b"` would be one value with quotes in it."""
    first = _QUOTED.match(rest)
    joined = None if first is None else _ANOTHER.match(rest, first.end())
    if joined is None or (joined[1] == "," and takes_commas) or operator in _SEVERAL:
        return
    word = {"EQUAL": "in", "NOT_EQUAL": "not in"}.get(operator)
    if word is None:
        raise ValueError("one value each: only in and not in take several")
    shown = f'"{name}"' if " " in name else name
    listed = _BY_PARTS.sub(lambda part: part[1] or ", ", rest)
    raise ValueError(f"for several values write {shown} {word} {listed}")


def _strip_brackets(text: str) -> str:
    """A list without what encloses it: the first bracket, if it closes at the end."""
    opening, closing = text[:1], _BRACKETS.get(text[:1])
    bare = _QUOTED.sub(lambda quoted: "-" * len(quoted[0]), text)
    depth = 0
    for position, letter in enumerate(bare if closing else ""):
        depth += (letter == opening) - (letter == closing)
        if depth == 0:
            return text[1:-1].strip() if position == len(text) - 1 else text
    return text


def _read_values(rest: str, operator: Operator) -> list[str]:
    """One value, or those of a list; quotes hold what would else be read as more than one."""
    bare = rest.strip()
    if not bare:
        raise ValueError("the value is missing")
    if operator == "BETWEEN":
        return [part.strip().strip("\"'") for part in _BETWEEN.split(bare)]
    if operator in _SEVERAL:
        return list(_split(bare))
    if len(bare) > 1 and bare[0] in "\"'" and bare.find(bare[0], 1) == len(bare) - 1:
        return [bare[1:-1]]
    return [bare]


def _split(text: str) -> Iterator[str]:
    position = 0
    while True:
        item = _ITEM.match(text, position)
        if item is None:
            raise ValueError(f"{quote(text)} is no list of values, such as a, b or 'a, b', c")
        double, single, plain, comma = item.groups()
        value = next((one for one in (double, single, plain) if one is not None), None)
        if value is None:
            raise ValueError(f"a value is missing in {quote(text)}")
        yield value
        if not comma:
            return
        position = item.end()
