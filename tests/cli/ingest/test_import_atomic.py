"""A run is in whole or not at all, whatever ends it; what is in comes in once."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from tests.cli.ingest.conftest import Data

Write = Callable[..., Path]

IMPORT: Final = """
import sys
from gateway_metrics_mcp.cli.ingest.command import main
sys.exit(main(sys.argv[1:]))
"""
# The kernel ends the process at the write that makes a file larger than this.
KILLED_BY_A_WRITE: Final = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
"""
FAILED_BY_A_WRITE: Final = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
"""
# A run renames its folder, and then the manifest that makes it count.
KILLED_AT_THE_RENAME: Final = """
import os, sys
sys.addaudithook(lambda event, _: os.kill(os.getpid(), 9) if event == "os.rename" else None)
"""
KILLED_AFTER_THE_SWITCH: Final = """
import os, sys
seen = []
def watch(event, arguments):
    if len(seen) > 1 and event == "open":
        os.kill(os.getpid(), 9)
    # The first manifest lists nothing; the run's own comes after the run.
    if event == "os.rename" and (seen or "import-" in os.path.basename(arguments[1])):
        seen.append(event)
sys.addaudithook(watch)
"""
FULL_AT_THE_RENAME: Final = """
import errno, os, sys
def watch(event, arguments):
    if event == "os.rename":
        raise OSError(errno.ENOSPC, "no space")
sys.addaudithook(watch)
"""
INTERRUPTED_AT_THE_RENAME: Final = KILLED_AT_THE_RENAME.replace("9)", "2)")


def rows_of(day: int, count: int = 2000) -> str:
    lines = (
        f"2026-07-{day + n % 3:02}T{n % 24:02}:00:{n % 60:02}Z,model-{n % 7},{n}\n"
        for n in range(count)
    )
    return f"CreatedAt,ModelName,InputTokens\n{''.join(lines)}"


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(forked: tuple[str, ...], data: Data) -> Start:
    """Import files in a process of its own, after some code."""

    def start(code: str, *files: Path) -> subprocess.Popen[str]:
        arguments = [*map(str, files), "--into", str(data.path)]
        return subprocess.Popen(  # noqa: S603 - our own code
            [*forked, "-c", code + IMPORT, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (KILLED_BY_A_WRITE, -25),
        (FAILED_BY_A_WRITE, 1),
        (KILLED_AT_THE_RENAME, -9),
        (FULL_AT_THE_RENAME, 1),
        (INTERRUPTED_AT_THE_RENAME, 130),
    ],
    ids=["killed at a write", "a write fails", "killed at the rename", "full", "interrupted"],
)
def test_a_run_that_ends_early_leaves_the_data_as_they_were(
    data: Data, csv: Write, start: Start, fault: str, code: int
) -> None:
    data.bring(csv(rows_of(1), "before.csv"))
    before = data.files()
    path = csv(rows_of(2), "later.csv")

    process = start(fault, path)
    _, err = process.communicate(timeout=60)

    assert process.returncode == code, err
    assert "Traceback" not in err
    full = f"the disk of {data.path} is full: nothing was imported. Free some space and import"
    assert (full in err) == (fault == FULL_AT_THE_RENAME)
    visible = {n: c for n, c in data.files().items() if not n.startswith(".importing/")}
    assert visible == before
    assert len(data.rows()) == 2000

    assert data.bring(path).code == 0
    assert len(data.rows()) == 4000
    assert sorted(p.name for p in (data.path / ".importing").iterdir()) == ["lock"]
    assert data.faults() == []


def test_a_run_that_ends_after_the_switch_is_in_whole(data: Data, csv: Write, start: Start) -> None:
    path = csv(rows_of(1))

    process = start(KILLED_AFTER_THE_SWITCH, path)
    process.communicate(timeout=60)

    assert process.returncode == -9
    assert len(data.rows()) == 2000
    assert data.faults() == []
    assert "nothing new to import" in data.bring(path).out
    assert len(data.rows()) == 2000


def test_two_imports_at_once_both_come_in_and_equal_files_once(
    data: Data, csv: Write, start: Start
) -> None:
    one, other = csv(rows_of(1), "one.csv"), csv(rows_of(5), "other.csv")

    processes = [start("", one), start("", one, other), start("", other)]
    said = [process.communicate(timeout=60) for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0], said
    assert len(data.rows()) == 4000


def test_the_same_content_comes_in_once(data: Data, csv: Write) -> None:
    first, twin = csv(rows_of(1), "first.csv"), csv(rows_of(1), "twin.csv")

    done = data.bring(first, twin)

    assert f"{twin}: imported before, in {first}; --replace reads it again" in done.out
    assert len(data.rows()) == 2000

    before = data.files()
    done = data.bring(twin)
    assert (done.code, done.out.splitlines()[-1]) == (0, "nothing new to import")
    assert data.files() == before

    done = data.bring(twin, "--again")
    assert done.code == 0
    assert "--again is --replace now" in done.err
    assert len(data.rows()) == 2000


def test_a_file_is_another_for_another_table(data: Data, csv: Write) -> None:
    path = csv("CreatedAt,LatencyMs\n2026-07-10T00:00Z,5\n")

    data.bring(path, "--table", "gateway_mcp_metrics")
    data.bring(path, "--table", "gateway_request_metrics")

    assert data.rows('"LatencyMs"', "gateway_mcp_metrics") == [(5.0,)]
    assert data.rows('"LatencyMs"', "gateway_request_metrics") == [(5.0,)]


def test_removing_its_folder_undoes_a_run(data: Data, csv: Write) -> None:
    path = csv("CreatedAt\n2026-07-10T00:00Z\n")
    data.bring(path)
    (folder,) = (data.path / "gateway_model_metrics").glob("import-*")

    folder.rename(data.path.parent / "undone")

    assert data.rows() == []
    assert data.bring(path).code == 0
    assert len(data.rows()) == 1


def test_a_record_that_cannot_be_read_stops_the_import(data: Data, csv: Write) -> None:
    data.bring(csv("CreatedAt\n2026-07-10T00:00Z\n", "a.csv"))
    (record,) = data.path.rglob("_import.json")
    record.write_text("{")

    done = data.bring(csv("CreatedAt\n2026-07-11T00:00Z\n", "b.csv"))

    assert done.code == 1
    assert f"{record} cannot be read, so what was already imported is unknown" in done.err
    assert len(data.rows()) == 1
