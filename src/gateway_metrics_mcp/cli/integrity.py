"""Compares the files of a data directory with the checksums that `import` recorded.

Storage that flips a bit changes figures without an error, so `check` looks, and questions do not:
reading every byte takes longer than most questions.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final, TextIO

from gateway_metrics_mcp.backends.duckdb.files import is_parquet_name
from gateway_metrics_mcp.backends.duckdb.manifest import (
    MANIFEST,
    OUT_OF_UNLISTED,
    Manifest,
    explain_missing,
    is_at_work,
    names_run,
    read_manifest,
)
from gateway_metrics_mcp.cli.ingest.directory import (
    RECORD,
    RunRecord,
    WrittenFile,
    hash_file,
    read_record,
)
from gateway_metrics_mcp.errors import EngineError

READ_UNASKED: Final = 1_000_000_000
"""The most bytes that are read unless asked for: a second or two from a local disk."""

_MOST_SOURCES: Final = 5
_OUT_OF_ROLLUP: Final = (
    "Restore it from a backup, or remove it: answers are the same without, only slower"
)


@dataclass(frozen=True, slots=True)
class Fault:
    """A file that is not as recorded; its name is relative to the data directory."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Expected:
    """A file whose name and size are as recorded, and what to do if its content is not."""

    path: Path
    file: WrittenFile
    way_out: str


