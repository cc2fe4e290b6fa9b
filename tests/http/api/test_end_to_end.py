"""MCP client, server, httpx, our API, DuckDB: what comes out is what DuckDB says itself."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest
from mcp.client import Client
from mcp_types import TextContent
from pydantic import SecretStr

from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.backends.gateway.backend import GatewayBackend
from gateway_metrics_mcp.backends.sql.dialect import Layout
from gateway_metrics_mcp.errors import RefusedQueryError, UnauthorizedError
from gateway_metrics_mcp.http.body import read_query
from gateway_metrics_mcp.query.catalog import Catalog
from gateway_metrics_mcp.query.model import LOCAL, Caller, Query
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.settings import MOST_TOKENS, Settings

Listen = Callable[..., AbstractAsyncContextManager[int]]
Body = dict[str, Any]

ROWS: Final = 60
"""Of each table in each window that is asked about."""
NOW: Final = datetime(2026, 7, 15, 9, 30, tzinfo=UTC)
TEXTS: Final = ("gpt", "gpt-4", "gpt-4o", 'text, with "quotes" and 100 %', "😀", "", "production")
TEAMS: Final = ("search", "platform", "team-alpha")
ADA: Final = Caller("ada@example.com", "user", frozenset({"platform"}))


def make_cell(column: str, type_: str, chance: Random) -> Any:
    if chance.random() < 0.2:
        return None
    if column == "CreatedBySubjectSlug":
        return chance.choice(["ada@example.com", "ci-bot", *TEXTS])
    if column == "CreatedBySubjectType":
        return chance.choice(["user", "virtualaccount"])
    makers: dict[str, Callable[[], Any]] = {
        "Array(Text)": lambda: chance.sample(TEAMS, chance.randrange(4)),
        "Map(Text, Text)": lambda: {
            key: chance.choice(TEXTS) for key in ("environment", "cost center", "env")
        },
        "BIGINT": lambda: chance.choice([0, 400, 2**53 + 1, 2**62, chance.randrange(5000)]),
        "INTEGER": lambda: chance.choice([200, 400, 429, 500]),
        "DOUBLE PRECISION": lambda: chance.choice([400, 0.1, 1 / 3, 5e-324, chance.random() * 5e3]),
        "BOOLEAN": lambda: chance.random() < 0.5,
        "TEXT": lambda: chance.choice(TEXTS),
    }
    return makers.get(type_, lambda: None)()


@pytest.fixture(scope="session")
def asked(bodies: list[Body], generated_bodies: list[Body]) -> list[Body]:
    """The documented bodies and the generated ones."""
    return [*bodies, *generated_bodies]


@pytest.fixture(scope="session")
def filled(
    tmp_path_factory: pytest.TempPathFactory,
    asked: list[Body],
    catalog: Catalog,
    write_rows: Callable[..., Path],
) -> Path:
    """Rows in every table in every window that is asked about."""
    directory, chance = tmp_path_factory.mktemp("filled"), Random(1)  # noqa: S311 - no secret
    queries = [read_query(body, catalog) for body in asked]
    windows = dict.fromkeys((query.start_ts, query.end_ts) for query in queries)
    for table, columns in Layout.of(catalog).tables.items():
        rows = [
            {
                **{name: make_cell(name, type_, chance) for name, type_ in columns.items()},
                "CreatedAt": start + min(end - start, timedelta(days=7)) * chance.random(),
            }
            for start, end in windows
            for _ in range(ROWS)
        ]
        write_rows(directory, rows, table=table)
    return directory


@pytest.fixture
async def embedded(filled: Path, catalog: Catalog) -> AsyncIterator[DuckDBBackend]:
    backend = DuckDBBackend(filled, catalog, threads=1)
    yield backend
    await backend.aclose()


@pytest.fixture
async def remote(
    filled: Path, catalog: Catalog, listen: Listen, book: Any
) -> AsyncIterator[Callable[[str], GatewayBackend]]:
    """A gateway backend whose gateway is our API, for a token."""
    engine = DuckDBBackend(filled, catalog, threads=1)
    opened: list[GatewayBackend] = []
    async with listen(book, backend=engine) as port:

        def connect(token: str) -> GatewayBackend:
            backend = GatewayBackend(f"http://127.0.0.1:{port}", token, catalog)
            opened.append(backend)
            return backend

        yield connect
        for backend in opened:
            await backend.aclose()


async def assert_agree(
    remote: GatewayBackend, embedded: DuckDBBackend, queries: Sequence[Query], caller: Caller
) -> int:
    """Each query has one answer on both roads; how many of them have rows."""
    answered = 0
    for query in queries:
        ours = await embedded.query(query, caller)
        theirs = await remote.query(query, LOCAL)
        assert (theirs.key_names, theirs.value_names) == (ours.key_names, ours.value_names)
        assert theirs.points == ours.points, query
        answered += any(ours.column("total"))
    return answered


@pytest.mark.parametrize(
    "step", [14, pytest.param(1, marks=pytest.mark.thorough)], ids=["some", "all"]
)
async def test_every_body_has_the_same_answer_over_the_api(
    remote: Callable[[str], GatewayBackend],
    embedded: DuckDBBackend,
    asked: list[Body],
    book: Any,
    catalog: Catalog,
    step: int,
) -> None:
    queries = [read_query(body, catalog) for body in (*asked[:39], *asked[39::step])]
    backend = remote(book.issue(is_tenant_admin=True))

    answered = await assert_agree(backend, embedded, queries, LOCAL)

    assert answered > len(queries) / 2


async def test_a_token_s_answer_is_that_of_its_caller(
    remote: Callable[[str], GatewayBackend],
    embedded: DuckDBBackend,
    asked: list[Body],
    book: Any,
    catalog: Catalog,
) -> None:
    queries = [read_query(body, catalog) for body in asked[::20]]
    backend = remote(book.issue(ADA.subject, ADA.subject_type, sorted(ADA.teams)))

    answered = await assert_agree(backend, embedded, queries, ADA)

    assert answered > len(queries) / 3


SAME: Final[dict[str, Any]] = {"budget": MOST_TOKENS, "source_name": "same"}


def to_call(body: Body) -> tuple[str, dict[str, Any]]:
    """The tool call that asks what the body asks."""
    arguments: dict[str, Any] = {
        "format": "json",
        "datasource": body["datasource"],
        "startTs": body["startTs"],
        "endTs": body["endTs"],
        "aggregations": [f"{a['type']} {a['column']}" for a in body.get("aggregations", ())],
        "groupBy": body.get("groupBy", []),
        "filters": body.get("filters", []),
    }
    if body["type"] == "distribution":
        return "query_distribution", arguments
    interval = body.get("interval") or f"{body['intervalInSeconds']} seconds"
    return "query_timeseries", {**arguments, "interval": interval}


@pytest.mark.parametrize(
    "step", [40, pytest.param(1, marks=pytest.mark.thorough)], ids=["some", "all"]
)
async def test_every_body_has_the_same_rows_as_a_tool_call(
    filled: Path, catalog: Catalog, listen: Listen, book: Any, asked: list[Body], step: int
) -> None:
    token = SecretStr(book.issue(is_tenant_admin=True))
    engine = DuckDBBackend(filled, catalog, threads=1)
    chosen = [*asked[:39], *asked[39::step]]
    wrong = 0
    async with listen(book, backend=engine) as port:
        settings = Settings(backend=f"http://127.0.0.1:{port}", token=token, **SAME)
        local = Settings(backend=str(filled), threads=1, **SAME)
        near = build_server(local, clock=lambda: NOW)
        far = build_server(settings, clock=lambda: NOW)
        async with Client(near) as ours, Client(far) as theirs:
            for body in chosen:
                tool, arguments = to_call(body)
                expected = await ask(ours, tool, arguments)
                assert await ask(theirs, tool, arguments) == expected
                wrong += expected[1]

    assert wrong <= len(chosen) / 20


async def ask(client: Client, tool: str, arguments: dict[str, Any]) -> tuple[object, bool]:
    """The facts of an answer, without the notes on its source; whether it is an error."""
    result = await client.call_tool(tool, arguments)
    (block,) = result.content
    assert isinstance(block, TextContent)
    if result.is_error:
        return block.text, True
    facts = json.loads(block.text)
    del facts["notes"]
    return facts, False


async def test_our_refusals_are_read_as_a_gateway_s(
    remote: Callable[[str], GatewayBackend], book: Any, catalog: Catalog
) -> None:
    july = {
        "startTs": "2026-07-01T00:00:00Z",
        "endTs": "2026-08-01T00:00:00Z",
        "datasource": "modelMetrics",
        "type": "distribution",
        "groupBy": ["region"],
    }
    query = read_query(july, catalog, allow_unknown=True)

    with pytest.raises(RefusedQueryError, match="without a documented reason"):
        await remote(book.issue()).query(query, LOCAL)
    with pytest.raises(UnauthorizedError):
        await remote("gmm_unknown").query(query, LOCAL)
