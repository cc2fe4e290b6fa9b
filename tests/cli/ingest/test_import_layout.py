"""How the data lie: a file a day, in order of hour and model, in row groups that share the work."""

from __future__ import annotations

import io
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from gateway_metrics_mcp.backends.duckdb.files import find_files
from gateway_metrics_mcp.backends.sql.dialect import published_tables

if TYPE_CHECKING:
    from tests.cli.ingest.conftest import Data

Ask = Callable[..., Awaitable[dict[Any, Any]]]
Write = Callable[..., Path]
TABLE = "gateway_model_metrics"


def write_many(path: Path, rows: int, start: str = "12:00") -> Path:
    """Rows of 24 hours from 10 July on, in no order of time."""
    with duckdb.connect(config={"threads": 1}) as engine:
        engine.execute("SET TimeZone = 'UTC'")
        engine.execute(
            f"""
            COPY (
                SELECT TIMESTAMPTZ '2026-07-10 {start}:00+00'
                    + to_milliseconds(i * 7919 % {rows} * 86400000 // {rows}) AS created_at,
                    'm' || i % 3 AS model_name, i AS input_tokens
                FROM range({rows}) AS t(i)
            ) TO '{path}'
            """  # noqa: S608 - our own
        )
    return path


def test_each_day_is_a_sorted_file_in_row_groups_that_share_the_work(
    data: Data, tmp_path: Path
) -> None:
    # The first day has just more than two full row groups.
    data.bring(write_many(tmp_path / "many.csv", 250_000, start="00:10"), "--threads", "2")

    files = sorted(data.path.rglob("rows.parquet"))
    assert [path.parent.name for path in files] == ["date=2026-07-10", "date=2026-07-11"]
    for path, counts in zip(files, ([122_880, 122_880, 2_504], [1_736]), strict=True):
        groups = duckdb.execute(
            "SELECT row_group_num_rows, stats_min, stats_max, compression"
            " FROM parquet_metadata($path) WHERE path_in_schema = 'CreatedAt'"
            " ORDER BY row_group_id",
            {"path": str(path)},
        ).fetchall()
        assert [rows for rows, *_ in groups] == counts
        hours = [(least[:13], most[:13]) for _, least, most, _ in groups]
        assert all(before[1] <= after[0] for before, after in pairwise(hours))
        assert {group[3] for group in groups} == {"ZSTD"}
        ((is_sorted,),) = duckdb.execute(
            "SELECT bool_and(place >= before) FROM (SELECT place, lag(place, 1, place)"
            " OVER (ORDER BY file_row_number) AS before FROM (SELECT file_row_number,"
            ' (epoch_us("CreatedAt") // 3600000000, "ModelName", "CreatedAt") AS place'
            " FROM read_parquet($path, file_row_number = true)))",
            {"path": str(path)},
        ).fetchall()
        assert is_sorted


def test_a_small_day_has_two_row_groups_as_well(data: Data, tmp_path: Path) -> None:
    data.bring(write_many(tmp_path / "some.csv", 10_000))

    groups = duckdb.execute(
        "SELECT row_group_num_rows FROM parquet_metadata($pattern)"
        " WHERE path_in_schema = 'CreatedAt' ORDER BY file_name, row_group_id",
        {"pattern": f"{data.path}/**/rows.parquet"},
    ).fetchall()
    assert groups == [(4096,), (904,), (4096,), (904,)]


def test_the_first_columns_are_those_of_the_published_layout(data: Data, csv: Write) -> None:
    data.bring(csv("CreatedAt\n2026-07-10T00:00Z\n"))

    (path,) = data.path.rglob("*.parquet")
    described = duckdb.execute("DESCRIBE FROM read_parquet($path)", {"path": str(path)}).fetchall()
    columns = [name for name, *_ in described]
    published = list(published_tables()[TABLE])
    assert [name for name in columns if name != "date"][: len(published)] == published
    types = {name: type_ for name, type_, *_ in described}
    assert types["CreatedAt"] == "TIMESTAMP WITH TIME ZONE"
    assert types["Metadata"] == "MAP(VARCHAR, VARCHAR)"


