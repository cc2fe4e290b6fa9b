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
    """The query with one side chosen. A filter that the caller gave stands as given."""
    if not datasource.has_virtual_models:
        return Scoped(query, None)
    given = [f for f in query.filters if f.field_name == FIELD]
    if given:
        phrase, wants_none = _phrase(given), False
        # A row without a virtual model has null there, which a negative filter alone might match:
        # if the gateway let it, the answer would count both sides.
        if any(f.operator not in NEGATIVE_OPERATORS for f in given):
            return Scoped(query, phrase)
    else:
        columns = {*query.group_by, *(aggregation.column for aggregation in query.aggregations)}
        wants_none = COLUMN not in columns
        phrase = REAL if wants_none else VIRTUAL
    side = Filter(field_name=FIELD, operator="IS_NULL", value=wants_none)
    scoped = query.model_copy(update={"filters": (*query.filters, side)})
    return Scoped(scoped, phrase, side)


def _phrase(given: list[Filter]) -> str:
    """Null matches no operator but IS_NULL (R9)."""
    wants_none = {f.operator == "IS_NULL" and f.value is True for f in given}
    if len(wants_none) > 1:
        return NEITHER
    return REAL if wants_none.pop() else VIRTUAL
