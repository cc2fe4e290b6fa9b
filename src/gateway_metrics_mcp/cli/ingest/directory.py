"""Writes the data directory: one import at a time, each appearing in one step.

    DIR/<table>/_manifest.json         which days of which runs count
    DIR/<table>/import-<run>-<first>-to-<last day>/
        date=2026-07-14/rows.parquet   what the engine reads
        _import.json                   what was imported, what it replaced, and checksums
        _refused.jsonl                 the rows left out, and why
    DIR/.importing/                    the lock, and the run at work

A run is written under `.importing` and renamed into place, where it does not count yet. The rename
of a new manifest makes it count, and what it replaces count no more, at the same instant: that is
hidden from earlier builds then, by names that begin with `_`, and removed later. What an
interrupted run left at any of these steps is cleared at the next. To undo a run that replaced
nothing, delete its folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TextIO

from gateway_metrics_mcp.backends.duckdb.files import read_directory
from gateway_metrics_mcp.backends.duckdb.manifest import (
    IMPORT_RUN,
    MANIFEST,
    WORKING,
    DamagedManifestError,
    Manifest,
    explain_missing,
    format_manifest,
    is_at_work,
    needs_manifest,
    read_manifest,
)
from gateway_metrics_mcp.backends.duckdb.stored import ROWS_FILE
from gateway_metrics_mcp.backends.sql.dialect import published_tables
from gateway_metrics_mcp.errors import EngineError, SettingsError
from gateway_metrics_mcp.runtime.scratch import is_full

_GRACE_S: Final = 60.0
"""How long what was replaced stays for questions that have begun to read it: their time limit."""
_MOST_TRIES: Final = 50


@dataclass(frozen=True, slots=True)
class DataDirectory:
    """A data directory that this process has locked for an import."""

    path: Path
    table: str
    _dropped: list[tuple[float, str, Collection[str] | None]] = field(default_factory=list)
    """What was replaced and is still to be hidden: since when, a run, and its days."""
    _cleared: set[str] = field(default_factory=set)
    """The runs whose replaced days have gone, so that the manifest need not name them."""

    @property
    def folder(self) -> Path:
        """The table's folder."""
        return self.path / self.table

    def imported(self) -> dict[str, str]:
        """The content hashes of the table's imported files, and the run of each.

        Raises:
            EngineError: if a record cannot be read: guessing would import rows twice.
        """
        found: dict[str, str] = {}
        for run in self._runs():
            try:
                found |= dict.fromkeys(read_record(run).sources, run.name)
            except FileNotFoundError:
                continue
            except (OSError, ValueError):
                raise EngineError(
                    f"{run / RECORD} cannot be read, so what was already imported is unknown."
                    " Restore it, or remove its folder and import that run's files again"
                ) from None
        return found

    def live_files(self, days: Collection[str] | None = None) -> dict[tuple[str, str], Path]:
        """What counts now of runs of `import`: by run and UTC day, the file of its rows.

        Of these `days`, or of all, with those that have files of others beside the rows: such a day
        can be read, but not replaced (`find_strays`).
        """
        manifest = read_manifest(self.folder)
        found: dict[tuple[str, str], Path] = {}
        for run in self._runs():
            if days is not None and not _may_have(run.name, days):
                continue
            for day in _days_of(run):
                rows = run / f"date={day}" / ROWS_FILE
                if (
                    (days is None or day in days)
                    and manifest.counts(run.name, day)
                    and rows.is_file()
                    and not rows.is_symlink()
                ):
                    found[run.name, day] = rows
        return found

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A temporary directory inside the data directory, for a run's files.

        Raises:
            EngineError: if the directory cannot be written.
        """
        run = f"import-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(6)}"
        staging = self.path / WORKING / run
        try:
            staging.mkdir()
            yield staging
        except OSError as error:
            if is_full(error):
                raise EngineError(explain_full(self.path)) from error
            raise EngineError(f"{self.path} cannot be written: {error.strerror}") from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def commit(
        self,
        run: Path,
        days: Sequence[str],
        record: dict[str, Any],
        drops: Mapping[str, Collection[str]] = MappingProxyType({}),
    ) -> Path:
        """Move a finished run of these UTC days into the table; returns its folder.

        The folder's name ends with the first and last day, by which queries skip it. `drops` are
        days of earlier runs, by run, whose rows this run has or leaves out on purpose: they count
        no more from the instant from which it counts.

        Raises:
            EngineError: if the rows to replace are not as they were written.
        """
        self._check_dropped(drops)
        table = self.folder
        table.mkdir(exist_ok=True)
        before = read_manifest(table)
        target = table / f"{run.parent.name}-{days[0]}-to-{days[-1]}"
        replaced = {
            earlier: None if self._is_whole(earlier, dropped, before) else sorted(dropped)
            for earlier, dropped in drops.items()
            if dropped
        }
        self._take_over(run, record, replaced)
        write_record(run, {**record, "replaced": replaced} if replaced else record)
        # Flushed before the rename, and the table after it: after a power cut the folder must be
        # either complete or absent.
        for path in (*run.rglob("*"), run):
            _flush(path)
        if before.identity is None:  # or readers would find a run, and nothing that lists it
            self._switch(Manifest(), run.parent)
        made = run.parent / MANIFEST
        _write(made, format_manifest(self._succeed(before, target.name, days, replaced)))
        try:
            run.rename(target)
            _flush(table)
            _replace(made, table / MANIFEST)
        finally:
            if target.name not in read_manifest(table).counted:
                shutil.rmtree(target, ignore_errors=True)
        with suppress(OSError):  # it is in: nothing may say otherwise
            _flush(table)
        now = time.monotonic()
        self._dropped.extend((now, name, of) for name, of in replaced.items())
        self.hide_replaced(_GRACE_S)
        return target

    def _runs(self) -> list[Path]:
        """The folders of runs that count, or did before some of their days were replaced."""
        manifest = read_manifest(self.folder)
        return [
            run
            for run in sorted(self.folder.glob("import-*"))
            if IMPORT_RUN.fullmatch(run.name)
            and manifest.replaced.get(run.name, ()) is not None
            and (not needs_manifest(run.name) or run.name in manifest.counted)
        ]

    def _check_dropped(self, drops: Mapping[str, Collection[str]]) -> None:
        """Check that nothing changed the rows that are to be replaced: theirs would be the copies.

        Raises:
            EngineError: if a file is not as its run's record has it, or has others beside it.
        """
        for name, days in drops.items():
            run = self.folder / name
            record = read_record(run) if (run / RECORD).exists() else RunRecord([], None)
            for day in days:
                if strays := find_strays(run / f"date={day}"):
                    raise EngineError(
                        f"{run / f'date={day}'} has rows to replace, and a file that import did not"
                        f" write: {strays[0]}. Move it to another folder, outside the run's"
                    )
                if not is_as_recorded(run, day, record):
                    raise EngineError(
                        f"{run / f'date={day}' / ROWS_FILE} is not as import wrote it, so its rows"
                        " are not copied: see `gateway-metrics-mcp check --backend DIR`"
                    )

    def _is_whole(self, run: str, days: Collection[str], manifest: Manifest) -> bool:
        """Whether a run has nothing but these days, so that its folder can go with them."""
        folder = self.folder / run
        names = {path.name for path in folder.iterdir() if not path.name.startswith(("_", "."))}
        rest = {day for day in _days_of(folder) if manifest.counts(run, day)} - set(days)
        return not rest and names == {f"date={day}" for day in _days_of(folder)}

    def _take_over(
        self, run: Path, record: dict[str, Any], replaced: Mapping[str, Collection[str] | None]
    ) -> None:
        """Note in a run's record what runs that go read, and keep the rows that they refused.

        Of runs that stay it has rows too: their files are noted apart, as they know of them.
        """
        own = {source["sha256"]: source for source in record["sources"]}
        shared: dict[str, None] = {}
        for name, days in sorted(replaced.items()):
            if not (self.folder / name / RECORD).exists():
                continue
            earlier = read_record(self.folder / name)
            known = earlier.sources.values() if days is not None else ()
            shared |= dict.fromkeys([*earlier.shared, *known])
            if days is not None:
                continue
            for source in earlier.listed:
                taken = own.setdefault(source["sha256"], {"run": name, **source})
                if not earlier.tells_rows_of(name, source["sha256"]):
                    taken[_MIXED] = True
            for refused in (self.folder / name).glob("_refused*.jsonl"):
                kept = f"_refused-{name}.jsonl" if refused.stem == "_refused" else refused.name
                shutil.copyfile(refused, run / kept)
        record["sources"] = [*own.values()]
        if shared:
            record[_SHARED] = [*shared]

    def _succeed(
        self,
        before: Manifest,
        run: str,
        days: Sequence[str],
        replaced: Mapping[str, Collection[str] | None],
    ) -> Manifest:
        """The manifest after a run has come in, and those have gone that were undone by hand."""
        present = {path.name for path in self.folder.glob("import-*")}
        counted = {
            name: set(left) - set(replaced.get(name, ()) or ())
            for name, left in before.counted.items()
            if replaced.get(name, ()) is not None and name in present
        }
        gone = {name: of for name, of in before.replaced.items() if name not in self._cleared}
        _add_replaced(gone, replaced)
        return Manifest({**counted, run: days}, gone)

    def _switch(self, manifest: Manifest, working: Path) -> None:
        """Write a manifest in the place of the table's."""
        made = working / MANIFEST
        _write(made, format_manifest(manifest))
        _replace(made, self.folder / MANIFEST)
        _flush(self.folder)

    def hide_replaced(self, age: float = 0) -> None:
        """Hide from earlier builds what was replaced, if at least `age` seconds ago."""
        now = time.monotonic()
        while self._dropped and now - self._dropped[0][0] >= age:
            _, run, days = self._dropped.pop(0)
            for folder in self._folders(run, days):
                with suppress(OSError):  # the next import tries again
                    hidden = _hide(folder)
                    if age:  # no question can still be reading it
                        shutil.rmtree(hidden)

    def rebuild(self) -> int:
        """Make the manifest from the records of runs if it is lost; returns how many count.

        Raises:
            EngineError: if a record cannot be read.
        """
        damaged = False
        try:
            if read_manifest(self.folder).identity is not None:
                return 0
        except DamagedManifestError:
            damaged = True
        found: dict[Path, RunRecord] = {}
        for run in sorted(self.folder.glob("*import-*")):
            name = run.name.removeprefix("_")
            if IMPORT_RUN.fullmatch(name) and needs_manifest(name):
                try:
                    found[run] = read_record(run)
                except (OSError, ValueError):
                    raise EngineError(
                        f"{run / RECORD} cannot be read, so the manifest cannot be rebuilt. Restore"
                        " it from a backup, or move its folder out of the data directory"
                    ) from None
        if not found and not damaged:
            return 0
        replaced: dict[str, Collection[str] | None] = {}
        for record in found.values():
            _add_replaced(replaced, record.replaced)
        counted = {
            run.name: days
            for run in found
            if not run.name.startswith("_") and (gone := replaced.get(run.name, ())) is not None
            if (days := set(_days_of(run)) - set(gone))
        }
        self._switch(Manifest(counted, replaced), self.path / WORKING)
        return len(counted)

    def clear(self) -> None:
        """Clear what was replaced, and runs that were interrupted before they counted.

        Raises:
            EngineError: if there are runs and no manifest, or it is damaged.
        """
        manifest = read_manifest(self.folder)
        runs = {run.name for run in self.folder.glob("import-*") if IMPORT_RUN.fullmatch(run.name)}
        if manifest.identity is None and any(map(needs_manifest, runs)):
            raise EngineError(explain_missing(self.table))
        for run in runs:
            if not manifest.knows(run) and is_at_work(self.folder, run):
                shutil.rmtree(self.folder / run, ignore_errors=True)
        for name, days in manifest.replaced.items():
            left = [folder for folder in self._folders(name, days) if not _clear_folder(folder)]
            if not left:
                self._cleared.add(name)

    def _folders(self, run: str, days: Collection[str] | None) -> list[Path]:
        folder = self.folder / run
        return [folder] if days is None else [folder / f"date={day}" for day in days]


