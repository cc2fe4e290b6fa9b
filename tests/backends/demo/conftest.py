"""The data of `demo:`, made once for all of these tests, and an engine to ask of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from tests.backends.demo.reading import open_data

from gateway_metrics_mcp.backends.demo.data import FORMAT_VERSION, make_demo_data

SEED = 7
END_DAY = date(2026, 11, 19)

Rows = list[tuple[Any, ...]]
Ask = Callable[[str], Rows]


def leave_behind(path: Path, *, age_hours: int) -> None:
    path.mkdir(parents=True)
    then = time.time() - age_hours * 3600
    os.utime(path, (then, then))


@pytest.fixture(scope="session")
def demo_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with what earlier days and interrupted processes left in it."""
    cache = tmp_path_factory.mktemp("demo") / "cache"
    family = f"demo-v{FORMAT_VERSION}-seed"
    leave_behind(cache / f"{family}{SEED}-2026-11-01", age_hours=30)
    leave_behind(cache / f"{family}{SEED}-2026-11-18", age_hours=20)
    leave_behind(cache / f"{family}{SEED}1-2026-11-01", age_hours=30)
    leave_behind(cache / ".making-stale", age_hours=30)
    leave_behind(cache / ".making-by-another", age_hours=1)
    return cache


@pytest.fixture(scope="session")
def demo_directory(demo_cache: Path) -> Path:
    return make_demo_data(demo_cache, seed=SEED, end_day=END_DAY, threads=2)


@pytest.fixture(scope="session")
def ask(demo_directory: Path) -> Ask:
    engine = open_data(demo_directory)
    return lambda query: engine.execute(query).fetchall()
