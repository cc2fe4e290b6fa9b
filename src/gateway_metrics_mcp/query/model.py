"""The query types and who asks: arguments and request bodies become them, SQL comes from them.

They check shapes alone. Whether a name exists is checked by validation.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
)
from pydantic.alias_generators import to_camel
from pydantic_core import from_json, to_json

from gateway_metrics_mcp.query.time.interval import Interval
from gateway_metrics_mcp.query.vocabulary import (
    METADATA_PREFIX,
    RATE_TYPES,
    AggregationType,
    DatasourceName,
    Operator,
    QueryType,
)

# Strict, because Pydantic would otherwise turn a filter on true into one on 1.
Scalar = StrictBool | StrictInt | StrictFloat | StrictStr
FilterValue = Scalar | tuple[Scalar, ...]


class Frozen(BaseModel):
    """camelCase on the wire, snake_case in Python, unknown keys refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        # A type's validator is built when it first validates: a command uses few of them, and most
        # are part of another's.
        defer_build=True,
    )


def value_key(type_: str, column: str) -> str:
    """The name of an aggregation's value in a row: `sumCostInUSD` (spec section 6)."""
    return f"{type_}{column[:1].upper()}{column[1:]}"


class Aggregation(Frozen):
    """A function and its column: `sum` of `costInUSD`."""

    type: AggregationType
    column: str

    @cached_property
    def key(self) -> str:
        """The name of its value in a row: `sumCostInUSD`."""
        return value_key(self.type, self.column)

    def __str__(self) -> str:
        return f"{self.type} {self.column}"

    @property
    def is_additive(self) -> bool:
        """Whether values of disjoint groups or buckets may be added up.

        Averages, percentiles and distinct counts may not.
        """
        return self.type in ("sum", "count")

    @property
    def is_zero_in_gaps(self) -> bool:
        """Whether a bucket without rows has 0 rather than null (R3)."""
        return self.type in ("sum", "count", "countDistinct")


class Filter(Frozen):
    """One condition; all filters of a query must hold.

    `field_name` is a filter field of the datasource or `metadata.<key>`. `value` is a scalar,
    a tuple for the list operators and BETWEEN, or a boolean for IS_NULL.
    """

    field_name: str
    operator: Operator
    value: FilterValue

    @property
    def metadata_key(self) -> str | None:
        """The metadata key that is filtered on; None for any other field."""
        if not self.field_name.startswith(METADATA_PREFIX):
            return None
        return self.field_name.removeprefix(METADATA_PREFIX)

    @property
    def values(self) -> tuple[Scalar, ...]:
        """The value as a tuple, also if it is a scalar."""
        return self.value if isinstance(self.value, tuple) else (self.value,)

    @property
    def texts(self) -> tuple[str, ...]:
        """The values that are text."""
        return tuple(value for value in self.values if isinstance(value, str))

    def to_body(self) -> dict[str, Any]:
        """The filter as an object of the API's request body."""
        # The API documents `metadataKey` for metadata; `fieldName: "metadata.x"` may be refused.
        key = self.metadata_key
        field = {"fieldName": self.field_name} if key is None else {"metadataKey": key}
        value = list(self.value) if isinstance(self.value, tuple) else self.value
        return {**field, "operator": self.operator, "value": value}


class Query(Frozen):
    """One question to one backend: a datasource over the window [start_ts, end_ts), in UTC.

    A `QueryValidator` checks its parts against the catalog. A timeseries has an interval, a
    distribution has none.
    """

    datasource: DatasourceName
    type: QueryType
    start_ts: AwareDatetime
    end_ts: AwareDatetime
    aggregations: tuple[Aggregation, ...] = ()
    group_by: tuple[str, ...] = ()
    filters: tuple[Filter, ...] = ()
    interval: Interval | None = None
    finds_one: bool = False
    """Only whether some row matches: an engine stops at the first, so `total` is 0 or 1. The API
    has no such query, so a gateway is never asked."""

    @property
    def has_rates(self) -> bool:
        """Whether a value is divided by the bucket's length (R14)."""
        return any(aggregation.type in RATE_TYPES for aggregation in self.aggregations)

    def to_body(self) -> dict[str, Any]:
        """The API's request body."""
        body: dict[str, Any] = {
            "startTs": format_instant(self.start_ts),
            "endTs": format_instant(self.end_ts),
            "datasource": self.datasource,
            "type": self.type,
            "aggregations": [{"type": a.type, "column": a.column} for a in self.aggregations],
        }
        if self.group_by:
            body["groupBy"] = list(self.group_by)
        if self.filters:
            body["filters"] = [f.to_body() for f in self.filters]
        if self.interval is not None:
            body["interval"] = self.interval.wire
            # Older servers need the deprecated seconds; newer ones ignore them (R25).
            if self.interval.fixed_seconds is not None:
                body["intervalInSeconds"] = self.interval.fixed_seconds
        return body

    def to_key(self) -> bytes:
        """A key that tells queries apart; as objects, filters on 1 and True are equal."""
        return to_json(self)


def format_instant(instant: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and `Z` (R17); microseconds only if they are not 0."""
    precision = "microseconds" if instant.microsecond % 1000 else "milliseconds"
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=precision) + "Z"


_NO_TEXT: Final = re.compile("[\0\ud800-\udfff]")


def is_text(value: str) -> bool:
    """Whether it is text that can be sent on: no NUL, no lone surrogate.

    JSON allows both; UTF-8 has no lone surrogates, and engines do not take a NUL.
    """
    return _NO_TEXT.search(value) is None


def parse_number(text: str) -> int | float | str:
    """The number in a text; the text unchanged if it has another form."""
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text


def parse_json(value: object) -> object:
    """The array or object in a text of JSON; any other value unchanged.

    Some clients send arrays and objects as text.
    """
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return from_json(value, allow_inf_nan=False)
        except ValueError:  # also for deep nesting, where json.loads raises RecursionError
            return value
    return value


SubjectType = Literal["user", "virtualaccount"]


@dataclass(frozen=True, slots=True)
class Caller:
    """The subject a query runs as.

    A tenant admin sees all rows; other callers see their own rows and their teams' (R23). `token`
    is the caller's gateway token, if each caller sends one; it is excluded from the repr.
    """

    subject: str
    subject_type: SubjectType = "user"
    teams: frozenset[str] = frozenset()
    is_tenant_admin: bool = False
    token: str | None = field(default=None, repr=False)
    has_server_token: bool = False
    """Whether the gateway is called with this server's own token. A flag, because an entry of a
    tokens file may have the same subject and rights as LOCAL and must not get that token."""
    owner: str = field(default="", compare=False, repr=False)
    """A digest of who sent the request, for rate limits and connections. With a shared token many
    owners run as one caller, so it is excluded from comparison: they share the cache."""

    @property
    def identity(self) -> tuple[Caller, str]:
        """Whose turn it is and whose share, where callers share limits."""
        return self, self.owner

    @property
    def is_restricted(self) -> bool:
        """Whether our rules restrict its rows (R23); a gateway restricts by token instead."""
        return not (self.is_tenant_admin or self.token)


LOCAL: Final = Caller(subject="local", is_tenant_admin=True, has_server_token=True)
"""The caller over stdio, where the server acts for the user who started it."""
