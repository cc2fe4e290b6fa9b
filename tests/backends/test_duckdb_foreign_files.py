"""Files and folders that other programs leave in a data directory: read, refused or said."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest

from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.cli.check import check
from gateway_metrics_mcp.errors import EngineError
from gateway_metrics_mcp.query.model import LOCAL, Query
from gateway_metrics_mcp.query.result import Result
from gateway_metrics_mcp.settings import Settings

Row = dict[str, Any]
Ask = Callable[..., Awaitable[list[Row]]]
Write = Callable[..., Path]
Open = Callable[..., DuckDBBackend]
Make = Callable[..., Query]
Tell = Callable[..., Awaitable[Result]]

TABLE: Final = "gateway_model_metrics"
ABSENT: Final = f"the data directory has no table {TABLE}: no data of this datasource was loaded"
SUCH: Final = f'1 file in the folder of {TABLE}, such as "{{}}", is not read, '

AT_THE_TOP: Final = (
    '2 Parquet files are at the top of the data directory, such as "000000_0", and read for no'
    f" datasource: move each into the folder of its table, such as {TABLE}"
)


@pytest.fixture
def tell(engine: Open, make_query: Make) -> Tell:
    """Ask for the total: the result with its notes."""
    return lambda **options: engine(**options).query(make_query(), LOCAL)


def total(result: Result) -> object:
    return result.points[0].values[0]


# --- names ---


@pytest.mark.parametrize(
    "name",
    [
        *(
            "rows (1).parquet",
            "rows - Copy.parquet",
            "rows - Copy (2).parquet",
            "rows copy.parquet",
        ),
        *(
            "rows.sync-conflict-20260710-120000-ABCDEFG.parquet",
            "rows (x's conflicted copy).parquet",
        ),
    ],
)
async def test_a_name_like_a_copys_is_said_beside_the_file_it_is_of(
    tell: Tell, write: Write, name: str
) -> None:
    write([{}], name=name)
    alone = await tell()
    write([{}], name="rows.parquet")

    both = await tell()

    assert (total(alone), alone.notes) == (1, ())
    said = f'1 file in the folder of {TABLE}, such as "{name}", is named like a copy of one beside'
    said += " it, and counted too: remove what is a copy"
    assert (total(both), both.notes) == (2, (said,))


@pytest.mark.parametrize(
    "name", ["\udce9t\udce9.parquet", "\udce9t\udce9", "\udce9t\udce9/x.parquet"]
)
async def test_a_name_that_is_no_utf8_is_refused_by_name(
    tell: Tell, write: Write, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    right = write([{}])
    target = right.parent / name
    target.parent.mkdir(exist_ok=True)
    shutil.copy(right, target)

    with pytest.raises(EngineError, match=r"has a name that is no UTF-8: .*udce9") as caught:
        await tell()

    str(caught.value).encode()
    caplog.text.encode()


@pytest.mark.parametrize(
    "name",
    [
        *("rows.parquet", "rows.PARQUET", "rows.Parquet", "rows.parq", "rows.pq", "ROWS.PQ"),
        *("000000_0", "part-00000", "part-00000-3f9a.c000", "rows.snappy", "export-2026.07.14"),
        *("naïve.parquet", "rows of july.pq", "rows.parquet.1"),
    ],
)
async def test_parquet_is_read_whatever_its_name(
    write: Write, data: Path, tell: Tell, name: str
) -> None:
    write([{}, {}], name="a.parquet")
    write([{}], name="b.parquet").rename(data / TABLE / name)

    result = await tell()

    assert total(result) == 3
    assert result.notes == ()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("calls.csv", b"CreatedAt,ModelName\n"),
        ("calls.json", b"{}"),
        ("part-00000.avro", b"Obj\x01"),
        ("000000_0", b"ORC"),
        ("000001_0", b""),
        ("rows.parquet.gz", b"\x1f\x8b"),
        ("README", b"PAR"),
    ],
)
async def test_a_file_of_another_format_is_said(
    write: Write, data: Path, tell: Tell, name: str, content: bytes
) -> None:
    write([{}], name="a.parquet")
    (data / TABLE / name).write_bytes(content)

    result = await tell()

    assert total(result) == 1
    assert result.notes == (
        SUCH.format(name)
        + "being no Parquet: bring in rows of other formats with"
        + " `gateway-metrics-mcp import`",
    )


@pytest.mark.parametrize("ending", [".tmp", ".inprogress", ".PARTIAL", ".bak", "~"])
async def test_a_file_still_being_written_or_a_copy_is_said_and_not_read(
    write: Write, tell: Tell, ending: str
) -> None:
    write([{}], name="a.parquet")
    file = write([{}], name="a.parquet", folder="date=2026-07-10")
    file.rename(f"{file}{ending}")

    result = await tell()

    assert total(result) == 1
    assert result.notes == (
        SUCH.format(f"date=2026-07-10/a.parquet{ending}")
        + "being a temporary file or a copy by name: what should count must be named .parquet",
    )


async def test_files_that_are_not_read_are_counted(write: Write, data: Path, tell: Tell) -> None:
    write([{}], name="a.parquet")
    for day in (10, 11):
        (data / TABLE / f"2026-07-{day}.csv").touch()

    (note,) = (await tell()).notes

    assert note.startswith(f'2 files in the folder of {TABLE}, such as "2026-07-10.csv", are not')


@pytest.mark.parametrize("name", ["_SUCCESS", "._x.parquet", ".x.parquet.crc", "_metadata"])
async def test_names_that_other_engines_hide_are_passed_over(
    write: Write, data: Path, tell: Tell, name: str
) -> None:
    write([{}], name="a.parquet")
    (data / TABLE / name).write_bytes(b"x")

    result = await tell()

    assert (total(result), result.notes) == (1, ())


async def test_a_link_without_the_name_of_parquet_is_said_and_not_opened(
    write: Write, write_rows: Write, data: Path, tmp_path: Path, tell: Tell
) -> None:
    write([{}], name="a.parquet")
    (data / TABLE / "linked").symlink_to(write_rows(tmp_path / "outside", [{}]))

    result = await tell()

    assert total(result) == 1
    assert '"linked", is not read' in result.notes[0]


async def test_a_kept_answer_does_not_hide_a_file_that_came_since(
    write: Write, data: Path, engine: Open, make_query: Make
) -> None:
    write([{}], name="a.parquet")
    backend = engine(cache_bytes=1_000_000)
    before = await backend.query(make_query(), LOCAL)

    (data / TABLE / "late.csv").touch()
    after = await backend.query(make_query(), LOCAL)

    assert before.notes == ()
    assert '"late.csv", is not read' in after.notes[0]


async def test_a_spark_stream_s_own_log_is_said(write: Write, data: Path, tell: Tell) -> None:
    write([{}], name="a.parquet")
    (data / TABLE / "_spark_metadata").mkdir()

    assert "files of batches that failed are counted too" in (await tell()).notes[0]


# --- damage ---


async def test_every_damaged_file_is_named_with_what_is_wrong(
    write: Write, data: Path, ask: Ask
) -> None:
    whole = write([{}], name="a.parquet").read_bytes()
    for name, content in {
        "date=2026-07-10/b.parquet": b"",
        "c.parquet": whole[:-50],
        "d.pq": b"a,b\n",
        "e.parquet": b"PARE" + bytes(100),
    }.items():
        (data / TABLE / name).parent.mkdir(exist_ok=True)
        (data / TABLE / name).write_bytes(content)

    with pytest.raises(EngineError) as caught:
        await ask()

    assert str(caught.value) == (
        f'a Parquet file of {TABLE} cannot be read: "c.parquet" is cut short; "d.pq" is no Parquet'
        ' file; "e.parquet" is encrypted Parquet, and 1 more. Write it again, or move it out of the'
        " data directory"
    )


# --- no regular files ---


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
@pytest.mark.parametrize("name", ["b.parquet", "b", "date=2026-07-10/b.csv"])
async def test_a_pipe_is_refused_by_name_and_never_opened(
    write: Write, data: Path, ask: Ask, name: str
) -> None:
    write([{}], name="a.parquet")
    (data / TABLE / name).parent.mkdir(exist_ok=True)
    os.mkfifo(data / TABLE / name)

    with pytest.raises(EngineError) as caught:
        await ask()

    assert str(caught.value) == (
        f'a folder or file of {TABLE} is no regular file but a named pipe: "{name}"'
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
async def test_a_link_to_a_pipe_or_device_is_refused(write: Write, data: Path, ask: Ask) -> None:
    write([{}], name="a.parquet")
    (data / TABLE / "b.parquet").symlink_to("/dev/zero")

    with pytest.raises(EngineError, match=r'is no regular file but a device: "b\.parquet"'):
        await ask()


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no such sockets here")
async def test_a_socket_is_refused(
    write: Write, data: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    write([{}], name="a.parquet")
    monkeypatch.chdir(data / TABLE)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("b.parquet")

        with pytest.raises(EngineError, match=r'is no regular file but a socket: "b\.parquet"'):
            await ask()


# --- table formats ---

FORMATS: Final = [
    ("a Delta table", "_delta_log/00000000000000000000.json"),
    ("an Iceberg table", "metadata/v1.metadata.json"),
    ("an Iceberg table", "metadata/00000-3f9a.gz.metadata.json"),
    ("a Hudi table", ".hoodie/hoodie.properties"),
]


@pytest.mark.parametrize("place", [".", TABLE, f"{TABLE}/eu"])
@pytest.mark.parametrize(("format_", "log"), FORMATS)
async def test_a_table_format_with_a_log_is_refused_by_name(
    write: Write, data: Path, ask: Ask, place: str, format_: str, log: str
) -> None:
    write([{}], name="a.parquet")
    path = data / place / log
    path.parent.mkdir(parents=True)
    path.touch()

    with pytest.raises(EngineError) as caught:
        await ask()

    assert f" is {format_} (it has " in str(caught.value)
    assert "Write its current rows to plain Parquet" in str(caught.value)
    assert str(data) not in str(caught.value)


async def test_a_paimon_table_is_refused_by_name(write: Write, data: Path, ask: Ask) -> None:
    write([{}], folder="bucket-0")
    for folder in ("snapshot", "schema", "manifest"):
        (data / TABLE / folder).mkdir()

    with pytest.raises(EngineError, match="is a Paimon table"):
        await ask()


async def test_a_folder_named_metadata_is_a_folder_like_others(write: Write, ask: Ask) -> None:
    write([{}], folder="metadata")

    assert await ask() == [{"total": 1}]


# --- in no table ---


async def test_parquet_at_the_top_of_the_data_directory_is_said(
    data: Path, tmp_path: Path, write_rows: Write, tell: Tell
) -> None:
    file = write_rows(tmp_path, [{}])
    shutil.copy(file, data / "july.parquet")
    shutil.copy(file, data / "000000_0")

    result = await tell()

    assert total(result) == 0
    assert result.notes == (
        ABSENT,
        AT_THE_TOP,
    )


@pytest.mark.parametrize(
    "name",
    [
        *("Gateway_Model_Metrics", "gateway-model-metrics", "modelMetrics", "model_metrics"),
        *("gateway_model_metric", "gateway_models_metrics"),
    ],
)
async def test_a_folder_named_almost_like_a_table_is_said(
    data: Path, write: Write, tell: Tell, name: str
) -> None:
    write([{}])
    (data / TABLE).rename(data / name)

    assert (await tell()).notes == (
        ABSENT,
        f'the folder "{name}" is read for no datasource: did you mean {TABLE}?',
    )


async def test_parquet_in_a_folder_that_is_no_table_is_said(
    data: Path, write: Write, tell: Tell
) -> None:
    write([{}], folder="2026/07")
    (data / TABLE).rename(data / "traffic")
    (data / "notes").mkdir()
    (data / "_aside").mkdir()

    absent, stray = (await tell()).notes

    assert absent == ABSENT
    assert stray.startswith('the folder "traffic" has Parquet files, but is named like no table:')


async def test_tables_one_folder_too_deep_are_said(data: Path, write: Write, tell: Tell) -> None:
    write([{}])
    (data / "prod").mkdir()
    (data / TABLE).rename(data / "prod" / TABLE)

    _, stray = (await tell()).notes

    assert stray.startswith('the folder "prod" has folders of tables, which are not read there: is')


async def test_an_iceberg_warehouse_is_said_by_its_format(
    data: Path, write: Write, tell: Tell
) -> None:
    write([{}], folder="data")
    (data / "default").mkdir()
    table = (data / TABLE).rename(data / "default" / TABLE)
    (table / "metadata").mkdir()
    (table / "metadata" / "00000-1.metadata.json").touch()

    _, stray = (await tell()).notes

    assert stray.startswith('the folder "default" is or has an Iceberg table (it has metadata/')


async def test_check_says_once_what_is_read_for_no_datasource(
    data: Path, tmp_path: Path, write: Write, write_rows: Write
) -> None:
    write([{}])
    for name in ("july.parquet", "000000_0"):
        shutil.copy(write_rows(tmp_path, [{}]), data / name)

    findings = await check(Settings(backend=str(data)))

    lines = [str(finding) for finding in findings]
    assert [line for line in lines if "at the top" in line] == [f"FAIL  files: {AT_THE_TOP}"]