def _add_replaced(
    to: dict[str, Collection[str] | None], replaced: Mapping[str, Collection[str] | None]
) -> None:
    for run, days in replaced.items():
        earlier = to.get(run, ())
        to[run] = None if days is None or earlier is None else {*earlier, *days}


def _clear_folder(folder: Path) -> bool:
    """Hide a folder, or remove it where it has been hidden for long; whether it has gone."""
    hidden = _hidden(folder)
    with suppress(OSError):
        if folder.exists():
            _hide(folder)
        if not hidden.exists():
            return True
        if time.time() - hidden.stat().st_mtime > _GRACE_S:
            shutil.rmtree(hidden)
            return True
    return False


def _hide(folder: Path) -> Path:
    """Hide a folder from earlier builds, and note when; returns where it is now."""
    os.utime(folder)
    return folder.rename(_hidden(folder))


def _hidden(folder: Path) -> Path:
    return folder.with_name(f"_{folder.name}")


def _days_of(run: Path) -> list[str]:
    return [path.name.removeprefix("date=") for path in run.glob("date=*")]


def _may_have(run: str, days: Collection[str]) -> bool:
    """Whether a run may have rows of some of the days, by its name."""
    first, separator, last = run[-24:].partition("-to-")
    return not separator or any(first <= day <= last for day in days)


