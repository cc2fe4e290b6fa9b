"""The same question of one caller is asked once at a time, and never for another caller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.faults.conftest import NOW, TOKEN, Ask, Connect
from tests.faults.faulty_gateway import Gateway, http, say, start_gateway

from gateway_metrics_mcp.backends.factory import wrap_backend
from gateway_metrics_mcp.backends.gateway.backend import GatewayBackend
from gateway_metrics_mcp.backends.middleware import BackendStack
from gateway_metrics_mcp.errors import GatewayMetricsError, UnavailableError
from gateway_metrics_mcp.http.body import read_query
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.query.model import LOCAL, Caller, Filter, Query
from gateway_metrics_mcp.query.result import Result
from gateway_metrics_mcp.settings import Settings

MODELS: Final = {"filters": [{"fieldName": "modelName", "operator": "EQUAL", "value": ["a"]}]}


@dataclass
class Gate:
    """Holds each answer back until it is opened."""

    opened: asyncio.Event = field(default_factory=asyncio.Event)
    answer: bytes = http()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gone = asyncio.ensure_future(reader.read(1))
        opened = asyncio.ensure_future(self.opened.wait())
        try:
            await asyncio.wait((gone, opened), return_when=asyncio.FIRST_COMPLETED)
            if not opened.done():
                raise ConnectionResetError
        finally:
            gone.cancel()
            opened.cancel()
            await asyncio.gather(gone, opened, return_exceptions=True)
        writer.write(self.answer)


def question(value: object = "gpt-4o", end: str = "2026-07-02T00:00:00Z") -> Query:
    body = {
        "startTs": "2026-07-01T00:00:00Z",
        "endTs": end,
        "datasource": "modelMetrics",
        "type": "distribution",
        "filters": [{"fieldName": "metadata.tier", "operator": "EQUAL", "value": value}],
    }
    return read_query(body, load_catalog())


@asynccontextmanager
async def guarded(gateway: Gateway, **changes: Any) -> AsyncIterator[BackendStack]:
    given = Settings(backend=gateway.url, cache_bytes=changes.pop("cache_bytes", 0), **changes)
    backend = wrap_backend(GatewayBackend(gateway.url, TOKEN, load_catalog()), given, lambda: NOW)
    try:
        yield backend
    finally:
        await backend.aclose()


async def settle() -> None:
    """Let every task that can run get to where it waits."""
    await anyio.wait_all_tasks_blocked()


async def test_questions_alike_are_sent_once_and_all_are_answered(
    gateway: Gateway, connect: Connect
) -> None:
    gateway.usual = gate = Gate()
    async with connect(gateway.url) as ask:
        asking = [asyncio.create_task(ask()) for _ in range(5)]
        other = asyncio.create_task(ask(**MODELS))
        await gateway.until(lambda gateway: len(gateway.requests) == 2)
        await settle()
        gate.opened.set()
        answers = await asyncio.gather(*asking)
        await other

    assert len(gateway.requests) == 2
    assert len({text for text, _ in answers}) == 1
    assert "total: 7" in answers[0][0]


async def test_a_later_question_is_sent_again_where_nothing_is_kept(
    gateway: Gateway, connect: Connect
) -> None:
    async with connect(gateway.url, cache_bytes=0) as ask:
        await ask()
        await ask()

    assert len(gateway.requests) == 2


@pytest.mark.parametrize("first_goes", [True, False])
async def test_one_who_gives_up_leaves_the_call_to_the_others_and_the_last_closes_it(
    gateway: Gateway,
    first_goes: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    gateway.usual = gate = Gate()
    async with guarded(gateway) as backend:
        asking = [asyncio.create_task(backend.query(question(), LOCAL)) for _ in range(3)]
        await gateway.until(lambda gateway: len(gateway.requests) == 1)
        await settle()
        asking.pop(0 if first_goes else 1).cancel()
        await settle()
        assert gateway.open_connections == 1
        asking.pop(0).cancel()
        asking.pop(0).cancel()
        await gateway.until(lambda gateway: not gateway.is_open)
        await settle()
        gate.opened.set()
        # Who asks after the last has gone is not given to the call that is ending.
        assert (await backend.query(question(), LOCAL)).column("total") == (7,)

    assert len(gateway.requests) == 2


async def test_those_who_stay_are_answered(gateway: Gateway) -> None:
    gateway.usual = gate = Gate()
    async with guarded(gateway) as backend:
        first = asyncio.create_task(backend.query(question(), LOCAL))
        await gateway.until(lambda gateway: len(gateway.requests) == 1)
        second = asyncio.create_task(backend.query(question(), LOCAL))
        await settle()
        first.cancel()
        await settle()
        gate.opened.set()
        result = await second

    assert first.cancelled()
    assert (result.column("total"), result.age_s, len(gateway.requests)) == ((7,), None, 1)


async def test_an_error_reaches_all_who_wait_each_with_one_of_their_own(gateway: Gateway) -> None:
    gateway.usual = gate = Gate(answer=http(b"", "429 Too Many Requests", Retry_After="300"))
    async with guarded(gateway) as backend:
        asking = [asyncio.create_task(backend.query(question(), LOCAL)) for _ in range(3)]
        await gateway.until(lambda gateway: len(gateway.requests) == 1)
        await settle()
        gate.opened.set()
        errors = await asyncio.gather(*asking, return_exceptions=True)

    assert {(type(error).__name__, str(error)) for error in errors} == {
        (
            "RateLimitedError",
            "the gateway asks for fewer requests (429): ask again after 300 seconds",
        )
    }
    assert len({id(error) for error in errors}) == 3
    assert [error.wait_s for error in errors if isinstance(error, GatewayMetricsError)] == [300] * 3


async def test_who_waits_while_the_backend_closes_is_told_so(gateway: Gateway) -> None:
    gateway.usual = Gate()
    async with guarded(gateway) as backend:
        asking = [asyncio.create_task(backend.query(question(), LOCAL)) for _ in range(2)]
        await gateway.until(lambda gateway: len(gateway.requests) == 1)
        await backend.aclose()
        errors = await asyncio.gather(*asking, return_exceptions=True)
        await gateway.until(lambda gateway: not gateway.is_open)

    assert {type(error) for error in errors} == {UnavailableError}
    assert {str(error) for error in errors} == {"this server is stopping: ask again in a minute"}


async def test_a_gateway_alone_gives_up_its_requests_when_it_closes(gateway: Gateway) -> None:
    gateway.usual = Gate()
    backend = GatewayBackend(gateway.url, TOKEN, load_catalog())
    asking = asyncio.create_task(backend.query(question(), LOCAL))
    await gateway.until(lambda gateway: len(gateway.requests) == 1)
    await backend.aclose()
    with pytest.raises(UnavailableError, match="stopping"):
        await asking
    await gateway.until(lambda gateway: not gateway.is_open)


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_client_that_gives_up_closes_the_call(
    gateway: Gateway, connect: Connect, mode: str
) -> None:
    gateway.usual = Gate()
    async with connect(gateway.url, mode=mode) as ask:
        async with anyio.create_task_group() as group:
            group.start_soon(_give_up, ask)
            await gateway.until(lambda gateway: len(gateway.requests) == 1)
            group.cancel_scope.cancel()
        await gateway.until(lambda gateway: not gateway.is_open)
        gateway.usual = say(http())
        assert "total: 7" in (await ask())[0]


async def _give_up(ask: Ask) -> None:
    await ask()


async def test_one_and_true_are_different_questions(gateway: Gateway) -> None:
    gateway.usual = gate = Gate()
    async with guarded(gateway, cache_bytes=1_000_000) as backend:
        alike = [
            question().model_copy(
                update={"filters": (Filter(field_name="x", operator="EQUAL", value=value),)}
            )
            for value in (1, True, 1.0, "1")
        ]
        asking = [asyncio.create_task(backend.query(query, LOCAL)) for query in alike]
        await gateway.until(lambda gateway: len(gateway.requests) == 4)
        gate.opened.set()
        await asyncio.gather(*asking)


Step = tuple[int, int, bool]
"""Who asks, what they ask, and whether they give up before the answer."""


def rows_of(token: str) -> Callable[..., Awaitable[None]]:
    return say(http(b'{"data":{"dataPoints":[{"total":%d}]}}' % int(token)))


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.booleans()), max_size=25))
def test_no_caller_is_given_another_ones_rows(steps: list[Step]) -> None:
    asyncio.run(_ask_at_once(steps))


async def _ask_at_once(steps: list[Step]) -> None:
    """Callers ask the same questions at once; the gateway's rows say whose token it was sent."""
    async with start_gateway() as gateway:

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = gateway.request.decode().lower()
            await rows_of(head.partition("bearer ")[2].partition("\r\n")[0])(reader, writer)

        gateway.usual = answer
        async with guarded(gateway, cache_bytes=1_000_000, caller_calls=2) as backend:

            async def ask(who: int, what: int) -> Result:
                caller = Caller("same@example.com", token=str(who))
                return await backend.query(question(str(what)), caller)

            asking = [asyncio.create_task(ask(who, what)) for who, what, _ in steps]
            await settle()
            for task, (_, _, gives_up) in zip(asking, steps, strict=True):
                if gives_up:
                    task.cancel()
            results = await asyncio.gather(*asking, return_exceptions=True)
            assert [
                (result.column("total"), who)
                for result, (who, _, _) in zip(results, steps, strict=True)
                if isinstance(result, Result) and result.column("total") != (who,)
            ] == []
            failures = [result for result in results if not isinstance(result, Result)]
            assert {type(failure) for failure in failures} <= {asyncio.CancelledError}
            # And from the cache, by now.
            for who, what, _ in steps:
                assert (await ask(who, what)).column("total") == (who,)
