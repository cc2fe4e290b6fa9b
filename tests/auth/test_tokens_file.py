"""Over an engine the tokens file says whose rows a caller may see, as over the HTTP API."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp.client import Client
from mcp_types import CallToolResult

from gateway_metrics_mcp.auth.tokens import TokenEntry, make_token
from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.http.transports import build_http_app, build_sse_app
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.settings import Settings

Serve = Callable[..., AbstractAsyncContextManager[Any]]
TextOf = Callable[[CallToolResult], tuple[str, bool]]
Way = tuple[str, str]

MARCH: Final = {"startTs": "2025-03-01", "endTs": "2025-03-08"}
RIGHTS: Final[dict[str, tuple[dict[str, Any], set[str]]]] = {
    "ada": ({"subject": "ada@example.com"}, {"ada"}),
    "search": ({"subject": "nobody", "teams": ["search"]}, {"ada", "bob"}),
    "data": ({"subject": "eve@example.com", "teams": ["data"]}, {"eve", "bob", "bot"}),
    "twin": ({"subject": "ada@example.com", "subject_type": "virtualaccount"}, {"twin"}),
    "none": ({"subject": "ADA@example.com"}, set()),
    "admin": (
        {"subject": "ada@example.com", "is_tenant_admin": True},
        {"ada", "bob", "eve", "twin", "bot"},
    ),
}
"""By the name of a caller here: the token's rights, and the owners of the rows they may see."""

QUESTIONS: Final[list[tuple[str, dict[str, Any]]]] = [
    ("query_distribution", {**MARCH, "groupBy": ["modelName"], "limit": 50}),
    ("query_distribution", {**MARCH, "aggregations": ["sum inputTokens"]}),
    ("query_distribution", {**MARCH, "groupBy": ["modelName"], "compareTo": "previous"}),
    ("query_timeseries", {**MARCH, "groupBy": ["modelName"], "interval": "1 day"}),
    ("list_values", {**MARCH, "field": "modelName"}),
    ("list_values", {**MARCH, "field": "userEmail"}),
]


def make(**rights: Any) -> tuple[str, TokenEntry]:
    given_rights = {
        "subject_type": "user",
        "teams": [],
        "is_tenant_admin": False,
        "expires": None,
        **rights,
    }
    return make_token(**given_rights)


def write(file: Path, *entries: TokenEntry) -> Path:
    file.write_text("\n".join(entry.to_toml() for entry in entries), "utf-8")
    return file


def owners_in(text: str) -> set[str]:
    """Whose rows an answer speaks of."""
    return set(re.findall(r"model-(\w+)", text))


def settled(text: str) -> str:
    """The answer but for whether it was kept, which depends on who asked before."""
    return "\n".join(x for x in text.split("\n") if not x.startswith("# from the cache"))


@pytest.mark.parametrize("name", RIGHTS)
async def test_a_caller_sees_own_rows_and_those_of_own_teams(
    owned: Path, tmp_path: Path, serve_callers: Serve, text_of: TextOf, way: Way, name: str
) -> None:
    rights, visible = RIGHTS[name]
    token, entry = make(**rights)
    file = write(tmp_path / "tokens.toml", entry)
    async with (
        serve_callers(*way, backend=str(owned), tokens=file) as served,
        served.connect(authorization=f"Bearer {token}") as client,
    ):
        answers = [text_of(await client.call_tool(tool, given)) for tool, given in QUESTIONS]

    assert [text for text, is_error in answers if is_error] == []
    texts = [text for text, _ in answers]
    assert [owners_in(texts[index]) for index in (0, 2, 3, 4)] == [visible] * 4
    assert ("ada@example.com" in texts[5]) == bool(visible & {"ada"})


