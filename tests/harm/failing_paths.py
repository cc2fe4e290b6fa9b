"""A process with secrets of every kind whose every question fails; it shows all there is to see.

Its output is searched by the test that starts it: answers, errors with the locals of their
tracebacks, reprs, spans, and the log at debug level.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import sys
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import anyio
import httpx2
import uvicorn
from mcp import MCPError
from mcp.client import Client
from mcp_types import TextContent
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

from gateway_metrics_mcp.auth.factory import build_policy
from gateway_metrics_mcp.auth.tokens import read_tokens
from gateway_metrics_mcp.backends.factory import open_backend
from gateway_metrics_mcp.errors import GatewayMetricsError
from gateway_metrics_mcp.http.body import read_query
from gateway_metrics_mcp.http.transports import build_http_app
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.query.model import LOCAL, Caller
from gateway_metrics_mcp.runtime.logs import configure_logging
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.settings import Settings, read_settings

TOKEN: Final = os.environ["TFY_API_KEY"]
CALLER: Final = os.environ["CALLER_TOKEN"]
PASSWORD: Final = os.environ["GATEWAY_METRICS_CLICKHOUSE_PASSWORD"]
FOLDER: Final = Path(os.environ["SECRETS_FOLDER"])
QUESTION: Final = {"startTs": "2026-07-01", "endTs": "2026-07-02", "groupBy": ["modelName"]}
ROWS: Final = (
    "gateway-metrics://rows/('groupBy':!'modelName';,'startTs':'2026-07-01','endTs':'2026-07-02')"
)
BODY: Final = {
    "startTs": "2026-07-01T00:00:00Z",
    "endTs": "2026-07-02T00:00:00Z",
    "datasource": "modelMetrics",
    "type": "distribution",
}

COMMON: Final = {"timeout": "0.5", "retries": "1"}
CALLERS: Final = (LOCAL, Caller("ada", token=CALLER))

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter, str], Awaitable[None]]


def show(what: str, *things: object) -> None:
    sys.stdout.write(f"== {what}: {' '.join(map(str, things))}\n")
    sys.stdout.flush()


def reply(status: str, body: bytes, *headers: str) -> Handler:
    """A response in which `ECHO` stands for the secret that came with the request."""

    async def write(_: asyncio.StreamReader, writer: asyncio.StreamWriter, secret: str) -> None:
        told = body.replace(b"ECHO", secret.encode())
        if "content-encoding: gzip" in headers:
            told = gzip.compress(told)[:-12]
        lines = [f"HTTP/1.1 {status}", f"content-length: {len(told)}", "connection: close"]
        lines += [header.replace("ECHO", secret) for header in headers]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + told)
        await writer.drain()

    return write


async def hang(*_: object) -> None:
    await asyncio.Event().wait()


async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter, secret: str) -> None:
    writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: 900\r\nx-echo: {secret}\r\n\r\n".encode())
    await writer.drain()
    writer.transport.abort()


JSON: Final = "content-type: application/json"
FAULTS: Final[dict[str, Handler]] = {
    "400": reply("400 Bad Request", b'{"message": "token ECHO may not"}', JSON),
    "401": reply("401 Unauthorized", b'{"message": "unknown ECHO"}', JSON, "x-echo: ECHO"),
    "403": reply("403 Forbidden", b'{"detail": {"authorization": "Bearer ECHO"}}', JSON),
    "404": reply("404 Not Found", b"no ECHO here", "content-type: text/plain"),
    "429": reply("429 Too Many Requests", b'{"message": "ECHO"}', JSON, "retry-after: 0"),
    "500": reply("500 Internal Server Error", b"Traceback ECHO", "set-cookie: s=ECHO"),
    "503": reply("503 Unavailable", b"ECHO", "retry-after: ECHO"),
    "redirect": reply("302 Found", b"", "location: http://127.0.0.1:1/?token=ECHO"),
    "html": reply("200 OK", b"<html>ECHO</html>", "content-type: text/html"),
    "malformed": reply("200 OK", b'{"data": [{"total": ECHO', JSON),
    "other": reply("200 OK", b'{"error": "ECHO"}', JSON, "set-cookie: session=ECHO"),
    "gzip": reply("200 OK", b'{"data": "ECHO"}' * 99, JSON, "content-encoding: gzip"),
    "reset": reset,
    "hang": hang,
}


async def listen(handler: Handler, *, is_echoing: bool = True) -> asyncio.Server:
    """A gateway with a fault; if it is echoing, what it says holds the secret it was sent."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            secret = next((s for s in (TOKEN, CALLER, PASSWORD) if s in head), "")
            show("the gateway was sent a secret", bool(secret))
            await handler(reader, writer, secret if is_echoing else "")
            writer.close()

    return await asyncio.start_server(connected, "127.0.0.1", 0)


async def ask_in_memory(settings: Settings, *modes: str) -> None:
    """A question as a client asks it, in both eras."""
    for mode in modes or ("auto", "legacy"):
        async with Client(build_server(settings), mode=mode) as client:
            (block,) = (await client.call_tool("query_distribution", QUESTION)).content
            assert isinstance(block, TextContent)
            show("answer", block.text)
            try:
                await client.read_resource(ROWS)
            except MCPError as error:
                show("resource", error.error.message, error.error.data)


async def ask_backend(settings: Settings, *callers: Caller) -> None:
    """A question as the server asks it: the error, all it hangs on, and every local name."""
    catalog = load_catalog()
    for caller in callers:
        try:
            backend = open_backend(settings, catalog, lambda: datetime.now(UTC))
            show("backend", repr(backend), backend.description, repr(caller), repr(settings))
            await backend.query(read_query(BODY, catalog), caller)
        except GatewayMetricsError as error:
            shown = traceback.TracebackException.from_exception(error, capture_locals=True)
            show("error", repr(error), error, *shown.format())


