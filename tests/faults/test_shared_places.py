"""Callers who share the server's token have places of their own, and one time limit for all."""

from __future__ import annotations

import asyncio
import functools
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from mcp.client import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from tests.faults.conftest import TOKEN, Connect
from tests.faults.faulty_gateway import Gateway
from tests.faults.test_merging import Gate
from tests.faults.test_shutdown import PATIENCE_S, WAYS, start_process

from gateway_metrics_mcp.auth.tokens import make_token

DAYS: Final = ("2026-07-01", "2026-07-02", "2026-07-03")


def question(day: str) -> dict[str, Any]:
    return {"startTs": day, "endTs": f"{day}T12:00"}


async def ask_alone(url: str, token: str, mode: str, day: str) -> bool:
    """Ask with a bearer token, on a connection of its own: whether it failed."""
    headers = {"authorization": f"Bearer {token}"}
    if url.endswith("/sse"):
        async with Client(sse_client(url, headers=headers), mode=mode) as client:
            return bool((await client.call_tool("query_distribution", question(day))).is_error)
    async with (
        httpx2.AsyncClient(headers=headers, timeout=PATIENCE_S) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        return bool((await client.call_tool("query_distribution", question(day))).is_error)


@pytest.mark.parametrize(("transport", "mode"), WAYS)
async def test_one_who_shares_a_token_leaves_places_to_the_others(
    gateway: Gateway, tmp_path: Path, transport: str, mode: str
) -> None:
    gateway.usual = gate = Gate()
    made = [make_token(f"{n}@x.y", "user", (), is_tenant_admin=False, expires=None) for n in "ab"]
    file = tmp_path / "callers.toml"
    file.write_text("\n".join(entry.to_toml() for _, entry in made))
    shared = ("--shared-token", "--auth-token-file", str(file), "--backend", gateway.url)
    limits = ("--transport", transport, "--upstream-calls", "3", "--caller-calls", "1")
    async with start_process(tmp_path, *shared, *limits) as (_, url):
        (ada, _), (bob, _) = made
        asking = [asyncio.create_task(ask_alone(url, ada, mode, day)) for day in DAYS[:2]]
        await gateway.until(lambda gateway: len(gateway.requests) == 1)
        asking.append(asyncio.create_task(ask_alone(url, bob, mode, DAYS[2])))
        await gateway.until(lambda gateway: len(gateway.requests) == 2)
        assert DAYS[2].encode() in gateway.requests[1]
        gate.opened.set()
        failed = await asyncio.gather(*asking)

    assert failed == [False] * 3
    assert [r for r in gateway.requests if f"Bearer {TOKEN}".encode() not in r] == []


async def test_who_asks_what_waits_in_anothers_queue_has_places_of_their_own(
    gateway: Gateway, tmp_path: Path
) -> None:
    gateway.usual = gate = Gate()
    made = [make_token(f"{n}@x.y", "user", (), is_tenant_admin=False, expires=None) for n in "ab"]
    file = tmp_path / "callers.toml"
    file.write_text("\n".join(entry.to_toml() for _, entry in made))
    shared = ("--shared-token", "--auth-token-file", str(file), "--backend", gateway.url)
    limits = ("--transport", "http", "--caller-calls", "1", "--patience", "600")
    async with start_process(tmp_path, *shared, *limits) as (_, url):
        (ada, _), (bob, _) = made
        ask = functools.partial(ask_alone, url)
        asking = [asyncio.create_task(ask(ada, "auto", day)) for day in (DAYS[0], DAYS[1])]
        await gateway.until(lambda gateway: len(gateway.requests) == 1)
        held = next(day for day in DAYS if day.encode() in gateway.requests[0])
        waiting = next(day for day in DAYS[:2] if day != held)
        asking += [asyncio.create_task(ask(bob, "auto", waiting)) for _ in range(2)]
        await gateway.until(lambda gateway: len(gateway.requests) == 2)
        assert waiting.encode() in gateway.requests[1]
        gate.opened.set()
        failed = await asyncio.gather(*asking)

    assert failed == [False] * 4
    assert len(gateway.requests) == 3  # one each, and one for the second of ada's


async def test_without_retries_waiting_for_a_place_is_part_of_the_time_limit(
    gateway: Gateway, connect: Connect
) -> None:
    gateway.usual = Gate()
    limits = {"caller_calls": 1, "patience": 600, "timeout": 0.3, "retries": 0}
    async with connect(gateway.url, **limits) as ask:
        answers = await asyncio.gather(*(ask(**question(f"2026-07-0{day}")) for day in range(1, 7)))

    assert [text.split(":")[0] for text, _ in answers] == ["Error (timeout)"] * 6
    assert len(gateway.requests) < 6  # who waits so long has no time left to ask
