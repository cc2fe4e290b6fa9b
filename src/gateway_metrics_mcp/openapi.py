"""The API we serve, described: one schema per datasource and type, made from the catalog."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from gateway_metrics_mcp import __version__
from gateway_metrics_mcp.query.catalog import Catalog, Datasource, FilterField
from gateway_metrics_mcp.query.vocabulary import (
    INTERVAL_UNITS,
    LIST_OPERATORS,
    QUERY_TYPES,
    RATE_TYPES,
    FieldType,
    Operator,
    QueryType,
)

PATH: Final = "/api/svc/v1/llm-gateway/metrics/query"

_TIME: Final = {
    "type": "string",
    "format": "date-time",
    "description": "ISO 8601 with an offset",
    "example": "2026-07-01T00:00:00.000Z",
}
_SCALARS: Final[dict[FieldType, dict[str, Any]]] = {
    "string": {"type": "string"},
    "array": {"type": "string"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
}
_ERROR: Final = {
    "type": "object",
    "properties": {
        "statusCode": {"type": "integer"},
        "message": {"type": "string"},
        "code": {"type": "string"},
        "details": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["statusCode", "message", "code", "details"],
}
_ERRORS: Final = {
    "400": "The query does not fit; every reason is listed",
    "401": "No token, or an unknown one",
    "403": "The token has expired",
    "413": "The body is larger than 256 KiB",
    "415": "The body is not JSON",
    "503": "Too many queries at once",
    "504": "The query took too long",
}


def describe_api(catalog: Catalog, *, has_tokens: bool) -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    schemas = {
        f"{name}_{type_}": _query_schema(name, datasource, type_, catalog)
        for name, datasource in catalog.datasources.items()
        for type_ in QUERY_TYPES
    }
    choices = [{"$ref": f"#/components/schemas/{name}"} for name in schemas]
    security = {"bearer": {"type": "http", "scheme": "bearer"}}
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "LLM gateway metrics query API", "version": __version__},
        "paths": {PATH: {"post": _operation(choices)}},
        "components": {"schemas": {**schemas, "Result": _result(), "Error": _ERROR}},
    }
    if has_tokens:
        document["components"]["securitySchemes"] = security
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
    properties: dict[str, Any] = {
        "startTs": _TIME,
        "endTs": _TIME,
        "datasource": {"const": name},
        "type": {"const": type_},
        "aggregations": _array(list(_aggregations(datasource, type_))),
        "groupBy": {
            "type": "array",
            "uniqueItems": True,
            "items": {
                "anyOf": [
                    {"type": "string", "enum": list(datasource.group_by)},
                    {"type": "string", "pattern": r"^metadata\.[^\u0000]+$"},
                ]
            },
        },
        "filters": _array(list(_filters(datasource, catalog))),
    }
    required = ["startTs", "endTs", "datasource", "type"]
    if type_ == "timeseries":
        units = "|".join(f"{unit}s?" for unit in INTERVAL_UNITS)
        properties["interval"] = {"type": "string", "pattern": f"^[1-9][0-9]? ({units})$"}
        required.append("interval")
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _array(choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "array", "uniqueItems": True, "items": {"oneOf": choices}}


def _aggregations(datasource: Datasource, type_: QueryType) -> Iterator[dict[str, Any]]:
    for name, column in datasource.columns.items():
        types = [t for t in column.aggregations if type_ == "timeseries" or t not in RATE_TYPES]
        yield _object({"type": {"type": "string", "enum": types}, "column": {"const": name}})


def _filters(datasource: Datasource, catalog: Catalog) -> Iterator[dict[str, Any]]:
    for name, field in datasource.filters.items():
        for operator in field.allowed:
            yield _filter({"fieldName": {"const": name}}, operator, field)
    key = {"metadataKey": {"type": "string", "pattern": "^[^\\u0000]+$"}}
    metadata = FilterField(type="string", operators=(), table_column="Metadata")
    for operator in catalog.metadata_operators:
        yield _filter(key, operator, metadata)


def _filter(name: dict[str, Any], operator: Operator, field: FilterField) -> dict[str, Any]:
    return _object({**name, "operator": {"const": operator}, "value": _value(operator, field)})


def _value(operator: Operator, field: FilterField) -> dict[str, Any]:
    scalar = _SCALARS[field.type]
    if operator == "IS_NULL":
        return {"type": "boolean", "description": "true: is null, false: is not null"}
    if operator == "BETWEEN":
        return {"type": "array", "items": scalar, "minItems": 2, "maxItems": 2}
    return (
        {"type": "array", "items": scalar, "minItems": 1} if operator in LIST_OPERATORS else scalar
    )


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


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
