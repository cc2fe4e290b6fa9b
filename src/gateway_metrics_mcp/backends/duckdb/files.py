"""Selects the Parquet files that a window needs, by folder names, while the directory is there.

An explicit list takes DuckDB the same time among 3,650 files as among 30; a glob does not. What is
found and not read is said: a file that is passed over in silence is a wrong sum.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from gateway_metrics_mcp.backends.duckdb.manifest import (
    IMPORT_RUN,
    MANIFEST,
    OUT_OF_UNLISTED,
    Manifest,
    explain_missing,
    is_at_work,
    names_run,
    needs_manifest,
    read_manifest,
)
from gateway_metrics_mcp.backends.duckdb.stored import ROWS_FILE
from gateway_metrics_mcp.errors import EngineError, SettingsError
from gateway_metrics_mcp.query import quote

logger = logging.getLogger(__name__)

_RUN: Final = re.compile(r"import-\d{8}T\d{6}Z-[0-9a-f]{8}(-\d{4}-\d\d-\d\d-to-\d{4}-\d\d-\d\d)?")
"""The folder of a run of `import`, with its first and last day; older runs lack the days."""

_IN_RUN: Final = re.compile(rf"/{IMPORT_RUN.pattern}/")
_FOLDER_VALUE: Final = re.compile(r"\b(?!date=)([^/=]+)=[^/]+(?=/|$)")
_LONG_RUNS: Final = (
    len("import-20260715T093000Z-3f9a1c07-2026-07-14-to-2026-07-15"),
    len("import-20260715T093000Z-3f9a1c07aabb-2026-07-14-to-2026-07-15"),
)
_DAY: Final = re.compile(r"/date=(\d{4}-\d\d-\d\d)/")
_LONG_PARTITION: Final = len("date=2026-07-14")
_GLOB: Final = frozenset("*?[]{}")
_SUFFIXES: Final = (".parquet", ".parq", ".pq")
_COPIES: Final = (
    *(".tmp", ".temp", ".inprogress", ".partial", ".part", ".filepart", ".crdownload", ".swp"),
    *(".bak", ".old", ".orig", ".copy", "~"),
)
"""How names end of files that are still being written, and of copies."""
_COPY: Final = re.compile(
    r"(.+?)(?: \(\d+\)| - Copy(?: \(\d+\))?| copy(?: \d+)?| \(.*conflicted copy.*\)"
    r"|\.sync-conflict-[\w-]+)(\.\w+)",
    re.IGNORECASE,
)
"""How desktops, browsers and tools that synchronise folders name a second copy of a file."""
_MAGIC: Final = b"PAR1"
_ENCRYPTED: Final = b"PARE"
_LEAST_BYTES: Final = 12
"""Of a Parquet file: its magic bytes at both ends, and the length of the footer."""
_LOGS: Final = {
    "_delta_log": "a Delta table",
    ".hoodie": "a Hudi table",
}
EXPORT_FIRST: Final = (
    "Write its current rows to plain Parquet (docs/engine.md), and make that the table's folder, or"
    " `gateway-metrics-mcp import` it"
)
_LOG_NAMES: Final = frozenset({*_LOGS, "metadata", "manifest"})
_OPEN: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_MOST_SHOWN: Final = 3
_MOST_LISTINGS: Final = 20
_NO_MANIFEST: Final = Manifest()
_UNUSABLE: Final = "the data directory of this server cannot be used: the reason is in its log"


def read_directory(directory: Path) -> Path:
    """The data directory, resolved.

    Raises:
        SettingsError: if it does not exist, or its path has wildcard characters, which DuckDB
            would read as a glob.
    """
    resolved = directory.expanduser().resolve()
    if not resolved.is_dir():
        is_host = len(directory.parts) == 1 and "." in directory.name.strip(".")
        hint = f". If it is a gateway's host, give https://{directory}" if is_host else ""
        message = f"the data directory {directory} does not exist{hint}"
        raise SettingsError(message, public=_UNUSABLE)
    if _GLOB & set(str(resolved)):
        raise SettingsError(
            f"the data directory {directory} has one of the characters * ? [ ] {{ }} in its path,"
            " which the engine would read as a pattern",
            public=_UNUSABLE,
        )
    return resolved


class Presence:
    """Watches that the data directory stays the one that the server was started with.

    An unmounted directory is an empty folder with another identity, which must not read as "no
    traffic". One with all tables seen before counts as the same: a remount can change the number of
    the device, and some network file systems change inodes.
    """

    def __init__(self, directory: Path, tables: frozenset[str]) -> None:
        self._directory = directory
        self._tables = tables
        self._identity = _identify(directory.stat())
        self._seen: frozenset[str] = frozenset()
        """The tables that it had."""
        self._folders: dict[str, tuple[int, int]] = {}
        """The identities of tables' folders with anything in them."""

    def check(self) -> None:
        """Check that the directory is there; call it after listing what is in it.

        Raises:
            EngineError: if it has gone, cannot be read, or is another or of a table format.
        """
        try:
            names = os.listdir(self._directory)  # noqa: PTH208 - names alone
            identity = _identify(self._directory.stat())
        except FileNotFoundError:
            logger.warning("%s has gone", self._directory)
            raise EngineError(
                "the data directory of this server has gone (renamed, removed or no longer"
                " mounted): its rows cannot be counted until it is back"
            ) from None
        except OSError as error:
            logger.warning("%s cannot be read: %s", self._directory, error)
            raise EngineError(
                f"the data directory of this server cannot be read: {error.strerror}"
            ) from None
        refuse_table_format(names, str(self._directory), "the data directory itself")
        present = self._tables.intersection(names)
        if identity != self._identity:
            if not present or not present >= self._seen:
                logger.warning("%s is another directory than at the start", self._directory)
                raise EngineError(
                    "another directory has taken the place of this server's data directory (no"
                    " longer mounted?), without its tables: its rows cannot be counted until it is"
                    " back, or the server is restarted"
                )
            logger.warning("%s has another identity, but all its tables", self._directory)
            self._identity = identity
        if self._seen and not present:  # an inode can be used again at once
            logger.warning("%s has no table any more", self._directory)
            raise EngineError(
                "the data directory of this server has lost all its tables (removed, or no longer"
                " mounted?): their rows cannot be counted until one is back, or the server is"
                " restarted"
            )
        self._seen = present

    def check_table(self, table: str, *, is_empty: bool) -> None:
        """Check that a table's folder has not gone, nor become another that is empty.

        Raises:
            EngineError: if it has.
        """
        before = self._folders.get(table)
        try:
            identity = _identify((self._directory / table).stat())
        except OSError:
            identity = None
        if identity is not None and not (is_empty and identity != before):
            if not is_empty:
                self._folders[table] = identity
        elif before is not None:
            logger.warning("%s had the folder %s, which has gone", self._directory, table)
            raise EngineError(
                f"the folder of {table} has gone from the data directory (renamed, removed or no"
                " longer mounted): its rows cannot be counted until it is back, or the server is"
                " restarted"
            )


