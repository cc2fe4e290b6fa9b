"""A resource of rows is read with the reader's own rights, whoever was given its URI."""

from __future__ import annotations

import csv
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from mcp import MCPError
from mcp.client import Client
from mcp_types import TextResourceContents

from gateway_metrics_mcp.auth.tokens import make_token

Serve = Callable[..., AbstractAsyncContextManager[Any]]
Way = tuple[str, str]

ROWS: Final = "gateway-metrics://rows/"
WEEK: Final = "'startTs':'2025-03-01','endTs':'2025-03-08')"
BY_MODEL: Final = f"{ROWS}('groupBy':!'modelName';,{WEEK}"
BY_DAY: Final = f"{ROWS}('groupBy':!'modelName';,'interval':'1+day',{WEEK}"
READERS: Final[dict[str, tuple[dict[str, Any], set[str]]]] = {
    "ada": ({"subject": "ada@example.com"}, {"ada"}),
    "search": ({"subject": "nobody", "teams": ["search"]}, {"ada", "bob"}),
    "none": ({"subject": "nobody"}, set()),
    "admin": (
        {"subject": "root@example.com", "is_tenant_admin": True},
        {"ada", "bob", "eve", "twin", "bot"},
    ),
}


async def read(client: Client, uri: str) -> str:
    (content,) = (await client.read_resource(uri)).contents
    assert isinstance(content, TextResourceContents)
    return content.text


def owners_in(text: str) -> set[str]:
    head, *rows = csv.reader(text.splitlines())
    return {row[head.index("modelName")].removeprefix("model-") for row in rows}


@pytest.mark.parametrize("uri", [BY_MODEL, BY_DAY])
async def test_each_reader_gets_the_rows_that_they_may_see(
    owned: Path, tmp_path: Path, serve_callers: Serve, way: Way, uri: str
) -> None:
    usual: dict[str, Any] = {
        "subject_type": "user",
        "teams": [],
        "is_tenant_admin": False,
        "expires": None,
    }
    made = {name: make_token(**{**usual, **rights}) for name, (rights, _) in READERS.items()}
    file = tmp_path / "tokens.toml"
    file.write_text("\n".join(entry.to_toml() for _, entry in made.values()), "utf-8")
    seen: dict[str, set[str]] = {}

    async with serve_callers(*way, backend=str(owned), tokens=file) as served:

        async def ask_as(name: str) -> None:
            async with served.connect(authorization=f"Bearer {made[name][0]}") as client:
                seen[name] = owners_in(await read(client, uri))

        async with anyio.create_task_group() as group:
            for name in READERS:
                group.start_soon(ask_as, name)

    assert seen == {name: owners for name, (_, owners) in READERS.items()}


async def test_the_gateway_is_asked_with_the_readers_token(
    gateway: Any, gateway_url: str, serve_callers: Serve, way: Way
) -> None:
    gateway.totals = {"tok-ada": 11, "tok-bob": 22}
    uri = f"{ROWS}({WEEK}"

    async with (
        serve_callers(*way, backend=gateway_url) as served,
        served.connect(x_tfy_api_key="tok-ada") as ada,
        served.connect(x_tfy_api_key="tok-bob") as bob,
    ):
        texts = [await read(client, uri) for client in (ada, bob)]

    assert texts == ["total\n11\n", "total\n22\n"]
    assert gateway.asked_with == ["tok-ada", "tok-bob"]


async def test_what_the_gateway_refuses_is_no_row(
    gateway: Any, gateway_url: str, serve_callers: Serve, way: Way
) -> None:
    gateway.totals = {}

    async with (
        serve_callers(*way, backend=gateway_url) as served,
        served.connect(x_tfy_api_key="tok-of-nobody") as client,
    ):
        with pytest.raises(MCPError) as caught:
            await read(client, BY_MODEL)

    assert caught.value.error.code == -32603
    assert caught.value.error.message.startswith("Error (unauthorized): ")
    assert "tok-of-nobody" not in caught.value.error.message
