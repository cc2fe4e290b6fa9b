"""The prompts we offer: each renders, and each call that it names is answered."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final
from unicodedata import category

import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import given
from hypothesis import strategies as st
from mcp import MCPError
from mcp.client import Client
from mcp_types import INVALID_PARAMS, TextContent
from starlette.applications import Starlette

from gateway_metrics_mcp.http.transports import build_http_app
from gateway_metrics_mcp.query.catalog import SHARE, Catalog
from gateway_metrics_mcp.query.vocabulary import AGGREGATION_TYPES, DATASOURCES
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.server.tools import TOOLS
from gateway_metrics_mcp.settings import Settings

Connect = Callable[..., AbstractAsyncContextManager[Client]]
Listen = Callable[[Starlette], AbstractAsyncContextManager[int]]
Calls = list[tuple[str, dict[str, Any]]]

NAMES: Final = (
    "budget-check",
    "cache-savings",
    "chargeback-by-team",
    "error-triage",
    "latency-investigation",
    "mcp-tool-usage-review",
    "weekly-cost-report",
    "why-did-spend-change",
)
GIVEN: Final = {
    "audience": "chat",
    "budget": "2000",
    "compare_to": "1 week",
    "metadata_key": "environment",
    "metadata_value": "production",
    "model": "openai/gpt-4o",
    "range": "2026-07-06..2026-07-12",
    "server": "github",
    "team": "growth",
    "timezone": "Europe/Berlin",
}
NEEDED: Final = {"budget": "2000"}
BLOCK: Final = re.compile(r"^```json (\S+)\n(.*)\n```$", re.MULTILINE)
MOST_BYTES: Final = 3_500


async def render(client: Client, name: str, arguments: dict[str, str]) -> str:
    result = await client.get_prompt(name, arguments)
    (message,) = result.messages
    assert message.role == "user"
    assert isinstance(message.content, TextContent)
    return message.content.text


def calls_of(text: str) -> Calls:
    return [(tool, json.loads(arguments)) for tool, arguments in BLOCK.findall(text)]


async def arguments_of(client: Client, name: str) -> list[str]:
    prompts = {prompt.name: prompt for prompt in (await client.list_prompts()).prompts}
    return [argument.name for argument in prompts[name].arguments or []]


def needed(names: list[str]) -> dict[str, str]:
    return {name: value for name, value in NEEDED.items() if name in names}


async def test_the_eight_prompts_are_listed_for_people(connect: Connect, mode: str) -> None:
    async with connect(mode) as client:
        prompts = (await client.list_prompts()).prompts

    assert tuple(prompt.name for prompt in prompts) == NAMES
    for prompt in prompts:
        assert prompt.title
        assert prompt.description
        arguments = prompt.arguments or []
        assert {"range", "timezone", "audience"} <= {argument.name for argument in arguments}
        assert all(argument.description for argument in arguments)
        assert {a.name for a in arguments if a.required} <= NEEDED.keys()


@pytest.mark.parametrize("name", NAMES)
async def test_every_call_that_a_prompt_names_is_answered(connect: Connect, name: str) -> None:
    async with connect() as client:
        names = await arguments_of(client, name)
        everything = {argument: GIVEN[argument] for argument in names}
        for arguments in (needed(names), everything):
            text = await render(client, name, arguments)
            calls = calls_of(text)
            assert len(calls) >= 4
            steps = [int(step) for step in re.findall(r"^(\d+)\. ", text, re.MULTILINE)]
            assert steps == [*range(1, len(steps) + 1)]
            assert text.count("```") == 2 * len(calls)
            for tool, call in calls:
                answer = await client.call_tool(tool, call)
                (block,) = answer.content
                assert isinstance(block, TextContent)
                assert not answer.is_error, f"{tool} {call}: {block.text}"
                assert block.text.startswith("# ")
                if arguments == needed(names):
                    assert "matched nothing" not in block.text


@pytest.mark.parametrize("name", NAMES)
async def test_each_argument_alone_leaves_calls_that_can_be_asked(
    connect: Connect, name: str
) -> None:
    async with connect() as client:
        names = await arguments_of(client, name)
        for argument in names:
            if argument == "metadata_value":
                continue  # needs its key
            given = {**needed(names), argument: GIVEN[argument]}
            text = await render(client, name, given)
            assert "{{" not in text
            if argument != "audience":
                assert GIVEN[argument] in text
            for tool, call in calls_of(text):
                plan = await client.call_tool(tool, {**call, "format": "explain"})
                assert not plan.is_error, f"{tool} {call}: {plan.content}"


async def test_the_longest_key_makes_calls_that_can_be_asked(connect: Connect) -> None:
    async with connect() as client:
        text = await render(client, "chargeback-by-team", {"metadata_key": "x" * 247})
        calls = [call for call in calls_of(text) if "metadata.x" in json.dumps(call)]
        assert calls
        for tool, call in calls:
            plan = await client.call_tool(tool, {**call, "format": "explain"})
            assert not plan.is_error, f"{tool} {call}: {plan.content}"


@pytest.mark.parametrize("name", NAMES)
async def test_a_prompt_names_nothing_that_does_not_exist(
    connect: Connect, catalog: Catalog, name: str
) -> None:
    known: set[str] = {*DATASOURCES, *AGGREGATION_TYPES, SHARE}
    known |= {argument for tool in TOOLS.values() for argument in tool.arguments.names()}
    for datasource, entry in catalog.datasources.items():
        known |= {*entry.columns, *entry.group_by, *entry.filters}
        known |= {*catalog.measures[datasource]}
        for column in entry.columns:
            known |= {f"{t}{column[0].upper()}{column[1:]}" for t in AGGREGATION_TYPES}
    async with connect() as client:
        names = await arguments_of(client, name)
        everything = {argument: GIVEN[argument] for argument in names}
        text = await render(client, name, everything)

    words = set(re.findall(r"\b[a-z]+[0-9]*(?:[A-Z][A-Za-z]*)+\b", text)) - {"fieldName"}
    assert words - known == set()
    assert set(re.findall(r"\b(?:query|list)_\w+", text)) <= set(TOOLS)
    assert "datasource" in text or name not in ("cache-savings", "mcp-tool-usage-review")


@pytest.mark.parametrize("name", NAMES)
async def test_a_prompt_is_short_and_has_both_lengths(connect: Connect, name: str) -> None:
    async with connect() as client:
        names = await arguments_of(client, name)
        chat = await render(client, name, {**needed(names), "audience": "chat"})
        full = await render(client, name, {**needed(names), "audience": "full"})
        usual = await render(client, name, needed(names))
        longest = await render(client, name, {argument: GIVEN[argument] for argument in names})

    assert "for a chat" in chat
    assert "for a chat" not in full
    assert usual == full
    assert len(chat) < len(full)
    assert len(longest.encode()) <= MOST_BYTES


async def test_what_is_asked_stands_in_text_and_calls(connect: Connect, mode: str) -> None:
    asked = {"team": 'a "b"\\ {{range}}', "range": "last month", "timezone": "Asia/Kolkata"}
    async with connect(mode) as client:
        text = await render(client, "weekly-cost-report", asked)

    assert 'Only the team "a \\"b\\"\\\\ {{range}}".' in text
    for _, call in calls_of(text):
        assert call["filters"][0]["value"] == [asked["team"]]
        assert (call["startTs"], call["timezone"]) == ("last month", "Asia/Kolkata")


async def test_an_empty_argument_is_not_given(connect: Connect, mode: str) -> None:
    async with connect(mode) as client:
        plain = await render(client, "weekly-cost-report", {})
        empty = await render(client, "weekly-cost-report", {"team": "", "range": "  "})

    assert empty == plain


REFUSED: Final[tuple[tuple[str, str, dict[str, str], tuple[str, ...]], ...]] = (
    ("unknown prompt", "weekly-cost", {}, ('no prompt "weekly-cost"', "mean weekly-cost-report?")),
    ("missing", "budget-check", {}, ("budget: missing. the budget in USD",)),
    ("misspelt", "budget-check", {"buget": "5"}, ("budget: missing", "Did you mean budget?")),
    ("no number", "budget-check", {"budget": "a lot"}, ('budget: "a lot" is not a number',)),
    ("infinite", "budget-check", {"budget": "inf"}, ('budget: "inf" is not a number',)),
    (
        "several",
        "why-did-spend-change",
        {"range": "lst week", "timezone": "CET", "audience": "chatt", "metadata_value": "x"},
        (
            "range: ",
            'timezone: "CET" is an abbreviation',
            'audience: "chatt" is unknown. Did you mean chat?',
            "metadata_value: needs metadata_key as well",
        ),
    ),
    ("not earlier", "why-did-spend-change", {"compare_to": "next week"}, ("compare_to: ",)),
    ("control", "weekly-cost-report", {"team": "a\nb"}, ("team: ", "contains a control character")),
    ("line end", "weekly-cost-report", {"team": "a\u2028b"}, ("contains a control character",)),
    ("long", "weekly-cost-report", {"team": "x" * 257}, ("team: more than 256 characters",)),
    (
        "long key",
        "chargeback-by-team",
        {"metadata_key": "x" * 248},
        ("metadata_key: more than 247 characters",),
    ),
)


@pytest.mark.parametrize(
    ("name", "arguments", "says"), [case[1:] for case in REFUSED], ids=[c[0] for c in REFUSED]
)
async def test_what_is_wrong_is_said_at_once(
    connect: Connect, mode: str, name: str, arguments: dict[str, str], says: tuple[str, ...]
) -> None:
    async with connect(mode) as client:
        with pytest.raises(MCPError) as caught:
            await client.get_prompt(name, arguments)

    assert caught.value.code == INVALID_PARAMS
    assert [part for part in says if part not in caught.value.message] == []


@given(team=st.text(min_size=1, max_size=80))
def test_no_text_breaks_out_of_its_place(team: str) -> None:
    server = build_server(Settings())
    with start_blocking_portal() as portal:

        def ask(team: str) -> str:
            result = portal.call(server.get_prompt, "weekly-cost-report", {"team": team})
            (message,) = result.messages
            assert isinstance(message.content, TextContent)
            return message.content.text

        plain = ask("growth")
        if any(category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in team) and team.strip():
            with pytest.raises(MCPError, match="contains a control character"):
                ask(team)
            return
        text = ask(team)
    assert all(letter.isprintable() or letter == "\n" for letter in text)
    if team.strip():
        assert len(text.splitlines()) == len(plain.splitlines())
        assert [c["filters"][0]["value"] for _, c in calls_of(text)] == 6 * [[team.strip()]]


async def test_a_name_is_no_markup_in_a_prompt_and_reads_back(connect: Connect) -> None:
    team = "![x](https://example.com/x.png) [y](https://example.com) <img src=//example.com>"
    async with connect() as client:
        text = await render(client, "weekly-cost-report", {"team": team})

    assert [mark for mark in ("![", "](", "<img") if mark in text] == []
    assert {c["filters"][0]["value"][0] for _, c in calls_of(text)} == {team}


async def test_addresses_are_hidden_in_prompts_and_in_what_is_refused(connect: Connect) -> None:
    async with connect(hide_emails=True) as client:
        text = await render(client, "weekly-cost-report", {"team": "ada@example.com"})
        with pytest.raises(MCPError) as caught:
            await client.get_prompt("weekly-cost-report", {"range": "of ada@example.com"})

    assert "ada@" not in text
    assert re.search(r'Only the team "user-[0-9a-f]{10}"', text)
    assert "ada@" not in caught.value.message
    assert "user-" in caught.value.message


@pytest.mark.parametrize("era", ["legacy", "2026-07-28"])
async def test_prompts_are_there_over_http(listen: Listen, era: str) -> None:
    settings = Settings(backend="demo:", transport="http")
    app = build_http_app(build_server(settings), settings)
    async with listen(app) as port, Client(f"http://127.0.0.1:{port}/mcp", mode=era) as client:
        names = tuple(prompt.name for prompt in (await client.list_prompts()).prompts)
        text = await render(client, "cache-savings", {"team": "growth"})

    assert names == NAMES
    assert len(calls_of(text)) == 4
