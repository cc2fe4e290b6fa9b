"""Questions that one kind of rows cannot answer alone."""

from __future__ import annotations

from typing import Final

from tests.questions.model import LAST_7_DAYS, TOOL_CALLS, PlainQuestion, by_group, where

QUESTIONS: Final = (
    PlainQuestion(
        "savings-against-spend",
        "How much of what we would have paid did the cache save?",
        (
            by_group(
                """
                SELECT sum(PotentialCostSavings) AS sumPotentialCostSavings
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL
                    AND CacheLookupStatus IS NOT NULL
                """,
                datasource="cacheMetrics",
                aggregations=["sum potentialCostSavings"],
                **LAST_7_DAYS,
            ),
            by_group(
                """
                SELECT sum(CostInUSD) AS sumCostInUSD FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL
                """,
                aggregations=["sum costInUSD"],
                **LAST_7_DAYS,
            ),
        ),
        "two datasources",
    ),
    PlainQuestion(
        "calls-and-tools-by-account",
        "Which virtual accounts call many tools for each call of a model?",
        (
            by_group(
                """
                SELECT CreatedBySubjectSlug AS virtualaccount, count(*) AS total
                FROM gateway_mcp_metrics
                WHERE last_7_days(CreatedAt) AND Method = 'tools/call'
                    AND CreatedBySubjectType = 'virtualaccount'
                GROUP BY ALL
                """,
                keys=1,
                datasource="mcpMetrics",
                groupBy=["virtualaccount"],
                filters=[TOOL_CALLS],
                **LAST_7_DAYS,
            ),
            by_group(
                """
                SELECT CreatedBySubjectSlug AS virtualaccount, count(*) AS total
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL
                    AND CreatedBySubjectType = 'virtualaccount'
                GROUP BY ALL
                """,
                keys=1,
                groupBy=["virtualaccount"],
                **LAST_7_DAYS,
            ),
        ),
        "two datasources",
    ),
    PlainQuestion(
        "limits-and-refusals",
        "Are calls turned away by our own rate limits or by the providers?",
        (
            by_group(
                """
                SELECT Status AS status, count(*) AS total FROM gateway_config_metrics
                WHERE last_7_days(CreatedAt) AND RatelimitRuleId IS NOT NULL GROUP BY ALL
                """,
                keys=1,
                datasource="configMetrics",
                groupBy=["status"],
                filters=[
                    where(
                        "ratelimitRuleId", "IN", "chat-per-user", "tokens-per-team", "batch-hourly"
                    )
                ],
                **LAST_7_DAYS,
            ),
            by_group(
                """
                SELECT ProviderAccountType AS providerAccountType, count(*) AS total
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL
                    AND ErrorType = 'RateLimitError'
                GROUP BY ALL
                """,
                keys=1,
                groupBy=["providerAccountType"],
                filters=[where("errorCode", "EQUAL", "RateLimitError")],
                **LAST_7_DAYS,
            ),
        ),
        "two datasources",
    ),
    PlainQuestion(
        "guarded-part",
        "How many guardrail runs come on one chat completion, by environment?",
        (
            by_group(
                """
                SELECT Metadata['environment'] AS "metadata.environment", count(*) AS total
                FROM gateway_guardrail_metrics WHERE last_7_days(CreatedAt) GROUP BY ALL
                """,
                keys=1,
                datasource="guardrailMetrics",
                groupBy=["metadata.environment"],
                **LAST_7_DAYS,
            ),
            by_group(
                """
                SELECT Metadata['environment'] AS "metadata.environment", count(*) AS total
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL
                    AND RequestType = 'ChatCompletion'
                GROUP BY ALL
                """,
                keys=1,
                groupBy=["metadata.environment"],
                filters=[where("requestType", "EQUAL", "ChatCompletion")],
                **LAST_7_DAYS,
            ),
        ),
        "two datasources",
    ),
    PlainQuestion(
        "attempts-against-requests",
        "How many requests fail for their callers, and how many attempts failed underneath?",
        (
            by_group(
                """
                SELECT IsFailure AS isFailure, count(*) AS total FROM gateway_request_metrics
                WHERE last_7_days(CreatedAt) GROUP BY ALL
                """,
                keys=1,
                datasource="agentMetrics",
                groupBy=["isFailure"],
                **LAST_7_DAYS,
            ),
            by_group(
                """
                SELECT count(*) AS total FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL AND IsFailure
                """,
                filters=[where("isFailure", "EQUAL", "true")],
                **LAST_7_DAYS,
            ),
        ),
        "two datasources",
    ),
)
