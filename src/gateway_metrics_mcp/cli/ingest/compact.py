"""The command `compact`: makes one file a day of the files of many imports, under running readers.

Each batch of days is a run of its own, which takes the place of the files that it was made of in
one step: if the command is killed, the batches before are in, and the others are as they were.
"""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TextIO

import duckdb

from gateway_metrics_mcp.backends.duckdb.files import read_directory
from gateway_metrics_mcp.backends.duckdb.manifest import needs_manifest
from gateway_metrics_mcp.backends.duckdb.stored import IDENTITY_COLUMNS, TEAMS_KEY, metadata_key
from gateway_metrics_mcp.backends.sql.dialect import published_tables, quote_identifier
from gateway_metrics_mcp.cli.ingest.days import write_day
from gateway_metrics_mcp.cli.ingest.directory import (
    DataDirectory,
    RunRecord,
    find_strays,
    is_as_recorded,
    open_directory,
    read_record,
)
from gateway_metrics_mcp.cli.ingest.engine import open_database, show_progress
from gateway_metrics_mcp.cli.ingest.identity import SOURCE_DIGITS
from gateway_metrics_mcp.cli.ingest.mapping import sql_text
from gateway_metrics_mcp.cli.parsers import Parser
from gateway_metrics_mcp.errors import EngineError, GatewayMetricsError
from gateway_metrics_mcp.runtime.scratch import is_full

PROGRAM: Final = "gateway-metrics-mcp compact"

_BATCH_DAYS: Final = 31
_BATCH_ROWS: Final = 5_000_000
_ENOUGH_FILES: Final = 8
_ENOUGH_SMALL_FILES: Final = 5
_SMALL_ROWS: Final = 200_000
_TIMES: Final = 4
"""How many times more rows than it brought an import merges, and than a file the others have."""
_FEW_DAYS: Final = 7
_MANY_RUNS: Final = 100
_SOURCE: Final = IDENTITY_COLUMNS[2]


@dataclass(frozen=True, slots=True)
class _DayFile:
    """The file of a day of a run."""

    run: str
    day: str
    path: Path
    rows: int


@dataclass(slots=True)
class Compacted:
    """What was merged, and what was left as it is and why."""

    days: int = 0
    files: int = 0
    folders: list[Path] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        days = _count(self.days, "UTC day")
        return (
            f"{_count(self.files, 'file')} of {days} into {_count(self.days, 'file')} in"
            f" {_count(len(self.folders), 'folder')}"
        )


def main(argv: Sequence[str]) -> int:
    """Run the command.

    Returns:
        The exit code: 0 success, 1 an explained failure, 130 Ctrl-C; wrong usage exits with 2.
    """
    parser = Parser(
        PROGRAM,
        usage="%(prog)s DIR [flags]",
        description="Merges the files that many imports wrote for a day into one, while readers"
        " go on, and rebuilds a lost _manifest.json. Files of other writers stay as they are.",
        epilog="No row changes. If it is interrupted, run it again.",
    )
    add = parser.add_argument
    add("into", type=Path, metavar="DIR", help="the data directory")
    add("--table", choices=tuple(published_tables()), help="default: all of them")
    parser.add_argument(
        "--memory", default="1GB", metavar="SIZE", help="memory limit (default: 1GB)"
    )
    add("--threads", type=int, default=2, metavar="N", help="threads (default: 2)")
    given = parser.parse(argv)
    try:
        directory = read_directory(given.into)
        for table in [given.table] if given.table else published_tables():
            if (directory / table).is_dir():
                for line in _compact_table(directory, table, given.memory, given.threads):
                    print(line, flush=True)  # noqa: T201 - the command's output
    except GatewayMetricsError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)  # noqa: T201 - likewise
        return 1
    except KeyboardInterrupt:
        print(f"{PROGRAM}: interrupted: no row is lost; run it again", file=sys.stderr)  # noqa: T201 - likewise
        return 130
    return 0


def _compact_table(into: Path, table: str, memory: str, threads: int) -> Iterator[str]:
    """Compact a table; the lines of the report."""
    with open_directory(into, table, messages=sys.stderr, is_rebuilding=True) as directory:
        compacted = Compacted()
        work = _Compaction(directory, memory, threads, sys.stderr, compacted)
        found = work.find_days()
        gathered = _find_short_runs(found)
        days = {
            day: files
            for day, files in found.items()
            if _is_worth_it(files) or files[0].run in gathered
        }
        try:
            work.merge(days)
        except EngineError as error:
            if error.__cause__ is None or not is_full(error.__cause__):
                raise
            raise EngineError(
                f"the disk of {into} is full: {compacted.days:,} of {len(days):,} days were merged,"
                " and the others are as they were. Free some space and run it again"
            ) from None
    yield from (f"{table}: left as it is: {why}" for why in compacted.left)
    if not compacted.days:
        yield f"{table}: nothing to merge"
        return
    yield f"{table}: merged {compacted}"


