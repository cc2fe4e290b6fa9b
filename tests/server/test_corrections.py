"""Clumsy calls: taken where they have one meaning, else refused with the call that was meant.

A mechanical caller sends the corrected call of a refusal, once. The right call of each is written
by hand, and right is what sends the same queries.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

import pytest

from gateway_metrics_mcp.query.catalog import Catalog
from gateway_metrics_mcp.query.model import Query
from gateway_metrics_mcp.query.vocabulary import NEGATIVE_OPERATORS, DatasourceName

Call = Callable[[str, dict[str, Any]], Awaitable[tuple[str, bool]]]

BY: Final = "query_distribution"
OVER: Final = "query_timeseries"
WEEK: Final = {"startTs": "last 7 days"}
COST: Final = {"aggregations": ["sum costInUSD"]}
CORRECTED: Final = r"Corrected(?:, with (\w+))?: (\{.*\})"


class Clumsy(NamedTuple):
    """A call as it was sent, and the right one; `right_tool` if it is another tool's."""

    sent: dict[str, Any]
    right: dict[str, Any]
    tool: str = BY
    right_tool: str = ""


def only(field: str, operator: str, *values: str) -> dict[str, Any]:
    return {"filters": [{"fieldName": field, "operator": operator, "value": [*values]}]}


TEAM: Final = only("team", "ARRAY_HAS_ANY", "platform")
TOKENS: Final = {"aggregations": ["sum inputTokens", "sum outputTokens"]}

# As people and models sent them.
SEEN: Final[dict[str, Clumsy]] = {
    "names of arguments": Clumsy(
        {"metrics": ["total cost"], "group_by": "model", "start": "last week"},
        {**COST, "groupBy": ["modelName"], "startTs": "last week"},
    ),
    "SQL": Clumsy(
        {"aggregations": "SUM(cost)", "groupBy": "model_name", **WEEK},
        {**COST, "groupBy": ["modelName"], **WEEK},
    ),
    "a call, words, text of a number": Clumsy(
        {"aggregations": ["p95(latency)"], "groupBy": ["model", "environment"], "limit": "10"}
        | WEEK,
        {"aggregations": ["p95 latencyMs"], "groupBy": ["modelName", "metadata.environment"]}
        | {"limit": 10, **WEEK},
    ),
    "distinct users": Clumsy(
        {"aggregations": ["COUNT(DISTINCT user)"], **WEEK}, {"groupBy": ["userEmail"], **WEEK}
    ),
    "filters by name": Clumsy(
        {**COST, "filters": {"team": "platform", "environment": "production"}, **WEEK},
        {
            **COST,
            "filters": [
                *TEAM["filters"],
                *only("metadata.environment", "EQUAL", "production")["filters"],
            ],
            **WEEK,
        },
    ),
    "a condition and an order": Clumsy(
        {**COST, "groupBy": ["modelName"], "filters": ["team = 'platform'"], **WEEK}
        | {"orderBy": "cost DESC"},
        {**COST, "groupBy": ["modelName"], **TEAM, "orderBy": "sumCostInUSD", **WEEK},
    ),
    "keys of a filter": Clumsy(
        {"filters": [{"field": "modelName", "op": "=", "value": "x"}], **WEEK},
        {**only("modelName", "EQUAL", "x"), **WEEK},
    ),
    "errors by day": Clumsy(
        {"aggregations": ["errors"], "startTs": "last 7 days", "interval": "daily"},
        {"aggregations": ["errorRate"], "startTs": "last 7 days", "interval": "1 day"},
        OVER,
    ),
    "another datasource's name": Clumsy(
        {"datasource": "costMetrics", "aggregations": ["sum cost"], "startTs": "June 2026"},
        {**COST, "startTs": "2026-06"},
    ),
    "calls of tools": Clumsy(
        {"datasource": "mcp", "aggregations": ["count calls"], "groupBy": ["tool"], **WEEK},
        {"datasource": "mcpMetrics", "groupBy": ["toolName"], **WEEK},
    ),
    "cost per request, by hour": Clumsy(
        {"aggregations": ["avg cost per request"], "interval": "1h", "timezone": "CET"}
        | {"startTs": "today"},
        {"aggregations": ["costPerRequest"], "interval": "1 hour", "timezone": "Europe/Berlin"}
        | {"startTs": "today"},
        OVER,
    ),
    "a comparison": Clumsy(
        {**COST, "compare_to": "previous", "groupBy": ["user"], **WEEK},
        {**COST, "compareTo": "previous", "groupBy": ["userEmail"], **WEEK},
    ),
    "other words": Clumsy(
        {"aggregations": ["sum input_tokens", "average latency"], "groupBy": ["provider"]}
        | {"startTs": "Q2 2026"},
        {"aggregations": ["sum inputTokens", "avg latencyMs"], "startTs": "2026-Q2"}
        | {"groupBy": ["providerAccountType"]},
    ),
    "a guardrail's result": Clumsy(
        {"datasource": "guardrailMetrics", **WEEK}
        | {"filters": [{"fieldName": "guardrailResult", "operator": "EQUAL", "value": "fail"}]},
        {"datasource": "guardrailMetrics", **only("guardrailResult", "IN", "fail"), **WEEK},
    ),
    "signs": Clumsy(
        {
            "filters": [
                {"fieldName": "latencyMs", "operator": ">", "value": 0.1},
                {"fieldName": "isFailure", "operator": "=", "value": True},
            ],
            **WEEK,
        },
        {
            "filters": [
                *only("latencyMs", "GREATER_THAN", "0.1")["filters"],
                *only("isFailure", "EQUAL", "true")["filters"],
            ],
            **WEEK,
        },
    ),
    "a question in words": Clumsy(
        {"query": "top 5 users by cost last week"},
        {**COST, "groupBy": ["userEmail"], "startTs": "last week", "limit": 5},
    ),
    "quantities": Clumsy(
        {"aggregations": ["failureRate", "p95 ttft", "cost"], **WEEK},
        {"aggregations": ["errorRate", "p95 timeToFirstTokenMs", "sum costInUSD"], **WEEK},
    ),
    "groups of days": Clumsy(
        {**COST, "groupBy": ["day"], **WEEK}, {**COST, "interval": "1 day", **WEEK}, BY, OVER
    ),
}

