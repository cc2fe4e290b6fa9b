"""The data of `demo:`, made once for all of these tests, and an engine to ask of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from tests.backends.demo.reading import make_demo_data, open_data

SEED = 7
END_DAY = date(2026, 7, 15)

Rows = list[tuple[Any, ...]]
Ask = Callable[[str], Rows]


@pytest.fixture(scope="session")
def demo_directory(demo_cache: Path) -> Path:
    return make_demo_data(demo_cache, seed=SEED, end_day=END_DAY)


@pytest.fixture(scope="session")
def ask(demo_directory: Path) -> Ask:
    engine = open_data(demo_directory)
    return lambda query: engine.execute(query).fetchall()
