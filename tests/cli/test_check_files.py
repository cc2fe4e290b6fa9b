"""`check` compares the files of a data directory with the checksums that `import` recorded."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from tests.cli.ingest.conftest import read_rows

from gateway_metrics_mcp.cli import integrity
from gateway_metrics_mcp.cli.main import main

Check = Callable[..., tuple[int, list[str]]]

TABLE: Final = "gateway_model_metrics"


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a run of two days."""
    folder = tmp_path_factory.mktemp("imported")
    source = folder / "calls.csv"
    lines = (f"2026-07-{10 + n % 2}T00:00:{n % 60:02}Z,model-{n % 3},{n}\n" for n in range(300))
    source.write_text(f"CreatedAt,ModelName,InputTokens\n{''.join(lines)}", "utf-8")
    assert main(["import", str(source), "--into", str(folder / "data")]) == 0
    return folder / "data"


@pytest.fixture
def data(imported: Path, tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    return shutil.copytree(imported, tmp_path / "data")


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Check:
    """`check`: its exit code, and its lines on files."""
    for name in [name for name in os.environ if name.startswith(("GATEWAY_METRICS_", "TFY_"))]:
        monkeypatch.delenv(name)

    def run(data: Path, *flags: str) -> tuple[int, list[str]]:
        capsys.readouterr()
        code = main(["check", "--backend", str(data), *flags])
        said = capsys.readouterr().out.splitlines()
        first = next(n for n, line in enumerate(said) if "time zones: " in line)
        return code, said[first + 1 :]

    return run


def days_of(data: Path) -> list[Path]:
    return sorted(data.rglob("rows.parquet"))


def sum_of(data: Path) -> tuple[int, float]:
    """The rows that count, and their cost."""
    rows = read_rows(data, '"CostInUSD"')
    return len(rows), sum(cost for (cost,) in rows)


def name_of(data: Path, path: Path) -> str:
    return path.relative_to(data).as_posix()


def test_files_as_import_wrote_them_are_as_recorded(data: Path, check: Check) -> None:
    code, said = check(data)

    size = integrity.format_size(sum(path.stat().st_size for path in days_of(data)))
    assert said == [f"ok    checksums: 2 files of 1 run of import compared, {size}"]
    assert code == 0


def test_a_flipped_bit_anywhere_in_a_file_is_found(data: Path, check: Check) -> None:
    path = days_of(data)[0]
    sound = path.read_bytes()
    length = int.from_bytes(sound[-8:-4], "little")
    footer = len(sound) - 8 - length
    places = {
        "the magic number": 0,
        "a page's header": 4,
        "a page": footer // 2,
        "the last page": footer - 1,
        "the schema": footer + 20,
        "the statistics": footer + length // 2,
        "the footer's length": len(sound) - 8,
        "the last byte": len(sound) - 1,
    }
    missed = []
    for what, place in places.items():
        for bit in (0, 7):
            damaged = bytearray(sound)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            comparison = integrity.Comparison(data)
            comparison.compare(io.StringIO())
            if [fault.name for fault in comparison.faults] != [name_of(data, path)]:
                missed.append((what, bit))
    assert missed == []

    code, said = check(data)
    run = path.parent.parent.name
    assert said[0] == (
        f"FAIL  {name_of(data, path)}: changed: not the bytes that import wrote."
        f" Restore it from a backup, or remove {run} and import again: calls.csv"
    )
    assert said[1].startswith("FAIL  checksums: 1 not as import recorded, of 2 files of 1 run")
    assert code == 1


def test_all_that_is_changed_missing_and_added_is_listed(data: Path, check: Check) -> None:
    first, second = days_of(data)
    first.write_bytes(first.read_bytes()[:-10])
    second.unlink()
    extra = second.with_name("more.parquet")
    shutil.copy(first, extra)

    code, said = check(data)

    assert code == 1
    size = first.stat().st_size
    assert [line.partition(". ")[0] for line in said[:-1]] == [
        f"FAIL  {name_of(data, extra)}: added: not in its run's record",
        f"FAIL  {name_of(data, first)}: changed: {size:,} bytes instead of {size + 10:,}",
        f"FAIL  {name_of(data, second)}: missing",
    ]
    assert str(data) not in "".join(said)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_what_is_no_regular_file_is_not_opened(data: Path) -> None:
    fifo, link = days_of(data)
    fifo.unlink()
    os.mkfifo(fifo)
    moved = link.rename(data.parent / "moved.parquet")
    link.symlink_to(moved)

    comparison = integrity.Comparison(data)
    comparison.compare(io.StringIO(), most_bytes=None)

    reasons = [fault.reason.partition(". ")[0] for fault in comparison.faults]
    assert reasons == ["changed: not a regular file"] * 2


def test_the_way_out_names_files_of_other_runs_too(tmp_path: Path, check: Check) -> None:
    """A run that took over a day of another has rows that only the other's file brings back."""
    data, header = tmp_path / "data", "CreatedAt,TraceId,SpanId,CostInUSD\n"
    texts = {
        "b.csv": "2026-07-10T00:00Z,b,b,\n2026-07-10T00:00Z,c,c,1\n2026-07-11T00:00Z,d,d,1\n",
        "a.csv": "2026-07-10T00:00Z,b,b,2\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(header + text, "utf-8")
        assert main(["import", str(tmp_path / name), "--into", str(data)]) == 0
    (run,) = data.rglob("import-*-2026-07-10-to-2026-07-10")
    (rows,) = run.rglob("rows.parquet")
    before = sum_of(data)
    rows.write_bytes(rows.read_bytes()[:-1])

    code, said = check(data)
    shutil.rmtree(run)
    names = ("b.csv", "a.csv")
    assert main(["import", *(str(tmp_path / name) for name in names), "--into", str(data)]) == 0
    without = sum_of(data)
    again = ["import", *(str(tmp_path / name) for name in names), "--into", str(data), "--replace"]
    assert main(again) == 0

    assert code == 1
    assert f"remove {run.name} and import again with --replace: b.csv, a.csv" in said[0]
    assert (before, sum_of(data)) == ((3, 4), (3, 4))
    assert without != before


def test_a_rollup_that_is_missing_is_no_failure(tmp_path: Path, check: Check) -> None:
    source = tmp_path / "calls.csv"
    lines = (f"2026-07-10T{n % 24:02}:00Z,model-{n % 3},{n % 5}\n" for n in range(10_000))
    source.write_text(f"CreatedAt,ModelName,InputTokens\n{''.join(lines)}", "utf-8")
    data = tmp_path / "data"
    assert main(["import", str(source), "--into", str(data)]) == 0
    first, second, *_ = sorted(data.rglob("_hour-*.parquet"))
    first.unlink()

    code, said = check(data)

    assert code == 0
    assert said[-1].endswith("1 rollup missing: answers are the same without, only slower")

    damaged = bytearray(second.read_bytes())
    damaged[100] ^= 1
    second.write_bytes(damaged)
    code, said = check(data)

    assert code == 1
    assert said[0] == (
        f"FAIL  {name_of(data, second)}: changed: not the bytes that import wrote. Restore it from"
        " a backup, or remove it: answers are the same without, only slower"
    )
    second.unlink()
    assert check(data)[0] == 0


def test_a_run_whose_record_is_lost_is_named(data: Path, check: Check) -> None:
    (record,) = data.rglob("_import.json")
    record.unlink()

    code, said = check(data)

    assert code == 1
    assert said[0].startswith(f"FAIL  {name_of(data, record)}: missing")
    assert f"remove {record.parent.name} and import again: that run's files" in said[0]


def test_a_flipped_bit_in_a_record_is_found(data: Path) -> None:
    (record,) = data.rglob("_import.json")
    sound = record.read_bytes()
    for place in range(0, len(sound) - 1, 3):
        damaged = bytearray(sound)
        damaged[place] ^= 1 << (place // 3 % 8)
        record.write_bytes(damaged)
        comparison = integrity.Comparison(data)
        comparison.compare(io.StringIO())
        # A change of white space alone means nothing.
        if _read(bytes(damaged)) != _read(sound):
            (fault,) = comparison.faults
            assert fault.name == name_of(data, record)
            assert fault.reason.startswith("unreadable or damaged. Restore it from a backup")


def _read(record: bytes) -> object:
    try:
        return json.loads(record)
    except ValueError:
        return None


def test_an_import_stops_at_a_damaged_record(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (record,) = data.rglob("_import.json")
    facts = record.read_text("utf-8")
    record.write_text(facts.replace("calls.csv", "calls.csw"), "utf-8")
    source = tmp_path / "more.csv"
    source.write_text("CreatedAt\n2026-07-12T00:00Z\n", "utf-8")

    assert main(["import", str(source), "--into", str(data)]) == 1
    assert "cannot be read, so what was already imported is unknown" in capsys.readouterr().err


def test_runs_without_checksums_and_files_of_others_are_said_and_pass(
    data: Path, check: Check
) -> None:
    (record,) = data.rglob("_import.json")
    facts: dict[str, Any] = json.loads(record.read_text("utf-8"))
    del facts["files"], facts["sha256"]
    record.write_text(json.dumps(facts), "utf-8")
    shutil.copy(days_of(data)[0], data / TABLE / "own.parquet")

    said = "none in 1 run of an earlier version; none for 1 file that import did not write"
    assert check(data) == (0, [f"ok    checksums: {said}"])


def test_more_than_a_gigabyte_is_read_only_if_asked_for(tmp_path: Path, check: Check) -> None:
    run = tmp_path / "data" / TABLE / "import-20260715T093000Z-3f9a1c07-2026-07-10-to-2026-07-10"
    day = run / "date=2026-07-10"
    day.mkdir(parents=True)
    with (day / "rows.parquet").open("wb") as stream:
        stream.truncate(1_000_000_001)  # zeros, which the disk need not hold
    file = {"name": "date=2026-07-10/rows.parquet", "bytes": 1_000_000_001, "sha256": "0" * 64}
    facts: dict[str, Any] = {"sources": [], "files": [file]}
    checksum = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    (run / "_import.json").write_text(json.dumps({**facts, "sha256": checksum}), "utf-8")

    code, said = check(tmp_path / "data")

    compared = "1 file of 1 run of import compared by name and size"
    assert said == [f"ok    checksums: {compared}; --files compares their contents, 1.0 GB"]
    assert code == 0


def test_what_is_asked_for_is_read(data: Path, check: Check) -> None:
    path = days_of(data)[0]
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    names_alone = integrity.Comparison(data)
    names_alone.compare(io.StringIO(), most_bytes=1000)
    assert names_alone.faults == []

    code, said = check(data, "--files")

    assert code == 1
    assert said[0].startswith(f"FAIL  {name_of(data, path)}: changed: not the bytes")


def test_the_flag_belongs_to_check(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["demo", "--files"])
    assert "--files belongs to check, not to demo" in capsys.readouterr().err
