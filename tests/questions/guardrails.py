"""What the guardrails judge, how often and how fast."""

from __future__ import annotations

from typing import Any, Final

from tests.questions.model import LAST_7_DAYS, PlainQuestion, by_group, where

_GUARDRAILS: Final[dict[str, Any]] = {"datasource": "guardrailMetrics", **LAST_7_DAYS}

QUESTIONS: Final = (
    PlainQuestion(
        "guardrail-results",
        "How often did each guardrail pass, fail and break?",
        (
            by_group(
                """
                SELECT GuardrailName AS guardrailName, GuardrailResult AS guardrailResult,
                    count(*) AS total
                FROM gateway_guardrail_metrics WHERE last_7_days(CreatedAt) GROUP BY ALL
                """,
                keys=2,
                groupBy=["guardrailName", "guardrailResult"],
                **_GUARDRAILS,
            ),
        ),
    ),
    PlainQuestion(
        "block-rate",
        "Which guardrail blocks the most?",
        (
            by_group(
                """
                SELECT coalesce(GuardrailName, 'ALL') AS guardrailName,
                    count_if(lower(GuardrailResult) IN ('fail', 'failed', 'block', 'blocked'))
                        / count(*) AS guardrailBlockRate
                FROM gateway_guardrail_metrics WHERE last_7_days(CreatedAt)
                GROUP BY ROLLUP (GuardrailName)
                """,
                keys=1,
                aggregations=["guardrailBlockRate"],
                groupBy=["guardrailName"],
                **_GUARDRAILS,
            ),
        ),
    ),
    PlainQuestion(
        "block-rate-by-scope",
        "Is more blocked on the way in or on the way out, for the growth team?",
        (
            by_group(
                """
                SELECT AppliedOnEntityScope AS appliedOnEntityScope, count(*) AS total,
                    count_if(GuardrailResult = 'fail') / count(*) AS guardrailBlockRate
                FROM gateway_guardrail_metrics
                WHERE last_7_days(CreatedAt) AND list_contains(Teams, 'growth')
                GROUP BY ALL
                """,
                keys=1,
                aggregations=["guardrailBlockRate"],
                groupBy=["appliedOnEntityScope"],
                filters=[where("team", "ARRAY_HAS_ANY", "growth")],
                **_GUARDRAILS,
            ),
        ),
    ),
    PlainQuestion(
        "blocked-users",
        "Whose prompts did the injection guardrail stop most often?",
        (
            by_group(
                """
                SELECT CreatedBySubjectSlug AS userEmail, count(*) AS total
                FROM gateway_guardrail_metrics
                WHERE last_7_days(CreatedAt) AND GuardrailName = 'prompt-injection'
                    AND GuardrailResult = 'fail' AND CreatedBySubjectType = 'user'
                GROUP BY ALL ORDER BY total DESC LIMIT 5
                """,
                keys=1,
                groupBy=["userEmail"],
                filters=[
                    where("guardrailName", "IN", "prompt-injection"),
                    where("guardrailResult", "IN", "fail"),
                ],
                **_GUARDRAILS,
            ),
        ),
    ),
    PlainQuestion(
        "guardrail-latency",
        "Which guardrail takes the longest?",
        (
            by_group(
                """
                SELECT GuardrailName AS guardrailName, avg(LatencyMs) AS avgLatencyMs,
                    quantile_cont(LatencyMs, 0.9) AS p90LatencyMs
                FROM gateway_guardrail_metrics
                WHERE last_7_days(CreatedAt) AND GuardrailResult <> 'error'
                GROUP BY ALL ORDER BY avgLatencyMs DESC
                """,
                keys=1,
                leads=True,
                aggregations=["avg latencyMs", "p90 latencyMs"],
                groupBy=["guardrailName"],
                filters=[where("guardrailResult", "NOT_IN", "error")],
                **_GUARDRAILS,
            ),
        ),
    ),
)