def compact_small(
    directory: DataDirectory,
    days: Collection[str],
    rows: int,
    *,
    besides: Path,
    memory: str,
    threads: int,
) -> Compacted:
    """Merge the small files of days to which an import brought rows, where it pays.

    Only files of earlier runs than `besides`, that of the import, which stays so that it can be
    undone; and at most a few times as many rows as it brought.

    Raises:
        EngineError: if that fails; no row is lost.
    """
    compacted = Compacted()
    work = _Compaction(directory, memory, threads, sys.stderr, compacted)
    left = _TIMES * rows + _SMALL_ROWS
    chosen: dict[str, list[_DayFile]] = {}
    for day, found in work.find_days(days, least=_ENOUGH_SMALL_FILES).items():
        files = _find_small([file for file in found if file.run != besides.name])
        size = sum(file.rows for file in files)
        if size <= left and len(files) >= (
            _ENOUGH_SMALL_FILES if size < _SMALL_ROWS else _ENOUGH_FILES
        ):
            chosen[day] = files
            left -= size
    work.merge(chosen)
    return compacted


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _is_worth_it(files: Sequence[_DayFile]) -> bool:
    """Whether a day has several files, or one without the columns that runs have now."""
    return len(files) > 1 or any(not needs_manifest(file.run) for file in files)


def _find_short_runs(days: Mapping[str, Sequence[_DayFile]]) -> set[str]:
    """The runs of few days, if they are so many that listing them takes a question's time."""
    counts = Counter(file.run for files in days.values() for file in files)
    short = {run for run, count in counts.items() if count <= _FEW_DAYS}
    return short if len(short) > _MANY_RUNS else set()


def _find_small(files: Sequence[_DayFile]) -> list[_DayFile]:
    """The smallest files, none of which is much larger than all smaller ones together.

    So a row is written again about as many times as its day's number of rows has digits.
    """
    found: list[_DayFile] = []
    size = 0
    for file in sorted(files, key=lambda file: file.rows):
        if found and file.rows > _TIMES * size:
            break
        found.append(file)
        size += file.rows
    return found


