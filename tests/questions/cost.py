"""What things cost, for whom, and what has no price."""

from __future__ import annotations

from typing import Final

from tests.questions.model import LAST_7_DAYS, PlainQuestion, by_group, over_time, where

QUESTIONS: Final = (
    PlainQuestion(
        "cost-by-model",
        "What did each model cost last week, and all of them together?",
        (
            by_group(
                """
                SELECT coalesce(ModelName, 'ALL') AS modelName, count(*) AS total,
                    sum(CostInUSD) AS sumCostInUSD, sum(InputTokens) AS sumInputTokens,
                    sum(OutputTokens) AS sumOutputTokens
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL
                GROUP BY ROLLUP (ModelName)
                """,
                keys=1,
                aggregations=["sum costInUSD", "sum inputTokens", "sum outputTokens"],
                groupBy=["modelName"],
                **LAST_7_DAYS,
            ),
        ),
    ),
    PlainQuestion(
        "cost-by-team",
        "What did each team spend last week?",
        (
            by_group(
                """
                WITH calls AS (
                    SELECT CostInUSD, unnest(if(coalesce(len(Teams), 0) = 0, [NULL],
                        list_distinct(Teams))) AS team
                    FROM gateway_model_metrics
                    WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL
                )
                SELECT team, sum(CostInUSD) AS sumCostInUSD FROM calls GROUP BY team
                UNION ALL
                SELECT 'ALL', sum(CostInUSD) FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL
                """,
                keys=1,
                says=("team rows overlap", "count once per team"),
                aggregations=["sum costInUSD"],
                groupBy=["team"],
                **LAST_7_DAYS,
            ),
        ),
    ),
    PlainQuestion(
        "costliest-user",
        "Which person spent the most last week?",
        (
            by_group(
                """
                SELECT CreatedBySubjectSlug AS userEmail,
                    sum(CostInUSD) AS sumCostInUSD
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL
                    AND CreatedBySubjectType = 'user'
                GROUP BY ALL ORDER BY sumCostInUSD DESC LIMIT 3
                """,
                keys=1,
                leads=True,
                says=("rows are users only; other callers are in ALL, not in the rows",),
                aggregations=["sum costInUSD"],
                groupBy=["userEmail"],
                limit=3,
                **LAST_7_DAYS,
            ),
        ),
    ),
    PlainQuestion(
        "cost-of-production",
        "What did production cost last week, to the last digit?",
        (
            by_group(
                """
                SELECT sum(CostInUSD) AS sumCostInUSD, count(*) AS total
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL
                    AND Metadata['environment'] = 'production'
                """,
                aggregations=["sum costInUSD"],
                filters=[where("metadata.environment", "EQUAL", "production")],
                format="exact",
                **LAST_7_DAYS,
            ),
        ),
    ),
    PlainQuestion(
        "cost-by-customer",
        "Which of our customers did the finance team spend the most on last week?",
        (
            by_group(
                """
                SELECT Metadata['customer'] AS "metadata.customer", sum(CostInUSD) AS sumCostInUSD
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL
                    AND list_contains(Teams, 'finance')
                GROUP BY ALL ORDER BY sumCostInUSD DESC
                """,
                keys=1,
                leads=True,
                aggregations=["sum costInUSD"],
                groupBy=["metadata.customer"],
                filters=[where("team", "ARRAY_HAS_ANY", "finance")],
                **LAST_7_DAYS,
            ),
        ),
    ),
    PlainQuestion(
        "cost-per-request",
        "What does one call of each model cost?",
        (
            by_group(
                """
                SELECT coalesce(ModelName, 'ALL') AS modelName,
                    sum(CostInUSD) / nullif(count(CostInUSD), 0) AS costPerRequest
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL
                GROUP BY ROLLUP (ModelName)
                """,
                keys=1,
                aggregations=["costPerRequest"],
                groupBy=["modelName"],
                **LAST_7_DAYS,
            ),
        ),
    ),
    PlainQuestion(
        "price-of-tokens",
        "What did we really pay per million tokens, by provider?",
        (
            by_group(
                """
                SELECT coalesce(ProviderAccountType, 'ALL') AS providerAccountType,
                    1e6 * sum(CostInUSD) / sum(InputTokens + OutputTokens) AS costPerMillionTokens
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL
                    AND CostInUSD IS NOT NULL
                GROUP BY ROLLUP (ProviderAccountType)
                """,
                keys=1,
                aggregations=["costPerMillionTokens"],
                groupBy=["providerAccountType"],
                **LAST_7_DAYS,
            ),
        ),
    ),
    PlainQuestion(
        "share-of-spend",
        "Which part of our spend goes to which provider?",
        (
            by_group(
                """
                SELECT ProviderAccountType AS providerAccountType,
                    sum(CostInUSD) AS sumCostInUSD,
                    sum(CostInUSD) / sum(sum(CostInUSD)) OVER () AS share
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL
                GROUP BY ALL
                """,
                keys=1,
                aggregations=["sum costInUSD", "share"],
                groupBy=["providerAccountType"],
                **LAST_7_DAYS,
            ),
        ),
    ),
    PlainQuestion(
        "size-of-requests",
        "How many tokens does a call of each virtual account have on average?",
        (
            by_group(
                """
                SELECT CreatedBySubjectSlug AS virtualaccount,
                    (sum(InputTokens) + sum(OutputTokens)) / count(InputTokens)
                        AS tokensPerRequest
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL
                    AND CreatedBySubjectType = 'virtualaccount'
                GROUP BY ALL ORDER BY tokensPerRequest DESC
                """,
                keys=1,
                leads=True,
                aggregations=["tokensPerRequest"],
                groupBy=["virtualaccount"],
                **LAST_7_DAYS,
            ),
        ),
    ),
    PlainQuestion(
        "calls-without-a-price",
        "How many calls of each model have no cost at all?",
        (
            by_group(
                """
                SELECT coalesce(ModelName, 'ALL') AS modelName, count(*) AS total,
                    count(CostInUSD) AS countCostInUSD
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL
                GROUP BY ROLLUP (ModelName)
                """,
                keys=1,
                aggregations=["count costInUSD"],
                groupBy=["modelName"],
                **LAST_7_DAYS,
            ),
        ),
    ),
    PlainQuestion(
        "uncosted-share-is-said",
        "What did the self-hosted model cost? Nearly none of its calls has a price.",
        (
            by_group(
                """
                SELECT sum(CostInUSD) AS sumCostInUSD, count(*) AS total
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL
                    AND ModelName = 'self-hosted/qwen2.5-7b'
                """,
                says=(r"(?m)^# .*(uncosted|no cost|without (a )?(cost|price)|no price)",),
                aggregations=["sum costInUSD"],
                filters=[where("modelName", "EQUAL", "self-hosted/qwen2.5-7b")],
                **LAST_7_DAYS,
            ),
        ),
    ),
    PlainQuestion(
        "dearest-call",
        "What was the single most expensive call of each model?",
        (
            by_group(
                """
                SELECT ModelName AS modelName, max(CostInUSD) AS maxCostInUSD
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL
                GROUP BY ALL ORDER BY maxCostInUSD DESC
                """,
                keys=1,
                leads=True,
                aggregations=["max costInUSD"],
                groupBy=["modelName"],
                **LAST_7_DAYS,
            ),
        ),
    ),
    PlainQuestion(
        "cost-by-day",
        "On which of the last 14 days did we spend the most?",
        (
            over_time(
                """
                SELECT strftime(CreatedAt, '%Y-%m-%d') AS time, sum(CostInUSD) AS sumCostInUSD
                FROM gateway_model_metrics
                WHERE CreatedAt >= '2026-07-01' AND CreatedAt < '2026-07-15'
                    AND VirtualModelName IS NULL
                GROUP BY ALL
                """,
                aggregations=["sum costInUSD"],
                interval="1 day",
                startTs="last 14 days",
            ),
        ),
    ),
    PlainQuestion(
        "people-per-model",
        "How many calls did people, not virtual accounts, send to Anthropic models on July 10?",
        (
            by_group(
                """
                SELECT ModelName AS modelName, count(*) AS total
                FROM gateway_model_metrics
                WHERE CreatedAt >= '2026-07-10' AND CreatedAt < '2026-07-11'
                    AND VirtualModelName IS NULL AND CreatedBySubjectType = 'user'
                    AND starts_with(ModelName, 'anthropic/')
                GROUP BY ALL
                """,
                keys=1,
                groupBy=["modelName"],
                filters=[
                    where("createdBySubjectType", "EQUAL", "user"),
                    where("modelName", "STRING_STARTS_WITH", "anthropic/"),
                ],
                startTs="2026-07-10",
                endTs="2026-07-11",
            ),
        ),
    ),
)
