"""Rows as CSV: hidden addresses stay hidden, and hostile names stay names."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from mcp import MCPError
from mcp.client import Client
from mcp_types import TextContent, TextResourceContents

from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.query.vocabulary import DATASOURCES
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.server.masking import EmailMask
from gateway_metrics_mcp.settings import Settings

NOW: Final = datetime(2026, 7, 15, 9, 30, tzinfo=UTC)
WEEK: Final = {"startTs": "2026-07-08", "endTs": "2026-07-15"}
ROWS: Final = "gateway-metrics://rows/"
ADA: Final = "ada@example.com"
NAMES: Final = (ADA, "bob@example.com", "=carol@example.com", "gpt-4o", "claude@20240620", "d;=e")
FORMULA: Final = re.compile("\\s*[=+@\uff1d\uff0b\uff20-]")


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("key") / "hidden.key"
    file.write_text("0123456789abcdef0123456789abcdef\n", "utf-8")
    return file


@pytest.fixture(scope="module")
def hidden(key: Path) -> str:
    """What stands for one address."""
    return EmailMask(key.read_bytes().strip()).hide(ADA)


@pytest.fixture(scope="module")
def mail(tmp_path_factory: pytest.TempPathFactory, plant: Callable[..., None]) -> Path:
    directory = tmp_path_factory.mktemp("mail")
    plant(directory, NAMES)
    return directory


@asynccontextmanager
async def connect(directory: Path, mode: str = "auto", **settings: Any) -> AsyncIterator[Client]:
    engine = DuckDBBackend(directory, load_catalog())
    server = build_server(Settings(**settings), backend=engine, clock=lambda: NOW)
    async with aclosing(engine), Client(server, mode=mode, cache=None) as client:
        yield client


async def read(client: Client, uri: str) -> str:
    (content,) = (await client.read_resource(uri)).contents
    assert isinstance(content, TextResourceContents)
    return content.text


async def ask(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, {**WEEK, **arguments})
    content = result.content[0]
    assert isinstance(content, TextContent)
    assert not result.is_error, content.text
    return content.text


@pytest.mark.parametrize("tool", ["query_distribution", "query_timeseries"])
@pytest.mark.parametrize("field", ["userEmail", "modelName", "team", "metadata.env"])
async def test_rows_hide_the_addresses_that_the_answer_hides(
    mail: Path, key: Path, hidden: str, tool: str, field: str
) -> None:
    async with connect(mail, hide_emails=True, hide_emails_key=key) as client:
        answer = await ask(client, tool, groupBy=[field], limit=1)
        link = answer.rsplit(" resource ", 1)[1]
        text = await read(client, link)
    async with connect(mail) as client:
        plain = await read(client, link)

    assert ADA in plain
    assert "@example" not in text
    assert text.count("\n") == plain.count("\n")
    assert hidden in text


async def test_a_uri_holds_the_hash_and_finds_its_rows(mail: Path, key: Path, hidden: str) -> None:
    named = {"fieldName": "metadata.env", "operator": "IN", "value": [ADA, "gpt-4o"]}
    question: dict[str, Any] = {"groupBy": ["metadata.env"], "limit": 1, "filters": [named]}
    async with connect(mail, hide_emails=True, hide_emails_key=key) as client:
        answer = await ask(client, "query_distribution", **question)
        link = answer.rsplit(" resource ", 1)[1]
        hashed = await read(client, link)
        written = await read(client, link.replace(hidden, ADA))

    assert ADA not in answer
    assert f"IN,{hidden},gpt-4o&" in link
    names = {line.partition(",")[0] for line in hashed.splitlines()[1:]}
    assert names == {hidden, "gpt-4o"}
    assert written == hashed


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize(
    "address", [ADA, ADA.replace("@", "%40"), "".join(f"%{ord(sign):02x}" for sign in ADA)]
)
@pytest.mark.parametrize("form", ["query string", "earlier"])
async def test_the_uri_that_comes_back_has_the_hash_and_names_the_same_rows(
    mail: Path, key: Path, hidden: str, mode: str, address: str, form: str
) -> None:
    named = "gateway-metrics://rows?groupBy=team&filters=team,ARRAY_HAS_ANY,{}"
    uri = f"{named.format(address)}&startTs=2026-07-08&endTs=2026-07-15"
    if form == "earlier":
        filters = f"('fieldName':'team','operator':'ARRAY_HAS_ANY','value':!'{address}';)"
        week = "'startTs':'2026-07-08','endTs':'2026-07-15'"
        uri = f"{ROWS}('groupBy':!'team';,'filters':!{filters};,{week})"
    async with connect(mail, mode=mode, hide_emails=True, hide_emails_key=key) as client:
        (content,) = (await client.read_resource(uri)).contents
        again = await read(client, str(content.uri))
    async with connect(mail) as client:
        (plain,) = (await client.read_resource(uri)).contents

    assert isinstance(content, TextResourceContents)
    assert str(content.uri) == f"{named.format(hidden)}&startTs=2026-07-08&endTs=2026-07-15"
    assert str(plain.uri) == uri
    assert hidden in content.text
    assert again == content.text


async def test_an_address_in_a_wrong_uri_is_hidden_in_what_is_said(mail: Path, key: Path) -> None:
    async with connect(mail, hide_emails=True, hide_emails_key=key) as client:
        for uri in (
            f"gateway-metrics://catalog/{ADA}",
            "gateway-metrics://catalog/ada%40example.com",
            f"gateway-metrics://{ADA}",
            f"{ROWS}('groupBy':!'{ADA}';,'startTs':'2026-07-08','endTs':'2026-07-15')",
            f"{ROWS}('startTs':'{ADA}','endTs':'2026-07-15')",
            f"gateway-metrics://rows?groupBy={ADA}&startTs=2026-07-08&endTs=2026-07-15",
            f"gateway-metrics://rows?filters={ADA}&startTs=2026-07-08&endTs=2026-07-15",
        ):
            with pytest.raises(MCPError) as caught:
                await client.read_resource(uri)
            for said in (caught.value.error.message, str(caught.value.error.data)):
                assert re.search("ada(@|%40)", said) is None
                assert "user-" in said


@pytest.mark.parametrize("datasource", DATASOURCES)
async def test_hostile_names_make_neither_rows_nor_formulas(
    hostile: Path, corpus: tuple[str, ...], datasource: str
) -> None:
    async with connect(hostile) as client:
        text = await read(
            client,
            f"{ROWS}('datasource':'{datasource}','groupBy':!'team','metadata.env';,"
            "'startTs':'2026-07-01','endTs':'2026-07-15')",
        )

    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert len(rows) == text.count("\n") > len(corpus)
    assert {len(row) for row in rows} == {len(rows[0])}
    assert {c for c in text if c != "\n" and unicodedata.category(c)[0] == "C"} == set()
    for team, name, *values in rows[1:]:
        assert FORMULA.match(team) is None
        assert FORMULA.match(name) is None
        assert all(value.isdecimal() for value in values)
