"""Whose rows an answer is made of (R23), asked over HTTP with tokens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Final

import httpx
import pytest
from hypothesis import given, note
from hypothesis import strategies as st
from tests.http.api.conftest import Book, build_api

from gateway_metrics_mcp.auth.tokens import Tokens, make_token
from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.query.catalog import Catalog
from gateway_metrics_mcp.query.model import Caller
from gateway_metrics_mcp.query.vocabulary import API_PATH as PATH

Row = Mapping[str, Any]
July = Callable[..., dict[str, Any]]
Make = Callable[[bytes], Any]
Write = Callable[..., Path]

WHO: Final = ("CreatedBySubjectSlug", "CreatedBySubjectType", "Teams")
"""The columns that say whose a row is."""
MOST_ROWS: Final = 1
"""The cap of the second engine: its refusals count rows."""


# --- who sees what ---


@pytest.mark.parametrize(
    ("token", "total", "models"),
    [
        ({"is_tenant_admin": True}, 5, {"claude": 3, "gpt-4o": 2}),
        ({"subject": "root", "is_tenant_admin": True}, 5, {"claude": 3, "gpt-4o": 2}),
        ({}, 2, {"claude": 1, "gpt-4o": 1}),
        ({"subject_type": "virtualaccount"}, 1, {"claude": 1}),
        ({"subject": "ADA@example.com"}, 0, {}),
        ({"subject": "ada@example.com "}, 0, {}),
        ({"subject": "%"}, 0, {}),
        ({"teams": ["search"]}, 3, {"claude": 1, "gpt-4o": 2}),
        ({"subject": "eve@example.com", "teams": ["search"]}, 2, {"gpt-4o": 2}),
        ({"subject": "eve@example.com", "teams": ["data"]}, 2, {"claude": 1, "gpt-4o": 1}),
        (
            {"subject": "eve@example.com", "teams": ["data", "search"]},
            3,
            {"claude": 1, "gpt-4o": 2},
        ),
        ({"subject": "eve@example.com", "teams": ["Search", "sea", "%"]}, 0, {}),
        ({"subject": "ci-bot", "subject_type": "virtualaccount"}, 1, {"claude": 1}),
        ({"subject": "ci-bot"}, 0, {}),
    ],
    ids=repr,
)
async def test_a_caller_sees_their_own_rows_and_their_teams(
    serve: Callable[..., Any],
    book: Any,
    july: July,
    token: dict[str, Any],
    total: int,
    models: dict[str, int],
) -> None:
    api, issued = serve(book), book.issue(**token)

    (row,) = await api.rows(july(), token=issued)
    rows = await api.rows(july(groupBy=["modelName"]), token=issued)

    assert row == {"total": total}
    assert {row["modelName"]: row["total"] for row in rows} == models


@pytest.mark.parametrize(
    "changes",
    [
        {"filters": [{"fieldName": "userEmail", "operator": "EQUAL", "value": "bob@example.com"}]},
        {
            "filters": [
                {"fieldName": "userEmail", "operator": "NOT_EQUAL", "value": "ada@example.com"}
            ]
        },
        {"filters": [{"fieldName": "team", "operator": "ARRAY_HAS_ANY", "value": ["data"]}]},
        {"filters": [{"fieldName": "virtualAccount", "operator": "STRING_CONTAINS", "value": ""}]},
    ],
    ids=repr,
)
async def test_a_filter_for_others_finds_nobody(
    serve: Callable[..., Any], book: Any, july: July, changes: dict[str, Any]
) -> None:
    api, token = serve(book), book.issue()

    assert await api.rows(july(**changes), token=token) == [{"total": 0}]


async def test_grouping_by_people_and_teams_names_nobody_else(
    serve: Callable[..., Any], book: Any, july: July
) -> None:
    api, token = serve(book), book.issue()
    body = july(groupBy=["userEmail", "virtualaccount", "createdBySubjectType", "team"])

    rows = await api.rows(body, token=token)

    me = {"createdBySubjectSlug": "ada@example.com", "createdBySubjectType": "user", "total": 1}
    assert rows == [{**me, "team": "search"}, {**me, "team": None}]


async def test_each_request_is_answered_for_its_own_token(
    serve: Callable[..., Any], book: Any, july: July
) -> None:
    api = serve(book)
    issued = [
        book.issue(),
        book.issue(is_tenant_admin=True),
        book.issue("ci-bot", "virtualaccount"),
    ]

    totals: list[int] = []

    async def ask(token: str) -> None:
        ((row,), *_) = [await api.rows(july(), token=token)]
        totals.append(row["total"])

    await asyncio.gather(*(ask(token) for token in issued * 10))

    assert sorted(totals) == [1] * 10 + [2] * 10 + [5] * 10


# --- rows of others change no answer ---


class ToolContext:
    """Two APIs over one directory that holds one file; the second refuses more than few rows."""

    def __init__(self, directory: Path, catalog: Catalog, write: Write) -> None:
        self._directory = directory
        self._catalog = catalog
        self._write = write
        self._numbers = count()
        self._written: Path | None = None
        self._book = Book()
        self._runner = asyncio.Runner()
        self._backends = [
            DuckDBBackend(directory, catalog, threads=1, row_cap=row_cap)
            for row_cap in (100_000, MOST_ROWS)
        ]
        self._clients = [self._open(backend) for backend in self._backends]

    def _open(self, backend: DuckDBBackend) -> httpx.AsyncClient:
        app = build_api(backend, self._book)
        transport = httpx.ASGITransport(app)
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")

    def ask(
        self, body: Mapping[str, Any], caller: Caller, table: str, rows: Sequence[Row]
    ) -> list[tuple[int, bytes]]:
        """The answers of both to a question over these rows."""
        if self._written is not None:
            self._written.unlink()
        self._written = self._write(
            self._directory, rows, table=table, name=f"{next(self._numbers)}.parquet"
        )
        token, entry = make_token(
            caller.subject or "nobody",
            caller.subject_type,
            sorted(caller.teams),
            is_tenant_admin=caller.is_tenant_admin,
            expires=None,
        )
        self._book.current = Tokens(tokens=(entry,))
        return [self._runner.run(self._post(client, body, token)) for client in self._clients]

    async def _post(
        self, client: httpx.AsyncClient, body: Mapping[str, Any], token: str
    ) -> tuple[int, bytes]:
        headers = {"authorization": f"Bearer {token}"}
        response = await client.post(PATH, json=body, headers=headers)
        assert response.status_code in (200, 400), response.text
        return response.status_code, response.content

    def close(self) -> None:
        for client in self._clients:
            self._runner.run(client.aclose())
        for backend in self._backends:
            self._runner.run(backend.aclose())
        self._runner.close()


@pytest.fixture(scope="module")
def desk(
    tmp_path_factory: pytest.TempPathFactory, catalog: Catalog, write_rows: Write
) -> Iterator[ToolContext]:
    desk = ToolContext(tmp_path_factory.mktemp("tables"), catalog, write_rows)
    yield desk
    desk.close()


def belongs_to(row: Row, caller: Caller) -> bool:
    """Ruling R23, once more."""
    is_own = (row.get("CreatedBySubjectSlug"), row.get("CreatedBySubjectType")) == (
        caller.subject,
        caller.subject_type,
    )
    return is_own or not caller.teams.isdisjoint(row.get("Teams") or ())


def narrow(caller: Caller) -> Caller:
    """The caller with the rights of a token that is no tenant admin's."""
    teams = frozenset(team for team in caller.teams if team)
    return Caller(caller.subject or "nobody", caller.subject_type, teams)


