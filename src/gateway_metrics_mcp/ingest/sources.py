"""Files of each format as rows of text, whatever their own types: one way in for all."""
# ruff: noqa: S608 - names are quoted; a preset's SQL is ours

from __future__ import annotations

import glob
from collections.abc import Sequence
from typing import Final

import duckdb

from gateway_metrics_mcp.backends.dialect import quote_identifier
from gateway_metrics_mcp.ingest.files import SourceFile
from gateway_metrics_mcp.ingest.mapping import sql_text
from gateway_metrics_mcp.ingest.presets import Preset

REJECTS: Final = "rejects"
_LONGEST_LINE: Final = 16_000_000
_NESTED: Final = ("STRUCT", "MAP", "UNION", "JSON", "VARIANT")


def find_columns(
    engine: duckdb.DuckDBPyConnection, source: SourceFile, preset: Preset | None
) -> tuple[str, ...]:
    """The columns that a file has: in JSON lines, the keys of all lines."""
    if preset is not None and preset.fields:
        return preset.fields
    if source.format == "csv":
        return source.header
    if source.format == "parquet":
        rows = engine.execute(f"DESCRIBE FROM {_parquet(source)}").fetchall()
        return tuple(name for name, *_ in rows if name != "file_row_number")
    keys = f"SELECT unnest(json_keys(json)) AS key FROM {_lines(source)}"
    rows = engine.execute(f"SELECT key FROM ({keys}) GROUP BY key ORDER BY key").fetchall()
    return tuple(key for (key,) in rows)


def select_rows(
    engine: duckdb.DuckDBPyConnection,
    source: SourceFile,
    used: Sequence[str],
    preset: Preset | None,
) -> str:
    """SQL with `row`, from 1; `is_bad`, whether it cannot be read; and the columns as `c<n>`."""
    if preset is not None and preset.rows is not None:
        listed = "".join(f", {quote_identifier(name)} AS c{n}" for n, name in enumerate(used))
        return (
            f"WITH lines AS (SELECT row_number() OVER () AS row, json FROM {_lines(source)})"
            f" SELECT row, {quote_identifier(preset.fields[0])} IS NULL AS is_bad{listed}"
            f" FROM ({preset.rows})"
        )
    if source.format == "csv":
        return _select_csv(source, used)
    if source.format == "parquet":
        return _select_parquet(engine, source, used)
    pointers = ", ".join(sql_text(_pointer(name)) for name in used)
    listed = "".join(f", fields[{n + 1}] AS c{n}" for n in range(len(used)))
    return (
        f"SELECT row_number() OVER () AS row, json IS NULL AS is_bad{listed} FROM"
        f" (SELECT json, json_extract_string(json, [{pointers}]::VARCHAR[]) AS fields"
        f" FROM {_lines(source)})"
    )


def _select_csv(source: SourceFile, used: Sequence[str]) -> str:
    """All lines by RFC 4180; broken ones go to the table of rejects."""
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
    engine: duckdb.DuckDBPyConnection, source: SourceFile, used: Sequence[str]
) -> str:
    described = engine.execute(f"DESCRIBE FROM {_parquet(source)}").fetchall()
    types = {name: str(type_) for name, type_, *_ in described}
    listed = "".join(f", {_as_text(name, types[name])} AS c{n}" for n, name in enumerate(used))
    row = "file_row_number + 1 AS row, FALSE AS is_bad"
    return f"SELECT {row}{listed} FROM {_parquet(source)}"


def _as_text(name: str, type_: str) -> str:
    quoted = quote_identifier(name)
    if type_.startswith(_NESTED) or type_.endswith("]"):
        return f"to_json({quoted})::VARCHAR"
    return f"{quoted}::VARCHAR"


def _lines(source: SourceFile) -> str:
    """JSON lines as `json`: null where the line is no object."""
    return (
        "(SELECT CASE WHEN json_type(json) = 'OBJECT' THEN json END AS json"
        f" FROM read_ndjson_objects({_name(source)}, ignore_errors = true,"
        f" maximum_object_size = {_LONGEST_LINE}))"
    )


def _parquet(source: SourceFile) -> str:
    return f"read_parquet({_name(source)}, file_row_number = true, hive_partitioning = false)"


def _name(source: SourceFile) -> str:
    """The file's name as SQL; the engine would read `*` and the like as a pattern."""
    return sql_text(glob.escape(str(source.path.absolute())))


def _pointer(key: str) -> str:
    return "/" + key.replace("~", "~0").replace("/", "~1")
