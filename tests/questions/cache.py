"""What the response cache answers and saves."""

from __future__ import annotations

from typing import Any, Final

from tests.questions.model import LAST_7_DAYS, PlainQuestion, by_group, over_time, where

_CACHE: Final[dict[str, Any]] = {"datasource": "cacheMetrics", **LAST_7_DAYS}

QUESTIONS: Final = (
    PlainQuestion(
        "hit-rate",
        "How often does the cache have the answer?",
        (
            by_group(
                """
                SELECT count(*) AS total,
                    count_if(lower(CacheLookupStatus) = 'hit') / count(*) AS cacheHitRate
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL
                    AND CacheLookupStatus IS NOT NULL
                """,
                aggregations=["cacheHitRate"],
                **_CACHE,
            ),
        ),
    ),
    PlainQuestion(
        "hit-rate-by-namespace",
        "Which cache namespace hits best?",
        (
            by_group(
                """
                SELECT coalesce(CacheNamespace, 'ALL') AS cacheNamespace,
                    count_if(lower(CacheLookupStatus) = 'hit') / count(*) AS cacheHitRate
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL
                    AND CacheLookupStatus IS NOT NULL
                GROUP BY ROLLUP (CacheNamespace)
                """,
                keys=1,
                aggregations=["cacheHitRate"],
                groupBy=["cacheNamespace"],
                **_CACHE,
            ),
        ),
    ),
    PlainQuestion(
        "lookups-by-status",
        "How many lookups hit, missed and failed?",
        (
            by_group(
                """
                SELECT CacheLookupStatus AS cacheLookupStatus, count(*) AS total
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL
                    AND CacheLookupStatus IS NOT NULL
                GROUP BY ALL
                """,
                keys=1,
                groupBy=["cacheLookupStatus"],
                **_CACHE,
            ),
        ),
    ),
    PlainQuestion(
        "savings-by-model",
        "What did the cache save us, by model?",
        (
            by_group(
                """
                SELECT ModelName AS modelName,
                    sum(PotentialCostSavings) AS sumPotentialCostSavings
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL
                    AND CacheLookupStatus IS NOT NULL
                GROUP BY ALL ORDER BY sumPotentialCostSavings DESC NULLS LAST
                """,
                keys=1,
                leads=True,
                aggregations=["sum potentialCostSavings"],
                groupBy=["modelName"],
                **_CACHE,
            ),
        ),
    ),
    PlainQuestion(
        "lookup-latency",
        "How long does a lookup take in the exact and in the semantic cache?",
        (
            by_group(
                """
                SELECT CacheType AS cacheType,
                    quantile_cont(CacheLookupLatencyMs, 0.9) AS p90CacheLookupLatencyMs,
                    quantile_cont(CacheLookupLatencyMs, 0.99) AS p99CacheLookupLatencyMs
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL
                    AND CacheLookupStatus IS NOT NULL
                GROUP BY ALL
                """,
                keys=1,
                aggregations=["p90 cacheLookupLatencyMs", "p99 cacheLookupLatencyMs"],
                groupBy=["cacheType"],
                **_CACHE,
            ),
        ),
    ),
    PlainQuestion(
        "failed-lookups-by-user",
        "For which people did lookups in the cache end in an error?",
        (
            by_group(
                """
                SELECT CreatedBySubjectSlug AS userEmail, count(*) AS total
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL
                    AND CacheLookupStatus = 'error' AND CreatedBySubjectType = 'user'
                GROUP BY ALL
                """,
                keys=1,
                groupBy=["userEmail"],
                filters=[where("cacheLookupStatus", "EQUAL", "error")],
                **_CACHE,
            ),
        ),
    ),
    PlainQuestion(
        "hits-by-day",
        "How many answers came from the cache on each day, by type of cache?",
        (
            over_time(
                """
                SELECT strftime(CreatedAt, '%Y-%m-%d') AS time, CacheType AS series,
                    count(*) AS total
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL
                    AND CacheLookupStatus = 'hit'
                GROUP BY ALL
                """,
                keys=2,
                groupBy=["cacheType"],
                filters=[where("cacheLookupStatus", "EQUAL", "hit")],
                interval="1 day",
                **_CACHE,
            ),
        ),
    ),
)
