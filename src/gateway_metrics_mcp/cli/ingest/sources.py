"""The files to import: format, content hash, CSV header, and the SQL that reads their rows."""

from __future__ import annotations

import csv
import glob
import gzip
import hashlib
import io
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import duckdb

from gateway_metrics_mcp.backends.duckdb.dialect import WHOLE, StoredColumn, read_as
from gateway_metrics_mcp.backends.duckdb.files import EXPORT_FIRST, recognise_table_format
from gateway_metrics_mcp.backends.duckdb.layout import (
    Schema,
    read_folder_value,
    read_folders,
    read_schema,
)
from gateway_metrics_mcp.backends.sql.dialect import INTEGERS, published_tables, quote_identifier
from gateway_metrics_mcp.cli.ingest.mapping import Preset, sql_text
from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.query import quote

Format = Literal["csv", "jsonl", "parquet"]

_FORMATS: Final[dict[str, Format]] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
_MOST_PARENTS: Final = 6
"""How far above a file a table's log is looked for: partitions can be nested."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file to import."""

    path: Path
    format: Format
    sha256: str
    """Of the file's bytes: files with equal content are imported once."""
    stamp: tuple[int, int]
    """Size and modification time in ns when the file was hashed."""
    delimiter: str = ","
    header: tuple[str, ...] = ()
    """The columns of a CSV file; empty for other formats, which DuckDB describes."""

    def check_unchanged(self) -> None:
        """Refuse a file that changed since it was hashed: its hash would not match its rows.

        Raises:
            SettingsError: if the file changed or is gone.
        """
        try:
            is_unchanged = _stamp_of(self.path) == self.stamp
        except OSError:
            is_unchanged = False
        if not is_unchanged:
            raise SettingsError(f"{self.path} changed while it was read; nothing was imported")


def find_sources(patterns: Iterable[str], format_: Format | None) -> list[SourceFile]:
    """The files of the command line, each once, in the order given; patterns sorted by name.

    Raises:
        SettingsError: if a file is missing, cannot be read, or has an unknown format.
    """
    paths: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern).expanduser()
        # A file whose name has `*` or `[` in it comes first: only else is it a pattern.
        found = [path] if path.exists() else [Path(p) for p in _match(path)]
        if not found:
            raise SettingsError(f"there is no file {pattern}")
        paths.update(dict.fromkeys(found))
    sources = [_read_source(path, format_) for path in paths]
    _refuse_table_formats(source.path for source in sources if source.format == "parquet")
    return sources


def _refuse_table_formats(paths: Iterable[Path]) -> None:
    """Refuse files of Delta and the like, of which only the table's log knows which count.

    Raises:
        SettingsError: that names the table.
    """
    folders = (folder for path in paths for folder in path.resolve().parents[:_MOST_PARENTS])
    for folder in dict.fromkeys(folders):
        try:
            names = os.listdir(folder)  # noqa: PTH208 - names alone
        except OSError:
            continue
        if (found := recognise_table_format(names, str(folder))) is not None:
            raise SettingsError(
                f"{folder} is {found}: its log says which of its files count. {EXPORT_FIRST}"
            )


def _match(pattern: Path) -> list[str]:
    matches = glob.glob(str(pattern), recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
    return sorted(match for match in matches if Path(match).is_file())


def _read_source(path: Path, format_: Format | None) -> SourceFile:
    try:
        if not path.is_file():
            raise SettingsError(
                f"{path} is not a file; name files, or a pattern such as '{path}/*'"
            )
        format_ = format_ or _format_of(path)
        stamp = _stamp_of(path)
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if format_ != "csv":
            return SourceFile(path, format_, digest, stamp)
        delimiter, header = _read_header(path)
        return SourceFile(path, format_, digest, stamp, delimiter, header)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror or error}") from None


