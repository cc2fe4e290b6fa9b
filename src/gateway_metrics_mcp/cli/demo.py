"""The command `demo`: an MCP client asks the real server five common questions."""

from __future__ import annotations

import json
from typing import Any, Final, TextIO

from gateway_metrics_mcp.backends.demo.backend import find_cache
from gateway_metrics_mcp.cli.mcp_client import call_tool, connect
from gateway_metrics_mcp.settings import Settings

_WEEK: Final = {"startTs": "last 7 days"}

QUESTIONS: Final[tuple[tuple[str, tuple[str, dict[str, Any]]], ...]] = (
    (
        "What did each model cost last week, and what does a million tokens cost with it?",
        (
            "query_distribution",
            {
                "aggregations": ["sum costInUSD", "share", "costPerMillionTokens"],
                "groupBy": ["modelName"],
                **_WEEK,
            },
        ),
    ),
    (
        "What does each team cost per day, in New York's days?",
        (
            "query_timeseries",
            {
                "aggregations": ["sum costInUSD"],
                "groupBy": ["team"],
                "interval": "1 day",
                "timezone": "America/New_York",
                "format": "chart",
                **_WEEK,
            },
        ),
    ),
    (
        "Where did p99 latency change most, by model and environment?",
        (
            "query_distribution",
            {
                "aggregations": ["p99 latencyMs"],
                "groupBy": ["modelName", "metadata.environment"],
                "compareTo": "previous",
                "limit": 5,
                **_WEEK,
            },
        ),
    ),
    (
        "Which virtual account made the spend jump, and was it calls, tokens or price?",
        (
            "query_distribution",
            {
                "aggregations": ["sum costInUSD"],
                "groupBy": ["virtualaccount", "modelName"],
                "compareTo": "previous",
                "limit": 5,
                **_WEEK,
            },
        ),
    ),
    (
        "Which models fail, and how often?",
        (
            "query_distribution",
            {"aggregations": ["errorRate"], "groupBy": ["modelName"], **_WEEK},
        ),
    ),
)


async def run_demo(settings: Settings, out: TextIO) -> int:
    """Ask the questions, and print each tool call with its answer to `out`.

    The chart of one of them is written to the demo's cache directory.

    Returns:
        The exit code: 0, or 1 if a call failed.
    """
    backend = settings.backend or ""
    if not backend.startswith("demo:"):
        backend = "demo:"  # never query a gateway that happens to be configured
    failures = 0
    async with connect(backend) as client:
        for number, (title, (tool, arguments)) in enumerate(QUESTIONS, 1):
            out.write(f"\n=== {number}. {title}\n")
            out.write(f"\n>>> {tool} {json.dumps(arguments)}\n")
            text, is_error, picture = await call_tool(client, tool, arguments)
            failures += is_error
            out.write(f"{text}\n")
            if picture is not None:
                file = find_cache() / "demo.png"
                file.write_bytes(picture)
                out.write(f"\npicture: {file}\n")
    return 1 if failures else 0
