"""Diagnoses empty answers: what the window holds without the filters, and similar values.

Empty is not zero: a misspelt value matches nothing, and so does a window without traffic. One query
without the filters tells them apart.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, NamedTuple

from gateway_metrics_mcp.query import (
    METADATA_PREFIX,
    TOTAL,
    Catalog,
    Filter,
    Number,
    Query,
    Result,
    add_up,
)
from gateway_metrics_mcp.query.scope import FIELD, VIRTUAL, apply_scope, is_scope
from gateway_metrics_mcp.query.suggestions import find_near_values
from gateway_metrics_mcp.query.vocabulary import Operator
from gateway_metrics_mcp.reports.request import ReportRequest
from gateway_metrics_mcp.reports.time_buckets import count_query

_WHOLE: Final[frozenset[Operator]] = frozenset(("EQUAL", "IN", "ARRAY_HAS_ANY"))
_PARTS: Final[dict[Operator, Callable[[str, str], bool]]] = {
    "STRING_CONTAINS": str.__contains__,
    "STRING_STARTS_WITH": str.startswith,
    "STRING_ENDS_WITH": str.endswith,
}
SUBJECT_KINDS: Final = {"userEmail": "user", "virtualaccount": "virtualaccount"}
_KIND: Final = "createdBySubjectType"
MOST_VALUES: Final = 10
"""Of a list, that an engine looks for one by one: it stops at the first row of each."""
_SUBJECT_GROUPS: Final = (*SUBJECT_KINDS, _KIND)
_MOST_FIELDS: Final = 2
"""The most fields that a probe groups by, to keep it cheap."""


class Unmatched(NamedTuple):
    """A filter's value that no row has, and up to three similar values that rows have."""

    field: str
    value: str
    near: tuple[str, ...] | None
    """None if they were not looked up."""
    is_elsewhere: bool = False
    """Whether rows excluded by the other filters have it, so that it is not misspelt."""


class Probe(NamedTuple):
    """What the window holds without the caller's filters.

    `total` is the number of rows, None if the source does not count them; without `is_exact`
    some rows count twice. `fields` are the fields whose values were read.
    """

    total: Number | None
    is_exact: bool = True
    fields: tuple[str, ...] = ()
    unmatched: tuple[Unmatched, ...] = ()
    is_virtual_side: bool = False
    """Whether it counts requests to virtual models alone; real models may have traffic."""
    is_later_alone: bool = False
    """Whether the earlier of two windows was not queried."""


def probed_filters(request: ReportRequest, catalog: Catalog) -> list[tuple[Filter, str]]:
    """The filters whose values a probe can look up, each with the group-by field for them."""
    found: dict[str, tuple[Filter, str]] = {}
    for filter_ in request.query.filters:
        field = catalog.canonical("groupBy", filter_.field_name)
        is_listed = field in request.datasource.group_by or field.startswith(METADATA_PREFIX)
        if is_listed and _wanted(filter_):
            found.setdefault(field, (filter_, field))
    return list(found.values())[:_MOST_FIELDS]


def list_spans(request: ReportRequest) -> list[tuple[datetime, datetime]]:
    """The windows [start, end) of the request, the later one first; touching windows are joined."""
    now = (request.query.start_ts, request.query.end_ts)
    earlier = request.earlier
    if earlier is None:
        return [now]
    if earlier.end < now[0]:
        return [now, (earlier.start, earlier.end)]
    return [(earlier.start, max(earlier.end, now[1]))]


def probe_queries(request: ReportRequest, fields: Sequence[str]) -> list[Query]:
    """A query per window without the caller's filters, grouped by these fields.

    The filter for a side of virtual models stays, unless it is the only one. A subject is grouped
    with its kind, because grouping by one kind alone would exclude the other (R7).
    """
    group_by: dict[str, None] = {}
    for field in fields:
        group_by |= dict.fromkeys(_SUBJECT_GROUPS if field in SUBJECT_KINDS else (field,))
    return _count_rows(request, filters=_kept(request), group_by=tuple(group_by))


def _count_rows(request: ReportRequest, **update: object) -> list[Query]:
    """A query per window for the number of rows alone, with these parts replaced."""
    query = count_query(request).model_copy(update=update)
    return [
        query.model_copy(update={"start_ts": start, "end_ts": end})
        for start, end in list_spans(request)
    ]


def join(results: Sequence[Result]) -> Result:
    """The results of one query in disjoint windows, as one result."""
    points = tuple(point for result in results for point in result.points)
    return replace(results[0], points=points)


def _kept(request: ReportRequest) -> tuple[Filter, ...]:
    filters = request.query.filters
    sides = tuple(filter(is_scope, filters))
    if len(sides) == len(filters) or len({side.value for side in sides}) > 1:
        return ()  # the side is the only filter; or both sides are required, and no row has both
    if not sides and request.scope == VIRTUAL:
        # A filter on virtual models chooses their side, where similar values have to be too.
        return (Filter(field_name=FIELD, operator="IS_NULL", value=False),)
    return sides