# Others of the same kinds.
NEW: Final[dict[str, Clumsy]] = {
    "tokens": Clumsy({"aggregations": ["tokens"], **WEEK}, {**TOKENS, **WEEK}),
    "spend in total": Clumsy({"metric": "total spend", **WEEK}, {**COST, **WEEK}),
    "a price": Clumsy({"aggregations": ["price"], **WEEK}, {**COST, **WEEK}),
    "usd by teams": Clumsy(
        {"aggregations": ["usd"], "groupBy": ["teams"], **WEEK},
        {**COST, "groupBy": ["team"], **WEEK},
    ),
    "SQL's words": Clumsy(
        {"select": ["cost"], "where": {"team": "platform"}, "sort": "cost desc", "top": 5}
        | {"groupBy": "model", "from": "last week"},
        {**COST, **TEAM, "orderBy": "sumCostInUSD", "limit": 5, "groupBy": ["modelName"]}
        | {"startTs": "last week"},
    ),
    "fields as arguments": Clumsy({**COST, "team": "platform", **WEEK}, {**COST, **TEAM, **WEEK}),
    "an interval of a distribution": Clumsy(
        {**COST, "interval": "1 day", "orderBy": "cost", **WEEK},
        {**COST, "interval": "1 day", **WEEK},
        BY,
        OVER,
    ),
    "a comparison of a series": Clumsy(
        {**COST, "compareTo": "previous", "interval": "1 day", **WEEK},
        {**COST, "compareTo": "previous", **WEEK},
        OVER,
        BY,
    ),
    "hours of a series": Clumsy(
        {"aggregations": ["requests"], "groupBy": ["hour", "model"], **WEEK},
        {"groupBy": ["modelName"], "interval": "1 hour", **WEEK},
        OVER,
    ),
    "a measure elsewhere": Clumsy(
        {"aggregations": ["cache hits"], "groupBy": ["modelName"], **WEEK},
        {"datasource": "cacheMetrics", "aggregations": ["cacheHitRate"], **WEEK}
        | {"groupBy": ["modelName"]},
    ),
    "a field elsewhere": Clumsy(
        {"groupBy": ["guardrailName", "guardrailResult"], **WEEK},
        {"datasource": "guardrailMetrics", "groupBy": ["guardrailName", "guardrailResult"], **WEEK},
    ),
    "errors of agents": Clumsy(
        {"aggregations": ["errorRate"], "groupBy": ["agent"], **WEEK},
        {"datasource": "agentMetrics", "aggregations": ["errorRate"], "groupBy": ["agentName"]}
        | WEEK,
    ),
    "usage metrics": Clumsy(
        {"datasource": "usageMetrics", "aggregations": ["tokens"], **WEEK}, {**TOKENS, **WEEK}
    ),
    "error metrics": Clumsy(
        {"datasource": "errorMetrics", "aggregations": ["error rate"], **WEEK},
        {"aggregations": ["errorRate"], **WEEK},
    ),
    "a conjunction": Clumsy(
        {"filters": "team = 'platform' AND latencyMs >= 5000", **WEEK},
        {
            "filters": [
                *TEAM["filters"],
                *only("latencyMs", "GREATER_THAN_EQUAL", "5000")["filters"],
            ],
            **WEEK,
        },
    ),
    "operators as keys": Clumsy(
        {"filters": {"latencyMs": {"$gt": 5000}, "modelName": ["a", "b"]}, **WEEK},
        {
            "filters": [
                *only("latencyMs", "GREATER_THAN", "5000")["filters"],
                *only("modelName", "IN", "a", "b")["filters"],
            ],
            **WEEK,
        },
    ),
    "a pattern": Clumsy(
        {"filters": [{"fieldName": "modelName", "operator": "LIKE", "value": "gpt%"}], **WEEK},
        {**only("modelName", "STRING_STARTS_WITH", "gpt"), **WEEK},
    ),
    "a filter without operator": Clumsy(
        {"filters": [{"fieldName": "team", "value": "platform"}], **WEEK}, {**TEAM, **WEEK}
    ),
    "a filter with an empty operator": Clumsy(
        {"filters": [{"fieldName": "team", "operator": "", "value": "platform"}], **WEEK},
        {**TEAM, **WEEK},
    ),
    "a filter's values": Clumsy(
        {"filters": [{"fieldName": "team", "operator": "IN", "values": ["platform"]}], **WEEK},
        {**TEAM, **WEEK},
    ),
    "a filter as a list": Clumsy(
        {"filters": [["team", "=", "platform"]], **WEEK}, {**TEAM, **WEEK}
    ),
    "filters below and": Clumsy(
        {"filters": {"and": [{"field": "team", "op": "=", "value": "platform"}]}, **WEEK},
        {**TEAM, **WEEK},
    ),
    "several teams": Clumsy(
        {"filters": [{"fieldName": "team", "operator": "EQUAL", "value": ["a", "b"]}], **WEEK},
        {**only("team", "ARRAY_HAS_ANY", "a", "b"), **WEEK},
    ),
    "a filter's unit": Clumsy(
        {"filters": [{"fieldName": "latency", "operator": ">", "value": 5000}], **WEEK},
        {**only("latencyMs", "GREATER_THAN", "5000"), **WEEK},
    ),
    "objects with other keys": Clumsy(
        {"aggregations": [{"function": "sum", "field": "costInUSD"}], **WEEK}, {**COST, **WEEK}
    ),
    "an object of a word": Clumsy(
        {"aggregations": [{"metric": "latency", "aggregation": "P95"}], **WEEK},
        {"aggregations": ["p95 latencyMs"], **WEEK},
    ),
    "a column alone": Clumsy({"aggregations": ["costInUSD"], **WEEK}, {**COST, **WEEK}),
    "an order that is no value": Clumsy(
        {"groupBy": ["modelName"], "orderBy": "cost", **WEEK},
        {**COST, "groupBy": ["modelName"], "orderBy": "sumCostInUSD", **WEEK},
    ),
    "an order as an object": Clumsy(
        {**COST, "groupBy": ["modelName"], **WEEK}
        | {"orderBy": {"column": "sumCostInUSD", "direction": "asc"}},
        {**COST, "groupBy": ["modelName"], "orderBy": "-sumCostInUSD", **WEEK},
    ),
    "keys of metadata": Clumsy(
        {"groupBy": ["customer_id", "Metadata[feature]"], **WEEK},
        {"groupBy": ["metadata.customer_id", "metadata.feature"], **WEEK},
    ),
    "values of a key": Clumsy(
        {"field": "environment"}, {"field": "metadata.environment"}, "list_values"
    ),
    "values of models": Clumsy(
        {"datasource": "usage", "column": "model"}, {"field": "modelName"}, "list_values"
    ),
    "a misspelt function": Clumsy(
        {"aggregations": ["summ costInUSD", "pp95 latencyMs"], **WEEK},
        {"aggregations": ["sum costInUSD", "p95 latencyMs"], **WEEK},
    ),
    "the same twice": Clumsy(
        {"aggregations": ["sum costInUSD", "SUM(costInUSD)"], "groupBy": ["team", "Team"], **WEEK},
        {**COST, "groupBy": ["team"], **WEEK},
    ),
    "a format of none": Clumsy(
        {**COST, "format": "markdown", "limit": 0, **WEEK}, {**COST, **WEEK}
    ),
    "averages": Clumsy(
        {"aggregations": ["avg cost per call", "tokens per second"], **WEEK},
        {"aggregations": ["costPerRequest", "outputTokensPerSecond"], **WEEK},
    ),
}


