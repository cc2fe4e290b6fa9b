"""The scope of a query: either models or virtual models, so that no request counts twice."""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway_metrics_mcp.query.catalog import Datasource
from gateway_metrics_mcp.query.model import Filter, Query
from gateway_metrics_mcp.query.vocabulary import NEGATIVE_OPERATORS

# A request to a virtual model leaves one row for it and one for each real model tried. A query over
# both would count the request twice, so each query gets one side.
FIELD: Final = "virtualModelName"
COLUMN: Final = "virtualModel"

REAL: Final = "models only, virtual-model rows excluded"
VIRTUAL: Final = "virtual models only, their model calls excluded"
VIRTUAL_ROWS: Final = "requests to virtual models"
"""What a row of the virtual side counts."""

NEITHER: Final = "no rows: the filters on virtualModelName exclude each other"


class Scoped(NamedTuple):
    """A query restricted to real or to virtual models."""

    query: Query
    phrase: str | None
    """Which side; None if the datasource has no virtual models."""
    added: Filter | None = None
    """The filter that was added, which is the query's last; None if none was."""


def is_scope(filter_: Filter) -> bool:
    """Whether a filter chooses one side of virtual models."""
    return filter_.field_name == FIELD and filter_.operator == "IS_NULL"


def apply_scope(query: Query, datasource: Datasource) -> Scoped:
    """The query with one side of virtual models chosen; the caller's own filter is kept."""
    if not datasource.has_virtual_models:
        return Scoped(query, None)
    given = [f for f in query.filters if f.field_name == FIELD]
    if given:
        phrase, wants_none = _phrase(given), False
        # Real-model rows have null there. Whether a gateway's negative operators match null is not
        # documented; if they do, a negative filter alone would count both sides.
        if any(f.operator not in NEGATIVE_OPERATORS for f in given):
            return Scoped(query, phrase)
    else:
        # A query that groups by or aggregates virtual models asks about that side.
        columns = {*query.group_by, *(aggregation.column for aggregation in query.aggregations)}
        wants_none = COLUMN not in columns
        phrase = REAL if wants_none else VIRTUAL
    side = Filter(field_name=FIELD, operator="IS_NULL", value=wants_none)
    scoped = query.model_copy(update={"filters": (*query.filters, side)})
    return Scoped(scoped, phrase, side)


def _phrase(given: list[Filter]) -> str:
    """Which side the caller's own filters choose: only IS_NULL true matches null (R9)."""
    wants_none = {f.operator == "IS_NULL" and f.value is True for f in given}
    if len(wants_none) > 1:
        return NEITHER
    return REAL if wants_none.pop() else VIRTUAL
