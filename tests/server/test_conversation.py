"""The same conversation over every transport and in both eras of the protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from mcp.client import Client
from mcp_types import CallToolResult, Implementation

from gateway_metrics_mcp import __version__
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.server.prompts import read_prompt
from gateway_metrics_mcp.server.tools import TOOLS
from gateway_metrics_mcp.settings import Settings

WINDOW: Final = {"startTs": "2025-03-01", "endTs": "2025-03-03"}
GPT: Final = [{"fieldName": "modelName", "operator": "EQUAL", "value": ["gpt-4o"]}]

TextOf = Callable[[CallToolResult], tuple[str, bool]]


@dataclass(frozen=True)
class Exchange:
    """A call, and what its answer has to say."""

    tool: str
    arguments: dict[str, Any]
    says: tuple[str, ...]
    is_error: bool = False


CONVERSATION: Final = {
    "groups with their ALL row": Exchange(
        "query_distribution",
        {**WINDOW, "aggregations": ["sum costInUSD", "p50 latencyMs"], "groupBy": ["modelName"]},
        (
            "# modelMetrics by modelName | 2025-03-01T00:00Z to 2025-03-03T00:00Z",
            " | models only, virtual-model rows excluded | ",
            "\ngpt-4o|2|2.235|300\nclaude|1|0.2516|900\nALL|3|2.487|400",
        ),
    ),
    "one group, asked in forms that are not published": Exchange(
        "query_distribution",
        {**WINDOW, "groupBy": "virtualModelName", "aggregations": '["avg(latencyMs)"]'},
        (" | virtual models only, ", "\nvirtualModelName: fast\ntotal: 1\navgLatencyMs: 950"),
    ),
    "JSON for programs": Exchange(
        "query_distribution",
        {**WINDOW, "format": "json", "filters": GPT},
        ('"filters":[{"fieldName":"modelName","operator":"EQUAL","value":"gpt-4o"},', "[[2]]"),
    ),
    "a timeseries": Exchange(
        "query_timeseries",
        {**WINDOW, "aggregations": "sum inputTokens", "groupBy": "modelName", "interval": "1 day"},
        (" | 2 buckets of 1 day", "\n2025-03-01|400|0\n2025-03-02|0|50"),
    ),
    "nothing found": Exchange(
        "query_distribution",
        {**WINDOW, "filters": [{**GPT[0], "value": ["gpt-5"]}]},
        ("no rows", 'modelName EQUAL "gpt-5"'),
    ),
    "all datasources": Exchange("list_fields", {}, ("modelMetrics: ", "agentMetrics: ")),
    "the fields of one": Exchange(
        "list_fields", {"datasource": "mcpMetrics"}, ("# mcpMetrics: ", "toolName", "## traps")
    ),
    "the values of a field": Exchange(
        "list_values",
        {**WINDOW, "field": "modelName", "search": "GPT"},
        ("# modelMetrics values of modelName | 2025-03-01T00:00Z to ", "\ngpt-4o|2"),
    ),
    "every problem of a question at once": Exchange(
        "query_distribution",
        {**WINDOW, "aggregation": ["sum costInUSD"], "groupBy": "model", "limit": 0, "format": 1},
        (
            "Invalid arguments for query_distribution:\n",
            '\n- "aggregation": unknown argument. Did you mean aggregations? Allowed: datasource, ',
            "\n- format: 1 is unknown. Allowed: table, exact, json",
            "\n- limit: expected a whole number from 1, got 0",
            (
                '\n- groupBy[0]: "model" is not a group-by field of modelMetrics. Did you'
                " mean modelName?"
            ),
        ),
        is_error=True,
    ),
    "text for a number": Exchange(
        "query_timeseries",
        {**WINDOW, "limit": "many"},
        ('- limit: expected a whole number from 1, got "many"',),
        is_error=True,
    ),
    "a misspelt datasource": Exchange(
        "list_fields",
        {"datasource": "modelMetric"},
        ('- datasource: "modelMetric" is unknown. Did you mean modelMetrics',),
        is_error=True,
    ),
    "an unknown tool": Exchange(
        "query",
        {},
        (
            'Error (unknown_tool): no tool "query". Did you mean query_distribution or',
            f" query_timeseries? Allowed: {', '.join(TOOLS)}",
        ),
        is_error=True,
    ),
}


@pytest.fixture(scope="module")
async def answers(directory: Path, text_of: TextOf) -> dict[str, tuple[str, bool]]:
    """What the server says to each call, without any transport."""
    server = build_server(Settings(backend=str(directory)))
    async with server.hold():
        return {
            name: text_of(await server.call_tool(exchange.tool, exchange.arguments))
            for name, exchange in CONVERSATION.items()
        }


@pytest.fixture(
    scope="module",
    params=[
        (transport, mode)
        for transport in ("memory", "http", "sse", "stdio")
        for mode in ("legacy", "auto")
    ],
    ids="-".join,
)
async def client(
    request: pytest.FixtureRequest,
    connect: Callable[[str, str], AbstractAsyncContextManager[Client]],
) -> AsyncIterator[Client]:
    transport, mode = request.param
    async with connect(transport, mode) as client:
        assert client.protocol_version == ("2025-11-25" if mode == "legacy" else "2026-07-28")
        yield client


async def test_the_server_tells_who_it_is(client: Client) -> None:
    assert client.server_info == Implementation(
        name="gateway-metrics", title="Gateway metrics", version=__version__
    )
    assert client.instructions == read_prompt("instructions")


async def test_the_tools_are_those_of_the_registry(client: Client) -> None:
    listed = await client.list_tools()

    assert listed.tools == [tool.publish() for tool in TOOLS.values()]
    assert listed.next_cursor is None


@pytest.mark.parametrize("name", CONVERSATION)
async def test_an_answer_is_the_same_text_everywhere(
    client: Client, text_of: TextOf, answers: dict[str, tuple[str, bool]], name: str
) -> None:
    exchange = CONVERSATION[name]
    text, is_error = text_of(await client.call_tool(exchange.tool, exchange.arguments))

    assert (text, is_error) == answers[name]
    assert is_error == exchange.is_error
    assert [part for part in exchange.says if part not in text] == []


async def test_questions_asked_at_once_each_get_their_own_answer(
    client: Client, text_of: TextOf, answers: dict[str, tuple[str, bool]]
) -> None:
    given: dict[str, tuple[str, bool]] = {}

    async def ask(name: str, exchange: Exchange) -> None:
        given[name] = text_of(await client.call_tool(exchange.tool, exchange.arguments))

    async with anyio.create_task_group() as group:
        for name, exchange in CONVERSATION.items():
            group.start_soon(ask, name, exchange)

    assert given == answers


async def test_modern_clients_may_keep_the_list_for_an_hour(client: Client) -> None:
    listed = await client.list_tools()

    is_modern = client.protocol_version == "2026-07-28"
    # A handshake has no such hint: what stands here then are the client's own defaults.
    expected = (3_600_000, "public") if is_modern else (0, "private")
    assert (listed.ttl_ms, listed.cache_scope) == expected
