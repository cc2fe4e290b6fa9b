"""Days that are not UTC's."""

from __future__ import annotations

from typing import Final

from tests.questions.model import LAST_7_DAYS, TOOL_CALLS, PlainQuestion, by_group, over_time, where

QUESTIONS: Final = (
    PlainQuestion(
        "yesterday-in-berlin",
        "What did yesterday cost, seen from Berlin?",
        (
            by_group(
                """
                SELECT sum(CostInUSD) AS sumCostInUSD, count(*) AS total
                FROM gateway_model_metrics
                WHERE VirtualModelName IS NULL
                    AND (CreatedAt AT TIME ZONE 'Europe/Berlin')::DATE = '2026-07-14'
                """,
                says=("Europe/Berlin",),
                aggregations=["sum costInUSD"],
                startTs="yesterday",
                timezone="Europe/Berlin",
            ),
        ),
        "a zone",
    ),
    PlainQuestion(
        "days-of-new-york",
        "What did each of the last 7 days cost, by the days of New York?",
        (
            over_time(
                """
                SELECT (CreatedAt AT TIME ZONE 'America/New_York')::DATE::VARCHAR AS time,
                    sum(CostInUSD) AS sumCostInUSD, count(*) AS total
                FROM gateway_model_metrics
                WHERE VirtualModelName IS NULL
                    AND (CreatedAt AT TIME ZONE 'America/New_York')::DATE
                        BETWEEN '2026-07-08' AND '2026-07-14'
                GROUP BY ALL
                """,
                aggregations=["sum costInUSD"],
                interval="1 day",
                timezone="America/New_York",
                **LAST_7_DAYS,
            ),
        ),
        "a zone",
    ),
    PlainQuestion(
        "tail-by-day-of-kolkata",
        "How slow was the tail of Claude Sonnet on each of the last 7 days in Kolkata?",
        (
            over_time(
                """
                SELECT (CreatedAt AT TIME ZONE 'Asia/Kolkata')::DATE::VARCHAR AS time,
                    quantile_cont(LatencyMs, 0.95) AS p95LatencyMs
                FROM gateway_model_metrics
                WHERE VirtualModelName IS NULL AND ModelName = 'anthropic/claude-sonnet-4-5'
                    AND (CreatedAt AT TIME ZONE 'Asia/Kolkata')::DATE
                        BETWEEN '2026-07-08' AND '2026-07-14'
                GROUP BY ALL
                """,
                aggregations=["p95 latencyMs"],
                filters=[where("modelName", "EQUAL", "anthropic/claude-sonnet-4-5")],
                interval="1 day",
                timezone="Asia/Kolkata",
                **LAST_7_DAYS,
            ),
        ),
        "a zone",
    ),
    PlainQuestion(
        "tool-calls-by-day-of-tokyo",
        "On which day, in Tokyo, were each server's tools called the most?",
        (
            over_time(
                """
                SELECT (CreatedAt AT TIME ZONE 'Asia/Tokyo')::DATE::VARCHAR AS time,
                    McpServerName AS series, count(*) AS total
                FROM gateway_mcp_metrics
                WHERE Method = 'tools/call' AND (CreatedAt AT TIME ZONE 'Asia/Tokyo')::DATE
                    BETWEEN '2026-07-08' AND '2026-07-14'
                GROUP BY ALL
                """,
                keys=2,
                datasource="mcpMetrics",
                groupBy=["mcpServerName"],
                filters=[TOOL_CALLS],
                interval="1 day",
                timezone="Asia/Tokyo",
                **LAST_7_DAYS,
            ),
        ),
        "a zone",
    ),
    PlainQuestion(
        "last-week-in-los-angeles",
        "Which provider cost most in last week's calendar week of Los Angeles?",
        (
            by_group(
                """
                SELECT ProviderAccountType AS providerAccountType, sum(CostInUSD) AS sumCostInUSD
                FROM gateway_model_metrics
                WHERE VirtualModelName IS NULL
                    AND (CreatedAt AT TIME ZONE 'America/Los_Angeles')::DATE
                        BETWEEN '2026-07-06' AND '2026-07-12'
                GROUP BY ALL ORDER BY sumCostInUSD DESC
                """,
                keys=1,
                leads=True,
                aggregations=["sum costInUSD"],
                groupBy=["providerAccountType"],
                startTs="last week",
                timezone="America/Los_Angeles",
            ),
        ),
        "a zone",
    ),
    PlainQuestion(
        "one-day-in-berlin",
        "What did 10 July cost in Berlin?",
        (
            by_group(
                """
                SELECT sum(CostInUSD) AS sumCostInUSD, count(*) AS total
                FROM gateway_model_metrics
                WHERE VirtualModelName IS NULL
                    AND (CreatedAt AT TIME ZONE 'Europe/Berlin')::DATE = '2026-07-10'
                """,
                says=("(1 day, Europe/Berlin)", "is read as 2026-07-10"),
                aggregations=["sum costInUSD"],
                startTs="10 July 2026",
                timezone="Berlin",
            ),
        ),
        "a zone",
    ),
    PlainQuestion(
        "hours-of-kathmandu",
        "What did each hour of 10 July cost in Kathmandu?",
        (
            over_time(
                """
                SELECT strftime(wall, '%Y-%m-%d %H:00') AS time,
                    sum(CostInUSD) AS sumCostInUSD, count(*) AS total
                FROM (
                    SELECT *, date_trunc('hour', CreatedAt AT TIME ZONE 'Asia/Kathmandu') AS wall
                    FROM gateway_model_metrics
                )
                WHERE VirtualModelName IS NULL AND wall::DATE = '2026-07-10'
                GROUP BY wall
                """,
                aggregations=["sum costInUSD"],
                interval="hourly",
                startTs="2026-07-10",
                timezone="Asia/Kathmandu",
            ),
        ),
        "a zone",
    ),
    PlainQuestion(
        "quarter-days-of-berlin",
        "How many calls were there in each quarter of 10 July in Berlin?",
        (
            over_time(
                """
                SELECT '2026-07-10 ' || lpad((quarter * 6)::VARCHAR, 2, '0') || ':00' AS time,
                    count(*) AS total
                FROM (
                    SELECT *, CreatedAt AT TIME ZONE 'Europe/Berlin' AS wall,
                        hour(wall) // 6 AS quarter
                    FROM gateway_model_metrics
                )
                WHERE VirtualModelName IS NULL AND wall::DATE = '2026-07-10'
                GROUP BY quarter
                """,
                interval="6 hours",
                startTs="2026-07-10",
                timezone="Europe/Berlin",
            ),
        ),
        "a zone",
    ),
)
