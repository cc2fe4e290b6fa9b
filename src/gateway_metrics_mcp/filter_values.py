"""A filter as an agent writes it -> a filter as the API takes it.

Tools publish `value` as a list of text. What the field is and what the operator wants say
whether that is a number, a boolean, one value or several.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway_metrics_mcp.arguments import parse_json
from gateway_metrics_mcp.query.catalog import Catalog
from gateway_metrics_mcp.query.text import parse_number
from gateway_metrics_mcp.query.vocabulary import DATASOURCES, LIST_OPERATORS, METADATA_PREFIX

_BOOLEANS: Final = {"true": True, "false": False}
_SEVERAL: Final = (*LIST_OPERATORS, "BETWEEN")
"""Operators that take a list; a tuple, for what is asked about may be unhashable."""


def read_filter_argument(item: object, datasource: object, catalog: Catalog) -> object:
    """The filter with its value in the API's shape; what cannot be read is left as it is."""
    if not isinstance(item, Mapping) or "value" not in item:
        return item
    name = item.get("fieldName")
    if name is None and isinstance(item.get("metadataKey"), str):
        name = METADATA_PREFIX + item["metadataKey"]
    operator = item.get("operator")
    type_ = _type_of(name, datasource, catalog) if operator != "IS_NULL" else "boolean"
    value, parsed = item["value"], parse_json(item["value"])
    given = parsed if isinstance(parsed, list | tuple) else [value]
    values = [_read_scalar(v, type_) for v in given]
    if operator in _SEVERAL or len(values) != 1:
        return {**item, "value": values}
    return {**item, "value": values[0]}


def _type_of(name: object, datasource: object, catalog: Catalog) -> str | None:
    """The type of a known filter; None where it is unknown."""
    if not isinstance(name, str):
        return None
    for known in DATASOURCES:
        if known == datasource:
            field = catalog.filter_field(known, catalog.canonical("filters", name))
            return None if field is None else field.type
    return None


def _read_scalar(value: object, type_: str | None) -> object:
    """Text as the number or boolean it spells, and the other way round."""
    if type_ == "number" and isinstance(value, str):
        number = parse_number(value)
        return value if number is None else number
    if type_ == "boolean" and isinstance(value, str):
        return _BOOLEANS.get(value.strip().lower(), value)
    if type_ in ("string", "array"):
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int | float):
            return str(value)
    return value
