"""Parses `--where 'team in a, b'` and `--filter team in a b` into the API's filters.

Whether a filter fits its field is checked later, as for tools.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from gateway_metrics_mcp.query import DATASOURCES, Catalog, did_you_mean, parse_json, quote
from gateway_metrics_mcp.query.vocabulary import LIST_OPERATORS, OPERATORS, Operator

_SIGNS: Final[Mapping[str, Operator]] = {
    "!=": "NOT_EQUAL",
    ">=": "GREATER_THAN_EQUAL",
    "<=": "LESS_THAN_EQUAL",
    "=": "EQUAL",
    ">": "GREATER_THAN",
    "<": "LESS_THAN",
}
_FOREIGN_SIGNS: Final = {
    "===": "=",
    "!==": "!=",
    "=!": "!=",
    "=>": ">=",
    "=<": "<=",
    "~": "contains",
    "=~": "contains",
    "!~": "not contains",
    **{sign: sign for sign in (*_SIGNS, "==")},  # with a space in it: `> =`
}
"""Signs of other languages and what they mean here: suggested, but not accepted, because a value
may begin with one."""

_OF_ARRAYS: Final[Mapping[Operator, Operator]] = {
    "EQUAL": "ARRAY_HAS_ANY",
    "IN": "ARRAY_HAS_ANY",
    "NOT_EQUAL": "ARRAY_HAS_NONE",
    "NOT_IN": "ARRAY_HAS_NONE",
}
"""The operators that these mean for a field with several values, such as `team`."""

_LISTS: Final = (*LIST_OPERATORS, "BETWEEN")
_IS_NOT_NULL: Final = "is not null"


def _plain(operator: Operator) -> str:
    """An operator's name in words: `not starts with`."""
    return operator.lower().replace("_", " ").removeprefix("string ").removeprefix("array ")


_OPERATORS: Final[Mapping[str, Operator]] = {
    **_SIGNS,
    "==": "EQUAL",
    "<>": "NOT_EQUAL",
    **{operator.lower(): operator for operator in OPERATORS},
    **{_plain(operator): operator for operator in OPERATORS},
    "does not contain": "STRING_NOT_CONTAINS",
    "does not start with": "STRING_NOT_STARTS_WITH",
    "does not end with": "STRING_NOT_ENDS_WITH",
    _IS_NOT_NULL: "IS_NULL",
}
_OFFERED: Final = (
    *_SIGNS,
    *(_plain(operator) for operator in OPERATORS if operator not in _SIGNS.values()),
    _IS_NOT_NULL,
)
"""The operators that messages offer, each in one spelling."""

_QUOTED: Final = r"""(?:"[^"]*"|'[^']*')"""
_FIELD: Final = r"""(?:"[^"]+"|'[^']+'|[^\s=!<>"']+)"""
# A run of signs is read whole, so that `=>` is an error and not `=` with the value `>`.
_OPERATOR: Final = r"""(?:[=<>!~]+(?:\s+=+)?|(?:{})(?=[\s(\["']|$))""".format(
    "|".join(word.replace(" ", r"\s+") for word in sorted(_OPERATORS, reverse=True) if word > "a")
)
# Compiled by the first condition, because that takes longer than all other work of a command line.
_CONDITION: Final = rf"(?is)\s*({_FIELD})\s*({_OPERATOR}|\S*)\s*(.*?)\s*"
# Two conditions in one: `a = 1 and b = 2`.
_BOTH: Final = rf"(?i)\s(and|or|&&|\|\|)\s+{_FIELD}\s*{_OPERATOR}"
# Several quoted values: `"a" or "b"`, `"a", "b"`.
_SEVERAL: Final = rf"(?i){_QUOTED}\s*(,|(?:or|and)\b|\|\||&&)"
_SEPARATOR: Final = rf"(?i)({_QUOTED})|\s*(?:,|\bor\b|\band\b|\|\||&&)\s*"
_QUOTE: Final = "[\"']"
_AND: Final = r"(?i)\s+and\s+"
_BRACKETED: Final = (
    r"(?s)\((?:[^()]|\([^()]*\))*\)|\[(?:[^\[\]]|\[[^\[\]]*\])*\]"  # around the whole list
)


def read_filters(words: Sequence[str], datasource: object, catalog: Catalog) -> list[Any]:
    """The filters of one flag: a single word is a condition or JSON, several are its parts.

    Raises:
        ValueError: if the words are not a condition, with a message that says why.
    """
    parsed = parse_json(words[0]) if len(words) == 1 else ""
    if not isinstance(parsed, str):
        return parsed if isinstance(parsed, list) else [parsed]
    name, spelling, values = _split_words(words) if len(words) > 1 else _split_text(words[0])
    operator = _find_operator(spelling)
    if operator is None:
        raise ValueError(_explain_operator(spelling))
    if operator == "IS_NULL":
        is_negated = "not" in spelling.lower()
        if values and (is_negated or values[0].lower() not in ("true", "false")):
            raise ValueError(f"{spelling.lower()} takes no value, got {quote(values[0])}")
        values = values or ["false" if is_negated else "true"]
    if not values:
        raise ValueError("the value is missing")
    fitting = _fit_operator(operator, name, datasource, catalog)
    if len(words) == 1:
        # Only for `--where`: the words of `--filter` are literal.
        _refuse_several(values[0], name, operator, takes_commas=fitting in _LISTS)
        values = _read_values(values[0], operator, fitting)
    elif len(values) > 1 and fitting not in _LISTS:
        # A tool takes several as IN, but a shell splits one value that nobody quoted.
        raise ValueError(f"{fitting} takes one value, got {values}. For several use IN")
    return [{"fieldName": name, "operator": fitting, "value": values}]