def read_correction(tool: str, text: str) -> tuple[str, dict[str, Any]] | None:
    """The corrected call of a refusal, which is its first suggestion."""
    match = re.fullmatch(CORRECTED, text.split("\n")[1])
    return None if match is None else (match[1] or tool, json.loads(match[2]))


async def ask_mechanically(call: Call, tool: str, sent: dict[str, Any]) -> bool:
    """Send a call and, if it is refused, its corrected call; whether that was answered."""
    text, is_error = await call(tool, sent)
    if is_error and (correction := read_correction(tool, text)):
        _, is_error = await call(*correction)
    return not is_error


@pytest.fixture
async def is_right(call_for_two: Call, sent: list[Query]) -> Callable[[Clumsy], Awaitable[bool]]:
    """Whether a clumsy call ends, after one retry at most, in the queries of the right one."""

    async def ask(clumsy: Clumsy) -> bool:
        is_answered = await ask_mechanically(call_for_two, clumsy.tool, clumsy.sent)
        got = [query.to_body() for query in sent]
        sent.clear()
        text, is_error = await call_for_two(clumsy.right_tool or clumsy.tool, clumsy.right)
        assert not is_error, text
        right = [query.to_body() for query in sent]
        sent.clear()
        return is_answered and got == right

    return ask


