"""Generates the data of `demo:`: five weeks of an invented tenant, with two incidents to find.

The SQL in sql/ defines the tenant and its traffic; the seed varies who, what and when.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, TypeVar

import duckdb

from gateway_metrics_mcp.errors import EngineError, UnavailableError
from gateway_metrics_mcp.runtime.concurrency import STOPPING
from gateway_metrics_mcp.runtime.scratch import ScratchFolder, is_full, remove_dead

logger = logging.getLogger(__name__)

FORMAT_VERSION: Final = 3
"""Part of the directory's name: raise it whenever the generated data change."""

_STEPS: Final = ("traffic", "requests", "attempts", "calls", "outcomes")
"""What all tables are made of, in this order."""
_MORE_STEPS: Final = {
    "gateway_model_metrics": (),
    "gateway_mcp_metrics": ("surroundings", "mcp_requests"),
    "gateway_guardrail_metrics": ("surroundings",),
    "gateway_config_metrics": ("surroundings",),
    "gateway_request_metrics": ("surroundings", "mcp_requests"),
}
"""Each table with its further steps."""
TABLES: Final = tuple(_MORE_STEPS)
"""The tables, in the order in which they are made: most questions are about models."""
_DAYS: Final = 35
_MOST_PARTS: Final = 4
_MEMORY_MB: Final = 1_000
_SCRATCH: Final = ".making-"
"""The start of names of temporary folders beside the data: a rename from them is atomic."""
_DAY_S: Final = 24 * 60 * 60

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stories:
    """The two incidents: one account's spend jumps, and one model's slowest calls get slower."""

    spend_account: str
    spend_model: str
    spend_start: date
    slow_model: str
    slow_environment: str
    slow_start: date


def tell_stories(seed: int, end_day: date) -> Stories:
    """The incidents in a seed's data that end with `end_day`."""
    with _engine(threads=1) as engine:
        engine.execute(_sql("cast"))
        accounts = _first_column(engine, "SELECT slug FROM subjects WHERE kind = 'virtualaccount'")
        dear = _first_column(engine, "SELECT model FROM models WHERE is_dear")
        busy = _first_column(
            engine, "SELECT model FROM models WHERE model_type = 'chat' AND share >= 10"
        )
    spend_model = _choose(dear, seed, "spend model")
    return Stories(
        spend_account=_choose(accounts, seed, "spend account"),
        spend_model=spend_model,
        spend_start=end_day - timedelta(_choose([5, 6, 7, 8], seed, "spend start")),
        slow_model=_choose([model for model in busy if model != spend_model], seed, "slow model"),
        slow_environment=_choose(["production", "staging", "dev"], seed, "slow environment"),
        slow_start=end_day - timedelta(_choose([4, 5, 6, 7], seed, "slow start")),
    )


class DemoTables:
    """The tables of one seed and day, each made when it is needed, by one thread at a time.

    A finished table is renamed into `directory`, so that a process that is killed leaves none in
    part, and processes that make one at the same time get the same.
    """

    def __init__(self, cache: Path, *, seed: int, end_day: date, threads: int = 2) -> None:
        self._cache = cache
        self._seed = seed
        self._end_day = end_day
        self._threads = threads
        self._family = f"demo-v{FORMAT_VERSION}-seed{seed}-"
        # Earlier builds make all tables at once and take a directory of this name for complete:
        # it is used if it is there, and never made.
        complete = cache / f"{self._family}{end_day.isoformat()}"
        self.directory = (
            complete if complete.is_dir() else complete.with_name(f"{complete.name}.tables")
        )
        """It holds `<table>/date=YYYY-MM-DD/*.parquet`, once the table is made."""
        remove_dead(_SCRATCH, cache)
        self._open = ExitStack()
        self._parts: list[_Part] = []
        self._scratch = cache
        self._is_stopped = False

    def has(self, table: str) -> bool:
        """Whether the table is made."""
        return (self.directory / table).is_dir()

    def make(self, table: str) -> None:
        """Make the table, for the 35 UTC days up to and including the end day.

        Raises:
            EngineError: if it cannot be written.
            UnavailableError: if `stop` was called.
        """
        if self.has(table):
            return
        self._check_stopped()
        try:
            parts = self._parts or self._start()
            made = self._scratch / table
            with ThreadPoolExecutor(len(parts)) as pool:
                for _ in pool.map(lambda part: part.make(table, made), parts):
                    pass
            self.directory.mkdir(exist_ok=True)
            _move(made, self.directory / table)
            _remove_outdated(self._cache, self._family, keep=self.directory)
        except (duckdb.Error, OSError) as error:
            self.close()  # steps taken in part cannot be taken again
            self._check_stopped()
            if is_full(error):
                logger.warning("the disk is full that holds %s", self._cache)
                raise EngineError(
                    "the disk is full that holds the demo's cache directory, which the log names:"
                    " the data take about 150 MB"
                ) from error
            raise EngineError(
                "the demo's data could not be made. It needs a cache directory that can be written"
                " and about 150 MB of disk"
            ) from error

    def stop(self) -> None:
        """Make `make` end soon, from another thread.

        The engine loses an interrupt between two statements: repeat this until `make` has ended.
        """
        self._is_stopped = True
        for part in self._parts:
            part.stop()

    def close(self) -> None:
        """Free the memory, and remove what is not finished."""
        self._parts = []
        self._open.close()

    def _start(self) -> list[_Part]:
        self._cache.mkdir(parents=True, exist_ok=True)
        self._scratch = self._open.enter_context(ScratchFolder(_SCRATCH, self._cache))
        stories = asdict(tell_stories(self._seed, self._end_day))
        count = min(self._threads, _MOST_PARTS)
        for number in range(count):
            engine = self._open.enter_context(_engine(threads=1))
            spill = str(self._scratch / f"spill-{number}")
            engine.execute(f"SET memory_limit = '{_MEMORY_MB // count}MB'")
            engine.execute("SET temp_directory = $spill", {"spill": spill})
            engine.execute("SET VARIABLE seed = $seed", {"seed": str(self._seed)})
            engine.execute("SET VARIABLE end_day = $end_day", {"end_day": self._end_day})
            engine.execute(f"SET VARIABLE days_back = range({number}, {_DAYS}, {count})")
            engine.execute(_sql("randomness"))
            engine.execute(_sql("cast"))
            engine.execute(_sql("story"), stories)
            self._parts.append(_Part(engine))
        return self._parts

    def _check_stopped(self) -> None:
        if self._is_stopped:
            raise UnavailableError(STOPPING)


