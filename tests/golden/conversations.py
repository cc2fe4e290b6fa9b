"""What else a client sends: prompts, resources, completions; callers; bodies of the HTTP API."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

from questions import FIELDS, WEEK, Call, one, rows, series

_SWAPPED: Final = str.maketrans("{}[]\" '()!;+", "()!;'+\"{}[] ")

PROMPTS: Final[tuple[tuple[str, dict[str, str]], ...]] = (
    ("budget-check", {}),
    ("budget-check", {"budget": "5000"}),
    ("budget-check", {"budget": "lots"}),
    ("budget-check", {"budget": "5000", "range": "last month", "team": 'R&D "é"'}),
    ("budget-check", {"budget": "5000", "range": "lst month"}),
    ("budget-check", {"budgt": "5000"}),
    ("cache-savings", {}),
    ("cache-savings", {"team": "search", "timezone": "Europe/Berlin"}),
    ("cache-savings", {"timezone": "Europe/Berln"}),
    ("chargeback-by-team", {}),
    ("chargeback-by-team", {"metadata_key": "cost_center", "range": "2026-06"}),
    ("chargeback-by-team", {"metadata_key": 'odd "key"'}),
    ("error-triage", {}),
    ("error-triage", {"model": 'mistral|large "v2"', "range": "today"}),
    ("latency-investigation", {}),
    ("latency-investigation", {"metadata_key": "environment", "model": "openai/gpt-4o"}),
    ("mcp-tool-usage-review", {"server": "github"}),
    ("weekly-cost-report", {}),
    ("weekly-cost-report", {"team": "a\nb", "timezone": ""}),
    ("weekly-cost-report", {"range": "x" * 500}),
    ("why-did-spend-change", {}),
    ("why-did-spend-change", {"compare_to": "1 month", "range": "last month"}),
    ("why-did-spend-change", {"compare_to": "never", "range": "never", "zone": "never"}),
    ("weekly-cost-reprt", {}),
)

COMPLETIONS: Final[tuple[tuple[str, str, str, dict[str, str]], ...]] = (
    ("weekly-cost-report", "range", "", {}),
    ("weekly-cost-report", "range", "last", {}),
    ("weekly-cost-report", "range", "last 14", {}),
    ("weekly-cost-report", "range", "2026", {}),
    ("weekly-cost-report", "timezone", "", {}),
    ("weekly-cost-report", "timezone", "europe/b", {}),
    ("weekly-cost-report", "team", "", {}),
    ("weekly-cost-report", "team", "S", {}),
    ("why-did-spend-change", "compare_to", "", {}),
    ("why-did-spend-change", "metadata_key", "", {}),
    ("why-did-spend-change", "metadata_key", "env", {}),
    ("error-triage", "model", "", {}),
    ("error-triage", "model", "gpt", {"range": "today"}),
    ("mcp-tool-usage-review", "server", "", {}),
    ("cache-savings", "team", "", {}),
    ("budget-check", "budget", "5", {}),
    ("budget-check", "nothing", "", {}),
    ("no-such-prompt", "range", "", {}),
    ("gateway-metrics://catalog/{datasource}", "datasource", "", {}),
    ("gateway-metrics://catalog/{datasource}", "datasource", "ca", {}),
    ("gateway-metrics://rows/{query}", "query", "x", {}),
)
"""A prompt or a template of resources, its argument, what is typed, the other arguments."""

STATIC: Final = ("range", "timezone", "compare_to", "budget", "nothing", "datasource", "query")
"""The arguments that are completed without asking for rows."""


def link(**arguments: Any) -> str:
    """The address of all rows of a question."""
    text = json.dumps(arguments, separators=(",", ":"), ensure_ascii=False)
    return "gateway-metrics://rows/" + quote(text.translate(_SWAPPED), safe="()!;'+,:@$*=")


def list_resources() -> Iterator[str]:
    """The addresses that are read."""
    yield "gateway-metrics://catalog"
    for datasource in FIELDS:
        yield f"gateway-metrics://catalog/{datasource}"
    june = {"startTs": "2026-06-01", "endTs": "2026-07-01"}
    yield link(aggregations=["sum costInUSD"], groupBy=["modelName"], **june)
    yield link(aggregations=["sum costInUSD"], **june)
    yield link(aggregations=["errorRate", "p95 latencyMs"], groupBy=["team", "modelName"], **june)
    yield link(groupBy=["userEmail"], orderBy="-total", **june)
    yield link(aggregations=["sum costInUSD"], groupBy=["team"], compareTo="previous", **june)
    may = "2026-05-01T00:00Z..2026-06-01T00:00Z"
    yield link(aggregations=["sum costInUSD"], groupBy=["team"], compareTo=may, **june)
    yield link(aggregations=["sum inputTokens"], interval="1 day", timezone="Asia/Tokyo", **june)
    yield link(filters=[one("modelName", "EQUAL", ['mistral|large "v2"'])], **june)
    yield link(groupBy=['metadata.odd "key"'], startTs="2026-07-01T00:00Z", endTs="2026-07-02")
    yield link(datasource="mcpMetrics", groupBy=["toolName"], **june)
    yield link(startTs="last week")
    yield link(groupBy=["modle"], limit=5, **june)
    yield link(startTs="2025-01-01", endTs="2025-02-01", groupBy=["modelName"])
    plain = json.dumps({"groupBy": ["modelName"], **june})
    yield f"gateway-metrics://rows/{quote(plain)}"
    yield "gateway-metrics://rows?groupBy=modelName&startTs=2026-06-01&endTs=2026-07-01"
    yield (
        "gateway-metrics://rows?aggregations=sum+costInUSD,share&groupBy=team,modelName"
        "&filters=modelName,NOT_IN,%22mistral%7Clarge+%22%22v2%22%22%22,x&filters=latencyMs,LESS_THAN,5000"
        "&startTs=2026-06-01&endTs=2026-07-01&timezone=Europe/Berlin"
    )
    yield "gateway-metrics://rows?groupBy=modle&limit=5&filters=modelName&startTs=last+week"
    yield "gateway-metrics://rows/nothing"
    yield "gateway-metrics://rows/"
    yield "gateway-metrics://catalog/modelMetric"
    yield "gateway-metrics://fields"
    yield "https://example.com/"


HIDDEN_RESOURCES: Final = (
    link(groupBy=["userEmail"], startTs="2026-07-01", endTs="2026-07-08"),
    link(filters=[one("userEmail", "EQUAL", ["ada@example.com"])], startTs="2026-07-01",
         endTs="2026-07-08"),
    link(groupBy=["ada@example.com"], startTs="2026-07-01", endTs="2026-07-08"),
    "gateway-metrics://catalog/ada@example.com",
)  # fmt: skip

ADA: Final = one("userEmail", "EQUAL", ["ada@example.com"])


def list_hidden() -> Iterator[Call]:
    """Calls of a server that hides addresses."""
    for form in ("table", "exact", "json", "explain", "chart"):
        yield rows(WEEK, "sum costInUSD", "userEmail", format=form)
    yield rows(WEEK, "sum costInUSD", filters=[ADA])
    yield rows(WEEK, "", filters=[one("userEmail", "IN", ["user-0123456789", "gone@example.com"])])
    yield rows(WEEK, "", filters=[one("userEmail", "STRING_ENDS_WITH", ["@example.com"])])
    yield rows(WEEK, "", "userEmail", compareTo="previous")
    yield series("last 3 days", "", "userEmail", interval="1 day")
    yield rows(WEEK, "", "virtualaccount")
    yield rows(WEEK, "", "ada@example.com")
    yield rows(WEEK, "sum ada@example.com", filters=[one("ada@example.com", "EQUAL", ["x"])])
    yield rows("ada@example.com", timezone="eve%40example.com", orderBy="bob@example.com")
    yield rows(WEEK, "", "metadata.ada@example.com")
    yield "list_values", {"field": "userEmail"}
    yield "list_values", {"field": "userEmail", "search": "ada@"}
    yield "list_values", {"field": "ada@example.com"}
    yield "ada@example.com", {}


CALLERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "admin": {"subject": "root@example.com", "tenant_admin": True},
    "ada": {"subject": "ada@example.com", "teams": []},
    "search lead": {"subject": "lead@example.com", "teams": ["search"]},
    "bot": {"subject": "ci-bot", "type": "virtualaccount", "teams": ["data"]},
    "stranger": {"subject": "nobody@example.com", "teams": ["none"]},
    "expired": {"subject": "ada@example.com", "expires": "2026-07-01T00:00:00Z"},
    "unknown": {},
    "without": {},
}
"""The last two have no entry: one brings a token nobody gave, one brings none."""

ADMITTED: Final = ("admin", "ada", "search lead", "bot", "stranger")


def list_of_callers() -> Iterator[Call]:
    """What each caller asks over MCP."""
    yield rows(WEEK, "sum costInUSD", "userEmail", format="exact")
    yield rows(WEEK, "sum costInUSD, errorRate", "team", compareTo="previous")
    yield rows(WEEK, "sum costInUSD", filters=[ADA])
    yield series("last 3 days", "sum inputTokens", interval="1 day")
    yield "list_values", {"field": "team"}
    yield rows(WEEK, "", "toolName", datasource="mcpMetrics", limit=3)


def _body(**changes: Any) -> dict[str, Any]:
    return {
        "startTs": "2026-07-08T00:00:00.000Z",
        "endTs": "2026-07-15T00:00:00.000Z",
        "datasource": "modelMetrics",
        "type": "distribution",
        **changes,
    }


_SUM: Final = {"type": "sum", "column": "costInUSD"}
BODY: Final = _body(aggregations=[_SUM], groupBy=["modelName"])


def list_bodies() -> Iterator[Any]:
    """Bodies of the HTTP API; text is sent as it is."""
    p95 = {"type": "p95", "column": "latencyMs"}
    yield _body()
    yield _body(aggregations=[_SUM, p95, {"type": "count", "column": "modelName"}])
    for by in (["team"], ["userEmail", "modelName"], ["metadata.environment"], ["virtualModel"],
               ["virtualaccount", "createdBySubjectType"]):  # fmt: skip
        yield _body(aggregations=[_SUM], groupBy=by)
    for datasource in FIELDS:
        yield _body(datasource=datasource, groupBy=["createdBySubjectType"])
    day = {"startTs": "2026-07-14T00:00:00Z", "type": "timeseries", "aggregations": [_SUM]}
    for interval in ("6 hours", "12 hours", "1 day"):
        yield _body(**day, interval=interval)
    yield _body(**day, interval="12 hours", intervalInSeconds=43_200, groupBy=["team"])
    rate = {"type": "ratePerMinute", "column": "inputTokens"}
    yield _body(**{**day, "aggregations": [rate]}, interval="12 hours")
    for filter_ in (one("virtualModelName", "IS_NULL", True), one("virtualModelName", "IS_NULL",
                    False), one("modelName", "IN", ["openai/gpt-4o"]), ADA,
                    one("latencyMs", "BETWEEN", [500, 900]), one("isFailure", "EQUAL", True),
                    one("team", "ARRAY_HAS_NONE", ["search"]),
                    one("modelName", "EQUAL", "gone")):  # fmt: skip
        yield _body(aggregations=[_SUM], filters=[filter_])
    yield from _bad_bodies(day)


def _bad_bodies(day: dict[str, Any]) -> Iterator[Any]:
    for changes in (
        {"datasource": "models"}, {"type": "table"}, {"startTs": "yesterday"}, {"endTs": None},
        {"startTs": "2026-07-16T00:00:00Z"}, {"groupBy": ["model"]}, {"groupBy": "modelName"},
        {"aggregations": [{"type": "summ", "column": "cost"}]}, {"aggregations": ["sum costInUSD"]},
        {"filters": [one("modelName", "LIKE", "a")]}, {"filters": [one("latencyMs", "EQUAL", "a")]},
        {"filters": {"modelName": "a"}}, {"interval": "1 hour"}, {"limit": 5},
        {"aggregations": [{"type": "ratePerMinute", "column": "inputTokens"}]},
        {"datasource": 5, "type": 6, "startTs": 7, "groupBy": [8], "filters": [9]},
    ):  # fmt: skip
        yield _body(**changes)
    yield _body(**day)
    yield _body(**day, interval="1 fortnight")
    yield _body(**{**day, "startTs": "2020-01-01T00:00:00Z"}, interval="1 minute")
    yield from ({}, [], 5, "", "no JSON", '{"startTs":', '{"a":1e999}', "[" * 3000)
