"""The traffic in the data of `demo:`: who asks what, when, and how it goes."""
# ruff: noqa: S608 - queries name our own tables and days

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway_metrics_mcp.backends.sql.dialect import published_tables

Rows = list[tuple[Any, ...]]
Ask = Callable[[str], Rows]


def test_there_are_about_10_000_model_calls_a_day_and_the_rest_in_proportion(ask: Ask) -> None:
    real = ask('SELECT count(*) // 35 FROM gateway_model_metrics WHERE "VirtualModelName" IS NULL')
    assert 9_000 < real[0][0] < 11_500
    daily = {
        table: ask(f"SELECT count(*) // 35 FROM {table}")[0][0] for table in published_tables()
    }
    assert 2_500 < daily["gateway_mcp_metrics"] < 3_500
    assert 3_500 < daily["gateway_guardrail_metrics"] < 4_600
    assert 2_600 < daily["gateway_config_metrics"] < 3_600
    assert 12_000 < daily["gateway_request_metrics"] < 15_000


def test_people_work_by_day_and_rest_at_weekends(ask: Ask) -> None:
    ((by_day, by_night, workday, weekend),) = ask(
        """SELECT
            count(*) FILTER (hour("CreatedAt") BETWEEN 8 AND 16) / 9,
            count(*) FILTER (hour("CreatedAt") NOT BETWEEN 8 AND 16) / 15,
            count(*) FILTER (isodow("CreatedAt") <= 5) / 25,
            count(*) FILTER (isodow("CreatedAt") > 5) / 10
        FROM gateway_request_metrics WHERE "CreatedBySubjectType" = 'user'"""
    )
    assert by_day > 5 * by_night
    assert workday > 5 * weekend


def test_no_two_workdays_are_alike(ask: Ask) -> None:
    days = ask(
        """SELECT count(*) FROM gateway_request_metrics
        WHERE isodow("CreatedAt") <= 5 GROUP BY "CreatedAt"::DATE"""
    )
    assert len(days) == 25
    assert len(set(days)) > 20
    assert max(days)[0] > 1.1 * min(days)[0]


def test_callers_are_in_one_team_in_several_or_in_none(ask: Ask) -> None:
    callers = ask(
        """SELECT DISTINCT "CreatedBySubjectType", len("Teams"), "CreatedBySubjectSlug"
        FROM gateway_model_metrics"""
    )
    assert len(callers) == 48
    people = {teams for kind, teams, _ in callers if kind == "user"}
    accounts = {teams for kind, teams, _ in callers if kind == "virtualaccount"}
    assert people == {None, 0, 1, 2, 3}
    assert accounts == {None, 1, 2, 3}


def test_metadata_have_environment_customer_and_feature_but_not_always(ask: Ask) -> None:
    keys = ask(
        """SELECT DISTINCT list_sort(map_keys("Metadata"))
        FROM gateway_model_metrics WHERE cardinality("Metadata") IN (0, 3)"""
    )
    assert sorted(keys) == [([],), (["customer", "environment", "feature"],)]
    ((without, partly),) = ask(
        """SELECT count(*) FILTER ("Metadata" IS NULL) / count(*),
            count(*) FILTER (NOT map_contains("Metadata", 'customer')) / count(*)
        FROM gateway_model_metrics"""
    )
    assert 0.02 < without < 0.06
    assert 0.3 < partly < 0.6


def test_one_to_three_calls_in_a_hundred_fail_with_a_status_and_a_type(ask: Ask) -> None:
    ((failed,),) = ask('SELECT avg("IsFailure"::INTEGER) FROM gateway_model_metrics')
    assert 0.01 < failed < 0.03
    kinds = ask(
        """SELECT DISTINCT "ErrorType", "HttpStatusCode" FROM gateway_model_metrics
        WHERE "IsFailure" ORDER BY ALL"""
    )
    assert kinds == [
        ("AuthenticationError", 401),
        ("InvalidRequest", 400),
        ("ProviderError", 500),
        ("ProviderError", 503),
        ("RateLimitError", 429),
        ("Timeout", 504),
    ]
    fine = """SELECT DISTINCT "ErrorType", "HttpStatusCode" FROM gateway_model_metrics
        WHERE NOT "IsFailure\""""
    assert ask(fine) == [(None, 200)]


def test_calls_of_a_model_without_a_price_and_most_failures_have_no_cost(ask: Ask) -> None:
    unpriced = ask(
        """SELECT DISTINCT "IsFailure", "ModelName" = 'self-hosted/qwen2.5-7b'
        FROM gateway_model_metrics
        WHERE "CostInUSD" IS NULL AND "VirtualModelName" IS NULL ORDER BY ALL"""
    )
    assert unpriced == [(False, True), (True, False), (True, True)]