class _Part:
    """Every so many-th day of the tables, made by one thread with an engine of its own.

    One engine for all days would leave processors idle: it shares out rows by 122,880.
    """

    def __init__(self, engine: duckdb.DuckDBPyConnection) -> None:
        self._engine = engine
        self._taken: set[str] = set()
        self._is_stopped = False

    def make(self, table: str, target: Path) -> None:
        """Write one table, a file per day, each sorted by time."""
        for step in (*_STEPS, *_MORE_STEPS[table]):
            if step not in self._taken:
                self._run(_sql(step))
                self._taken.add(step)
        rows = f'SELECT *, "CreatedAt"::DATE AS date FROM ({_sql(table)})'
        self._run(f"CREATE OR REPLACE TABLE made AS {rows}")
        # One COPY with PARTITION_BY takes 2.5 times as long.
        for (day,) in self._engine.execute("SELECT DISTINCT date FROM made").fetchall():
            folder = target / f"date={day.isoformat()}"
            folder.mkdir(parents=True)
            # Version 2 encodings read 20 to 30 % faster; files sorted by time let DuckDB skip
            # row groups.
            self._run(
                f"""
                COPY (
                    SELECT * EXCLUDE (date) FROM made WHERE date = DATE '{day.isoformat()}'
                    ORDER BY "CreatedAt", "SpanId"
                ) TO $file (
                    FORMAT parquet, PARQUET_VERSION v2, COMPRESSION zstd, COMPRESSION_LEVEL 1
                )
                """,
                {"file": str(folder / "part-0.parquet")},
            )
        self._run("DROP TABLE made")

    def stop(self) -> None:
        """Make `make` end, from another thread."""
        self._is_stopped = True
        with suppress(duckdb.ConnectionException):  # just closed
            self._engine.interrupt()

    def _run(self, statement: str, parameters: dict[str, Any] | None = None) -> None:
        if self._is_stopped:
            raise UnavailableError(STOPPING)
        self._engine.execute(statement, parameters)


@contextmanager
def _engine(threads: int) -> Iterator[duckdb.DuckDBPyConnection]:
    """An in-memory engine whose time zone is UTC."""
    with duckdb.connect(config={"threads": threads}) as engine:
        engine.execute("SET TimeZone = 'UTC'")
        engine.execute("SET enable_progress_bar = false")  # it would be printed to stdout
        yield engine


def _move(made: Path, directory: Path) -> None:
    """Move finished data into place, unless another process did so first."""
    try:
        made.rename(directory)
    except OSError:
        if not directory.is_dir():
            raise


def _remove_outdated(cache: Path, family: str, *, keep: Path) -> None:
    """Remove older data, and what earlier versions left when killed, if older than a day.

    Younger directories may be in use by another process.
    """
    before = time.time() - _DAY_S
    with ScratchFolder(_SCRATCH, cache) as bin_:
        for pattern in (f"{family}*", f"{_SCRATCH}*"):
            for path in cache.glob(pattern):
                with suppress(OSError):
                    if path not in (keep, bin_) and path.stat().st_mtime < before:
                        # Renamed first, so that no process reads a half-deleted directory.
                        path.rename(bin_ / path.name)


def _first_column(engine: duckdb.DuckDBPyConnection, query: str) -> list[str]:
    """The first column of a query's rows, sorted."""
    return sorted(row[0] for row in engine.execute(query).fetchall())


def _choose(choices: list[T], seed: int, topic: str) -> T:
    """One of the choices, the same for a seed on every platform and Python version."""
    digest = hashlib.sha256(f"{seed}/{topic}".encode()).digest()
    return choices[int.from_bytes(digest[:8], "big") % len(choices)]


def _sql(name: str) -> str:
    """The text of sql/<name>.sql."""
    return files(__package__).joinpath("sql", f"{name}.sql").read_text("utf-8")