UNKNOWABLE_IN_WORDS: Final = {"a question in words"}


async def test_nine_in_ten_clumsy_calls_are_right_within_one_retry(
    is_right: Callable[[Clumsy], Awaitable[bool]],
) -> None:
    cases = {**SEEN, **NEW}
    wrong = {name for name, clumsy in cases.items() if not await is_right(clumsy)}

    assert len(cases) >= 48
    assert wrong == UNKNOWABLE_IN_WORDS
    assert len(wrong) <= len(cases) / 10


# --- taken ---


@pytest.mark.parametrize("nothing", ["", "  ", [], {}, None, [""], ["", "  "], "null"], ids=repr)
async def test_an_argument_that_holds_nothing_counts_as_left_out(
    call_for_two: Call, sent: list[Query], nothing: object
) -> None:
    for tool, name, value in (
        (BY, "startTs", "today"),
        (OVER, "startTs", "today"),
        ("list_values", "field", "modelName"),
        ("list_fields", "", ""),
    ):
        required = {name: value} if name else {}
        plain = await call_for_two(tool, required)
        queries = [query.to_body() for query in sent]
        sent.clear()
        names = ("datasource", "aggregations", "groupBy", "filters", "endTs", "timezone", "format")
        theirs = {
            BY: (*names, "compareTo", "orderBy", "limit", "offset"),
            OVER: (*names, "interval", "limit"),
            "list_values": ("datasource", "startTs", "endTs", "timezone", "limit", "offset"),
            "list_fields": ("datasource",),
        }[tool]

        assert await call_for_two(tool, {**dict.fromkeys(theirs, nothing), **required}) == plain
        assert [query.to_body() for query in sent] == queries
        sent.clear()
        if name:
            text, is_error = await call_for_two(tool, {name: nothing})
            assert is_error
            assert f"- {name}: missing" in text


