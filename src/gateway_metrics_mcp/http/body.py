"""Parses a request body of the metrics API into a `Query`, or reports every problem.

Tool arguments are parsed in reports/; both share `QueryValidator`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from gateway_metrics_mcp.errors import InvalidQueryError, Problem, Problems
from gateway_metrics_mcp.query import Catalog, Interval, Query, did_you_mean, quote
from gateway_metrics_mcp.query.time.zone import FIRST_YEAR, LAST_YEAR
from gateway_metrics_mcp.query.validation import QueryValidator, json_type, read_choice
from gateway_metrics_mcp.query.vocabulary import QUERY_TYPES, QueryType

_KEYS: Final = (
    "startTs",
    "endTs",
    "datasource",
    "type",
    "aggregations",
    "groupBy",
    "filters",
    "interval",
    "intervalInSeconds",
)
_INSTANT: Final = 'ISO 8601 with an offset, such as "2026-07-01T00:00:00Z"'


def read_query(body: object, catalog: Catalog, *, allow_unknown: bool = False) -> Query:
    """The query of a decoded JSON body, with names in the gateway's spelling.

    `allow_unknown` accepts fields that the catalog lacks.

    Raises:
        InvalidQueryError: with every problem, if it is not a query of the catalog (R18).
    """
    if not isinstance(body, Mapping):
        raise InvalidQueryError([Problem("body", f"expected an object, got {json_type(body)}")])
    problems = Problems()
    # Unknown keys are refused: a misspelt `filters` would otherwise return other rows (R18).
    for key in body:
        if key not in _KEYS:
            problems.add(str(key), f"unknown key. {did_you_mean(str(key), _KEYS)}")
    parts = QueryValidator(catalog, problems, allow_unknown=allow_unknown)
    datasource = parts.read_datasource(body.get("datasource"))
    type_ = read_choice("type", body.get("type"), QUERY_TYPES, problems)
    parts.is_distribution = type_ == "distribution"
    start, end = (_read_instant(key, body.get(key), problems) for key in ("startTs", "endTs"))
    if start is not None and end is not None and start >= end:
        problems.add("endTs", f"must be after startTs, the window is [{start} to {end}), empty")
    interval = _read_interval(body, type_, problems)
    aggregations = [
        parts.read_aggregation_entry(f"aggregations[{index}]", item)
        for index, item in enumerate(_read_list(body, "aggregations", problems))
    ]
    group_by = parts.read_group_by(_read_list(body, "groupBy", problems))
    filters = parts.read_filters(_read_list(body, "filters", problems))
    if problems or datasource is None or type_ is None or start is None or end is None:
        raise InvalidQueryError(problems)
    return Query(
        datasource=datasource,
        type=type_,
        start_ts=start,
        end_ts=end,
        aggregations=tuple(one for one in aggregations if one is not None),
        group_by=group_by,
        filters=filters,
        interval=interval,
    )


def _read_list(body: Mapping[str, Any], key: str, problems: Problems) -> list[Any]:
    value = body.get(key)
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        problems.add(key, f"expected a list, got {json_type(value)} {quote(value)}")
        return []
    return list(value)


def _read_instant(key: str, value: object, problems: Problems) -> datetime | None:
    if not isinstance(value, str):
        problems.add(key, f"{'missing' if value is None else quote(value)}. Give {_INSTANT}")
        return None
    try:
        instant = datetime.fromisoformat(value)
        if instant.tzinfo is None:
            raise ValueError("no offset")
        instant = instant.astimezone(UTC)
    except (ValueError, OverflowError):
        problems.add(key, f"{quote(value)} is not a time with an offset. Give {_INSTANT}")
        return None
    if not FIRST_YEAR <= instant.year <= LAST_YEAR:
        problems.add(key, f"{quote(value)} is outside the years {FIRST_YEAR} to {LAST_YEAR}")
        return None
    return instant


def _read_interval(
    body: Mapping[str, Any], type_: QueryType | None, problems: Problems
) -> Interval | None:
    """The bucket width from `interval`, or from `intervalInSeconds`, which older clients send."""
    text, seconds = body.get("interval"), body.get("intervalInSeconds")
    place = "interval" if text is not None or seconds is None else "intervalInSeconds"
    if text is None and seconds is None:
        if type_ == "timeseries":
            problems.add(place, 'missing. Give the bucket\'s width, such as "1 hour" or "1 day"')
        return None
    if type_ == "distribution":
        problems.add(place, 'only a timeseries has buckets. Leave it out or ask type "timeseries"')
        return None
    if text is not None:
        return problems.attempt(place, Interval.parse, text)
    return problems.attempt(place, Interval.from_seconds, seconds)
