"""Answers of the embedded engine are kept until one of their files changes, and by caller."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.query.model import LOCAL, Caller, Filter, Query
from gateway_metrics_mcp.query.result import Result

Row = dict[str, Any]
Write = Callable[..., Path]
Open = Callable[..., DuckDBBackend]

DAY: Final = {
    "datasource": "modelMetrics",
    "type": "distribution",
    "start_ts": datetime(2026, 7, 10, tzinfo=UTC),
    "end_ts": datetime(2026, 7, 11, tzinfo=UTC),
    "group_by": ("modelName",),
}
QUERY: Final = Query.model_validate(DAY)
ROWS: Final[list[Row]] = [{"ModelName": "a/x"}, {"ModelName": "b/y"}]
MANY: Final = 10_000_000


@pytest.fixture
def rows(tmp_path: Path, write_rows: Write) -> Path:
    """The file of the rows, in a day's folder beside another day's."""
    write_rows(tmp_path, ROWS, folder="date=2026-07-01")
    return write_rows(tmp_path, ROWS, folder="date=2026-07-10")


def totals(result: Result) -> dict[Any, Any]:
    return {point.keys[0]: point.values[0] for point in result.points}


@pytest.mark.usefixtures("rows")
async def test_a_repeated_question_is_answered_from_the_cache(engine: Open, tmp_path: Path) -> None:
    backend = engine(tmp_path, cache_bytes=MANY)

    first = await backend.query(QUERY, LOCAL)

    assert await backend.query(QUERY, LOCAL) is first
    assert first.age_s is None
    assert totals(first) == {"a/x": 1, "b/y": 1}


@pytest.mark.usefixtures("rows")
async def test_without_a_cache_each_question_is_read_anew(engine: Open, tmp_path: Path) -> None:
    backend = engine(tmp_path)

    first = await backend.query(QUERY, LOCAL)

    assert await backend.query(QUERY, LOCAL) is not first


def _change(kind: str, path: Path, write: Callable[..., Path]) -> dict[str, int]:
    """Change the day's files; the totals that follow. `write` writes into the directory."""
    day = path.parent.name
    if kind == "added":
        write(ROWS[:1], folder=day, name="part-1.parquet")
        return {"a/x": 2, "b/y": 1}
    if kind == "removed":
        path.unlink()
        return {}
    if kind == "replaced":
        write(ROWS[1:], folder="date=2026-07-02").replace(path)
        return {"b/y": 1}
    # Another text of the same size, with the same time of change.
    before = path.stat()
    write([{"ModelName": "a/z"}, {"ModelName": "b/y"}], folder=day)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return {"a/z": 1, "b/y": 1}


@pytest.mark.parametrize("kind", ["added", "removed", "replaced", "rewritten"])
async def test_a_changed_file_changes_the_answer(
    engine: Open, tmp_path: Path, rows: Path, write_rows: Write, kind: str
) -> None:
    backend = engine(tmp_path, cache_bytes=MANY)
    assert totals(await backend.query(QUERY, LOCAL)) == {"a/x": 1, "b/y": 1}

    expected = _change(kind, rows, partial(write_rows, tmp_path))

    assert totals(await backend.query(QUERY, LOCAL)) == expected


@pytest.mark.usefixtures("rows")
async def test_a_file_outside_the_window_changes_nothing(
    engine: Open, tmp_path: Path, write_rows: Write
) -> None:
    backend = engine(tmp_path, cache_bytes=MANY)
    first = await backend.query(QUERY, LOCAL)

    write_rows(tmp_path, ROWS, folder="date=2026-07-20")

    assert await backend.query(QUERY, LOCAL) is first


async def test_callers_share_no_answer(engine: Open, tmp_path: Path, write_rows: Write) -> None:
    slugs = [
        {"CreatedBySubjectSlug": slug, "CreatedBySubjectType": "user"} for slug in ("ada", "bob")
    ]
    write_rows(tmp_path, slugs)
    backend = engine(tmp_path, cache_bytes=MANY)

    assert totals(await backend.query(QUERY, LOCAL)) == {None: 2}
    assert totals(await backend.query(QUERY, Caller("ada"))) == {None: 1}
    assert totals(await backend.query(QUERY, Caller("eve"))) == {}


@pytest.mark.parametrize(
    "other",
    [
        {"end_ts": datetime(2026, 7, 10, 23, tzinfo=UTC)},
        {"end_ts": datetime(2026, 7, 10, 23, 59, 59, 999_999, tzinfo=UTC)},
        {"group_by": ("requestType",)},
        {"filters": (Filter(field_name="modelName", operator="EQUAL", value="a/x"),)},
    ],
)
@pytest.mark.usefixtures("rows")
async def test_other_questions_have_other_answers(
    engine: Open, tmp_path: Path, other: dict[str, Any]
) -> None:
    backend = engine(tmp_path, cache_bytes=MANY)
    first = await backend.query(QUERY, LOCAL)

    assert await backend.query(Query.model_validate({**DAY, **other}), LOCAL) is not first


@pytest.mark.usefixtures("rows")
async def test_the_least_recently_used_answer_makes_room(engine: Open, tmp_path: Path) -> None:
    backend = engine(tmp_path, cache_bytes=1_500)  # for one answer
    first = await backend.query(QUERY, LOCAL)
    assert await backend.query(QUERY, LOCAL) is first

    await backend.query(Query.model_validate({**DAY, "group_by": ("requestType",)}), LOCAL)

    again = await backend.query(QUERY, LOCAL)
    assert again is not first
    assert totals(again) == totals(first)


async def test_a_table_that_appears_is_no_longer_absent(
    engine: Open, tmp_path: Path, write_rows: Write
) -> None:
    backend = engine(tmp_path, cache_bytes=MANY)
    assert (await backend.query(QUERY, LOCAL)).is_absent

    (tmp_path / load_catalog().datasources["modelMetrics"].table).mkdir()
    assert not (await backend.query(QUERY, LOCAL)).is_absent

    write_rows(tmp_path, ROWS)
    assert totals(await backend.query(QUERY, LOCAL)) == {"a/x": 1, "b/y": 1}