def _write(path: Path, text: str) -> None:
    """Write a file, and flush it to the disk."""
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _replace(path: Path, target: Path) -> None:
    """Rename a file into the place of another; where open files cannot be, once nobody reads it."""
    for _ in range(_MOST_TRIES):
        with suppress(PermissionError):
            path.replace(target)
            return
        time.sleep(0.02)
    path.replace(target)


def explain_full(path: Path) -> str:
    """What to say where a disk has no space for an import."""
    return f"the disk of {path} is full: nothing was imported. Free some space and import again"


@contextmanager
def open_directory(
    path: Path, table: str, *, messages: TextIO, is_rebuilding: bool = False
) -> Iterator[DataDirectory]:
    """Create and lock the directory; waits for another import and cleans up after dead ones.

    If `is_rebuilding`, a manifest that is missing or damaged is made from the runs' records.

    Raises:
        SettingsError: if the path cannot be used as a data directory.
        EngineError: if the table's manifest is missing or damaged.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        directory = read_directory(path)
        if (directory / table).exists() and not (directory / table).is_dir():
            raise SettingsError(f"{directory / table} exists and is not a folder")
        working = directory / WORKING
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
        leftovers = [path for path in working.iterdir() if IMPORT_RUN.fullmatch(path.name)]
        opened = DataDirectory(directory, table)
        if is_rebuilding and (runs := opened.rebuild()):
            print(f"{table}: its manifest was rebuilt, of {runs} runs", file=messages, flush=True)
        opened.clear()
        for other in published_tables().keys() - {table}:
            with suppress(EngineError):  # for those who write or ask that one
                DataDirectory(directory, other).clear()
        for leftover in leftovers:
            shutil.rmtree(leftover, ignore_errors=True)
        try:
            yield opened
        finally:
            opened.hide_replaced()


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
_MIXED: Final = "mixed"
"""The key of an imported file whose rows, of an earlier version, are among others and not told."""
_SHARED: Final = "shared"
"""The key of the names of files of which both a run and others that count have rows."""
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


def find_strays(day: Path) -> list[str]:
    """The names of files of others in the folder of a run's day, which goes if it is replaced."""
    names = (path.name for path in day.iterdir())
    return sorted(n for n in names if n != ROWS_FILE and not n.startswith(("_", ".")))


