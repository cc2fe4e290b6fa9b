"""Sessions of MCP clients and callers of the HTTP API, in process and on loopback."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import anyio
import httpx
import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import ImageContent, PromptReference, ResourceTemplateReference, TextContent

import conversations
from book import Book
from gateway import FAILURES, Gateway, list_upstream, serve, start_gateway
from product import API_PATH, serve_api, serve_http, serve_memory
from questions import WEEK, Call, list_questions, rows, series
from refusals import list_refusals

_TRIES: Final = 40


async def record_sessions(book: Book, place: Path) -> None:
    """Everything that one client may ask a server over the data."""
    async with Client(serve_memory(str(place / "data"))) as client:
        await _record_lists(book, client)
        await _call(book, client, "tool", list_questions())
        await _call(book, client, "refusal", list_refusals())
        for name, given in conversations.PROMPTS:
            await _get_prompt(book, client, name, given)
        for uri in conversations.list_resources():
            await _read(book, client, "resource", uri)
        for request in conversations.COMPLETIONS:
            await _complete(book, client, "completion", *request)
    await _record_settings(book, place)
    hiding = {"hide_emails": True, "hide_emails_key": place / "key"}
    async with Client(serve_memory(str(place / "data"), **hiding)) as client:
        await _call(book, client, "hidden", conversations.list_hidden())
        for uri in conversations.HIDDEN_RESOURCES:
            await _read(book, client, "hidden", uri)
        await _complete(book, client, "hidden", "error-triage", "model", "", {})


async def _record_settings(book: Book, place: Path) -> None:
    """A few questions of servers with other settings, and of data that are not whole."""
    grouped = rows("last 12 days", "sum costInUSD", "providerModelName, userEmail")
    costly = rows(WEEK, "errorRate, costPerRequest", "team", compareTo="previous")
    zoned = series("last 3 days", "p95 latencyMs", interval="1 day", timezone="Asia/Kolkata")
    for settings in (
        {"budget": 500}, {"all_row": False}, {"calls": 4}, {"calls": 12}, {"row_cap": 5},
        {"timezone": "Europe/Berlin"},
    ):  # fmt: skip
        async with Client(serve_memory(str(place / "data"), **settings)) as client:
            kind = f"with {json.dumps(settings)}"
            await _call(book, client, kind, (grouped, costly, zoned))
    sources = ("modelMetrics", "mcpMetrics", "guardrailMetrics")
    for backend in (place / "part", place / "nowhere"):
        async with Client(serve_memory(str(backend))) as client:
            calls = (rows(WEEK, "", "team", datasource=name) for name in sources)
            await _call(book, client, f"over {backend}", calls)


async def record_callers(book: Book, place: Path) -> None:
    """Callers with rights of their own, over HTTP."""
    app = serve_http(str(place / "data"), _write_tokens(place))
    async with serve(app) as url:
        for name in conversations.CALLERS:
            headers = _headers(name)
            if name not in conversations.ADMITTED:
                async with httpx.AsyncClient(trust_env=False) as http:
                    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
                    answer = await http.post(f"{url}/mcp", json=ping, headers=headers)
                    _add_response(book, "caller", f"{name}: ping", answer)
                continue
            async with httpx2.AsyncClient(headers=headers, trust_env=False) as http2:
                transport = streamable_http_client(f"{url}/mcp", http_client=http2)
                async with Client(transport) as client:
                    calls = conversations.list_of_callers()
                    await _call(book, client, f"caller {name}", calls)
        async with httpx.AsyncClient(trust_env=False) as http:
            for path in ("livez", "readyz", "nothing"):
                _add_response(book, "caller", f"GET /{path}", await http.get(f"{url}/{path}"))
            metrics = (await http.get(f"{url}/metrics")).text.split("\n")
            names = [re.sub(r"(\}| ).*", r"\1", line) for line in metrics if line[:1] != "#"]
            said = [line for line in metrics if line.startswith("#")]
            shown = sorted({*said, *(re.sub(r'le="[^"]*"', 'le=""', name) for name in names)})
            book.add("caller", "GET /metrics, names alone", text=shown)


async def record_api(book: Book, place: Path) -> None:
    """The HTTP API with tokens, and open to all."""
    tokens = _write_tokens(place)
    for way, file in (("api", tokens), ("open api", None)):
        app = serve_api(str(place / "data"), file)
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http,
        ):
            typed = {**_headers("admin"), "Content-Type": "application/json"}
            asked = conversations.list_bodies() if file else [conversations.BODY, {}]
            for body in asked:
                text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
                answer = await http.post(API_PATH, content=text.encode(), headers=typed)
                _add_response(book, way, text[:2000], answer)
            for name in conversations.CALLERS if file else ():
                answer = await http.post(API_PATH, json=conversations.BODY, headers=_headers(name))
                _add_response(book, way, f"{name}: {json.dumps(conversations.BODY)}", answer)
            for path in ("/livez", "/readyz", "/openapi.json", API_PATH, "/nothing"):
                answer = await http.get(path, headers=_headers("admin"))
                _add_response(book, way, f"GET {path}", answer)
            foreign = {**_headers("admin"), "Host": "evil.example.com"}
            answer = await http.post(API_PATH, json=conversations.BODY, headers=foreign)
            _add_response(book, way, "asked of a foreign host", answer)


async def record_gateway(book: Book, place: Path) -> None:
    """A remote gateway of each generation, what it is sent, and what goes wrong there."""
    async with start_gateway() as gateway:
        settings: dict[str, Any] = {"token": "a-gateway-token", "retries": 0, "cache_bytes": 0}
        for generation in ("current", "older"):
            gateway.is_older = generation == "older"
            async with Client(serve_memory(gateway.url, **settings)) as client:
                kind = f"{generation} gateway"
                await _call(book, client, kind, list_upstream(), gateway)
        gateway.is_older = False
        async with Client(serve_memory(gateway.url, **settings)) as client:
            for name, gateway.failure in FAILURES.items():
                call = rows(WEEK, "", "modelName") if name.startswith("no rows") else rows(WEEK)
                await _call(book, client, f"gateway fails: {name}", [call], gateway)
        gateway.failure = None
        hiding = {"hide_emails": True, "hide_emails_key": place / "key"}
        others: tuple[dict[str, Any], ...] = ({"unknown_fields": "pass"}, {"token": None}, hiding)
        ada = rows(WEEK, "", filters=[conversations.ADA])
        calls = (rows(WEEK, "sum newColumn", "newField"), rows(WEEK, "", "userEmail"), ada)
        for other in others:
            async with Client(serve_memory(gateway.url, **{**settings, **other})) as client:
                await _call(book, client, f"gateway with {[*other]}", calls, gateway)
        async with Client(serve_memory(gateway.url, **settings | {"cache_bytes": 10**6})) as client:
            calls = (rows("last month", "", "modelName"), rows("last month"), ada)
            await _call(book, client, "gateway with a cache", calls, gateway)


async def _record_lists(book: Book, client: Client) -> None:
    book.add("list", "instructions", text=client.instructions or "")
    info = (
        client.server_info.model_dump(mode="json", exclude_none=True) if client.server_info else {}
    )
    book.add("list", "server", text=json.dumps(info))
    for tool in (await client.list_tools()).tools:
        _add_listed(book, "tools/list", tool.name, tool)
    for prompt in (await client.list_prompts()).prompts:
        _add_listed(book, "prompts/list", prompt.name, prompt)
    for resource in (await client.list_resources()).resources:
        _add_listed(book, "resources/list", resource.name, resource)
    for template in (await client.list_resource_templates()).resource_templates:
        _add_listed(book, "resources/templates/list", template.name, template)


def _add_listed(book: Book, kind: str, name: str, listed: Any) -> None:
    shown = listed.model_dump(mode="json", by_alias=True, exclude_none=True)
    book.add(kind, name, text=json.dumps(shown, indent=1, ensure_ascii=False))


async def _call(
    book: Book, client: Client, kind: str, calls: Iterable[Call], gateway: Gateway | None = None
) -> None:
    for tool, given in calls:
        text, others = "", []
        try:
            result = await client.call_tool(tool, given)
        except MCPError as error:
            others, text = ["protocol error"], str(error)
        else:
            for block in result.content:
                if isinstance(block, TextContent):
                    text += block.text
                elif isinstance(block, ImageContent):
                    others.append(f"a picture, {block.mime_type}")
            if result.is_error:
                others.append("error")
        sent = gateway.take_sent() if gateway else []
        asked = f"{tool} {_shorten(json.dumps(given, ensure_ascii=False))}"
        book.add(kind, asked, **{"with": others}, text=text, sent=sent)


def _shorten(text: str) -> str:
    """What is very long is told by its ends."""
    return text if len(text) < 1500 else f"{text[:200]} ... {text[-100:]} ({len(text)} letters)"


async def _get_prompt(book: Book, client: Client, name: str, given: dict[str, str]) -> None:
    try:
        result = await client.get_prompt(name, given)
    except MCPError as error:
        book.add("prompt", f"{name} {json.dumps(given)}", error=str(error))
        return
    texts = [f"{one.role}: {getattr(one.content, 'text', one.content)}" for one in result.messages]
    book.add("prompt", f"{name} {json.dumps(given)}", text=[result.description or "", *texts])


async def _read(book: Book, client: Client, kind: str, uri: str) -> None:
    try:
        result = await client.read_resource(uri)
    except MCPError as error:
        data = json.dumps(error.error.data, ensure_ascii=False)
        book.add(kind, uri, error=f"{error.error.code} {error}\n{data}")
        return
    for content in result.contents:
        meta = json.dumps(content.meta, ensure_ascii=False) if content.meta else ""
        said = [f"{content.mime_type} {content.uri}", meta]
        book.add(kind, uri, **{"with": said}, text=getattr(content, "text", ""))


async def _complete(
    book: Book,
    client: Client,
    kind: str,
    of: str,
    name: str,
    value: str,
    others: dict[str, str],
) -> None:
    """What is looked up may come too late on a busy machine: then it is asked for again."""
    is_uri = "://" in of
    ref = ResourceTemplateReference(uri=of) if is_uri else PromptReference(name=of)
    asked = f"complete {of} {name} {value!r} {json.dumps(others)}"
    for _ in range(_TRIES):
        try:
            found = await client.complete(ref, {"name": name, "value": value}, others or None)
        except MCPError as error:
            book.add(kind, asked, error=str(error))
            return
        if found.completion.values or name in conversations.STATIC:
            break
        await anyio.sleep(0.1)
    said = f"total {found.completion.total}, more {found.completion.has_more}"
    book.add(kind, asked, **{"with": said}, text=found.completion.values)


def _add_response(book: Book, kind: str, asked: str, answer: httpx.Response) -> None:
    shown = [f"{answer.status_code} {answer.headers.get('content-type', '')}"]
    shown += [
        f"{name}: {answer.headers[name]}"
        for name in ("www-authenticate", "retry-after", "allow")
        if name in answer.headers
    ]
    try:
        lines = json.dumps(answer.json(), ensure_ascii=False).replace("}, {", "},\n{")
    except ValueError:
        lines = answer.text
    book.add(kind, _shorten(asked), **{"with": shown}, text=lines)


def _token(name: str) -> str:
    return f"token-of-{name.replace(' ', '-')}"


def _headers(name: str) -> dict[str, str]:
    accept = {"Accept": "application/json, text/event-stream"}
    return accept if name == "without" else {**accept, "Authorization": f"Bearer {_token(name)}"}


def _write_tokens(place: Path) -> Path:
    lines = []
    for name, rights in conversations.CALLERS.items():
        if rights:
            digest = hashlib.sha256(_token(name).encode()).hexdigest()
            lines += ["[[tokens]]", f'sha256 = "{digest}"']
            expires = rights.get("expires")
            lines += [f"{key} = {json.dumps(rights[key])}" for key in rights if key != "expires"]
            lines += [f"expires = {expires}"] if expires else []
    file = place / "tokens.toml"
    file.write_text("\n".join(lines), "utf-8")
    return file
