"""The HTTP transports: where they listen, and whom they answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

import anyio
import httpx2
import pytest
from anyio.abc import SocketStream
from starlette.applications import Starlette

from gateway_metrics_mcp.cli.serve import listen as open_listener
from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.http.shutdown import GracefulServer
from gateway_metrics_mcp.http.transports import build_http_app, build_sse_app
from gateway_metrics_mcp.query.validation import MOST_BYTES
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.settings import Settings

Listen = Callable[[Starlette], AbstractAsyncContextManager[int]]

PING: Final = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
INITIALIZE: Final[dict[str, Any]] = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
ACCEPT: Final = {"accept": "application/json, text/event-stream"}
BUILDERS: Final = {"http": build_http_app, "sse": build_sse_app}


@asynccontextmanager
async def _open(
    listen: Listen, transport: str = "http", **settings: Any
) -> AsyncIterator[httpx2.AsyncClient]:
    """A bare HTTP client of a server that listens on loopback, whatever its settings say."""
    read = Settings(transport=transport, **settings)
    app = BUILDERS[transport](build_server(read), read)
    async with (
        listen(app) as port,
        httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60
        ) as client,
    ):
        yield client


async def _status(client: httpx2.AsyncClient, **headers: str) -> int:
    response = await client.post("/mcp", json=PING, headers={**ACCEPT, **headers})
    return response.status_code


async def _sse_status(client: httpx2.AsyncClient, **headers: str) -> int:
    async with client.stream("GET", "/sse", headers=headers) as response:
        return response.status_code


STATUSES: Final = {"http": _status, "sse": _sse_status}


@pytest.mark.parametrize("transport", ["http", "sse"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "0.0.0.0", "10.1.2.3"])  # noqa: S104 - only named
async def test_a_foreign_host_or_origin_is_refused_wherever_we_listen(
    listen: Listen, caplog: pytest.LogCaptureFixture, transport: str, host: str
) -> None:
    allowed = () if host in ("127.0.0.1", "localhost", "::1") else ("metrics.example.com",)
    ask = STATUSES[transport]
    async with _open(listen, transport, host=host, allowed_host=allowed) as client:
        with anyio.fail_after(60):
            statuses = {
                "usual": await ask(client),
                "loopback's name": await ask(client, host="localhost"),
                "evil host": await ask(client, host="evil.example.com"),
                "evil host with our port": await ask(client, host="evil.example.com:8000"),
                "host that begins like ours": await ask(client, host="localhost.evil.example"),
                "evil origin": await ask(client, origin="https://evil.example.com"),
                "no origin": await ask(client, origin="null"),
                "our origin": await ask(client, origin="http://localhost:5173"),
            }

    assert statuses == {
        "usual": 200,
        "loopback's name": 200,
        "evil host": 421,
        "evil host with our port": 421,
        "host that begins like ours": 421,
        "evil origin": 403,
        "no origin": 403,
        "our origin": 200,
    }
    assert "Traceback" not in caplog.text


async def test_the_messages_of_sse_are_checked_too(listen: Listen) -> None:
    async with _open(listen, "sse") as client:
        responses = [
            await client.post("/messages/?session_id=0", json=PING, headers=headers)
            for headers in ({"host": "evil.example.com"}, {"origin": "https://evil.example.com"})
        ]

    assert [response.status_code for response in responses] == [421, 403]


async def test_an_allowed_host_and_its_origins_pass_and_no_other(listen: Listen) -> None:
    allowed = ("metrics.example.com", "mcp.example.com:8443")
    async with _open(listen, host="0.0.0.0", allowed_host=allowed) as client:  # noqa: S104 - only named
        statuses = [
            await _status(client, host="metrics.example.com"),
            await _status(client, host="metrics.example.com:8000"),
            await _status(client, host="mcp.example.com:8443"),
            await _status(client, origin="https://metrics.example.com"),
            await _status(client, host="example.com"),
            await _status(client, host="evil.metrics.example.com"),
            await _status(client, origin="https://evil.example.com"),
        ]

    assert statuses == [200, 200, 200, 200, 421, 421, 403]


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_a_host_is_the_same_in_capitals(listen: Listen, transport: str) -> None:
    ask = STATUSES[transport]
    async with _open(listen, transport, allowed_host=("Metrics.Example.com",)) as client:
        with anyio.fail_after(60):
            statuses = [
                await ask(client, host="metrics.example.com"),
                await ask(client, host="METRICS.EXAMPLE.COM:8000"),
                await ask(client, origin="https://metrics.example.com"),
                await ask(client, host="EVIL.example.com"),
            ]

    assert statuses == [200, 200, 200, 421]


async def test_a_host_is_the_same_with_a_dot_at_its_end_and_without_its_usual_port(
    listen: Listen,
) -> None:
    allowed = ("metrics.example.com:443", "mcp.example.com.")
    hosts = {
        "metrics.example.com": 200,
        "Metrics.Example.com.": 200,
        "metrics.example.com:443": 200,
        "metrics.example.com:8443": 421,
        "mcp.example.com:8443": 200,
        "localhost.": 200,
        "localhost:80:80": 421,
        "localhost:x": 421,
        "evil@localhost": 421,
        "localhost:evil.example.com": 421,
        "": 421,
    }
    origins = {
        "https://metrics.example.com": 200,
        "HTTPS://Metrics.example.com": 200,
        "http://metrics.example.com": 403,
        "https://metrics.example.com:8443": 403,
        "http://localhost:evil": 403,
        "http://localhost:80/": 403,
        "app://localhost": 403,
        "https://app.example.com": 200,
        "https://app.example.com:443": 200,
        "http://app.example.com": 403,
    }
    pages = ("https://app.example.com",)
    async with _open(listen, allowed_host=allowed, allowed_origin=pages) as client:
        of_hosts = {host: await _status(client, host=host) for host in hosts}
        of_origins = {origin: await _status(client, origin=origin) for origin in origins}

    assert of_hosts == hosts
    assert of_origins == origins


@pytest.mark.parametrize("build", BUILDERS.values())
@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "192.168.0.10", "metrics.example.com"])  # noqa: S104 - refused
def test_listening_elsewhere_than_on_loopback_needs_an_allowed_host(
    build: Callable[..., Starlette], host: str
) -> None:
    settings = Settings(host=host)
    with pytest.raises(SettingsError, match=r"needs --allowed-host with the name clients use"):
        build(build_server(settings), settings)


async def test_each_transport_answers_at_its_own_path(listen: Listen) -> None:
    async with _open(listen) as client:
        http = [(await client.post(path, json=PING)).status_code for path in ("/", "/sse")]
    async with _open(listen, "sse") as client:
        sse = [(await client.post(path, json=PING)).status_code for path in ("/", "/mcp", "/sse")]

    assert (http, sse) == ([404, 404], [404, 404, 405])


async def test_answers_over_http_hold_one_text_block_and_no_session(listen: Listen) -> None:
    call = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "list_fields", "arguments": {"datasource": "no"}},
    }
    async with _open(listen) as client:
        opened = await client.post("/mcp", json=INITIALIZE, headers=ACCEPT)
        answered = await client.post("/mcp", json=call, headers=ACCEPT)

    assert [name for name in (*opened.headers, *answered.headers) if "session" in name] == []
    (line,) = [x for x in answered.text.splitlines() if x.startswith("data: {")]
    result = json.loads(line.removeprefix("data: "))["result"]
    assert sorted(result) == ["content", "isError"]
    assert [sorted(block) for block in result["content"]] == [["text", "type"]]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":5}'],
)
async def test_a_body_that_is_no_message_is_refused_without_a_trace(
    listen: Listen, body: bytes
) -> None:
    async with _open(listen) as client:
        headers = {**ACCEPT, "content-type": "application/json"}
        response = await client.post("/mcp", content=body, headers=headers)
        after = await _status(client)

    assert response.status_code in (200, 400)
    assert "error" in response.text
    assert [word for word in ("Traceback", "/site-packages/") if word in response.text] == []
    assert after == 200


async def test_a_body_larger_than_any_question_is_refused(listen: Listen) -> None:
    async with _open(listen) as client:
        headers = {**ACCEPT, "content-type": "application/json"}
        response = await client.post("/mcp", content=b" " * (MOST_BYTES + 1), headers=headers)

    assert response.status_code == 413


async def _send_endless_header(stream: SocketStream) -> None:
    await stream.send(b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Endless: ")
    for _ in range(20_000):  # 20 MB: more than the sockets' buffers take
        await stream.send(b"a" * 1024)


async def test_headers_without_an_end_are_refused_whichever_parser_is_installed() -> None:
    settings = Settings(transport="http", backend="https://gateway.example.com", port=0)
    server = build_server(settings)
    served = GracefulServer(build_http_app(server, settings), server, drain_s=0)
    with open_listener("127.0.0.1", 0) as listener:
        async with anyio.create_task_group() as group:
            group.start_soon(served.serve, [listener])
            stream = await anyio.connect_tcp(*listener.getsockname())
            async with stream:
                with anyio.fail_after(60), pytest.raises(anyio.BrokenResourceError):
                    await _send_endless_header(stream)
            served.should_exit = True


@pytest.mark.parametrize(("host", "sent"), [("127.0.0.2", "127.0.0.2:8000"), ("::1", "[::1]:8000")])
async def test_any_loopback_address_is_served_under_its_own_name(
    listen: Listen, host: str, sent: str
) -> None:
    async with _open(listen, host=host) as client:
        statuses = [await _status(client, host=sent), await _status(client, host="127.0.0.3")]

    assert statuses == [200, 421]
