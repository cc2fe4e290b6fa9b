"""Which Parquet files a window needs: the list is made here, before the engine looks."""

from __future__ import annotations

import logging
import os
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

from gateway_metrics_mcp.errors import EngineError, SettingsError

logger = logging.getLogger(__name__)

_PARTITION: Final = "date="
_GLOB: Final = frozenset("*?[]{}")
_UNUSABLE: Final = (
    "the data directory of this server cannot be used: whoever runs it finds the reason in its log"
)
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
        raise SettingsError(f"the data directory {directory} does not exist", public=_UNUSABLE)
    if _GLOB & set(str(resolved)):
        raise SettingsError(
            f"the data directory {directory} has one of the characters * ? [ ] {{ }} in its path,"
            " which the engine would read as a pattern",
            public=_UNUSABLE,
        )
    return resolved


def find_files(table: Path, start: datetime, end: datetime) -> list[str]:
    """The Parquet files under a table's directory that can hold rows of [start, end).

    Directories named `date=YYYY-MM-DD` outside the window, with a day's margin, are passed
    over, and so is what begins with `.` or `_`.

    Raises:
        EngineError: if a folder cannot be listed or is a link, or a name has wildcard
            characters, which the engine would read as a pattern: rather than leave rows out.
    """

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # no such table, or a folder just removed
            raise _unreadable("cannot be listed", table, error.filename) from error

    first, last = (start - _MARGIN).date(), (end + _MARGIN).date()
    found = []
    for folder, folders, names in os.walk(table, onerror=refuse):
        folders[:] = sorted(name for name in folders if _is_within(name, first, last))
        files = sorted(n for n in names if n.endswith(".parquet") and not _is_hidden(n))
        for name in (*folders, *files):
            if _GLOB & set(name):
                raise _unreadable("has * ? [ ] { or } in its name", table, f"{folder}/{name}")
        for name in folders:
            if os.path.islink(os.path.join(folder, name)):  # noqa: PTH114, PTH118 - many
                raise _unreadable("is a link, which is not followed", table, f"{folder}/{name}")
        found += [os.path.join(folder, name) for name in files]  # noqa: PTH118 - many
    return found


def _unreadable(reason: str, table: Path, path: object) -> EngineError:
    """The error, without the path: that goes to the log alone."""
    logger.warning("%s %s", path, reason)
    return EngineError(f"a folder or file of {table.name} {reason}; the log names it")


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "_"))


def _is_within(folder: str, first: date, last: date) -> bool:
    """Whether a folder can hold rows of those days; any that is no date partition can."""
    if _is_hidden(folder):
        return False
    if not folder.startswith(_PARTITION):
        return True
    try:
        day = date.fromisoformat(folder.removeprefix(_PARTITION))
    except ValueError:
        return True
    return first <= day <= last
