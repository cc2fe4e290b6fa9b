"""What a data directory has that belongs to no table: `check` and answers without data say it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Final

from gateway_metrics_mcp.backends.duckdb.files import (
    EXPORT_FIRST,
    is_parquet_name,
    read_ends,
    recognise_table_format,
)
from gateway_metrics_mcp.query import Catalog, closest_matches, fold, quote

_MOST_LOOKED_AT: Final = 1_000


def list_tables(catalog: Catalog) -> dict[str, str]:
    """The table of each datasource, some of which share one."""
    return {name: datasource.table for name, datasource in catalog.datasources.items()}


def find_strays(directory: Path, tables: Mapping[str, str]) -> Iterator[str]:
    """What the data directory has that no question reads, by name, and where it belongs.

    `tables` has the table of each datasource.
    """
    try:
        paths = directory.iterdir()
        names = sorted(path.name for path in paths if not path.name.startswith((".", "_")))
    except OSError:
        return
    known = list(dict.fromkeys(tables.values()))
    top = [name for name in names if _is_parquet(directory / name)]
    if top:
        count = f"{len(top)} Parquet files are" if len(top) > 1 else "1 Parquet file is"
        yield (
            f"{count} at the top of the data directory, such as {quote(top[0])}, and read for no"
            f" datasource: move each into the folder of its table, such as {known[0]}"
        )
    for name in names:
        # Not `is_dir`, which fails for what may not be looked at.
        if name in known or not os.path.isdir(directory / name):  # noqa: PTH112
            continue
        meant = _guess_table(name, tables)
        if meant is not None:
            yield f"the folder {quote(name)} is read for no datasource: did you mean {meant}?"
        elif (format_ := _find_table_format(directory / name)) is not None:
            yield f"the folder {quote(name)} is or has {format_}, which is not read. {EXPORT_FIRST}"
        elif any((directory / name / table).is_dir() for table in known):
            yield (
                f"the folder {quote(name)} has folders of tables, which are not read there: is it"
                " the directory that --backend should name?"
            )
        elif _has_parquet(directory / name):
            yield (
                f"the folder {quote(name)} has Parquet files, but is named like no table:"
                f" name it like one ({', '.join(known)}), or begin its name with _"
            )


def _guess_table(name: str, tables: Mapping[str, str]) -> str | None:
    folded = fold(name)
    for datasource, table in tables.items():
        if folded in (fold(table), fold(datasource)):
            return table
    near = closest_matches(name, set(tables.values()))
    return near[0] if near else None


def _find_table_format(folder: Path) -> str | None:
    """The first table format at a folder or not far below it."""
    for path, folders, names in islice(os.walk(folder), _MOST_LOOKED_AT):
        if (format_ := recognise_table_format([*folders, *names], path)) is not None:
            return format_
    return None


def _has_parquet(folder: Path) -> bool:
    """Whether some file below a folder is Parquet, among the first that are found."""
    files = (Path(path, name) for path, _, names in os.walk(folder) for name in sorted(names))
    return any(_is_parquet(path) for path in islice(files, _MOST_LOOKED_AT))


def _is_parquet(path: Path) -> bool:
    try:
        is_file = stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False
    return is_file and (is_parquet_name(path.name) or read_ends(str(path))[0] == b"PAR1")
