"""What changed against an earlier time."""

from __future__ import annotations

from typing import Final

from tests.questions.model import AGAINST_BEFORE, PlainQuestion, by_group, where

QUESTIONS: Final = (
    PlainQuestion(
        "spend-against-week-before",
        "Did we spend more than the week before?",
        (
            by_group(
                """
                SELECT sum(CostInUSD) FILTER (last_7_days(CreatedAt)) AS sumCostInUSD,
                    sum(CostInUSD) FILTER (week_before(CreatedAt)) AS sumCostInUSD_before,
                    sumCostInUSD - sumCostInUSD_before AS sumCostInUSD_change,
                    sumCostInUSD / sumCostInUSD_before - 1 AS "sumCostInUSD_change%",
                    count_if(last_7_days(CreatedAt)) AS total,
                    count_if(week_before(CreatedAt)) AS total_before
                FROM gateway_model_metrics WHERE VirtualModelName IS NULL
                """,
                aggregations=["sum costInUSD"],
                **AGAINST_BEFORE,
            ),
        ),
        "a comparison",
    ),
    PlainQuestion(
        "spend-change-by-account",
        "Which virtual account made the spend rise?",
        (
            by_group(
                """
                SELECT CreatedBySubjectSlug AS virtualaccount,
                    sum(CostInUSD) FILTER (last_7_days(CreatedAt)) AS sumCostInUSD,
                    sum(CostInUSD) FILTER (week_before(CreatedAt)) AS sumCostInUSD_before,
                    sumCostInUSD - sumCostInUSD_before AS sumCostInUSD_change,
                    sumCostInUSD / sumCostInUSD_before - 1 AS "sumCostInUSD_change%"
                FROM gateway_model_metrics
                WHERE VirtualModelName IS NULL AND CreatedBySubjectType = 'virtualaccount'
                GROUP BY ALL ORDER BY sumCostInUSD_change DESC
                """,
                keys=1,
                leads=True,
                aggregations=["sum costInUSD"],
                groupBy=["virtualaccount"],
                orderBy="sumCostInUSD_change",
                **AGAINST_BEFORE,
            ),
        ),
        "a comparison",
    ),
    PlainQuestion(
        "tail-change-by-environment",
        "Did the tail of GPT-4o mini get worse, and where?",
        (
            by_group(
                """
                SELECT Metadata['environment'] AS "metadata.environment",
                    quantile_cont(LatencyMs, 0.99) FILTER (last_7_days(CreatedAt)) AS p99LatencyMs,
                    quantile_cont(LatencyMs, 0.99) FILTER (week_before(CreatedAt))
                        AS p99LatencyMs_before,
                    p99LatencyMs - p99LatencyMs_before AS p99LatencyMs_change,
                    p99LatencyMs / p99LatencyMs_before - 1 AS "p99LatencyMs_change%"
                FROM gateway_model_metrics
                WHERE VirtualModelName IS NULL AND ModelName = 'openai/gpt-4o-mini'
                GROUP BY ALL ORDER BY p99LatencyMs_change DESC
                """,
                keys=1,
                leads=True,
                aggregations=["p99 latencyMs"],
                groupBy=["metadata.environment"],
                filters=[where("modelName", "EQUAL", "openai/gpt-4o-mini")],
                orderBy="p99LatencyMs_change",
                **AGAINST_BEFORE,
            ),
        ),
        "a comparison",
    ),
    PlainQuestion(
        "error-rate-change",
        "Do calls of any provider fail more often than the week before?",
        (
            by_group(
                """
                SELECT coalesce(ProviderAccountType, 'ALL') AS providerAccountType,
                    count_if(IsFailure AND last_7_days(CreatedAt))
                        / count_if(last_7_days(CreatedAt)) AS errorRate,
                    count_if(IsFailure AND week_before(CreatedAt))
                        / count_if(week_before(CreatedAt)) AS errorRate_before
                FROM gateway_model_metrics WHERE VirtualModelName IS NULL
                GROUP BY ROLLUP (ProviderAccountType)
                """,
                keys=1,
                aggregations=["errorRate"],
                groupBy=["providerAccountType"],
                **AGAINST_BEFORE,
            ),
        ),
        "a comparison",
    ),
    PlainQuestion(
        "yesterday-against-a-week-ago",
        "Was yesterday busier than the same weekday a week ago, by team?",
        (
            by_group(
                """
                WITH calls AS (
                    SELECT CreatedAt::DATE AS day, unnest(if(coalesce(len(Teams), 0) = 0, [NULL],
                        list_distinct(Teams))) AS team
                    FROM gateway_model_metrics WHERE VirtualModelName IS NULL
                )
                SELECT team, count_if(day = '2026-07-14') AS total,
                    count_if(day = '2026-07-07') AS total_before,
                    total - total_before AS total_change
                FROM calls GROUP BY ALL
                """,
                keys=1,
                groupBy=["team"],
                startTs="yesterday",
                compareTo="1 week",
            ),
        ),
        "a comparison",
    ),
    PlainQuestion(
        "this-week-so-far",
        "How is this week going, against the same days of last week?",
        (
            by_group(
                """
                SELECT sum(CostInUSD) FILTER (CreatedAt >= '2026-07-13') AS sumCostInUSD,
                    sum(CostInUSD) FILTER (CreatedAt < '2026-07-13') AS sumCostInUSD_before,
                    count_if(CreatedAt >= '2026-07-13') AS total,
                    count_if(CreatedAt < '2026-07-13') AS total_before
                FROM gateway_model_metrics
                WHERE VirtualModelName IS NULL AND (CreatedAt >= '2026-07-13'
                    OR (CreatedAt >= '2026-07-06' AND CreatedAt < '2026-07-08T09:30:00Z'))
                """,
                aggregations=["sum costInUSD"],
                startTs="this week",
                compareTo="previous",
            ),
        ),
        "a comparison",
    ),
    PlainQuestion(
        "hit-rate-change",
        "Does the cache hit as often as the week before?",
        (
            by_group(
                """
                SELECT count_if(CacheLookupStatus = 'hit' AND last_7_days(CreatedAt))
                        / count_if(last_7_days(CreatedAt)) AS cacheHitRate,
                    count_if(CacheLookupStatus = 'hit' AND week_before(CreatedAt))
                        / count_if(week_before(CreatedAt)) AS cacheHitRate_before
                FROM gateway_model_metrics
                WHERE VirtualModelName IS NULL AND CacheLookupStatus IS NOT NULL
                """,
                datasource="cacheMetrics",
                aggregations=["cacheHitRate"],
                **AGAINST_BEFORE,
            ),
        ),
        "a comparison",
    ),
    PlainQuestion(
        "block-rate-change",
        "Did a guardrail begin to block more?",
        (
            by_group(
                """
                SELECT GuardrailName AS guardrailName,
                    count_if(GuardrailResult = 'fail' AND last_7_days(CreatedAt))
                        / count_if(last_7_days(CreatedAt)) AS guardrailBlockRate,
                    count_if(GuardrailResult = 'fail' AND week_before(CreatedAt))
                        / count_if(week_before(CreatedAt)) AS guardrailBlockRate_before
                FROM gateway_guardrail_metrics GROUP BY ALL
                """,
                keys=1,
                datasource="guardrailMetrics",
                aggregations=["guardrailBlockRate"],
                groupBy=["guardrailName"],
                **AGAINST_BEFORE,
            ),
        ),
        "a comparison",
    ),
)
