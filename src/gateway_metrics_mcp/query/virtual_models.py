"""Virtual models: which side of the double entry a query asks.

A virtual-model request leaves a row for the virtual model and one for each real model tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway_metrics_mcp.query.catalog import Datasource
from gateway_metrics_mcp.query.model import Filter, Query
from gateway_metrics_mcp.query.vocabulary import NEGATIVE_OPERATORS

FIELD: Final = "virtualModelName"
COLUMN: Final = "virtualModel"

REAL: Final = "models only, virtual-model rows left out"
VIRTUAL: Final = "virtual models only, the model calls under them left out"
VIRTUAL_ROWS: Final = "requests to virtual models"
"""What a row of a virtual model is."""

NEITHER: Final = "no rows: the filters on virtualModelName exclude each other"


@dataclass(frozen=True, slots=True)
class Scoped:
    """A query with one side chosen."""

    query: Query
    phrase: str | None
    """Which side; None where the datasource has no virtual models."""
    added: Filter | None = None
    """The query's last filter, where it is ours."""


def apply_scope(query: Query, datasource: Datasource) -> Scoped:
    """The query with one side chosen. A filter of the asker's stands as given."""
    if not datasource.has_virtual_models:
        return Scoped(query, None)
    given = [f for f in query.filters if f.field_name == FIELD]
    if given:
        return _exclude_null(query, given)
    is_virtual = COLUMN in query.group_by or any(
        aggregation.column == COLUMN for aggregation in query.aggregations
    )
    return _add(query, VIRTUAL if is_virtual else REAL, wants_none=not is_virtual)


def _add(query: Query, phrase: str, *, wants_none: bool) -> Scoped:
    side = Filter(field_name=FIELD, operator="IS_NULL", value=wants_none)
    scoped = query.model_copy(update={"filters": (*query.filters, side)})
    return Scoped(scoped, phrase, side)


def _exclude_null(query: Query, given: list[Filter]) -> Scoped:
    """A negative filter alone: whether null matches it is not left to the gateway.

    If it did, the answer would count both sides.
    """
    if any(f.operator not in NEGATIVE_OPERATORS for f in given):
        return Scoped(query, _phrase(given))
    return _add(query, _phrase(given), wants_none=False)


def _phrase(given: list[Filter]) -> str:
    """A row without a virtual model has null there, which matches no other operator (R9)."""
    wants_none = {f.operator == "IS_NULL" and f.value is True for f in given}
    if len(wants_none) > 1:
        return NEITHER
    return REAL if wants_none.pop() else VIRTUAL
