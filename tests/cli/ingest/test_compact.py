"""Files of many imports become one a day, under readers, whatever ends the writer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import duckdb
import pytest

from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.backends.duckdb.manifest import Manifest, format_manifest
from gateway_metrics_mcp.cli.ingest import compact
from gateway_metrics_mcp.cli.ingest.directory import write_record
from gateway_metrics_mcp.errors import EngineError
from gateway_metrics_mcp.http.body import read_query
from gateway_metrics_mcp.query.catalog import Catalog
from gateway_metrics_mcp.query.model import LOCAL

if TYPE_CHECKING:
    from tests.cli.ingest.conftest import Data

Ask = Callable[..., Awaitable[dict[Any, Any]]]
Write = Callable[..., Path]
Compact = Callable[..., str]
Start = Callable[..., subprocess.Popen[str]]

TABLE: Final = "gateway_model_metrics"
RUN: Final = """
import sys
from gateway_metrics_mcp.cli.ingest import command, compact
sys.exit({"import": command, "compact": compact}[sys.argv[1]].main(sys.argv[2:]))
"""
# Ends the process at its n-th change of a name: of a run, of the manifest, of what it replaces.
KILLED: Final = """
import os, sys
left = [{left}]
def watch(event, arguments):
    if event == "os.rename":
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), 9)
sys.addaudithook(watch)
"""
FULL: Final = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, ({bytes}, {bytes}))
"""


def rows_of(*days: int, count: int = 20, start: int = 0) -> str:
    """Rows of these days of July, each with a token count of its own."""
    lines = (
        f"2026-07-{day:02}T{n % 24:02}:00:{n % 60:02}Z,model-{n % 3},{start + n},0.1\n"
        for day in days
        for n in range(count)
    )
    return f"CreatedAt,ModelName,InputTokens,CostInUSD\n{''.join(lines)}"


def age(data: Path) -> None:
    """Make the runs those of an earlier build, which has no manifest."""
    table = data / TABLE
    for run in table.glob("import-*"):
        stem, digits, days = run.name[:24], run.name[24:36], run.name[36:]
        run.rename(table / f"{stem}{digits[:8]}{days}")
    (table / "_manifest.json").unlink()


def runs_of(data: Path) -> list[str]:
    return sorted(path.name for path in (data / TABLE).glob("import-*"))


@pytest.fixture
def merge(data: Data, capsys: pytest.CaptureFixture[str]) -> Compact:
    """`gateway-metrics-mcp compact`, and what it says."""

    def run(*flags: str, code: int = 0) -> str:
        capsys.readouterr()
        assert compact.main([str(data.path), *flags]) == code
        said = capsys.readouterr()
        return said.err + said.out

    return run