def dropping_queries(request: ReportRequest) -> dict[str, list[Query]]:
    """By field that is filtered: a query per window for the rows without its filters.

    A group-by that leaves out rows of other subjects stays (R7).
    """
    query, found = request.query, {}
    kinds = tuple(field for field in query.group_by if field in SUBJECT_KINDS)
    for name in dict.fromkeys(filter_.field_name for filter_ in request.shown_filters):
        rest = tuple(filter_ for filter_ in query.filters if filter_.field_name != name)
        # Without a filter on virtual models, the question would be about the other side of them.
        asked = apply_scope(query.model_copy(update={"filters": rest}), request.datasource).query
        found[name] = _count_rows(
            request, filters=asked.filters, group_by=kinds, finds_one=not kinds
        )
    return found


def read_probe(
    request: ReportRequest,
    probed: Sequence[tuple[Filter, str]],
    result: Result,
    *,
    is_later_alone: bool = False,
) -> Probe:
    """What the probe of these filters found.

    If only the later window was queried and is empty, no value is reported as unmatched.
    """
    total = add_up(result.column(TOTAL)) or 0 if TOTAL in result.value_names else None
    if is_later_alone and not result.points:
        probed = []
    fields = tuple(field for _, field in probed)
    unmatched: list[Unmatched] = []
    for filter_, field in probed:
        seen = seen_values(request, result, field)
        unmatched += find_unmatched(filter_, seen, seen)
    kept = _kept(request)
    has_one_side = bool(kept) or not request.datasource.has_virtual_models
    # By team, or over both sides of virtual models, one request counts in several rows.
    is_exact = "team" not in fields and has_one_side
    is_virtual_side = any(side.value is False for side in kept)
    return Probe(total, is_exact, fields, tuple(unmatched), is_virtual_side, is_later_alone)


def seen_values(request: ReportRequest, result: Result, field: str) -> dict[str, Number]:
    """The values of a group-by field in a probe with counts, the most frequent first."""
    position = result.key_names.index(request.datasource.response_key(field))
    kind = SUBJECT_KINDS.get(field) if _KIND in result.key_names else None
    if kind is None:
        return list_seen(result, position)
    at = result.key_names.index(_KIND)
    points = tuple(point for point in result.points if point.keys[at] == kind)
    return list_seen(replace(result, points=points), position)


def list_seen(result: Result, position: int) -> dict[str, Number]:
    """The values of a key with counts of rows, the most frequent first."""
    counts: dict[str, Number] = {}
    at = result.value_names.index(TOTAL) if TOTAL in result.value_names else None
    for point in result.points:
        key = point.keys[position]
        if key is not None:
            rows = 1 if at is None else point.values[at] or 0
            # true and false, as filters have them.
            text = json.dumps(key) if isinstance(key, bool) else str(key)
            counts[text] = counts.get(text, 0) + rows
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def find_unmatched(
    filter_: Filter, seen: Mapping[str, Number], known: Collection[str] | None
) -> Iterator[Unmatched]:
    """The filter's values that are not in `seen`, each with similar values from `known`."""
    matches = _PARTS.get(filter_.operator)
    for value in _wanted(filter_):
        is_seen = value in seen if matches is None else any(matches(one, value) for one in seen)
        if not is_seen:
            is_elsewhere = known is not None and value in known
            near = None if known is None else find_near_values(value, known)
            yield Unmatched(filter_.field_name, value, near, is_elsewhere)


def listed_filters(request: ReportRequest, catalog: Catalog) -> list[tuple[Filter, str]]:
    """The filters with several values, where one that matches nothing goes unnoticed."""
    return [
        (filter_, field)
        for filter_, field in probed_filters(request, catalog)
        if filter_.operator in _WHOLE and len(_wanted(filter_)) > 1
    ]


def presence_queries(request: ReportRequest, field: str) -> list[Query]:
    """A query per window for the values of a field in the rows that match all filters."""
    return _count_rows(request, group_by=(field,))


def existence_queries(request: ReportRequest, filter_: Filter) -> list[tuple[str, Query]]:
    """Per text of a list, and window: whether some row that matches all else has it.

    Empty for more than MOST_VALUES values, for which one grouped query is cheaper.
    """
    if len(filter_.texts) > MOST_VALUES:
        return []
    found = []
    for text in filter_.texts:
        one = filter_.model_copy(update={"value": (text,)})
        filters = tuple(one if f is filter_ else f for f in request.query.filters)
        queries = _count_rows(request, filters=filters, group_by=(), finds_one=True)
        found += [(text, query) for query in queries]
    return found


def absent_keys(result: Result) -> list[str]:
    """The metadata fields of the group-by that no row has."""
    return [
        name
        for i, name in enumerate(result.key_names)
        if name.startswith(METADATA_PREFIX) and all(p.keys[i] is None for p in result.points)
    ]


def _wanted(filter_: Filter) -> tuple[str, ...]:
    """The texts that a filter looks for; empty if it excludes or compares."""
    return filter_.texts if filter_.operator in (*_WHOLE, *_PARTS) else ()
