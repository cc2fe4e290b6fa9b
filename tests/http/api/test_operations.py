"""What the API has in common with MCP over HTTP: the middleware before it, counts and its end."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import anyio
import httpx
import pytest
from tests import loopback
from tests.http.api.conftest import NOW, Book
from tests.http.api.test_http import Gate

from gateway_metrics_mcp.auth.policies import OpenPolicy
from gateway_metrics_mcp.http.api import MetricsApi, build_api_app
from gateway_metrics_mcp.query.vocabulary import API_PATH as PATH
from gateway_metrics_mcp.settings import Settings

July = Callable[..., dict[str, Any]]
Serve = Callable[..., Any]
Listen = Callable[..., AbstractAsyncContextManager[int]]
ReadError = Callable[[Any], dict[str, Any]]

APP: Final = "https://app.example.com"


async def test_queries_and_refusals_are_counted(serve: Serve, book: Book, july: July) -> None:
    api = serve(book)
    token = book.issue()
    answers = [
        await api.post(july(), token=token),
        await api.post(july(groupBy=["planted"]), token=token),
        await api.post(july(), token="gmm_planted"),  # noqa: S106 - planted
    ]
    text = (await api.client.get("/metrics")).text

    assert [answer.status_code for answer in answers] == [200, 400, 401]
    assert 'gateway_metrics_tool_calls_total{code="ok",tool="api:query"} 1.0' in text
    assert 'gateway_metrics_tool_calls_total{code="invalid_query",tool="api:query"} 1.0' in text
    assert 'gateway_metrics_refused_requests_total{status="401"} 1.0' in text
    assert 'gateway_metrics_upstream_calls_total{code="ok"} 1.0' in text
    assert f'returned_bytes_total{{tool="api:query"}} {len(answers[0].content)}.0' in text
    assert "planted" not in text


async def test_a_query_is_a_line_of_the_log(
    serve: Serve, july: July, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway_metrics_mcp.calls")
    await serve().post(july(groupBy=["modelName"]))

    (record,) = caplog.records
    fields = vars(record)["fields"]
    named = {name: fields[name] for name in ("tool", "datasource", "code", "rows")}
    assert named == {"tool": "api:query", "datasource": "modelMetrics", "code": "ok", "rows": 2}


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://evil.example.com", 403),
        ("null", 403),
        ("http://localhost:5173", 200),
        ("https://metrics.example.com", 200),
        (APP, 200),
    ],
)
async def test_without_tokens_a_page_of_a_foreign_origin_cannot_ask(
    serve: Serve, july: July, origin: str, status: int, read_error: ReadError
) -> None:
    api = serve(allowed_host=["metrics.example.com"], allowed_origin=[APP])
    response = await api.post(july(), origin=origin)

    assert response.status_code == status
    if status == 403:
        assert read_error(response)["message"].startswith("this origin is not served: set --allow")


async def test_with_tokens_the_origin_is_that_of_whoever_has_one(
    serve: Serve, book: Book, july: July
) -> None:
    token = book.issue()
    response = await serve(book).post(july(), token=token, origin="https://evil.example.com")

    assert response.status_code == 200
    assert "access-control-allow-origin" not in response.headers


async def test_a_named_origin_may_read_answers_and_refusals(
    serve: Serve, book: Book, july: July
) -> None:
    api = serve(book, cors_origin=[APP])
    asking = {"origin": APP, "access-control-request-method": "POST"}
    responses = [
        await api.client.options(PATH, headers=asking),
        await api.post(july(), token=book.issue(), origin=APP),
        await api.post(july(), origin=APP),
    ]

    assert [response.status_code for response in responses] == [200, 200, 401]
    assert {r.headers["access-control-allow-origin"] for r in responses} == {APP}


async def test_without_a_token_the_description_alone_is_open(serve: Serve, book: Book) -> None:
    client = serve(book).client
    paths = ("/openapi.json", "/livez", "/readyz", "/metrics", "/nothing", PATH)
    statuses = [(await client.get(path)).status_code for path in paths]

    assert statuses == [200, 200, 200, 200, 401, 401]


async def test_a_request_too_many_is_503_until_one_has_ended(
    listen: Listen, july: July, read_error: ReadError
) -> None:
    gate = Gate()
    async with (
        listen(backend=gate, connections=1) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
        anyio.create_task_group() as group,
    ):
        group.start_soon(lambda: client.post(PATH, json=july()))
        await gate.arrived.wait()
        refused = await client.post(PATH, json=july())
        alive = await client.get("/livez")
        gate.is_open.set()

    assert (refused.status_code, refused.headers["retry-after"], alive.status_code) == (
        503,
        "5",
        200,
    )
    assert read_error(refused)["message"].startswith("too many requests at once")


async def test_a_query_that_outlasts_the_drain_is_told_that_the_server_stops(
    july: July, read_error: ReadError
) -> None:
    gate, settings = Gate(), Settings()
    api = MetricsApi(settings, backend=gate, clock=lambda: NOW)
    answers = []
    async with (
        loopback.listen(build_api_app(api, settings, OpenPolicy())) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):

        async def ask() -> None:
            answers.append(await client.post(PATH, json=july()))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await gate.arrived.wait()
            under_way = api.meter.under_way
            api.calls.end()

    (answer,) = answers
    assert under_way > 0
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert read_error(answer)["message"] == "this server is stopping: ask again in a minute"
    assert gate.inside == 0