@pytest.fixture
def start(forked: tuple[str, ...]) -> Start:
    """A command in a process of its own, after some code."""

    def start(code: str, *arguments: str | Path) -> subprocess.Popen[str]:
        return subprocess.Popen(  # noqa: S603 - our own code
            [*forked, "-c", code + RUN, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.mark.parametrize("is_earlier", [False, True], ids=["of this build", "of an earlier one"])
async def test_each_day_becomes_one_file_with_all_its_rows(
    data: Data, csv: Write, ask: Ask, merge: Compact, *, is_earlier: bool
) -> None:
    files = [csv(rows_of(1, 2, start=n * 100), f"{n}.csv") for n in range(3)]
    for path in files:
        data.bring(path)
    data.bring(csv("CreatedAt\n2026-07-03T00:00Z\nnever\n", "other.csv"))
    if is_earlier:
        age(data.path)
    before = await ask("modelName"), await ask(startTs="2026-07-02T00:00:00Z"), data.rows()

    said = merge()

    merged = "7 files of 3 UTC days into 3 files" if is_earlier else "6 files of 2 UTC days into 2"
    assert f"{TABLE}: merged {merged}" in said
    after = await ask("modelName"), await ask(startTs="2026-07-02T00:00:00Z"), data.rows()
    assert after == before
    assert len(runs_of(data.path)) == (1 if is_earlier else 2)
    assert data.faults() == []
    (refused,) = (data.path / TABLE).glob("import-*/_refused*.jsonl")
    assert "never" in refused.read_text()
    assert data.bring(*files).out.count("imported before") == 3
    assert merge() == f"{TABLE}: nothing to merge\n"


async def test_runs_that_an_earlier_build_adds_later_count_and_are_merged(
    data: Data, csv: Write, ask: Ask, merge: Compact
) -> None:
    data.bring(csv(rows_of(1)))
    shutil.copytree(data.path, data.path.parent / "other")
    age(data.path.parent / "other")
    (earlier,) = (data.path.parent / "other" / TABLE).glob("import-*")
    earlier.rename(data.path / TABLE / earlier.name)

    assert (await ask())[()][0] == 40
    assert "merged 2 files of 1 UTC day into 1 file" in merge()
    assert (await ask())[()][0] == 40


async def test_files_of_other_writers_stay_as_they_are(
    data: Data, csv: Write, ask: Ask, merge: Compact
) -> None:
    for n in range(2):
        data.bring(csv(rows_of(1, start=n), f"{n}.csv"))
    folder = data.path / TABLE / "date=2026-07-01"
    folder.mkdir()
    statement = "COPY (SELECT TIMESTAMPTZ '2026-07-01 01:00+00' AS \"CreatedAt\") TO"
    duckdb.execute(f"{statement} '{folder / 'export.parquet'}'")
    within = data.path / TABLE / runs_of(data.path)[0] / "date=2026-07-01" / "mine.parquet"
    shutil.copy(folder / "export.parquet", within)

    rows = within.with_name("rows.parquet").relative_to(data.path / TABLE)
    reason = "has a file beside it that import did not write: mine.parquet"
    assert merge().splitlines() == [
        f"{TABLE}: left as it is: {rows} {reason}",
        f"{TABLE}: nothing to merge",
    ]

    assert within.exists()
    assert (await ask())[()][0] == 42


def test_a_file_that_is_not_as_recorded_gets_no_new_checksum(
    data: Data, csv: Write, merge: Compact
) -> None:
    for n in range(3):
        data.bring(csv(rows_of(1, start=n), f"{n}.csv"))
    path = min(data.path.rglob("rows.parquet"))
    damaged = bytearray(path.read_bytes())
    damaged[100] ^= 1
    path.write_bytes(damaged)

    said = merge()

    assert f"{path.relative_to(data.path / TABLE)} is not as import recorded it" in said
    assert "merged 2 files of 1 UTC day into 1 file" in said
    assert [fault.name for fault in data.faults()] == [path.relative_to(data.path).as_posix()]


@pytest.mark.parametrize("is_lost", [True, False], ids=["lost", "damaged"])
async def test_a_manifest_is_rebuilt_from_the_records(
    data: Data, csv: Write, ask: Ask, merge: Compact, *, is_lost: bool
) -> None:
    for n in range(2):
        data.bring(csv(rows_of(1, 2 + n, start=n), f"{n}.csv"))
    merge()
    data.bring(csv(rows_of(1, start=9), "later.csv"))
    before, runs = await ask(), runs_of(data.path)
    # As if nothing had been hidden yet: rows that are in other runs must stay out.
    for hidden in (data.path / TABLE).rglob("_*import-*"):
        hidden.rename(hidden.with_name(hidden.name[1:]))
    for hidden in (data.path / TABLE).rglob("_date=*"):
        hidden.rename(hidden.with_name(hidden.name[1:]))
    manifest = data.path / TABLE / "_manifest.json"
    if is_lost:
        manifest.unlink()
    else:
        manifest.write_text(manifest.read_text().replace("2026-07-02", "2026-07-03", 1))
    why = "missing" if is_lost else "damaged"
    with pytest.raises(
        EngineError, match=f"{why}. Restore it .* `gateway-metrics-mcp compact DIR`"
    ):
        await ask()
    assert why in data.bring(csv(rows_of(5), "new.csv")).err
    assert [fault.name for fault in data.faults()] == [f"{TABLE}/_manifest.json"]

    assert f"{TABLE}: its manifest was rebuilt" in merge()

    assert await ask() == before
    assert len(runs_of(data.path)) <= len(runs)
    assert data.faults() == []


@pytest.mark.parametrize("form", ["{start}000000000000{days}", "{name} (1)", "{name}.bak"])
async def test_a_run_that_is_copied_in_is_said_and_not_counted(
    data: Data, csv: Write, catalog: Catalog, merge: Compact, form: str
) -> None:
    data.bring(csv(rows_of(1)))
    (run,) = (data.path / TABLE).glob("import-*")
    name = form.format(name=run.name, start=run.name[:24], days=run.name[36:])
    copy = shutil.copytree(run, run.with_name(name))

    backend = DuckDBBackend(data.path, catalog)
    result = await backend.query(read_query(COUNT, catalog), LOCAL)
    await backend.aclose()

    assert result.points[0].values == (20,)
    assert any(copy.name in note and "is not counted" in note for note in result.notes)
    assert [fault.name for fault in data.faults()] == [f"{TABLE}/{copy.name}"]
    merge()
    assert copy.exists()


def test_removing_its_folder_undoes_a_run_also_after_another(data: Data, csv: Write) -> None:
    first, second = csv(rows_of(1), "first.csv"), csv(rows_of(1, start=50), "second.csv")
    for path in (first, second):
        assert "to undo it, remove that folder" in data.bring(path).out
    shutil.rmtree(data.path / TABLE / runs_of(data.path)[0])

    assert len(data.rows()) == 20
    data.bring(csv(rows_of(2), "third.csv"))
    assert len(data.rows()) == 40
    assert data.faults() == []


async def test_many_small_imports_of_a_day_are_merged_on_the_way(
    data: Data, csv: Write, ask: Ask
) -> None:
    said = [data.bring(csv(rows_of(1, start=n), f"{n}.csv")).out for n in range(12)]

    merged = [n for n, text in enumerate(said) if "merged earlier runs" in text]
    assert merged[0] == 5
    assert "5 files of 1 UTC day into 1 file" in said[5]
    assert len(runs_of(data.path)) < 7
    # The last run stays as it is: to undo it, its folder is removed.
    assert said[11].partition(f"{TABLE}/")[2].split()[0] in runs_of(data.path)
    assert (await ask())[()][0] == 240
    assert data.bring(*data.path.parent.glob("*.csv")).out.count("imported before") == 12


@pytest.mark.thorough
async def test_runs_of_a_day_each_are_gathered_once_there_are_many(
    data: Data, csv: Write, ask: Ask, merge: Compact
) -> None:
    lines = (f"2026-0{4 + n // 30}-{n % 30 + 1:02}T00:00Z,{n}\n" for n in range(120))
    data.bring(csv(f"CreatedAt,InputTokens\n{''.join(lines)}"))
    table = data.path / TABLE
    (whole,) = table.glob("import-*")
    listed = {}
    for number, day in enumerate(sorted(path.name[5:] for path in whole.glob("date=*"))):
        run = table / f"{whole.name[:24]}{number:012x}-{day}-to-{day}"
        run.mkdir()
        (whole / f"date={day}").rename(run / f"date={day}")
        write_record(run, {"sources": []})
        listed[run.name] = [day]
    shutil.rmtree(whole)
    (table / "_manifest.json").write_text(format_manifest(Manifest(listed)))
    everything = {"startTs": "2026-04-01T00:00:00Z", "endTs": "2026-09-01T00:00:00Z"}
    before = await ask(**everything)

    assert "merged 120 files of 120 UTC days into 120 files in 4 folders" in merge()

    assert await ask(**everything) == before
    assert before[()][0] == 120
    assert len(runs_of(data.path)) == 4
    assert data.faults() == []
    assert "nothing to merge" in merge()


def test_what_was_replaced_goes_a_minute_later(data: Data, csv: Write, merge: Compact) -> None:
    for n in range(2):
        data.bring(csv(rows_of(1, 2 + n, start=n), f"{n}.csv"))
    merge()
    replaced = [path for path in data.path.rglob("_*") if path.is_dir()]
    assert len(replaced) == 2

    merge()
    assert all(path.exists() for path in replaced)

    for path in replaced:
        os.utime(path, (time.time() - 100, time.time() - 100))
    merge()
    assert not any(path.exists() for path in replaced)
    data.bring(csv(rows_of(9), "new.csv"))
    assert json.loads((data.path / TABLE / "_manifest.json").read_text())["replaced"] == {}


# --- writers that end early, and several at once ---


@pytest.fixture
def untouched(data: Data, csv: Write) -> Path:
    """Two runs of two days, one of them of an earlier build, and one day of a third."""
    data.bring(csv(rows_of(1, 2), "0.csv"))
    age(data.path)
    for n, days in ((1, (1, 2)), (2, (2, 3))):
        data.bring(csv(rows_of(*days, start=n * 100), f"{n}.csv"))
    return data.path.rename(data.path.with_name("untouched"))


async def test_a_compaction_killed_at_any_step_loses_and_doubles_nothing(
    data: Data, csv: Write, ask: Ask, merge: Compact, start: Start, untouched: Path
) -> None:
    later = csv(rows_of(1, 4, start=900), "later.csv")
    code, step = -9, 0
    states = set()
    while code == -9:
        step += 1
        shutil.rmtree(data.path, ignore_errors=True)
        shutil.copytree(untouched, data.path)

        process = start(KILLED.format(left=step), "compact", data.path)
        _, err = process.communicate(timeout=60)

        code = process.returncode
        assert code in (0, -9), err
        assert (await ask())[()] == (120, *SUMS)
        states.add((len(runs_of(data.path)), len(list(data.path.rglob("_*import-*/_import.json")))))
        if step % 2:
            data.bring(later)
            assert (await ask())[()][0] == 160
        else:
            merge()
            assert (await ask())[()] == (120, *SUMS)
        assert data.faults() == []
        assert [p.name for p in (data.path / ".importing").iterdir()] == ["lock"]
    assert len(states) >= 4  # renamed and not switched, switched and not hidden, ...


async def test_an_import_killed_at_any_step_is_in_whole_or_not_at_all(
    data: Data, csv: Write, ask: Ask, start: Start
) -> None:
    for n in range(5):
        data.bring(csv(rows_of(1, start=n), f"{n}.csv"))
    untouched = data.path.rename(data.path.with_name("untouched"))
    last = csv(rows_of(1, 2, start=500), "last.csv")
    seen = []
    for step in range(1, 6):
        shutil.rmtree(data.path, ignore_errors=True)
        shutil.copytree(untouched, data.path)

        # All five before it are merged when it is in.
        process = start(KILLED.format(left=step), "import", last, "--into", data.path)
        _, err = process.communicate(timeout=60)

        assert process.returncode == -9, err
        seen.append((await ask())[()][0])
        said = data.bring(last).out
        assert ("imported before" in said) == (seen[-1] == 140)
        assert (await ask())[()][0] == 140
        assert data.faults() == []
    assert seen == [100, 100, 140, 140, 140]


@pytest.mark.parametrize("size", [1, 2_000, 6_000])
async def test_a_full_disk_leaves_all_rows_where_they_are(
    data: Data, ask: Ask, merge: Compact, start: Start, untouched: Path, size: int
) -> None:
    shutil.copytree(untouched, data.path)

    process = start(FULL.format(bytes=size), "compact", data.path)
    _, err = process.communicate(timeout=60)

    assert process.returncode == 1
    assert "Traceback" not in err
    assert (await ask())[()] == (120, *SUMS)
    merge()
    assert (await ask())[()] == (120, *SUMS)
    assert data.faults() == []


async def test_a_server_counts_each_row_once_while_all_write(
    data: Data, csv: Write, catalog: Catalog, start: Start
) -> None:
    def write(first: int, last: int) -> list[Path]:
        return [csv(rows_of(1, 2, start=n), f"{n}.csv") for n in range(first, last)]

    for path in write(0, 4):
        data.bring(path)
    backend = DuckDBBackend(data.path, catalog)
    query = read_query(COUNT, catalog)
    counts: list[int] = []

    async def ask() -> None:
        (point,) = (await backend.query(query, LOCAL)).points
        counts.append(int(point.values[0] or 0))

    def import_each(paths: list[Path]) -> str:
        into = ("--into", data.path)
        commands = [("import", path, *into) for path in paths]
        return "".join(start("", *each).communicate(timeout=60)[1] for each in commands)

    def compact_often() -> str:
        return "".join(start("", "compact", data.path).communicate(timeout=60)[1] for _ in range(2))

    one, other = write(4, 7), write(7, 10)
    works = (lambda: import_each(one), lambda: import_each(other), compact_often)
    left = len(works)

    async def work(function: Callable[[], str]) -> None:
        nonlocal left
        err = await anyio.to_thread.run_sync(function)
        left -= 1
        assert "Traceback" not in err

    async with anyio.create_task_group() as group:
        for each in works:
            group.start_soon(work, each)
        while left:
            await ask()
    await ask()
    await backend.aclose()

    assert counts == sorted(counts)
    assert {count % 40 for count in counts} == {0}
    assert counts[-1] == 10 * 40
    assert data.faults() == []


COUNT: Final = {
    "startTs": "2026-07-01T00:00:00Z",
    "endTs": "2026-08-01T00:00:00Z",
    "datasource": "modelMetrics",
    "type": "distribution",
}
SUMS: Final = (sum(sum(range(n, n + 20)) * 2 for n in (0, 100, 200)), None, 12.0)
