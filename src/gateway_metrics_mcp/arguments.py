"""The arguments of the tools: Pydantic types, the flat schemas made of them, and their reading.

The types extend `Query`'s own fields in the form that is easiest for an agent to get right:
an aggregation is `sum costInUSD`, a filter's value a list of text. Other forms of the same are
taken too, and not published.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

from gateway_metrics_mcp.errors import Problem
from gateway_metrics_mcp.query.near import explain_choice, quote
from gateway_metrics_mcp.query.vocabulary import DATASOURCES, OPERATORS

Format = Literal["table", "exact", "json"]
FORMATS: Final = ("table", "exact", "json")

_TEXT: Final[dict[str, Any]] = {"type": "string"}
_TEXTS: Final[dict[str, Any]] = {"type": "array", "items": _TEXT}
_KEPT: Final = ("type", "description", "enum", "items", "properties", "required")


def parse_json(value: object) -> object:
    """The value of JSON text: some clients send arrays and objects so."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _read_names(value: object) -> list[object]:
    """A list, whether it came as one, as JSON text, as `a, b` or as a single name."""
    value = parse_json(value)
    if value is None:
        return []
    if isinstance(value, str):
        return [name.strip() for name in value.split(",") if name.strip()]
    return list(value) if isinstance(value, list | tuple) else [value]


def _read_list(value: object) -> list[object]:
    """A list of objects, whether it came as one, as JSON text or as a single object."""
    value = parse_json(value)
    if value is None:
        return []
    return [parse_json(v) for v in value] if isinstance(value, list | tuple) else [value]


def _read_whole_number(value: object) -> object:
    """`"10"` and 10.0 for 10; a boolean is none."""
    if isinstance(value, bool):
        return quote(value)
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


Text = Annotated[Any, WithJsonSchema(_TEXT)]
"""Text by its schema; what is no text is refused where its meaning is known."""

Names = Annotated[list[Any], BeforeValidator(_read_names), WithJsonSchema(_TEXTS)]
_Filters = WithJsonSchema(
    {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "fieldName": _TEXT,
                "operator": {"type": "string", "enum": list(OPERATORS)},
                "value": _TEXTS,
            },
            "required": ["fieldName", "operator", "value"],
        },
    }
)
Datasource = Annotated[Any, WithJsonSchema({"type": "string", "enum": list(DATASOURCES)})]
WholeNumber = Annotated[int, BeforeValidator(_read_whole_number), Field(strict=True)]


class Arguments(BaseModel):
    """The arguments of one tool; unknown ones are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=False
    )
    required: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The arguments' names, as they are published."""
        return tuple(field.alias or name for name, field in cls.model_fields.items())

    @classmethod
    def schema_for_clients(cls) -> dict[str, Any]:
        """The JSON schema in the subset that every client takes: one `type` per property."""
        properties = cls.model_json_schema()["properties"]
        flat = {name: _flatten(schema) for name, schema in properties.items()}
        schema: dict[str, Any] = {"type": "object", "properties": flat}
        if cls.required:
            schema["required"] = list(cls.required)
        return schema


class QueryArguments(Arguments):
    """What both query tools take."""

    required = ("startTs",)

    datasource: Datasource = Field("modelMetrics", description="kind of rows")
    aggregations: Names = Field(
        [],
        description="function and column: sum costInUSD, p95 latencyMs; total always comes",
    )
    group_by: Names = Field(
        [],
        description="modelName, team, userEmail, virtualaccount, metadata.<key>, ...",
    )
    filters: Annotated[list[Any], BeforeValidator(_read_list), _Filters] = Field(
        [], description="all must hold; metadata.<key> is a field; IS_NULL: true, false"
    )
    start_ts: Text = Field(
        None,
        description="ISO 8601, now-7d, or a period: today, last 7 days, last month, 2026-07",
    )
    end_ts: Text = Field(None, description="exclusive; default the period's end, or now")
    timezone: Text = Field(None, description="IANA zone of dates and periods; default UTC")
    format: Format = Field("table", description="exact: all digits")


class DistributionArguments(QueryArguments):
    """`query_distribution`."""

    order_by: Text = Field(
        None,
        description="column of the answer, -column ascending; default first value, descending",
    )
    limit: Annotated[WholeNumber, Field(ge=1)] | None = Field(
        None, description="rows to show; default what fits"
    )
    offset: WholeNumber = Field(0, ge=0, description="rows to skip")


class TimeseriesArguments(QueryArguments):
    """`query_timeseries`."""

    interval: Text = Field(None, description="1 hour, 1 day, ...; default at most about 60 buckets")
    limit: WholeNumber = Field(8, ge=1, description="series to show; default 8")


class ListFieldsArguments(Arguments):
    """`list_fields`."""

    datasource: Datasource = Field(
        None, description="its fields; without it, all datasources in a line each"
    )


A = TypeVar("A", bound=Arguments)


def read_arguments(kind: type[A], raw: Mapping[str, Any], problems: list[Problem]) -> A:
    """The arguments, with defaults in place of those that do not fit.

    Each that is unknown or does not fit is added to `problems`.
    """
    given = {name: value for name, value in raw.items() if value is not None}
    for name in [name for name in given if name not in kind.names()]:
        problems.append(Problem(name, f"unknown argument. {explain_choice(name, kind.names())}"))
        del given[name]
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        for wrong in error.errors():
            name = str(wrong["loc"][0])
            if name in given:
                problems.append(Problem(name, _explain(name, wrong, given.pop(name))))
        return kind.model_validate(given)


def _explain(name: str, wrong: Any, value: object) -> str:
    if name == "format":
        return f"{quote(value)} is unknown. {explain_choice(str(value), FORMATS)}"
    least = wrong.get("ctx", {}).get("ge", 0 if name == "offset" else 1)
    return f"expected a whole number from {least}, got {quote(value)}"


def _flatten(schema: Mapping[str, Any]) -> dict[str, Any]:
    """One property without its null branch and without the keywords some clients refuse."""
    merged: dict[str, Any] = {**schema}
    for branch in schema.get("anyOf", ()):
        if branch.get("type") != "null":
            merged.update(branch)
    return {key: merged[key] for key in _KEPT if key in merged}
