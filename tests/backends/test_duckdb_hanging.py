"""Storage that hangs under the embedded engine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from tests.hanging import hanging

from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.errors import BackendTimeoutError, UnavailableError
from gateway_metrics_mcp.runtime.concurrency import MOST_STUCK

Row = dict[str, Any]
Ask = Callable[..., Awaitable[list[Row]]]
Write = Callable[..., Path]
Open = Callable[..., DuckDBBackend]

HANGING: Final = {"startTs": "2026-07-10T00:00:00Z"}
WELL: Final = {"startTs": "2026-07-20T00:00:00Z"}
SHORT_S: Final = 0.4


@pytest.fixture
def file(write: Write) -> Path:
    """A file that is to hang, beside a later one that does not."""
    write([{"CreatedAt": "2026-07-25T00:00:00Z"}], folder="date=2026-07-25")
    return write([{}], folder="date=2026-07-10")


async def test_a_question_ends_by_its_time_limit_and_says_that_storage_hangs(
    ask: Ask, engine: Open, file: Path
) -> None:
    backend = engine(timeout_s=SHORT_S)

    with hanging(file), pytest.raises(BackendTimeoutError) as caught:
        await ask(backend, **HANGING)

    assert str(caught.value) == (
        "no answer within 0.4 s, and reading gateway_model_metrics cannot be stopped: its storage"
        " may not answer. Ask for a shorter window; if that does not help, the operator of this"
        " server has to look at the storage"
    )


async def test_questions_that_hang_take_no_places_from_others(
    ask: Ask, engine: Open, file: Path
) -> None:
    backend = engine(timeout_s=SHORT_S, threads=2)

    with hanging(file):
        for _ in range(3):
            with pytest.raises(BackendTimeoutError):
                await ask(backend, **HANGING)
            assert await ask(engine(timeout_s=30), **WELL) == [{"total": 1}]
            assert await ask(backend, **WELL) == [{"total": 1}]


async def test_too_many_questions_that_hang_are_refused_until_one_ends(
    ask: Ask, engine: Open, file: Path
) -> None:
    backend = engine(timeout_s=SHORT_S)

    with hanging(file):
        for _ in range(MOST_STUCK):
            with pytest.raises(BackendTimeoutError):
                await ask(backend, **HANGING)
        with pytest.raises(UnavailableError, match="4 earlier questions about gateway_m"):
            await ask(backend, **HANGING)
        assert await ask(backend, datasource="mcpMetrics") == [{"total": 0}]

    while True:  # until the threads have noticed
        try:
            assert await ask(backend, **HANGING) == [{"total": 2}]
            break
        except UnavailableError:
            await anyio.lowlevel.checkpoint()
