"""Filters and access rights -> SQL conditions, every value bound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway_metrics_mcp.backends.sql.dialect import Dialect, TextPlace, quote_identifier
from gateway_metrics_mcp.backends.sql.tables import SLUG_COLUMN, SUBJECT_TYPE_COLUMN, Layout
from gateway_metrics_mcp.query.caller import Caller
from gateway_metrics_mcp.query.catalog import FilterField
from gateway_metrics_mcp.query.model import Filter, Query, Scalar
from gateway_metrics_mcp.query.vocabulary import NEGATIVE_OPERATORS, Operator

Bind = Callable[[object], str]

SUBJECT_KINDS: Final = {
    "userEmail": "user",
    "virtualaccount": "virtualaccount",
    "virtualAccount": "virtualaccount",
}
"""Names that mean the subject's slug and one kind of subject (R7, R8)."""

_POSITIVE: Final[dict[Operator, Operator]] = {
    "NOT_EQUAL": "EQUAL",
    "NOT_IN": "IN",
    "STRING_NOT_CONTAINS": "STRING_CONTAINS",
    "STRING_NOT_STARTS_WITH": "STRING_STARTS_WITH",
    "STRING_NOT_ENDS_WITH": "STRING_ENDS_WITH",
}
_COMPARISONS: Final[dict[Operator, str]] = {
    "EQUAL": "=",
    "GREATER_THAN": ">",
    "LESS_THAN": "<",
    "GREATER_THAN_EQUAL": ">=",
    "LESS_THAN_EQUAL": "<=",
}
_TEXT_PLACES: Final[dict[Operator, TextPlace]] = {
    "STRING_CONTAINS": "anywhere",
    "STRING_STARTS_WITH": "start",
    "STRING_ENDS_WITH": "end",
}


class Conditions:
    """The conditions of one statement."""

    def __init__(self, dialect: Dialect, layout: Layout, bind: Bind) -> None:
        self._dialect = dialect
        self._layout = layout
        self._bind = bind

    def of_filter(self, query: Query, filter_: Filter) -> str:
        """The condition of one filter (R8 to R11)."""
        field = self._layout.catalog.filter_field(query.datasource, filter_.field_name)
        if field is None:  # read_query refuses it; only pass-through lets it by
            raise KeyError(filter_.field_name)
        kind = SUBJECT_KINDS.get(filter_.field_name)
        if kind is not None:
            return self._subject(filter_, kind)
        filter_, value = self._comparable(query, filter_, field)
        if field.type == "array" and filter_.operator != "IS_NULL":
            return self._teams(filter_)
        if filter_.operator in NEGATIVE_OPERATORS:
            # NOT of null is null: a null never matches a negative operator (R9).
            return f"NOT ({self._positive(value, filter_, _POSITIVE[filter_.operator])})"
        return self._positive(value, filter_, filter_.operator)

    def of_caller(self, caller: Caller) -> str | None:
        """The rows a caller may see (R23); None for a tenant admin, who sees all."""
        if caller.is_tenant_admin:
            return None
        slug, kind = self._bind(caller.subject), self._bind(caller.subject_type)
        own = f"({SLUG_COLUMN} = {slug} AND {SUBJECT_TYPE_COLUMN} = {kind})"
        teams = [self._dialect.has_team(self._bind(team)) for team in sorted(caller.teams)]
        return f"({' OR '.join([own, *teams])})"

    def _subject(self, filter_: Filter, kind: str) -> str:
        """Slug and kind together; a negative operator negates the whole (R8)."""
        operator = filter_.operator
        positive = _POSITIVE.get(operator, operator)
        slug = self._positive(quote_identifier(SLUG_COLUMN), filter_, positive)
        both = f"({slug}) AND {SUBJECT_TYPE_COLUMN} = {self._bind(kind)}"
        return f"NOT ({both})" if operator in NEGATIVE_OPERATORS else f"({both})"

    def _teams(self, filter_: Filter) -> str:
        values = filter_.value if isinstance(filter_.value, tuple) else (filter_.value,)
        any_of = " OR ".join(self._dialect.has_team(self._bind(team)) for team in values)
        return f"NOT ({any_of})" if filter_.operator == "ARRAY_HAS_NONE" else f"({any_of})"

    def _comparable(self, query: Query, filter_: Filter, field: FilterField) -> tuple[Filter, str]:
        """The filter and what it is about; where one number is a double, all are."""
        if filter_.metadata_key is not None:
            return filter_, self._dialect.metadata(self._bind(filter_.metadata_key))
        column = quote_identifier(field.table_column)
        datasource = self._layout.catalog.datasources[query.datasource]
        if self._layout.is_float(datasource, field.table_column):
            return _with_floats(filter_), self._dialect.finite(column)
        given = filter_.value if isinstance(filter_.value, tuple) else (filter_.value,)
        if any(isinstance(number, float) for number in given):
            return _with_floats(filter_), self._dialect.as_float(column)
        return filter_, column

    def _positive(self, value: str, filter_: Filter, operator: Operator) -> str:
        """A condition that holds for the values named."""
        given = filter_.value
        if operator == "IS_NULL":
            return f"{value} IS {'' if given else 'NOT '}NULL"
        if operator == "BETWEEN" and isinstance(given, tuple):
            low, high = (self._bind(bound) for bound in given)
            return f"({value} >= {low} AND {value} <= {high})"
        if operator == "IN" and isinstance(given, tuple):
            return f"{value} IN ({', '.join(self._bind(item) for item in given)})"
        if operator in _TEXT_PLACES:
            part = self._bind(_scalar(given))
            return self._dialect.has_text(_TEXT_PLACES[operator], value, part)
        return f"{value} {_COMPARISONS[operator]} {self._bind(_scalar(given))}"


def _with_floats(filter_: Filter) -> Filter:
    """The filter with its numbers as doubles."""
    given = filter_.value
    if isinstance(given, tuple):
        return filter_.model_copy(update={"value": tuple(map(_as_float, given))})
    return filter_.model_copy(update={"value": _as_float(given)})


def _as_float(value: Scalar) -> Scalar:
    """A number as a double; -0.0 as 0.0, which ClickHouse's IN tells apart."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) + 0.0 if is_number else value


def _scalar(value: Scalar | tuple[Scalar, ...]) -> Scalar:
    if isinstance(value, tuple):
        raise TypeError("a single value is expected here")
    return value
