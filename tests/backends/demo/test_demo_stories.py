"""The data of `demo:` are the same everywhere, and tell two stories to find."""
# ruff: noqa: S608 - queries name our own tables and days

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.backends.demo.reading import make_demo_data, open_data

from gateway_metrics_mcp.backends.demo.data import FORMAT_VERSION, tell_stories
from gateway_metrics_mcp.backends.sql.dialect import published_tables

SEED = 7
END_DAY = date(2026, 7, 15)

Rows = list[tuple[Any, ...]]
Ask = Callable[[str], Rows]


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


@pytest.mark.thorough
def test_one_thread_makes_the_same_rows_as_two(demo_directory: Path, tmp_path: Path) -> None:
    directory = make_demo_data(tmp_path, seed=SEED, end_day=END_DAY, threads=1)
    assert checksums(directory) == checksums(demo_directory)


def test_the_data_are_those_of_this_format_version(ask: Ask) -> None:
    """Where this fails on purpose, raise FORMAT_VERSION with it."""
    assert FORMAT_VERSION == 3
    counts = {table: ask(f"SELECT count(*) FROM {table}")[0][0] for table in published_tables()}
    assert counts == {
        "gateway_model_metrics": 435_945,
        "gateway_mcp_metrics": 105_265,
        "gateway_guardrail_metrics": 143_457,
        "gateway_config_metrics": 113_823,
        "gateway_request_metrics": 487_979,
    }
    ((*sums, identifiers),) = ask(
        """SELECT sum("InputTokens"), sum("OutputTokens"), sum(round("LatencyMs" * 100)::BIGINT),
            sum(round("CostInUSD" * 1e9)::BIGINT), count(*) FILTER ("IsFailure"),
            bit_xor(md5_number_lower("TraceId" || "SpanId"))
        FROM gateway_model_metrics"""
    )
    assert sums == [1_416_118_067, 158_855_649, 171_605_945_611, 2_442_175_595_035, 6_551]
    assert identifiers == 17_173_053_898_581_503_646


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


@pytest.mark.thorough
@pytest.mark.parametrize("seed", [4, *range(11, 16)])
def test_other_seeds_tell_other_stories_that_are_found_as_well(tmp_path: Path, seed: int) -> None:
    with open_data(make_demo_data(tmp_path, seed=seed, end_day=END_DAY)) as engine:

        def ask(query: str) -> Rows:
            return engine.execute(query).fetchall()

        check_spend(ask, seed)
        check_slowness(ask, seed)
        check_starts(ask, seed)


@pytest.mark.thorough
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