async def test_filters_that_a_client_filled_with_nothing_are_left_out(
    call_for_two: Call, sent: list[Query]
) -> None:
    empty = {"fieldName": "", "operator": "EQUAL", "value": [""]}
    real = {"fieldName": "modelName", "metadataKey": "", "operator": "EQUAL", "value": ""}
    await call_for_two(BY, {**WEEK, "filters": [empty, {}, real], "groupBy": ["", "team"]})

    assert [f.value for f in sent[0].filters if f.field_name == "modelName"] == [""]
    assert sent[0].group_by == ("team",)


SPELLINGS: Final = {
    "EQUAL": ("=", "==", "eq", "equals", "Is", "equal"),
    "NOT_EQUAL": ("!=", "<>", "ne", "not equals", "is not"),
    "IN": ("in", "one of", "isIn"),
    "NOT_IN": ("not in", "nin", "notIn"),
    "GREATER_THAN": (">", "gt", "greater than"),
    "GREATER_THAN_EQUAL": (">=", "gte", "at least", "greater_than_or_equal"),
    "LESS_THAN": ("<", "lt"),
    "LESS_THAN_EQUAL": ("<=", "lte"),
    "BETWEEN": ("between",),
    "STRING_CONTAINS": ("contains", "string_contains"),
    "STRING_STARTS_WITH": ("starts with", "startsWith"),
    "STRING_ENDS_WITH": ("ends_with",),
    "ARRAY_HAS_ANY": ("has any",),
    "ARRAY_HAS_NONE": ("has none",),
}


@pytest.mark.parametrize("operator", SPELLINGS)
async def test_operators_are_taken_in_other_spellings(
    call_for_two: Call, sent: list[Query], operator: str
) -> None:
    field = (
        "team" if "ARRAY" in operator else "httpStatusCode" if "THAN" in operator else "modelName"
    )
    field = "latencyMs" if operator == "BETWEEN" else field
    values = ["1", "2"] if operator == "BETWEEN" else ["1"]
    for spelling in (operator, *SPELLINGS[operator]):
        one = {"fieldName": field, "operator": spelling, "value": values}
        text, is_error = await call_for_two(BY, {**WEEK, "filters": [one]})
        assert not is_error, text

    assert {query.filters[0].operator for query in sent} == {operator}


@pytest.mark.parametrize(("spelling", "value"), [("is null", True), ("IS NOT NULL", False)])
async def test_null_needs_no_value(
    call_for_two: Call, sent: list[Query], spelling: str, *, value: bool
) -> None:
    one = {"fieldName": "virtualModelName", "operator": spelling}
    await call_for_two(BY, {**WEEK, "filters": [one]})

    assert (sent[0].filters[0].operator, sent[0].filters[0].value) == ("IS_NULL", value)


