"""MCP servers and their tools."""

from __future__ import annotations

from typing import Any, Final

from tests.questions.model import (
    LAST_7_DAYS,
    TOOL_CALLS,
    PlainQuestion,
    by_group,
    over_time,
    where,
)

_MCP: Final[dict[str, Any]] = {"datasource": "mcpMetrics", **LAST_7_DAYS}

QUESTIONS: Final = (
    PlainQuestion(
        "busiest-server",
        "Which MCP server's tools are called the most?",
        (
            by_group(
                """
                SELECT McpServerName AS mcpServerName, count(*) AS total
                FROM gateway_mcp_metrics
                WHERE last_7_days(CreatedAt) AND Method = 'tools/call'
                GROUP BY ALL ORDER BY total DESC
                """,
                keys=1,
                leads=True,
                groupBy=["mcpServerName"],
                filters=[TOOL_CALLS],
                **_MCP,
            ),
        ),
    ),
    PlainQuestion(
        "slowest-tool",
        "Which tool of the warehouse is the slowest?",
        (
            by_group(
                """
                SELECT PrimitiveName AS toolName, quantile_cont(LatencyMs, 0.95) AS p95LatencyMs
                FROM gateway_mcp_metrics
                WHERE last_7_days(CreatedAt) AND Method = 'tools/call'
                    AND McpServerName = 'warehouse'
                GROUP BY ALL ORDER BY p95LatencyMs DESC
                """,
                keys=1,
                leads=True,
                aggregations=["p95 latencyMs"],
                groupBy=["toolName"],
                filters=[TOOL_CALLS, where("mcpServerName", "IN", "warehouse")],
                **_MCP,
            ),
        ),
    ),
    PlainQuestion(
        "requests-by-method",
        "What do clients ask MCP servers for?",
        (
            by_group(
                """
                SELECT Method AS method, count(*) AS total, count(PrimitiveName) AS countToolName
                FROM gateway_mcp_metrics WHERE last_7_days(CreatedAt) GROUP BY ALL
                """,
                keys=1,
                aggregations=["count toolName"],
                groupBy=["method"],
                **_MCP,
            ),
        ),
    ),
    PlainQuestion(
        "tools-in-use",
        "How many different tools of each server does the platform team use?",
        (
            by_group(
                """
                SELECT McpServerName AS mcpServerName,
                    count(DISTINCT PrimitiveName) AS countDistinctToolName
                FROM gateway_mcp_metrics
                WHERE last_7_days(CreatedAt) AND list_contains(Teams, 'platform')
                GROUP BY ALL
                """,
                keys=1,
                says=("MCP requests of all methods",),
                aggregations=["countDistinct toolName"],
                groupBy=["mcpServerName"],
                filters=[where("team", "ARRAY_HAS_ANY", "platform")],
                **_MCP,
            ),
        ),
    ),
    PlainQuestion(
        "tool-calls-by-hour",
        "When on July 14 was GitHub's MCP server busiest?",
        (
            over_time(
                """
                SELECT strftime(CreatedAt, '%Y-%m-%d %H:00') AS time, count(*) AS total
                FROM gateway_mcp_metrics
                WHERE CreatedAt >= '2026-07-14' AND CreatedAt < '2026-07-15'
                    AND McpServerName = 'github' AND Method = 'tools/call'
                GROUP BY ALL
                """,
                filters=[TOOL_CALLS, where("mcpServerName", "IN", "github")],
                datasource="mcpMetrics",
                interval="1 hour",
                startTs="yesterday",
            ),
        ),
    ),
)
