"""Queries of every kind, for property tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from hypothesis import strategies as st

from gateway_metrics_mcp.query.catalog import Catalog, FilterField, load_catalog
from gateway_metrics_mcp.query.model import Aggregation, Filter, Query
from gateway_metrics_mcp.query.time.interval import Interval
from gateway_metrics_mcp.query.vocabulary import (
    DATASOURCES,
    INTERVAL_UNITS,
    LIST_OPERATORS,
    RATE_TYPES,
    DatasourceName,
    Operator,
)

_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
_NUMBERS = st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
_KEYS = _TEXT.filter(bool).map(lambda key: f"metadata.{key}")
_INTERVALS = st.builds(Interval, st.integers(1, 90), st.sampled_from(INTERVAL_UNITS))


@st.composite
def _queries(draw: st.DrawFn) -> Query:
    catalog = load_catalog()
    name = draw(st.sampled_from(DATASOURCES))
    datasource = catalog.datasources[name]
    interval = draw(st.none() | _INTERVALS)
    aggregations = [
        Aggregation(type=type_, column=column)
        for column, entry in datasource.columns.items()
        for type_ in entry.aggregations
        if interval is not None or type_ not in RATE_TYPES
    ]
    start = draw(st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1))).replace(tzinfo=UTC)  # noqa: DTZ001 - hypothesis wants naive bounds
    groups = st.sampled_from([*datasource.group_by]) | _KEYS
    return Query(
        datasource=name,
        type="distribution" if interval is None else "timeseries",
        start_ts=start,
        end_ts=start + timedelta(seconds=draw(st.integers(1, 10**8))),
        aggregations=tuple(draw(st.lists(st.sampled_from(aggregations), unique=True, max_size=4))),
        group_by=tuple(draw(st.lists(groups, unique=True, max_size=3))),
        filters=tuple(draw(st.lists(_filters(catalog, name), max_size=3))),
        interval=interval,
    )


@st.composite
def _filters(draw: st.DrawFn, catalog: Catalog, datasource: DatasourceName) -> Filter:
    name = draw(st.sampled_from([*catalog.datasources[datasource].filters]) | _KEYS)
    field = cast("FilterField", catalog.filter_field(datasource, name))
    operator = draw(st.sampled_from(field.allowed))
    return Filter(field_name=name, operator=operator, value=draw(_values(field, operator)))


def _values(field: FilterField, operator: Operator) -> st.SearchStrategy[Any]:
    scalars: dict[str, st.SearchStrategy[Any]] = {
        "string": _TEXT,
        "array": _TEXT,
        "number": _NUMBERS,
        "boolean": st.booleans(),
    }
    scalar = scalars[field.type]
    if operator == "IS_NULL":
        return st.booleans()
    if operator == "BETWEEN":
        return st.tuples(scalar, scalar).map(lambda pair: tuple(sorted(pair)))
    if operator in LIST_OPERATORS:
        return st.lists(scalar, min_size=1, max_size=4).map(tuple)
    return scalar


@pytest.fixture(scope="session")
def queries() -> st.SearchStrategy[Query]:
    """Any query that the catalog allows."""
    return _queries()
