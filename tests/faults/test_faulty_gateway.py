"""Each fault of a gateway is answered in time and clearly, leaks nothing, and passes."""

from __future__ import annotations

import asyncio
import gc
import gzip
import logging
import tracemalloc
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Final

import pytest
from hypothesis import settings
from tests.faults.conftest import Connect
from tests.faults.faulty_gateway import (
    GOOD,
    Behaviour,
    Gateway,
    free_port,
    http,
    say,
    start_gateway,
    stay_silent,
)

TIMEOUT_S: Final = 1.0
"""Enough for a question to arrive at the gateway on a busy machine."""
PATIENCE_S: Final = 60
ROUNDS: Final = 30 if settings().max_examples >= 500 else 8
MOST_GROWTH_BYTES: Final = 200_000
ROWS: Final = b'{"total":7},' * 8400
"""Of 100 kB."""
TIMES: Final = 500


async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(http()[: -len(GOOD)])
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.05)  # never the whole length within the time limit


async def pour(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    length = str(len(ROWS) * TIMES + 100)
    writer.write(http(b"", Content_Length=length) + b'{"data":{"dataPoints":[')
    for _ in range(TIMES):
        writer.write(ROWS)
        await writer.drain()


def sized(body: bytes) -> Behaviour:
    return say(http(body))


def refused(status: str, **headers: str) -> Behaviour:
    return say(http(b"", status, **headers))


PACKED: Final = gzip.compress(GOOD)
ERRORS: Final[dict[str, tuple[Behaviour, str, int]]] = {
    "slow headers": (stay_silent, "timeout", 1),
    "slow body": (drip, "timeout", 1),
    "no headers at all": (say(reset=True), "unavailable", 2),
    "reset in mid-body": (say(http()[:-5], reset=True), "unavailable", 2),
    "cut gzip": (say(http(PACKED[:-9], Content_Encoding="gzip")), "unreadable_response", 1),
    "no gzip": (say(http(GOOD, Content_Encoding="gzip")), "unreadable_response", 1),
    "HTML": (say(http(b"<html>", Content_Type="text/html")), "wrong_host", 1),
    "HTML as JSON": (sized(b"<!doctype html><p>sign in"), "wrong_host", 1),
    "a picture": (say(http(b"\x89PNG", Content_Type="image/png")), "unreadable_response", 1),
    "50 MB of rows": (pour, "response_too_large", 1),
    "deep nesting": (sized(b"[" * 100_000 + b"]" * 100_000), "unreadable_response", 1),
    "deep rows": (
        sized(b'{"data":{"dataPoints":[{"total":' + b"[" * 900 + b"]" * 900 + b"}]}}"),
        "unreadable_response",
        1,
    ),
    "no rows at all": (sized(b'{"data":null}'), "unreadable_response", 1),
    "400": (refused("400 Bad Request"), "refused_query", 1),
    "401": (refused("401 Unauthorized"), "unauthorized", 1),
    "403": (refused("403 Forbidden"), "forbidden", 1),
    "404": (refused("404 Not Found"), "wrong_host", 1),
    "408": (refused("408 Request Timeout"), "timeout", 1),
    "500": (refused("500 Internal Server Error"), "unavailable", 1),
    "502": (refused("502 Bad Gateway"), "unavailable", 2),
    "503": (refused("503 Service Unavailable"), "unavailable", 2),
    "504": (refused("504 Gateway Timeout"), "unavailable", 2),
    "429": (refused("429 Too Many Requests"), "rate_limited", 2),
    "429 for long": (refused("429 Too Many Requests", Retry_After="120"), "rate_limited", 1),
}
"""The behaviour, the error's code, and how often the question is sent with one retry."""

ODD: Final[dict[str, tuple[Behaviour, str]]] = {
    "NaN": (sized(b'{"data":{"dataPoints":[{"total":NaN}]}}'), "total: null"),
    "duplicate keys": (sized(b'{"data":{"dataPoints":[{"total":1,"total":7}]}}'), "total: 7"),
    "another content type": (say(http(Content_Type="text/plain")), "total: 7"),
    "a byte order mark": (sized(b"\xef\xbb\xbf" + GOOD), "unreadable_response"),
}


def count_tasks() -> int:
    return len(asyncio.all_tasks())


@pytest.mark.parametrize("name", ERRORS)
async def test_a_fault_is_told_in_time_and_the_next_question_is_answered(
    gateway: Gateway, connect: Connect, name: str
) -> None:
    behaviour, code, sent = ERRORS[name]
    # What is refused at once has the time that its retry takes.
    timeout_s = TIMEOUT_S if code == "timeout" else 5
    before = count_tasks()
    async with connect(gateway.url, timeout=timeout_s, retries=1, cache_bytes=0) as ask:
        gateway.script = [behaviour] * sent
        async with asyncio.timeout(PATIENCE_S):
            text, is_error = await ask()
        assert len(gateway.requests) == sent
        again = await ask()
        await gateway.until(lambda gateway: gateway.open_connections <= 1)
    await gateway.until(lambda gateway: not gateway.is_open)

    assert is_error
    assert text.startswith(f"Error ({code}): ")
    assert str(gateway.port) not in text
    assert "total: 7" in again[0]
    assert count_tasks() <= before


@pytest.mark.parametrize("name", ODD)
async def test_an_odd_answer_is_read_or_refused(
    gateway: Gateway, connect: Connect, name: str
) -> None:
    behaviour, expected = ODD[name]
    gateway.script = [behaviour]
    async with connect(gateway.url) as ask:
        text, _ = await ask()

    assert expected in text


async def test_a_body_of_fifty_megabytes_is_read_where_it_is_allowed(
    gateway: Gateway, connect: Connect
) -> None:
    rows = b'{"total":7,"filler":"' + b"x" * 50_000_000 + b'"}'
    gateway.script = [sized(b'{"data":{"dataPoints":[' + rows + b"]}}")]
    async with connect(gateway.url, max_response_bytes=60_000_000) as ask:
        text, _ = await ask()

    assert "total: 7" in text


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Again", "308 Moved"])
async def test_a_redirect_is_told_and_never_followed(
    gateway: Gateway, connect: Connect, status: str
) -> None:
    async with start_gateway() as elsewhere, connect(gateway.url) as ask:
        gateway.script = [refused(status, Location=f"{elsewhere.url}/")]
        text, is_error = await ask()
        assert is_error
        assert text.startswith("Error (wrong_host): ")
        assert str(elsewhere.port) not in text
        assert elsewhere.connections == 0
        assert "total: 7" in (await ask())[0]


@pytest.mark.parametrize(
    "name", ["slow headers", "reset in mid-body", "cut gzip", "50 MB of rows", "503", "401"]
)
async def test_many_faults_leave_no_memory_connection_or_task_behind(
    gateway: Gateway, connect: Connect, name: str
) -> None:
    behaviour, code, _ = ERRORS[name]
    timeout_s = 0.05 if code == "timeout" else 5
    settings = {"timeout": timeout_s, "retries": 0, "max_response_bytes": 100_000}

    async def suffer(rounds: int) -> tuple[int, int]:
        for _ in range(rounds):
            gateway.script = [behaviour]
            text, _ = await ask()
            assert text.startswith(f"Error ({code}): ")
        gc.collect()
        return tracemalloc.get_traced_memory()[0], count_tasks()

    async with connect(gateway.url, **settings) as ask:
        tracemalloc.start()
        try:
            first = await suffer(ROUNDS)
            second = await suffer(ROUNDS)
        finally:
            tracemalloc.stop()
        await gateway.until(lambda gateway: gateway.open_connections <= 1)

    assert second[0] - first[0] < MOST_GROWTH_BYTES
    # The gateway's own tasks, one a connection, come and go.
    assert second[1] <= first[1] + 1
    await gateway.until(lambda gateway: not gateway.is_open)


@pytest.mark.parametrize(
    "behaviour",
    [
        refused("429 Too Many Requests"),
        refused("429 Too Many Requests", Retry_After="soon"),
        refused("429 Too Many Requests", Retry_After="-5"),
        refused("503 Service Unavailable", Retry_After="Wed, 32 Foo 2026"),
        refused("502 Bad Gateway"),
        refused("504 Gateway Timeout"),
        say(http()[:-5], reset=True),
        say(b"", reset=True),
    ],
    ids=["429", "nonsense", "negative", "no date", "502", "504", "reset", "no answer"],
)
async def test_what_passes_is_tried_again_until_it_has_passed(
    gateway: Gateway, connect: Connect, behaviour: Behaviour
) -> None:
    gateway.script = [behaviour, behaviour]
    async with connect(gateway.url) as ask:
        async with asyncio.timeout(PATIENCE_S):
            text, is_error = await ask()

    assert (is_error, len(gateway.requests)) == (False, 3)
    assert "total: 7" in text
    assert gateway.bodies[0] == gateway.bodies[1] == gateway.bodies[2]


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
@pytest.mark.parametrize("is_date", [False, True], ids=["seconds", "date"])
async def test_the_gateway_says_when_to_come_back(
    gateway: Gateway,
    connect: Connect,
    status: str,
    is_date: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    # A date has whole seconds: three from now is two and a half at least.
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True)
    gateway.script = [refused(status, Retry_After=date if is_date else "2")]
    async with connect(gateway.url) as ask:
        text, _ = await ask()

    waited = gateway.times[1] - gateway.times[0]
    assert "total: 7" in text
    assert waited >= (1.9 if is_date else 2)


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
async def test_a_time_beyond_the_budget_is_told_at_once(
    gateway: Gateway, connect: Connect, status: str
) -> None:
    gateway.usual = refused(status, Retry_After="900")
    async with connect(gateway.url, timeout=500) as ask:
        async with asyncio.timeout(PATIENCE_S):
            text, is_error = await ask()

    assert (is_error, len(gateway.requests)) == (True, 1)
    assert "ask again after 900 seconds" in text


async def test_the_budget_holds_for_all_tries_together(gateway: Gateway, connect: Connect) -> None:
    gateway.script = [refused("503 Service Unavailable")]
    gateway.usual = stay_silent
    async with connect(gateway.url, timeout=1, retries=20) as ask:
        async with asyncio.timeout(PATIENCE_S):
            text, _ = await ask()
        await gateway.until(lambda gateway: not gateway.is_open)

    assert text.startswith("Error (timeout): the gateway gave no complete answer within 1 seconds")
    assert len(gateway.requests) == 2


async def test_retries_can_be_switched_off(gateway: Gateway, connect: Connect) -> None:
    gateway.usual = refused("503 Service Unavailable")
    async with connect(gateway.url, retries=0) as ask:
        await ask()

    assert len(gateway.requests) == 1


async def test_a_gateway_that_comes_up_during_the_retries_answers(
    connect: Connect, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    port, is_refused = free_port(), asyncio.Event()
    network = logging.getLogger("gateway_metrics_mcp.backends.gateway.errors")
    heard = logging.Handler()
    monkeypatch.setattr(heard, "emit", lambda _: is_refused.set())
    network.addHandler(heard)
    try:
        async with connect(f"http://127.0.0.1:{port}", retries=10) as ask:
            asking = asyncio.create_task(ask())
            await is_refused.wait()
            async with start_gateway(port) as late:
                text, _ = await asking
                assert len(late.requests) == 1
    finally:
        network.removeHandler(heard)

    assert "total: 7" in text
