"""Temporary folders: the next start removes those whose process was killed.

A folder's process holds a lock on a file in it, which the system releases however the process ends.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

_LOCK: Final = ".in-use"


class ScratchFolder:
    """A new folder in `parent`, locked until it is removed."""

    def __init__(self, prefix: str, parent: Path) -> None:
        """Make it.

        Raises:
            OSError: if it cannot be made.
        """
        self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        # Named when it is locked, or another process could take the folder for a dead one's.
        made = self.path / f"{_LOCK}-new"
        try:
            self._lock = os.open(made, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            shutil.rmtree(self.path, ignore_errors=True)
            raise
        if _lock(self._lock):
            made.rename(self.path / _LOCK)

    def __enter__(self) -> Path:
        """Its path."""
        return self.path

    def __exit__(self, *_: object) -> None:
        """Remove it."""
        self.remove()

    def remove(self) -> None:
        """Remove it with what is in it, once."""
        if self._lock >= 0:
            os.close(self._lock)  # first: Windows removes no open file
            self._lock = -1
            shutil.rmtree(self.path, ignore_errors=True)


def remove_dead(prefix: str, parent: Path) -> None:
    """Remove the folders of this prefix in `parent` whose process has ended without doing so."""
    for folder in _list_folders(prefix, parent):
        with suppress(OSError):  # another user's, or just removed
            lock = os.open(folder / _LOCK, os.O_RDWR)
            try:
                if _lock(lock):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def is_full(error: BaseException) -> bool:
    """Whether it says that a disk, or the user's share of it, is full."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    text = str(error)  # as DuckDB's
    return any(os.strerror(number) in text for number in (errno.ENOSPC, errno.EDQUOT))


def _list_folders(prefix: str, parent: Path) -> Iterator[Path]:
    with suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            if entry.name.startswith(prefix) and entry.is_dir(follow_symlinks=False):
                yield Path(entry.path)


if sys.platform == "win32":

    def _lock(file: int) -> bool:  # noqa: ARG001 - the same on all systems
        """Not there: an open file cannot be removed, so no folder is known to be dead."""
        return False

else:
    import fcntl

    def _lock(file: int) -> bool:
        """Take the lock unless another process has it."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
