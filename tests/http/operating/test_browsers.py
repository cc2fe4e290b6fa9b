"""Pages in a browser that call the server from another origin: only those that are named."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

import pytest

from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.settings import read_settings

Serve = Callable[..., AbstractAsyncContextManager[Any]]

APP: Final = "https://app.example.com"
PING: Final = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
ACCEPT: Final = {"accept": "application/json, text/event-stream"}
PREFLIGHT: Final = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "content-type,mcp-protocol-version,x-tfy-api-key",
}


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_a_named_origin_may_ask_and_read_answers(
    open_server: Serve, directory: Path, transport: str
) -> None:
    path = "/mcp" if transport == "http" else "/messages/"
    async with open_server(transport, backend=str(directory), cors_origin=(APP,)) as server:
        asked = await server.bare.options(path, headers={"origin": APP, **PREFLIGHT})
        answer = await server.bare.post(path, json=PING, headers={"origin": APP, **ACCEPT})

    assert asked.status_code == 200
    assert asked.headers["access-control-allow-origin"] == APP
    assert asked.headers["access-control-allow-methods"] == "GET, POST"
    assert (
        asked.headers["access-control-allow-headers"]
        == (PREFLIGHT["access-control-request-headers"])
    )
    assert answer.status_code == (200 if transport == "http" else 400)  # there is no SSE session
    assert answer.headers["access-control-allow-origin"] == APP
    assert answer.headers["access-control-expose-headers"] == "Mcp-Session-Id, WWW-Authenticate"
    assert "access-control-allow-credentials" not in answer.headers


async def test_a_method_that_nothing_answers_is_not_offered(
    open_server: Serve, directory: Path
) -> None:
    asking = {"origin": APP, "access-control-request-method": "DELETE"}
    async with open_server(backend=str(directory), cors_origin=(APP,)) as server:
        asked = await server.bare.options("/mcp", headers=asking)
        answer = await server.bare.delete("/mcp", headers={"origin": APP})

    assert (asked.status_code, answer.status_code) == (400, 405)


async def test_a_page_can_read_that_its_token_is_missing(open_server: Serve, gateway: Any) -> None:
    async with open_server(backend=gateway.url, cors_origin=(APP,)) as server:
        answer = await server.bare.post("/mcp", json=PING, headers={"origin": APP, **ACCEPT})

    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == APP


async def test_any_other_origin_gets_nothing(open_server: Serve, directory: Path) -> None:
    evil = "https://app.example.com.evil.example"
    async with open_server(backend=str(directory), cors_origin=(APP,)) as server:
        asked = await server.bare.options("/mcp", headers={"origin": evil, **PREFLIGHT})
        answer = await server.bare.post("/mcp", json=PING, headers={"origin": evil, **ACCEPT})

    assert (asked.status_code, answer.status_code) == (400, 403)
    assert "access-control-allow-origin" not in asked.headers
    assert "access-control-allow-origin" not in answer.headers


async def test_without_the_setting_no_page_may(open_server: Serve, directory: Path) -> None:
    async with open_server(backend=str(directory)) as server:
        asked = await server.bare.options("/mcp", headers={"origin": APP, **PREFLIGHT})

    assert asked.status_code in (403, 405)
    assert "access-control-allow-origin" not in asked.headers


async def test_an_allowed_origin_passes_the_check_and_is_no_cors(
    open_server: Serve, directory: Path
) -> None:
    origin = "vscode-file://vscode-app"
    async with open_server(backend=str(directory), allowed_origin=(origin,)) as server:
        answer = await server.bare.post("/mcp", json=PING, headers={"origin": origin, **ACCEPT})

    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("name", ["cors_origin", "allowed_origin"])
@pytest.mark.parametrize(
    "value", ["*", "app.example.com", "https://*.example.com", "https://a.example.com/", "null"]
)
def test_what_is_no_origin_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{name}: .* is not an origin, such as https://app"):
        read_settings({name: [value]}, {})
