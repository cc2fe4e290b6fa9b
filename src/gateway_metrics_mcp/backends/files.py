"""Which Parquet files a window needs: the list is made here, before the engine looks."""

from __future__ import annotations

import os
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

from gateway_metrics_mcp.errors import SettingsError

_PARTITION: Final = "date="
_GLOB: Final = frozenset("*?[]{}")
_MARGIN: Final = timedelta(days=1)
"""Partitions may be cut at local midnights; a day more at each end costs little."""


def read_directory(directory: Path) -> Path:
    """The data directory, resolved.

    Raises:
        SettingsError: if there is none, or its path has wildcard characters, which the
            engine would read as patterns.
    """
    resolved = directory.expanduser().resolve()
    if not resolved.is_dir():
        raise SettingsError(f"the data directory {directory} does not exist")
    if _GLOB & set(str(resolved)):
        raise SettingsError(
            f"the data directory {directory} has one of the characters * ? [ ] {{ }} in its path,"
            " which the engine would read as a pattern"
        )
    return resolved


def find_files(table: Path, start: datetime, end: datetime) -> list[str]:
    """The Parquet files under a table's directory that can hold rows of [start, end).

    Directories named `date=YYYY-MM-DD` outside the window, with a day's margin, are passed
    over; a file whose name has wildcard characters is not read.
    """
    first, last = (start - _MARGIN).date(), (end + _MARGIN).date()
    found = []
    for folder, folders, names in os.walk(table):
        folders[:] = sorted(name for name in folders if _is_within(name, first, last))
        found += [
            os.path.join(folder, name)  # noqa: PTH118 - as os.walk gives it, many files
            for name in sorted(names)
            if name.endswith(".parquet") and not name.startswith((".", "_"))
        ]
    return found


def _is_within(folder: str, first: date, last: date) -> bool:
    """Whether a folder can hold rows of those days; any that is no date partition can."""
    if folder.startswith((".", "_")):
        return False
    if not folder.startswith(_PARTITION):
        return True
    try:
        day = date.fromisoformat(folder.removeprefix(_PARTITION))
    except ValueError:
        return True
    return first <= day <= last