async def ask_over_http(settings: Settings) -> None:
    """Requests with tokens in the right place, in the wrong ones, and in several."""
    app = build_http_app(build_server(settings), settings)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    message = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "query_distribution", "arguments": QUESTION},
    }
    accept = {"accept": "application/json, text/event-stream"}
    async with anyio.create_task_group() as group:
        group.start_soon(server.serve)
        while not server.started:  # noqa: ASYNC110 - uvicorn offers nothing to wait for
            await anyio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        async with httpx2.AsyncClient(trust_env=False, timeout=60) as client:
            for headers in (
                {"x-tfy-api-key": CALLER},
                {"authorization": f"Bearer {CALLER}"},
                {"authorization": f"Basic {CALLER}"},
                {"x-tfy-api-key": CALLER, "authorization": f"Bearer {TOKEN}"},
                {"x-tfy-api-key": f"{CALLER} with spaces"},
                {"cookie": f"token={CALLER}"},
                {"x-tfy-api-key": CALLER, "host": "evil.example"},
            ):
                response = await client.post(
                    f"http://127.0.0.1:{port}/mcp", json=message, headers={**accept, **headers}
                )
                show("http", response.status_code, dict(response.headers), response.text)
        server.should_exit = True


def read_wrong_settings() -> None:
    """Set-ups that are refused, with a secret where none belongs."""
    config = FOLDER / "config.toml"
    wrong: list[tuple[dict[str, Any], dict[str, str], str]] = [
        ({"timeout": "soon"}, {"TFY_API_KEY": TOKEN}, ""),
        ({}, {"GATEWAY_METRICS_TOKEN": TOKEN}, ""),
        ({}, {"TFY_API_KEY": TOKEN}, f'token = "{TOKEN}"'),
        ({}, {"TFY_API_KEY": TOKEN}, f'clickhouse_password = "{PASSWORD}"'),
        ({}, {"TFY_API_KEY": TOKEN}, f"token = {TOKEN}"),
    ]
    for flags, environ, text in wrong:
        config.write_text(text, "utf-8")
        try:
            show("settings", repr(read_settings({**flags, "config": str(config)}, environ)))
        except GatewayMetricsError as error:
            show("wrong settings", *traceback.format_exception(error))
    for text in (f"[[tokens]]\nsha256 = '{CALLER}'", f"token = {CALLER}", f"{CALLER} = 1"):
        (FOLDER / "tokens.toml").write_text(text, "utf-8")
        try:
            show("tokens", repr(read_tokens(FOLDER / "tokens.toml")))
        except GatewayMetricsError as error:
            show("wrong tokens", *traceback.format_exception(error))


async def fail_with(name: str, secrets: dict[str, str]) -> None:
    """All questions to a gateway and to a ClickHouse that have the fault."""
    handler = FAULTS[name]
    server = await listen(handler)
    quiet = await listen(handler, is_echoing=False)  # locals hold what a gateway says
    port, other = (s.sockets[0].getsockname()[1] for s in (server, quiet))
    show("fault", name)
    schemes = ("http", "https") if name == "400" else ("http",)
    forms = [f"{scheme}://127.0.0.1:%d" for scheme in schemes]
    for form in (*forms, "clickhouse://u@127.0.0.1:%d/d"):
        loud = read_settings({**COMMON, "backend": form % port}, secrets)
        bare = read_settings({**COMMON, "backend": form % other}, secrets)
        whose = CALLERS if form.startswith("http") else CALLERS[:1]
        if name == "hang":  # each waits for eleven seconds as it closes a ClickHouse
            memory = (ask_in_memory(loud, mode) for mode in ("auto", "legacy"))
            await asyncio.gather(*memory, ask_backend(bare, *whose))
        else:
            await ask_in_memory(loud)
            await ask_backend(bare, *whose)
    if name in ("401", "500"):
        served = {**COMMON, "backend": forms[0] % port, "transport": "http", "port": "0"}
        await ask_over_http(read_settings(served, secrets))
    server.close()
    quiet.close()


async def fail_everywhere() -> None:
    secrets = {"TFY_API_KEY": TOKEN, "GATEWAY_METRICS_CLICKHOUSE_PASSWORD": PASSWORD}
    places = ["https://127.0.0.1:1", "http://127.0.0.1:1", "https://no.such.host.invalid"]
    hanging = asyncio.create_task(fail_with("hang", secrets))  # it waits, beside the others
    for name in (name for name in FAULTS if name != "hang"):
        await fail_with(name, secrets)
    for place in places:
        settings = read_settings({**COMMON, "backend": place}, secrets)
        await ask_in_memory(settings)
        await ask_backend(settings, *CALLERS)
    for place in (f"https://{TOKEN}@example.com", f"clickhouse://u:{PASSWORD}@h:1/d"):
        await ask_in_memory(read_settings({**COMMON, "backend": place}, secrets))
    bad = read_settings({**COMMON, "backend": places[0]}, {"TFY_API_KEY": f"{TOKEN} and\nmore"})
    await ask_in_memory(bad)
    await ask_backend(bad, LOCAL, Caller("ada", token=f"{CALLER}\x7f"))
    show(
        "callers",
        repr(build_policy(read_settings({"backend": places[0], "transport": "http"}, secrets))),
    )
    read_wrong_settings()
    await hanging


if __name__ == "__main__":
    configure_logging("DEBUG", "json" if "json" in sys.argv else "text")
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))
    trace.set_tracer_provider(provider)
    asyncio.run(fail_everywhere())
    show("done", "waiting for the end of input")
    sys.stdin.read()
