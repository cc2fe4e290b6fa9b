"""What all tests share."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings

from gateway_metrics_mcp.backends.demo.backend import DEFAULT_SEED
from gateway_metrics_mcp.backends.demo.data import make_demo_data
from gateway_metrics_mcp.query.catalog import Catalog, load_catalog

# Machines differ too much for deadlines. The usual examples are the same in each run, so that a
# change alone can fail it; `make verify` takes the thorough profile, and new ones each time. What
# is compared with a reference takes more than others there, and says how many.
settings.register_profile("usual", deadline=None, max_examples=20, derandomize=True)
settings.register_profile("thorough", deadline=None, max_examples=500, print_blob=True)
settings.load_profile("usual")

NOW: Final = datetime(2026, 7, 15, 9, 30, tzinfo=UTC)
"""A Wednesday; tests ask their questions at this instant."""


# Whoever runs the tests may have a gateway set up, or a proxy: none of it is theirs.
for _name in [*os.environ]:
    if _name.startswith(("GATEWAY_METRICS_", "TFY_")) or _name.lower().endswith("_proxy"):
        del os.environ[_name]


Once = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """`once(name, make)`: a directory that one process of the suite fills for all of them."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent

    def once(name: str, make: Callable[[Path], object]) -> Path:
        directory = root / name
        with (root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not directory.exists():
                directory.mkdir()
                make(directory)
        return directory

    return once


@pytest.fixture(scope="session")
def cache_home(once: Once) -> Path:
    """A home for caches, with the data of `demo:` at NOW: making them takes some seconds."""

    def make(home: Path) -> None:
        make_demo_data(home / "gateway-metrics-mcp", seed=DEFAULT_SEED, end_day=NOW.date())

    return once("caches", make)


@pytest.fixture(scope="session")
def demo_cache(cache_home: Path) -> Path:
    """Where `demo:` finds its data of NOW."""
    return cache_home / "gateway-metrics-mcp"


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return load_catalog()
