"""Whatever is asked of any tool: an answer or a refusal, in time and in its budget."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, given, settings

from gateway_metrics_mcp.backends.base import Backend
from gateway_metrics_mcp.query.model import Caller, Query
from gateway_metrics_mcp.query.result import Result
from gateway_metrics_mcp.query.vocabulary import DatasourceName
from gateway_metrics_mcp.rendering.document import MOST_BYTES, estimate_tokens

BUDGET: Final = 4000
MOST_CPU_S: Final = 1.0
PATIENCE_S: Final = 60
"""For what waits and does nothing; a busy machine may take its time."""

CASES: Final = 2500 if settings().max_examples >= 500 else settings().max_examples

Call = Callable[[str, dict[str, Any]], Any]


def _load(name: str) -> Any:
    """A module beside this one: the tests are no package."""
    path = Path(__file__).parent / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"tests_harm_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


QUESTIONS: Final = _load("questions")


@dataclass
class Counting:
    """The engine, and how often it was asked."""

    engine: Backend
    asked: int = 0

    is_by_rulings = False

    @property
    def description(self) -> str:
        return self.engine.description

    async def query(self, query: Query, caller: Caller) -> Result:
        self.asked += 1
        return await self.engine.query(query, caller)

    def explain(self, query: Query, caller: Caller) -> str:
        return self.engine.explain(query, caller)

    async def metadata_keys(
        self, datasource: DatasourceName, start: datetime, end: datetime, caller: Caller
    ) -> Result | None:
        self.asked += 1
        return await self.engine.metadata_keys(datasource, start, end, caller)

    async def aclose(self) -> None:
        await self.engine.aclose()


def check_reply(text: str, arguments: dict[str, Any], *, is_error: bool) -> None:
    assert text
    assert len(text.encode()) <= MOST_BYTES
    assert estimate_tokens(text) <= 1.25 * BUDGET
    assert "Traceback" not in text
    assert not text.startswith("Error (internal)")
    if not is_error and arguments.get("format") == "json":
        body = json.loads(text)
        assert all(len(row) == len(body["columns"]) for row in body["rows"])


# The servers that run in this process draw from `random` beside the strategies, which use none.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("is_hiding", [False, True], ids=["plain", "hiding"])
def test_every_call_is_answered_or_refused(
    hostile: Path,
    serve: Callable[..., Any],
    listening: Callable[[], AbstractContextManager[list[Any]]],
    tmp_path: Path,
    mode: str,
    is_hiding: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    counting: list[Counting] = []
    total = reached = 0

    def count(engine: Backend) -> Counting:
        counting.append(Counting(engine))
        return counting[0]

    set_up: dict[str, Any] = {}
    if is_hiding:
        (tmp_path / "key").write_text("k" * 32, "utf-8")
        set_up = {"hide_emails": True, "hide_emails_key": tmp_path / "key"}
    with (
        listening() as records,
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(
            serve(hostile, mode=mode, backend=count, budget=BUDGET, **set_up)
        ) as call,
    ):

        async def ask(tool: str, arguments: dict[str, Any]) -> tuple[str, bool]:
            with anyio.fail_after(PATIENCE_S):
                text, is_error = await call(tool, arguments)
            return text, is_error

        @settings(max_examples=CASES, suppress_health_check=[*HealthCheck])
        @given(QUESTIONS.cases())
        def check(case: tuple[bool, tuple[str, dict[str, Any]]]) -> None:
            nonlocal total, reached
            is_valid, (tool, arguments) = case
            before, begun = counting[0].asked, time.process_time()
            text, is_error = portal.call(ask, tool, arguments)
            took = time.process_time() - begun
            check_reply(text, arguments, is_error=is_error)
            assert [r.getMessage() for r in records if r.exc_info or r.levelname == "ERROR"] == []
            records.clear()
            assert took < MOST_CPU_S, f"{took:.2f} s of CPU"
            total += 1
            reached += is_valid and counting[0].asked > before

        check()

    assert total >= CASES
    assert reached >= total / 2, f"{reached} of {total} valid questions reached the engine"
