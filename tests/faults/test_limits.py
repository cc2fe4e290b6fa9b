"""How much is asked at once: of the gateway in all, and for one caller."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest
from tests.faults.conftest import Connect
from tests.faults.faulty_gateway import Gateway, http, say
from tests.faults.test_merging import Gate, guarded, question, settle

from gateway_metrics_mcp.query.model import LOCAL, Caller

ANA: Final = Caller("ana@example.com", token="ana")  # noqa: S106 - planted
BEN: Final = Caller("ben@example.com", token="ben")  # noqa: S106 - planted


async def test_no_more_than_the_limit_are_in_flight_and_the_rest_follow(gateway: Gateway) -> None:
    gateway.usual = gate = Gate()
    async with guarded(gateway, upstream_calls=3, caller_calls=9) as backend:
        asking = [asyncio.create_task(backend.query(question(str(n)), LOCAL)) for n in range(7)]
        await gateway.until(lambda gateway: len(gateway.requests) == 3)
        await settle()
        assert len(gateway.requests) == 3
        gate.opened.set()
        results = await asyncio.gather(*asking)

    assert [result.column("total") for result in results] == [(7,)] * 7
    assert (len(gateway.requests), gateway.connections) == (7, 3)


async def test_one_caller_leaves_places_to_the_others(gateway: Gateway) -> None:
    gateway.usual = gate = Gate()
    async with guarded(gateway, upstream_calls=3, caller_calls=2) as backend:
        asking = [asyncio.create_task(backend.query(question(str(n)), ANA)) for n in range(5)]
        await gateway.until(lambda gateway: len(gateway.requests) == 2)
        await settle()
        asking.append(asyncio.create_task(backend.query(question("0"), BEN)))
        await gateway.until(lambda gateway: len(gateway.requests) == 3)
        assert b"Bearer ben" in gateway.requests[2]
        gate.opened.set()
        await asyncio.gather(*asking)

    assert len(gateway.requests) == 6


async def test_a_free_place_goes_to_who_holds_the_fewest(gateway: Gateway) -> None:
    first, rest = Gate(), Gate()
    gateway.script = [first]
    gateway.usual = rest
    async with guarded(gateway, upstream_calls=2, caller_calls=5) as backend:
        asking = [asyncio.create_task(backend.query(question(str(n)), ANA)) for n in range(5)]
        await gateway.until(lambda gateway: len(gateway.requests) == 2)
        asking.append(asyncio.create_task(backend.query(question("0"), BEN)))
        await settle()
        first.opened.set()
        await gateway.until(lambda gateway: len(gateway.requests) == 3)
        assert b"Bearer ben" in gateway.requests[2]
        rest.opened.set()
        await asyncio.gather(*asking)

    assert len(gateway.requests) == 6


async def test_who_waits_too_long_is_told_so_and_the_next_question_is_answered(
    gateway: Gateway, connect: Connect
) -> None:
    gateway.usual = Gate()
    async with connect(gateway.url, caller_calls=1, patience=0.05) as ask:
        first = asyncio.create_task(ask())
        await gateway.until(lambda gateway: len(gateway.requests) == 1)
        text, is_error = await ask(startTs="2026-07-01", endTs="2026-07-02")
        first.cancel()
        await gateway.until(lambda gateway: not gateway.is_open)
        gateway.usual = say(http())
        answered = await ask()

    assert (text, is_error) == (
        "Error (busy): too many queries at once: ask again in a few seconds",
        True,
    )
    assert "total: 7" in answered[0]
    assert len(gateway.requests) == 2


@pytest.mark.parametrize("limits", [{"caller_calls": 1}, {"upstream_calls": 1}], ids=repr)
async def test_who_gives_up_waiting_takes_no_place(
    gateway: Gateway, limits: dict[str, int]
) -> None:
    gateway.usual = gate = Gate()
    async with guarded(gateway, **limits) as backend:
        asking = [asyncio.create_task(backend.query(question(str(n)), ANA)) for n in range(3)]
        await gateway.until(lambda gateway: len(gateway.requests) == 1)
        await settle()
        asking[1].cancel()
        await settle()
        gate.opened.set()
        await asking[0]
        await asking[2]
        await backend.query(question("again"), ANA)

    assert len(gateway.requests) == 3


async def test_a_place_comes_free_while_a_refused_call_waits_to_be_sent_again(
    gateway: Gateway,
) -> None:
    gateway.script = [say(http(b"", "429 Too Many Requests", Retry_After="2"))]
    async with guarded(gateway, upstream_calls=1, patience=0.1) as backend:
        waiting = asyncio.create_task(backend.query(question("1"), ANA))
        await gateway.until(lambda gateway: len(gateway.requests) == 1)
        await settle()
        assert (await backend.query(question("2"), BEN)).column("total") == (7,)
        waiting.cancel()


async def test_who_gives_up_waiting_for_the_others_gives_back_the_own_place(
    gateway: Gateway,
) -> None:
    stays, ends = Gate(), Gate()
    gateway.script = [stays, ends]
    async with guarded(gateway, upstream_calls=2, caller_calls=3, patience=1) as backend:
        own = asyncio.create_task(backend.query(question(), ANA))
        await gateway.until(lambda gateway: len(gateway.requests) == 1)
        other = asyncio.create_task(backend.query(question(), BEN))
        await gateway.until(lambda gateway: len(gateway.requests) == 2)
        waiting = [asyncio.create_task(backend.query(question(str(n)), ANA)) for n in range(2)]
        await settle()
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        ends.opened.set()
        await other
        assert (await backend.query(question("again"), ANA)).column("total") == (7,)
        stays.opened.set()
        await own
