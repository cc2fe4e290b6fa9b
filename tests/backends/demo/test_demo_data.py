"""The data of `demo:`: in the published layout, and made once."""
# ruff: noqa: S608 - queries name our own tables and days

from __future__ import annotations

import errno
import os
import resource
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.backends.demo.reading import make_demo_data

from gateway_metrics_mcp.backends.demo import data
from gateway_metrics_mcp.backends.demo.data import FORMAT_VERSION
from gateway_metrics_mcp.backends.sql.dialect import published_tables
from gateway_metrics_mcp.errors import EngineError

SEED = 7
END_DAY = date(2026, 7, 15)
DAYS = [END_DAY - timedelta(back) for back in range(35)]

TYPES = {
    "TEXT": "VARCHAR",
    "TIMESTAMPTZ": "TIMESTAMP WITH TIME ZONE",
    "DOUBLE PRECISION": "DOUBLE",
    "Array(Text)": "VARCHAR[]",
    "Map(Text, Text)": "MAP(VARCHAR, VARCHAR)",
    "Map(Text, Array(Text))": "MAP(VARCHAR, VARCHAR[])",
}

Rows = list[tuple[Any, ...]]
Ask = Callable[[str], Rows]


# Layout


def test_each_table_has_a_directory_for_each_of_the_35_days(demo_directory: Path) -> None:
    days = sorted(f"date={day.isoformat()}" for day in DAYS)
    found = {
        table.name: sorted(path.name for path in table.iterdir())
        for table in demo_directory.iterdir()
    }
    assert found == dict.fromkeys(published_tables(), days)


@pytest.mark.parametrize("table", published_tables())
def test_columns_and_types_are_the_published_ones(ask: Ask, table: str) -> None:
    published = [(name, TYPES.get(kind, kind)) for name, kind in published_tables()[table].items()]
    assert [row[:2] for row in ask(f"DESCRIBE {table}")] == published


@pytest.mark.parametrize("table", published_tables())
def test_every_column_holds_values_and_no_number_is_nan(ask: Ask, table: str) -> None:
    columns = published_tables()[table]
    filled = ask(f"SELECT count(COLUMNS(*)) FROM {table}")[0]
    assert [name for name, count in zip(columns, filled, strict=True) if not count] == []
    floats = [name for name, kind in columns.items() if kind == "DOUBLE PRECISION"]
    broken = " OR ".join(f'NOT isfinite("{name}") OR "{name}" < 0' for name in floats) or "FALSE"
    assert ask(f"SELECT count(*) FROM {table} WHERE {broken}") == [(0,)]


@pytest.mark.parametrize("table", published_tables())
def test_rows_lie_in_the_utc_day_of_their_directory_to_the_millisecond(
    demo_directory: Path, table: str
) -> None:
    files = duckdb.read_parquet(f"{demo_directory}/{table}/*/*.parquet", hive_partitioning=True)
    misplaced = files.filter(
        """make_timestamp(epoch_us("CreatedAt"))::DATE <> date
        OR epoch_us("CreatedAt") % 1000 <> 0"""
    )
    assert misplaced.fetchall() == []


@pytest.mark.parametrize("table", published_tables())
def test_each_file_is_sorted_by_time_and_span(demo_directory: Path, table: str) -> None:
    files = [str(path) for path in (demo_directory / table).glob("*/*.parquet")]
    with duckdb.connect(config={"threads": 1}) as engine:
        unsorted = engine.execute(
            """SELECT count(*) FROM (
                SELECT
                    row("CreatedAt", "SpanId") AS here,
                    lag(here) OVER (PARTITION BY filename ORDER BY file_row_number) AS before
                FROM read_parquet($files, filename = true, file_row_number = true)
            ) WHERE before >= here""",
            {"files": files},
        ).fetchall()
    assert unsorted == [(0,)]


@pytest.mark.parametrize("table", published_tables())
def test_span_identifiers_are_unique(ask: Ask, table: str) -> None:
    assert ask(f'SELECT count(*) - count(DISTINCT "SpanId") FROM {table}') == [(0,)]


# Being made once


def test_a_second_call_writes_nothing(demo_cache: Path, demo_directory: Path) -> None:
    def stamps() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in demo_directory.rglob("*")}

    before = stamps()
    assert make_demo_data(demo_cache, seed=SEED, end_day=END_DAY) == demo_directory
    assert stamps() == before


def leave_behind(path: Path, *, age_hours: int) -> None:
    path.mkdir(parents=True)
    then = time.time() - age_hours * 3600
    os.utime(path, (then, then))


def test_only_outdated_data_of_the_same_seed_and_stale_leavings_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = f"demo-v{FORMAT_VERSION}-seed{SEED}"
    leave_behind(tmp_path / f"{family}-2026-06-27", age_hours=30)
    leave_behind(tmp_path / f"{family}-2026-07-14", age_hours=20)
    leave_behind(tmp_path / f"{family}1-2026-06-27", age_hours=30)
    leave_behind(tmp_path / ".making-stale", age_hours=30)
    leave_behind(tmp_path / ".making-by-another", age_hours=1)
    monkeypatch.setattr(data._Part, "make", lambda *given: given[-1].mkdir(exist_ok=True))  # noqa: SLF001

    made = make_demo_data(tmp_path, seed=SEED, end_day=END_DAY)

    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [".making-by-another", made.name, f"{family}-2026-07-14", f"{family}1-2026-06-27"]
    )


def test_a_full_disk_is_said_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(data._Part, "make", fail)  # noqa: SLF001
    with pytest.raises(EngineError, match="the disk is full that holds the demo's cache"):
        make_demo_data(tmp_path / "cache", seed=SEED, end_day=END_DAY)

    assert [*(tmp_path / "cache").iterdir()] == []
    assert f"the disk is full that holds {tmp_path / 'cache'}" in caplog.text


def test_a_generation_that_breaks_off_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(name: str) -> str:
        return "SELECT error('no more')" if name == "requests" else given(name)

    given = data._sql  # noqa: SLF001 - the statements of each step
    monkeypatch.setattr(data, "_sql", read)
    with pytest.raises(EngineError, match="could not be made"):
        make_demo_data(tmp_path / "cache", seed=SEED, end_day=END_DAY)
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.thorough
def test_a_disk_that_is_full_leaves_nothing(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(EngineError, match="could not be made"):
            make_demo_data(tmp_path / "cache", seed=SEED, end_day=END_DAY)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.thorough
def test_two_that_make_the_same_data_at_once_both_end_with_them(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        makers = [
            pool.submit(make_demo_data, tmp_path, seed=SEED, end_day=END_DAY) for _ in range(2)
        ]
        first, second = (maker.result() for maker in makers)
    assert first == second
    assert list(tmp_path.iterdir()) == [first]
    assert {table.name for table in first.iterdir()} == set(published_tables())
