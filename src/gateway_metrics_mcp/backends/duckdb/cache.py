"""Answers of the embedded engine, kept for as long as the files they come from stay as they are.

No time limit is needed: the key holds each file's identity, so a new, changed or removed file
makes another key.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Sequence
from datetime import datetime
from pathlib import Path
from threading import Lock

from cachetools import LRUCache

from gateway_metrics_mcp.backends.middleware import estimate_bytes
from gateway_metrics_mcp.query import Caller, Query, Result

_FILE_BYTES = 300
"""About how many bytes a file takes in a key: its path and five numbers."""

Version = tuple[Hashable, ...]
Key = tuple[bytes, datetime, Caller, Version]


def identify(files: Sequence[str], table: Path) -> Version | None:
    """What the files are now: path, inode, size and both times of each; None if one has gone.

    Without files it is whether the table's directory exists, which the answer says.
    """
    if not files:
        return (table.is_dir(),)
    try:
        found = [os.stat(path) for path in files]  # noqa: PTH116 - thousands of files
    except OSError:
        return None
    of = zip(files, found, strict=True)
    return tuple((f, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for f, s in of)


class FileAnswerCache:
    """Answers by question, caller and files, up to `most_bytes` (estimated). Safe in threads."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._entries: LRUCache[Key, tuple[int, Result]] = LRUCache(
            most_bytes, getsizeof=lambda entry: entry[0]
        )
        self._lock = Lock()

    @property
    def is_on(self) -> bool:
        """Whether anything can be kept: if not, files need not be identified."""
        return self._most_bytes > 0

    @staticmethod
    def key_of(query: Query, until: datetime, caller: Caller, version: Version) -> Key:
        """The key of an answer from rows before `until`."""
        return query.to_key(), until, caller, version

    def get(self, key: Key) -> Result | None:
        """The kept answer, or None."""
        with self._lock:
            entry = self._entries.get(key)
        return None if entry is None else entry[1]

    def put(self, key: Key, answer: Result) -> None:
        """Keep an answer, unless it is larger than the cache."""
        size = len(key[0]) + _FILE_BYTES * (1 + len(key[3])) + estimate_bytes(answer)
        with self._lock:
            if size <= self._most_bytes:
                self._entries[key] = size, answer
