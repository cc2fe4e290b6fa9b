"""What fails, and how."""

from __future__ import annotations

from typing import Final

from tests.questions.model import LAST_7_DAYS, PlainQuestion, by_group, over_time, where

_FAILED: Final = where("isFailure", "EQUAL", "true")

QUESTIONS: Final = (
    PlainQuestion(
        "failures-by-kind",
        "Which errors did calls of each model end with?",
        (
            by_group(
                """
                SELECT ModelName AS modelName, ErrorType AS errorCode, count(*) AS total
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL AND IsFailure
                GROUP BY ALL ORDER BY total DESC LIMIT 10
                """,
                keys=2,
                groupBy=["modelName", "errorCode"],
                filters=[_FAILED],
                **LAST_7_DAYS,
            ),
        ),
    ),
    PlainQuestion(
        "error-rate-by-model",
        "Which model fails most often?",
        (
            by_group(
                """
                SELECT coalesce(ModelName, 'ALL') AS modelName, count(*) AS total,
                    count_if(IsFailure) / count(*) AS errorRate
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL
                GROUP BY ROLLUP (ModelName)
                """,
                keys=1,
                aggregations=["errorRate"],
                groupBy=["modelName"],
                **LAST_7_DAYS,
            ),
        ),
    ),
    PlainQuestion(
        "error-rate-by-environment",
        "Do calls fail more often in dev than in production?",
        (
            by_group(
                """
                SELECT Metadata['environment'] AS "metadata.environment",
                    count_if(IsFailure) / count(*) AS errorRate
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL
                GROUP BY ALL
                """,
                keys=1,
                aggregations=["errorRate"],
                groupBy=["metadata.environment"],
                **LAST_7_DAYS,
            ),
        ),
    ),
    PlainQuestion(
        "too-many-requests",
        "How many calls were turned away with status 429, by provider?",
        (
            by_group(
                """
                SELECT ProviderAccountType AS providerAccountType, count(*) AS total
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL AND HttpStatusCode = 429
                GROUP BY ALL ORDER BY total DESC
                """,
                keys=1,
                groupBy=["providerAccountType"],
                filters=[where("httpStatusCode", "EQUAL", "429")],
                **LAST_7_DAYS,
            ),
        ),
    ),
    PlainQuestion(
        "timeouts-by-day",
        "How many calls timed out on each of the last 7 days?",
        (
            over_time(
                """
                SELECT strftime(CreatedAt, '%Y-%m-%d') AS time, count(*) AS total
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL AND ErrorType = 'Timeout'
                GROUP BY ALL
                """,
                filters=[where("errorCode", "EQUAL", "Timeout")],
                interval="1 day",
                **LAST_7_DAYS,
            ),
        ),
    ),
    PlainQuestion(
        "who-gets-errors",
        "Which virtual accounts saw the most failed calls?",
        (
            by_group(
                """
                SELECT CreatedBySubjectSlug AS virtualaccount, count(*) AS total
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL AND IsFailure
                    AND CreatedBySubjectType = 'virtualaccount'
                GROUP BY ALL ORDER BY total DESC
                """,
                keys=1,
                leads=True,
                groupBy=["virtualaccount"],
                filters=[_FAILED],
                **LAST_7_DAYS,
            ),
        ),
    ),
    PlainQuestion(
        "requests-by-status",
        "With which HTTP statuses did the gateway answer its callers?",
        (
            by_group(
                """
                SELECT HttpStatusCode AS httpStatusCode, count(*) AS total
                FROM gateway_request_metrics WHERE last_7_days(CreatedAt) GROUP BY ALL
                """,
                keys=1,
                says=("gateway requests of all kinds are counted, not only of agents",),
                datasource="agentMetrics",
                groupBy=["httpStatusCode"],
                **LAST_7_DAYS,
            ),
        ),
    ),
    PlainQuestion(
        "callers-of-failures",
        "Calls of models fail: how often does a caller of a virtual model notice?",
        (
            by_group(
                """
                SELECT VirtualModelName AS virtualModelName, count(*) AS total,
                    count_if(IsFailure) / count(*) AS errorRate
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NOT NULL
                GROUP BY ALL
                """,
                keys=1,
                says=("virtual models only",),
                aggregations=["errorRate"],
                groupBy=["virtualModel"],
                **LAST_7_DAYS,
            ),
        ),
    ),
)
