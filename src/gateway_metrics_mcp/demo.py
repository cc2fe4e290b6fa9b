"""The demo: an MCP client asks the real server five questions that people ask."""

from __future__ import annotations

import json
from typing import Any, Final, TextIO

from gateway_metrics_mcp.client import call, connect
from gateway_metrics_mcp.settings import Settings

_WEEK: Final = {"startTs": "last 7 days"}
_WEEK_BEFORE: Final = {"startTs": "now-14d/d", "endTs": "now-8d/d"}

QUESTIONS: Final[tuple[tuple[str, tuple[tuple[str, dict[str, Any]], ...]], ...]] = (
    (
        "What did each model cost last week?",
        (
            (
                "query_distribution",
                {
                    "aggregations": ["sum costInUSD", "sum inputTokens", "sum outputTokens"],
                    "groupBy": ["modelName"],
                    **_WEEK,
                },
            ),
        ),
    ),
    (
        "What does each team cost per day?",
        (
            (
                "query_timeseries",
                {
                    "aggregations": ["sum costInUSD"],
                    "groupBy": ["team"],
                    "interval": "1 day",
                    **_WEEK,
                },
            ),
        ),
    ),
    (
        "Did p99 latency get worse, by model and environment? This week, then the week before.",
        tuple(
            (
                "query_distribution",
                {
                    "aggregations": ["p99 latencyMs", "p50 latencyMs"],
                    "groupBy": ["modelName", "metadata.environment"],
                    "limit": 10,
                    **window,
                },
            )
            for window in (_WEEK, _WEEK_BEFORE)
        ),
    ),
    (
        "Who made the spend jump? Virtual accounts this week, then the week before.",
        tuple(
            (
                "query_distribution",
                {
                    "aggregations": ["sum costInUSD", "sum inputTokens"],
                    "groupBy": ["virtualaccount", "modelName"],
                    "limit": 6,
                    **window,
                },
            )
            for window in (_WEEK, _WEEK_BEFORE)
        ),
    ),
    (
        "Which models fail, and how?",
        (
            (
                "query_distribution",
                {
                    "aggregations": [],
                    "groupBy": ["modelName", "errorCode"],
                    "filters": [{"fieldName": "isFailure", "operator": "EQUAL", "value": ["true"]}],
                    "limit": 12,
                    **_WEEK,
                },
            ),
        ),
    ),
)


async def run_demo(settings: Settings, out: TextIO) -> int:
    """Ask the questions and print each tool call with its answer; 1 if one of them fails."""
    backend = settings.backend or ""
    if not backend.startswith("demo:"):
        backend = "demo:"  # never a gateway that happens to be set up
    failures = 0
    async with connect(backend) as client:
        for number, (title, calls) in enumerate(QUESTIONS, 1):
            out.write(f"\n=== {number}. {title}\n")
            for tool, arguments in calls:
                out.write(f"\n>>> {tool} {json.dumps(arguments)}\n")
                text, is_error = await call(client, tool, arguments)
                failures += is_error
                out.write(f"{text}\n")
    return 1 if failures else 0