def test_only_streamed_answers_have_a_time_to_the_first_token(ask: Ask) -> None:
    assert ask(
        """SELECT DISTINCT "Streaming" FROM gateway_model_metrics
        WHERE "TimeToFirstTokenMs" IS NOT NULL OR "InterTokenLatencyMs" IS NOT NULL"""
    ) == [(True,)]
    assert ask(
        'SELECT count(*) FROM gateway_model_metrics WHERE "TimeToFirstTokenMs" > "LatencyMs"'
    ) == [(0,)]


def test_cache_columns_stand_where_the_cache_was_asked_and_hits_are_fast_and_free(
    ask: Ask,
) -> None:
    rows = ask(
        """SELECT "CacheLookupStatus", count(*) > 500, count("CacheType") > 0,
            coalesce(max("CostInUSD"), 0) = 0, median("LatencyMs") < 50,
            coalesce(sum("PotentialCostSavings"), 0) > 0
        FROM gateway_model_metrics GROUP BY 1 ORDER BY 1"""
    )
    assert rows == [
        ("error", True, True, False, False, False),
        ("hit", True, True, True, True, True),
        ("miss", True, True, False, False, False),
        (None, True, False, False, False, False),
    ]


def test_a_virtual_model_leaves_one_row_that_sums_up_the_models_tried(ask: Ask) -> None:
    requests = """
        SELECT "TraceId",
            count("VirtualModelName") AS summaries,
            count("VirtualModelTargetAttempt") AS tried,
            max("VirtualModelTargetAttempt") AS last,
            count(*) FILTER ("IsFailure" AND "VirtualModelName" IS NULL) AS failed,
            bool_or("IsFailure") FILTER ("VirtualModelName" IS NOT NULL) AS is_failure,
            sum("LatencyMs" * if("VirtualModelName" IS NULL, 1, -1)) AS latency,
            sum("CostInUSD" * if("VirtualModelName" IS NULL, 1, -1)) AS cost,
            sum("InputTokens" * if("VirtualModelName" IS NULL, 1, -1)) AS tokens
        FROM gateway_model_metrics
        GROUP BY "TraceId" HAVING summaries + tried > 0
    """
    assert ask(
        f"""SELECT DISTINCT summaries, tried = last, failed - is_failure::INTEGER = tried - 1,
            abs(latency) < 0.001, abs(coalesce(cost, 0)) < 1e-9, coalesce(tokens, 0) = 0
        FROM ({requests})"""
    ) == [(1, True, True, True, True, True)]
    assert ask(f"SELECT DISTINCT tried FROM ({requests}) ORDER BY 1") == [(1,), (2,), (3,)]


def test_each_request_to_a_model_or_an_mcp_server_is_one_request_of_the_gateway(ask: Ask) -> None:
    counted = ask('SELECT "RequestType", count(*) FROM gateway_request_metrics GROUP BY 1')
    ((models,),) = ask('SELECT count(DISTINCT "TraceId") FROM gateway_model_metrics')
    ((mcp,),) = ask("SELECT count(*) FROM gateway_mcp_metrics")
    by_type: dict[str, int] = dict(counted)
    assert by_type["ChatCompletion"] + by_type["Embedding"] == models
    assert by_type["MCPGateway"] == mcp
    assert ask(
        """SELECT DISTINCT "RequestType" FROM gateway_request_metrics
        WHERE "AgentName" IS NOT NULL AND "AgentFramework" IS NOT NULL"""
    ) == [("AgentResponse",)]


def test_tools_are_named_for_tool_calls_only(ask: Ask) -> None:
    methods = ask('SELECT DISTINCT "Method" FROM gateway_mcp_metrics WHERE "PrimitiveName" <> \'\'')
    assert methods == [("tools/call",)]


def test_guardrails_pass_fail_and_err_on_inputs_and_outputs(ask: Ask) -> None:
    outcomes = ask(
        """SELECT "AppliedOnEntityScope", "GuardrailResult", count(*) * 1.0 FROM
        gateway_guardrail_metrics GROUP BY ALL ORDER BY 1, 3 DESC"""
    )
    assert [row[:2] for row in outcomes] == [
        (scope, result) for scope in ("input", "output") for result in ("pass", "fail", "error")
    ]


def test_each_kind_of_rule_succeeds_and_fails(ask: Ask) -> None:
    kinds = ask('SELECT DISTINCT "ConfigType", "Status" FROM gateway_config_metrics ORDER BY ALL')
    assert kinds == [
        (kind, status)
        for kind in ("budget", "loadbalance", "ratelimit")
        for status in ("fail", "success")
    ]
