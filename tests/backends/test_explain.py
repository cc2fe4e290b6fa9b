"""What would be sent, shown and not sent: no address, no path, no token."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from gateway_metrics_mcp.backends.demo.backend import DemoBackend
from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.backends.gateway.backend import GatewayBackend
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.query.model import LOCAL, Caller, Query

MakeQuery = Callable[..., Query]

TOKEN: Final = "tok-secret-1234"  # noqa: S105 - planted
ADA: Final = Caller("ada@example.com", teams=frozenset({"search"}), token="tok-of-ada")  # noqa: S106 - planted
QUESTION: Final[dict[str, Any]] = {
    "aggregations": ["sum costInUSD"],
    "groupBy": ["modelName", "metadata.env"],
    "filters": [("modelName", "IN", ["x\n'; DROP TABLE", "\u202eb"])],
}


async def test_the_gateways_body_is_the_one_that_is_sent(
    gateway: Callable[..., GatewayBackend], make_query: MakeQuery
) -> None:
    sent: list[httpx.Request] = []
    backend, query = gateway(sent=sent), make_query(**QUESTION)

    text = backend.explain(query, ADA)
    assert sent == []
    await backend.query(query, ADA)

    assert json.loads(text) == json.loads(sent[0].content)
    assert text.isascii()
    assert text.isprintable()
    assert [secret for secret in ("http", "tenant", TOKEN, "tok-", "ada@") if secret in text] == []


async def test_an_engine_shows_its_statement_and_what_is_bound(
    engine: Callable[..., DuckDBBackend], make_query: MakeQuery, data: Path
) -> None:
    text = engine().explain(make_query(**QUESTION), ADA)

    statement, *parameters = text.split("\n")
    assert statement.startswith("SELECT ")
    assert ' FROM "gateway_model_metrics" WHERE "CreatedAt" >= $p0 AND ' in statement
    assert parameters == [
        'p0 = "2026-07-01T00:00:00.000Z"',
        'p1 = "2026-08-01T00:00:00.000Z"',
        'p2 = "x\\n\'; DROP TABLE"',
        'p3 = "\\u202eb"',
        'p4 = "ada@example.com"',
        'p5 = "user"',
        'p6 = "search"',
        'p7 = "env"',
    ]
    assert [secret for secret in (str(data), "parquet", "tok-of-ada") if secret in text] == []


@pytest.mark.parametrize("caller", [LOCAL, ADA])
async def test_the_demo_shows_the_engines_and_makes_no_data(
    engine: Callable[..., DuckDBBackend], make_query: MakeQuery, tmp_path: Path, caller: Caller
) -> None:
    cache = tmp_path / "cache"
    demo = DemoBackend(7, load_catalog(), cache=cache)
    query = make_query(**QUESTION)

    assert demo.explain(query, caller) == engine().explain(query, caller)
    assert not cache.exists()
