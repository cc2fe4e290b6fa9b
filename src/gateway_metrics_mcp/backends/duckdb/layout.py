"""How each Parquet file stores the table, and the SQL that reads all files in the table's types.

A file's schema is read once for as long as the file stays as it is. Files that store the asked
columns alike are read by one SELECT, and the SELECTs are joined by UNION ALL: so what a file means
does not depend on its neighbours. `import` reads columns by the same SQL.
"""

from __future__ import annotations

import logging
import math
import os
import re
from collections import defaultdict
from collections.abc import Callable, Container, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import unquote

import duckdb

from gateway_metrics_mcp.backends.duckdb.dialect import (
    ALLOWED,
    DIALECTS,
    DUCK_TYPES,
    FILES,
    UNREADABLE,
    DuckDialect,
    StoredColumn,
    read_as,
)
from gateway_metrics_mcp.backends.duckdb.files import is_of_import, show_path
from gateway_metrics_mcp.backends.sql.compiler import Statement
from gateway_metrics_mcp.backends.sql.dialect import (
    INTEGERS,
    TIME_COLUMN,
    Sums,
    find_used,
    quote_identifier,
)
from gateway_metrics_mcp.errors import EngineError
from gateway_metrics_mcp.query import Caller, Query, fold, quote

logger = logging.getLogger(__name__)

_MOST_SHOWN: Final = 3
_MOST_KNOWN: Final = 100_000
_MOST_FIRST_DAYS: Final = 100
_NO_VALUE: Final = "__HIVE_DEFAULT_PARTITION__"
_IMPORT: Final = "bring the file in with `gateway-metrics-mcp import`"
_MOST_COLUMNS: Final = 30
_WHOLE_NUMBER: Final = re.compile(r"[+-]?\d+(\.0*)?", re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}

# --- the layouts of files ---


FileVersion = tuple[tuple[Hashable, ...], ...]
"""What some files are at one time: equal only while none of them changes."""


