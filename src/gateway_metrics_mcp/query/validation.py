"""A request body -> a Query, or every reason why it is none."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, cast

from gateway_metrics_mcp.errors import InvalidQueryError, Problem
from gateway_metrics_mcp.query.catalog import AliasKind, Catalog, Datasource, FilterField
from gateway_metrics_mcp.query.model import Aggregation, Filter, FilterValue, Query, Scalar
from gateway_metrics_mcp.query.suggestions import closest_matches, did_you_mean, quote
from gateway_metrics_mcp.query.text import is_text
from gateway_metrics_mcp.query.time.interval import Interval
from gateway_metrics_mcp.query.time.zone import FIRST_YEAR, LAST_YEAR
from gateway_metrics_mcp.query.vocabulary import (
    AGGREGATION_TYPES,
    DATASOURCES,
    LIST_OPERATORS,
    METADATA_PREFIX,
    OPERATORS,
    QUERY_TYPES,
    RATE_TYPES,
    AggregationType,
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
            add(f"{place}.{key}", f"unknown key. {did_you_mean(str(key), _KEYS)}")
    name = _read_name(item, place, add, catalog)
    field: FilterField | None = None
    if name is not None and datasource is not None:
        field = catalog.filter_field(datasource, name)
        if field is None and not allow_unknown:
            names = [*catalog.datasources[datasource].filters, "metadata.<key>"]
            choice = did_you_mean(name, names)
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
        add(place, f"{value} is not allowed on {name}. {did_you_mean(str(value), allowed)}")
        return value
    wrong = "missing" if value is None else f"{quote(value)} is unknown"
    add(place, f"{wrong}. {did_you_mean(str(value or ''), allowed)}")
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


_KEY: Final = re.compile(r"[A-Za-z]\w{0,63}")
"""What a metadata key is like, usually."""

BODY_KEYS: Final = (
    "startTs",
    "endTs",
    "datasource",
    "type",
    "aggregations",
    "groupBy",
    "filters",
    "interval",
    "intervalInSeconds",
)


def read_query(body: object, catalog: Catalog, *, allow_unknown: bool = False) -> Query:
    """The query that a request body states, its names in the gateway's spelling.

    With `allow_unknown`, fields that the catalog does not have are passed through; their
    operators and values are then checked for shape alone.

    Raises:
        InvalidQueryError: with every problem, if it is not a query of the catalog (R18).
    """
    if not isinstance(body, Mapping):
        raise InvalidQueryError([Problem("body", f"expected an object, got {_kind(body)}")])
    return _Reading(body, catalog, allow_unknown=allow_unknown).read()


class _Reading:
    """The reading of one body; `problems` grows as it goes."""

    def __init__(self, body: Mapping[str, Any], catalog: Catalog, *, allow_unknown: bool) -> None:
        self._body = body
        self._catalog = catalog
        self._allow_unknown = allow_unknown
        self._problems: list[Problem] = []
        self._name: DatasourceName | None = None

    def read(self) -> Query:
        for key in self._body:
            if key not in BODY_KEYS:
                self._add(str(key), f"unknown key. {did_you_mean(str(key), BODY_KEYS)}")
        self._name = cast("DatasourceName | None", self._choice("datasource", DATASOURCES))
        query_type = self._choice("type", QUERY_TYPES)
        start, end = self._window()
        interval = self._interval(query_type)
        aggregations = self._aggregations(query_type)
        group_by = self._group_by()
        filters = self._filters()
        if self._problems or self._name is None or start is None or end is None:
            raise InvalidQueryError(self._problems)
        return Query(
            datasource=self._name,
            type="timeseries" if query_type == "timeseries" else "distribution",
            start_ts=start,
            end_ts=end,
            aggregations=aggregations,
            group_by=group_by,
            filters=filters,
            interval=interval,
        )

    @property
    def _datasource(self) -> Datasource | None:
        return None if self._name is None else self._catalog.datasources[self._name]

    def _add(self, place: str, message: str) -> None:
        self._problems.append(Problem(place, message))

    def _choice(self, key: str, allowed: Sequence[str]) -> str | None:
        value = self._body.get(key)
        if isinstance(value, str) and value in allowed:
            return value
        wrong = "missing" if value is None else f"{quote(value)} is unknown"
        self._add(key, f"{wrong}. {did_you_mean(str(value or ''), allowed)}")
        return None

    def _list(self, key: str) -> list[Any]:
        value = self._body.get(key)
        if value is None:
            return []
        if not isinstance(value, list | tuple):
            self._add(key, f"expected a list, got {_kind(value)} {quote(value)}")
            return []
        return list(value)

    def _window(self) -> tuple[datetime | None, datetime | None]:
        start, end = self._instant("startTs"), self._instant("endTs")
        if start is not None and end is not None and start >= end:
            self._add("endTs", f"must be after startTs, the window is [{start} to {end}), empty")
        return start, end

    def _instant(self, key: str) -> datetime | None:
        value = self._body.get(key)
        example = 'ISO 8601 with an offset, such as "2026-07-01T00:00:00Z"'
        if not isinstance(value, str):
            self._add(key, f"{'missing' if value is None else quote(value)}. Give {example}")
            return None
        try:
            instant = datetime.fromisoformat(value)
            if instant.tzinfo is None:
                raise ValueError("no offset")
            instant = instant.astimezone(UTC)
        except (ValueError, OverflowError):
            self._add(key, f"{quote(value)} is not a time with an offset. Give {example}")
            return None
        if not FIRST_YEAR <= instant.year <= LAST_YEAR:
            self._add(key, f"{quote(value)} is outside the years {FIRST_YEAR} to {LAST_YEAR}")
            return None
        return instant

    def _interval(self, query_type: str | None) -> Interval | None:
        text, seconds = self._body.get("interval"), self._body.get("intervalInSeconds")
        place = "interval" if text is not None or seconds is None else "intervalInSeconds"
        if query_type == "distribution" and (text is not None or seconds is not None):
            self._add(place, 'only a timeseries has buckets. Leave it out or ask type "timeseries"')
            return None
        try:
            if text is not None:
                if not isinstance(text, str):
                    raise ValueError(f'{quote(text)} is not text such as "1 hour"')
                return Interval.parse(text)
            if seconds is not None:
                if isinstance(seconds, bool) or not isinstance(seconds, int):
                    raise ValueError(f"{quote(seconds)} is not a positive whole number of seconds")
                return Interval.from_seconds(seconds)
        except ValueError as error:
            self._add(place, str(error))
            return None
        if query_type == "timeseries":
            self._add("interval", 'missing. Give the bucket\'s width, such as "1 hour" or "1 day"')
        return None

    def _aggregations(self, query_type: str | None) -> tuple[Aggregation, ...]:
        read: dict[Aggregation, None] = {}
        for index, item in enumerate(self._list("aggregations")):
            place = f"aggregations[{index}]"
            aggregation = self._aggregation(place, item, query_type)
            if aggregation is None:
                continue
            if aggregation in read:
                self._add(place, f'"{aggregation.type} {aggregation.column}" stands here twice')
            if aggregation.type in RATE_TYPES and query_type == "distribution":
                self._add(
                    place, f"{aggregation.type} needs a timeseries: it divides by its buckets"
                )
            read[aggregation] = None
        return tuple(read)

    def _aggregation(self, place: str, item: object, query_type: str | None) -> Aggregation | None:
        keys = ("type", "column")
        if not isinstance(item, Mapping):
            self._add(place, f'expected {{"type", "column"}}, got {_kind(item)} {quote(item)}')
            return None
        for key in item:
            if key not in keys:
                self._add(f"{place}.{key}", f"unknown key. {did_you_mean(str(key), keys)}")
        type_, column = item.get("type"), item.get("column")
        if type_ not in AGGREGATION_TYPES:
            wrong = "missing" if type_ is None else f"{quote(type_)} is unknown"
            has_rates = query_type != "distribution"
            types = [t for t in AGGREGATION_TYPES if has_rates or t not in RATE_TYPES]
            choice = did_you_mean(str(type_ or ""), types)
            self._add(f"{place}.type", f"{wrong}. {choice}")
            type_ = None
        name = self._name_of("columns", f"{place}.column", column)
        if name is not None and type_ is not None:
            self._check_aggregation(place, cast("AggregationType", type_), name)
        return None if name is None or type_ is None else Aggregation(type=type_, column=name)

    def _check_aggregation(self, place: str, type_: AggregationType, name: str) -> None:
        known = None if self._datasource is None else self._datasource.columns.get(name)
        if known is not None and type_ not in known.aggregations:
            allowed = ", ".join(known.aggregations)
            self._add(f"{place}.type", f"{type_} is not allowed on {name}. Allowed: {allowed}")

    def _name_of(self, kind: AliasKind, place: str, value: object) -> str | None:
        """The gateway's spelling of a column or dimension; None if it is none."""
        if not isinstance(value, str) or not value or not is_text(value):
            self._add(place, f"expected a name, got {_kind(value)}")
            return None
        name = self._catalog.canonical(kind, value)
        datasource = self._datasource
        if datasource is None:
            return name
        known = datasource.columns if kind == "columns" else datasource.group_by
        if name not in known and not self._allow_unknown:
            what = "column" if kind == "columns" else "group-by field"
            names = list(known) if kind == "columns" else [*known, "metadata.<key>"]
            choice = did_you_mean(value, names)
            if kind != "columns" and _KEY.fullmatch(value) and not closest_matches(value, names):
                choice = f"{choice}. If it is a metadata key, give {METADATA_PREFIX}{value}"
            choice = f"{self._explain_place(kind, name, datasource)}{choice}"
            self._add(place, f"{quote(value)} is no {what} of {self._name}. {choice}")
            return None
        return name

    def _explain_place(self, kind: AliasKind, name: str, datasource: Datasource) -> str:
        """Where a name is right that is wrong here; how to count what has no column: by group."""
        if kind == "columns" and name in datasource.group_by:
            return f"{name} is a group-by field: grouped by it, an answer has a row a value. "
        others = [
            other
            for other, fields in self._catalog.datasources.items()
            if name in (fields.columns if kind == "columns" else fields.group_by)
        ]
        return f"{name} is one of {' and '.join(others)}. " if others else ""

    def _group_by(self) -> tuple[str, ...]:
        read: dict[str, None] = {}
        for index, item in enumerate(self._list("groupBy")):
            place = f"groupBy[{index}]"
            if isinstance(item, str) and item.startswith(METADATA_PREFIX):
                name: str | None = item
                if item == METADATA_PREFIX:
                    self._add(place, 'the key is missing. Give "metadata.<key>"')
                elif not is_text(item):
                    self._add(place, f"{quote(item)} is no text that can be sent")
            else:
                name = self._name_of("groupBy", place, item)
            if name is None:
                continue
            if name in read:
                self._add(place, f"{quote(item)} stands here twice")
            read[name] = None
        return tuple(read)

    def _filters(self) -> tuple[Filter, ...]:
        read = []
        for index, item in enumerate(self._list("filters")):
            filter_ = read_filter(
                item,
                place=f"filters[{index}]",
                datasource=self._name,
                catalog=self._catalog,
                allow_unknown=self._allow_unknown,
                add=self._add,
            )
            if filter_ is not None:
                read.append(filter_)
        return tuple(read)


def _kind(value: object) -> str:
    """The JSON name of a value's type."""
    names: dict[type, str] = {
        type(None): "nothing",
        bool: "a boolean",
        int: "a number",
        float: "a number",
        str: "text",
        list: "a list",
        tuple: "a list",
    }
    return names.get(type(value), "an object")
