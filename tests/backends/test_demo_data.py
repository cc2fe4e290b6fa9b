"""The data of `demo:`: the same everywhere, in the published layout, with two stories to find."""
# ruff: noqa: S608 - queries name our own tables and days

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from gateway_metrics_mcp.backends.demo_data import FORMAT_VERSION, make_demo_data, tell_stories
from gateway_metrics_mcp.backends.tables import published_tables
from gateway_metrics_mcp.errors import EngineError

SEED = 7
END_DAY = date(2026, 11, 19)
OTHER_SEED = 4
DAYS = [END_DAY - timedelta(back) for back in range(35)]

TYPES = {
    "TEXT": "VARCHAR",
    "TIMESTAMPTZ": "TIMESTAMP WITH TIME ZONE",
    "DOUBLE PRECISION": "DOUBLE",
    "Array(Text)": "VARCHAR[]",
    "Map(Text, Text)": "MAP(VARCHAR, VARCHAR)",
    "Map(Text, Array(Text))": "MAP(VARCHAR, VARCHAR[])",
}

Rows = list[tuple[Any, ...]]
Ask = Callable[[str], Rows]


def open_data(directory: Path) -> duckdb.DuckDBPyConnection:
    """An engine with a view on each table, `date` left out."""
    engine = duckdb.connect()
    engine.execute("SET TimeZone = 'UTC'")
    for table in published_tables():
        files = engine.read_parquet(str(directory / table / "*/*.parquet"), hive_partitioning=False)
        files.create_view(table)
    return engine


def leave_behind(path: Path, *, age_hours: int) -> None:
    path.mkdir(parents=True)
    then = time.time() - age_hours * 3600
    os.utime(path, (then, then))


