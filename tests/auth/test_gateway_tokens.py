"""Over HTTP each caller's own gateway token is sent to the gateway, and no other ever."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

import anyio
import httpx2
import pytest
from mcp.client import Client
from mcp_types import CallToolResult

from gateway_metrics_mcp.auth.tokens import make_token
from gateway_metrics_mcp.http.transports import build_http_app
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.settings import Settings

OWN: Final = "tok-of-the-server-9999"
ADA: Final = "tok-of-ada-1111"
BOB: Final = "tok-of-bob-2222"
WEEK: Final = {"startTs": "2025-03-01", "endTs": "2025-03-08"}

Way = tuple[str, str]
Serve = Callable[..., AbstractAsyncContextManager[Any]]
TextOf = Callable[[CallToolResult], tuple[str, bool]]
Ask = Callable[[Client], Awaitable[str]]


@pytest.fixture
def ask(text_of: TextOf) -> Ask:
    async def ask(client: Client) -> str:
        text, is_error = text_of(await client.call_tool("query_distribution", WEEK))
        assert not is_error, text
        return text

    return ask


@pytest.fixture
async def knowing(gateway: Any) -> Any:
    """The gateway knows all three tokens, and the server's would get most."""
    gateway.totals = {ADA: 11, BOB: 22, OWN: 99}
    return gateway


async def test_the_token_of_each_request_alone_is_sent_on(
    knowing: Any, gateway_url: str, serve_callers: Serve, ask: Ask, way: Way
) -> None:
    async with (
        serve_callers(*way, backend=gateway_url, token=OWN) as served,
        served.connect(x_tfy_api_key=ADA) as ada,
        served.connect(X_TFY_API_KEY=BOB, authorization="Bearer of-a-proxy") as bob,
    ):
        texts = [await ask(client) for client in (ada, bob, ada)]

    assert ["total: 11" in texts[0], "total: 22" in texts[1], "total: 11" in texts[2]] == [True] * 3
    assert set(knowing.asked_with) == {ADA, BOB}
    assert [h for h in knowing.headers if "of-a-proxy" in h or "x-tfy" in h] == []


async def test_questions_at_the_same_time_stay_apart(
    knowing: Any, gateway_url: str, serve_callers: Serve, ask: Ask, way: Way
) -> None:
    del knowing.totals[OWN]
    knowing.held = anyio.Event()  # nobody is answered before both are in flight
    told: dict[str, str] = {}
    async with serve_callers(*way, backend=gateway_url, token=OWN) as served:

        async def run(token: str) -> None:
            async with served.connect(x_tfy_api_key=token) as client:
                told[token] = await ask(client)

        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                group.start_soon(run, ADA)
                group.start_soon(run, BOB)

    assert ("total: 11" in told[ADA], "total: 22" in told[BOB]) == (True, True)
    assert sorted(knowing.asked_with) == [ADA, BOB]


async def test_without_a_token_the_header_is_named_and_the_servers_own_is_not_used(
    knowing: Any, gateway_url: str, serve_callers: Serve, way: Way
) -> None:
    async with serve_callers(*way, backend=gateway_url, token=OWN) as served:
        responses = [
            await served.post(),
            await served.post(x_tfy_api_key=""),
            await served.post(authorization=f"Bearer {ADA}"),
            await served.post(x_tfy_api_key="two words"),
            await served.post(x_tfy_api_key="a" * 20_000),
        ]

    assert [response.status_code for response in responses] == [401] * 5
    assert {response.headers["www-authenticate"] for response in responses} == {
        'ApiKey realm="gateway-metrics", header="X-TFY-API-Key"'
    }
    assert responses[0].json() == {
        "error": "unauthorized",
        "error_description": "send your own gateway token: the header X-TFY-API-Key: <token>",
    }
    assert {"X-TFY-API-Key" in response.text for response in responses} == {True}
    assert [r.text for r in responses if ADA in r.text or "two words" in r.text] == []
    assert knowing.asked_with == []


async def test_a_bearer_token_is_the_gateways_only_where_that_is_switched_on(
    knowing: Any, gateway_url: str, serve_callers: Serve, ask: Ask, way: Way
) -> None:
    settings = {"backend": gateway_url, "token": OWN, "accept_gateway_bearer": True}
    async with serve_callers(*way, **settings) as served:
        async with served.connect(authorization=f"Bearer {ADA}") as client:
            bearer = await ask(client)
        async with served.connect(authorization=f"bearer {BOB}", x_tfy_api_key=BOB) as client:
            both = await ask(client)
        differing = await served.post(authorization=f"Bearer {ADA}", x_tfy_api_key=BOB)
        basic = await served.post(authorization=f"Basic {ADA}")

    assert ("total: 11" in bearer, "total: 22" in both) == (True, True)
    assert set(knowing.asked_with) == {ADA, BOB}
    assert (differing.status_code, basic.status_code) == (400, 401)
    assert differing.json() == {
        "error": "invalid_request",
        "error_description": "X-TFY-API-Key and Authorization carry different tokens: send one of"
        " them",
    }
    assert basic.headers["www-authenticate"].endswith(', Bearer realm="gateway-metrics"')