def identify(files: Sequence[str]) -> FileVersion | None:
    """What the files are now: path, inode, size and both times of each; None if one has gone."""
    try:
        found = [os.stat(path) for path in files]  # noqa: PTH116 - thousands of files
    except OSError:
        return None
    of = zip(files, found, strict=True)
    return tuple((f, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for f, s in of)


@dataclass(frozen=True, slots=True, eq=False)
class Schema:
    """A file's columns, by their names in lower case; one object for all files that have them."""

    columns: dict[str, tuple[StoredColumn, ...]]


@dataclass(slots=True)
class Layout:
    """A file's schema, and what the names of its folders give, by column in lower case."""

    schema: Schema
    folders: Mapping[str, str]
    timeless: int | None = None
    """How many of its rows have no time; None until they are counted."""


class LayoutCache:
    """The layouts of files, each read once while the file stays as it is. Safe in threads."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Hashable, Layout]] = {}
        self._schemas: dict[Hashable, Schema] = {}
        self._first_days: dict[FileVersion, str | None] = {}
        self._lock = Lock()

    def find(
        self,
        cursor: duckdb.DuckDBPyConnection,
        files: Sequence[str],
        version: FileVersion | None,
        table: Path,
    ) -> dict[str, Layout]:
        """The files' layouts in their order; all are read if `version`, of `identify`, is None."""
        known, found = self._known, dict[str, Layout]()
        if version is not None:
            for path, identity in zip(files, version, strict=True):
                entry = known.get(path)
                if entry is not None and entry[0] == identity:
                    found[path] = entry[1]
        unread = [path for path in files if path not in found]
        if unread:
            # Not under the lock: a read that hangs must not stop the other questions.
            found.update(self._read(cursor, unread, table))
            if version is not None:
                with self._lock:
                    self._keep(files, version, found)
        return {path: found[path] for path in files}

    def find_first_day(
        self,
        cursor: duckdb.DuckDBPyConnection,
        table: Path,
        files: Mapping[str, Layout],
        version: FileVersion | None,
    ) -> str | None:
        """The UTC day of the first row of some files, found once while they stay as they are.

        `version` is that of these files and of others; None if there is no row.
        """
        if version is None:
            return _find_first_day(cursor, table, files)
        key = tuple(entry for entry in version if entry[0] in files)
        if key not in self._first_days:
            if len(self._first_days) >= _MOST_FIRST_DAYS:
                self._first_days.clear()
            self._first_days[key] = _find_first_day(cursor, table, files)
        return self._first_days[key]

    def _keep(
        self, files: Sequence[str], version: FileVersion, found: Mapping[str, Layout]
    ) -> None:
        if len(self._known) + len(files) > _MOST_KNOWN:
            self._known.clear()
            self._schemas.clear()
        of = zip(files, version, strict=True)
        self._known.update({path: (identity, found[path]) for path, identity in of})

    def _read(
        self, cursor: duckdb.DuckDBPyConnection, files: Sequence[str], table: Path
    ) -> Iterator[tuple[str, Layout]]:
        for path, rows in _read_rows(cursor, files):
            schema = self._schemas.get(rows)
            if schema is None:
                schema = self._schemas[rows] = _make_schema(cursor, rows)
            folders = read_folders(path[len(str(table)) :])
            yield path, Layout(schema, {name.lower(): folders[name] for name in folders})


def read_schema(cursor: duckdb.DuckDBPyConnection, file: str) -> Schema:
    """The schema of one file; `file` is a path, or a pattern of which it is the only match."""
    ((_, rows),) = _read_rows(cursor, [file])
    return _make_schema(cursor, rows)


_SchemaRow = tuple[str, int | None, str]


def _read_rows(
    cursor: duckdb.DuckDBPyConnection, files: Sequence[str]
) -> Iterator[tuple[str, tuple[_SchemaRow, ...]]]:
    """Each file's schema in the order of its tree, without the root."""
    cursor.execute(
        "SELECT CASE WHEN column_id = 0 THEN file_name END, name, num_children, duckdb_type"
        " FROM parquet_schema($files)",
        {"files": list(files)},
    )
    path, rows = "", list[_SchemaRow]()
    for file, name, children, type_ in cursor.fetchall():
        if file is None:
            rows.append((name, children, type_))
            continue
        if path:
            yield path, tuple(rows)
        path, rows = file, []
    if path:
        yield path, tuple(rows)


def _make_schema(cursor: duckdb.DuckDBPyConnection, rows: Sequence[_SchemaRow]) -> Schema:
    columns = defaultdict[str, tuple[StoredColumn, ...]](tuple)
    at = 0
    while at < len(rows):
        name, children, type_ = rows[at]
        is_struct = type_.startswith("STRUCT(") and not type_.endswith("]")
        at += 1
        keys = []
        for _ in range(children or 0):
            keys.append(rows[at][0])
            at = _end_of(rows, at)
        stored = StoredColumn(name, type_, cursor.dtype(type_), tuple(keys) if is_struct else ())
        columns[name.lower()] += (stored,)
    return Schema(dict(columns))


def _end_of(rows: Sequence[_SchemaRow], at: int) -> int:
    """The index after a row and all below it."""
    left = 1
    while left:
        left += (rows[at][1] or 0) - 1
        at += 1
    return at


_NO_FOLDERS: Final[Mapping[str, str]] = {}


def read_folders(path: str) -> Mapping[str, str]:
    """The values in folder names such as `ModelName=gpt-4o`, by column, as they stand there.

    A folder `date=` is none: it only says which files a window needs.
    """
    if "=" not in path:
        return _NO_FOLDERS
    found, last = dict[str, str](), ""
    for folder in path.split("/")[:-1]:
        name, sign, value = folder.partition("=")
        if sign:
            last = "" if name == "date" else unquote(name)
            if last:
                found[last] = value
        elif last:  # a folder of its own, or the rest of a value that was written unescaped
            found[last] += f"/{folder}"
    return found or _NO_FOLDERS


def read_folder_value(value: str) -> str | None:
    """The text of a folder's value; null as Hive and Spark write it.

    Raises:
        ValueError: if it is unclear, or no UTF-8.
    """
    if "/" in value:
        raise ValueError(value)
    return None if value == _NO_VALUE else unquote(value, errors="strict")


# --- the statement ---

_Similar = tuple[tuple[str, tuple[str, ...]], ...]
"""Columns that a file lacks, each with those of its names that differ by case and signs alone."""


@dataclass(frozen=True, slots=True)
class Group:
    """Files that store the asked columns alike."""

    stored: tuple[StoredColumn | None, ...]
    """How, by asked column; None if the files lack it."""
    in_folders: tuple[str, ...]
    """The lacking columns whose values are in folder names."""
    has_own_index: bool
    """Whether a column of the file hides the engine's `file_index`: then there is one file."""
    condition: str
    """The condition on the rows; empty for none."""
    paths: list[str]
    layouts: list[Layout]


class Derived(NamedTuple):
    """A column that `import` writes beside the vendor's; of other files it is computed."""

    base: str
    """The column of the vendor's that it is computed from."""
    compute: Callable[[str], str]
    """Its SQL, from that of the base."""


class Reading:
    """How one question reads its files: the statement's WITH clause and its parameters."""

    def __init__(
        self,
        cursor: duckdb.DuckDBPyConnection,
        table: Path,
        columns: Mapping[str, str],
        files: Mapping[str, Layout],
        *,
        derived: Mapping[str, Derived] = MappingProxyType({}),
        conditions: Mapping[str, str] = MappingProxyType({}),
        listed: str = "*",
        others: Sequence[str] = (),
    ) -> None:
        """`columns` are the asked ones with their published types, the time among them.

        `derived` are those of them that only imports write, whose bases are asked too. `conditions`
        are those of some files' rows. `listed` is what is selected of the columns, and `others`
        are selections of the like to read beside.

        Raises:
            EngineError: that names each column and file that cannot be read so.
        """
        self._cursor = cursor
        self._table = table
        self._columns = columns
        self._derived = derived
        self._conditions = conditions
        self._listed = listed
        self._problems: dict[str, None] = {}
        self.parameters: dict[str, Any] = {}
        self._groups = self._group(files)
        self._refuse_timeless()
        selects = [self._select(number, group) for number, group in enumerate(self._groups)]
        selects += others
        self._refuse(list(self._problems))
        if not selects:
            nulls = (f"{_null(t)} AS {quote_identifier(n)}" for n, t in columns.items())
            selects = [f"SELECT {listed} FROM (SELECT {', '.join(nulls)} WHERE false) AS none"]
        self.clause = f"WITH {FILES} AS NOT MATERIALIZED ({' UNION ALL '.join(selects)})"

    def describe_lacking(self) -> Iterator[str]:
        """A note on files that spell asked columns in another way, which then read as null."""
        files = defaultdict[_Similar, list[str]](list)
        for group in self._groups:
            of = zip(self._columns, group.stored, strict=True)
            lacking = [
                n
                for n, s in of
                if s is None and n not in group.in_folders and n not in self._derived
            ]
            if not lacking:
                continue
            known: dict[Hashable, _Similar] = {}
            for path, layout in zip(group.paths, group.layouts, strict=True):
                key = (id(layout.schema), *layout.folders)
                if key not in known:
                    known[key] = _find_similar(lacking, layout)
                files[known[key]].append(path)
        files.pop((), None)
        for similar, paths in list(files.items())[:_MOST_SHOWN]:
            yield self._say_lacking(similar, paths)

    def describe_timeless(self) -> Iterator[str]:
        """A note on rows without a time, which are in no window."""
        layouts = {
            path: layout
            for group in self._groups
            for path, layout in zip(group.paths, group.layouts, strict=True)
        }
        new = {path: layout for path, layout in layouts.items() if layout.timeless is None}
        self._count_timeless({p: layout for p, layout in new.items() if not is_of_import(p)})
        paths = [path for path, layout in layouts.items() if layout.timeless]
        if paths:
            rows = sum(layout.timeless or 0 for layout in layouts.values())
            have, they_are, them = (
                ("have", "they are", "them") if rows > 1 else ("has", "it is", "it")
            )
            yield (
                f"{rows} row{'s'[: rows > 1]} of {self._count(paths)} {have} no time in"
                f" {TIME_COLUMN}: {they_are} in no window, and no question counts {them}"
            )

    def _count_timeless(self, layouts: Mapping[str, Layout]) -> None:
        """Count the rows without a time of files that are new; from statistics if they tell."""
        if not layouts:
            return
        reading = Reading(self._cursor, self._table, {TIME_COLUMN: "TIMESTAMPTZ"}, layouts)
        statement = f"SELECT count(*) FROM {FILES} WHERE {quote_identifier(TIME_COLUMN)} IS NULL"
        try:
            self._cursor.execute(f"{reading.clause} {statement}", reading.parameters)
        except (duckdb.DataError, duckdb.InvalidInputException):  # the question did not need it
            return
        ((rows,),) = self._cursor.fetchall()
        for path, layout in layouts.items():
            if not rows or len(layouts) == 1:
                layout.timeless = int(rows)
            else:
                self._count_timeless({path: layout})

    def _say_lacking(self, similar: _Similar, paths: Sequence[str]) -> str:
        said = ", and ".join(
            f"no column {name} but {' and '.join(map(quote, names))}" for name, names in similar
        )
        pairs = ",".join(f"{name}=COLUMN" for name, _ in similar)
        is_one = len(paths) == 1
        have, it = ("has", "it lacks") if is_one else ("have", "they lack")
        return (
            f"{self._count(paths)} {have} {said}: what {it} reads as null. Rename that, or bring"
            f" {'the file' if is_one else 'the files'} in with `gateway-metrics-mcp import`, which"
            f" takes --map {pairs}"
        )

    def _count(self, paths: Sequence[str]) -> str:
        count = f"{len(paths)} files" if len(paths) > 1 else "1 file"
        return f"{count} of {self._table.name}, such as {self._shown(paths[0])},"

    def refuse_values(self) -> None:
        """Look for values that cannot be read, after the statement has failed.

        Raises:
            EngineError: that names the columns and files; not raised if all can be read.
        """
        problems: list[str] = []
        for group in self._groups:
            of = zip(self._columns, group.stored, strict=True)
            for name, stored in ((n, s) for n, s in of if s is not None):
                if self._try(name, stored, group.paths) is None:
                    continue
                whys = ((path, self._try(name, stored, [path])) for path in group.paths)
                problems += [f"{name} of {self._shown(path)} {why}" for path, why in whys if why]
                if len(problems) > _MOST_SHOWN:
                    self._refuse(problems)
        self._refuse(problems)

    def _try(self, name: str, stored: StoredColumn, paths: list[str]) -> str | None:
        """Read a column of all rows: why that is impossible, or None."""
        type_ = self._columns[name]
        column = read_as(type_, stored, f"f.{quote_identifier(stored.name)}")
        source = _source("paths", [stored])
        try:
            self._cursor.execute(
                f"SELECT count(*) FROM (SELECT {column} AS v FROM {source}) WHERE hash(v) = 0",
                {"paths": paths},
            )
        except (duckdb.DataError, duckdb.InvalidInputException) as error:
            if "UTF8" in str(error):
                return "has bytes that are no UTF-8 text"
            if isinstance(error, duckdb.DataError) or UNREADABLE in str(error):
                return f"is {stored.type} with a value that is not {ALLOWED[type_]}"
        return None

    def _group(self, files: Mapping[str, Layout]) -> list[Group]:
        groups: dict[Hashable, Group] = {}
        for path, layout in files.items():
            schema = layout.schema
            condition = self._conditions.get(path, "")
            key: Hashable = (id(schema), condition, bool(self._derived) and is_of_import(path))
            if layout.folders:
                key = (key, *layout.folders, "file_index" in schema.columns and path)
            group = groups.get(key)
            if group is None:
                alike = (*self._describe(path, layout), condition)
                group = groups.setdefault(alike, Group(*alike[:3], condition, [], []))
                groups[key] = group
            group.paths.append(path)
            group.layouts.append(layout)
        return list({id(group): group for group in groups.values()}.values())

    def _describe(
        self, path: str, layout: Layout
    ) -> tuple[tuple[StoredColumn | None, ...], tuple[str, ...], bool, str]:
        """What the files of a group have in common: the fields of `Group`, and its only file."""
        schema = layout.schema
        stored = tuple(self._find(name, path, schema) for name in self._columns)
        of = zip(self._columns, stored, strict=True)
        in_folders = tuple(n for n, s in of if s is None and n.lower() in layout.folders)
        has_own_index = bool(in_folders) and "file_index" in schema.columns
        return stored, in_folders, has_own_index, path if has_own_index else ""

    def _find(self, name: str, path: str, schema: Schema) -> StoredColumn | None:
        """The file's column of that name, whatever the case."""
        alike = schema.columns.get(name.lower(), ())
        if name in self._derived and not is_of_import(path):
            return None  # a column of the same name may hold anything
        if len(alike) > 1:
            listed = " and ".join(quote(column.name) for column in alike)
            self._add(f"{self._shown(path)} has {listed}, which differ by case alone")
        return alike[0] if alike else None

    def _select(self, number: int, group: Group) -> str:
        read = [
            f"{self._read_column(number, group, n, name)} AS {quote_identifier(name)}"
            for n, name in enumerate(self._columns)
        ]
        self.parameters[f"files{number}"] = group.paths
        select = f"SELECT {', '.join(read)} FROM {_source(f'files{number}', group.stored)}"
        if self._listed == "*" and not group.condition:
            return select
        where = f" WHERE {group.condition}" if group.condition else ""
        return f"SELECT {self._listed} FROM ({select}) AS b{where}"

    def _read_column(self, number: int, group: Group, n: int, name: str) -> str:
        type_, stored = self._columns[name], group.stored[n]
        if stored is not None:
            # Qualified: a bare name could bind to something else.
            read = read_as(type_, stored, f"f.{quote_identifier(stored.name)}")
            if read is None:
                more = f" and {len(group.paths) - 1} more" if len(group.paths) > 1 else ""
                self._add(
                    f"{name} of {self._shown(group.paths[0])}{more} is stored as {stored.type},"
                    f" and must be {ALLOWED[type_]}"
                )
            return read or "NULL"
        if name in self._derived:
            base = self._derived[name].base
            at = list(self._columns).index(base)
            return self._derived[name].compute(self._read_column(number, group, at, base))
        if name not in group.in_folders:
            return _null(type_)
        parameter = f"folder{number}_{n}"
        self.parameters[parameter] = [
            self._read_folder(path, name, layout.folders[name.lower()])
            for path, layout in zip(group.paths, group.layouts, strict=True)
        ]
        index = "1" if group.has_own_index else "CAST(f.file_index AS BIGINT) + 1"
        return f"CAST(${parameter} AS {DUCK_TYPES.get(type_, type_)}[])[{index}]"

    def _read_folder(self, path: str, name: str, value: str) -> object:
        try:
            text = read_folder_value(value)
            return None if text is None else _parse(text, self._columns[name])
        except ValueError:
            logger.warning("%s: %s cannot be %s", path, name, value)
            self._add(
                f"the folder names of {self._shown(path)} give {name} a value that is unclear or"
                f" not {ALLOWED[self._columns[name]]}"
            )
            return None

    def _shown(self, path: str) -> str:
        """A file's name for a message, below the table's directory."""
        return show_path(path, self._table)

    def _add(self, problem: str) -> None:
        self._problems[problem] = None

    def _refuse(self, problems: Sequence[str]) -> None:
        if problems:
            raise EngineError(
                f"a column of {self._table.name} is not of the published type:"
                f" {_list_first(problems, len(problems))}. Write it so, or {_IMPORT}"
            )

    def _refuse_timeless(self) -> None:
        """Refuse files that give no time: their rows are in no window, and would vanish."""
        at = list(self._columns).index(TIME_COLUMN)
        timeless = [
            (path, layout.schema)
            for group in self._groups
            if group.stored[at] is None and TIME_COLUMN not in group.in_folders
            for path, layout in zip(group.paths, group.layouts, strict=True)
        ]
        found = [
            f"{self._shown(path)} has {rows} row{'s'[: rows != 1]} and no column {TIME_COLUMN};"
            f" its columns are {_list_columns(schema)}"
            for path, schema in timeless[:_MOST_SHOWN]
            if (rows := _count_rows(self._cursor, path))
        ]
        if found:
            raise EngineError(
                f"a file of {self._table.name} does not say when its rows were made:"
                f" {_list_first(found, len(timeless))}. Rename the column of the time to"
                f" {TIME_COLUMN}, or {_IMPORT}, which takes --map {TIME_COLUMN}=COLUMN"
            )


class Compile(Protocol):
    """Compiles a question for a dialect."""

    def __call__(
        self,
        query: Query,
        caller: Caller,
        source: str,
        dialect: DuckDialect | None = None,
        *,
        is_in_window: bool = False,
    ) -> Statement:
        """The statement."""


@dataclass(frozen=True, slots=True)
class TableFiles:
    """The files of a table that one question needs, and how statements read them."""

    compile: Compile
    cursor: duckdb.DuckDBPyConnection
    table: Path
    columns: Mapping[str, str]
    """The table's, with their published types."""
    layouts: LayoutCache
    paths: Sequence[str]
    version: FileVersion | None

    def find_layouts(self, some: Container[str] | None = None) -> dict[str, Layout]:
        """The layouts of all files, or of some."""
        if some is None:
            return self.find_layouts_of(self.paths, self.version)
        paths = [path for path in self.paths if path in some]
        version = self.version
        if version is not None:
            version = tuple(entry for entry in version if entry[0] in some)
        return self.find_layouts_of(paths, version)

    def find_layouts_of(
        self, paths: Sequence[str], version: FileVersion | None
    ) -> dict[str, Layout]:
        """The layouts of any files of the table's folder."""
        return self.layouts.find(self.cursor, paths, version, self.table)

    def read(
        self, columns: Mapping[str, str], layouts: Mapping[str, Layout], **options: Any
    ) -> Reading:
        """How these columns of files are read; `options` are those of `Reading`."""
        return Reading(self.cursor, self.table, columns, layouts, **options)

    def open_plainly(
        self, query: Query, caller: Caller, sums: Sums = "usual"
    ) -> tuple[Statement, Reading]:
        """The statement over the vendor's columns of all files, and how it reads them."""
        statement = self.compile(query, caller, FILES, DIALECTS[sums])
        used = {TIME_COLUMN: "TIMESTAMPTZ", **find_used(self.columns, statement.text)}
        reading = self.read(used, self.find_layouts())
        return statement.opened_by(reading.clause, **reading.parameters), reading


def _find_similar(lacking: Sequence[str], layout: Layout) -> _Similar:
    """The lacking columns, each with those that a file or its folders spell in another way."""
    names = [column.name for alike in layout.schema.columns.values() for column in alike]
    meant = defaultdict[str, list[str]](list)
    for name in dict.fromkeys((*names, *layout.folders)):
        meant[fold(name)].append(name)
    return tuple((name, tuple(meant[fold(name)])) for name in lacking if fold(name) in meant)


def _find_first_day(
    cursor: duckdb.DuckDBPyConnection, table: Path, files: Mapping[str, Layout]
) -> str | None:
    reading = Reading(cursor, table, {TIME_COLUMN: "TIMESTAMPTZ"}, files)
    first = f"min({quote_identifier(TIME_COLUMN)})"
    ((day,),) = cursor.execute(
        f"{reading.clause} SELECT CAST(CAST({first} AS DATE) AS VARCHAR) FROM {FILES}",
        reading.parameters,
    ).fetchall()
    return None if day is None else str(day)


def _source(parameter: str, stored: Sequence[StoredColumn | None]) -> str:
    has_bytes = any(column is not None and "BLOB" in column.type for column in stored)
    bytes_ = ", binary_as_string = true" if has_bytes else ""
    return f"read_parquet(${parameter}, hive_partitioning = false{bytes_}) AS f"


def _list_first(problems: Sequence[str], count: int) -> str:
    """The first of `count` problems, and how many more there are."""
    more = count - _MOST_SHOWN
    return "; ".join(problems[:_MOST_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _null(type_: str) -> str:
    return f"CAST(NULL AS {DUCK_TYPES.get(type_, type_)})"


def _count_rows(cursor: duckdb.DuckDBPyConnection, path: str) -> int:
    statement = "SELECT num_rows FROM parquet_file_metadata($path)"
    ((rows,),) = cursor.execute(statement, {"path": path}).fetchall()
    return int(rows)


def _list_columns(schema: Schema) -> str:
    names = [quote(column.name) for alike in schema.columns.values() for column in alike]
    more = len(names) - _MOST_COLUMNS
    return ", ".join(names[:_MOST_COLUMNS]) + (f" and {more} more" if more > 0 else "")


def _parse(text: str, type_: str) -> object:
    """A text as a value of a type.

    Raises:
        ValueError: if the type has no such value.
    """
    if type_ == "TEXT":
        return text
    if type_ in INTEGERS and _WHOLE_NUMBER.fullmatch(text):
        number = int(text.partition(".")[0])
        if number.bit_length() < (32 if type_ == "INTEGER" else 64):
            return number
    if type_ == "DOUBLE PRECISION" and _NUMBER.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    if type_ == "BOOLEAN" and text.lower() in _BOOLEANS:
        return _BOOLEANS[text.lower()]
    if type_ == "TIMESTAMPTZ" and len(text) > len("2026-07-14"):  # a day alone is no instant
        instant = datetime.fromisoformat(text)
        return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    raise ValueError(type_)
