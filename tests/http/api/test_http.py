"""The API over real connections: what is wrong with them, and who goes away."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import anyio
import httpx
import pytest

from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.query.catalog import Catalog
from gateway_metrics_mcp.query.model import Caller, Query
from gateway_metrics_mcp.query.result import Result
from gateway_metrics_mcp.query.vocabulary import API_PATH as PATH
from gateway_metrics_mcp.query.vocabulary import DatasourceName

July = Callable[..., dict[str, Any]]
Listen = Callable[..., AbstractAsyncContextManager[int]]
Connect = Callable[[int], AbstractAsyncContextManager[Any]]

MOST_CPU_S: Final = 1.5
"""For what is given up on the way; whole, it takes nearly three seconds of a processor."""
HEAD: Final = f"POST {PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
ROW: Final = '{"data":{"dataPoints":[{"total":5}]}}'


def chunk(part: str) -> str:
    return f"{len(part):x}\r\n{part}\r\n"


@pytest.fixture
def body(july: July) -> str:
    return json.dumps(july())


async def test_a_body_in_chunks_is_read(listen: Listen, connect: Connect, body: str) -> None:
    parts = "".join(chunk(body[first : first + 7]) for first in range(0, len(body), 7))
    async with listen() as port, connect(port) as exchange:
        await exchange.send(f"{HEAD}transfer-encoding: chunked\r\nconnection: close\r\n\r\n")
        await exchange.send(f"{parts}0\r\n\r\n")
        answer = await exchange.read_to_end()

    assert answer.startswith("HTTP/1.1 200 ")
    assert '{"total":5}' in answer


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("content-length: 5\r\n", "{}   {}"),
        ("content-length: x\r\n", "{}"),
        ("content-length: -1\r\n", "{}"),
        ("content-length: 2\r\ncontent-length: 3\r\n", "{}"),
        ("transfer-encoding: chunked\r\n", "zz\r\n{}\r\n"),
        ("transfer-encoding: gzip\r\n", "{}"),
        ("transfer-encoding: chunked\r\ncontent-length: 2\r\n", "2\r\n{}\r\n0\r\n\r\n"),
        ("content-length: 2\r\nbroken\r\n", "{}"),
        ("x: \x00\r\ncontent-length: 2\r\n", "{}"),
        ("content-length: 0\r\n", ""),
        ("", ""),
        (f"x: {'y' * 100_000}\r\n", ""),
    ],
    ids=repr,
)
async def test_a_broken_request_is_400_and_the_server_lives(
    listen: Listen, connect: Connect, july: July, head: str, body: str
) -> None:
    async with listen() as port:
        async with connect(port) as exchange:
            await exchange.send(f"{HEAD}{head}connection: close\r\n\r\n{body}")
            answer = await exchange.read_to_end()
        async with httpx.AsyncClient(timeout=60) as client:
            after = await client.post(f"http://localhost:{port}{PATH}", json=july())

    status = answer.split(" ")[1]
    assert status[0] == "4"
    assert status != "422"
    assert after.text == ROW


async def test_a_body_that_never_ends_is_408(listen: Listen, connect: Connect) -> None:
    async with listen(timeout=0.1) as port, connect(port) as exchange:
        await exchange.send(f"{HEAD}content-length: 100\r\n\r\n{{")
        answer = await exchange.read_until("}")

    assert answer.startswith("HTTP/1.1 408 ")
    assert '"message":"the body did not arrive in time"' in answer


async def test_a_body_too_large_is_413_before_it_is_sent_whole(
    listen: Listen, connect: Connect
) -> None:
    async with listen() as port, connect(port) as exchange:
        await exchange.send(f"{HEAD}content-length: 1000000000\r\n\r\n{' ' * 300_000}")
        answer = await exchange.read_until("}")

    assert answer.startswith("HTTP/1.1 413 ")


async def test_an_answer_is_sent_in_chunks_and_the_connection_is_kept(
    listen: Listen, july: July
) -> None:
    async with listen() as port, httpx.AsyncClient(timeout=60) as client:
        answers = [
            await client.post(f"http://127.0.0.1:{port}{PATH}", json=july()) for _ in range(3)
        ]

    assert [answer.text for answer in answers] == [ROW] * 3
    assert {answer.headers["transfer-encoding"] for answer in answers} == {"chunked"}


# --- many at once, slow ones, and those who go away ---


class Watching:
    """An engine, and when its queries begin and how they end."""

    description = "watching"
    is_by_rulings = False

    def __init__(self, backend: DuckDBBackend) -> None:
        self._backend = backend
        self.begun = 0
        self.ended: list[str] = []
        self.has_begun = anyio.Event()
        self.has_ended = anyio.Event()

    @property
    def most_queries(self) -> int:
        return self._backend.most_queries

    async def query(self, query: Query, caller: Caller) -> Result:
        self.begun += 1
        self.has_begun.set()
        how = "cancelled"
        try:
            result = await self._backend.query(query, caller)
            how = "answered"
        except Exception:
            how = "failed"
            raise
        finally:
            self.ended.append(how)
            self.has_ended.set()
        return result

    def explain(self, query: Query, caller: Caller) -> str:
        raise NotImplementedError

    async def metadata_keys(
        self, datasource: DatasourceName, start: datetime, end: datetime, caller: Caller
    ) -> Result | None:
        raise NotImplementedError

    async def aclose(self) -> None:
        await self._backend.aclose()


@pytest.fixture
def long_body(july: July) -> dict[str, Any]:
    """A question that takes far longer than a test."""
    texts = [{"metadataKey": "k", "operator": "STRING_NOT_CONTAINS", "value": "x"}]
    texts += [
        {"fieldName": "modelName", "operator": "STRING_NOT_CONTAINS", "value": f"x{number}"}
        for number in range(99)
    ]
    columns = [{"type": "countDistinct", "column": "modelName"}]
    columns += [{"type": f"p{p}", "column": "latencyMs"} for p in (5, 10, 25, 50, 75, 90, 95, 99)]
    return july(aggregations=columns, filters=texts[1:])


async def test_a_caller_who_goes_away_takes_the_query_along(
    listen: Listen,
    connect: Connect,
    long_directory: Path,
    long_body: dict[str, Any],
    catalog: Catalog,
    july: July,
) -> None:
    backend = Watching(DuckDBBackend(long_directory, catalog, threads=1))
    body = json.dumps(long_body)
    async with listen(backend=backend) as port:
        with anyio.fail_after(60):
            async with connect(port) as exchange:
                await exchange.send(f"{HEAD}content-length: {len(body)}\r\n\r\n{body}")
                await backend.has_begun.wait()
            worked = time.process_time()
            await backend.has_ended.wait()
            # The one thread is free again: the query was interrupted, not left behind.
            async with httpx.AsyncClient(timeout=60) as client:
                after = await client.post(f"http://127.0.0.1:{port}{PATH}", json=july())

    assert time.process_time() - worked < MOST_CPU_S
    assert backend.ended == ["cancelled", "answered"]
    assert after.json() == {"data": {"dataPoints": [{"total": 2_000_000}]}}


async def test_a_query_that_takes_too_long_is_504_and_interrupted(
    listen: Listen, long_directory: Path, long_body: dict[str, Any], catalog: Catalog
) -> None:
    backend = Watching(DuckDBBackend(long_directory, catalog, threads=1))
    async with listen(backend=backend, timeout=0.2) as port, httpx.AsyncClient() as client:
        response = await client.post(f"http://127.0.0.1:{port}{PATH}", json=long_body)

    assert response.status_code == 504
    assert response.json()["code"] == "timeout"
    assert response.json()["message"].startswith("no answer within 0.2 s. Ask for a shorter window")
    assert backend.ended == ["cancelled"]


async def test_the_engine_s_own_time_limit_is_504_too(
    listen: Listen, long_directory: Path, long_body: dict[str, Any], catalog: Catalog
) -> None:
    backend = DuckDBBackend(long_directory, catalog, threads=1, timeout_s=0.2)
    async with listen(backend=backend) as port, httpx.AsyncClient(timeout=60) as client:
        response = await client.post(f"http://127.0.0.1:{port}{PATH}", json=long_body)

    assert (response.status_code, response.json()["code"]) == (504, "timeout")


class Gate:
    """A backend whose queries wait until it is opened."""

    description = "a gate"
    is_by_rulings = False
    most_queries = 100

    def __init__(self) -> None:
        self.is_open = anyio.Event()
        self.inside = 0
        self.most_inside = 0
        self.arrived = anyio.Event()
        self.least = 1
        self.subjects: list[str] = []

    async def query(self, query: Query, caller: Caller) -> Result:
        del query
        self.subjects.append(caller.subject)
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        if self.inside >= self.least:
            self.arrived.set()
        try:
            await self.is_open.wait()
        finally:
            self.inside -= 1
        return Result((), ("total",), ())

    def explain(self, query: Query, caller: Caller) -> str:
        raise NotImplementedError

    async def metadata_keys(
        self, datasource: DatasourceName, start: datetime, end: datetime, caller: Caller
    ) -> Result | None:
        raise NotImplementedError

    async def aclose(self) -> None:
        """Nothing is open."""


@pytest.fixture
async def gate() -> Gate:
    return Gate()


async def test_so_many_run_at_once_and_the_rest_wait_their_turn(
    listen: Listen, gate: Gate, july: July
) -> None:
    gate.least = 3
    statuses: list[int] = []
    async with (
        listen(backend=gate, queries=3) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
        anyio.create_task_group() as group,
    ):

        async def ask() -> None:
            statuses.append((await client.post(PATH, json=july())).status_code)

        for _ in range(20):
            group.start_soon(ask)
        await gate.arrived.wait()
        alive = await client.get("/livez")
        gate.is_open.set()

    assert alive.status_code == 200
    assert statuses == [200] * 20
    assert gate.most_inside == 3


async def test_nobody_waits_in_the_queue_of_another(
    listen: Listen, gate: Gate, book: Any, july: July
) -> None:
    ada, bob = (book.issue(name) for name in ("ada", "bob"))
    async with (
        listen(book, backend=gate, queries=1) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
        anyio.create_task_group() as group,
    ):

        async def ask(token: str) -> None:
            headers = {"authorization": f"Bearer {token}"}
            assert (await client.post(PATH, json=july(), headers=headers)).status_code == 200

        async def until_asked(calls: int) -> None:
            while f"tool_calls_in_flight {calls}.0\n" not in (await client.get("/metrics")).text:
                await anyio.lowlevel.checkpoint()

        for _ in range(6):
            group.start_soon(ask, bob)
        await until_asked(6)
        for _ in range(2):
            group.start_soon(ask, ada)
        await until_asked(8)
        gate.is_open.set()

    assert gate.subjects == ["bob", "ada", "bob", "ada", *4 * ["bob"]]


async def test_who_waits_too_long_is_503_with_when_to_ask_again(
    listen: Listen, gate: Gate, july: July
) -> None:
    async with (
        listen(backend=gate, queries=1, patience=0.05) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
        anyio.create_task_group() as group,
    ):
        group.start_soon(lambda: client.post(PATH, json=july()))
        await gate.arrived.wait()
        refused = await client.post(PATH, json=july())
        gate.is_open.set()
        answered = await client.post(PATH, json=july())

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert refused.json() == {
        "statusCode": 503,
        "message": "too many queries at once: ask again in a few seconds",
        "code": "busy",
        "details": [],
    }
    assert answered.status_code == 200


async def test_who_waits_for_a_thread_of_the_engine_is_503_however_many_queries_are_let_in(
    listen: Listen,
    long_directory: Path,
    long_body: dict[str, Any],
    catalog: Catalog,
    july: July,
) -> None:
    backend = Watching(DuckDBBackend(long_directory, catalog, threads=1))
    async with (
        listen(backend=backend, queries=8, patience=0.1, timeout=60) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=120) as client,
        anyio.create_task_group() as group,
    ):
        group.start_soon(lambda: client.post(PATH, json=long_body))
        await backend.has_begun.wait()
        refused = await client.post(PATH, json=july())
        group.cancel_scope.cancel()

    assert (refused.status_code, refused.json()["code"]) == (503, "busy")
    assert refused.headers["retry-after"] == "5"
    assert backend.begun == 1


async def test_a_server_that_does_not_get_to_answering_is_not_ready(
    listen: Listen, gate: Gate
) -> None:
    async with (
        listen(backend=gate) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        ready, alive = await client.get("/readyz"), await client.get("/livez")

    assert (ready.status_code, alive.status_code) == (503, 200)
    assert ready.json()["reason"] == "the backend gave no answer within 3 seconds"


async def test_who_goes_away_frees_the_place(
    listen: Listen, connect: Connect, gate: Gate, body: str, july: July
) -> None:
    request = f"{HEAD}content-length: {len(body)}\r\n\r\n{body}"
    async with listen(backend=gate, queries=1, patience=60) as port:
        async with connect(port) as runs:
            await runs.send(request)
            await gate.arrived.wait()
            async with connect(port) as waits:
                await waits.send(request)
        gate.is_open.set()
        async with httpx.AsyncClient(timeout=60) as client:
            with anyio.fail_after(60):
                after = await client.post(f"http://127.0.0.1:{port}{PATH}", json=july())

    assert after.status_code == 200
    assert gate.inside == 0


async def test_who_is_not_let_in_takes_no_place(
    listen: Listen, gate: Gate, book: Any, july: July
) -> None:
    token = book.issue()
    async with (
        listen(book, backend=gate, queries=1) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
        anyio.create_task_group() as group,
    ):
        headers = {"authorization": f"Bearer {token}"}
        group.start_soon(lambda: client.post(PATH, json=july(), headers=headers))
        await gate.arrived.wait()
        unknown = await client.post(PATH, json=july())
        wrong = await client.post(PATH, json=[], headers=headers)
        gate.is_open.set()

    assert (unknown.status_code, wrong.status_code) == (401, 400)