async def test_without_a_good_token_nothing_is_answered(
    owned: Path, tmp_path: Path, serve_callers: Serve, way: Way
) -> None:
    past = datetime.now(UTC) - timedelta(days=1)
    expired, entry = make(subject="ada@example.com", expires=past)
    file = write(tmp_path / "tokens.toml", entry)
    async with serve_callers(*way, backend=str(owned), tokens=file) as served:
        nobody = await served.post()
        unknown = await served.post(authorization="Bearer gmm_unknown")
        late = await served.post(authorization=f"Bearer {expired}")
        other_header = await served.post(x_tfy_api_key=expired)

    assert [r.status_code for r in (nobody, unknown, late, other_header)] == [401] * 4
    assert nobody.headers["www-authenticate"] == 'Bearer realm="gateway-metrics"'
    assert [r.headers["www-authenticate"] for r in (unknown, late)] == [
        'Bearer realm="gateway-metrics", error="invalid_token"'
    ] * 2
    assert "Authorization: Bearer" in nobody.json()["error_description"]
    assert "expired" in late.json()["error_description"]
    assert [r.text for r in (unknown, late) if "gmm_" in r.text] == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.10"])  # noqa: S104 - refused
@pytest.mark.parametrize("backend", ["demo:", "/data", "clickhouse://u@host:8123/d"])
@pytest.mark.parametrize("build", [build_http_app, build_sse_app])
def test_listening_elsewhere_without_tokens_is_refused(
    build: Callable[..., object], backend: str, host: str
) -> None:
    read = Settings(transport="http", backend=backend, host=host, allowed_host=("a.example",))
    with pytest.raises(SettingsError, match=r"needs --tokens: otherwise anyone could query"):
        build(build_server(read), read)


class Crowd:
    """Clients of one server, each with rights of its own, and what each is told when alone."""

    def __init__(self, clients: dict[str, Client], text_of: TextOf) -> None:
        self._clients = clients
        self._text_of = text_of
        self.alone: dict[tuple[str, int], str] = {}

    async def ask(self, name: str, index: int) -> str:
        tool, arguments = QUESTIONS[index]
        text, is_error = self._text_of(await self._clients[name].call_tool(tool, arguments))
        assert not is_error, text
        return settled(text)


@pytest.fixture(
    scope="module", params=[("http", "legacy"), ("http", "2026-07-28"), ("sse", "legacy")]
)
async def crowd(
    request: pytest.FixtureRequest,
    owned: Path,
    tmp_path_factory: pytest.TempPathFactory,
    serve_callers: Serve,
    text_of: TextOf,
) -> AsyncIterator[Crowd]:
    made = {name: make(**rights) for name, (rights, _) in RIGHTS.items()}
    file = write(
        tmp_path_factory.mktemp("crowd") / "t.toml", *(entry for _, entry in made.values())
    )
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(
            serve_callers(*request.param, backend=str(owned), tokens=file)
        )
        clients = {}
        for name, (token, _) in made.items():
            opening = served.connect(authorization=f"Bearer {token}")
            clients[name] = await stack.enter_async_context(opening)
        crowd = Crowd(clients, text_of)
        for name in RIGHTS:
            for index in range(len(QUESTIONS)):
                crowd.alone[name, index] = await crowd.ask(name, index)
        yield crowd


EXAMPLES: Final = settings().max_examples if settings().max_examples >= 500 else 4
"""Of each of the three crowds."""
asked = st.tuples(st.sampled_from(sorted(RIGHTS)), st.integers(0, len(QUESTIONS) - 1))


@settings(max_examples=EXAMPLES)
@given(st.lists(asked, min_size=2, max_size=6))
async def test_however_callers_ask_at_once_each_is_told_what_it_is_told_alone(
    crowd: Crowd, questions: list[tuple[str, int]]
) -> None:
    told: list[tuple[str, int, str]] = []

    async def run(name: str, index: int) -> None:
        told.append((name, index, await crowd.ask(name, index)))

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            for name, index in questions:
                group.start_soon(run, name, index)

    assert [(n, i) for n, i, text in told if owners_in(text) - RIGHTS[n][1]] == []
    assert [(n, i) for n, i, text in told if text != crowd.alone[n, i]] == []
    assert len(told) == len(questions)
