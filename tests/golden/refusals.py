"""What the tools refuse: names, times, filters, types, sizes, and many faults at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from questions import FIELDS, WEEK, Call, one, rows, series

_ARGUMENTS: Final[tuple[dict[str, Any], ...]] = (
    {"group_by": ["modelName"]},
    {"groupby": ["modelName"]},
    {"interval": "1 hour"},
    {"metrics": ["cost"]},
    {"a\nb": 1},
    {"datasource": "modelMetric"},
    {"datasource": "spans"},
    {"datasource": 5},
    {"datasource": ["modelMetrics"]},
    {"aggregations": ["summ costInUSD"]},
    {"aggregations": ["sum cost"]},
    {"aggregations": ["costInUSD"]},
    {"aggregations": ["sum"]},
    {"aggregations": ["sum modelName"]},
    {"aggregations": ["p95"]},
    {"aggregations": ["p97 latencyMs"]},
    {"aggregations": ["ratePerMinute inputTokens"]},
    {"aggregations": ["median latencyMs"]},
    {"aggregations": ["errorrate2"]},
    {"aggregations": ["cacheHitRate"]},
    {"aggregations": ["share"]},
    {"aggregations": ["p95 latencyMs", "share"]},
    {"aggregations": [5, None, [], {}]},
    {"aggregations": 7},
    {"aggregations": {"type": "sum"}},
    {"aggregations": {"type": "sum", "colum": "costInUSD"}},
    {"aggregations": ["sum costInUSD"] * 3},
    {"aggregations": [f"sum column{n}" for n in range(30)]},
    {"aggregations": ["x" * 300]},
    {"groupBy": ["model"]},
    {"groupBy": ["httpStatusCode"]},
    {"groupBy": ["traceId"]},
    {"groupBy": ["metadata."]},
    {"groupBy": ["metadata"]},
    {"groupBy": ["cacheType"]},
    {"groupBy": ["modelName", "modelName"]},
    {"groupBy": ["userEmail", "virtualaccount"]},
    {"groupBy": [1, True, None]},
    {"groupBy": {"field": "modelName"}},
    {"groupBy": ["latencyMs"]},
    {"groupBy": ["date"]},
    {"groupBy": ["modelName"] * 2000},
    {"filters": "modelName = gpt"},
    {"filters": [5]},
    {"filters": [{}]},
    {"filters": [{"fieldName": "modelName"}]},
    {"filters": [{"field": "modelName", "op": "EQUAL", "values": ["a"]}]},
    {"filters": [one("model", "EQUAL", ["a"])]},
    {"filters": [one("modelName", "EQUALS", ["a"])]},
    {"filters": [one("modelName", "LIKE", ["a"])]},
    {"filters": [one("modelName", "BETWEEN", ["a", "b"])]},
    {"filters": [one("modelName", "IS_NULL", ["true"])]},
    {"filters": [one("modelName", "EQUAL", [])]},
    {"filters": [one("modelName", "EQUAL", ["a", "b"])]},
    {"filters": [one("modelName", "IN", [])]},
    {"filters": [one("modelName", "EQUAL", [None])]},
    {"filters": [one("modelName", "EQUAL", [{"a": 1}])]},
    {"filters": [one("latencyMs", "GREATER_THAN", ["fast"])]},
    {"filters": [one("latencyMs", "BETWEEN", ["500"])]},
    {"filters": [one("latencyMs", "BETWEEN", ["900", "500"])]},
    {"filters": [one("latencyMs", "STRING_CONTAINS", ["5"])]},
    {"filters": [one("latencyMs", "GREATER_THAN", [True])]},
    {"filters": [one("latencyMs", "GREATER_THAN", ["nan"])]},
    {"filters": [one("httpStatusCode", "BETWEEN", ["400", "499"])]},
    {"filters": [one("httpStatusCode", "EQUAL", ["4xx"])]},
    {"filters": [one("isFailure", "EQUAL", ["maybe"])]},
    {"filters": [one("isFailure", "NOT_EQUAL", ["true"])]},
    {"filters": [one("team", "GREATER_THAN", ["a"])]},
    {"filters": [one("virtualModelName", "IS_NULL", ["perhaps"])]},
    {"filters": [one("cacheType", "IN", ["exact"])]},
    {"filters": [one("traceId", "IN", ["a", "b"])]},
    {"filters": [one("metadata.", "EQUAL", ["a"])]},
    {"filters": [one("userEmail", "EQUAL", ["a@example.com"]), one("virtualAccount", "IN", ["b"])]},
    {"filters": [one("modelName", "EQUAL", ["a"]), one("modelName", "EQUAL", ["b"])]},
    {"filters": [one("modelName", "IN", [f"m{n}" for n in range(1200)])]},
    {"filters": [one("modelName", "EQUAL", ["x" * 20_000])]},
    {"filters": [{**one("modelName", "EQUAL", ["a"]), "caseSensitive": False}]},
    {"filters": [one("modelName", "EQUAL", ["\ud800"])]},
    {"format": "csv"},
    {"format": "TABLE "},
    {"format": 3},
    {"timezone": "Mars/Olympus"},
    {"timezone": "Berlin"},
    {"timezone": "+02:00"},
    {"timezone": 2},
    {"compareTo": "next week"},
    {"compareTo": "2027"},
    {"compareTo": 5},
    {"compareTo": "0 days"},
    {"compareTo": "previous", "format": "nope"},
    {"orderBy": "cost"},
    {"orderBy": "sumCostInUSD"},
    {"orderBy": "total sideways"},
    {"orderBy": ["total", "modelName"]},
    {"orderBy": 4},
    {"limit": 0},
    {"limit": -1},
    {"limit": "many"},
    {"limit": 2.5},
    {"limit": True},
    {"limit": 10**30},
    {"offset": -1},
    {"offset": "x"},
)
"""Beside `startTs`, of a distribution."""

_TIMES: Final[tuple[dict[str, Any], ...]] = (
    *({"startTs": text} for text in (
        "", "soon", "last week or so", "lst 7 days", "last seven dayz", "2026-13", "2026-02-30",
        "2026-07-15T25:00", "next month", "tomorrow", "2027", "2026-07-16", "now+1d", "now-7",
        "now-1d/q", "MTD", "last 0 days", "last 5000 days", "2026-07-10..2026-07-01", "7d",
        "07/14/2026", "14.07.2026", "2026-W54", "2026-Q5", "1 July 2026", "99999999999999",
        "2026-07-14T10:00:00+25:00", "..2026-07-01", "today..", "0000-01-01",
    )),
    *({"startTs": value} for value in (5, True, ["today"], {"from": "today"}, None)),
    {},
    {"startTs": "2026-07-10", "endTs": "2026-07-09"},
    {"startTs": "2026-07-10", "endTs": "2026-07-10"},
    {"startTs": "2026-07-10", "endTs": "later"},
    {"startTs": "now-1h", "endTs": "now-2h"},
    {"startTs": "2026-03-29T02:30", "timezone": "Europe/Berlin"},
    {"startTs": "today", "endTs": 12},
)  # fmt: skip

_SERIES: Final[tuple[dict[str, Any], ...]] = (
    *({"interval": text} for text in ("1 fortnight", "0 hours", "-1 day", "1.5 hours", "hourly",
                                      "1 second", "7 minutes", "100 years", "x" * 99)),
    {"interval": 60},
    {"interval": ["1 day"]},
    {"interval": "1 minute"},
    {"compareTo": "previous"},
    {"orderBy": "total"},
    {"offset": 5},
    {"limit": 0},
    {"limit": None, "interval": None, "format": ""},
    {"aggregations": ["share"]},
)  # fmt: skip

_VALUES: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"field": "model"},
    {"field": "httpStatusCode"},
    {"field": "isFailure"},
    {"field": "traceId"},
    {"field": "metadata."},
    {"field": ["modelName"]},
    {"field": ""},
    {"field": "modelName", "datasource": "modelMetricz"},
    {"field": "toolName"},
    {"field": "modelName", "limit": 0},
    {"field": "modelName", "offset": -3},
    {"field": "modelName", "search": 5},
    {"field": "modelName", "startTs": "whenever"},
    {"field": "modelName", "contains": "gpt"},
    {"field": "metadata", "format": "json"},
    {"field": "modelName", "timezone": "Nowhere"},
)

_MANY: Final[Mapping[str, Any]] = {
    "datasource": "modelMetrcs",
    "aggregations": ["summ costInUSD", "p95 latency", 5],
    "groupBy": ["modle", "httpStatusCode"],
    "filters": [one("mdel", "EQUAL", ["a"]), one("latencyMs", "BETWEEN", ["x"]), 7],
    "startTs": "lst week",
    "endTs": "whenever",
    "timezone": "Europe/Berln",
    "compareTo": "sometime",
    "orderBy": "cost",
    "limit": "ten",
    "offset": -2,
    "format": "jsn",
    "colour": "red",
}


def list_refusals() -> Iterator[Call]:
    """All of them; a few are taken after all, which is to stay so as well."""
    for given in _ARGUMENTS:
        yield "query_distribution", {"startTs": WEEK, **given}
    for given in _TIMES:
        yield "query_distribution", given
    for given in _SERIES:
        yield "query_timeseries", {"startTs": "last 3 days", **given}
    for given in _VALUES:
        yield "list_values", given
    for datasource in ("modelMetric", "models", 7, ["modelMetrics"], {"a": 1}):
        yield "list_fields", {"datasource": datasource}
    yield "list_fields", {"table": "modelMetrics"}
    yield "query_distribution", dict(_MANY)
    yield "query_distribution", {f"unknown{n}": n for n in range(40)}
    yield "query_distribution", {"startTs": WEEK, "filters": [one(f"f{n}", "EQUAL", ["a"])
                                                             for n in range(40)]}  # fmt: skip
    for name in ("query_distributions", "query", "list_value", "drop|table", "x" * 300, ""):
        yield name, {"startTs": WEEK}
    yield from _too_large()


def _too_large() -> Iterator[Call]:
    yield series("2026", interval="1 minute")
    yield series("last 30 days", "", "userEmail, modelName, team", interval="1 hour")
    yield series("last 60 days", "p95 latencyMs", interval="1 day", timezone="Asia/Tokyo")
    yield series("last 60 days", "total", interval="1 day", timezone="Asia/Kathmandu")
    measures = "errorRate, costPerMillionTokens, outputTokensPerSecond, costPerRequest"
    yield rows(WEEK, measures, "modelName", compareTo="previous")
    for datasource in FIELDS:
        yield rows(WEEK, "sum nothing", "nothing", datasource=datasource)
