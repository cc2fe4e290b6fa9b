"""The data directory under a running engine: gone, replaced or unreadable, and back again."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest

from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.errors import EngineError

Row = dict[str, Any]
Ask = Callable[..., Awaitable[list[Row]]]
Write = Callable[..., Path]
Open = Callable[..., DuckDBBackend]

TABLE: Final = "gateway_model_metrics"
ONE: Final = [{"total": 1}]


@pytest.fixture(params=[0, 1_000_000], ids=["no answers kept", "answers kept"])
def backend(request: pytest.FixtureRequest, engine: Open) -> DuckDBBackend:
    return engine(cache_bytes=request.param)


def rename(data: Path, *, empty: bool = False) -> Path:
    """Put the data directory aside; where it is now. An `empty` one takes its place."""
    aside = data.rename(data.parent / "aside")
    if empty:
        data.mkdir()
    return aside


def bring_back(aside: Path, data: Path) -> None:
    shutil.rmtree(data, ignore_errors=True)
    aside.rename(data)


async def test_a_renamed_data_directory_is_an_error_until_it_is_back(
    ask: Ask, write: Write, data: Path, backend: DuckDBBackend
) -> None:
    write([{}])
    assert await ask(backend) == ONE

    aside = rename(data)
    for _ in range(2):
        with pytest.raises(EngineError, match="the data directory of this server has gone") as gone:
            await ask(backend)
    bring_back(aside, data)

    assert str(data) not in str(gone.value)
    assert await ask(backend) == ONE


@pytest.mark.parametrize("rows", [[], [{}]], ids=["empty before", "rows before"])
async def test_an_empty_folder_in_its_place_is_an_error_as_after_an_unmount(
    ask: Ask, write: Write, data: Path, backend: DuckDBBackend, rows: list[Row]
) -> None:
    if rows:
        write(rows)
    before = await ask(backend)

    aside = rename(data, empty=True)
    with pytest.raises(EngineError, match="another directory has taken the place"):
        await ask(backend)
    bring_back(aside, data)

    assert await ask(backend) == before


async def test_a_part_of_its_tables_in_its_place_is_an_error(
    ask: Ask, write: Write, data: Path, backend: DuckDBBackend
) -> None:
    write([{}])
    write([{}], table="gateway_mcp_metrics")
    assert await ask(backend) == ONE

    rename(data)
    write([{}])

    with pytest.raises(EngineError, match="another directory has taken the place"):
        await ask(backend)


async def test_another_directory_with_all_its_tables_is_taken_for_it(
    ask: Ask, write: Write, data: Path, backend: DuckDBBackend
) -> None:
    write([{}])
    assert await ask(backend) == ONE

    rename(data)
    write([{}, {}])

    assert await ask(backend) == [{"total": 2}]


async def test_a_file_in_its_place_is_an_error(
    ask: Ask, write: Write, data: Path, backend: DuckDBBackend
) -> None:
    write([{}])
    rename(data).with_name("data").touch()

    with pytest.raises(EngineError) as caught:
        await ask(backend)
    assert str(data) not in str(caught.value)


async def test_a_directory_that_loses_all_its_tables_is_an_error(
    ask: Ask, write: Write, data: Path, backend: DuckDBBackend
) -> None:
    write([{}])
    assert await ask(backend) == ONE

    shutil.rmtree(data / TABLE)
    with pytest.raises(EngineError, match="has lost all its tables"):
        await ask(backend)
    write([{}])

    assert await ask(backend) == ONE


@pytest.mark.parametrize("is_empty", [False, True], ids=["renamed", "unmounted"])
async def test_a_table_that_goes_is_an_error_for_its_questions_alone(
    ask: Ask, write: Write, data: Path, backend: DuckDBBackend, *, is_empty: bool
) -> None:
    write([{}])
    write([{}], table="gateway_mcp_metrics")
    assert await ask(backend) == ONE

    aside = rename(data / TABLE, empty=is_empty)
    with pytest.raises(EngineError, match=f"the folder of {TABLE} has gone") as gone:
        await ask(backend)
    assert await ask(backend, datasource="mcpMetrics") == ONE
    bring_back(aside, data / TABLE)

    assert str(data) not in str(gone.value)
    assert await ask(backend) == ONE


async def test_a_table_that_was_never_there_is_merely_absent(
    ask: Ask, write: Write, backend: DuckDBBackend
) -> None:
    write([{}])

    assert await ask(backend, datasource="mcpMetrics") == [{"total": 0}]


async def test_a_table_whose_files_are_removed_has_no_rows(
    ask: Ask, write: Write, backend: DuckDBBackend
) -> None:
    file = write([{}])
    assert await ask(backend) == ONE

    file.unlink()

    assert await ask(backend) == [{"total": 0}]