@pytest.fixture(scope="session")
def demo_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with what earlier days and interrupted processes left in it."""
    cache = tmp_path_factory.mktemp("demo") / "cache"
    family = f"demo-v{FORMAT_VERSION}-seed"
    leave_behind(cache / f"{family}{SEED}-2026-11-01", age_hours=30)
    leave_behind(cache / f"{family}{SEED}-2026-11-18", age_hours=20)
    leave_behind(cache / f"{family}{SEED}1-2026-11-01", age_hours=30)
    leave_behind(cache / ".making-stale", age_hours=30)
    leave_behind(cache / ".making-by-another", age_hours=1)
    return cache


@pytest.fixture(scope="session")
def demo_directory(demo_cache: Path) -> Path:
    return make_demo_data(demo_cache, seed=SEED, end_day=END_DAY, threads=2)


@pytest.fixture(scope="session")
def ask(demo_directory: Path) -> Ask:
    engine = open_data(demo_directory)
    return lambda query: engine.execute(query).fetchall()


# Layout


def test_each_table_has_a_directory_for_each_of_the_35_days(demo_directory: Path) -> None:
    days = sorted(f"date={day.isoformat()}" for day in DAYS)
    found = {
        table.name: sorted(path.name for path in table.iterdir())
        for table in demo_directory.iterdir()
    }
    assert found == dict.fromkeys(published_tables(), days)


@pytest.mark.parametrize("table", published_tables())
def test_columns_and_types_are_the_published_ones(ask: Ask, table: str) -> None:
    published = [(name, TYPES.get(kind, kind)) for name, kind in published_tables()[table].items()]
    assert [row[:2] for row in ask(f"DESCRIBE {table}")] == published


@pytest.mark.parametrize("table", published_tables())
def test_every_column_holds_values_and_no_number_is_nan(ask: Ask, table: str) -> None:
    columns = published_tables()[table]
    filled = ask(f"SELECT count(COLUMNS(*)) FROM {table}")[0]
    assert [name for name, count in zip(columns, filled, strict=True) if not count] == []
    floats = [name for name, kind in columns.items() if kind == "DOUBLE PRECISION"]
    broken = " OR ".join(f'NOT isfinite("{name}") OR "{name}" < 0' for name in floats) or "FALSE"
    assert ask(f"SELECT count(*) FROM {table} WHERE {broken}") == [(0,)]


@pytest.mark.parametrize("table", published_tables())
def test_rows_lie_in_the_utc_day_of_their_directory_to_the_millisecond(
    demo_directory: Path, table: str
) -> None:
    files = duckdb.read_parquet(f"{demo_directory}/{table}/*/*.parquet", hive_partitioning=True)
    misplaced = files.filter(
        """make_timestamp(epoch_us("CreatedAt"))::DATE <> date
        OR epoch_us("CreatedAt") % 1000 <> 0"""
    )
    assert misplaced.fetchall() == []


@pytest.mark.parametrize("table", published_tables())
def test_span_identifiers_are_unique(ask: Ask, table: str) -> None:
    assert ask(f'SELECT count(*) - count(DISTINCT "SpanId") FROM {table}') == [(0,)]


# Being made once


def test_a_second_call_writes_nothing(demo_cache: Path, demo_directory: Path) -> None:
    def stamps() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in demo_cache.rglob("*")}

    before = stamps()
    assert make_demo_data(demo_cache, seed=SEED, end_day=END_DAY) == demo_directory
    assert stamps() == before


def test_only_outdated_data_of_the_same_seed_and_stale_leavings_are_removed(
    demo_cache: Path, demo_directory: Path
) -> None:
    family = f"demo-v{FORMAT_VERSION}-seed{SEED}"
    assert sorted(path.name for path in demo_cache.iterdir()) == sorted(
        [".making-by-another", demo_directory.name, f"{family}-2026-11-18", f"{family}1-2026-11-01"]
    )


def test_a_generation_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(EngineError, match="could not be made"):
            make_demo_data(tmp_path / "cache", seed=SEED, end_day=END_DAY)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list((tmp_path / "cache").iterdir()) == []


# Being the same everywhere


def checksums(directory: Path) -> dict[str, Rows]:
    """A number for each table that does not depend on the order of its rows."""
    with open_data(directory) as engine:
        return {
            table: engine.execute(
                f"SELECT count(*), sum(hash(row)::HUGEINT) FROM {table} AS row"
            ).fetchall()
            for table in published_tables()
        }


def test_one_thread_makes_the_same_rows_as_two(demo_directory: Path, tmp_path: Path) -> None:
    directory = make_demo_data(tmp_path, seed=SEED, end_day=END_DAY, threads=1)
    assert checksums(directory) == checksums(demo_directory)


def test_the_data_are_those_of_this_format_version(ask: Ask) -> None:
    """Where this fails on purpose, raise FORMAT_VERSION with it."""
    assert FORMAT_VERSION == 3
    counts = {table: ask(f"SELECT count(*) FROM {table}")[0][0] for table in published_tables()}
    assert counts == {
        "gateway_model_metrics": 436_222,
        "gateway_mcp_metrics": 105_333,
        "gateway_guardrail_metrics": 143_613,
        "gateway_config_metrics": 113_879,
        "gateway_request_metrics": 488_145,
    }
    ((*sums, identifiers),) = ask(
        """SELECT sum("InputTokens"), sum("OutputTokens"), sum(round("LatencyMs" * 100)::BIGINT),
            sum(round("CostInUSD" * 1e9)::BIGINT), count(*) FILTER ("IsFailure"),
            bit_xor(md5_number_lower("TraceId" || "SpanId"))
        FROM gateway_model_metrics"""
    )
    assert sums == [1_417_585_426, 158_889_213, 171_941_196_296, 2_446_321_851_935, 6_568]
    assert identifiers == 683_820_116_876_545_201


# The traffic


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


# The stories

LAST_WEEK = f"""
    SELECT *, "CreatedAt" >= DATE '{END_DAY}' - 7 AS is_last
    FROM gateway_model_metrics
    WHERE "VirtualModelName" IS NULL
    AND "CreatedAt" >= DATE '{END_DAY}' - 14 AND "CreatedAt" < DATE '{END_DAY}'
"""


def check_spend(ask: Ask, seed: int) -> None:
    """The week's cost jumps, and one account on one model is why."""
    stories = tell_stories(seed, END_DAY)
    ((before, after),) = ask(
        f"""SELECT sum("CostInUSD") FILTER (NOT is_last), sum("CostInUSD") FILTER (is_last)
        FROM ({LAST_WEEK})"""
    )
    assert 200 < before < 2_000
    assert 0.30 < after / before - 1 < 0.65
    first, second = ask(
        f"""SELECT "CreatedBySubjectSlug", "ModelName",
            sum(if(is_last, "CostInUSD", -"CostInUSD")) AS more,
            count(*) FILTER (is_last) / count(*) FILTER (NOT is_last),
            avg("InputTokens") FILTER (is_last) / avg("InputTokens") FILTER (NOT is_last)
        FROM ({LAST_WEEK}) GROUP BY 1, 2 ORDER BY more DESC LIMIT 2"""
    )
    assert first[:2] == (stories.spend_account, stories.spend_model)
    assert first[2] > 8 * second[2]
    assert min(first[3:]) > 1.4