def _find_operator(spelling: str) -> Operator | None:
    return _OPERATORS.get(" ".join(spelling.lower().split()))


def _split_words(words: Sequence[str]) -> tuple[str, str, list[str]]:
    """Split words that the shell separated; values are literal, so scripts need no quotes."""
    name, *rest = words
    for size in range(len(rest), 0, -1):  # `is not null` before `is`
        spelling = " ".join(rest[:size])
        if operator := _find_operator(spelling):
            joint = "and" if operator == "BETWEEN" else None
            return name, spelling, [word for word in rest[size:] if word.lower() != joint]
    return name, rest[0], []


def _split_text(text: str) -> tuple[str, str, list[str]]:
    parts = re.fullmatch(_CONDITION, text)
    if parts is None:
        raise ValueError(f"expected a field, an operator and a value, got {quote(text)}")
    return _unquote(parts[1]), parts[2], [parts[3]] if parts[3] else []


def _explain_operator(spelling: str) -> str:
    if not spelling:
        return f"the operator is missing. Allowed: {', '.join(_OFFERED)}"
    signs = "".join(spelling.split())
    meant = _FOREIGN_SIGNS.get(signs)
    choice = f"Did you mean {meant}?" if meant else did_you_mean(signs, _OFFERED)
    quotes = "" if signs.strip("=<>!~") else " Quote a value that begins with a sign"
    return f"unknown operator {quote(spelling)}. {choice}{quotes}"


def _fit_operator(operator: Operator, name: str, datasource: object, catalog: Catalog) -> Operator:
    """The operator's counterpart for a field with several values, if the field needs it."""
    known = next((known for known in DATASOURCES if known == datasource), None)
    field = known and catalog.filter_field(known, catalog.canonical("filters", name))
    if not field or operator in field.allowed:
        return operator
    of_arrays = _OF_ARRAYS.get(operator, operator)
    return of_arrays if of_arrays in field.allowed else operator


def _refuse_several(rest: str, name: str, operator: Operator, *, takes_commas: bool) -> None:
    """Refuse text that would be taken as one value but means several, such as `"a" or "b"`.

    It would match nothing, which reads as an answer of zero.

    Raises:
        ValueError: with the spelling to use instead.
    """
    both = re.search(_BOTH, _mask(rest))
    if both is not None and both[1].lower() in ("or", "||"):
        raise ValueError(f"all conditions must hold: for one of several, {name} in a, b")
    if both is not None:
        raise ValueError("one condition each: repeat --where, or quote the value")
    several = re.match(_SEVERAL, rest)
    if several is None or operator in _LISTS or (several[1] == "," and takes_commas):
        return
    if operator not in ("EQUAL", "NOT_EQUAL"):
        raise ValueError("one value each: only in and not in take several")
    word = "in" if operator == "EQUAL" else "not in"
    shown = f'"{name}"' if " " in name else name
    listed = re.sub(_SEPARATOR, lambda part: part[1] or ", ", rest)
    raise ValueError(f"for several values write {shown} {word} {listed}")


def _read_values(text: str, operator: Operator, fitting: Operator) -> list[str]:
    """The value, or the comma-separated values of a list; quotes protect commas.

    Raises:
        ValueError: if a value is empty, or quotes do not enclose a whole value.
    """
    if fitting not in _LISTS:
        return [_unquote(text)]
    if operator in _LISTS and re.fullmatch(_BRACKETED, _mask(text)):
        text = text[1:-1]
    if operator == "BETWEEN":
        text = re.sub(_AND, ",", text)
    commas = [-1, *(comma.start() for comma in re.finditer(",", _mask(text))), len(text)]
    parts = [text[start + 1 : end].strip() for start, end in pairwise(commas)]
    if "" in parts:
        raise ValueError(f"a value is missing in {quote(text)}")
    if any(re.search(_QUOTE, part) and _unquote(part) == part for part in parts):
        raise ValueError(f"{quote(text)} is not a list of values, such as a, b or 'a, b', c")
    return [_unquote(part) for part in parts]


def _mask(text: str) -> str:
    """The text with quoted parts replaced by dashes of the same length, so positions stay valid."""
    return re.sub(_QUOTED, lambda quoted: "-" * len(quoted[0]), text)


def _unquote(text: str) -> str:
    return text[1:-1] if re.fullmatch(_QUOTED, text) else text