async def test_a_header_that_stands_there_twice_is_refused(
    knowing: Any, gateway_url: str, serve_callers: Serve
) -> None:
    twice = [("x-tfy-api-key", ADA), ("x-tfy-api-key", BOB)]
    async with serve_callers(backend=gateway_url) as served, served.http() as client:
        response = await client.post("/mcp", json={}, headers=twice)

    assert response.status_code == 400
    assert response.json()["error_description"] == "the header X-TFY-API-Key appears twice"
    assert knowing.asked_with == []


async def test_a_connection_is_of_no_use_to_another_caller(
    knowing: Any, gateway_url: str, serve_callers: Serve
) -> None:
    call = {
        "jsonrpc": "2.0",
        "id": 7,
        "method": "tools/call",
        "params": {"name": "query_distribution", "arguments": WEEK},
    }
    async with (
        serve_callers("sse", backend=gateway_url, token=OWN) as served,
        served.http() as client,
        client.stream("GET", "/sse", headers={"x-tfy-api-key": ADA}) as stream,
    ):
        lines = stream.aiter_lines()
        place = await _next_data(lines)
        foreign = await client.post(place, json=call, headers={"x-tfy-api-key": BOB})
        nobody = await client.post(place, json=call)
        own = await client.post(place, json=_initialize(), headers={"x-tfy-api-key": ADA})
        answer = await _next_data(lines)

    assert (foreign.status_code, nobody.status_code, own.status_code) == (404, 401, 202)
    assert '"id":0' in answer
    assert knowing.asked_with == []


def _initialize() -> dict[str, Any]:
    return {
        "jsonrpc": "2.0",
        "id": 0,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }


async def _next_data(lines: Any) -> str:
    async for line in lines:
        if line.startswith("data: "):
            found: str = line.removeprefix("data: ")
            return found
    raise AssertionError("the stream has ended")


async def test_a_message_that_came_past_the_guard_is_answered_to_nobody(
    knowing: Any, gateway_url: str, text_of: TextOf
) -> None:
    settings = Settings(backend=gateway_url, token=OWN)
    server = build_server(settings)
    build_http_app(server, settings)
    async with Client(server) as client:
        text, is_error = text_of(await client.call_tool("query_distribution", WEEK))

    assert (text, is_error) == (
        "Error (internal): an internal error of this server: no caller was identified",
        True,
    )
    assert knowing.asked_with == []


async def test_an_empty_answer_does_not_claim_to_know_what_the_gateway_shows_to_whom(
    gateway: Any, gateway_url: str, serve_callers: Serve, ask: Ask
) -> None:
    gateway.totals = {ADA: 0}
    async with (
        serve_callers(backend=gateway_url) as served,
        served.connect(x_tfy_api_key=ADA) as client,
    ):
        text = await ask(client)

    assert "no traffic in this window" in text
    assert "it sees its own calls" not in text


async def test_tokens_are_in_no_log_error_or_answer(
    knowing: Any,
    gateway_url: str,
    serve_callers: Serve,
    text_of: TextOf,
    caplog: pytest.LogCaptureFixture,
    way: Way,
) -> None:
    caplog.set_level(logging.DEBUG)
    knowing.totals = {}
    async with (
        serve_callers(*way, backend=gateway_url, token=OWN, accept_gateway_bearer=True) as served,
        served.connect(x_tfy_api_key=ADA) as client,
    ):
        refused, is_error = text_of(await client.call_tool("query_distribution", WEEK))
        different = await served.post(x_tfy_api_key=ADA, authorization=f"Bearer {BOB}")

    assert (is_error, knowing.asked_with[0]) == (True, ADA)
    assert refused.startswith("Error (unauthorized): ")
    for text in (refused, different.text, caplog.text, repr(different.headers)):
        assert [token for token in (ADA, BOB, OWN) if token in text] == []


@pytest.fixture
def shared(tmp_path: Path, gateway_url: str) -> tuple[dict[str, Any], str]:
    """Settings that share the server's token, and a bearer token of a caller."""
    token, entry = make_token("ada", "user", [], is_tenant_admin=False, expires=None)
    file = tmp_path / "callers.toml"
    file.write_text(entry.to_toml(), "utf-8")
    settings = {"shared_token": True, "auth_token_file": file, "token": OWN, "backend": gateway_url}
    return settings, token


async def test_the_servers_token_is_shared_with_known_callers_alone(
    knowing: Any,
    serve_callers: Serve,
    ask: Ask,
    way: Way,
    shared: tuple[dict[str, Any], str],
) -> None:
    settings, token = shared
    async with serve_callers(*way, **settings) as served:
        async with served.connect(authorization=f"Bearer {token}") as client:
            text = await ask(client)
        refused = [
            await served.post(),
            await served.post(x_tfy_api_key=ADA),
            await served.post(authorization=f"Bearer {ADA}"),
            await served.post(authorization=f"Bearer {OWN}"),
        ]

    assert "total: 99" in text
    assert set(knowing.asked_with) == {OWN}
    assert [response.status_code for response in refused] == [401] * 4
    assert [_mark_of(response) for response in refused] == [None, None, *["invalid_token"] * 2]


def _mark_of(response: httpx2.Response) -> str | None:
    header = response.headers["www-authenticate"]
    assert header.startswith('Bearer realm="gateway-metrics"')
    return header.partition('error="')[2].rstrip('"') or None
