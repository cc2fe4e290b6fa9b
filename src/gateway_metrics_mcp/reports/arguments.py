"""The tools' arguments as Pydantic types, their published schemas, and their parsing.

The types follow `Query`'s fields in the form that models get right most often: an aggregation is
`sum costInUSD`, a filter's value a list of text. Other forms are accepted but not published.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic.alias_generators import to_camel

from gateway_metrics_mcp.errors import Problems
from gateway_metrics_mcp.query import DATASOURCES, did_you_mean, parse_json, quote
from gateway_metrics_mcp.query.model import is_text
from gateway_metrics_mcp.query.validation import MOST_ENTRIES
from gateway_metrics_mcp.query.vocabulary import OPERATORS

Format = Literal["table", "exact", "json", "chart", "explain"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)
_LONGEST_NAME: Final = 256
_MOST_DIGITS: Final = 19

_TEXT: Final[dict[str, Any]] = {"type": "string"}
_TEXTS: Final[dict[str, Any]] = {"type": "array", "items": _TEXT}
# Some clients refuse $ref, anyOf, null branches, format or additionalProperties in a schema.
_KEPT: Final = ("type", "description", "enum", "items", "properties", "required")


def unfold(value: object) -> object:
    """The value with all JSON text in it parsed, as the readers will parse it."""
    value = parse_json(value)
    if isinstance(value, Mapping):
        return {key: unfold(entry) for key, entry in value.items()}
    return [unfold(entry) for entry in value] if isinstance(value, list | tuple) else value


def _read_names(value: object) -> list[object]:
    """A list of names, given as a list, as JSON text, as `a, b` or as one name."""
    value = parse_json(value)
    if isinstance(value, str):
        value = [name.strip() for name in value.split(",") if name.strip()]
    names = _read_list(value)
    if any(isinstance(name, str) and len(name) > _LONGEST_NAME for name in names):
        raise ValueError(f"a name of more than {_LONGEST_NAME} characters")
    return names


def _read_list(value: object) -> list[object]:
    """A list, given as a list, as JSON text or as one entry; entries may be JSON text too."""
    value = parse_json(value)
    if not isinstance(value, list | tuple):
        return [value]
    if len(value) > MOST_ENTRIES:
        raise ValueError(f"{len(value)} entries, the limit is {MOST_ENTRIES}")
    return [parse_json(entry) for entry in value]


def _read_whole_number(value: object) -> object:
    """10 for `"10"` and 10.0; a boolean is refused, though Python takes True as 1."""
    if isinstance(value, bool):
        return quote(value)
    if isinstance(value, str) and len(value) < _MOST_DIGITS and value.strip().isdecimal():
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


Text = Annotated[Any, WithJsonSchema(_TEXT)]
"""Text in the schema, any value here: its later reader refuses others with a better error."""

Names = Annotated[list[Any], BeforeValidator(_read_names), WithJsonSchema(_TEXTS)]
_Filters = WithJsonSchema(
    {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "fieldName": {**_TEXT, "description": "a filter field, or metadata.<key>"},
                "operator": {**_TEXT, "enum": list(OPERATORS), "description": "how to compare"},
                "value": {**_TEXTS, "description": "one or several; IS_NULL: true, false"},
            },
            "required": ["fieldName", "operator", "value"],
        },
    }
)
Datasource = Annotated[Any, WithJsonSchema({"type": "string", "enum": list(DATASOURCES)})]
WholeNumber = Annotated[int, BeforeValidator(_read_whole_number), Field(strict=True)]


class Arguments(BaseModel):
    """The arguments of one tool; unknown arguments are refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=False,
        defer_build=True,  # `ask` needs one tool's
    )
    required: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The published names of the arguments."""
        return tuple(field.alias or name for name, field in cls.model_fields.items())

    @classmethod
    @cache
    def schema_for_clients(cls) -> dict[str, Any]:
        """The JSON schema in the subset that every client accepts: one `type` per property.

        Cached, and shared by all servers of a process: not to be changed.
        """
        properties = cls.model_json_schema()["properties"]
        flat = {name: _flatten(schema) for name, schema in properties.items()}
        schema: dict[str, Any] = {"type": "object", "properties": flat}
        if cls.required:
            schema["required"] = list(cls.required)
        return schema


class QueryArguments(Arguments):
    """The arguments that both query tools share."""

    required = ("startTs",)

    datasource: Datasource = Field("modelMetrics", description="kind of rows")
    aggregations: Names = Field(
        [],
        description=(
            "function and column (sum costInUSD, p95 latencyMs) or a measure (errorRate,"
            " costPerRequest, share); total always comes"
        ),
    )
    group_by: Names = Field(
        [],
        description="modelName, team, userEmail, virtualaccount, metadata.<key>, ...",
    )
    filters: Annotated[list[Any], BeforeValidator(_read_list), _Filters] = Field(
        [], description="all must hold"
    )
    start_ts: Text = Field(
        None,
        description=(
            "ISO 8601, now-7d or a period: last 7 days, 2026-07, 2026-07-14 (that day),"
            " 2026-07-14.. (to now)"
        ),
    )
    end_ts: Text = Field(None, description="exclusive; default period's end or now")
    timezone: Text = Field(None, description="IANA zone; default UTC")
    format: Format = Field("table", description="exact: all digits; explain: the request, not run")


class DistributionArguments(QueryArguments):
    """The arguments of `query_distribution`."""

    compare_to: Text = Field(
        None, description="change against: previous, 1 week, 1 month, or a period"
    )
    order_by: Text = Field(
        None,
        description="column of the answer, -column ascending; default first value, descending",
    )
    limit: Annotated[WholeNumber, Field(ge=1)] | None = Field(
        None, description="rows to show; default what fits"
    )
    offset: WholeNumber = Field(0, ge=0, description="rows to skip")


class TimeseriesArguments(QueryArguments):
    """The arguments of `query_timeseries`."""

    interval: Text = Field(None, description="1 hour, 1 day, ...; default at most about 60 buckets")
    limit: WholeNumber = Field(8, ge=1, description="series to show; default 8")


class ListFieldsArguments(Arguments):
    """The arguments of `list_fields`."""

    datasource: Datasource = Field(
        None, description="its fields; without it, all datasources in a line each"
    )


class ListValuesArguments(Arguments):
    """The arguments of `list_values`."""

    required = ("field",)

    datasource: Datasource = Field("modelMetrics", description="kind of rows")
    field: Text = Field(
        None, description="a group-by field, metadata.<key>, or metadata for its keys"
    )
    start_ts: Text = Field("now-7d", description="as in the query tools; default now-7d")
    end_ts: Text = Field(None, description="exclusive")
    timezone: Text = Field(None, description="IANA zone; default UTC")
    search: Text = Field(None, description="part of the value, in any case")
    limit: Annotated[WholeNumber, Field(ge=1)] | None = Field(
        None, description="rows to show; default what fits"
    )
    offset: WholeNumber = Field(0, ge=0, description="rows to skip")


A = TypeVar("A", bound=Arguments)


def read_arguments(kind: type[A], raw: Mapping[str, Any], problems: Problems) -> A:
    """The arguments; each unknown or invalid one is a problem and gets its default.

    Parsing goes on after a problem, so that one refusal lists all of them.
    """
    given, names = {}, kind.names()
    for name, value in raw.items():
        if name not in names:
            choice = did_you_mean(name, names)
            problems.add(quote(name), f"unknown argument. {choice}")
        elif not _is_text(value):
            problems.add(name, "contains a NUL or half a surrogate pair, which is not text")
        elif value is not None:
            given[name] = value
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        for wrong in error.errors():
            name = str(wrong["loc"][0])
            if name in given:
                problems.add(name, _explain(name, wrong, given.pop(name)))
        # The invalid ones are gone by now.
        return kind.model_validate(given)


def _is_text(value: object) -> bool:
    """Whether all text in a JSON value can be sent on: JSON allows a NUL and lone surrogates."""
    if isinstance(value, str):
        return is_text(value)
    if isinstance(value, Mapping):
        return all(_is_text(key) and _is_text(entry) for key, entry in value.items())
    return all(_is_text(entry) for entry in value) if isinstance(value, list | tuple) else True


def _explain(name: str, wrong: Any, value: object) -> str:
    if name == "format":
        return f"{quote(value)} is unknown. {did_you_mean(str(value), FORMATS)}"
    context = wrong.get("ctx", {})
    if "error" in context:
        return str(context["error"])
    least = context.get("ge", 0 if name == "offset" else 1)
    return f"expected a whole number from {least}, got {quote(value)}"


def _flatten(schema: Mapping[str, Any]) -> dict[str, Any]:
    """One property without its null branch, and without keywords that some clients refuse."""
    merged: dict[str, Any] = {**schema}
    for branch in schema.get("anyOf", ()):
        if branch.get("type") != "null":
            merged.update(branch)
    return {key: merged[key] for key in _KEPT if key in merged}