def disguise(row: Row, own: Sequence[Row], chance: Random) -> Row:
    """A row of another's that is like one of the caller's in all but whose it is."""
    model = chance.choice(own) if own else row
    return {**model, **{column: row[column] for column in WHO if column in row}}


@given(choices=st.binary(min_size=24, max_size=24))
def test_rows_of_others_change_no_answer(
    desk: ToolContext, make_example: Make, choices: bytes
) -> None:
    example = make_example(choices)
    note(repr(example))
    caller, body = narrow(example.caller), example.query.to_body()
    chance = Random(choices)  # noqa: S311 - no secret
    own = [row for row in example.rows if belongs_to(row, caller)]
    disguised = [
        row if belongs_to(row, caller) else disguise(row, own, chance) for row in example.rows
    ]
    tripled = [copy for row in disguised for copy in [row] * (1 if belongs_to(row, caller) else 3)]

    alone = desk.ask(body, caller, example.table, own)

    for rows in (example.rows, disguised, tripled):
        assert desk.ask(body, caller, example.table, rows) == alone


def test_many_of_those_questions_would_tell_of_others(
    desk: ToolContext, make_example: Make
) -> None:
    chance = Random(1)  # noqa: S311 - no secret
    answered = telling = refused = 0
    for _ in range(60):
        example = make_example(chance.randbytes(24))
        caller, body = narrow(example.caller), example.query.to_body()
        (status, text), (capped, _) = desk.ask(body, caller, example.table, example.rows)
        admin = Caller("root", is_tenant_admin=True)
        others = desk.ask(body, admin, example.table, example.rows)
        assert status == 200
        answered += any(row["total"] for row in json.loads(text)["data"]["dataPoints"])
        telling += others[0] != (status, text)
        refused += capped == 400

    assert answered >= 10
    assert telling >= 20
    assert refused >= 3