def check_slowness(ask: Ask, seed: int) -> None:
    """One model's p99 in one environment stands out, its p50 does not."""
    stories = tell_stories(seed, END_DAY)
    first, second = ask(
        f"""SELECT "ModelName", "Metadata"['environment'],
            quantile_cont("LatencyMs", 0.99) FILTER (is_last)
            / quantile_cont("LatencyMs", 0.99) FILTER (NOT is_last) AS p99,
            quantile_cont("LatencyMs", 0.5) FILTER (is_last)
            / quantile_cont("LatencyMs", 0.5) FILTER (NOT is_last)
        FROM ({LAST_WEEK}) GROUP BY 1, 2 HAVING count(*) > 500 ORDER BY p99 DESC LIMIT 2"""
    )
    assert first[:2] == (stories.slow_model, stories.slow_environment)
    assert 2.8 < first[2] < 4.5
    assert 0.9 < first[3] < 1.15
    assert second[2] < 2.2


def check_starts(ask: Ask, seed: int) -> None:
    """Both begin on the day that is told, at midnight UTC."""
    stories = tell_stories(seed, END_DAY)
    days = ask(
        f"""SELECT "CreatedAt"::DATE, count(*) FROM gateway_model_metrics
        WHERE "CreatedBySubjectSlug" = '{stories.spend_account}'
        AND "ModelName" = '{stories.spend_model}' AND "InputTokens" > 15000
        AND "CreatedAt" >= DATE '{END_DAY}' - 14 GROUP BY 1 ORDER BY 1"""
    )
    usual = [count for day, count in days if day < stories.spend_start]
    jumped = [count for day, count in days if day >= stories.spend_start]
    assert min(jumped) > 1.5 * max(usual, default=0)
    ((slow_before, slow_after),) = ask(
        f"""SELECT count(*) FILTER ("CreatedAt" < DATE '{stories.slow_start}') / 14,
            count(*) FILTER ("CreatedAt" >= DATE '{stories.slow_start}') / 7
        FROM gateway_model_metrics JOIN (
            SELECT 1.3 * quantile_cont("LatencyMs", 0.99) AS tail FROM gateway_model_metrics
            WHERE "ModelName" = '{stories.slow_model}'
            AND "CreatedAt" < DATE '{END_DAY}' - 14
        ) ON "LatencyMs" > tail
        WHERE "ModelName" = '{stories.slow_model}' AND "CreatedAt" >= DATE '{END_DAY}' - 14
        AND "Metadata"['environment'] = '{stories.slow_environment}'"""
    )
    assert slow_after > 3 * slow_before


def test_both_stories_are_found_by_comparing_two_weeks(ask: Ask) -> None:
    check_spend(ask, SEED)
    check_slowness(ask, SEED)
    check_starts(ask, SEED)


@pytest.mark.parametrize(
    "seed",
    [OTHER_SEED, *(pytest.param(seed, marks=pytest.mark.thorough) for seed in range(11, 16))],
)
def test_other_seeds_tell_other_stories_that_are_found_as_well(tmp_path: Path, seed: int) -> None:
    with open_data(make_demo_data(tmp_path, seed=seed, end_day=END_DAY)) as engine:

        def ask(query: str) -> Rows:
            return engine.execute(query).fetchall()

        check_spend(ask, seed)
        check_slowness(ask, seed)
        check_starts(ask, seed)


def test_the_seed_moves_who_what_and_when() -> None:
    told = [tell_stories(seed, END_DAY) for seed in range(40)]
    assert len({story.spend_account for story in told}) == 8
    assert len({story.spend_model for story in told}) == 3
    assert len({story.spend_start for story in told}) == 4
    assert len({story.slow_model for story in told}) >= 5
    assert len({story.slow_environment for story in told}) == 3
    assert len({story.slow_start for story in told}) == 4
    assert len(set(told)) >= 38


def test_the_end_day_moves_the_stories_along() -> None:
    today, tomorrow = (tell_stories(SEED, END_DAY + timedelta(later)) for later in (0, 1))
    assert tomorrow.spend_start - today.spend_start == timedelta(1)
    assert tomorrow.slow_start - today.slow_start == timedelta(1)
    assert (tomorrow.spend_account, tomorrow.slow_model) == (today.spend_account, today.slow_model)


@pytest.mark.thorough
def test_two_that_make_the_same_data_at_once_both_end_with_them(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        makers = [
            pool.submit(make_demo_data, tmp_path, seed=SEED, end_day=END_DAY) for _ in range(2)
        ]
        first, second = (maker.result() for maker in makers)
    assert first == second
    assert list(tmp_path.iterdir()) == [first]
    assert {table.name for table in first.iterdir()} == set(published_tables())
