"""What all tests share."""

from __future__ import annotations

import fcntl
import gc
import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

from gateway_metrics_mcp.backends.demo.backend import DEFAULT_SEED
from gateway_metrics_mcp.backends.demo.data import make_demo_data
from gateway_metrics_mcp.cli.main import main
from gateway_metrics_mcp.query.catalog import Catalog, load_catalog

# Machines differ too much for deadlines, and for how fast examples are made. The usual examples
# are the same in each run, so that a change alone can fail it; `make verify` takes the thorough
# profile, and new ones each time. What is compared with a reference takes more than others there,
# and says how many.
_EITHER: Final = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("usual", _EITHER, max_examples=20, derandomize=True)
settings.register_profile("thorough", _EITHER, max_examples=500, print_blob=True)
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


Run = Callable[..., tuple[int, str, str]]
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run a command of ours to its end: exit code, output, errors.

    In this process, with these variables alone: starting one takes a second of a processor.
    """

    def run(*arguments: str, **variables: str) -> tuple[int, str, str]:
        handlers = {number: signal.getsignal(number) for number in _SIGNALS}
        with monkeypatch.context() as patch:
            for name in [*os.environ]:
                patch.delenv(name)
            for name, text in {"HOME": str(tmp_path), **variables}.items():
                patch.setenv(name, text)
            patch.setattr("gateway_metrics_mcp.cli.parsers.configure_logging", lambda *_: None)
            capsys.readouterr()
            try:
                code: int | str | None = main(arguments)
            except SystemExit as end:
                code = end.code
        for number, handler in handlers.items():
            signal.signal(number, handler)
        gc.unfreeze()
        assert isinstance(code, int)
        return (code, *capsys.readouterr())

    return run
