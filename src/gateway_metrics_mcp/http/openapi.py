"""The OpenAPI document of the metrics API: its limits, and a schema per datasource and type.

It is generated from the catalog, so that it describes what is accepted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from typing import Any, Final

from gateway_metrics_mcp import __version__
from gateway_metrics_mcp.query import RATE_TYPES, Catalog, Datasource
from gateway_metrics_mcp.query.catalog import AliasKind
from gateway_metrics_mcp.query.validation import MOST_BYTES, MOST_ENTRIES, MOST_VALUES
from gateway_metrics_mcp.query.vocabulary import (
    API_PATH,
    LIST_OPERATORS,
    OPERATORS,
    QUERY_TYPES,
    FieldType,
    Operator,
    QueryType,
)

_TIME: Final = {
    "type": "string",
    "format": "date-time",
    "description": "ISO 8601 with an offset",
    "examples": ["2026-07-01T00:00:00.000Z"],
}
_INTERVAL: Final = {
    "type": "string",
    "pattern": "^([1-9][0-9]{0,3} (second|minute|hour|day)s?"
    "|[1-9][0-9]{0,2} (week|month)s?|[1-9][0-9]? years?)$",
    "examples": ["1 hour"],
}
_TEXT: Final = {"type": "string", "pattern": "^[^\\u0000]*$"}
_METADATA: Final = {"type": "string", "pattern": "^metadata\\.[^\\u0000]+$"}
_SCALARS: Final[dict[FieldType, dict[str, Any]]] = {
    "string": _TEXT,
    "array": _TEXT,
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
}
_ERRORS: Final = {
    "400": "The query is invalid (every reason is listed), or too large",
    "401": "No token, or an unknown one",
    "403": "The token has expired",
    "408": "The body did not arrive in time",
    "413": f"The body is larger than {MOST_BYTES // 1024} KiB",
    "415": "The body is not JSON, or compressed",
    "421": "Without tokens: a host that is not served",
    "500": "The data cannot be read, or an internal server error",
    "503": "Too many queries, or the engine is unavailable: ask again after Retry-After seconds",
    "504": "The query took too long",
}


def describe_api(catalog: Catalog, *, has_tokens: bool) -> dict[str, Any]:
    """The OpenAPI 3.1 document, as JSON data; `has_tokens` adds bearer authentication."""
    schemas = {
        f"{name}_{type_}": _query_schema(name, datasource, type_, catalog)
        for name, datasource in catalog.datasources.items()
        for type_ in QUERY_TYPES
    }
    choices = [{"$ref": f"#/components/schemas/{name}"} for name in schemas]
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "LLM gateway metrics query API", "version": __version__},
        "paths": {API_PATH: {"post": _operation(choices)}},
        "components": {"schemas": {**schemas, "Result": _result(), "Error": _error()}},
    }
    if has_tokens:
        document["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"bearer": []}]
    return document


def _operation(choices: list[dict[str, str]]) -> dict[str, Any]:
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    result = {"application/json": {"schema": {"$ref": "#/components/schemas/Result"}}}
    return {
        "operationId": "queryMetrics",
        "summary": "Metrics of a time range, grouped and filtered",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"oneOf": choices}}},
        },
        "responses": {
            "200": {"description": "The data points", "content": result},
            **{s: {"description": text, "content": error} for s, text in _ERRORS.items()},
        },
    }


def _query_schema(
    name: str, datasource: Datasource, type_: QueryType, catalog: Catalog
) -> dict[str, Any]:
    groups = _spellings("groupBy", datasource.group_by, catalog)
    group = {"anyOf": [{"type": "string", "enum": groups}, _METADATA]}
    aggregations = {"anyOf": list(_aggregations(datasource, type_, catalog))}
    schema = _object(
        {
            "startTs": _TIME,
            "endTs": _TIME,
            "datasource": {"const": name},
            "type": {"const": type_},
        }
    )
    schema["properties"] |= {
        "aggregations": {**_list_of(aggregations), "uniqueItems": True},
        "groupBy": {**_list_of(group), "uniqueItems": True},
        "filters": _list_of({"anyOf": list(_filters(datasource, catalog))}),
    }
    if type_ == "timeseries":
        seconds = {"type": "integer", "minimum": 1, "maximum": 3_153_600_000}
        schema["properties"] |= {
            "interval": {"description": "goes before intervalInSeconds"},
            "intervalInSeconds": {"deprecated": True},
        }
        # As the reader does: `interval` wins, and `intervalInSeconds` is read only without it.
        schema["anyOf"] = [
            {"properties": {"interval": _INTERVAL}, "required": ["interval"]},
            {
                "properties": {"interval": {"type": "null"}, "intervalInSeconds": seconds},
                "required": ["intervalInSeconds"],
            },
        ]
    return schema


def _list_of(item: dict[str, Any]) -> dict[str, Any]:
    # The reader in body.py takes null for an empty list.
    return {"type": ["array", "null"], "maxItems": MOST_ENTRIES, "items": item}


def _spellings(kind: AliasKind, names: Iterable[str], catalog: Catalog) -> list[str]:
    """The names, and their aliases: the API has two spellings for some."""
    known = set(names)
    doubles = [name for name, meant in catalog.aliases[kind].items() if meant in known]
    return list(dict.fromkeys([*names, *doubles]))


def _aggregations(
    datasource: Datasource, type_: QueryType, catalog: Catalog
) -> Iterator[dict[str, Any]]:
    """A schema per set of functions, shared by all columns with that set."""
    columns: dict[tuple[str, ...], list[str]] = {}
    for name, column in datasource.columns.items():
        allowed = (t for t in column.aggregations if type_ == "timeseries" or t not in RATE_TYPES)
        columns.setdefault(tuple(allowed), []).append(name)
    for functions, names in columns.items():
        spellings = _spellings("columns", names, catalog)
        yield _object(
            {
                "type": {"type": "string", "enum": list(functions)},
                "column": {"type": "string", "enum": spellings},
            }
        )


def _filters(datasource: Datasource, catalog: Catalog) -> Iterator[dict[str, Any]]:
    """Schemas of filters, shared by all fields of one type and the same operators."""
    fields: dict[tuple[FieldType, frozenset[Operator]], list[str]] = {}
    for name, field in datasource.filters.items():
        fields.setdefault((field.type, frozenset(field.allowed)), []).append(name)
    for (type_, allowed), names in fields.items():
        spellings = _spellings("filters", names, catalog)
        yield from _entries("fieldName", {"enum": spellings}, type_, allowed)
    allowed = frozenset(catalog.metadata_operators)
    yield from _entries("metadataKey", {"pattern": "^[^\\u0000]+$"}, "string", allowed)
    yield from _entries("fieldName", _METADATA, "string", allowed)


def _entries(
    key: str, name: dict[str, Any], type_: FieldType, allowed: frozenset[Operator]
) -> Iterator[dict[str, Any]]:
    # An operator decides the shape of its value: a scalar, a list, two bounds, or a boolean.
    scalar = _SCALARS[type_]
    several = {"type": "array", "items": scalar, "minItems": 1, "maxItems": MOST_VALUES}
    low_and_high = {"type": "array", "items": scalar, "minItems": 2, "maxItems": 2}
    special: set[Operator] = {"IS_NULL", "BETWEEN", *LIST_OPERATORS}
    kinds: tuple[tuple[AbstractSet[Operator], dict[str, Any]], ...] = (
        ({*OPERATORS} - special, scalar),
        (LIST_OPERATORS, several),
        ({"BETWEEN"}, {**low_and_high, "description": "low and high, both included"}),
        ({"IS_NULL"}, {"type": "boolean", "description": "true: is null, false: is not null"}),
    )
    for operators, value in kinds:
        listed = [operator for operator in OPERATORS if operator in operators & allowed]
        if listed:
            operator = {"type": "string", "enum": listed}
            yield _object({key: {"type": "string", **name}, "operator": operator, "value": value})


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _error() -> dict[str, Any]:
    return _object(
        {
            "statusCode": {"type": "integer"},
            "message": {"type": "string"},
            "code": {"type": "string"},
            "details": {"type": "array", "items": {"type": "string"}},
        }
    )


def _result() -> dict[str, Any]:
    point = {
        "type": "object",
        "properties": {
            "total": {"type": "integer"},
            "startTimestamp": _TIME,
            "endTimestamp": _TIME,
        },
        "required": ["total"],
        "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
    }
    points = {"type": "array", "items": point}
    return _object({"data": _object({"dataPoints": points})})
