"""Which files of the data directory the engine reads, and what it says where there are none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.backends.duckdb.files import find_files
from gateway_metrics_mcp.errors import EngineError, SettingsError
from gateway_metrics_mcp.query.model import LOCAL, Query
from gateway_metrics_mcp.query.result import Result

Row = dict[str, Any]
Ask = Callable[..., Awaitable[list[Row]]]
Write = Callable[..., Path]
Open = Callable[..., DuckDBBackend]
Make = Callable[..., Query]

TABLE: Final = "gateway_model_metrics"
DAY: Final = datetime(2026, 7, 10, tzinfo=UTC)


# --- which files are read ---


def listed(table: Path, start: datetime, end: datetime) -> list[str]:
    return [str(Path(name).relative_to(table)) for name in find_files(table, start, end).paths]


def touch(table: Path, *names: str) -> None:
    for name in names:
        path = table / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_partitions_outside_the_window_and_a_day_around_it_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, *(f"date=2026-07-{day:02}/a.parquet" for day in range(1, 32)))

    found = listed(tmp_path, DAY, DAY + timedelta(days=1))
    hour = listed(tmp_path, DAY + timedelta(hours=12), DAY + timedelta(hours=13))

    assert found == [f"date=2026-07-{day:02}/a.parquet" for day in (9, 10, 11)]
    assert hour == [f"date=2026-07-{day:02}/a.parquet" for day in (9, 10, 11)]


async def test_a_broken_file_outside_the_window_is_never_opened(ask: Ask, write: Write) -> None:
    write([{"InputTokens": 1}], folder="date=2026-07-10")
    write([{}], folder="date=2026-07-07").write_bytes(b"no Parquet at all")
    write([{}], folder="date=2026-07-08").write_bytes(b"no Parquet at all")

    window = {"startTs": "2026-07-10T00:00:00Z", "endTs": "2026-07-11T00:00:00Z"}

    assert await ask(**window) == [{"total": 1}]
    with pytest.raises(EngineError):
        await ask(startTs="2026-07-09T23:59:59Z", endTs="2026-07-11T00:00:00Z")


async def test_rows_on_the_other_side_of_midnight_from_their_partition_are_found(
    ask: Ask, write: Write
) -> None:
    early, late = DAY - timedelta(hours=11), DAY + timedelta(hours=35)
    write([{"CreatedAt": early}, {"CreatedAt": late}], folder="date=2026-07-10")

    first = await ask(startTs="2026-07-09T00:00:00Z", endTs="2026-07-10T00:00:00Z")
    last = await ask(startTs="2026-07-11T00:00:00Z", endTs="2026-07-12T00:00:00Z")

    assert (first, last) == ([{"total": 1}], [{"total": 1}])


def test_folders_that_are_no_date_are_entered_and_hidden_ones_are_not(tmp_path: Path) -> None:
    read = ("date=unknown/a.parquet", "date=__HIVE_DEFAULT_PARTITION__/a.parquet", "eu/a.parquet")
    passed = ("_temporary/a.parquet", ".tmp/a.parquet", ".a.parquet", "_a.parquet", "a.csv")
    touch(tmp_path, *read, *passed)

    assert sorted(listed(tmp_path, DAY, DAY + timedelta(days=1))) == sorted(read)


@pytest.mark.parametrize("character", list("*?[]{}"))
@pytest.mark.parametrize("place", ["{}.parquet", "x{}/a.parquet"])
async def test_a_name_with_a_wildcard_is_refused_rather_than_left_out(
    ask: Ask, write: Write, character: str, place: str
) -> None:
    folder, _, name = place.replace("{}", character).rpartition("/")
    write([{}], name="a.parquet")
    write([{}], folder=folder, name=name)

    with pytest.raises(EngineError, match="in its name"):
        await ask()


@pytest.mark.parametrize("character", list("*?[]{}"))
async def test_a_data_directory_with_a_wildcard_in_its_path_is_refused(
    engine: Open, tmp_path: Path, character: str
) -> None:
    directory = tmp_path / f"da{character}ta" / "deeper"
    directory.mkdir(parents=True)

    with pytest.raises(SettingsError, match="would read as a pattern"):
        engine(directory)


async def test_a_missing_data_directory_is_refused(engine: Open, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        engine(tmp_path / "absent")


async def test_a_link_out_of_the_data_directory_is_said_and_not_followed(
    ask: Ask, write: Write, write_rows: Write, tmp_path: Path, data: Path
) -> None:
    write([{}])
    outside = write_rows(tmp_path / "outside", [{}], name="secret.parquet")
    (data / TABLE / "link.parquet").symlink_to(outside)

    with pytest.raises(EngineError, match="link") as caught:
        await ask()
    assert "secret" not in str(caught.value)


async def test_a_linked_folder_is_said_and_its_rows_are_not_silently_left_out(
    ask: Ask, write: Write, data: Path
) -> None:
    write([{}], folder="date=2026-07-10")
    (data / TABLE / "date=2026-07-11").symlink_to(data / TABLE / "date=2026-07-10")

    with pytest.raises(EngineError, match="link") as caught:
        await ask()
    assert str(data) not in str(caught.value)


async def test_a_folder_that_cannot_be_listed_is_said(ask: Ask, write: Write, data: Path) -> None:
    write([{}], table="gateway_mcp_metrics")
    (data / TABLE).symlink_to(TABLE)  # a link to itself: an error for root as well

    with pytest.raises(EngineError, match=f"{TABLE} cannot be listed") as caught:
        await ask()
    assert str(data) not in str(caught.value)


async def test_a_file_that_has_gone_is_said(ask: Ask, write: Write, data: Path) -> None:
    write([{}])
    (data / TABLE / "gone.parquet").symlink_to(data / TABLE / "absent.parquet")

    with pytest.raises(EngineError, match=f"a Parquet file of {TABLE} cannot be read") as caught:
        await ask()
    assert str(data) not in str(caught.value)


# --- nothing there ---


async def _result(backend: DuckDBBackend, query: Query) -> Result:
    return await backend.query(query, LOCAL)


async def test_an_empty_directory_answers_with_nothing_and_says_so(
    engine: Open, make_query: Make
) -> None:
    backend = engine()

    result = await _result(backend, make_query(aggregations=["sum inputTokens"]))

    assert [point.values for point in result.points] == [(0, None)]
    assert result.notes == (
        f"the data directory has no table {TABLE}: no data of this datasource was loaded",
    )


async def test_a_table_without_files_of_the_window_needs_no_note(
    engine: Open, write: Write, make_query: Make
) -> None:
    write([{}], folder="date=2026-05-01")

    result = await _result(engine(), make_query())

    assert [point.values for point in result.points] == [(0,)]
    assert result.notes == ()


async def test_rows_that_come_while_the_engine_is_open_are_found(ask: Ask, write: Write) -> None:
    before = await ask()
    write([{}])

    assert (before, await ask()) == ([{"total": 0}], [{"total": 1}])


async def test_rows_from_the_instant_until_are_hidden(engine: Open, ask: Ask, write: Write) -> None:
    write([{"CreatedAt": DAY + timedelta(hours=hour)} for hour in range(24)])

    backend = engine(until=lambda: DAY + timedelta(hours=6))

    assert await ask(backend) == [{"total": 6}]
    assert await ask(backend, startTs="2026-07-11T00:00:00Z") == [{"total": 0}]
