"""What the remote gateway is asked, with whose token, and how its answers are read."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway_metrics_mcp import errors
from gateway_metrics_mcp.backends.gateway.backend import SCOPE_NOTE, GatewayBackend
from gateway_metrics_mcp.errors import GatewayMetricsError
from gateway_metrics_mcp.http.body import read_query
from gateway_metrics_mcp.query.catalog import Catalog
from gateway_metrics_mcp.query.model import LOCAL, Caller, Query
from gateway_metrics_mcp.query.result import DataPoint, Result

TOKEN = "tok-secret-1234"  # noqa: S105  # planted: no failure may show it
HOST = "https://tenant.example.com"
WIRE = Path(__file__).parents[1] / "wire"

Ask = Callable[..., Awaitable[GatewayMetricsError]]
Gateway = Callable[..., GatewayBackend]


def wire(name: str) -> dict[str, Any]:
    exchange: dict[str, Any] = json.loads((WIRE / f"{name}.json").read_text("utf-8"))
    return exchange


MODELS = (
    DataPoint(("gpt-4o",), (1240, 1240, 125000, 2450.5, 8.42)),
    DataPoint(("gpt-3.5-turbo",), (860, 860, 89000, 1820.3, 1.78)),
)
MODEL_VALUES = ("total", "countModelName", "sumInputTokens", "p99LatencyMs", "sumCostInUSD")
HOURS = (datetime(2025, 1, 21, 0, tzinfo=UTC), datetime(2025, 1, 21, 1, tzinfo=UTC))
SUBJECT = ("createdBySubjectSlug",)
NO_TOTAL = "this gateway does not count rows: use count of a column"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("distribution_current", Result(("modelName",), MODEL_VALUES, MODELS, (SCOPE_NOTE,))),
        (
            "distribution_older",
            Result(
                ("modelName",),
                MODEL_VALUES[1:],
                tuple(DataPoint(point.keys, point.values[1:]) for point in MODELS),
                (NO_TOTAL, SCOPE_NOTE),
            ),
        ),
        (
            "timeseries_current",
            Result(
                SUBJECT,
                ("total", "sumCostInUSD"),
                (
                    DataPoint(("ana@example.com",), (3, 0.5), HOURS[0]),
                    DataPoint((None,), (1, None), HOURS[1]),
                ),
                (SCOPE_NOTE,),
            ),
        ),
        (
            "timeseries_older",
            Result(
                SUBJECT,
                ("sumCostInUSD",),
                (
                    DataPoint(("ana@example.com",), (0.5,), HOURS[0]),
                    DataPoint((None,), (None,), HOURS[1]),
                ),
                (NO_TOTAL, SCOPE_NOTE),
            ),
        ),
    ],
)
async def test_documented_exchanges_of_both_generations_are_sent_and_read(
    name: str, expected: Result, catalog: Catalog, gateway: Gateway
) -> None:
    exchange = wire(name)
    sent: list[httpx.Request] = []
    backend = gateway(httpx.Response(200, json=exchange["response"]), sent=sent)

    result = await backend.query(read_query(exchange["request"], catalog), LOCAL)

    assert result == replace(expected, is_by_rulings=False)
    assert [json.loads(request.content) for request in sent] == [exchange["request"]]


async def test_a_note_on_missing_keys_stays_beside_the_one_on_scope(
    question: Query, gateway: Gateway
) -> None:
    grouped = question.model_copy(update={"group_by": ("modelName",)})
    body = {"data": {"dataPoints": [{"total": 1}]}}

    result = await gateway(httpx.Response(200, json=body)).query(grouped, LOCAL)

    assert result.notes == ("the gateway's rows have no modelName: shown as null", SCOPE_NOTE)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        (HOST, f"{HOST}/api/svc/v1/llm-gateway/metrics/query"),
        (f" {HOST}/ \n", f"{HOST}/api/svc/v1/llm-gateway/metrics/query"),
        (f"{HOST}:8443/tfy/", f"{HOST}:8443/tfy/api/svc/v1/llm-gateway/metrics/query"),
    ],
)
async def test_the_request_is_a_json_post_with_a_bearer_to_the_documented_path(
    host: str, url: str, question: Query, gateway: Gateway
) -> None:
    sent: list[httpx.Request] = []

    await gateway(sent=sent, host=host).query(question, LOCAL)

    assert [(request.method, str(request.url)) for request in sent] == [("POST", url)]
    assert sent[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert sent[0].headers["content-type"] == "application/json"
    assert sent[0].headers["accept-encoding"] == "gzip"


async def test_a_caller_is_asked_for_with_their_own_token(
    question: Query, gateway: Gateway
) -> None:
    sent: list[httpx.Request] = []

    await gateway(sent=sent).query(question, Caller("ana@example.com", token="tok-own"))  # noqa: S106

    assert sent[0].headers["authorization"] == "Bearer tok-own"


@pytest.mark.parametrize("own", [None, ""])
async def test_a_caller_without_a_token_never_borrows_the_servers(
    own: str | None, failure: Ask, gateway: Gateway
) -> None:
    sent: list[httpx.Request] = []
    caller = Caller("local", is_tenant_admin=True, token=own)

    error = await failure(gateway(sent=sent), caller)

    assert type(error) is errors.UnauthorizedError
    assert sent == []


@pytest.mark.parametrize("token", [None, ""])
async def test_no_token_at_all_names_the_variable_to_set(
    token: str | None, failure: Ask, gateway: Gateway
) -> None:
    error = await failure(gateway(token=token))

    assert type(error) is errors.SettingsError
    assert "TFY_API_KEY" in str(error)


@pytest.mark.parametrize("wrong", ["{}\n", "{}\r\nX-Role: admin", "{}é", "Bearer {}", "\0{}"])
@pytest.mark.parametrize("whose", ["server", "caller"])
async def test_a_token_that_no_header_may_carry_is_refused_unseen(
    wrong: str, whose: str, failure: Ask, gateway: Gateway
) -> None:
    sent: list[httpx.Request] = []
    token = wrong.format(TOKEN)
    caller = Caller("ana@example.com", token=token) if whose == "caller" else LOCAL

    backend = gateway(sent=sent, token=token if whose == "server" else None)
    error = await failure(backend, caller)

    assert type(error) is errors.SettingsError
    assert sent == []


def test_a_backend_describes_itself_by_its_host_name_alone(gateway: Gateway) -> None:
    backend = gateway(host=f"{HOST}:8443/tfy")

    assert backend.description == "gateway at tenant.example.com"
    assert repr(backend) == "<GatewayBackend: gateway at tenant.example.com>"


async def test_closing_is_safe_before_the_first_query_and_twice(
    question: Query, gateway: Gateway
) -> None:
    backend = gateway()
    await backend.aclose()
    await backend.query(question, LOCAL)

    await backend.aclose()
    await backend.aclose()