class _Compaction:
    """Merges files of days, batch by batch."""

    def __init__(
        self,
        directory: DataDirectory,
        memory: str,
        threads: int,
        stream: TextIO,
        compacted: Compacted,
    ) -> None:
        self._directory = directory
        self._memory = memory
        self._threads = threads
        self._stream = stream
        self._done = compacted
        self._columns = published_tables()[directory.table]
        self._records: dict[str, RunRecord | None] = {}

    def find_days(
        self, days: Collection[str] | None = None, least: int = 1
    ) -> dict[str, list[_DayFile]]:
        """The files of these days, or of all, that have at least so many; in order of days."""
        by_day: dict[str, dict[str, Path]] = {}
        for (run, day), path in self._directory.live_files(days).items():
            if strays := find_strays(path.parent):
                self._leave(path, f"has a file beside it that import did not write: {strays[0]}")
            else:
                by_day.setdefault(day, {})[run] = path
        wanted = {day: runs for day, runs in sorted(by_day.items()) if len(runs) >= least}
        rows = self._count_rows([path for runs in wanted.values() for path in runs.values()])
        return {
            day: [
                _DayFile(run, day, path, rows[path]) for run, path in runs.items() if path in rows
            ]
            for day, runs in wanted.items()
        }

    def merge(self, days: Mapping[str, Sequence[_DayFile]]) -> None:
        """Merge the files of each day.

        Raises:
            EngineError: if that fails: then the batches before are in, and the rest is as it was.
        """
        for number, batch in enumerate(_cut(days)):
            self._merge_batch(batch, f"{number + 1}")
            self._records.clear()

    def _merge_batch(self, batch: Mapping[str, Sequence[_DayFile]], number: str) -> None:
        drops: dict[str, list[str]] = {}
        written: list[str] = []
        with self._directory.staging() as staging:
            run = staging / "run"
            run.mkdir()
            with open_database(
                staging, zone=None, memory=self._memory, threads=self._threads
            ) as connection:
                for n, (day, files) in enumerate(batch.items(), 1):
                    label = f"merging {day}, {n} of {len(batch)} of batch {number}"
                    with show_progress(connection, label, self._stream):
                        merged = self._merge_day(connection, day, files, run)
                    for file in merged:
                        drops.setdefault(file.run, []).append(day)
                    if merged:
                        written.append(day)
                        self._done.files += len(merged)
            if written:
                record = {
                    "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
                    "table": self._directory.table,
                    "sources": [],
                }
                self._done.folders.append(self._directory.commit(run, written, record, drops))
                self._done.days += len(written)

    def _merge_day(
        self,
        connection: duckdb.DuckDBPyConnection,
        day: str,
        files: Sequence[_DayFile],
        run: Path,
    ) -> list[_DayFile]:
        """Write the rows of a day's files into one; returns those that it has the rows of."""
        selects = {file: self._select(connection, file) for file in files}
        merged = [file for file, select in selects.items() if select]
        if not merged:
            return []
        if not _is_worth_it(merged):  # to be in a folder with others
            _link(merged[0].path.parent, run / f"date={day}")
            return merged
        union = " UNION ALL BY NAME ".join(selects[file] for file in merged)
        connection.execute(f"CREATE OR REPLACE VIEW merging AS {union}")
        write_day(connection, "merging", day, run, self._directory.table)
        written = run / f"date={day}" / merged[0].path.name
        if _count_rows(connection, written) != sum(file.rows for file in merged):
            raise EngineError(
                f"{merged[0].path} and files beside it have rows of other days than {day}:"
                " they were not merged. Compare them with `check --files`"
            )
        return merged

    def _select(self, connection: duckdb.DuckDBPyConnection, file: _DayFile) -> str:
        """SQL of a file's rows; empty, and said, if the file must stay as it is."""
        record = self._record(file.run)
        if record is None or not is_as_recorded(file.path.parents[1], file.day, record):
            self._leave(file.path, "is not as import recorded it: see `check`")
            return ""
        source = f"read_parquet({sql_text(str(file.path))}, hive_partitioning = false)"
        found = {name for name, *_ in connection.execute(f"DESCRIBE FROM {source}").fetchall()}
        known = {*self._columns, *IDENTITY_COLUMNS, TEAMS_KEY}
        if strange := sorted(n for n in found - known if metadata_key(n) is None):
            self._leave(file.path, f"has a column that this version does not know: {strange[0]}")
            return ""
        listed = [quote_identifier(name) for name in self._columns if name in found]
        listed += [name for name in IDENTITY_COLUMNS if name in found]
        if "has_call_id" not in found:  # an earlier version's: made-up ids match nothing
            listed.append("TRUE AS has_call_id")
        sources = list(record.sources)
        if _SOURCE not in found and len(sources) == 1:
            listed.append(f"{sql_text(sources[0][:SOURCE_DIGITS])} AS {_SOURCE}")
        return f"SELECT {', '.join(listed)} FROM {source}"

    def _record(self, run: str) -> RunRecord | None:
        """A run's record; None if it is damaged."""
        if run not in self._records:
            try:
                self._records[run] = read_record(self._directory.folder / run)
            except FileNotFoundError:
                self._records[run] = RunRecord([], None)
            except (OSError, ValueError):
                self._records[run] = None
        return self._records[run]

    def _count_rows(self, files: Sequence[Path]) -> dict[Path, int]:
        """The rows of files by their footers; those that are damaged are left as they are."""
        found: dict[Path, int] = {}
        with duckdb.connect() as connection:
            for path in files:
                try:
                    found[path] = _count_rows(connection, path)
                except duckdb.Error:
                    self._leave(path, "cannot be read: see `check`")
        return found

    def _leave(self, path: Path, reason: str) -> None:
        self._done.left.append(f"{path.relative_to(self._directory.folder).as_posix()} {reason}")


def _link(folder: Path, target: Path) -> None:
    """Make a folder with the same files, which take no more space where links are possible."""
    target.mkdir()
    for path in folder.iterdir():
        try:
            (target / path.name).hardlink_to(path)
        except OSError:
            shutil.copyfile(path, target / path.name)


def _count_rows(connection: duckdb.DuckDBPyConnection, path: Path) -> int:
    statement = "SELECT num_rows FROM parquet_file_metadata($path)"
    ((rows,),) = connection.execute(statement, {"path": str(path)}).fetchall()
    return int(rows)


def _cut(
    days: Mapping[str, Sequence[_DayFile]],
) -> Iterator[dict[str, Sequence[_DayFile]]]:
    """The days in batches of a month at most, and so many rows that one can be done again."""
    batch: dict[str, Sequence[_DayFile]] = {}
    rows = 0
    for day, files in days.items():
        more = sum(file.rows for file in files)
        if batch and (len(batch) >= _BATCH_DAYS or rows + more > _BATCH_ROWS):
            yield batch
            batch, rows = {}, 0
        batch[day] = files
        rows += more
    if batch:
        yield batch