class Comparison:
    """Compares all runs' files in a data directory with their records."""

    def __init__(self, directory: Path, beat: Callable[[], None] = lambda: None) -> None:
        """`beat` is called now and then, to show that storage does not hang."""
        self.faults: list[Fault] = []
        self._beat = beat
        self._directory = directory
        self._runs = self._files = self._bytes = 0
        self._without_checksums = 0
        self._foreign = 0
        self._rollups_missing = 0
        self._manifests: dict[Path, Manifest | None] = {}
        self._is_read = False
        self._seconds = 0.0

    def compare(self, messages: TextIO, *, most_bytes: int | None = READ_UNASKED) -> None:
        """Compare names and sizes, and contents too unless they are more than `most_bytes`.

        `messages` gets the progress, if there is much to read.
        """
        expected = [file for run in self._find_runs(self._directory) for file in self._match(run)]
        self._is_read = most_bytes is None or self._bytes <= most_bytes
        if self._is_read:
            start = time.monotonic()
            self._compare_contents(expected, messages)
            self._seconds = time.monotonic() - start

    def summary(self) -> str:
        """What was compared, in one line; empty if there are no files."""
        parts = []
        if self._runs:
            parts.append(self._summarize_runs())
        if self._without_checksums:
            runs = _count(self._without_checksums, "run")
            parts.append(f"none in {runs} of an earlier version")
        if self._rollups_missing:
            rollups = _count(self._rollups_missing, "rollup")
            parts.append(f"{rollups} missing: answers are the same without, only slower")
        if self._foreign:
            parts.append(f"none for {_count(self._foreign, 'file')} that import did not write")
        return "; ".join(parts)

    def _summarize_runs(self) -> str:
        what = f"{_count(self._files, 'file')} of {_count(self._runs, 'run')} of import"
        size = format_size(self._bytes)
        if not self._is_read:
            return f"{what} compared by name and size; --files compares their contents, {size}"
        speed = ""
        if self._seconds > 1:
            speed = f" in {self._seconds:,.0f} s, {self._bytes / self._seconds / 1e6:,.0f} MB/s"
        return f"{what} compared, {size}{speed}"

    def _find_runs(self, folder: Path) -> Iterator[Path]:
        """The folders of runs; other files are counted on the way."""
        for entry in self._list(folder):
            if not entry.is_dir(follow_symlinks=False):
                self._foreign += is_parquet_name(entry.name)
            elif names_run(entry.name):
                yield from self._find_listed(Path(entry.path))
            else:
                yield from self._find_runs(Path(entry.path))

    def _find_listed(self, run: Path) -> Iterator[Path]:
        """The run, unless its rows are in others now, or it is not counted, which is a fault."""
        manifest = self._read_manifest(run.parent)
        if manifest is None or manifest.replaced.get(run.name, ()) is None:
            return
        if manifest.knows(run.name):
            yield run
        elif manifest.identity is None:
            self._add(run.parent / MANIFEST, explain_missing(run.parent.name))
            self._manifests[run.parent] = None  # said once
        elif not is_at_work(run.parent, run.name):
            self._add(run, f"not counted, as {MANIFEST} does not list it. {OUT_OF_UNLISTED}")

    def _read_manifest(self, table: Path) -> Manifest | None:
        """The manifest of a folder with runs; none, and a fault, if it is damaged."""
        if table not in self._manifests:
            self._manifests[table] = None
            try:
                self._manifests[table] = read_manifest(table)
            except EngineError as error:
                self._add(table / MANIFEST, str(error))
        return self._manifests[table]

    def _match(self, run: Path) -> Iterator[_Expected]:
        """Compare a run's names and sizes with its record; yields the files that pass."""
        try:
            record = read_record(run)
        except (OSError, ValueError) as error:
            state = "missing" if isinstance(error, FileNotFoundError) else "unreadable or damaged"
            self._add(run / RECORD, f"{state}. {_way_out(run)}")
            return
        if record.files is None:
            self._without_checksums += 1
            return
        self._runs += 1
        way_out = _way_out(run, record)
        present = {path.relative_to(run).as_posix(): path for path in self._walk(run)}
        for name in sorted(present.keys() - record.files.keys()):
            self._add(present[name], "added: not in its run's record. Move it to another folder")
        manifest = self._read_manifest(run.parent) or Manifest()
        for name, file in record.files.items():
            if not manifest.counts(run.name, name.partition("/")[0].removeprefix("date=")):
                continue
            path = present.get(name)
            is_rollup = PurePath(name).name.startswith("_")
            if is_rollup and path is None:
                self._rollups_missing += 1
                continue
            self._files += 1
            self._bytes += file.bytes
            out = _OUT_OF_ROLLUP if is_rollup else way_out
            if reason := _compare_size(path, file.bytes):
                self._add(run / name, f"{reason}. {out}")
            else:
                yield _Expected(run / name, file, out)

    def _compare_contents(self, expected: list[_Expected], messages: TextIO) -> None:
        is_long, done = self._bytes > READ_UNASKED, 0
        size = format_size(self._bytes)
        if is_long:
            print(f"reading {_count(len(expected), 'file')}, {size}", file=messages, flush=True)
        is_long &= messages.isatty()
        for one in expected:
            if is_long:
                print(f"\r{done / self._bytes:4.0%} of {size}", end="", file=messages, flush=True)
            done += one.file.bytes
            try:
                if hash_file(one.path, self._beat) != one.file.sha256:
                    reason = "changed: not the bytes that import wrote"
                    self._add(one.path, f"{reason}. {one.way_out}")
            except OSError as error:
                self._add(one.path, f"unreadable: {error.strerror}. {one.way_out}")
        if is_long:
            print("\r\x1b[K", end="", file=messages, flush=True)

    def _walk(self, folder: Path) -> Iterator[Path]:
        """The files of a run: rollups too, whose names begin with `_`."""
        for entry in self._list(folder, is_day=folder.name.startswith("date=")):
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(Path(entry.path))
            else:
                yield Path(entry.path)

    def _list(self, folder: Path, *, is_day: bool = False) -> list[os.DirEntry[str]]:
        """A folder's entries, but for those that no backend reads; only a day's have rollups."""
        hidden = (".",) if is_day else (".", "_")
        self._beat()
        try:
            with os.scandir(folder) as entries:
                return sorted(
                    (entry for entry in entries if not entry.name.startswith(hidden)),
                    key=lambda entry: entry.name,
                )
        except OSError as error:
            self._add(folder, f"cannot be listed: {error.strerror}")
            return []

    def _add(self, path: Path, reason: str) -> None:
        self.faults.append(Fault(path.relative_to(self._directory).as_posix(), reason))


def _compare_size(path: Path | None, size: int) -> str | None:
    """Why a file cannot have the recorded content; None if it has the recorded size."""
    if path is None:
        return "missing"
    try:
        status = path.lstat()
    except OSError as error:
        return f"unreadable: {error.strerror}"
    # What hangs when it is opened, such as a FIFO, is not opened.
    if not stat.S_ISREG(status.st_mode):
        return "changed: not a regular file"
    if status.st_size != size:
        return f"changed: {status.st_size:,} bytes instead of {size:,}"
    return None


def _way_out(run: Path, record: RunRecord | None = None) -> str:
    way_back = record.way_back(_MOST_SOURCES) if record else "import again: that run's files"
    return f"Restore it from a backup, or remove {run.name} and {way_back}"


def format_size(size: int) -> str:
    """`3.4 MB`; bytes below a thousand."""
    if size < 1000:
        return f"{size} bytes"
    amount, units = size / 1000, ["kB", "MB", "GB", "TB"]
    while amount >= 999.95 and len(units) > 1:
        amount /= 1000
        units.pop(0)
    return f"{amount:,.1f} {units[0]}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