ONE: Final = ("EQUAL", "IN", "=", "ARRAY_HAS_ANY")
NOT_ONE: Final = ("NOT_EQUAL", "NOT_IN", "!=", "ARRAY_HAS_NONE")


@pytest.mark.parametrize("operators", [ONE, NOT_ONE], ids=["one", "not one"])
async def test_equality_is_taken_by_every_field_that_can_say_it(
    call_for_two: Call, sent: list[Query], catalog: Catalog, operators: tuple[str, ...]
) -> None:
    """One value by any of these names is one filter, in the field's own operator."""
    for name, datasource in catalog.datasources.items():
        for field, known in datasource.filters.items():
            can = (
                operators is ONE or known.type == "boolean" or NEGATIVE_OPERATORS & {*known.allowed}
            )
            if not can and known.type != "array":
                continue
            value = {"number": "5", "boolean": "true"}.get(known.type, "a")
            for operator in operators:
                one = {"fieldName": field, "operator": operator, "value": [value]}
                asked = {"datasource": name, **WEEK, "filters": [one]}
                text, is_error = await call_for_two(BY, asked)
                assert not is_error, (name, field, operator, text)
            ours = [f for query in sent for f in query.filters if f.field_name == field]
            assert all(f.operator in known.allowed for f in ours)
            assert {v for f in ours for v in f.values} <= {5, "a", operators is ONE}
            sent.clear()


async def test_a_filter_of_another_meaning_says_so(call_for_two: Call) -> None:
    for operator, said in (
        ("!=", "# team NOT_EQUAL was sent as ARRAY_HAS_NONE: callers without a team are included"),
        ("EQUAL", "# team EQUAL was sent as ARRAY_HAS_ANY: callers who are also in other teams"),
    ):
        one = {"fieldName": "team", "operator": operator, "value": "a"}
        text, _ = await call_for_two(BY, {**WEEK, "filters": [one]})
        assert said in text
    text, _ = await call_for_two(BY, {**WEEK, **TEAM})
    assert "was sent as" not in text


async def test_a_range_is_two_filters_where_the_field_has_no_between(
    call_for_two: Call, sent: list[Query]
) -> None:
    one = {"fieldName": "httpStatusCode", "operator": "between", "value": ["400", "499"]}
    await call_for_two(BY, {**WEEK, "filters": [one]})

    assert [(f.operator, f.value) for f in sent[0].filters[:2]] == [
        ("GREATER_THAN_EQUAL", 400),
        ("LESS_THAN_EQUAL", 499),
    ]


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("SUM(costInUSD)", "sum costInUSD"),
        ("sum_costInUSD", "sum costInUSD"),
        ("Sum CostInUsd", "sum costInUSD"),
        ("total cost", "sum costInUSD"),
        ("sum(costInUSD) as cost", "sum costInUSD"),
        ("P95 latencyMs", "p95 latencyMs"),
        ("latency_p95", "p95 latencyMs"),
        ("95th percentile of latency", "p95 latencyMs"),
        ("p99.9(latencyMs)", "p999 latencyMs"),
        ("avg(latency)", "avg latencyMs"),
        ("average latency ms", "avg latencyMs"),
        ("medianLatency", "p50 latencyMs"),
        ("COUNT(DISTINCT model_name)", "countDistinct modelName"),
        ({"type": "MAX", "column": "InputTokens"}, "max inputTokens"),
    ],
)
async def test_functions_and_columns_are_taken_in_other_spellings(
    call_for_two: Call, sent: list[Query], given: object, taken: str
) -> None:
    text, is_error = await call_for_two(BY, {**WEEK, "aggregations": [given]})

    assert not is_error, text
    assert str(sent[0].aggregations[0]) == taken