def is_as_recorded(run: Path, day: str, record: RunRecord) -> bool:
    """Whether a day's rows have the checksum of the run's record, or it has none."""
    if record.files is None:
        return True
    name = f"date={day}/{ROWS_FILE}"
    return name in record.files and hash_file(run / name) == record.files[name].sha256


def write_record(run: Path, facts: dict[str, Any]) -> None:
    """Write the record of a finished run: the facts, and a checksum of each Parquet file."""
    paths = sorted(run.rglob("*.parquet"))
    # Apart, as earlier builds look for each of the first among the files that they read.
    files = [_describe(run, path) for path in paths if not path.name.startswith("_")]
    rollups = [_describe(run, path) for path in paths if path.name.startswith("_")]
    record = {**facts, "files": files, "rollups": rollups}
    # Of the record itself: with a wrong hash of a source, that would be imported twice.
    text = json.dumps({**record, "sha256": _hash_facts(record)}, indent=1)
    (run / RECORD).write_text(f"{text}\n", "utf-8")


def _describe(run: Path, path: Path) -> dict[str, Any]:
    name = path.relative_to(run).as_posix()
    return {"name": name, "bytes": path.stat().st_size, "sha256": hash_file(path)}


def _hash_facts(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The record of a run, as it was read."""

    listed: list[dict[str, Any]]
    """The imported files, as they are noted."""
    files: dict[str, WrittenFile] | None
    """The written files by name; None in a record of an earlier version, without checksums."""
    replaced: dict[str, list[str] | None] = field(default_factory=dict)
    """The days of earlier runs that it replaced, by run; None for a run as a whole."""
    shared: Sequence[str] = ()
    """The names of files of which other runs that count have rows too."""

    @property
    def sources(self) -> dict[str, str]:
        """The imported files: their content hash, and their name."""
        return {source["sha256"]: source["name"] for source in self.listed}

    def way_back(self, most: int | None = None) -> str:
        """How to get the rows again, after the run's folder is removed; names at most so many."""
        # Files that other runs know are read again only if asked for.
        flag = " with --replace" if self.shared else ""
        # Later files win, so the names are in the order of their runs, with the run's own last.
        listed = sorted(self.listed, key=lambda source: source.get("run") or "later")
        names = [*dict.fromkeys([*self.shared, *(source["name"] for source in listed)])]
        more = f" and {len(names[most:])} more" if most is not None and names[most:] else ""
        return f"import again{flag}: {', '.join(names[:most])}{more}"

    def tells_rows_of(self, run: str, sha256: str) -> bool:
        """Whether the rows of a file that the run of this name has can be told from others."""
        if not needs_manifest(run):
            return len(self.sources) == 1
        return not any(s.get(_MIXED) for s in self.listed if s["sha256"] == sha256)


def read_record(run: Path) -> RunRecord:
    """Read the record of a run.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is damaged.
    """
    try:
        record = json.loads((run / RECORD).read_text("utf-8"))
        checksum = record.pop("sha256", None)
        sources = [{**s, "sha256": s["sha256"], "name": s["name"]} for s in record["sources"]]
        if checksum is None and "files" not in record:
            return RunRecord(sources, None)
        files = [
            WrittenFile(file["name"], file["bytes"], file["sha256"])
            for file in (*record["files"], *record.get("rollups", ()))
        ]
    except (LookupError, TypeError, AttributeError):
        raise ValueError(RECORD) from None
    if checksum != _hash_facts(record):
        raise ValueError(RECORD)
    written = {file.name: file for file in files}
    return RunRecord(sources, written, record.get("replaced", {}), record.get(_SHARED, ()))
