"""Writes the data directory: one import at a time, each appearing in one step.

    DIR/<table>/import-<run>-<first>-to-<last day>/
        date=2026-07-14/rows.parquet   what the engine reads
        _import.json                   what was imported, and the checksums of what was written
        _refused.jsonl                 the rows left out, and why
    DIR/.importing/                    the lock, and the run at work

A run is written under `.importing` and renamed into place. The rename commits rows and record
together, so there is never half a run and nothing to repair. To undo a run, delete its folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TextIO

from gateway_metrics_mcp.backends.duckdb.files import IMPORT_RUN, read_directory
from gateway_metrics_mcp.errors import EngineError, SettingsError
from gateway_metrics_mcp.runtime.scratch import is_full

_WORKING: Final = ".importing"


@dataclass(frozen=True, slots=True)
class DataDirectory:
    """A data directory that this process has locked for an import."""

    path: Path
    table: str

    def imported(self) -> dict[str, str]:
        """The content hashes of the table's imported files, and the run of each.

        Raises:
            EngineError: if a record cannot be read: guessing would import rows twice.
        """
        found: dict[str, str] = {}
        for record in sorted((self.path / self.table).glob(f"import-*/{RECORD}")):
            try:
                found |= dict.fromkeys(read_record(record.parent).sources, record.parent.name)
            except (OSError, ValueError):
                raise EngineError(
                    f"{record} cannot be read, so what was already imported is unknown."
                    " Restore it, or remove its folder and import that run's files again"
                ) from None
        return found

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A temporary directory inside the data directory, for a run's files.

        Raises:
            EngineError: if the directory cannot be written.
        """
        run = f"import-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        staging = self.path / _WORKING / run
        try:
            staging.mkdir()
            yield staging
        except OSError as error:
            if is_full(error):
                raise EngineError(explain_full(self.path)) from error
            raise EngineError(f"{self.path} cannot be written: {error.strerror}") from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def commit(self, run: Path, days: Sequence[str], record: dict[str, Any]) -> Path:
        """Move a finished run of these UTC days into the table; returns its folder.

        The folder's name ends with the first and last day, by which queries skip it.
        """
        write_record(run, record)
        # Flushed before the rename, and the table after it: after a power cut the folder must be
        # either complete or absent.
        for path in (*run.rglob("*"), run):
            _flush(path)
        table = self.path / self.table
        table.mkdir(exist_ok=True)
        target = table / f"{run.parent.name}-{days[0]}-to-{days[-1]}"
        run.rename(target)
        _flush(table)
        return target


def explain_full(path: Path) -> str:
    """What to say where a disk has no space for an import."""
    return f"the disk of {path} is full: nothing was imported. Free some space and import again"


@contextmanager
def open_directory(path: Path, table: str, *, messages: TextIO) -> Iterator[DataDirectory]:
    """Create and lock the directory; waits for another import and cleans up after dead ones.

    Raises:
        SettingsError: if the path cannot be used as a data directory.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        directory = read_directory(path)
        if (directory / table).exists() and not (directory / table).is_dir():
            raise SettingsError(f"{directory / table} exists and is not a folder")
        working = directory / _WORKING
        working.mkdir(exist_ok=True)
        lock = (working / "lock").open("ab")
    except OSError as error:
        if is_full(error):
            raise SettingsError(explain_full(path)) from None
        reason = error.strerror or "not possible"
        raise SettingsError(f"{path} cannot be used as a data directory: {reason}") from None
    with lock:
        if not _lock(lock.fileno(), is_patient=False):
            print(f"another import into {path} is running: waiting", file=messages, flush=True)
            _lock(lock.fileno(), is_patient=True)
        for leftover in working.iterdir():
            if IMPORT_RUN.fullmatch(leftover.name):
                shutil.rmtree(leftover, ignore_errors=True)
        yield DataDirectory(directory, table)


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int, *, is_patient: bool) -> bool:
        """Take the lock; the system releases it when the process ends, even by a crash."""
        # LK_LOCK gives up after ten attempts, a second apart, so it is repeated.
        while True:
            try:
                msvcrt.locking(file, msvcrt.LK_LOCK if is_patient else msvcrt.LK_NBLCK, 1)
            except OSError:
                if not is_patient:
                    return False
            else:
                return True

    def _flush(path: Path) -> None:
        """Do nothing: Windows cannot flush folders."""

else:
    import fcntl

    def _lock(file: int, *, is_patient: bool) -> bool:
        """Take the lock; the system releases it when the process ends, even by a crash."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX if is_patient else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _flush(path: Path) -> None:
        """Flush a file or folder to the disk."""
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


# --- the record that a run leaves beside its files: what it read, and what it wrote ---

RECORD: Final = "_import.json"
_BLOCK_BYTES: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file of a run, by its path inside the run's folder."""

    name: str
    bytes: int
    sha256: str


def hash_file(path: Path, beat: Callable[[], None] = lambda: None) -> str:
    """The SHA-256 of a file's content, read in blocks; `beat` is called after each.

    Raises:
        OSError: if it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
            beat()
    return digest.hexdigest()


def write_record(run: Path, facts: dict[str, Any]) -> None:
    """Write the record of a finished run: the facts, and a checksum of each Parquet file."""
    files = [
        {
            "name": path.relative_to(run).as_posix(),
            "bytes": path.stat().st_size,
            "sha256": hash_file(path),
        }
        for path in sorted(run.rglob("*.parquet"))
    ]
    record = {**facts, "files": files}
    # Of the record itself: with a wrong hash of a source, that would be imported twice.
    text = json.dumps({**record, "sha256": _hash_facts(record)}, indent=1)
    (run / RECORD).write_text(f"{text}\n", "utf-8")


def _hash_facts(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The record of a run, as it was read."""

    sources: dict[str, str]
    """The imported files: their content hash, and their name."""
    files: dict[str, WrittenFile] | None
    """The written files by name; None in a record of an earlier version, without checksums."""


def read_record(run: Path) -> RunRecord:
    """Read the record of a run.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is damaged.
    """
    try:
        record = json.loads((run / RECORD).read_text("utf-8"))
        checksum = record.pop("sha256", None)
        sources = {source["sha256"]: source["name"] for source in record["sources"]}
        if checksum is None and "files" not in record:
            return RunRecord(sources, None)
        files = [WrittenFile(f["name"], f["bytes"], f["sha256"]) for f in record["files"]]
    except (LookupError, TypeError, AttributeError):
        raise ValueError(RECORD) from None
    if checksum != _hash_facts(record):
        raise ValueError(RECORD)
    return RunRecord(sources, {file.name: file for file in files})