@pytest.mark.parametrize(
    "given", ["requests", "calls", "COUNT(*)", "count(*) as n", "number of calls", "request_count"]
)
async def test_words_for_the_number_of_rows_ask_for_no_more_than_total(
    call_for_two: Call, sent: list[Query], given: str
) -> None:
    _, is_error = await call_for_two(BY, {**WEEK, "aggregations": [given]})

    assert not is_error
    assert sent[0].aggregations == ()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("sumCostInUSD DESC", "sumCostInUSD desc"),
        ("sumCostInUSD asc", "sumCostInUSD asc"),
        ("SumCostInUsd:descending", "sumCostInUSD desc"),
        ("-sumCostInUSD", "sumCostInUSD asc"),
        ("cost desc", "sumCostInUSD desc"),
        ("spend", "sumCostInUSD desc"),
        ("count", "total desc"),
        ("requests ASC", "total asc"),
        (["total desc"], "total desc"),
        ("modelname", "modelName desc"),
    ],
)
async def test_orders_are_taken_in_other_spellings(
    call_for_two: Call, given: object, said: str
) -> None:
    asked = {**WEEK, **COST, "groupBy": ["modelName"], "orderBy": given}
    text, is_error = await call_for_two(BY, asked)

    assert not is_error, text
    assert f"sorted by {said}" in text


@pytest.mark.parametrize("datasource", ["modelmetrics", "MODEL_METRICS", "Model Metrics"])
async def test_names_are_taken_in_another_case(
    call_for_two: Call, sent: list[Query], datasource: str
) -> None:
    asked = {
        "datasource": datasource,
        "groupBy": ["ModelName", "VirtualAccount"],
        **only("Virtual_Account", "IN", "a"),
        **WEEK,
    }
    text, is_error = await call_for_two(BY, asked)

    assert not is_error, text
    assert sent[0].group_by == ("modelName", "virtualaccount")
    assert sent[0].filters[0].field_name == "virtualAccount"


# --- refused ---


@pytest.mark.parametrize(
    ("datasource", "aggregation", "group", "said"),
    [
        ("agentMetrics", "cost", "agentName", "Cost and tokens by agent cannot be known"),
        ("modelMetrics", "sum costInUSD", "agentName", "Cost and tokens by agent cannot be known"),
        ("agentMetrics", "costPerRequest", "agentName", "Cost and tokens by agent cannot be"),
        ("mcpMetrics", "failureRate", "toolName", "Which MCP calls failed cannot be known"),
        ("mcpMetrics", "errorRate", "toolName", "Which MCP calls failed cannot be known"),
        ("mcpMetrics", "total", "errorCode", "Which MCP calls failed cannot be known"),
        ("mcpMetrics", "tokens", "toolName", "MCP calls carry no tokens and no cost"),
        ("mcpMetrics", "sum costInUSD", "toolName", "MCP calls carry no tokens and no cost"),
        ("modelMetrics", "total", "httpStatusCode", "Model calls can be filtered by httpStatus"),
        ("modelMetrics", "cost", "conversationID", "Conversations can be filtered but not"),
        ("modelMetrics", "sum cacheReadInputTokens", "modelName", "How many tokens of all calls"),
        ("modelMetrics", "failedRequests", "modelName", "Failures are counted by total with"),
        ("agentMetrics", "errorCount", "agentName", "Failures are counted by total with"),
        ("modelMetrics", "successRate", "modelName", "share of calls that succeeded is 100 %"),
    ],
)
async def test_what_cannot_be_known_is_said_and_sends_nobody_round(
    call_for_two: Call,
    sent: list[Query],
    datasource: DatasourceName,
    aggregation: str,
    group: str,
    said: str,
) -> None:
    asked = {"datasource": datasource, "aggregations": [aggregation], "groupBy": [group], **WEEK}
    text, is_error = await call_for_two(BY, asked)

    assert (is_error, sent) == (True, [])
    assert said in text
    assert "Corrected" not in text


