"""The tools' arguments as Pydantic types, their published schemas, and their parsing.

The types follow `Query`'s fields in the form that models get right most often: an aggregation is
`sum costInUSD`, a filter's value a list of text. Other forms are accepted but not published.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic.alias_generators import to_camel

from gateway_metrics_mcp.errors import Fix, Problem, Problems
from gateway_metrics_mcp.query import DATASOURCES, did_you_mean, parse_json, quote
from gateway_metrics_mcp.query.model import is_text
from gateway_metrics_mcp.query.suggestions import closest_matches
from gateway_metrics_mcp.query.validation import MOST_ENTRIES
from gateway_metrics_mcp.query.vocabulary import OPERATORS

Format = Literal["table", "exact", "json", "chart", "explain"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)
_LONGEST_NAME: Final = 256
_PLACE: Final = r"(\w+)(?:\[(\d+)\])?(?:\.(\w+))?.*"
LISTS: Final = ("aggregations", "groupBy", "filters")
"""The arguments with entries, which are fixed one by one."""
_NOTHING: Final = ("null", "None", "undefined")
"""What some clients write for no value."""
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


def is_left_out(value: object) -> bool:
    """Whether an argument holds nothing: clients and models fill those they do not use.

    A filter without field and value says nothing either, whatever its operator.
    """
    if isinstance(value, str):
        return not value.strip() or value.strip() in _NOTHING
    if isinstance(value, Mapping):
        return all(is_left_out(entry) for name, entry in value.items() if name != "operator")
    if isinstance(value, list | tuple):
        return all(map(is_left_out, value))
    return value is None


def list_entries(name: str, value: object) -> object:
    """An argument in its published form: a list of names or filters, else as it was given."""
    try:
        if name in ("aggregations", "groupBy"):
            return _read_names(value)
        return _read_filters(value) if name == "filters" else value
    except ValueError:
        return value


def _read_filters(value: object) -> list[object]:
    """The filters, without those that a client filled with nothing."""
    return [entry for entry in _read_list(value) if not is_left_out(entry)]


def _read_names(value: object) -> list[object]:
    """A list of names, given as a list, as JSON text, as `a, b` or as one name."""
    value = parse_json(value)
    if isinstance(value, str):
        value = [name.strip() for name in value.split(",") if name.strip()]
    names = _read_list(value)
    if any(isinstance(name, str) and len(name) > _LONGEST_NAME for name in names):
        raise ValueError(f"a name of more than {_LONGEST_NAME} characters")
    return [name for name in names if not (isinstance(name, str) and not name.strip())]


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
    elsewhere: ClassVar[Mapping[str, str]] = {}
    """Arguments that another tool takes, and which one."""

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
    filters: Annotated[list[Any], BeforeValidator(_read_filters), _Filters] = Field(
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

    elsewhere: ClassVar[Mapping[str, str]] = {
        "interval": "query_timeseries has a row per bucket of an interval"
    }

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

    elsewhere: ClassVar[Mapping[str, str]] = {
        "compareTo": "query_distribution compares two windows",
        "orderBy": "the largest series come first, buckets by time",
        "offset": "limit says how many series are shown",
    }

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
        known: str | None = name
        if name not in names:
            known = _refuse_name(name, kind, problems)
            if known in raw or known in given:
                continue
        if known is None:
            continue
        if not _is_text(value):
            problems.add(name, "contains a NUL or half a surrogate pair, which is not text")
        elif not is_left_out(value) or (known == "search" and str(value).strip()):
            given[known] = value
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        for wrong in error.errors():
            name = str(wrong["loc"][0])
            if name in given:
                fix = Fix(closest_matches(str(given[name]), FORMATS)[:1])
                problems.add(name, _explain(name, wrong, given.pop(name)), fix)
        # The invalid ones are gone by now.
        return kind.model_validate(given)


def _refuse_name(name: str, kind: type[Arguments], problems: Problems) -> str | None:
    """Add the problem of an unknown argument; the one that it was probably meant to be."""
    from gateway_metrics_mcp.query import spellings  # most calls spell them right

    names = kind.names()
    other = spellings.read_name(name, kind.elsewhere)
    meant = None if other else spellings.guess_argument(name, names)
    where = f"{kind.elsewhere[other]}. " if other else ""
    if meant is None and other is None and "filters" in names and spellings.is_field(name):
        where = "A field's value is one of filters. "
    choice = did_you_mean(name, names, meant) if other is None else f"Allowed: {', '.join(names)}"
    problems.add(quote(name), f"unknown argument. {where}{choice}")
    return meant


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


def apply_fixes(problems: Sequence[Problem], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with the fixes in their places."""
    fixed = {name: [*v] if isinstance(v, list) else v for name, v in arguments.items()}
    fixes = [(_locate(problem.place), problem.fix) for problem in problems if problem.fix]
    done: set[tuple[str, int]] = set()
    # From the last entry, because a fix may put several in the place of one; whole entries before
    # their parts.
    for (name, index, part), fix in sorted(fixes, key=lambda one: (-one[0][1], bool(one[0][2]))):
        entries = fixed.get(name)
        if not isinstance(entries, list):
            _set_argument(fixed, name, fix)
        elif index < len(entries) and (name, index) not in done:
            if part and isinstance(entries[index], Mapping):
                # An operator may come with its value.
                parts = dict(zip((part, "value"), fix.entries, strict=False))
                entries[index] = {**entries[index], **parts}
            else:
                entries[index : index + 1] = fix.entries
                done.add((name, index))
    for name, value in [pair for _, fix in fixes for pair in fix.adds.items()]:
        if name not in LISTS:
            fixed[name] = fixed.get(name, value) if name == "interval" else value
        elif value not in fixed.setdefault(name, []):
            fixed[name].append(value)
    return fixed


def _set_argument(fixed: dict[str, Any], name: str, fix: Fix) -> None:
    if fix.entries:
        fixed[name] = fix.entries[0]
    elif not fix.adds:
        fixed.pop(name, None)


def _locate(place: str) -> tuple[str, int, str]:
    """`("filters", 0, "operator")` of `filters[0].operator`; without an index it is 0."""
    match = re.fullmatch(_PLACE, place)
    return ("", 0, "") if match is None else (match[1], int(match[2] or 0), match[3] or "")
