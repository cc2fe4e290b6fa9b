"""What the engine takes from the names and the columns of the files, to read no more of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any, Final

import pytest

from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.backends.duckdb.files import find_files
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.query.model import LOCAL, Query

Ask = Callable[..., Awaitable[list[dict[str, Any]]]]
Write = Callable[..., Path]

RUN: Final = "import-20260715T093000Z-3f9a1c07"
DAY: Final = datetime(2026, 7, 10, tzinfo=UTC)
WINDOW: Final = {"startTs": "2026-07-10T00:00:00Z", "endTs": "2026-07-11T00:00:00Z"}


def listed(table: Path, *folders: str) -> list[str]:
    """Of folders with a file each, those that a question about the tenth of July opens."""
    for folder in folders:
        (table / folder).mkdir(parents=True)
        (table / folder / "rows.parquet").touch()
    found = find_files(table, DAY, DAY + timedelta(days=1)).paths
    return [str(Path(name).parent.relative_to(table)) for name in found]


def test_runs_of_import_whose_names_say_other_days_are_passed_over(tmp_path: Path) -> None:
    read = (
        f"{RUN}-2026-07-08-to-2026-07-10",
        f"{RUN}-2026-07-10-to-2026-07-10",
        f"{RUN}-2026-07-10-to-2026-07-12",
        f"{RUN}-2026-07-01-to-2026-07-31/date=2026-07-10",
        f"{RUN}/date=2026-07-10",
    )
    passed = (
        f"{RUN}-2026-07-09-to-2026-07-09",
        f"{RUN}-2026-07-11-to-2026-07-12",
        f"{RUN}-2026-07-01-to-2026-07-31/date=2026-07-09",
        f"{RUN}/date=2026-07-11",
    )

    assert sorted(listed(tmp_path, *read, *passed)) == sorted(read)


@pytest.mark.parametrize(
    "folder",
    [
        "import",
        "import-of-mine-2026-07-01-to-2026-07-02",
        "export-20260715T093000Z-3f9a1c07-2026-07-01-to-2026-07-02",
        f"{RUN}-2026-07-01-to-2026-07-0",
        "date=2026-7-1",
        "date=2026/07",
        "date=2026-07-xx",
    ],
)
def test_names_that_only_resemble_those_are_entered(tmp_path: Path, folder: str) -> None:
    assert listed(tmp_path, folder) == [folder]


@pytest.mark.parametrize("name", ["f", "files", "read_parquet", 'quo"ted', "date"])
async def test_a_column_of_ones_own_catalog_that_no_file_has_is_null_whatever_its_name(
    ask: Ask, write: Write, data: Path, tmp_path: Path, name: str
) -> None:
    field = {"type": "string", "responseKey": "own", "tableColumn": name}
    path = tmp_path / "own.json"
    path.write_text(json.dumps({"datasources": {"modelMetrics": {"groupBy": {"own": field}}}}))
    write([{"InputTokens": 1}], folder="date=2026-07-10")

    catalog = load_catalog(path)
    backend = DuckDBBackend(data, catalog)
    rows = await ask(backend, catalog=catalog, groupBy=["own"], **WINDOW)

    await backend.aclose()
    assert rows == [{"own": None, "total": 1}]


@pytest.mark.parametrize(
    ("folders", "start", "first"),
    [
        (["date=2026-07-10", "date=2026-07-12"], "2026-07-08", "rows 2026-07-10"),
        ([f"{RUN}/date=2026-07-10"], "2026-07-09", "files 2026-07-10"),
        ([f"{RUN}/date=2026-07-09", "date=2026-07-10"], "2026-07-08", "rows 2026-07-09"),
        (["date=2026-07-11"], "2026-07-09", "rows 2026-07-10"),
        (["date=2026-07-11"], "2026-07-10", None),
        (["date=2026-07-09"], "2026-07-08", "rows 2026-07-10"),
        (["date=2026-07-12"], "2026-07-11", None),
        (["date=2026-07-15"], "2026-07-08", None),
        (["date=2026-07-10"], "2026-07-10", None),
        (["date=2026-07-10"], "2026-07-10T18:00:00", None),
        (["date=2026-07-07", "date=2026-07-10"], "2026-07-08", None),
        (["date=2026-07-10", ""], "2026-07-08", None),
        (["date=2026-07-10", f"{RUN}-2026-07-09-to-2026-07-11"], "2026-07-08", None),
        (["date=2026-07-20"], "2026-07-08", None),
    ],
    ids=str,
)
async def test_the_first_day_of_a_window_is_said_where_it_is_certain(
    write: Write,
    engine: Callable[..., DuckDBBackend],
    make_query: Callable[..., Query],
    folders: list[str],
    start: str,
    first: str | None,
) -> None:
    """All rows are at noon UTC of the tenth, whatever their folder says in its zone."""
    for folder in folders:
        write([{"InputTokens": 1}], folder=folder)
    time = start if "T" in start else f"{start}T00:00:00"

    result = await engine().query(
        make_query(startTs=f"{time}Z", endTs="2026-07-14T00:00:00Z"), LOCAL
    )

    missing, _, day = (first or "").partition(" ")
    said = f"the data of this window begin on {day}: it has no {missing} of the days before"
    assert result.notes == (() if first is None else (said,))


async def test_files_together_have_the_columns_that_one_of_them_has(ask: Ask, write: Write) -> None:
    write([{"ModelName": "a"}], name="a.parquet")
    write([{"InputTokens": 5}], name="b.parquet")

    rows = await ask(groupBy=["modelName"], aggregations=["sum inputTokens"])

    assert rows == [
        {"modelName": "a", "total": 1, "sumInputTokens": None},
        {"modelName": None, "total": 1, "sumInputTokens": 5},
    ]


async def test_a_file_replaced_in_its_place_is_read_anew(ask: Ask, write: Write) -> None:
    write([{"ModelName": "a"}], name="a.parquet")
    before = await ask(groupBy=["modelName"], aggregations=["sum inputTokens"])
    write([{"InputTokens": 5}], name="a.parquet")
    after = await ask(groupBy=["modelName"], aggregations=["sum inputTokens"])

    assert before == [{"modelName": "a", "total": 1, "sumInputTokens": None}]
    assert after == [{"modelName": None, "total": 1, "sumInputTokens": 5}]


async def test_r5_every_list_of_up_to_four_teams_counts_each_name_once(
    ask: Ask, write: Write
) -> None:
    lists = [
        list(teams) for length in range(5) for teams in product(["a", "b", "", None], repeat=length)
    ]
    write([{"Teams": teams} for teams in [*lists, None]])
    expected = Counter(
        name for teams in [*lists, None] for name in ({*(teams or ())} - {None} or {None})
    )

    rows = await ask(groupBy=["team"])

    assert {row["team"]: row["total"] for row in rows} == expected
