"""How fast models answer."""

from __future__ import annotations

from typing import Final

from tests.questions.model import LAST_7_DAYS, PlainQuestion, by_group, over_time, where

QUESTIONS: Final = (
    PlainQuestion(
        "tail-by-model",
        "Which model has the slowest tail, and how slow is a usual call?",
        (
            by_group(
                """
                SELECT coalesce(ModelName, 'ALL') AS modelName,
                    quantile_cont(LatencyMs, 0.99) AS p99LatencyMs,
                    quantile_cont(LatencyMs, 0.5) AS p50LatencyMs
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL
                GROUP BY ROLLUP (ModelName)
                """,
                keys=1,
                aggregations=["p99 latencyMs", "p50 latencyMs"],
                groupBy=["modelName"],
                **LAST_7_DAYS,
            ),
        ),
    ),
    PlainQuestion(
        "tail-of-production",
        "How long do 95 of 100 production calls of Claude Sonnet take at most?",
        (
            by_group(
                """
                SELECT quantile_cont(LatencyMs, 0.95) AS p95LatencyMs
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL
                    AND Metadata['environment'] = 'production'
                    AND ModelName = 'anthropic/claude-sonnet-4-5'
                """,
                aggregations=["p95 latencyMs"],
                filters=[
                    where("metadata.environment", "EQUAL", "production"),
                    where("modelName", "EQUAL", "anthropic/claude-sonnet-4-5"),
                ],
                **LAST_7_DAYS,
            ),
        ),
    ),
    PlainQuestion(
        "first-token",
        "Which model starts to answer soonest?",
        (
            by_group(
                """
                SELECT ModelName AS modelName,
                    quantile_cont(TimeToFirstTokenMs, 0.9) AS p90TimeToFirstTokenMs,
                    count(TimeToFirstTokenMs) AS countTimeToFirstTokenMs
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL
                GROUP BY ALL ORDER BY p90TimeToFirstTokenMs NULLS LAST
                """,
                keys=1,
                leads=True,
                aggregations=["p90 timeToFirstTokenMs", "count timeToFirstTokenMs"],
                groupBy=["modelName"],
                orderBy="-p90TimeToFirstTokenMs",
                **LAST_7_DAYS,
            ),
        ),
    ),
    PlainQuestion(
        "slowest-call",
        "What was the slowest call of each team?",
        (
            by_group(
                """
                WITH calls AS (
                    SELECT LatencyMs, unnest(list_distinct(Teams)) AS team
                    FROM gateway_model_metrics
                    WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL
                )
                SELECT team, max(LatencyMs) AS maxLatencyMs FROM calls GROUP BY ALL
                """,
                keys=1,
                aggregations=["max latencyMs"],
                groupBy=["team"],
                format="exact",
                **LAST_7_DAYS,
            ),
        ),
    ),
    PlainQuestion(
        "slow-calls",
        "How many calls took longer than 30 seconds, by environment?",
        (
            by_group(
                """
                SELECT Metadata['environment'] AS "metadata.environment", count(*) AS total
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL AND LatencyMs > 30000
                GROUP BY ALL
                """,
                keys=1,
                groupBy=["metadata.environment"],
                filters=[where("latencyMs", "GREATER_THAN", "30000")],
                **LAST_7_DAYS,
            ),
        ),
    ),
    PlainQuestion(
        "latency-today",
        "How has the latency been since midnight, by the hour?",
        (
            over_time(
                """
                SELECT strftime(CreatedAt, '%Y-%m-%d %H:00') AS time, count(*) AS total,
                    quantile_cont(LatencyMs, 0.95) AS p95LatencyMs
                FROM gateway_model_metrics
                WHERE CreatedAt >= '2026-07-15' AND VirtualModelName IS NULL
                GROUP BY ALL
                """,
                says=("last bucket is partial, still running", "may still be filling"),
                aggregations=["p95 latencyMs"],
                interval="1 hour",
                startTs="today",
            ),
        ),
    ),
    PlainQuestion(
        "latency-by-provider-over-time",
        "How did the usual latency of each provider move over the last 7 days?",
        (
            over_time(
                """
                SELECT strftime(CreatedAt, '%Y-%m-%d') AS time, ProviderAccountType AS series,
                    quantile_cont(LatencyMs, 0.5) AS p50LatencyMs
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL
                GROUP BY ALL
                """,
                keys=2,
                aggregations=["p50 latencyMs"],
                groupBy=["providerAccountType"],
                interval="1 day",
                **LAST_7_DAYS,
            ),
        ),
    ),
    PlainQuestion(
        "writing-speed",
        "How many tokens per second does each model write?",
        (
            by_group(
                """
                SELECT coalesce(ModelName, 'ALL') AS modelName,
                    sum(OutputTokens) / (sum(LatencyMs) / 1000) AS outputTokensPerSecond
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL AND OutputTokens > 0
                GROUP BY ROLLUP (ModelName)
                """,
                keys=1,
                aggregations=["outputTokensPerSecond"],
                groupBy=["modelName"],
                **LAST_7_DAYS,
            ),
        ),
    ),
    PlainQuestion(
        "time-per-token",
        "How long does Gemini take per token, on average and at worst?",
        (
            by_group(
                """
                SELECT ModelName AS modelName,
                    avg(TimePerOutputTokenLatencyMs) AS avgTimePerOutputTokenLatencyMs,
                    quantile_cont(TimePerOutputTokenLatencyMs, 0.999)
                        AS p999TimePerOutputTokenLatencyMs
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL
                    AND contains(ModelName, 'gemini')
                GROUP BY ALL
                """,
                keys=1,
                aggregations=[
                    "avg timePerOutputTokenLatencyMs",
                    "p999 timePerOutputTokenLatencyMs",
                ],
                groupBy=["modelName"],
                filters=[where("modelName", "STRING_CONTAINS", "gemini")],
                **LAST_7_DAYS,
            ),
        ),
    ),
)
