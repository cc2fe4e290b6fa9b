"""Questions whose honest answer is that it cannot be known, and why.

Errors are shown with the allowed fields, so that nobody mistakes a misspelt field for an empty
answer; a key that no row has, and a window without rows, are said and not counted as zero.
"""

from __future__ import annotations

from typing import Final

from tests.questions.model import (
    LAST_7_DAYS,
    TOOL_CALLS,
    PlainQuestion,
    by_group,
    refused,
    where,
)

QUESTIONS: Final = (
    PlainQuestion(
        "failing-tools",
        "Which tool of which MCP server fails most often?",
        (
            refused(
                "toolCallErrorRate",
                "isToolCallExecutionError|catalog",
                datasource="mcpMetrics",
                aggregations=["toolCallErrorRate"],
                groupBy=["mcpServerName", "toolName"],
                filters=[TOOL_CALLS],
                **LAST_7_DAYS,
            ),
            refused(
                '"isToolCallExecutionError" is not a filter of mcpMetrics',
                "Allowed: .*method, toolName",
                datasource="mcpMetrics",
                groupBy=["toolName"],
                filters=[where("isToolCallExecutionError", "EQUAL", "true")],
                **LAST_7_DAYS,
            ),
        ),
        "unknowable",
    ),
    PlainQuestion(
        "whose-time",
        "How much of the latency is the provider's, and how much the gateway's own?",
        (
            refused(
                '"providerLatencyMs" is not a column of modelMetrics',
                "Allowed: .*latencyMs, timeToFirstTokenMs",
                aggregations=["p50 providerLatencyMs"],
                groupBy=["modelName"],
                **LAST_7_DAYS,
            ),
        ),
        "unknowable",
    ),
    PlainQuestion(
        "dearest-conversations",
        "Which ten conversations cost the most?",
        (
            refused(
                '"conversationID" is not a group-by field of modelMetrics',
                "Allowed: .*modelName",
                aggregations=["sum costInUSD"],
                groupBy=["conversationID"],
                limit=10,
                **LAST_7_DAYS,
            ),
        ),
        "unknowable",
    ),
    PlainQuestion(
        "calls-by-status",
        "How many calls of each model ended with which HTTP status?",
        (
            refused(
                '"httpStatusCode" is not a group-by field of modelMetrics',
                "Allowed: .*errorCode",
                groupBy=["modelName", "httpStatusCode"],
                **LAST_7_DAYS,
            ),
        ),
        "unknowable",
    ),
    PlainQuestion(
        "failed-rules-alone",
        "Which users did a failed budget rule, and no other, hit?",
        (
            refused(
                '"status" is not a filter of configMetrics',
                '"configType" is not a filter of configMetrics',
                datasource="configMetrics",
                groupBy=["userEmail"],
                filters=[where("status", "EQUAL", "fail"), where("configType", "EQUAL", "budget")],
                **LAST_7_DAYS,
            ),
        ),
        "unknowable",
    ),
    PlainQuestion(
        "what-people-ask",
        "What do people write in their prompts?",
        (
            refused(
                '"prompt" is not a group-by field of modelMetrics',
                "Allowed: .*requestType",
                groupBy=["prompt"],
                **LAST_7_DAYS,
            ),
        ),
        "unknowable",
    ),
    PlainQuestion(
        "budget-left",
        "How much of its budget does each team have left this month?",
        (
            refused(
                '"budgetRemaining" is not a column of configMetrics',
                "Allowed: .*loadbalanceTargetAttemptCount",
                datasource="configMetrics",
                aggregations=["sum budgetRemaining"],
                groupBy=["team", "budgetRuleId"],
                startTs="this month",
            ),
        ),
        "unknowable",
    ),
    PlainQuestion(
        "cost-of-agents",
        "What does a run of each agent cost?",
        (
            refused(
                '"costInUSD" is not a column of agentMetrics',
                "Allowed: .*latencyMs",
                datasource="agentMetrics",
                aggregations=["sum costInUSD"],
                groupBy=["agentName"],
                **LAST_7_DAYS,
            ),
        ),
        "unknowable",
    ),
    PlainQuestion(
        "prompt-caches",
        "How many tokens did the providers read from their own prompt caches, over all calls?",
        (
            refused(
                '"cacheReadInputTokens" is not a column of modelMetrics',
                "Allowed: .*inputTokens",
                aggregations=["sum cacheReadInputTokens"],
                **LAST_7_DAYS,
            ),
        ),
        "unknowable",
    ),
    PlainQuestion(
        "how-content-users-are",
        "Which model do users rate best?",
        (
            by_group(
                "",
                says=("(?m)^# none of these rows has the metadata key rating",),
                groupBy=["modelName", "metadata.rating"],
                **LAST_7_DAYS,
            ),
        ),
        "unknowable",
    ),
    PlainQuestion(
        "before-the-data",
        "What did we spend in May?",
        (
            by_group(
                "",
                says=(
                    "(?m)^no (rows|traffic) in this window",
                    "2026-05-01T00:00Z to 2026-06-01T00:00Z",
                ),
                aggregations=["sum costInUSD"],
                startTs="2026-05",
            ),
        ),
        "unknowable",
    ),
    PlainQuestion(
        "next-month",
        "What will we spend in August?",
        (
            refused(
                "startTs: .*is in the future: now is 2026-07-15T09:30Z",
                aggregations=["sum costInUSD"],
                startTs="2026-08",
            ),
        ),
        "unknowable",
    ),
    PlainQuestion(
        "list-of-statuses",
        "Which HTTP statuses did calls of models ever end with?",
        (
            refused(
                "httpStatusCode",
                "group",
                tool="list_values",
                datasource="modelMetrics",
                field="httpStatusCode",
                **LAST_7_DAYS,
            ),
        ),
        "unknowable",
    ),
)
