"""The embedded engine's way with time, memory, its own directory and many askers at once."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.backends.factory import wrap_backend
from gateway_metrics_mcp.errors import (
    BackendTimeoutError,
    GatewayMetricsError,
    QueryTooLargeError,
    SettingsError,
)
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.settings import Settings

Row = dict[str, Any]
Ask = Callable[..., Awaitable[list[Row]]]
Write = Callable[..., Path]
Open = Callable[..., DuckDBBackend]

DAY: Final = datetime(2026, 7, 10, tzinfo=UTC)


# --- time, cancellation, memory, many at once ---


HEAVY_COLUMNS: Final = ("LatencyMs", "TimeToFirstTokenMs", "InterTokenLatencyMs", "CostInUSD")
HEAVY: Final[dict[str, Any]] = {
    "groupBy": ["team"],
    "aggregations": [
        f"{name} {column[:1].lower()}{column[1:]}"
        for column in HEAVY_COLUMNS
        for name in ("countDistinct", "p50", "p99")
    ],
}
"""Takes more than three seconds of a processor: every value of a million rows is another."""
MOST_CPU_S: Final = 1.6
"""For what is given up on the way, whatever else the machine does meanwhile."""
LIGHT: Final[dict[str, Any]] = {"datasource": "mcpMetrics", "groupBy": ["method"]}
LIGHT_ROWS: Final = [{"method": "tools/call", "total": 2}, {"method": "initialize", "total": 1}]


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory, write_select: Write, write_rows: Write) -> Path:
    directory = tmp_path_factory.mktemp("heavy")
    numbers = [f'hash(i + {k}) / 1e9 AS "{name}"' for k, name in enumerate(HEAVY_COLUMNS)]
    made = "TIMESTAMPTZ '2026-07-10 00:00:00+00' + to_milliseconds(i)"
    columns = [f'{made} AS "CreatedAt"', *numbers, "['a', 'b', 'c'] AS \"Teams\""]
    write_select(directory, f"SELECT {', '.join(columns)} FROM range(1_000_000) AS r(i)")  # noqa: S608 - our own
    methods = ("tools/call", "tools/call", "initialize")
    write_rows(directory, [{"Method": name} for name in methods], table="gateway_mcp_metrics")
    return directory


@pytest.fixture
async def heavy_engine(heavy: Path) -> AsyncIterator[DuckDBBackend]:
    backend = DuckDBBackend(heavy, load_catalog())
    yield backend
    await backend.aclose()


async def test_a_time_out_frees_the_engine_for_the_next_question_at_once(
    engine: Open, heavy: Path, ask: Ask
) -> None:
    backend = engine(heavy, timeout_s=0.4, threads=1)  # one slot: whoever holds it blocks the rest

    for _ in range(2):
        begun = time.process_time()
        with pytest.raises(BackendTimeoutError, match=r"no answer within 0\.4 s"):
            await ask(backend, **HEAVY)
        assert await ask(backend, **LIGHT) == LIGHT_ROWS
        assert time.process_time() - begun < MOST_CPU_S


async def test_a_cancelled_question_ends_at_once_and_harms_no_other(
    heavy_engine: DuckDBBackend, ask: Ask
) -> None:
    answers: list[list[Row]] = []

    async def ask_on(enough: anyio.Event) -> None:
        while not enough.is_set():
            answers.append(await ask(heavy_engine, **LIGHT))

    enough = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(ask_on, enough)
        begun = time.process_time()
        with anyio.move_on_after(0.3) as scope:
            await ask(heavy_engine, **HEAVY)
        worked = time.process_time() - begun
        enough.set()

    assert scope.cancelled_caught
    assert worked < MOST_CPU_S
    assert answers
    assert all(rows == LIGHT_ROWS for rows in answers)


async def test_a_question_that_several_wait_for_is_interrupted_when_the_last_one_goes(
    engine: Open, heavy: Path, ask: Ask
) -> None:
    settings = Settings(backend=str(heavy))
    bare = engine(heavy, threads=1)  # one slot: whoever holds it blocks the rest
    backend = wrap_backend(bare, settings, lambda: DAY)

    def worked_s() -> float:
        return time.process_time() - time.thread_time()  # the engine's threads alone

    begun = worked_s()
    asking = [asyncio.ensure_future(ask(backend, **HEAVY)) for _ in range(3)]
    with anyio.fail_after(60):
        while worked_s() - begun < 0.2:
            await anyio.wait_all_tasks_blocked()
    asking.pop(0).cancel()
    seen = worked_s()
    with anyio.fail_after(60):
        while worked_s() - seen < 0.2:  # it goes on for the others
            await anyio.wait_all_tasks_blocked()
    begun = time.process_time()
    for task in asking:
        task.cancel()
    await asyncio.wait(asking)
    light = await ask(bare, **LIGHT)
    worked = time.process_time() - begun

    assert all(task.cancelled() for task in asking)
    assert light == LIGHT_ROWS
    assert worked < MOST_CPU_S


async def test_a_question_cancelled_in_the_queue_never_starts_and_frees_its_place(
    engine: Open, heavy: Path, ask: Ask
) -> None:
    backend = engine(heavy, threads=1)

    async def ask_heavy() -> None:
        await ask(backend, **HEAVY)

    async with anyio.create_task_group() as group:
        group.start_soon(ask_heavy)
        await anyio.wait_all_tasks_blocked()
        with anyio.move_on_after(0.1) as queued:
            await ask(backend, **LIGHT)
        group.cancel_scope.cancel()

    assert queued.cancelled_caught
    assert await ask(backend, **LIGHT) == LIGHT_ROWS


async def test_a_cancellation_at_any_moment_is_a_cancellation_or_an_answer(
    engine: Open, ask: Ask, write: Write
) -> None:
    write([{"ModelName": f"m{n}"} for n in range(4000)])
    backend = engine(threads=8)
    outcomes: list[bool] = []

    async def ask_until(delay: float) -> None:
        with anyio.move_on_after(delay) as scope:
            assert len(await ask(backend, groupBy=["modelName"])) == 4000
        outcomes.append(scope.cancelled_caught)

    for turn in range(30):
        async with anyio.create_task_group() as group:
            for number in range(8):
                # From half a millisecond to a minute, which is never waited for.
                group.start_soon(ask_until, 2 ** ((turn * 8 + number) * 37 % 170 / 10) / 2000)

    assert set(outcomes) == {True, False}
    assert len(await ask(backend, groupBy=["modelName"])) == 4000


async def test_twenty_questions_at_once_each_get_their_own_answer(
    engine: Open, ask: Ask, write: Write
) -> None:
    write([{"ModelName": f"m{n}", "InputTokens": k} for n in range(20) for k in range(n + 1)])
    backend = engine(threads=4)
    answers: dict[int, list[Row]] = {}

    async def ask_one(number: int) -> None:
        answers[number] = await ask(
            backend,
            filters=[("modelName", "EQUAL", f"m{number}")],
            aggregations=["sum inputTokens"],
        )

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(ask_one, number)

    assert answers == {n: [{"total": n + 1, "sumInputTokens": n * (n + 1) // 2}] for n in range(20)}


async def test_too_little_memory_is_said_with_what_helps_and_ends_one_question_only(
    engine: Open, heavy: Path, ask: Ask
) -> None:
    backend = engine(heavy, memory_limit="60MB")

    with pytest.raises(
        QueryTooLargeError, match=r"Ask for a shorter window.* or raise the memory limit"
    ):
        await ask(backend, **HEAVY)
    assert await ask(backend, **LIGHT) == LIGHT_ROWS


async def test_a_memory_limit_that_the_engine_refuses_is_an_error_of_the_settings(
    engine: Open,
) -> None:
    with pytest.raises(SettingsError, match=r"embedded engine cannot be opened: .*Memory"):
        engine(memory_limit="much")


# --- the directory for what does not fit into memory; closing ---


def list_directory(directory: Path) -> list[Path]:
    return list(directory.iterdir())


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return directory


async def test_each_engine_spills_into_a_private_directory_of_its_own(
    engine: Open, temporary: Path
) -> None:
    first, second = engine(), engine()

    modes = [made.stat().st_mode & 0o777 for made in list_directory(temporary)]
    await first.aclose()
    left = list_directory(temporary)
    await second.aclose()

    assert modes == [0o700, 0o700]
    assert len(left) == 1
    assert list_directory(temporary) == []


async def test_without_any_temporary_directory_the_engine_works_in_memory(
    engine: Open, ask: Ask, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    write([{}])

    assert await ask(engine()) == [{"total": 1}]


async def test_closing_twice_is_once_and_a_closed_engine_answers_with_an_error_of_ours(
    engine: Open, ask: Ask, write: Write
) -> None:
    write([{}])
    backend = engine()
    await ask(backend)

    await backend.aclose()
    await backend.aclose()

    with pytest.raises(GatewayMetricsError, match="closed"):
        await ask(backend)


async def test_an_engine_closes_while_a_question_begins(
    engine: Open, ask: Ask, write: Write
) -> None:
    write([{}])

    async def ask_closing(backend: DuckDBBackend) -> None:
        with suppress(GatewayMetricsError):  # of an engine that is closed
            await ask(backend)

    for steps in range(40):
        backend = engine()
        async with anyio.create_task_group() as group:
            group.start_soon(ask_closing, backend)
            for _ in range(steps % 8):
                await anyio.lowlevel.checkpoint()
            await backend.aclose()
        with pytest.raises(GatewayMetricsError, match="closed"):
            await ask(backend)