def _stamp_of(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _format_of(path: Path) -> Format:
    name = path.name.lower().removesuffix(".gz")
    for ending, format_ in _FORMATS.items():
        if name.endswith(ending):
            return format_
    raise SettingsError(f"{path}: its name does not show the format. Give --format")


def _read_header(path: Path) -> tuple[str, tuple[str, ...]]:
    """The delimiter (the most frequent of four in the first line) and the columns.

    Raises:
        SettingsError: if the file is not UTF-8, or has no header or a duplicate column.
    """
    with closing(_open_text(path)) as stream:
        try:
            start = stream.read(1_000_000)
        except UnicodeDecodeError:
            raise SettingsError(f"{path} is not UTF-8 text") from None
    first = start.partition("\n")[0]
    delimiter = max(",\t;|", key=first.count)
    header = tuple(next(csv.reader(io.StringIO(start), delimiter=delimiter), ()))
    if not any(header):
        raise SettingsError(f"{path} has no header: its first line must name the columns")
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise SettingsError(f'{path} has two columns "{twice}"')
    return delimiter, header


def _open_text(path: Path) -> io.TextIOWrapper:
    # `-sig` skips the byte order mark that spreadsheets write before the first column's name.
    if path.suffix == ".gz":
        return io.TextIOWrapper(gzip.open(path), "utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


REJECTS: Final = "rejects"
# DuckDB wants a buffer larger than the longest line, hence twice this below.
_LONGEST_LINE: Final = 16_000_000


@dataclass(frozen=True, slots=True)
class FileColumns:
    """A file's columns; in JSON lines, the keys of all lines."""

    names: tuple[str, ...]
    is_plain: bool = True
    """Whether each JSON line is an object with keys; True for other formats."""


@dataclass(frozen=True, slots=True)
class FileRows:
    """How to read a file's rows."""

    sql: str
    """Selects `row` (from 1), `is_bad` (unreadable), and the used columns as `c<n>`."""
    texts: tuple[str, ...]
    """SQL over `c<n>` for the text of each used column."""
    values: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """Column of the file and published type -> SQL over `c<n>` for the value, where it is not to be
    read from the text; null for a value that does not fit."""


def find_columns(
    engine: duckdb.DuckDBPyConnection, source: SourceFile, preset: Preset | None
) -> FileColumns:
    """A file's columns."""
    if preset is not None and preset.fields:
        return FileColumns(preset.fields)
    if source.format == "csv":
        return FileColumns(source.header)
    if source.format == "parquet":
        rows = engine.execute(f"DESCRIBE FROM {_parquet(source)}").fetchall()
        names = tuple(name for name, *_ in rows if name != "file_row_number")
        return FileColumns((*names, *_find_folders(source, names)))
    keys = f"SELECT json_keys(json) AS keys FROM {_read_lines(source)}"
    rows = engine.execute(
        f"""
        SELECT DISTINCT unnest(CASE WHEN len(keys) > 0 THEN keys ELSE [NULL] END) AS key
        FROM ({keys}) ORDER BY key
        """
    ).fetchall()
    found = tuple(key for (key,) in rows if key is not None)
    return FileColumns(found, is_plain=len(found) == len(rows))


def select_rows(
    engine: duckdb.DuckDBPyConnection,
    source: SourceFile,
    columns: FileColumns,
    used: Sequence[str],
    wanted: Mapping[str, str],
    preset: Preset | None,
) -> FileRows:
    """How to read the used columns; a preset finds text in `c<n>`.

    `wanted` are the published types of the columns that single columns fill.

    Raises:
        SettingsError: if two columns of a Parquet file differ by case alone, and one is used.
    """
    names = tuple(f"c{n}" for n in range(len(used)))
    if preset is not None and preset.rows is not None:
        listed = "".join(f", {quote_identifier(name)} AS c{n}" for n, name in enumerate(used))
        return FileRows(
            f"WITH lines AS (SELECT row_number() OVER () AS row, json FROM {_lines(source)})"
            f" SELECT row, {quote_identifier(preset.fields[0])} IS NULL AS is_bad{listed}"
            f" FROM ({preset.rows})",
            names,
        )
    if source.format == "csv":
        return FileRows(_select_csv(source, used), names)
    if source.format == "parquet":
        rows = _select_parquet(engine, source, used, wanted)
        if preset is None:
            return rows
        listed = "".join(f", {text} AS c{n}" for n, text in enumerate(rows.texts))
        return FileRows(f"SELECT row, is_bad{listed} FROM ({rows.sql})", names)
    if columns.is_plain and len({name.casefold() for name in used} - {""}) == len(used):
        return FileRows(_select_plain_lines(source, used, wanted), names)
    pointers = ", ".join(sql_text(_pointer(name)) for name in used)
    listed = "".join(f", fields[{n + 1}] AS c{n}" for n in range(len(used)))
    return FileRows(
        f"SELECT row_number() OVER () AS row, json IS NULL AS is_bad{listed} FROM"
        f" (SELECT json, json_extract_string(json, [{pointers}]::VARCHAR[]) AS fields"
        f" FROM {_lines(source)})",
        names,
    )


def _select_plain_lines(source: SourceFile, used: Sequence[str], wanted: Mapping[str, str]) -> str:
    """SQL that reads each line once, as columns: for objects alone, whose keys differ in case too.

    As text, DuckDB writes a number in another way than JSON does, hence the type JSON.
    """
    types, values = [], []
    for n, name in enumerate(used):
        is_text = wanted.get(name) in (None, "TEXT", "TIMESTAMPTZ")
        types.append(f"{sql_text(name)}: '{'VARCHAR' if is_text else 'JSON'}'")
        column = quote_identifier(name)
        is_quoted = f"starts_with(CAST({column} AS VARCHAR), '\"')"
        text = f"CASE WHEN {is_quoted} THEN {column} ->> '$' ELSE CAST({column} AS VARCHAR) END"
        values.append(f", {column if is_text else text} AS c{n}")
    return (
        f"SELECT row_number() OVER () AS row, FALSE AS is_bad{''.join(values)} FROM read_json("
        f"{_name(source)}, format = 'newline_delimited', columns = {{{', '.join(types)}}},"
        f" hive_partitioning = false, ignore_errors = true, maximum_object_size = {_LONGEST_LINE})"
    )


def _select_csv(source: SourceFile, used: Sequence[str]) -> str:
    """SQL that reads a CSV file by RFC 4180; broken lines go to the table of rejects.

    Nothing is detected automatically: all columns are text, which reading.sql parses strictly.
    """
    names = ", ".join(f"'h{n}': 'VARCHAR'" for n in range(len(source.header)))
    listed = "".join(f", h{source.header.index(name)} AS c{n}" for n, name in enumerate(used))
    return (
        f"SELECT row_number() OVER () AS row, FALSE AS is_bad{listed} FROM read_csv("
        f"{_name(source)}, auto_detect = false, header = true, columns = {{{names}}},"
        f" delim = {sql_text(source.delimiter)}, quote = '\"', escape = '\"', nullstr = '',"
        f" allow_quoted_nulls = false, store_rejects = true, rejects_table = '{REJECTS}',"
        f" max_line_size = {_LONGEST_LINE}, buffer_size = {2 * _LONGEST_LINE})"
    )


def _select_parquet(
    engine: duckdb.DuckDBPyConnection,
    source: SourceFile,
    used: Sequence[str],
    wanted: Mapping[str, str],
) -> FileRows:
    schema = read_schema(engine, glob.escape(str(source.path.absolute())))
    folders = _find_folders(source, schema.columns)
    listed, texts, values = [], [], {}
    for n, name in enumerate(used):
        if name in folders:
            texts.append(_folder_text(source, name, folders[name]))
            listed.append(f", NULL AS c{n}")
            continue
        stored, type_ = _find_stored(source, schema, name), wanted.get(name)
        listed.append(f", f.{quote_identifier(stored.name)} AS c{n}")
        texts.append(_as_text(stored, type_, f"c{n}"))
        if type_ is not None and (value := _as_value(stored, type_, f"c{n}")) is not None:
            values[name, type_] = value
    row = "file_row_number + 1 AS row, FALSE AS is_bad"
    sql = f"SELECT {row}{''.join(listed)} FROM {_parquet(source)} AS f"
    return FileRows(sql, tuple(texts), values)


def _find_folders(source: SourceFile, names: Iterable[str]) -> dict[str, str]:
    """The tables' columns whose values the file's folder names give, and not the file itself."""
    own = {name.lower() for name in names}
    known = {name.lower() for columns in published_tables().values() for name in columns}
    folders = read_folders(str(source.path.absolute()))
    return {n: value for n, value in folders.items() if n.lower() in known - own}


def _folder_text(source: SourceFile, name: str, value: str) -> str:
    try:
        text = read_folder_value(value)
    except ValueError:
        raise SettingsError(
            f"{source.path}: its folder names give {name} a value that is unclear. Give it with"
            f" --set {name}=VALUE"
        ) from None
    return "NULL" if text is None else sql_text(text)


def _find_stored(source: SourceFile, schema: Schema, name: str) -> StoredColumn:
    """A column by the name that DuckDB gives it.

    Raises:
        SettingsError: if another column has the name but for case: DuckDB then renames one.
    """
    for alike in schema.columns.values():
        renamed = re.escape(alike[0].name) + r"(_\d+)?"
        if len(alike) > 1 and re.fullmatch(renamed, name, re.IGNORECASE):
            listed = " and ".join(quote(column.name) for column in alike)
            raise SettingsError(f"{source.path} has the columns {listed}, which differ by case")
    return schema.columns[name.lower()][0]


def _as_value(stored: StoredColumn, wanted: str, column: str) -> str | None:
    """SQL for what reading.sql makes of the column's text, without the text; None if it must.

    A float or decimal is the double that its digits say, and numbers are no booleans.
    """
    shape = stored.shape.id
    if wanted == "TIMESTAMPTZ" and shape == "timestamp with time zone":
        return f"accept({column})"
    if wanted == "TIMESTAMPTZ" and shape in ("timestamp", "timestamp_s", "timestamp_ms"):
        return f"accept(settle(CAST({column} AS TIMESTAMP)))"
    if wanted in INTEGERS and shape in WHOLE:
        return column if shape == wanted.lower() else f"TRY_CAST({column} AS {wanted})"
    if wanted in INTEGERS and shape in ("float", "double"):
        whole = f"TRY_CAST(CAST(round({column}) AS HUGEINT) AS {wanted})"
        return f"CASE WHEN abs({column}) < 1e18 THEN {whole} END"
    if wanted == "DOUBLE PRECISION" and shape == "double":
        return f"CASE WHEN isfinite({column}) THEN {column} END"
    if wanted == "DOUBLE PRECISION" and shape in WHOLE - {"hugeint", "uhugeint"}:
        return f"CAST({column} AS DOUBLE)"
    if wanted == "BOOLEAN" and shape == "boolean":
        return column
    is_nested = shape in ("struct", "map", "list", "array")
    read = read_as(wanted, stored, column) if is_nested else None
    if read is None or wanted == "TEXT":
        return None
    return f"filled_words({read})" if wanted == "Array(Text)" else f"with_unique_keys({read})"


def _as_text(stored: StoredColumn, wanted: str | None, column: str) -> str:
    """SQL that reads a column as text, which means to reading.sql what it means to the engine.

    `wanted` is the published type of the column that it fills; None if that is not known.
    """
    shape = stored.shape.id
    if shape in ("float", "double") and wanted in INTEGERS:  # without an exponent
        whole = f"CAST(CAST(round({column}) AS HUGEINT) AS VARCHAR)"
        return f"CASE WHEN abs({column}) < 1e18 THEN {whole} ELSE CAST({column} AS VARCHAR) END"
    if wanted == "TEXT" and stored.type == "JSON":
        return read_as("TEXT", stored, column) or column
    if shape not in ("struct", "map", "list", "array", "union", "variant"):
        return f"CAST({column} AS VARCHAR)"
    is_map_or_list = wanted is not None and wanted.startswith(("Map", "Array"))
    read = read_as(wanted, stored, column) if wanted is not None and is_map_or_list else None
    return f"CASE WHEN {column} IS NOT NULL THEN CAST(to_json({read or column}) AS VARCHAR) END"


def find_broken_text(
    engine: duckdb.DuckDBPyConnection, source: SourceFile, used: Sequence[str]
) -> str | None:
    """Which of the used columns of a Parquet file has bytes that are no UTF-8 text."""
    for name in used:
        column = f"f.{quote_identifier(name)}"
        rows = f"SELECT {column} AS v FROM {_parquet(source)} AS f"
        try:
            engine.execute(f"SELECT count(*) FROM ({rows}) WHERE hash(v) = 0")
        except duckdb.BinderException:
            continue  # its value is in a folder's name
        except duckdb.InvalidInputException:
            return name
    return None


def _lines(source: SourceFile) -> str:
    """SQL that reads JSON lines as `json`, null for lines that are not an object."""
    return (
        "(SELECT CASE WHEN json_type(json) = 'OBJECT' THEN json END AS json"
        f" FROM {_read_lines(source)})"
    )


def _read_lines(source: SourceFile) -> str:
    return (
        f"read_ndjson_objects({_name(source)}, ignore_errors = true,"
        f" maximum_object_size = {_LONGEST_LINE})"
    )


def _parquet(source: SourceFile) -> str:
    # Without hive partitioning: `key=value` in the path must not become a column.
    return (
        f"read_parquet({_name(source)}, file_row_number = true, hive_partitioning = false,"
        " binary_as_string = true)"
    )


def _name(source: SourceFile) -> str:
    """The file's path as an SQL literal, escaped because DuckDB expands `*` and `[`."""
    return sql_text(glob.escape(str(source.path.absolute())))


def _pointer(key: str) -> str:
    # A JSON pointer (RFC 6901): DuckDB would read a bare key that begins with `$` or `/` as a path.
    return "/" + key.replace("~", "~0").replace("/", "~1")
