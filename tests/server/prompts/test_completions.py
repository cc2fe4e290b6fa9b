"""Completions: what is known at once, what the data hold, and never a wait or an error."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import anyio
import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import Completion, PromptReference, ResourceTemplateReference
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from tests.faults.faulty_gateway import Gateway, http, say, start_gateway, stay_silent

from gateway_metrics_mcp.http.transports import build_http_app
from gateway_metrics_mcp.query.vocabulary import API_PATH as PATH
from gateway_metrics_mcp.query.vocabulary import DATASOURCES
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.settings import Settings

Connect = Callable[..., AbstractAsyncContextManager[Client]]
Listen = Callable[[Starlette], AbstractAsyncContextManager[int]]

NOW: Final = datetime(2026, 7, 15, 9, 30, tzinfo=UTC)
CATALOG: Final = ResourceTemplateReference(uri="gateway-metrics://catalog/{datasource}")
HASH: Final = re.compile(r"user-[0-9a-f]{10}")
BY_USER: Final = """\
+++
title = "One user"
description = "What one user does"
[[arguments]]
name = "source"
description = "kind of rows"
kind = "datasource"
[[arguments]]
name = "by"
description = "a field"
kind = "field"
[[arguments]]
name = "what"
description = "a measure"
kind = "measure"
[[arguments]]
name = "user"
description = "whose"
kind = "value"
field = "userEmail"
[[arguments]]
name = "team"
description = "of which team"
kind = "value"
field = "team"
+++
Text
"""


async def complete(
    client: Client, prompt: str, name: str, value: str = "", **given: str
) -> Completion:
    ref = PromptReference(name=prompt)
    result = await client.complete(ref, {"name": name, "value": value}, given or None)
    return result.completion


async def complete_live(
    client: Client, prompt: str, name: str, value: str = "", **given: str
) -> Completion:
    """Ask until there is something: a machine that is busy may take longer than people wait."""
    with anyio.fail_after(60):
        while True:
            found = await complete(client, prompt, name, value, **given)
            if found.values:
                return found


async def complete_until_asked(client: Client, gateway: Gateway) -> Completion:
    """A busy machine may take longer than people wait before the gateway hears of it."""
    while True:
        with anyio.fail_after(60):
            found = await complete(client, "latency-investigation", "model")
        if gateway.requests:
            return found


STATIC: Final[tuple[tuple[str, str, str, tuple[str, ...]], ...]] = (
    ("weekly-cost-report", "audience", "", ("chat", "full")),
    ("weekly-cost-report", "audience", "F", ("full",)),
    ("weekly-cost-report", "range", "last 14 d", ("last 14 days",)),
    ("weekly-cost-report", "range", "2026-07", ("2026-07",)),
    ("weekly-cost-report", "range", "this q", ("this quarter",)),
    (
        "weekly-cost-report",
        "timezone",
        "ber",
        ("Atlantic/Bermuda", "Europe/Berlin", "Australia/Canberra"),
    ),
    (
        "weekly-cost-report",
        "timezone",
        "europe/be",
        ("Europe/Belfast", "Europe/Belgrade", "Europe/Berlin"),
    ),
    ("why-did-spend-change", "compare_to", "1 w", ("1 week",)),
    ("budget-check", "budget", "5", ()),
    ("budget-check", "nothing", "", ()),
    ("no-such-prompt", "range", "", ()),
)


@pytest.mark.parametrize(("prompt", "name", "value", "values"), STATIC)
async def test_what_is_known_is_offered_at_once(
    connect: Connect, mode: str, prompt: str, name: str, value: str, values: tuple[str, ...]
) -> None:
    async with connect(mode) as client:
        found = await complete(client, prompt, name, value)

    assert found == Completion(values=[*values], total=len(values), has_more=False)


async def test_the_usual_ranges_and_zones_come_first(connect: Connect) -> None:
    async with connect(timezone="Asia/Tokyo") as client:
        ranges = await complete(client, "weekly-cost-report", "range")
        zones = await complete(client, "weekly-cost-report", "timezone")

    assert ranges.values[:3] == ["today", "yesterday", "last 7 days"]
    assert "last month" in ranges.values
    assert zones.values[:2] == ["Asia/Tokyo", "UTC"]
    assert (len(zones.values), zones.has_more) == (100, True)
    assert zones.total is not None
    assert zones.total > 300


@pytest.mark.parametrize("era", ["legacy", "auto"])  # a pinned one asks for no capabilities
async def test_completions_are_announced(connect: Connect, era: str) -> None:
    async with connect(era) as client:
        capabilities = client.server_capabilities

    assert capabilities is not None
    assert capabilities.completions is not None


async def test_the_catalog_completes_resource_templates(connect: Connect, mode: str) -> None:
    async with connect(mode) as client:
        every = await client.complete(CATALOG, {"name": "datasource", "value": ""})
        some = await client.complete(CATALOG, {"name": "datasource", "value": "C"})
        other = await client.complete(
            ResourceTemplateReference(uri="file:///{datasource}"),
            {"name": "datasource", "value": ""},
        )

    assert every.completion.values == [*DATASOURCES]
    assert some.completion.values[:2] == ["cacheMetrics", "configMetrics"]
    assert "mcpMetrics" in some.completion.values[2:]
    assert other.completion.values == []


async def test_live_values_come_from_the_data(connect: Connect, mode: str) -> None:
    async with connect(mode) as client:
        teams = await complete_live(client, "weekly-cost-report", "team")
        models = await complete_live(client, "latency-investigation", "model", "GPT-4O")
        keys = await complete_live(client, "why-did-spend-change", "metadata_key", "env")
        servers = await complete_live(client, "mcp-tool-usage-review", "server", "git")
        values = await complete_live(
            client, "why-did-spend-change", "metadata_value", metadata_key="environment"
        )
        without_key = await complete(client, "why-did-spend-change", "metadata_value")

    assert {"growth", "platform", "finance"} <= set(teams.values)
    assert teams.total == len(teams.values)
    assert models.values == ["openai/gpt-4o-mini", "openai/gpt-4o"]
    assert keys.values == ["environment"]
    assert servers.values == ["github"]
    assert set(values.values) == {"dev", "production", "staging"}
    assert without_key.values == []


async def test_what_is_given_narrows_the_rest(connect: Connect, own: Callable[..., Path]) -> None:
    async with connect(prompts=own(one=BY_USER)) as client:
        fields = await complete(client, "one", "by", "agent", source="agentMetrics")
        measures = await complete(client, "one", "what", "cache", source="cacheMetrics")
        others = await complete(client, "one", "by", "agent")
        metadata = await complete_live(client, "one", "by", "metadata.env")
        users = await complete_live(client, "one", "user", "supporter")
        of_team = await complete_live(client, "one", "user", "", team="support")
        of_none = await complete(client, "one", "user", "", team="no such team")

    assert fields.values == ["agentName", "agentFramework", "agentServerType"]
    assert measures.values == ["cacheHitRate"]
    assert others.values == []
    assert metadata.values == ["metadata.environment"]
    assert len(users.values) == 8
    assert {user.partition("-")[0] for user in of_team.values} == {"supporter"}
    assert of_none.values == []


async def test_addresses_are_hidden_and_a_hash_narrows_as_its_address_would(
    connect: Connect, own: Callable[..., Path]
) -> None:
    folder = own(one=BY_USER)
    async with connect(prompts=folder) as client:
        plain = await complete_live(client, "one", "user")
    async with connect(prompts=folder, hide_emails=True) as client:
        hidden = await complete_live(client, "one", "user")
        part = await complete(client, "one", "user", "supporter-")
        whole = await complete_live(client, "one", "user", plain.values[0])
        teams = await complete_live(client, "one", "team", "", user=hidden.values[0])
    async with connect(prompts=folder) as client:
        theirs = await complete_live(client, "one", "team", "", user=plain.values[0])

    assert all("@" in value for value in plain.values)
    assert all(HASH.fullmatch(value) for value in hidden.values)
    assert len(hidden.values) == len(plain.values)
    assert part.values == []
    assert whole.values == [hidden.values[0]]
    assert teams.values == theirs.values


async def test_a_gateway_that_hangs_is_not_waited_for(mode: str) -> None:
    async with start_gateway(usual=stay_silent) as gateway:
        server = build_server(Settings(backend=gateway.url, token="tok", timeout=600))  # noqa: S106
        async with Client(server, mode=mode, cache=None) as client:
            with anyio.fail_after(60):
                found = await complete_until_asked(client, gateway)
            await gateway.until(lambda g: bool(g.requests) and not g.open_connections)

    assert found == Completion(values=[], total=0, has_more=False)


@pytest.mark.parametrize("status", ["401 Unauthorized", "500 Internal Server Error"])
async def test_a_gateway_that_fails_gives_nothing_and_no_error(
    status: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with start_gateway(usual=say(http(b'{"message":"no"}', status))) as gateway:
        server = build_server(Settings(backend=gateway.url, token="tok", retries=0))  # noqa: S106
        async with Client(server, cache=None) as client:
            with anyio.fail_after(60):
                found = await complete_until_asked(client, gateway)

    assert found.values == []
    assert [record for record in caplog.records if record.levelname != "DEBUG"] == []


async def test_without_a_backend_there_is_nothing_and_no_error(mode: str) -> None:
    async with Client(build_server(Settings()), mode=mode) as client:
        found = await complete(client, "weekly-cost-report", "team")
        zones = await complete(client, "weekly-cost-report", "timezone", "berlin")

    assert found.values == []
    assert zones.values == ["Europe/Berlin"]


async def test_each_next_letter_is_answered_from_the_same_answer() -> None:
    names = ("gpt-4o", "claude", "a\nb", "x" * 300, "gpt\u202eo4-", "g\u200bpt", "", None)
    rows = [{"modelName": name, "total": 9} for name in names]
    body = json.dumps({"data": {"dataPoints": rows}}).encode()
    async with start_gateway(usual=say(http(body))) as gateway:
        settings = Settings(backend=gateway.url, token="tok")  # noqa: S106
        server = build_server(settings, clock=lambda: NOW)
        async with Client(server, cache=None) as client:
            every = await complete_live(client, "latency-investigation", "model")
            asked = len(gateway.requests)
            found = [
                (await complete_live(client, "latency-investigation", "model", so_far)).values
                for so_far in ("g", "gp", "gpt-", "LAU")
            ]

    assert every.values == ["gpt-4o", "claude"]
    assert found == [["gpt-4o"]] * 3 + [["claude"]]
    assert len(gateway.requests) == asked


@pytest.mark.parametrize("era", ["legacy", "2026-07-28"])
async def test_over_http_each_sees_what_their_own_token_sees(listen: Listen, era: str) -> None:
    async def answer(request: Request) -> Response:
        token = request.headers["authorization"].removeprefix("Bearer ")
        return JSONResponse({"data": {"dataPoints": [{"modelName": f"of-{token}", "total": 1}]}})

    gateway = Starlette(routes=[Route(PATH, answer, methods=["POST"])])
    async with listen(gateway) as upstream:
        settings = Settings(backend=f"http://127.0.0.1:{upstream}", transport="http")
        app = build_http_app(build_server(settings), settings)
        async with listen(app) as port:
            seen = [await _models(port, token, era) for token in ("ada", "bob", "ada")]

    assert seen == [["of-ada"], ["of-bob"], ["of-ada"]]


async def _models(port: int, token: str, era: str) -> list[str]:
    headers = {"x-tfy-api-key": token}
    async with httpx2.AsyncClient(headers=headers, timeout=120, trust_env=False) as own:
        transport = streamable_http_client(f"http://127.0.0.1:{port}/mcp", http_client=own)
        async with Client(transport, mode=era) as client:
            return (await complete_live(client, "latency-investigation", "model")).values