async def test_all_problems_of_a_call_come_at_once(call_for_two: Call, sent: list[Query]) -> None:
    asked = {
        "metrics": ["sum nothing"],
        "table": "usageMetrics",
        "group_by": ["no such"],
        "where": ["teem = 'x'", {"field": "modelName", "op": "~~~", "value": "x"}],
        "start": "never",
        "tz": "Mars",
        "compare_to": "qqq",
        "sort": "no such desc",
    }
    text, is_error = await call_for_two(BY, asked)

    assert (is_error, sent) == (True, [])
    assert {line.removeprefix("- ").partition(": ")[0] for line in text.split("\n")[1:]} == {
        *(
            "orderBy",
            '"sort"',
            '"metrics"',
            '"table"',
            '"group_by"',
            '"where"',
            '"start"',
            '"tz"',
            '"compare_to"',
        ),
        *("startTs", "timezone", "datasource", "aggregations[0].column", "groupBy[0]"),
        *("filters[0]", "filters[0].fieldName", "filters[1]", "filters[1].operator"),
    }
    assert "The rest is checked as modelMetrics" in text


async def test_a_suggested_operator_is_never_the_opposite(
    call_for_two: Call, catalog: Catalog
) -> None:
    for name, datasource in catalog.datasources.items():
        for field in datasource.filters:
            for operator in ("STRING_NOT_CONTAINS", "not like", "NOT_BETWEEN", "!~", "isn't"):
                one = {"fieldName": field, "operator": operator, "value": ["a"]}
                text, _ = await call_for_two(BY, {"datasource": name, **WEEK, "filters": [one]})
                for meant in re.findall(r"operator: .*Did you mean (\w+)", text):
                    assert re.search("NOT_|_NONE", meant), (name, field, operator)


async def test_what_could_mean_anything_gets_no_corrected_call(call_for_two: Call) -> None:
    for asked in (
        {**WEEK, "zzz": "x"},
        {**WEEK, "groupBy": ["no such field"]},
        {**WEEK, "aggregations": ["sum nothing at all"]},
        {**WEEK, "timezone": "Mumbai"},
        {**WEEK, "filters": {"or": [{"fieldName": "team", "operator": "IN", "value": ["a"]}]}},
        {**WEEK, "groupBy": ["userEmail"], "filters": {"userEmail/virtualaccount": "a"}},
        {"startTs": "never"},
    ):
        text, is_error = await call_for_two(BY, asked)
        assert is_error
        assert "Corrected" not in text


@pytest.mark.parametrize(
    "quantity",
    [
        *("cost per user", "cost per day", "costPerUser", "tokensPerUser", "requests per minute"),
        *("input cost", "output tokens cost", "cost by model", "cost of failures", "std latency"),
    ],
)
async def test_another_quantity_is_never_proposed(call_for_two: Call, quantity: str) -> None:
    text, is_error = await call_for_two(BY, {"aggregations": [quantity], **WEEK})

    assert is_error
    assert "Corrected" not in text


async def test_what_is_right_is_corrected_beside_a_time_that_cannot_be_read(
    call_for_two: Call,
) -> None:
    text, _ = await call_for_two(BY, {"aggregations": ["cost"], "startTs": "never"})

    assert text.split("\n")[1] == 'Corrected except startTs: {"aggregations": ["sum costInUSD"]}'


async def test_prompt_cache_tokens_say_which_calls_they_cover(call_for_two: Call) -> None:
    said = "only of calls that looked in the gateway's response cache"
    asked = {"datasource": "cacheMetrics", **WEEK}
    text, _ = await call_for_two(BY, {**asked, "aggregations": ["sum cacheReadInputTokens"]})
    assert f"# cacheReadInputTokens: {said}" in text
    text, _ = await call_for_two(BY, {**asked, "aggregations": ["sum inputTokens"]})
    assert said not in text
    text, _ = await call_for_two("list_fields", {"datasource": "cacheMetrics"})
    assert "not all calls: cacheReadInputTokens covers only these" in text
