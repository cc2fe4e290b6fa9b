"""One filter of a request body -> a Filter, or every reason why it is none."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final, cast

from gateway_metrics_mcp.query.catalog import Catalog, FilterField
from gateway_metrics_mcp.query.model import Filter, FilterValue, Scalar
from gateway_metrics_mcp.query.near import explain_choice, quote
from gateway_metrics_mcp.query.text import is_text
from gateway_metrics_mcp.query.vocabulary import (
    LIST_OPERATORS,
    METADATA_PREFIX,
    OPERATORS,
    DatasourceName,
    FieldType,
    Operator,
)

_KEYS: Final = ("fieldName", "metadataKey", "operator", "value")
_EXAMPLES: Final[dict[FieldType, str]] = {
    "string": "text",
    "array": "text",
    "number": "a finite number of at most 64 bits",
    "boolean": "true or false",
}
Add = Callable[[str, str], None]


def read_filter(
    item: object,
    *,
    place: str,
    datasource: DatasourceName | None,
    catalog: Catalog,
    allow_unknown: bool,
    add: Add,
) -> Filter | None:
    """The filter, or None after each problem was handed to `add(place, message)`."""
    if not isinstance(item, Mapping):
        add(place, f'expected {{"fieldName", "operator", "value"}}, got {quote(item)}')
        return None
    for key in item:
        if key not in _KEYS:
            add(f"{place}.{key}", f"unknown key. {explain_choice(str(key), _KEYS)}")
    name = _read_name(item, place, add, catalog)
    field: FilterField | None = None
    if name is not None and datasource is not None:
        field = catalog.filter_field(datasource, name)
        if field is None and not allow_unknown:
            names = [*catalog.datasources[datasource].filters, "metadata.<key>"]
            choice = explain_choice(name, names)
            add(f"{place}.fieldName", f"{quote(name)} is no filter of {datasource}. {choice}")
            name = None
    operator = _read_operator(item.get("operator"), name, field, f"{place}.operator", add)
    if operator is None:
        return None
    value = _read_value(item, operator, field, f"{place}.value", add)
    if name is None or value is None:
        return None
    return Filter(field_name=name, operator=operator, value=value)


def _read_name(item: Mapping[str, object], place: str, add: Add, catalog: Catalog) -> str | None:
    name, key = item.get("fieldName"), item.get("metadataKey")
    if (name is None) == (key is None):
        add(place, "give fieldName, or metadataKey for a key of the metadata (one of the two)")
        return None
    if key is not None:
        if not isinstance(key, str) or not key or not is_text(key):
            add(f"{place}.metadataKey", f"expected the name of a metadata key, got {quote(key)}")
            return None
        return METADATA_PREFIX + key
    if not isinstance(name, str) or name in ("", METADATA_PREFIX) or not is_text(name):
        add(f"{place}.fieldName", f"expected a name, got {quote(name)}")
        return None
    return catalog.canonical("filters", name)


def _read_operator(
    value: object, name: str | None, field: FilterField | None, place: str, add: Add
) -> Operator | None:
    allowed = OPERATORS if field is None else field.allowed
    if value in allowed:
        return value
    if value in OPERATORS:
        add(place, f"{value} is not allowed on {name}. {explain_choice(str(value), allowed)}")
        return value
    wrong = "missing" if value is None else f"{quote(value)} is unknown"
    add(place, f"{wrong}. {explain_choice(str(value or ''), allowed)}")
    return None


def _read_value(
    item: Mapping[str, object], operator: Operator, field: FilterField | None, place: str, add: Add
) -> FilterValue | None:
    """The value in the operator's shape: a scalar, a tuple, or a boolean for IS_NULL."""
    value = item.get("value")
    if value is None:
        add(place, "missing")
        return None
    if operator == "IS_NULL":
        if isinstance(value, bool):
            return value
        add(place, f"IS_NULL takes true (is null) or false (is not null), got {quote(value)}")
        return None
    type_ = None if field is None else field.type
    if operator == "BETWEEN":
        return _read_range(value, type_, place, add)
    if operator in LIST_OPERATORS:
        if not isinstance(value, list | tuple) or not value:
            add(place, f"{operator} takes a list of at least one value, got {quote(value)}")
            return None
        return _read_items(value, type_, place, add)
    if isinstance(value, list | tuple):
        several = ". For several use IN" if field is None or "IN" in field.allowed else ""
        add(place, f"{operator} takes one value, got {quote(value)}{several}")
        return None
    return _read_scalar(value, type_, place, add)


def _read_range(value: object, type_: FieldType | None, place: str, add: Add) -> FilterValue | None:
    """[low, high], both ends included (R11)."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        add(place, f"BETWEEN takes a list of two, [low, high], got {quote(value)}")
        return None
    items = _read_items(value, type_, place, add)
    if items is None:
        return None
    low, high = items
    if isinstance(low, str) is not isinstance(high, str):
        add(place, f"low and high are of different types: {quote(value)}")
        return None
    if low > high:  # type: ignore[operator]  # both text or both numbers, checked above
        add(place, f"low {quote(low)} is above high {quote(high)}: give [low, high]")
        return None
    return items


def _read_items(
    value: list[object] | tuple[object, ...], type_: FieldType | None, place: str, add: Add
) -> tuple[Scalar, ...] | None:
    items = [_read_scalar(v, type_, f"{place}[{i}]", add) for i, v in enumerate(value)]
    if any(item is None for item in items):
        return None
    return tuple(cast("list[Scalar]", items))


def _read_scalar(value: object, type_: FieldType | None, place: str, add: Add) -> Scalar | None:
    if _fits(value, type_):
        return cast("Scalar", value)
    expected = "text, a number or a boolean" if type_ is None else _EXAMPLES[type_]
    add(place, f"expected {expected}, got {quote(value)}")
    return None


def _fits(value: object, type_: FieldType | None) -> bool:
    if isinstance(value, bool):
        return type_ in ("boolean", None)
    if isinstance(value, str):
        return type_ in ("string", "array", None) and is_text(value)
    if isinstance(value, int):
        return type_ in ("number", None) and abs(value) <= 2**63 - 1
    return isinstance(value, float) and math.isfinite(value) and type_ in ("number", None)
