"""What ClickHouse stores under a table's name: columns, engines, and how a query reads them."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from clickhouse_connect.driver.exceptions import ClickHouseError

from gateway_metrics_mcp.backends.clickhouse.errors import describe_error
from gateway_metrics_mcp.backends.clickhouse.tables import (
    LABEL_PROJECTION,
    convert,
    fits,
    loses_nulls,
    scale,
    show_type,
)
from gateway_metrics_mcp.backends.sql.dialect import METADATA_COLUMN, TIME_COLUMN, quote_identifier
from gateway_metrics_mcp.errors import EngineError
from gateway_metrics_mcp.query import fold

logger = logging.getLogger(__name__)

_MOST_NAMES: Final = 60
"""The columns that an error names."""
_MERGING: Final = ("Replacing", "Collapsing", "VersionedCollapsing", "Coalescing")
"""Engines that drop rows in the background, and at once with FINAL."""
_REDUCING: Final = ("Summing", "Aggregating", "Graphite")
"""Engines that make one row of several, after which calls cannot be counted."""
_ENGINE: Final = re.compile(r"(?:Replicated|Shared)?(\w*?)MergeTree")
_READ: Final = re.compile(r"Read(From|Nothing)")
_LEAF: Final = re.compile(r"ReadFromMergeTree \((.+)\)")
_DISTRIBUTED: Final = re.compile(
    r"Distributed\('(?:[^'\\]|\\.)*', '((?:[^'\\]|\\.)*)', '((?:[^'\\]|\\.)*)'(?:, (.*))?\)"
)
_KEY: Final = re.compile(
    rf"if\(mapContains\({METADATA_COLUMN}, '([^'\\]+)'\), {METADATA_COLUMN}\['\1'\], NULL\)"
)
"""What makes the column of a metadata key, as ClickHouse writes it."""
_KEY_TYPES: Final = ("Nullable(String)", "LowCardinality(Nullable(String))")
_TABLES: Final = (
    "SELECT concat(database, '.', name), engine, engine_full,"
    f" position(create_table_query, 'PROJECTION {LABEL_PROJECTION} (') > 0 FROM system.tables"
    " WHERE concat(database, '.', name) IN {names:Array(String)}"
)


Run = Callable[[str, dict[str, Any] | None], Sequence[Sequence[Any]]]
"""Runs a statement with parameters, within the limits of a query."""


@dataclass(frozen=True, slots=True)
class StoredTable:
    """A table as it stands in ClickHouse."""

    name: str
    columns: Mapping[str, str]
    """Each column that can be read, with its type."""
    engines: Mapping[str, str] = field(default_factory=dict)
    """The engines of the table and of those it reads, as far as the user may see them."""
    is_seen: bool = False
    """Whether the user may see the engines of all that a query reads."""
    has_final: bool = True
    """Whether FINAL can be asked of it, as far as was tried."""
    sharding: str = ""
    """What spreads the rows of a Distributed table over shards."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """The columns of metadata keys, which ClickHouse makes of the metadata."""
    has_projections: bool = False
    """Whether it, or what it reads, has our projections, as far as is known."""
    timeless: str = ""
    """What to say of rows without a time, which are in no window; empty if there are none."""

    @property
    def is_merging(self) -> bool:
        """Whether ClickHouse has yet to drop rows, as far as is known."""
        return any(_kind_of(engine) in _MERGING for engine in self.engines.values())

    @property
    def may_merge(self) -> bool:
        """Whether it may have such rows, as far as is known."""
        return self.has_final and (self.is_merging or not self.is_seen)

    @property
    def is_itself_merging(self) -> bool:
        """Whether its own engine does, or that of each shard, so that FINAL can be written."""
        own = self.engines.get(self.name, "")
        return _kind_of(own) in _MERGING or (own == "Distributed" and self.is_merging)

    @property
    def is_unsharded(self) -> bool:
        """Whether it is Distributed without a sharding key."""
        return self.engines.get(self.name) == "Distributed" and not self.sharding

    def type_of(self, published: str) -> str:
        """The type of the column; empty if the table lacks it."""
        return self.columns.get(self.find(published) or "", "")

    def find(self, published: str) -> str | None:
        """The column of that name, or the one that differs from it by case alone.

        Raises:
            EngineError: if several do.
        """
        if published in self.columns:
            return published
        alike = [name for name in self.columns if name.lower() == published.lower()]
        if len(alike) > 1:
            raise EngineError(
                f"{self.name} has no column {published}, but {' and '.join(alike)}. Rename the one"
                f" that is meant to {published}, or drop the other"
            )
        return alike[0] if alike else None

    def near(self, published: str) -> list[str]:
        """Columns whose names differ in case and signs alone, or are nested in such a name."""
        plain = fold(published)
        return [name for name in self.columns if fold(name.partition(".")[0]) == plain]

    def read(self, published: str, type_: str) -> str | None:
        """SQL that reads the column as published, None if the table lacks it.

        Raises:
            EngineError: if its type cannot be read as the published one.
        """
        name = self.find(published)
        if name is None:
            return None
        stored = self.columns[name]
        quoted = quote_identifier(name)
        if name == published and fits(stored, type_):
            return quoted
        read = convert(f"t.{quoted}", stored, type_)
        if read is None:
            raise EngineError(
                f"the column {name} of {self.name} is of type {show_type(stored)}, which is not of"
                f" the published kind ({type_}); docs/clickhouse.md has the types"
            )
        return read

    def read_all(self, columns: Mapping[str, str]) -> dict[str, str | None]:
        """SQL that reads each column as published, None for those the table lacks.

        Raises:
            EngineError: if some cannot be read, with all of them.
        """
        reads: dict[str, str | None] = {}
        problems = []
        for name, type_ in columns.items():
            try:
                reads[name] = self.read(name, type_)
            except EngineError as error:
                problems.append(str(error))
        if problems:
            raise EngineError("; ".join(problems))
        return reads

    def find_scales(self, columns: Iterable[str]) -> dict[str, int]:
        """The quoted columns that are stored as Decimal, with their digits after the point."""
        found = {quote_identifier(name): scale(self.type_of(name)) for name in columns}
        return {name: digits for name, digits in found.items() if digits is not None}

    def say_absent(self, absent: Iterable[str]) -> Iterator[str]:
        """Notes on columns that read as null, where the table has them under another name."""
        for name in absent:
            if near := self.near(name):
                listed = ", ".join(near)
                yield f"{self.name} has no column {name}, which reads as null; it has {listed}"

    def summarize(self, published: Mapping[str, str]) -> str:
        """For operators: the engines, and what reads otherwise than it was written.

        Raises:
            EngineError: as `read_all` and `refuse_engine`.
        """
        self.refuse_engine()
        reads = self.read_all(published)
        said = [", ".join(dict.fromkeys(self.engines.values())) or "the engine is not visible"]
        if self.is_merging:
            said.append("rows count as after its merges")
        lossy = [name for name in published if loses_nulls(self.type_of(name))]
        if lossy:
            said.append(f"a null inside {' or '.join(lossy)} was stored as an empty text")
        said += self.say_absent(name for name, read in reads.items() if read is None)
        return "; ".join(said)

    def refuse_engine(self) -> None:
        """Refuse a table whose engine makes one row of several.

        Raises:
            EngineError: if it does.
        """
        for table, engine in self.engines.items():
            if _kind_of(engine) in _REDUCING:
                raise EngineError(
                    f"{self.name} reads {table}, whose engine {engine} makes one row of several:"
                    " calls cannot be counted. Load them into a MergeTree or ReplacingMergeTree"
                    " table"
                )


def describe(run: Run, database: str, table: str) -> StoredTable:
    """The table, as far as the user may see it.

    Raises:
        EngineError: if it has no column for the time, so that no row is in any window.
    """
    source = f"{quote_identifier(database)}.{quote_identifier(table)}"
    described = run(f"DESCRIBE TABLE {source}", None)
    columns = {row[0]: row[1] for row in described if row[2] != "EPHEMERAL"}
    stored = StoredTable(table, columns, keys=dict(_find_keys(described)))
    if stored.find(TIME_COLUMN) is None:
        raise EngineError(_say_timeless(stored, _count(run, source)))
    stored = _with_engines(run, stored, database, source)
    return replace(stored, timeless=_describe_timeless(run, database, stored))


def _find_keys(described: Iterable[Sequence[Any]]) -> Iterator[tuple[str, str]]:
    """The metadata keys with columns that ClickHouse makes of the metadata, and those columns."""
    for name, type_, kind, expression, *_ in described:
        found = _KEY.fullmatch(expression) if kind == "MATERIALIZED" else None
        if found is not None and type_ in _KEY_TYPES:
            yield found[1], name


def _describe_timeless(run: Run, database: str, stored: StoredTable) -> str:
    if not stored.type_of(TIME_COLUMN).startswith("Nullable"):
        return ""
    source = f"{quote_identifier(database)}.{quote_identifier(stored.name)}"
    time = quote_identifier(stored.find(TIME_COLUMN) or TIME_COLUMN)
    try:
        ((count,),) = run(f"SELECT count() FROM {source} WHERE {time} IS NULL", None)
    except ClickHouseError:  # a view may take too long
        return f"unknown whether rows have no time in {TIME_COLUMN}, and so are in no window"
    if not count:
        return ""
    rows, they_are, them = (
        ("rows have", "they are", "them") if count > 1 else ("row has", "it is", "it")
    )
    return (
        f"{count} {rows} no time in {TIME_COLUMN}: {they_are} in no window, and no question"
        f" counts {them}"
    )


def _count(run: Run, source: str) -> str:
    try:
        ((count,),) = run(f"SELECT count() FROM {source}", None)
    except ClickHouseError:  # a view may take too long
        return ""
    return f"{count} "


def _say_timeless(stored: StoredTable, count: str) -> str:
    """What is wrong, and the way out: an alias, as a sorting key's column has to keep its name."""
    more = len(stored.columns) - _MOST_NAMES
    named = ", ".join([*stored.columns][:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
    near = next(iter(stored.near(TIME_COLUMN)), None)
    type_ = show_type(stored.columns[near]) if near else "<its type>"
    return (
        f"{stored.name} has no column {TIME_COLUMN}, so its {count}rows are in no window. Its"
        f" columns: {named}. Give the column of the time this name (ALTER TABLE {stored.name} ADD"
        f' COLUMN "{TIME_COLUMN}" {type_} ALIAS {quote_identifier(near or "its name")}), or put a'
        " view with the published names in the table's place (docs/clickhouse.md, Other tables)"
    )


def _with_engines(run: Run, stored: StoredTable, database: str, source: str) -> StoredTable:
    """The table with the engines it reads: through views and Distributed, where they show."""
    own = f"{database}.{stored.name}"
    time = quote_identifier(stored.find(TIME_COLUMN) or TIME_COLUMN)
    try:
        # Of one column: the user's rights may not cover each.
        plan = run(f"EXPLAIN SELECT {time} FROM {source}", None)
        reads = [row[0] for row in plan if _READ.search(row[0])]
        leaves = [found[1].replace("`", "") for row in reads if (found := _LEAF.search(row))]
        rows = run(_TABLES, {"names": [own, *leaves]})
        spread = [found for row in rows if (found := _DISTRIBUTED.match(row[2]))]
        beneath = [f"{found[1] or database}.{found[2]}" for found in spread]
        if beneath:
            rows = [*rows, *run(_TABLES, {"names": beneath})]
    except ClickHouseError as error:
        logger.info("the engine of %s is unknown: %s", stored.name, describe_error(error))
        return stored
    seen = {row[0]: row[1] for row in rows}
    # An empty table is not in the plan: then only its own engine tells.
    is_seen = (
        seen.get(own, "").endswith(("MergeTree", "Memory", "Log"))
        or (bool(beneath) and all(name in seen for name in beneath))
        or (bool(reads) and len(reads) == len(leaves) and all(name in seen for name in leaves))
    )
    engines = {name.removeprefix(f"{database}."): engine for name, engine in seen.items()}
    sharding = next((found[3] or "" for found in spread), "")
    return replace(
        stored,
        engines=engines,
        is_seen=is_seen,
        sharding=sharding,
        has_projections=any(row[3] for row in rows),
    )


def _kind_of(engine: str) -> str:
    found = _ENGINE.fullmatch(engine)
    return found[1] if found else ""
