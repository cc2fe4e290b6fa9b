"""Hidden addresses over HTTP, with the cache on: two callers, one key, and rows of their own."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from mcp.client import Client
from mcp_types import CallToolResult
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway_metrics_mcp.query.vocabulary import API_PATH as PATH
from gateway_metrics_mcp.server.masking import EmailMask

Serve = Callable[..., AbstractAsyncContextManager[Any]]
Listen = Callable[[Starlette], AbstractAsyncContextManager[int]]
TextOf = Callable[[CallToolResult], tuple[str, bool]]
Way = tuple[str, str]

KEY: Final = "0123456789abcdef0123456789abcdef"
ADA: Final = "ada@example.com"
BOB: Final = "bob@example.com"
EVE: Final = "eve@example.com"
ROWS: Final = {"tok-admin": {ADA: 3, BOB: 2, EVE: 1}, "tok-bob": {BOB: 2}}
"""By token, whose calls it may see and how many there are."""
MARCH: Final = {"startTs": "2025-03-01", "endTs": "2025-03-08"}
BY_USER: Final = {**MARCH, "groupBy": ["userEmail"]}


@dataclass
class Site:
    """A gateway whose rows are the token's, by user or in all, filtered by user or not."""

    url: str = ""
    asked: list[tuple[str, list[Any]]] = field(default_factory=list)
    """The token and the filters' values of each question."""

    async def answer(self, request: Request) -> Response:
        token = request.headers["authorization"].removeprefix("Bearer ")
        body = await request.json()
        filters = body.get("filters", ())
        wanted = [one["value"] for one in filters if isinstance(one["value"], list)]
        self.asked.append((token, wanted))
        rows = {
            user: total
            for user, total in ROWS[token].items()
            if all(user in values for values in wanted)
        }
        points: list[dict[str, Any]] = [{"total": sum(rows.values())}]
        if body.get("groupBy"):
            kind = {"createdBySubjectType": "user"}
            points = [{"createdBySubjectSlug": u, **kind, "total": n} for u, n in rows.items()]
        return JSONResponse({"data": {"dataPoints": points}})


@pytest.fixture
async def site(listen: Listen) -> AsyncIterator[Site]:
    site = Site()
    route = Route(PATH, site.answer, methods=["POST"])
    async with listen(Starlette(routes=[route])) as port:
        site.url = f"http://127.0.0.1:{port}"
        yield site


@pytest.fixture
def settings(site: Site, tmp_path: Path) -> dict[str, Any]:
    key = tmp_path / "hidden.key"
    key.write_text(KEY)
    return {"backend": site.url, "hide_emails": True, "hide_emails_key": key}


def hash_of(address: str) -> str:
    return EmailMask(KEY.encode()).hide(address)


def users_in(text: str) -> set[str]:
    return set(re.findall(r"user-[0-9a-f]{10}", text))


async def ask(client: Client, text_of: TextOf, tool: str, arguments: dict[str, Any]) -> str:
    text, is_error = text_of(await client.call_tool(tool, arguments))
    assert not is_error, text
    assert "@" not in text
    return text


async def test_kept_answers_are_hidden_alike_for_each_caller_and_show_only_own_users(
    site: Site, settings: dict[str, Any], serve_callers: Serve, text_of: TextOf, way: Way
) -> None:
    async with (
        serve_callers(*way, **settings) as served,
        served.connect(x_tfy_api_key="tok-admin") as admin,
        served.connect(x_tfy_api_key="tok-bob") as bob,
    ):
        told: dict[str, list[str]] = {"admin": [], "bob": []}
        for _ in range(2):
            for name, client in (("admin", admin), ("bob", bob)):
                told[name].append(await ask(client, text_of, "query_distribution", BY_USER))
        listing = {**MARCH, "field": "userEmail"}
        listed = [await ask(client, text_of, "list_values", listing) for client in (admin, bob)]
        sent = len(site.asked)

    everyone = {hash_of(address) for address in (ADA, BOB, EVE)}
    assert [users_in(text) for text in told["admin"]] == [everyone] * 2
    assert [users_in(text) for text in told["bob"]] == [{hash_of(BOB)}] * 2
    assert [users_in(text) for text in listed] == [everyone, {hash_of(BOB)}]
    kept = ["from the cache" in text for texts in told.values() for text in texts]
    assert kept == [False, True, False, True]
    assert len({(token, str(wanted)) for token, wanted in site.asked}) == 2
    assert sent <= 6


async def test_a_hash_of_another_callers_answer_opens_nothing(
    site: Site, settings: dict[str, Any], serve_callers: Serve, text_of: TextOf, way: Way
) -> None:
    def about(user: str) -> dict[str, Any]:
        one = {"fieldName": "userEmail", "operator": "IN", "value": [user]}
        return {**MARCH, "filters": [one]}

    async with (
        serve_callers(*way, **settings) as served,
        served.connect(x_tfy_api_key="tok-admin") as admin,
        served.connect(x_tfy_api_key="tok-bob") as bob,
    ):
        known = await ask(admin, text_of, "query_distribution", about(hash_of(ADA)))
        own = await ask(bob, text_of, "query_distribution", about(hash_of(BOB)))
        site.asked.clear()
        foreign = await ask(bob, text_of, "query_distribution", about(hash_of(ADA)))
        sent = [value for _, wanted in site.asked for values in wanted for value in values]

    assert "total: 3" in known
    assert "total: 2" in own
    assert "total: 3" not in foreign
    assert {token for token, _ in site.asked} <= {"tok-bob"}
    assert set(sent) == {hash_of(ADA)}  # it stays what it is, and matches nothing
