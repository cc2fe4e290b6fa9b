"""The statements that answer a question over Parquet files: from their rows, or from rollups too.

All give the same figures. Rollups and the columns that only `import` writes make some quicker.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Final

import duckdb

from gateway_metrics_mcp.backends.duckdb.dialect import (
    FILES,
    NotAddedUpError,
    Part,
    StoredDuckDialect,
    SummedDuckDialect,
    part_column,
)
from gateway_metrics_mcp.backends.duckdb.kept import KeptRollups, identities_of
from gateway_metrics_mcp.backends.duckdb.layout import (
    Derived,
    Layout,
    Reading,
    Schema,
    TableFiles,
    identify,
)
from gateway_metrics_mcp.backends.duckdb.planner import Plan, Planner, StoredDay
from gateway_metrics_mcp.backends.duckdb.stored import (
    COUNT_COLUMN,
    TEAMS_KEY,
    Family,
    encode_teams,
    metadata_column,
)
from gateway_metrics_mcp.backends.sql.compiler import Statement
from gateway_metrics_mcp.backends.sql.dialect import (
    FINE_BITS,
    METADATA_COLUMN,
    TEAMS_COLUMN,
    TIME_COLUMN,
    find_used,
    power,
    quote_identifier,
)
from gateway_metrics_mcp.query import METADATA_PREFIX, Caller, Catalog, Query

logger = logging.getLogger(__name__)

_LEAST_SIZES: Final = 8
"""How much larger all files have to be than those in which a column is computed from others."""
_PARAMETER: Final = re.compile(r"\$(\w+)")


class Roads:
    """The statements that answer one question over files of imports, and others beside them."""

    def __init__(
        self,
        files: TableFiles,
        catalog: Catalog,
        days: Mapping[str, StoredDay],
        kept: KeptRollups,
    ) -> None:
        self._files = files
        self._kept = kept
        self._catalog = catalog
        self._days = days

    def open(self, query: Query, caller: Caller) -> Iterator[tuple[Statement, Reading]]:
        """The statements that can answer, the quickest first."""
        if not query.finds_one:
            for from_kept in (True, False):
                try:
                    summed = self.open_sums(query, caller, from_kept=from_kept)
                except (duckdb.IOException, duckdb.InvalidInputException) as error:
                    name = self._files.table.name
                    logger.warning("a rollup of %s cannot be read: %s", name, error)
                    break
                if summed is None:
                    break
                yield summed
        yield self.open_rows(query, caller)

    def open_rows(self, query: Query, caller: Caller) -> tuple[Statement, Reading]:
        """The statement over the rows of all files, by the quickest columns that they have."""
        layouts = self._files.find_layouts()
        imported = [layout.schema.columns for path, layout in layouts.items() if path in self._days]
        planner = Planner(query, self._files.paths, self._days)
        dialect = StoredDuckDialect(
            {k for k in _list_keys(query, caller) if _has_any(imported, metadata_column(k))},
            has_teams=len(imported) == len(layouts) and _have_all(imported, TEAMS_KEY),
            is_finite=planner.is_of_import,
        )
        statement = self._files.compile(query, caller, FILES, dialect, is_in_window=True)
        columns, derived, keys = self._ask(statement.text, dialect)
        reading = self._files.read(
            columns,
            layouts,
            derived=derived,
            conditions=planner.plan_rows().rows,
        )
        return _open(statement, reading, planner, keys), reading

    def open_sums(
        self, query: Query, caller: Caller, *, from_kept: bool
    ) -> tuple[Statement, Reading] | None:
        """The statement over rollups, from memory where they are kept, and over rows for the rest.

        None if no rollup can serve, and the question is not by team.
        """
        planner = Planner(query, self._files.paths, self._days)
        dialect = SummedDuckDialect(_list_keys(query, caller), is_finite=planner.is_of_import)
        try:
            statement = self._files.compile(query, caller, FILES, dialect, is_in_window=True)
        except NotAddedUpError:
            return None
        columns, derived, keys = self._ask(statement.text, dialect)
        dimensions = {n: t for n, t in columns.items() if _names(statement.text, n)}
        dimensions.pop(TIME_COLUMN, None)
        wanted = Wanted(
            dimensions,
            tuple(dialect.parts),
            frozenset(n for n, t in self._files.columns.items() if t == "DOUBLE PRECISION"),
            self._find_null_tests(query),
        )
        plan, selects, rollups = self._choose(planner, wanted, from_kept=from_kept)
        layouts = self._files.find_layouts(plan.rows)
        is_by_team = TEAMS_KEY in dimensions
        gains = selects or (is_by_team and query.group_by)
        if not gains or (is_by_team and not self._have_teams(layouts)):
            return None
        asked = {**columns, **{n: self._files.columns[n] for n, _ in dialect.parts}}
        reading = self._files.read(
            asked,
            layouts,
            derived=derived,
            conditions=plan.rows,
            listed=wanted.select_of_rows(is_finite=planner.is_of_import),
            others=selects,
        )
        return _open(statement, reading, planner, {**keys, **rollups}), reading

    def _choose(
        self, planner: Planner, wanted: Wanted, *, from_kept: bool
    ) -> tuple[Plan, list[str], dict[str, list[str]]]:
        """The plan, and the selections of its rollups with their parameters."""
        lacking, serves = set[str](), cache(wanted.is_served_by)
        while True:
            plan = planner.plan(lambda r: r.path not in lacking and serves(r.family))
            paths = [path for of in plan.rollups.values() for path in of]
            version = identify(paths)
            groups, found = group_rollups(plan, self._files.find_layouts_of(paths, version), wanted)
            if not found:
                identities = identities_of(version) if from_kept else {}
                return plan, *self._select(groups, [*wanted.list_names()], identities)
            lacking.update(found)

    def _select(
        self,
        groups: Mapping[tuple[str, str], list[str]],
        names: Sequence[str],
        identities: Mapping[str, tuple[Any, ...]],
    ) -> tuple[list[str], dict[str, list[str]]]:
        """The selections of rollups, and their parameters."""
        selects, parameters = [], {}
        for number, ((condition, selected), paths) in enumerate(groups.items()):
            where = f" WHERE {condition}" if condition else ""
            kept = self._kept.select(self._files.cursor, selected, names, paths, identities)
            if kept is not None:
                selects.append(f"SELECT * FROM ({kept}) AS f{where}" if where else kept)
                continue
            parameters[f"rollups{number}"] = paths
            source = f"read_parquet($rollups{number}, hive_partitioning = false) AS f"
            selects.append(f"SELECT {selected} FROM {source}{where}")
        return selects, parameters

    def _have_teams(self, layouts: Mapping[str, Layout]) -> bool:
        """Whether nearly all of what is read has its teams as texts: to make them takes longer."""
        version: Any = self._files.version or ()
        sizes = {path: size for path, _, size, *_ in version}
        lacking = [
            sizes.get(path, 0)
            for path, layout in layouts.items()
            if path not in self._days or TEAMS_KEY not in layout.schema.columns
        ]
        return not lacking or sum(lacking) * _LEAST_SIZES < sum(sizes.values())

    def _find_null_tests(self, query: Query) -> frozenset[str]:
        """The columns of which a query only asks whether they are null."""
        datasource = self._catalog.datasources[query.datasource]
        tested, used = set[str](), set[str]()
        for filter_ in query.filters:
            known = self._catalog.filter_field(query.datasource, filter_.field_name)
            if known is not None:
                (tested if filter_.operator == "IS_NULL" else used).add(known.table_column)
        used |= {datasource.columns[one.column].table_column for one in query.aggregations}
        grouped = (datasource.group_by.get(name) for name in query.group_by)
        used |= {dimension.table_column for dimension in grouped if dimension is not None}
        return frozenset(tested - used)

    def _ask(
        self, text: str, dialect: StoredDuckDialect
    ) -> tuple[dict[str, str], dict[str, Derived], dict[str, str]]:
        """The columns that a statement names with their types; those that are derived; their keys.

        The keys are parameters.
        """
        derived: dict[str, Derived] = {}
        parameters: dict[str, str] = {}
        if _names(text, TEAMS_KEY):
            derived[TEAMS_KEY] = Derived(TEAMS_COLUMN, encode_teams)
        for number, (column, key) in enumerate(dialect.metadata_keys.items()):
            parameters[f"key{number}"] = key
            derived[column] = Derived(METADATA_COLUMN, partial(_value_of, number))
        bases = {d.base: self._files.columns[d.base] for d in derived.values()}
        own = dict.fromkeys(derived, "TEXT")
        used = find_used(self._files.columns, text)
        return {TIME_COLUMN: "TIMESTAMPTZ", **used, **bases, **own}, derived, parameters


def _open(
    statement: Statement, reading: Reading, planner: Planner, parameters: Mapping[str, Any]
) -> Statement:
    """The statement over what is read; parameters that nothing names are an error to DuckDB."""
    given = {**planner.parameters, **parameters}
    named = {name: given[name] for name in _PARAMETER.findall(reading.clause) if name in given}
    return statement.opened_by(reading.clause, **reading.parameters, **named)


def _value_of(number: int, metadata: str) -> str:
    return f"{metadata}[$key{number}]"


def _names(text: str, column: str) -> bool:
    """Whether a statement names a column."""
    return bool(find_used({column: ""}, text))


def _list_keys(query: Query, caller: Caller) -> set[str]:
    """The metadata keys that a query names, if the caller may know that they have columns.

    Which keys have one depends on all rows, and would show in the time.
    """
    if caller.is_restricted:
        return set()
    grouped = (n.removeprefix(METADATA_PREFIX) for n in query.group_by if n[:9] == METADATA_PREFIX)
    filtered = (filter_.metadata_key for filter_ in query.filters)
    return {*grouped, *(key for key in filtered if key is not None)}


def _has_any(schemas: Collection[Collection[str]], column: str | None) -> bool:
    return column is not None and any(column in columns for columns in schemas)


def _have_all(schemas: Collection[Collection[str]], column: str) -> bool:
    return all(column in columns for columns in schemas)


# --- rows that each stand for several ---


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a statement over added-up rows names."""

    dimensions: Mapping[str, str]
    """The columns to group and filter by, with their published types; not the time."""
    parts: Sequence[tuple[str, Part]]
    """The parts of columns that are aggregated."""
    doubles: Collection[str]
    """The table's columns that hold doubles."""
    null_tests: Collection[str]
    """Columns of which is only asked whether they are null."""

    def is_served_by(self, family: Family) -> bool:
        """Whether rollups of a family have all that is named, of all rows that are asked for."""
        known = {*family.dimensions, *(n for n in family.coarse if n in self.null_tests)}
        return all(name in known for name in self.dimensions) and all(
            name in known or name in family.measures for name, _ in self.parts
        )

    def list_names(self) -> Iterator[str]:
        """The columns of the rows, in the order of both selections."""
        yield TIME_COLUMN
        yield from self.dimensions
        yield COUNT_COLUMN
        for column, part in self.parts:
            yield part_column(column, part)

    def select_of_rows(self, *, is_finite: bool) -> str:
        """What is selected of single rows."""
        listed = [quote_identifier(name) for name in (TIME_COLUMN, *self.dimensions)]
        listed.append(f'CAST(1 AS BIGINT) AS "{COUNT_COLUMN}"')
        for column, part in self.parts:
            value = quote_identifier(column)
            if column in self.doubles and not is_finite:
                value = f"CASE WHEN isfinite({value}) THEN {value} END"
            if part == "n":
                value = f"CAST({value} IS NOT NULL AS BIGINT)"
            elif part == "sum" and column in self.doubles:
                # As a decimal, as in rollups: a cast of those takes five times the sum's time.
                value = f"CAST(CAST({value} * {power(FINE_BITS)} AS HUGEINT) AS DECIMAL(38, 0))"
            listed.append(f"{value} AS {quote_identifier(part_column(column, part))}")
        return ", ".join(listed)

    def select_of_rollup(self, schema: Schema) -> str | None:
        """What is selected of a rollup's rows; None if it lacks something."""
        names = (TIME_COLUMN, *self.dimensions)
        if not all(name.lower() in schema.columns for name in names):
            return None
        listed = [f"f.{quote_identifier(name)}" for name in names]
        listed.append(f'CAST(f."{COUNT_COLUMN}" AS BIGINT)')
        for column, part in self.parts:
            value = self._part_of_rollup(schema, column, part)
            if value is None:
                return None
            listed.append(value)
        quoted = map(quote_identifier, self.list_names())
        return ", ".join(f"{v} AS {n}" for v, n in zip(listed, quoted, strict=True))

    def _part_of_rollup(self, schema: Schema, column: str, part: Part) -> str | None:
        name = part_column(column, part)
        stored = f"f.{quote_identifier(name)}"
        if name.lower() in schema.columns:
            return stored
        if column.lower() not in schema.columns:
            return None
        # A column that is added up by has its value in each row.
        value = f"f.{quote_identifier(column)}"
        if part == "n":
            return f'CASE WHEN {value} IS NULL THEN 0 ELSE CAST(f."{COUNT_COLUMN}" AS BIGINT) END'
        return None if part == "sum" else value


def group_rollups(
    plan: Plan, layouts: Mapping[str, Layout], wanted: Wanted
) -> tuple[dict[tuple[str, str], list[str]], list[str]]:
    """A plan's files of rollups by condition and by what is selected, and those that lack it."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    lacking: list[str] = []
    for (condition, _), paths in plan.rollups.items():
        known: dict[int, str | None] = {}
        for path in paths:
            schema = layouts[path].schema
            if id(schema) not in known:
                known[id(schema)] = wanted.select_of_rollup(schema)
            selected = known[id(schema)]
            if selected is None:
                lacking.append(path)
            else:
                groups[condition, selected].append(path)
    return groups, lacking
