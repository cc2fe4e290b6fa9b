"""What values there are."""

from __future__ import annotations

from typing import Final

from tests.questions.model import LAST_7_DAYS, Call, PlainQuestion

QUESTIONS: Final = (
    PlainQuestion(
        "environments",
        "Which environments do calls name?",
        (
            Call(
                "list_values",
                {
                    "datasource": "modelMetrics",
                    "field": "metadata.environment",
                    **LAST_7_DAYS,
                },
                """
                SELECT Metadata['environment'] AS value, count(*) AS total
                FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL
                GROUP BY ALL
                """,
                keys=1,
            ),
        ),
    ),
    PlainQuestion(
        "gemini-models",
        "Which Gemini models are in use, and how much?",
        (
            Call(
                "list_values",
                {
                    "datasource": "modelMetrics",
                    "field": "modelName",
                    "search": "gemini",
                    **LAST_7_DAYS,
                },
                """
                SELECT ModelName AS value, count(*) AS total FROM gateway_model_metrics
                WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL
                    AND contains(ModelName, 'gemini')
                GROUP BY ALL
                """,
                keys=1,
            ),
        ),
    ),
    PlainQuestion(
        "guardrail-results-spelt",
        "How are the results of guardrails spelt?",
        (
            Call(
                "list_values",
                {"datasource": "guardrailMetrics", "field": "guardrailResult", **LAST_7_DAYS},
                """
                SELECT GuardrailResult AS value, count(*) AS total
                FROM gateway_guardrail_metrics WHERE last_7_days(CreatedAt) GROUP BY ALL
                """,
                keys=1,
            ),
        ),
    ),
    PlainQuestion(
        "metadata-keys",
        "Which metadata keys do our applications send?",
        (
            Call(
                "list_values",
                {"datasource": "modelMetrics", "field": "metadata", **LAST_7_DAYS},
                """
                WITH entries AS (
                    SELECT unnest(map_keys(Metadata)) AS value FROM gateway_model_metrics
                    WHERE last_7_days(CreatedAt) AND VirtualModelName IS NULL
                )
                SELECT value, count(*) AS total FROM entries GROUP BY ALL
                """,
                keys=1,
            ),
        ),
    ),
)