def _identify(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


@dataclass(frozen=True, slots=True)
class _Window:
    """Decides by a folder's name whether it can hold rows of the window."""

    days: tuple[str, str]
    """The first and last day of the window, in ISO form, which compares as text."""
    near: tuple[str, str]
    """The same with one more day at each end: partitions of other writers may be cut at local
    midnights; those of `import` are cut in UTC."""

    def may_need(self, name: str, *, is_run: bool) -> bool:
        """Whether a file or folder of this name may hold rows of the window.

        Slices are quicker than a regular expression: there can be thousands of names.
        """
        if len(name) in _LONG_RUNS and name[-14:-10] == "-to-" and name[:7] == "import-":
            return name[-10:] >= self.days[0] and name[-24:-14] <= self.days[1]
        if name.startswith("date=") and len(name) == _LONG_PARTITION:
            day = name[-10:]
            is_day = day[4] == day[7] == "-" and day.replace("-", "").isdecimal()
            first, last = self.days if is_run else self.near
            return not is_day or first <= day <= last
        return not name.startswith((".", "_"))


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """The files to read, and notes on those that are not."""

    paths: list[str]
    notes: tuple[str, ...] = ()
    is_empty: bool = False
    """Whether the table's folder has nothing in it."""


def find_files(table: Path, start: datetime, end: datetime) -> FoundFiles:
    """The Parquet files below a table's directory that can hold rows of [start, end).

    Folders of days outside the window are skipped: `date=YYYY-MM-DD` with a day's margin, runs of
    `import` and their days without one. Names that begin with `.` or `_` are skipped too.

    Raises:
        EngineError: if a folder cannot be listed or is a link, belongs to a table format with a
            log of its own, or a name has wildcard characters, which DuckDB would read as a glob,
            or is no regular file, or if runs need a manifest that is missing or damaged. An
            incomplete answer would be worse.
    """
    last, day = end - timedelta.resolution, timedelta(days=1)
    window = _Window(
        (f"{start.date()}", f"{last.date()}"),
        (f"{(start - day).date()}", f"{(last + day).date()}"),
    )
    for _ in range(_MOST_LISTINGS):
        manifest = _find_manifest(table)
        search = _Search(table, window, manifest)
        search.enter(str(table))
        search.take_listed()
        # Or a run was replaced while its files were listed. Opened anew: attributes alone may be
        # old ones on network storage.
        if _find_manifest(table).identity == manifest.identity:
            search.check_manifest()
            return FoundFiles(search.paths, search.describe_unread(), search.is_empty)
    raise EngineError(f"the runs of {table.name} are being replaced all the time: ask again")


def _find_manifest(table: Path) -> Manifest:
    """The manifest of a table's folder; of one that no import wrote there is none to read."""
    path = os.path.join(table, MANIFEST)  # noqa: PTH118 - for each question
    return read_manifest(table) if os.path.lexists(path) else _NO_MANIFEST


@dataclass(frozen=True, slots=True)
class LateStart:
    """A window whose first days have no folder."""

    run: str | None
    """The first day in runs of `import`, which are cut at midnight UTC."""
    near: list[str]
    """The files of other writers that may hold earlier rows: partitions may be cut at a zone's
    midnight, so that the rows of a day are in its folder or in one beside it."""
    latest: str
    """The last day of which those files would hold the first rows."""


def find_late_start(files: Sequence[str], start: datetime) -> LateStart | None:
    """What is known of a window by its folders, if the first of them is after its first day.

    None if some file is in no partition by date, so that its days are unknown.
    """
    days = {path: match[1] for path in files if (match := _DAY.search(path))}
    first = min(days.values(), default="")
    if len(days) < len(files) or first <= f"{start.date()}":
        return None
    latest = f"{datetime.fromisoformat(first).date() + timedelta(days=1)}"
    runs = {path for path in days if is_of_import(path)}
    near = [path for path, day in days.items() if day <= latest and path not in runs]
    return LateStart(min((days[path] for path in runs), default=None), near, latest)


class _Search:
    """One walk through a table's folders."""

    def __init__(self, table: Path, window: _Window, manifest: Manifest) -> None:
        self._table = table
        self._window = window
        self._manifest = manifest
        self._unlisted: list[str] = []
        self._listed: set[str] = set()
        """The folders of runs that the manifest lists."""
        self.paths: list[str] = []
        self._foreign: list[str] = []
        self._copies: list[str] = []
        self._counted_copies: list[str] = []
        self._has_sink_log = False
        self.is_empty = False

    def enter(self, folder: str, *, run: str = "", is_run: bool = False) -> None:
        """Take a folder's files, then enter its folders; `run` is the name of a run's folder."""
        folders = []
        names = self._list(folder, run, is_run=is_run)
        for name in names:
            path = os.path.join(folder, name)  # noqa: PTH118 - Path is slow for many
            mode = _mode_of(path)
            if mode is None:
                continue
            is_folder = stat.S_ISDIR(mode)
            says_parquet = name.endswith(".parquet") or is_parquet_name(name)
            if is_folder or says_parquet:
                self._refuse_name(name, path)
            if is_folder:
                if os.path.islink(path):  # noqa: PTH114 - likewise
                    raise self._unusable("is a link, which is not followed", path)
                folders.append((path, name))
            elif not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
                # Opening a pipe would wait for its other end, and a device could do anything.
                raise self._unusable(f"is no regular file but {describe_mode(mode)}", path)
            elif says_parquet:
                self.paths.append(path)
            else:
                self._take_other(path, name, mode)
        self._counted_copies += _find_copies(folder, names)
        for path, name in folders:
            self._enter_inner(path, folder, name, is_run=is_run)

    def _enter_inner(self, path: str, folder: str, name: str, *, is_run: bool) -> None:
        """Enter a folder in another, unless it is a run that the manifest does not list."""
        if not names_run(name):
            self.enter(path, is_run=is_run)
        elif self._may_count(folder, name, path):
            self.enter(path, run=name, is_run=True)

    def _may_count(self, folder: str, run: str, path: str) -> bool:
        """Whether a run's folder counts though the manifest does not list it."""
        if not needs_manifest(run):
            return True
        is_known = folder == str(self._table) and self._manifest.knows(run)
        if not is_known and not is_at_work(self._table, run):
            self._unlisted.append(path)
        return False

    def take_listed(self) -> None:
        """Take the files of days that the manifest lists."""
        if not self._listed:
            return
        for run, day in self._manifest.within(*self._window.days):
            if run not in self._listed:
                continue  # it was undone by hand
            inner = os.path.join(self._table, run)  # noqa: PTH118 - Path is slow for many
            folder = os.path.join(inner, f"date={day}")  # noqa: PTH118 - likewise
            path = os.path.join(folder, ROWS_FILE)  # noqa: PTH118 - likewise
            for each in (inner, folder):
                if os.path.islink(each):  # noqa: PTH114 - likewise
                    raise self._unusable("is a link, which is not followed", each)
            names = self._list(folder, run, is_run=True)
            mode = _mode_of(path) if names == [ROWS_FILE] else None
            if mode is not None and stat.S_ISREG(mode):
                self.paths.append(path)
            elif names:
                self.enter(folder, is_run=True)

    def check_manifest(self) -> None:
        """Check that there is a manifest, if some run needs one.

        Raises:
            EngineError: if there is none.
        """
        if self._unlisted and self._manifest.identity is None:
            logger.warning("%s has runs and no manifest", self._table)
            raise EngineError(explain_missing(self._table.name))

    def describe_unread(self) -> tuple[str, ...]:
        """A note for each kind of file that is not read."""
        notes = []
        if self._foreign:
            notes.append(
                f"{self._count(self._foreign)} not read, being no Parquet:"
                " bring in rows of other formats with `gateway-metrics-mcp import`"
            )
        if self._copies:
            notes.append(
                f"{self._count(self._copies)} not read, being a temporary file or a copy by name:"
                " what should count must be named .parquet"
            )
        if self._counted_copies:
            notes.append(
                f"{self._count(self._counted_copies)} named like a copy of one beside it, and"
                " counted too: remove what is a copy"
            )
        if self._unlisted:
            notes.append(
                f"{self._count(self._unlisted, 'run')} not counted, as {MANIFEST} does not list it"
                f" (copied in?): {OUT_OF_UNLISTED}"
            )
        if self._has_sink_log:
            notes.append(
                f"{self._table.name} was written by a Spark stream (_spark_metadata): files of"
                " batches that failed are counted too"
            )
        return tuple(notes)

    def _take_other(self, path: str, name: str, mode: int) -> None:
        """Take a file whose name does not say Parquet, by how it begins."""
        if name.casefold().endswith(_COPIES):
            self._copies.append(path)
        elif stat.S_ISLNK(mode) or os.path.islink(path):  # noqa: PTH114 - likewise
            self._foreign.append(path)  # not opened: it may lead out of the data directory
        elif read_ends(path)[0] != _MAGIC:
            self._foreign.append(path)
        else:
            self._refuse_name(name, path)
            self.paths.append(path)

    def _refuse_name(self, name: str, path: str) -> None:
        """Refuse a name that cannot be given to the engine."""
        if _GLOB & set(name):
            raise self._unusable("has * ? [ ] { or } in its name", path)
        if not name.isascii() and any("\ud800" <= letter <= "\udfff" for letter in name):
            raise self._unusable("has a name that is no UTF-8", path)

    def _list(self, folder: str, run: str, *, is_run: bool) -> list[str]:
        try:
            names = os.listdir(folder)  # noqa: PTH208 - names alone, of many
        except FileNotFoundError:  # no such table, or a folder just removed
            return []
        except OSError as error:
            raise self._unusable("cannot be listed", folder) from error
        if not names and folder == str(self._table):
            self.is_empty = True
        refuse_table_format(names, folder, self._table.name)
        self._has_sink_log = self._has_sink_log or "_spark_metadata" in names
        if folder == str(self._table):  # quicker than by name: there can be thousands
            self._listed = self._manifest.counted.keys() & names
            names = list({*names} - self._listed)
        needed = sorted(name for name in names if self._window.may_need(name, is_run=is_run))
        if not run:
            return needed
        counts = self._manifest.counts
        return [name for name in needed if name[:5] != "date=" or counts(run, name[5:])]

    def _count(self, paths: Sequence[str], what: str = "file") -> str:
        shown = show_path(paths[0], self._table)
        count = f"{len(paths)} {what}s" if len(paths) > 1 else f"1 {what}"
        is_or_are = "are" if len(paths) > 1 else "is"
        return f"{count} in the folder of {self._table.name}, such as {shown}, {is_or_are}"

    def _unusable(self, reason: str, path: str) -> EngineError:
        """The error, with the path below the table's folder; the log has the whole one."""
        # A name of other bytes than UTF-8 would fail in a log handler that encodes.
        logger.warning("%s %s", path.encode("utf-8", "backslashreplace").decode(), reason)
        shown = "" if path == str(self._table) else f": {show_path(path, self._table)}"
        return EngineError(f"a folder or file of {self._table.name} {reason}{shown}")


def _find_copies(folder: str, names: Sequence[str]) -> Iterator[str]:
    """The Parquet files that are named like copies of others in their folder."""
    for name in names:
        if " " in name or ".sync-conflict-" in name:  # quicker than the expression
            copy = _COPY.fullmatch(name)
            if copy is not None and f"{copy[1]}{copy[2]}" in names and is_parquet_name(name):
                yield os.path.join(folder, name)  # noqa: PTH118 - likewise


def show_path(path: str, table: Path) -> str:
    """A path for a message, below the table's folder.

    The values of folder names are left out: they may be the names of users (`--hide-emails`).
    """
    return quote(_FOLDER_VALUE.sub(r"\1=…", os.path.relpath(path, table)))


def is_of_import(path: str) -> bool:
    """Whether a file is in the folder of a run of `import`, all of whose rows have a time."""
    return "/import-" in path and _IN_RUN.search(path) is not None


def is_parquet_name(name: str) -> bool:
    """Whether a file's name says that it is Parquet."""
    return name.casefold().endswith(_SUFFIXES)


def read_ends(path: str) -> tuple[bytes, bytes]:
    """The first and last four bytes of a regular file; none if it cannot be read."""
    try:
        # Not blocking, as the file can have given its place to a pipe since it was found.
        file = os.open(path, _OPEN)
    except OSError:
        return b"", b""
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            return b"", b""
        head = os.read(file, len(_MAGIC))
        os.lseek(file, max(found.st_size - len(_MAGIC), 0), os.SEEK_SET)
        return head, os.read(file, len(_MAGIC))
    except OSError:
        return b"", b""
    finally:
        os.close(file)


def describe_mode(mode: int) -> str:
    """What a path is that is neither a file nor a folder."""
    kinds = ((stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"))
    return next((words for is_kind, words in kinds if is_kind(mode)), "a device")


def refuse_table_format(names: Iterable[str], folder: str, shown: str) -> None:
    """Refuse a folder with a log that decides which of its files count.

    Raises:
        EngineError: if it is one of Delta, Iceberg, Hudi or Paimon.
    """
    format_ = recognise_table_format(names, folder)
    if format_ is None:
        return
    logger.warning("%s is %s", folder, format_)
    raise EngineError(
        f"the folder of {shown} is {format_}, whose log says which files count: it is not read, as"
        f" sums over all of them would be wrong. {EXPORT_FIRST}"
    )


def recognise_table_format(names: Iterable[str], folder: str) -> str | None:
    """The table format of a folder with these names, and what shows it."""
    if _LOG_NAMES.isdisjoint(names):
        return None
    found = set(names)
    for log, format_ in _LOGS.items():
        if log in found:
            return f"{format_} (it has {log})"
    if "metadata" in found:
        path = os.path.join(folder, "metadata")  # noqa: PTH118 - likewise
        try:
            inner = os.listdir(path)  # noqa: PTH208 - likewise
        except OSError:
            inner = []
        if any(".metadata.json" in name for name in inner):
            return "an Iceberg table (it has metadata/*.metadata.json)"
    if found >= {"snapshot", "schema", "manifest"}:
        return "a Paimon table (it has snapshot and manifest)"
    return None


def describe_damage(table: Path, paths: Sequence[str], said: str) -> str | None:
    """Which of the files are empty or no whole Parquet files, by name; None if none is.

    If all seem whole, it is the one that the engine's message `said` names.
    """
    found = [(path, reason) for path in paths if (reason := _find_damage(path)) is not None]
    if not found:
        reason = "is encrypted" if "encrypted" in said else "is damaged (the log has the details)"
        # Some messages name no file.
        found = [(path, reason) for path in paths if path in said or len(paths) == 1]
    if not found:
        return None
    shown = [f"{show_path(path, table)} {why}" for path, why in found[:_MOST_SHOWN]]
    rest = f", and {len(found) - _MOST_SHOWN} more" if len(found) > _MOST_SHOWN else ""
    return f"{'; '.join(shown)}{rest}"


def _find_damage(path: str) -> str | None:
    try:
        found = os.lstat(path)
    except OSError:
        return "has gone"
    if not stat.S_ISREG(found.st_mode):
        return None  # a link is not followed here: it may lead out of the data directory
    if not found.st_size:
        return "is empty (0 bytes)"
    head, tail = read_ends(path)
    if not head:
        return "cannot be opened"
    if head == _ENCRYPTED:
        return "is encrypted Parquet"
    if head != _MAGIC:
        return "is no Parquet file"
    return None if tail == _MAGIC and found.st_size >= _LEAST_BYTES else "is cut short"


def _mode_of(path: str) -> int | None:
    """The mode of a path, links followed; that of the link if it leads nowhere; None if gone."""
    for look in (os.stat, os.lstat):
        try:
            return look(path).st_mode
        except OSError:
            continue
    return None
