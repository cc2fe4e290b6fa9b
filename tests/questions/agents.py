"""Agents, of all that comes through the gateway."""

from __future__ import annotations

from typing import Any, Final

from tests.questions.model import LAST_7_DAYS, PlainQuestion, by_group, where

_REQUESTS: Final[dict[str, Any]] = {"datasource": "agentMetrics", **LAST_7_DAYS}

QUESTIONS: Final = (
    PlainQuestion(
        "runs-by-agent",
        "How often did each agent run?",
        (
            by_group(
                """
                SELECT AgentName AS agentName, count(*) AS total
                FROM gateway_request_metrics WHERE last_7_days(CreatedAt) GROUP BY ALL
                """,
                keys=1,
                says=("gateway requests of all kinds are counted, not only of agents",),
                groupBy=["agentName"],
                **_REQUESTS,
            ),
        ),
    ),
    PlainQuestion(
        "part-of-agents",
        "How many of the gateway's requests come from agents, and from how many agents?",
        (
            by_group(
                """
                SELECT count(*) AS total, count(AgentName) AS countAgentName,
                    count(DISTINCT AgentName) AS countDistinctAgentName
                FROM gateway_request_metrics WHERE last_7_days(CreatedAt)
                """,
                aggregations=["count agentName", "countDistinct agentName"],
                **_REQUESTS,
            ),
        ),
    ),
    PlainQuestion(
        "latency-by-framework",
        "Do agents built with langgraph answer faster than those with crewai?",
        (
            by_group(
                """
                SELECT AgentFramework AS agentFramework, count(*) AS total,
                    quantile_cont(LatencyMs, 0.5) AS p50LatencyMs,
                    quantile_cont(LatencyMs, 0.9) AS p90LatencyMs
                FROM gateway_request_metrics
                WHERE last_7_days(CreatedAt) AND AgentFramework IN ('langgraph', 'crewai')
                GROUP BY ALL
                """,
                keys=1,
                aggregations=["p50 latencyMs", "p90 latencyMs"],
                groupBy=["agentFramework"],
                filters=[where("agentFramework", "IN", "langgraph", "crewai")],
                **_REQUESTS,
            ),
        ),
    ),
    PlainQuestion(
        "failing-agents",
        "Which agents fail, and how often?",
        (
            by_group(
                """
                SELECT AgentName AS agentName, count(*) AS total,
                    count_if(IsFailure) / count(*) AS errorRate
                FROM gateway_request_metrics
                WHERE last_7_days(CreatedAt) AND contains(AgentName, '-')
                GROUP BY ALL
                """,
                keys=1,
                aggregations=["errorRate"],
                groupBy=["agentName"],
                filters=[where("agentName", "STRING_CONTAINS", "-")],
                **_REQUESTS,
            ),
        ),
    ),
)
