"""The data directory: one run at a time, and each run's files appear in one step.

    DIR/<table>/import-<run>-<first>-to-<last day>/
        date=2026-07-14/rows.parquet   what the engine reads
        _import.json                   what was imported, by content
        _refused.jsonl                 the rows left out, and why
    DIR/.importing/                    the lock, and the run at work

A run is written under `.importing` and moved to its place whole: one rename commits rows and
record alike, so nothing is ever half in and there is nothing to repair. To undo a run, remove its
folder.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TextIO

from gateway_metrics_mcp.backends.duckdb.files import IMPORT_RUN, read_directory
from gateway_metrics_mcp.errors import EngineError, SettingsError

_WORKING: Final = ".importing"
_RECORD: Final = "_import.json"


@dataclass(frozen=True, slots=True)
class DataDirectory:
    """A directory of Parquet that nobody else imports into for the time being."""

    path: Path
    table: str

    def imported(self) -> dict[str, str]:
        """The content hashes of the table's imported files, and the run of each."""
        found: dict[str, str] = {}
        for record in sorted((self.path / self.table).glob(f"import-*/{_RECORD}")):
            try:
                sources = json.loads(record.read_text("utf-8"))["sources"]
                found |= {source["sha256"]: record.parent.name for source in sources}
            except (OSError, ValueError, LookupError, TypeError):
                raise EngineError(
                    f"{record} cannot be read, so it is not known what was imported already."
                    " Restore it, or remove its folder and import that run's files again"
                ) from None
        return found

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A directory for a run's files; it is gone afterwards, moved or not."""
        run = f"import-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        staging = self.path / _WORKING / run
        try:
            staging.mkdir()
            yield staging
        except OSError as error:
            raise EngineError(f"{self.path} cannot be written: {error.strerror}") from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def commit(self, run: Path, days: Sequence[str], record: dict[str, Any]) -> Path:
        """Move a finished run of these days to its place, with the record of what it holds."""
        (run / _RECORD).write_text(f"{json.dumps(record, indent=1)}\n", "utf-8")
        for path in (*run.rglob("*"), run):
            _flush(path)
        table = self.path / self.table
        table.mkdir(exist_ok=True)
        target = table / f"{run.parent.name}-{days[0]}-to-{days[-1]}"
        run.rename(target)
        _flush(table)
        return target


@contextmanager
def open_directory(path: Path, table: str, *, messages: TextIO) -> Iterator[DataDirectory]:
    """The directory, made if need be and locked; what dead runs left behind is removed.

    Raises:
        SettingsError: if there is something else in its place.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        directory = read_directory(path)
        if (directory / table).exists() and not (directory / table).is_dir():
            raise SettingsError(f"{directory / table} is in the way: it has to be a folder")
        working = directory / _WORKING
        working.mkdir(exist_ok=True)
        lock = (working / "lock").open("ab")
    except OSError as error:
        reason = error.strerror or "not possible"
        raise SettingsError(f"{path} cannot be used as a data directory: {reason}") from None
    with lock:
        if not _lock(lock.fileno(), is_patient=False):
            print(f"another import into {path} is at work: waiting", file=messages, flush=True)
            _lock(lock.fileno(), is_patient=True)
        for leftover in working.iterdir():
            if IMPORT_RUN.fullmatch(leftover.name):
                shutil.rmtree(leftover, ignore_errors=True)
        yield DataDirectory(directory, table)


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int, *, is_patient: bool) -> bool:
        """Take the lock, which the system frees when the process ends, in whatever way."""
        while True:
            try:
                msvcrt.locking(file, msvcrt.LK_LOCK if is_patient else msvcrt.LK_NBLCK, 1)
            except OSError:
                if not is_patient:
                    return False
            else:
                return True

    def _flush(path: Path) -> None:
        """Windows flushes no folders; what a power cut leaves is up to its file system."""

else:
    import fcntl

    def _lock(file: int, *, is_patient: bool) -> bool:
        """Take the lock, which the system frees when the process ends, in whatever way."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX if is_patient else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _flush(path: Path) -> None:
        """Have a file or a folder on the disk before the rename that makes it count."""
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
