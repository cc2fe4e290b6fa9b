"""`modelName = openai/gpt-4o`, `team in a, b`: a filter as people write it -> the API's filter."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from gateway_metrics_mcp.arguments import parse_json
from gateway_metrics_mcp.query.catalog import Catalog
from gateway_metrics_mcp.query.near import explain_choice, quote
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
_ITEM: Final = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([^,"']*[^,"'\s])|)\s*(,|$)""")
_BETWEEN: Final = re.compile(r"\s+and\s+|\s*,\s*", re.IGNORECASE)
_QUOTED: Final = re.compile(r""""[^"]*"|'[^']*'""")
_JOINED: Final = re.compile(r"\s(?:and|or|&&|\|\|)\s+", re.IGNORECASE)
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
    operator = _hold(operator, name, datasource, catalog)
    if operator == "IS_NULL":
        return [{"fieldName": name, "operator": operator, "value": _read_null(word, rest)}]
    _refuse_joined(rest)
    values = _read_values(rest, operator)
    return [{"fieldName": name, "operator": operator, "value": values}]


def _read_operator(text: str) -> tuple[Operator, str, str]:
    """The operator, how it was spelt, and the text behind it."""
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
    raise ValueError(f"{quote(first)} is no operator. {explain_choice(first, _LISTED)}")


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


def _refuse_joined(rest: str) -> None:
    """`team = a and modelName = b` would be one value that nothing has."""
    bare = _QUOTED.sub('""', rest)
    for joined in _JOINED.finditer(bare):
        field = _FIELD.match(bare, joined.end())
        if field is not None and any(w.match(bare, field.end()) for w in (_SIGN, _WORD)):
            raise ValueError("one condition each: repeat --where, or quote the value")


def _read_values(rest: str, operator: Operator) -> list[str]:
    """One value, or those of a list; quotes hold what would else be read as more than one."""
    bare = rest.strip()
    if bare[:1] + bare[-1:] in ("()", "[]"):
        bare = bare[1:-1].strip()
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
