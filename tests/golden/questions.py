"""What the tools are asked and answer: datasources, fields, windows, zones, formats, pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

Call = tuple[str, dict[str, Any]]

WEEK: Final = "last 7 days"
FIELDS: Final = {
    "modelMetrics": "userEmail virtualaccount team createdBySubjectType modelName virtualModel"
    " errorCode requestType providerAccountType providerModelName metadata.environment",
    "mcpMetrics": "userEmail team mcpServerName toolName method conversationID metadata.tag",
    "guardrailMetrics": "virtualaccount guardrailName guardrailResult appliedOnEntityScope",
    "cacheMetrics": "modelName virtualModel cacheType cacheNamespace cacheLookupStatus",
    "configMetrics": "loadbalanceRuleId ratelimitRuleId budgetRuleId requestedModel targetModel"
    " loadbalanceTargetAttemptCount configType status",
    "agentMetrics": "agentName agentFramework agentServerType isFailure httpStatusCode",
}
_MAIN: Final = {
    "modelMetrics": ("sum costInUSD, p95 latencyMs", "modelName"),
    "mcpMetrics": ("p50 latencyMs, countDistinct toolName", "mcpServerName"),
    "guardrailMetrics": ("guardrailBlockRate, guardrailErrorRate", "guardrailName"),
    "cacheMetrics": ("cacheHitRate, sum potentialCostSavings", "cacheType"),
    "configMetrics": ("avg loadbalanceTargetAttemptCount, ruleFailureRate", "configType"),
    "agentMetrics": ("errorRate, max latencyMs", "agentName"),
}
_WINDOWS: Final = (
    *("today", "yesterday", "this week", "last week", "this month", "last month", "this quarter"),
    *("last quarter", "this year", "last year", "last 24 hours", "last 90 minutes", "last 3 weeks"),
    *("last 2 months", "2026-07", "2026-W28", "2026-Q2", "2026", "2026-07-14", "2026-07-10.."),
    *("2026-07-01..2026-07-07", "now-7d", "now-1d/d", "now/M", "2026-07-14T08:00:00Z"),
    *("2026-03-29", "2025-10-26", "2025-01", "past 5 days", "2026-07-14T08:00:00+05:30"),
)
_ZONES: Final = (
    *("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Asia/Kathmandu"),
    *("Pacific/Apia", "UTC"),
)
_FILTERS: Final[tuple[tuple[str, str, Any], ...]] = (
    ("modelName", "EQUAL", ["openai/gpt-4o"]),
    ("modelName", "NOT_EQUAL", ["openai/gpt-4o"]),
    ("modelName", "IN", ["openai/gpt-4o", "o'reilly"]),
    ("modelName", "NOT_IN", ["openai/gpt-4o", "模型-日本"]),
    ("modelName", "STRING_CONTAINS", ["GPT"]),
    ("modelName", "STRING_CONTAINS", ["gpt"]),
    ("modelName", "STRING_NOT_CONTAINS", ["gpt"]),
    ("modelName", "STRING_STARTS_WITH", ["openai/"]),
    ("modelName", "STRING_NOT_STARTS_WITH", ["openai/"]),
    ("modelName", "STRING_ENDS_WITH", ['"v2"']),
    ("modelName", "STRING_NOT_ENDS_WITH", ["mini"]),
    ("modelName", "EQUAL", ["gpt4o"]),
    ("modelName", "IN", ["openai/gpt-4o", "openai/gpt4o"]),
    ("virtualModelName", "IS_NULL", ["true"]),
    ("virtualModelName", "IS_NULL", [False]),
    ("virtualModelName", "EQUAL", ["a|b"]),
    ("virtualModel", "IN", ["fast", 'smart "auto"']),
    ("team", "ARRAY_HAS_ANY", ["search", "data"]),
    ("team", "ARRAY_HAS_NONE", ["search"]),
    ("team", "EQUAL", ['R&D "é"']),
    ("team", "ARRAY_HAS_ANY", ["serach"]),
    ("userEmail", "EQUAL", ["ada@example.com"]),
    ("userEmail", "STRING_ENDS_WITH", ["@example.com"]),
    ("virtualAccount", "IN", ["ci-bot", "batch|nightly"]),
    ("createdBySubjectType", "EQUAL", ["virtualaccount"]),
    ("httpStatusCode", "IN", ["429", "500"]),
    ("httpStatusCode", "GREATER_THAN_EQUAL", [500]),
    ("latencyMs", "BETWEEN", ["500", "1500"]),
    ("latencyMs", "GREATER_THAN", [2000.5]),
    ("inputTokens", "LESS_THAN_EQUAL", [200]),
    ("costInUSD", "GREATER_THAN", ["0.05"]),
    ("isFailure", "EQUAL", ["true"]),
    ("isFailure", "EQUAL", [False]),
    ("errorCode", "NOT_EQUAL", ["Timeout"]),
    ("traceId", "EQUAL", ["trace-42"]),
    ("conversationID", "IN", ["conv-1", "conv-2"]),
    ("metadata.environment", "EQUAL", ["production"]),
    ("metadata.environment", "NOT_EQUAL", ["production"]),
    ('metadata.odd "key"', "IN", ["v0"]),
    ("metadata.environmen", "EQUAL", ["production"]),
    ("metadata.tag", "STRING_CONTAINS", ["|"]),
    ("modelname", "equal", "openai/gpt-4o"),
)
_FUNCTIONS: Final = "sum count countDistinct min max avg p5 p10 p25 p50 p75 p90 p95 p99 p999"


def one(field: str, operator: str, value: Any) -> dict[str, Any]:
    """One filter."""
    return {"fieldName": field, "operator": operator, "value": value}


def ask(tool: str, start: str, values: str = "", by: str = "", **more: Any) -> Call:
    """A call; lists are written with commas."""
    given: dict[str, Any] = {"startTs": start}
    if values:
        given["aggregations"] = values.split(", ")
    if by:
        given["groupBy"] = by.split(", ")
    return f"query_{tool}", {**given, **more}


def rows(start: str, values: str = "", by: str = "", **more: Any) -> Call:
    """A distribution."""
    return ask("distribution", start, values, by, **more)


def series(start: str, values: str = "", by: str = "", **more: Any) -> Call:
    """A timeseries."""
    return ask("timeseries", start, values, by, **more)


def list_questions() -> Iterator[Call]:
    """All of them."""
    yield from _by_datasource()
    yield from _values_and_fields()
    yield from _windows()
    yield from _filters()
    yield from _measures()
    yield from _comparisons()
    yield from _pages()
    yield from _timeseries()
    yield from _forms()
    yield from _lists()
    yield from _charts()


def _by_datasource() -> Iterator[Call]:
    for datasource, (values, by) in _MAIN.items():
        for form in ("table", "exact", "json", "explain"):
            more = {"datasource": datasource, "format": form}
            yield rows(WEEK, values, by, limit=4, **more)
            yield series("last 3 days", values, by, interval="1 day", limit=2, **more)
        yield rows(WEEK, values, datasource=datasource)
        yield series("last 30 days", values, datasource=datasource, interval="1 week")
        yield rows(WEEK, values, by, datasource=datasource, compareTo="previous", limit=4)
    for datasource, names in FIELDS.items():
        for name in names.split():
            yield rows("last 10 days", "", name, datasource=datasource, limit=5)


def _values_and_fields() -> Iterator[Call]:
    for function in _FUNCTIONS.split():
        column = "latencyMs" if function.startswith("p") else "inputTokens"
        yield rows("2026-07", f"{function} {column}", "modelName", format="exact", limit=3)
    for column in ["costInUSD", "outputTokens", "timeToFirstTokenMs", "interTokenLatencyMs"]:
        yield rows(WEEK, f"sum {column}, avg {column}, p99 {column}, count {column}")
    for column in ["modelName", "virtualModel", "team"]:
        yield rows(WEEK, f"count {column}, countDistinct {column}")
    for column in ["cacheLookupLatencyMs", "cacheReadInputTokens", "cacheCreationInputTokens"]:
        yield rows(WEEK, f"sum {column}, p90 {column}", "cacheType", datasource="cacheMetrics")
    for by in ("modelName, team", "userEmail, metadata.environment", "team, virtualModel",
               "metadata.cost_center, metadata.environment", "modelName, errorCode, requestType",
               'metadata.odd "key"', "metadata.nothing", "virtualModel, modelName"):  # fmt: skip
        yield rows("last 5 days", "sum costInUSD", by, limit=6)


def _windows() -> Iterator[Call]:
    for start in _WINDOWS:
        yield rows(start, "sum costInUSD, count costInUSD")
    for zone in _ZONES:
        yield rows("yesterday", "sum inputTokens", timezone=zone)
        yield rows("2026-07-12", "sum inputTokens", endTs="2026-07-14", timezone=zone)
    for zone, day in (("Europe/Berlin", "2026-03-29"), ("America/New_York", "2025-11-02"),
                      ("Europe/Berlin", "2025-10-26T02:30"),
                      ("Australia/Lord_Howe", "2026-04-05")):  # fmt: skip
        yield rows(day, "sum inputTokens", timezone=zone)
    for start, end in (("2026-07-01", "2026-07-05"), ("2026-07-01", "now"), ("now-2d", "now-1d"),
                       ("2026-07-10T06:00", "2026-07-10T18:30:15Z"), ("2026-07-10", "2027-01-01"),
                       ("2026-06", "2026-07"), ("2026-07-14", ""),
                       ("1783684800", "1783771200")):  # fmt: skip
        yield rows(start, "sum inputTokens", endTs=end)


def _filters() -> Iterator[Call]:
    for field, operator, value in _FILTERS:
        yield rows("last 12 days", "sum costInUSD", filters=[one(field, operator, value)])
    gpt = one("modelName", "STRING_CONTAINS", ["gpt"])
    yield rows(WEEK, "errorRate", "modelName", filters=[gpt, one("isFailure", "EQUAL", ["true"])])
    yield rows(WEEK, "", "team", filters=[one("team", "ARRAY_HAS_ANY", ["data"])])
    yield rows(WEEK, "", "modelName", filters=[one("modelName", "IN", ["openai/gpt-4o", "gone"])])
    yield series(WEEK, "", "modelName", filters=[gpt], interval="1 day")
    yield rows(WEEK, filters='[{"fieldName":"team","operator":"IN","value":"search"}]')
    yield rows(WEEK, filters=one("toolName", "IN", ["list|all"]), datasource="mcpMetrics")
    yield rows(WEEK, filters=[one("method", "IN", ["tools/call"])], datasource="mcpMetrics")
    yield rows(WEEK, filters=[one("cacheType", "IN", ["exact"])], datasource="cacheMetrics")
    yield rows(WEEK, filters=[one("isFailure", "EQUAL", [True])], datasource="agentMetrics")


def _measures() -> Iterator[Call]:
    for measure in (
        "costPerRequest", "costPerMillionTokens", "tokensPerRequest", "outputTokensPerSecond",
        "errorRate", "sum costInUSD, share", "total, share", "sum inputTokens, share, errorRate",
    ):  # fmt: skip
        yield rows(WEEK, measure, "modelName")
        yield rows("last 2 weeks", measure, "team", format="exact", limit=3)
        yield series("last 4 days", measure, interval="1 day")
    for form in ("json", "explain"):
        yield rows(WEEK, "sum costInUSD, share, costPerRequest", "team", format=form)
    yield rows(WEEK, "errorRate", filters=[one("httpStatusCode", "EQUAL", ["429"])])


def _comparisons() -> Iterator[Call]:
    for other in ("previous", "1 day", "1 week", "1 month", "1 year", "2026-06", "last month",
                  "2026-06-01..2026-06-07", "2025-12"):  # fmt: skip
        yield rows(WEEK, "sum costInUSD", "modelName", compareTo=other, limit=5)
    for start in ("this month", "last month", "today", "2026-07-10", "2026-07-10..", "2026-Q2",
                  "now-3d"):  # fmt: skip
        yield rows(start, "sum costInUSD, total", compareTo="previous")
    for values in ("errorRate", "p95 latencyMs", "sum costInUSD, share", "countDistinct modelName"):
        yield rows(WEEK, values, "team", compareTo="previous", limit=4)
    for form in ("exact", "json", "explain"):
        yield rows(WEEK, "sum costInUSD", "userEmail", compareTo="1 week", format=form, limit=4)
    yield rows("this month", "sum costInUSD", compareTo="previous", timezone="America/New_York")
    yield rows(WEEK, "total", "modelName", compareTo="previous", orderBy="total_change", limit=3)
    yield rows(WEEK, "total", "modelName", compareTo="previous", orderBy="-total_change%", limit=3)
    yield rows(WEEK, "", "virtualModel", compareTo="previous")


def _pages() -> Iterator[Call]:
    for offset in (0, 2, 4, 100):
        yield rows(WEEK, "sum costInUSD", "modelName", limit=2, offset=offset)
    for order in ("total", "-total", "sumCostInUSD", "-sumCostInUSD", "modelName", "-modelName",
                  "sumCostInUSD desc", "p95LatencyMs ASC", "sum costInUSD"):  # fmt: skip
        yield rows(WEEK, "sum costInUSD, p95 latencyMs", "modelName", orderBy=order, limit=3)
    yield rows("last 12 days", "", "providerModelName, userEmail, team", limit=200)
    yield rows("last 12 days", "sum costInUSD", "providerModelName, userEmail", format="json")
    yield rows(WEEK, "", "modelName", limit="3", offset="1")
    yield rows(WEEK, "", "modelName", limit=2.0)
    yield series(WEEK, "", "providerModelName", interval="1 day", limit=1)
    yield series(WEEK, "", "providerModelName", interval="1 day", limit=50)
    yield ("list_values", {"field": "providerModelName", "limit": 3})
    yield ("list_values", {"field": "providerModelName", "limit": 3, "offset": 9})
    yield ("list_values", {"field": "userEmail", "offset": 2})


def _timeseries() -> Iterator[Call]:
    for start, interval in (
        ("last 90 minutes", "5 minutes"), ("last 90 minutes", ""), ("last 24 hours", "1 hour"),
        ("last 24 hours", ""), ("yesterday", "6 hours"), (WEEK, ""), ("last 30 days", ""),
        ("last 3 months", ""), ("2026-Q2", "1 month"), ("2026", "1 month"), ("this year", ""),
        ("2026-07-13..", "15 minutes"), ("last 3 weeks", "1 week"), (WEEK, "2 days"),
    ):  # fmt: skip
        given = {"interval": interval} if interval else {}
        yield series(start, "sum costInUSD", **given)
    for zone in _ZONES:
        yield series("last 3 days", "sum inputTokens", interval="1 day", timezone=zone)
        yield series("last 3 days", "p95 latencyMs", interval="1 day", timezone=zone)
        yield series("2026-07-13..", "total", interval="6 hours", timezone=zone)
    for zone, start in (
        ("Europe/Berlin", "2026-03-27..2026-03-31"), ("Europe/Berlin", "2025-10-24..2025-10-28"),
        ("America/New_York", "2026-03-06..2026-03-10"),
        ("Australia/Lord_Howe", "2026-04-03..2026-04-07"),
    ):  # fmt: skip
        yield series(start, "sum inputTokens", interval="1 day", timezone=zone)
        yield series(start, "p50 latencyMs, errorRate", interval="1 day", timezone=zone)
    yield series("2026-03", "sum costInUSD", interval="1 month", timezone="Europe/Berlin")
    for function in ("rateSum", "rateAvg", "rateMin", "rateMax", "ratePerMinute"):
        yield series("last 4 hours", f"{function} inputTokens", interval="1 hour")
    for by in ("modelName", "team", "userEmail", "virtualModel", "metadata.environment"):
        yield series("last 4 days", "sum costInUSD", by, interval="1 day", limit=3)
    yield series("last 4 days", "sum costInUSD, p95 latencyMs", "team, modelName", limit=2)
    yield series("2025-01", "sum costInUSD")
    yield series("last 4 days", "errorRate", "modelName", format="exact", limit=2)


def _forms() -> Iterator[Call]:
    """The same in forms that are taken and not published."""
    sum_cost = {"type": "sum", "column": "costInUSD"}
    yield "query_distribution", {"startTs": WEEK, "aggregations": [sum_cost]}
    for text in ('[{"type":"sum","column":"costInUSD"}]', "sumCostInUSD", "SUM costinusd",
                 "sum(costInUSD)", "sum costInUSD, p95 latencyMs"):  # fmt: skip
        yield "query_distribution", {"startTs": WEEK, "aggregations": text}
    for by in ("modelName,team", '["modelName"]', "virtualAccount", "MODELNAME", "virtualModelName",
               "conversationID", "targetmodel"):  # fmt: skip
        yield "query_distribution", {"startTs": WEEK, "groupBy": by, "limit": 2}
    yield "query_distribution", {"startTs": WEEK, "datasource": "", "timezone": "", "limit": None}


def _lists() -> Iterator[Call]:
    yield "list_fields", {}
    for datasource in FIELDS:
        yield "list_fields", {"datasource": datasource}
        yield "list_values", {"datasource": datasource, "field": "metadata"}
    for datasource, names in FIELDS.items():
        for field in names.split()[1::2]:
            yield "list_values", {"datasource": datasource, "field": field, "startTs": "2026-07"}
    for search in ("gpt", "GPT-4O", "日本", "nothing like it", "|", '"'):
        yield "list_values", {"field": "modelName", "search": search}
    for start in ("today", "2025-01", "last month"):
        yield "list_values", {"field": "team", "startTs": start, "timezone": "Asia/Tokyo"}
    yield "list_values", {"field": "metadata.environment", "startTs": "now-1d", "endTs": "now"}
    yield "list_values", {"field": "metadata.nothing"}


def _charts() -> Iterator[Call]:
    for values, by in (("sum costInUSD", "modelName"), ("errorRate", "team"), ("", "userEmail")):
        yield rows(WEEK, values, by, format="chart", limit=4)
        yield series("last 3 days", values, by, format="chart", interval="1 day", limit=3)
    yield rows(WEEK, "sum costInUSD", format="chart")
    yield rows("2025-01", "sum costInUSD", "modelName", format="chart")
    yield rows(WEEK, "sum costInUSD", "modelName", format="chart", compareTo="previous", limit=3)
    yield series("last 24 hours", "p95 latencyMs, sum costInUSD", format="chart")
    yield series("last 3 days", "sum inputTokens", format="chart", timezone="Asia/Kolkata")
