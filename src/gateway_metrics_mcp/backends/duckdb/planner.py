"""Chooses how the files of a window are read: their rows, or the rollups that `import` made.

A rollup has a day's rows added up by some columns (stored.py). It is used where the statement names
no other column than those, and only for days and hours that lie in the window as a whole; all else
is read from the rows, in one statement.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from gateway_metrics_mcp.backends.duckdb.files import is_of_import
from gateway_metrics_mcp.backends.duckdb.layout import FileVersion
from gateway_metrics_mcp.backends.duckdb.stored import (
    Family,
    Grain,
    parse_rollup,
)
from gateway_metrics_mcp.backends.sql.dialect import TIME_COLUMN
from gateway_metrics_mcp.query import Interval, Query

_DAY: Final = timedelta(days=1)
_HOUR: Final = timedelta(hours=1)
_GRAINS: Final[dict[Grain, int]] = {"day": 86_400, "hour": 3_600}
_LEAST_TIMES: Final = 50
"""How much smaller than the rows a rollup has to be if some rows are read beside it."""
_MOST_DAYS: Final = 100_000
_OF_DAY: Final = re.compile(r"/date=(\d{4}-\d\d-\d\d)/rows\.parquet$")


@dataclass(frozen=True, slots=True)
class Rollup:
    """A file of rollup rows."""

    path: str
    family: Family
    grain: Grain
    bytes: int


@dataclass(frozen=True, slots=True)
class StoredDay:
    """A file of a run of `import`: it has the rows of one UTC day, and no others."""

    start: datetime
    rollups: tuple[Rollup, ...]
    bytes: int = 0

    @property
    def end(self) -> datetime:
        """The first instant after the day."""
        return self.start + _DAY


class StoredDays:
    """The files of imports among those found, with their rollups; each looked up once."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], StoredDay] = {}

    def find(
        self, table: str, files: Sequence[str], version: FileVersion | None
    ) -> dict[str, StoredDay]:
        """The files that are a day of an import; without rollups if `version` is None."""
        found = {}
        for number, path in enumerate(files):
            match = _OF_DAY.search(path) if is_of_import(path) else None
            if match is None:
                continue
            start = datetime.combine(date.fromisoformat(match[1]), datetime.min.time(), UTC)
            if version is None:
                found[path] = StoredDay(start, ())
                continue
            identity = version[number]
            day = self._known.get(identity)
            if day is None:
                if len(self._known) >= _MOST_DAYS:
                    self._known.clear()
                size: Any = identity[2]
                rollups = tuple(_list_rollups(table, identity))
                day = self._known[identity] = StoredDay(start, rollups, size)
            found[path] = day
        return found


def _list_rollups(table: str, identity: tuple[Any, ...]) -> Iterator[Rollup]:
    path, _, size, *_ = identity
    with os.scandir(os.path.dirname(path)) as entries:  # noqa: PTH120 - for thousands of files
        for entry in entries:
            parsed = parse_rollup(table, entry.name)
            # The name says of which size of the rows: rows changed by hand have no rollup.
            is_fit = parsed is not None and parsed.rows_bytes == size
            # A pipe would be opened for ever, and a link may lead nowhere.
            if parsed is not None and is_fit and entry.is_file(follow_symlinks=False):
                yield Rollup(entry.path, parsed.family, parsed.grain, entry.stat().st_size)


def fits_grain(interval: Interval | None, grain: Grain) -> bool:
    """Whether each bucket consists of whole hours or days in UTC (R4)."""
    if interval is None or interval.fixed_seconds is None:
        return True
    return interval.fixed_seconds % _GRAINS[grain] == 0


@dataclass(slots=True)
class Plan:
    """What is read of a window's files."""

    rows: dict[str, str]
    """The files whose rows are read, each with a condition on the time; empty for none."""
    rollups: dict[tuple[str, Family], list[str]]
    """Files of rollups by the condition on their time and their family."""


class Planner:
    """Plans one question."""

    def __init__(self, query: Query, files: Sequence[str], days: Mapping[str, StoredDay]) -> None:
        self._query = query
        self._files = files
        self._days = days
        self.parameters: dict[str, Any] = {}

    @property
    def is_of_import(self) -> bool:
        """Whether all files are of imports, which refuse NaN and infinity."""
        return len(self._days) == len(self._files)

    def plan_rows(self) -> Plan:
        """All rows of all files, without rollups."""
        return Plan({path: self._condition_of(path) for path in self._files}, {})

    def plan(self, serves: Callable[[Rollup], bool]) -> Plan:
        """Rollups where `serves` says that they can answer, and rows for the rest."""
        plan = Plan({}, defaultdict(list))
        for path in self._files:
            day = self._days.get(path)
            if day is None or not day.rollups:
                plan.rows[path] = self._condition_of(path)
                continue
            self._plan_day(plan, path, day, [r for r in day.rollups if serves(r)])
        return plan

    def _plan_day(self, plan: Plan, path: str, day: StoredDay, rollups: Sequence[Rollup]) -> None:
        start, end, interval = self._query.start_ts, self._query.end_ts, self._query.interval
        is_whole = start <= day.start and end >= day.end
        fitting = [
            rollup
            for rollup in rollups
            if fits_grain(interval, rollup.grain) and (is_whole or rollup.grain == "hour")
        ]
        if not fitting:
            plan.rows[path] = self._condition_of(path)
            return
        chosen = min(fitting, key=lambda rollup: rollup.bytes)
        if is_whole:
            plan.rollups["", chosen.family].append(chosen.path)
            return
        first, last = _ceil_hour(start), _floor_hour(end)
        if first >= last:
            plan.rows[path] = self._condition_of(path)
            return
        edges = [
            edge
            for edge in ((start, first), (last, end))
            if edge[0] < edge[1] and edge[0] < day.end and edge[1] > day.start
        ]
        if edges and chosen.bytes * _LEAST_TIMES > day.bytes:
            plan.rows[path] = self._condition_of(path)
            return
        plan.rollups[self._between(first, last), chosen.family].append(chosen.path)
        if edges:
            plan.rows[path] = " OR ".join(f"({self._between(*edge)})" for edge in edges)

    def _condition_of(self, path: str) -> str:
        """The condition on the time of a file's rows; none if all are in the window."""
        start, end = self._query.start_ts, self._query.end_ts
        day = self._days.get(path)
        if day is not None and start <= day.start and end >= day.end:
            return ""
        return self._between(start, end)

    def _between(self, start: datetime, end: datetime) -> str:
        names = []
        for instant in (start, end):
            name = next((n for n, v in self.parameters.items() if v == instant), None)
            if name is None:
                name = f"t{len(self.parameters)}"
                self.parameters[name] = instant
            names.append(name)
        return f'"{TIME_COLUMN}" >= ${names[0]} AND "{TIME_COLUMN}" < ${names[1]}'


def _floor_hour(instant: datetime) -> datetime:
    utc = instant.astimezone(UTC)
    return utc.replace(minute=0, second=0, microsecond=0)


def _ceil_hour(instant: datetime) -> datetime:
    floor = _floor_hour(instant)
    return floor if floor == instant else floor + _HOUR
