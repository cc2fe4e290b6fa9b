"""Arguments of every kind: questions the catalogue allows, near misses of them, and any JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from hypothesis import strategies as st

from gateway_metrics_mcp.query.catalog import (
    SHARE,
    Datasource,
    FilterField,
    load_catalog,
)
from gateway_metrics_mcp.query.vocabulary import DATASOURCES, RATE_TYPES, DatasourceName

Case = tuple[str, dict[str, Any]]

CORPUS: Final[Sequence[str]] = json.loads(
    (Path(__file__).parent / "corpus.json").read_text("utf-8")
)
WINDOWS: Final = (
    *("today", "yesterday", "last 7 days", "last 24 hours", "this month", "last week", "2026-07"),
    *("now-7d", "now-30d", "2026-W28", "2026-07-01..2026-07-12", "2026-07-09", "2026"),
)
ZONES: Final = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Chatham")
EARLIER: Final = ("previous", "1 day", "1 week", "1 month", "2026-06", "last month")
INTERVALS: Final = ("15 minutes", "1 hour", "6 hours", "1 day", "1 week", "1 month")

# What no engine and no request can carry is refused before anything else looks at it.
HOSTILE: Final = st.sampled_from(CORPUS) | st.text(max_size=40).map(lambda t: t.replace("\0", ""))
NUMBER: Final = st.integers(-3, 600) | st.floats(-1e3, 1e6, allow_nan=False)
JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | HOSTILE,
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text() | HOSTILE, inner, max_size=5)
    ),
    max_leaves=20,
)


@st.composite
def _filter(draw: st.DrawFn, datasource: Datasource) -> dict[str, Any]:
    """A filter with a value of its operator's kind."""
    names = [*datasource.filters, "metadata"]
    name = draw(st.sampled_from(names))
    if name == "metadata":
        key = draw(st.sampled_from(CORPUS).filter(bool))
        operator = draw(st.sampled_from(["EQUAL", "NOT_IN", "STRING_CONTAINS"]))
        return {"fieldName": f"metadata.{key}", "operator": operator, "value": draw(HOSTILE)}
    field = datasource.filters[name]
    operators = [*field.operators, *(["IS_NULL"] if field.is_null else [])]
    operator = draw(st.sampled_from(operators))
    return {"fieldName": name, "operator": operator, "value": draw(_value(field, operator))}


def _value(field: FilterField, operator: str) -> st.SearchStrategy[Any]:
    if operator == "IS_NULL" or field.type == "boolean":
        return st.booleans()
    one: st.SearchStrategy[Any] = NUMBER if field.type == "number" else HOSTILE
    if operator == "BETWEEN":
        return st.tuples(one, one).map(sorted)
    if operator in ("IN", "NOT_IN", "ARRAY_HAS_ANY", "ARRAY_HAS_NONE"):
        return st.lists(one, min_size=1, max_size=4)
    return one


@st.composite
def _query(draw: st.DrawFn) -> Case:
    """A question that the catalogue allows; a few fail for reasons it does not know."""
    name: DatasourceName = draw(st.sampled_from(DATASOURCES))
    catalog = load_catalog()
    datasource = catalog.datasources[name]
    is_timeseries = draw(st.booleans())
    values = [
        f"{function} {column}"
        for column, known in datasource.columns.items()
        for function in known.aggregations
        if is_timeseries or function not in RATE_TYPES
    ]
    values += catalog.measures[name]
    asked = draw(st.lists(st.sampled_from(values), max_size=3, unique=True))
    groups = [*datasource.group_by, *(f"metadata.{key}" for key in ("env", *CORPUS[:30]))]
    arguments: dict[str, Any] = {
        "datasource": name,
        "aggregations": asked + draw(st.sampled_from([[], [], [SHARE]])),
        "groupBy": draw(st.lists(st.sampled_from(groups), max_size=3, unique=True)),
        "filters": draw(st.lists(_filter(datasource), max_size=2)),
        "startTs": draw(st.sampled_from(WINDOWS)),
        "timezone": draw(st.sampled_from(ZONES)),
        "format": draw(st.sampled_from(["table", "table", "exact", "json", "json", "explain"])),
    }
    if is_timeseries:
        if draw(st.booleans()):
            arguments["interval"] = draw(st.sampled_from(INTERVALS))
        return "query_timeseries", arguments
    if draw(st.booleans()):
        arguments["compareTo"] = draw(st.sampled_from(EARLIER))
    if draw(st.booleans()):
        arguments |= {
            "orderBy": draw(st.sampled_from(["total", "-total"])),
            "limit": 3,
            "offset": 1,
        }
    return "query_distribution", arguments


@st.composite
def _listing(draw: st.DrawFn) -> Case:
    name: DatasourceName = draw(st.sampled_from(DATASOURCES))
    fields = [*load_catalog().datasources[name].group_by, "metadata.env", "metadata"]
    return "list_values", {
        "datasource": name,
        "field": draw(st.sampled_from(fields)),
        "startTs": draw(st.sampled_from(WINDOWS)),
        "search": draw(st.none() | HOSTILE),
        "offset": draw(st.integers(0, 200)),
    }


@st.composite
def _mutated(draw: st.DrawFn) -> Case:
    """A question with one thing changed for anything."""
    tool, arguments = draw(_query() | _listing())
    name = draw(st.sampled_from([*arguments, "endTs", "limit", "offset", "orderBy", "interval"]))
    value = draw(JSON)
    if draw(st.booleans()) and isinstance(value, list | dict):
        value = json.dumps(value)
    return tool, arguments | {name: value}


TOOLS: Final = st.sampled_from(
    ["query_distribution", "query_timeseries", "list_fields", "list_values"]
)
VALID: Final = _query() | _query() | _query() | _listing()
ANY: Final = st.one_of(
    _mutated(),
    st.tuples(TOOLS, st.dictionaries(st.text() | HOSTILE, JSON, max_size=5)),
    st.tuples(
        TOOLS,
        st.fixed_dictionaries(
            {},
            optional=dict.fromkeys(("datasource", "field", "startTs", "groupBy", "filters"), JSON),
        ),
    ),
)


def cases() -> st.SearchStrategy[tuple[bool, Case]]:
    """Whether a case is valid by the catalogue, and the case; four of five are."""
    valid, other = VALID.map(lambda c: (True, c)), ANY.map(lambda c: (False, c))
    return st.integers(0, 4).flatmap(lambda n: valid if n else other)
