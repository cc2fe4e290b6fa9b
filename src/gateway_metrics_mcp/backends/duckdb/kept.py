"""Rollups that questions read again, kept in memory: to open a file takes longer than to add it up.

What is kept are the columns that statements name, of files as they were when they were read.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from threading import Lock
from typing import Any, Final

import duckdb

from gateway_metrics_mcp.backends.duckdb.layout import FileVersion
from gateway_metrics_mcp.backends.sql.dialect import quote_identifier

MOST_BYTES: Final = 32_000_000
"""How large all tables may be, about."""
_VALUE_BYTES: Final = 16
_MOST_FILE_BYTES: Final = 8_000_000
"""Of the files of one table: larger ones take longer to add up than to open."""
_MOST_SEEN: Final = 1_000
_FILE: Final = quote_identifier("#file")


@dataclass(slots=True)
class _Table:
    """The rows of files that one selection reads."""

    name: str
    numbers: dict[object, int] = field(default_factory=dict)
    """The files by identity, as numbered in the table."""
    bytes: int = 0


class KeptRollups:
    """The tables of one database, by what is selected. Safe in threads."""

    def __init__(self) -> None:
        self._tables: OrderedDict[str, _Table] = OrderedDict()
        self._seen: dict[str, None] = {}
        self._names = map("kept_rollups_{}".format, count())
        self._lock = Lock()

    def select(
        self,
        cursor: duckdb.DuckDBPyConnection,
        selected: str,
        names: Sequence[str],
        paths: Sequence[str],
        identities: Mapping[str, tuple[Any, ...]],
    ) -> str | None:
        """SQL that selects from a table what `selected` does from files; None if it is not kept.

        A selection is kept from the second time on. The table may be dropped before it is read:
        then the engine says that there is none.
        """
        with self._try() as is_alone:
            if not is_alone or len(identities) < len(paths):
                return None
            table = self._tables.get(selected)
            if table is None:
                if selected not in self._seen:
                    self._see(selected)
                    return None
                table = self._tables[selected] = _Table(next(self._names))
            self._tables.move_to_end(selected)
            new = [path for path in paths if identities[path] not in table.numbers]
            if new and not self._load(cursor, table, selected, len(names), new, identities):
                return None
            numbers = sorted(table.numbers[identities[path]] for path in paths)
        listed = ", ".join(map(quote_identifier, names))
        # Also if these are all there are: others may come in before the statement is run.
        is_one = f"{_FILE} BETWEEN {numbers[0]} AND {numbers[-1]}"
        if numbers[-1] - numbers[0] >= len(numbers):
            is_one = f"{_FILE} IN ({', '.join(map(str, numbers))})"
        return f"SELECT {listed} FROM {table.name} WHERE {is_one}"

    @contextmanager
    def _try(self) -> Iterator[bool]:
        """Whether no other thread is at work here: to wait for it may take longer than to read."""
        is_alone = self._lock.acquire(blocking=False)
        try:
            yield is_alone
        finally:
            if is_alone:
                self._lock.release()

    def _see(self, selected: str) -> None:
        if len(self._seen) >= _MOST_SEEN:
            self._seen.clear()
        self._seen[selected] = None

    def _load(
        self,
        cursor: duckdb.DuckDBPyConnection,
        table: _Table,
        selected: str,
        columns: int,
        paths: Sequence[str],
        identities: Mapping[str, tuple[Any, ...]],
    ) -> bool:
        """Add files to a table; False if that would be too much."""
        if sum(identities[path][2] for path in paths) > _MOST_FILE_BYTES:
            return False
        first = len(table.numbers)
        rows = (
            f"SELECT {selected}, CAST(list_position($paths, f.filename) - 1 + {first} AS INTEGER)"
            f" AS {_FILE} FROM read_parquet($paths, hive_partitioning = false, filename = true)"
            " AS f"
        )
        start = f"INSERT INTO {table.name}" if first else f"CREATE TABLE {table.name} AS"
        ((added,),) = cursor.execute(f"{start} {rows}", {"paths": list(paths)}).fetchall()
        table.numbers.update({identities[path]: first + n for n, path in enumerate(paths)})
        table.bytes += added * (columns + 1) * _VALUE_BYTES
        while sum(kept.bytes for kept in self._tables.values()) > MOST_BYTES:
            _, oldest = self._tables.popitem(last=False)
            cursor.execute(f"DROP TABLE {oldest.name}")
            if oldest is table:
                return False
        return True


def identities_of(version: FileVersion | None) -> dict[str, tuple[Any, ...]]:
    """The identity of each file by its path; of none if they could not be found."""
    return {str(entry[0]): entry for entry in version or ()}
