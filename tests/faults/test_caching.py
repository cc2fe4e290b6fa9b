"""Answers are kept for a while, for who asked, and say how old they are."""

from __future__ import annotations

import random
import tracemalloc
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import pytest
from mcp.client import Client
from tests.faults.conftest import NOW, TOKEN, Connect
from tests.faults.faulty_gateway import Gateway, http, say
from tests.faults.test_merging import guarded, question

from gateway_metrics_mcp.backends.middleware import estimate_bytes
from gateway_metrics_mcp.query.model import LOCAL, Caller
from gateway_metrics_mcp.query.result import DataPoint, Result
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.settings import Settings

CLOSED: Final = {"startTs": "2026-07-14", "endTs": "2026-07-15T08:29"}
RANDOM: Final = random.Random(7)  # noqa: S311 - for sizes
OPEN: Final = {"startTs": "2026-07-14", "endTs": "2026-07-15T08:31"}


@dataclass
class Clock:
    """Time that passes when a test says so."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("window", "lifetime_s", "age"), [(CLOSED, 3600, "60 min"), (OPEN, 30, "29 s")]
)
async def test_an_answer_is_kept_as_long_as_its_window_allows(
    gateway: Gateway, connect: Connect, window: dict[str, str], lifetime_s: float, age: str
) -> None:
    clock = Clock()
    async with connect(gateway.url, clock=clock) as ask:
        first, _ = await ask(**window)
        clock.wait(0.5)
        soon, _ = await ask(**window)
        clock.wait(lifetime_s - 1.4)
        late, _ = await ask(**window)
        assert len(gateway.requests) == 1
        clock.wait(1)
        again, _ = await ask(**window)

    assert len(gateway.requests) == 2
    assert "from the cache" not in first
    assert "\n# from the cache, under 1 s old" in soon
    assert f"\n# from the cache, {age} old" in late
    assert again == first
    assert [line for line in late.split("\n") if "cache" not in line] == first.split("\n")


async def test_the_ages_are_settings(gateway: Gateway, connect: Connect) -> None:
    clock = Clock()
    ages = {"cache_age_open": 0, "cache_age_closed": 7200, "cache_closed_after": 7200}
    async with connect(gateway.url, clock=clock, **ages) as ask:
        await ask(**CLOSED)  # open, by this setting
        await ask(**CLOSED)
        assert len(gateway.requests) == 2
        await ask(startTs="2026-07-14", endTs="2026-07-15")
        clock.wait(7190)
        text, _ = await ask(startTs="2026-07-14", endTs="2026-07-15")

    assert len(gateway.requests) == 3
    assert "# from the cache, 120 min old" in text


async def test_the_rows_of_a_resource_say_their_age_beside_them(gateway: Gateway) -> None:
    uri = "gateway-metrics://rows/('startTs':'2026-07-14','endTs':'2026-07-15T08:29Z')"
    clock = Clock()
    server = build_server(Settings(backend=gateway.url, token=TOKEN), clock=clock)
    async with Client(server, cache=None) as client:
        await client.read_resource(uri)
        clock.wait(40)
        (content,) = (await client.read_resource(uri)).contents

    assert len(gateway.requests) == 1
    assert "from the cache, 40 s old" in (content.meta or {})["gateway-metrics/notes"]


async def test_a_cache_of_no_bytes_is_none(gateway: Gateway, connect: Connect) -> None:
    async with connect(gateway.url, cache_bytes=0) as ask:
        texts = [await ask(**CLOSED) for _ in range(2)]

    assert texts[0] == texts[1]
    assert len(gateway.requests) == 2


async def test_an_error_is_not_kept(gateway: Gateway, connect: Connect) -> None:
    gateway.script = [say(http(b"", "500 Internal Server Error"))]
    async with connect(gateway.url) as ask:
        _, failed = await ask(**CLOSED)
        text, _ = await ask(**CLOSED)

    assert failed
    assert "total: 7" in text
    assert "cache" not in text


async def test_the_age_is_that_of_the_oldest_part(gateway: Gateway, connect: Connect) -> None:
    rows = b'[{"modelName":"a","total":3},{"modelName":"b","total":4}]'
    clock = Clock()
    async with connect(gateway.url, clock=clock) as ask:
        await ask(**CLOSED)  # which is the ALL row of the next
        clock.wait(40)
        gateway.usual = say(http(b'{"data":{"dataPoints":%b}}' % rows))
        text, _ = await ask(**CLOSED, groupBy=["modelName"])

    assert "# from the cache, 40 s old" in text
    assert text.split("\n")[-3:] == ["b|4", "a|3", "ALL|7"]
    assert len(gateway.requests) == 2


async def test_list_values_are_kept_as_well(gateway: Gateway, connect: Connect) -> None:
    gateway.usual = say(http(b'{"data":{"dataPoints":[{"modelName":"a","total":3}]}}'))
    async with connect(gateway.url) as ask:
        await ask("list_values", field="modelName", **CLOSED)
        text, _ = await ask("list_values", field="modelName", **CLOSED)

    assert "# from the cache, under 1 s old" in text
    assert len(gateway.requests) == 1


async def test_a_clock_that_is_set_back_makes_no_answer_younger(
    gateway: Gateway, connect: Connect
) -> None:
    clock = Clock()
    async with connect(gateway.url, clock=clock) as ask:
        await ask(**CLOSED)
        clock.wait(-60)
        text, _ = await ask(**CLOSED)

    assert "cache" not in text
    assert len(gateway.requests) == 2


async def test_callers_share_no_answers(gateway: Gateway) -> None:
    # The second is equal to the local caller, and yet not the one that has the server's token.
    callers = [LOCAL, Caller("local", token="a"), Caller("local", token="b")]  # noqa: S106
    async with guarded(gateway, cache_bytes=1_000_000) as backend:
        first = [await backend.query(question(), caller) for caller in callers]
        second = [await backend.query(question(), caller) for caller in callers]

    assert len(gateway.requests) == 3
    assert [result.age_s for result in first] == [None] * 3
    assert [result.age_s for result in second] == [0] * 3


async def test_the_least_recently_used_go_when_the_bytes_are_used_up(gateway: Gateway) -> None:
    async with guarded(gateway, cache_bytes=7_000) as backend:
        for value in ("a", "b", "a", "c", "d", "e", "a"):
            await backend.query(question(value), LOCAL)
        asked = len(gateway.requests)
        ages = [(await backend.query(question(value), LOCAL)).age_s for value in ("a", "b")]

    assert asked == 5
    assert ages == [0, None]


@pytest.mark.thorough
async def test_a_full_cache_takes_about_the_bytes_it_may(gateway: Gateway) -> None:
    rows = ",".join(f'{{"total":{n + 1000}}}' for n in range(10))
    gateway.usual = say(http(f'{{"data":{{"dataPoints":[{rows}]}}}}'.encode()))
    most = 500_000
    async with guarded(gateway, cache_bytes=most) as backend:
        await backend.query(question(), LOCAL)
        tracemalloc.start()
        for number in range(500):
            await backend.query(question(str(number)), LOCAL)
            gateway.requests.clear()
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        kept = [(await backend.query(question(str(n)), LOCAL)).age_s for n in (499, 0)]

    assert kept == [0, None]
    assert 0.4 * most < taken < 1.3 * most


async def test_an_answer_larger_than_the_cache_is_given_and_not_kept(gateway: Gateway) -> None:
    rows = ",".join(f'{{"total":{n}}}' for n in range(100))
    gateway.usual = say(http(f'{{"data":{{"dataPoints":[{rows}]}}}}'.encode()))
    async with guarded(gateway, cache_bytes=5_000) as backend:
        results = [await backend.query(question(), LOCAL) for _ in range(2)]

    assert [len(result.points) for result in results] == [100, 100]
    assert len(gateway.requests) == 2


@pytest.mark.parametrize("rows", [1, 999, 20_000])
@pytest.mark.parametrize("letters", [0, 8, 300])
def test_the_size_of_a_result_is_about_what_it_takes(rows: int, letters: int) -> None:
    tracemalloc.start()
    points = tuple(
        [
            DataPoint(
                (f"{number:0{letters}}",) if letters else (None,),
                (RANDOM.getrandbits(40), RANDOM.random()),
                NOW + timedelta(seconds=number),
            )
            for number in range(rows)
        ]
    )
    result = Result(("key",), ("total", "sum"), points)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    # Python keeps some thousand small tuples for reuse: those are not counted as taken.
    assert 0.8 * taken - 1000 < estimate_bytes(result) < 1.6 * taken + 400_000