async def test_the_engine_opens_the_days_of_a_window_alone(
    data: Data, tmp_path: Path, ask: Ask
) -> None:
    text = "".join(f"2026-07-{day:02}T12:00Z,m,{day}\n" for day in range(1, 31))
    (tmp_path / "days.csv").write_text(f"CreatedAt,ModelName,InputTokens\n{text}")
    data.bring(tmp_path / "days.csv")

    window = datetime(2026, 7, 10, tzinfo=UTC), datetime(2026, 7, 11, tzinfo=UTC)
    files = find_files(data.path / TABLE, *window).paths

    assert [Path(name).parent.name[-2:] for name in files] == ["10"]
    starts = {"startTs": "2026-07-10T00:00:00Z", "endTs": "2026-07-12T00:00:00Z"}
    assert await ask(**starts) == {(): (2, 21, None, None)}


async def test_a_run_says_its_days_and_one_of_other_days_is_not_even_opened(
    data: Data, csv: Write, ask: Ask
) -> None:
    data.bring(csv("CreatedAt,InputTokens\n2026-07-03T00:00Z,1\n2026-07-08T23:59:59Z,2\n"))
    data.bring(csv("CreatedAt,InputTokens\n2026-07-09T00:00Z,4\n", "later.csv"))

    early, late = sorted((data.path / TABLE).glob("import-*"), key=lambda run: run.name[-24:])
    for file in early.rglob("*.parquet"):
        file.write_bytes(b"no Parquet at all")

    assert early.name.endswith("-2026-07-03-to-2026-07-08")
    assert late.name.endswith("-2026-07-09-to-2026-07-09")
    assert await ask(startTs="2026-07-09T00:00:00Z") == {(): (1, 4, None, None)}


async def test_runs_of_before_whose_folders_do_not_say_their_days_are_read(
    data: Data, csv: Write, ask: Ask
) -> None:
    path = csv("CreatedAt,InputTokens\n2026-07-03T00:00Z,1\n2026-07-10T00:00Z,2\n")
    data.bring(path)
    (run,) = (data.path / TABLE).glob("import-*")
    run.rename(run.with_name("import-20260715T093000Z-3f9a1c07"))
    (data.path / TABLE / "_manifest.json").unlink()

    assert await ask() == {(): (2, 3, None, None)}
    assert await ask(startTs="2026-07-10T00:00:00Z") == {(): (1, 2, None, None)}
    assert "imported before" in data.bring(path).out


async def test_imported_rows_stand_beside_those_of_an_export(
    data: Data, csv: Write, ask: Ask
) -> None:
    folder = data.path / TABLE / "date=2026-07-10"
    folder.mkdir(parents=True)
    duckdb.execute(
        "COPY (SELECT TIMESTAMPTZ '2026-07-10 01:00:00+00' AS \"CreatedAt\","
        ' \'m\' AS "ModelName", 5 AS "InputTokens")'
        f" TO '{folder / 'export.parquet'}'"
    )

    data.bring(csv("CreatedAt,ModelName,InputTokens\n2026-07-10T00:00Z,m,6\n"))

    assert await ask("modelName") == {("m",): (2, 11, None, None)}


def test_a_file_comes_in_within_little_memory(data: Data, tmp_path: Path) -> None:
    path = write_many(tmp_path / "many.csv", 200_000)

    done = data.bring(path, "--memory", "120MB", "--threads", "1")

    assert done.code == 0, done.err
    files = [str(file) for file in data.path.rglob("rows.parquet")]
    total = 'SELECT count(*), sum("InputTokens") FROM read_parquet($files)'
    counted = duckdb.execute(total, {"files": files}).fetchall()
    assert counted == [(200_000, 200_000 * 199_999 // 2)]


class Terminal(io.StringIO):
    """A stderr that people look at."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "is_drawn"), [(Terminal(), True), (io.StringIO(), False)])
def test_progress_is_drawn_on_a_terminal_alone(
    data: Data, csv: Write, monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, *, is_drawn: bool
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)

    data.bring(csv("CreatedAt\n2026-07-10T00:00Z\n"))

    assert ("\rreading calls.csv [" in stream.getvalue()) == is_drawn
    assert stream.getvalue().endswith("\r\x1b[K" if is_drawn else "")
