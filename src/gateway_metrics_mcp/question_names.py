"""How askers spell a function of a column: `sum costInUSD`, `sum(costInUSD)`, `sumCostInUSD`."""

from __future__ import annotations

import re
from typing import Final

from gateway_metrics_mcp.query.vocabulary import AGGREGATION_TYPES
from gateway_metrics_mcp.result import TOTAL

_CALL: Final = re.compile(r"(\w+)\s*\(\s*([^()]+?)\s*\)")
_TOTAL_NAMES: Final = frozenset((TOTAL, "count", "count(*)", "count *"))


def read_total(entry: str) -> bool:
    """Whether the entry asks for the number of rows, which always comes."""
    return entry.strip().lower() in _TOTAL_NAMES


def split_aggregation(item: object) -> object:
    """The entry as `{type, column}`; what is no text is left as it is."""
    if not isinstance(item, str):
        return item
    text = item.strip()
    if match := _CALL.fullmatch(text):
        return {"type": match[1], "column": match[2]}
    type_, _, column = text.partition(" ")
    if column:
        return {"type": type_, "column": column.strip()}
    for known in AGGREGATION_TYPES:
        column = text.removeprefix(known)
        if column != text and column[:1].isupper():
            return {"type": known, "column": column[0].lower() + column[1:]}
    if text in AGGREGATION_TYPES:
        return {"type": text, "column": None}
    return {"type": None, "column": text}
