"""Writes the rows of a UTC day: sorted, with columns derived from them, and rolled up.

What is derived is another road to the same rows: questions that find it answer faster, and those of
older versions pass it over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

from gateway_metrics_mcp.backends.duckdb.stored import (
    COUNT_COLUMN,
    IDENTITY_COLUMNS,
    LEAST_SHRINK,
    MOST_SUM,
    PARTS,
    ROWS_FILE,
    TEAMS_KEY,
    Family,
    Grain,
    encode_teams,
    families_of,
    measure_column,
    metadata_column,
    order_column,
    rollup_name,
)
from gateway_metrics_mcp.backends.sql.dialect import (
    FINE_BITS,
    INTEGERS,
    LEAST_EXPONENT,
    METADATA_COLUMN,
    SLUG_COLUMN,
    TEAMS_COLUMN,
    TIME_COLUMN,
    power,
    published_tables,
    quote_identifier,
)
from gateway_metrics_mcp.cli.ingest.mapping import sql_text

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True, slots=True)
class Limits:
    """When rollups are written."""

    least_rows: int = 10_000
    """Of a smaller day all rows are read about as fast."""
    most_share: float = 0.18
    """How large all rollups of a day may be, against its rows."""


_USUAL: Final = Limits()
_ROW_GROUP: Final = 122_880
_VECTOR: Final = 2048  # DuckDB's row groups are multiples of this many rows
_MOST_KEYS: Final = 24
_MOST_VALUES: Final = 10_000
_LEAST_SHARE: Final = 0.01
_LIKELY_SHRINK: Final = 3
"""A rollup is made to be counted only if estimates, which may be off by some percent, say so."""
_HOUR: Final = 3_600_000_000


def write_day(
    connection: duckdb.DuckDBPyConnection,
    rows: str,
    day: str,
    folder: Path,
    table: str,
    limits: Limits = _USUAL,
) -> None:
    """Write a day's rows and rollups into `folder/date=<day>`.

    `rows` is SQL of a relation with the table's columns in their published types, and perhaps those
    of `IDENTITY_COLUMNS`; its rows of other days are left out. The connection's time zone is
    to be UTC.
    """
    target = folder / f"date={day}" / ROWS_FILE
    target.parent.mkdir(parents=True)
    start = f"TIMESTAMPTZ '{day} 00:00:00+00'"
    time = quote_identifier(TIME_COLUMN)
    of_day = f"(FROM {rows} WHERE {time} >= {start} AND {time} < {start} + INTERVAL 1 DAY)"
    ((count,),) = connection.execute(f"SELECT count(*) FROM {of_day}").fetchall()
    keys = _find_keys(connection, of_day, count)
    made = _Day(table, target, start)
    _copy_rows(connection, of_day, made, keys, count)
    if count >= limits.least_rows:
        _Rollups(connection, made, list(keys), count).write(limits.most_share)


@dataclass(frozen=True, slots=True)
class _Day:
    """A day of a table: where its rows go, and SQL of its first instant."""

    table: str
    target: Path
    start: str

    @property
    def hour(self) -> str:
        """SQL of the number of a row's hour."""
        return f'(epoch_us("{TIME_COLUMN}") - epoch_us({self.start})) // {_HOUR}'


def _find_keys(connection: duckdb.DuckDBPyConnection, rows: str, count: int) -> dict[str, str]:
    """The columns of the metadata keys that get one, most frequent first, and SQL of each."""
    found = connection.execute(
        f"""
        SELECT key FROM (SELECT unnest(map_keys("{METADATA_COLUMN}")) AS key FROM {rows})
        GROUP BY key HAVING count(*) >= {_LEAST_SHARE * count} ORDER BY count(*) DESC, key
        """
    ).fetchall()
    values = {
        # In digits, as a key may hold any character.
        column: f"\"{METADATA_COLUMN}\"[decode(unhex('{key.encode().hex()}'))]"
        for (key,) in found
        if (column := metadata_column(key)) is not None
    }
    if not values:
        return {}
    counts = ", ".join(f"approx_count_distinct({value})" for value in values.values())
    ((*numbers,),) = connection.execute(f"SELECT {counts} FROM {rows}").fetchall()
    of = zip(values.items(), numbers, strict=True)
    return dict([pair for pair, number in of if number <= _MOST_VALUES][:_MOST_KEYS])


def _copy_rows(
    connection: duckdb.DuckDBPyConnection, rows: str, day: _Day, keys: Mapping[str, str], count: int
) -> None:
    """Write the rows by hour, then by what is asked for most, as Parquet v2 with zstd."""
    present = {name for name, *_ in connection.execute(f"DESCRIBE {rows}").fetchall()}
    kept = (name for name in IDENTITY_COLUMNS if name in present)
    listed = [*map(quote_identifier, (*published_tables()[day.table], *kept))]
    listed += [f"{value} AS {quote_identifier(column)}" for column, value in keys.items()]
    listed.append(TEAMS_KEY)
    # Each different list is encoded once, which takes as long as four comparisons of texts.
    teams = quote_identifier(TEAMS_COLUMN)
    text = f"CAST(to_json({teams}) AS VARCHAR)"
    encoded = (
        f"(SELECT {text} AS teams_text, {encode_teams(teams)} AS {TEAMS_KEY}"
        f" FROM (SELECT DISTINCT {teams} FROM {rows}))"
    )
    by = ", ".join(map(quote_identifier, (order_column(day.table), SLUG_COLUMN, TIME_COLUMN)))
    # At least two row groups: DuckDB reads a file in parallel by row group.
    row_group = min(_ROW_GROUP, -(-count // 2 // _VECTOR) * _VECTOR)
    query = (
        f"SELECT {', '.join(listed)} FROM {rows} LEFT JOIN {encoded} ON teams_text = {text}"
        f" ORDER BY {day.hour}, {by}"
    )
    _copy(connection, query, day.target, row_group)


def _copy(
    connection: duckdb.DuckDBPyConnection, query: str, path: Path, row_group: int = _ROW_GROUP
) -> None:
    form = f"FORMAT parquet, PARQUET_VERSION v2, COMPRESSION zstd, ROW_GROUP_SIZE {row_group}"
    connection.execute(f"COPY ({query}) TO {sql_text(str(path))} ({form})")


# --- rollups ---


@dataclass(frozen=True, slots=True)
class _Measure:
    """A column to sum, of which all sums in the day are exact."""

    column: str
    type: str
    sum_type: str
    is_empty: bool

    def of_rows(self, *, has_extremes: bool) -> Iterator[str]:
        """SQL of the columns of a rollup, from rows."""
        name = quote_identifier(self.column)
        is_integer = self.type in INTEGERS
        exact = name if is_integer else f"CAST({name} * {power(FINE_BITS)} AS HUGEINT)"
        values = (f"count({name})", f"sum({exact})", f"min({name})", f"max({name})")
        return self._columns(values[: 4 if has_extremes else 2])

    def of_rollup(self, *, has_extremes: bool) -> Iterator[str]:
        """The same from a finer rollup."""
        of = zip(("sum", "sum", "min", "max"), PARTS, strict=True)
        values = [f"{function}({measure_column(self.column, part)})" for function, part in of]
        return self._columns(values[: 4 if has_extremes else 2])

    def _columns(self, values: Sequence[str]) -> Iterator[str]:
        types = ("BIGINT", self.sum_type, self.type, self.type)
        for n, (part, type_) in enumerate(zip(PARTS, types, strict=True)):
            if n < len(values):
                value = ("0", *["NULL"] * 3)[n] if self.is_empty else values[n]
                yield f"CAST({value} AS {type_}) AS {measure_column(self.column, part)}"


@dataclass(frozen=True, slots=True)
class _Made:
    """A rollup that was made, of which coarser ones can be."""

    grain: Grain
    family: Family
    rows: int
    source: str

    def serves(self, grain: Grain, family: Family) -> bool:
        """Whether a rollup can be made of this one."""
        own = self.family
        return (
            (self.grain == "hour" or grain == "day")
            and {*family.dimensions} <= {*own.dimensions}
            and {*family.coarse} <= {*own.keys}
            and {*family.measures} <= {*own.measures}
            and {*family.extremes} <= {*own.extremes}
        )


class _Rollups:
    """Makes the rollups of a day whose rows are written, each of the smallest that serves it."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, day: _Day, keys: Sequence[str], count: int
    ) -> None:
        self._connection = connection
        self._day = day
        self._count = count
        self._bytes = day.target.stat().st_size
        self._rows = f"read_parquet({sql_text(str(day.target))}, hive_partitioning = false)"
        self._made: list[_Made] = []
        self._wanted = [
            (grain, family)
            for grain, family in product(get_args(Grain), families_of(day.table, keys))
            if grain in family.grains
        ]

    def write(self, most_share: float) -> None:
        """Write each rollup that has few enough rows, the smallest first, until it is too much."""
        measures = self._find_measures()
        for n, (grain, family) in enumerate(self._find_likely()):
            self._make(grain, family, measures, f"rollup_{n}")
        left = self._bytes * most_share
        for made in sorted(self._made, key=lambda made: made.rows):
            name = rollup_name(made.grain, made.family.name, self._bytes)
            path = self._day.target.with_name(name)
            order = _keys_of(made.family)
            _copy(self._connection, f"SELECT * FROM {made.source} ORDER BY {order}", path)
            self._connection.execute(f"DROP TABLE {made.source}")
            written = path.stat().st_size
            if written <= left:
                left -= written
            else:
                path.unlink()

    def _make(
        self, grain: Grain, family: Family, measures: Mapping[str, _Measure], name: str
    ) -> None:
        """Make a rollup of the smallest that serves it, or of the rows."""
        usable = [made for made in self._made if made.serves(grain, family)]
        best = min(usable, key=lambda made: made.rows, default=None)
        query = self._roll_up(grain, family, measures, best)
        self._connection.execute(f"CREATE TEMP TABLE {name} AS {query}")
        ((rows,),) = self._connection.execute(f"SELECT count(*) FROM {name}").fetchall()
        if rows * LEAST_SHRINK <= self._count:
            self._made.append(_Made(grain, family, rows, name))
        else:
            self._connection.execute(f"DROP TABLE {name}")

    def _find_measures(self) -> dict[str, _Measure]:
        """The columns whose sums are exact, whatever rows they are of."""
        types = published_tables()[self._day.table]
        columns = dict.fromkeys(m for _, family in self._wanted for m in family.measures)
        if not columns:
            return {}
        facts = ", ".join(_facts_of(column, types[column]) for column in columns)
        ((*found,),) = self._connection.execute(f"SELECT {facts} FROM {self._rows}").fetchall()
        measures = {}
        for n, column in enumerate(columns):
            count, least, total = found[3 * n : 3 * n + 3]
            type_ = types[column]
            if type_ in INTEGERS:
                sum_type = "BIGINT" if (total or 0) < 2**63 else "DECIMAL(38, 0)"
                measures[column] = _Measure(column, type_, sum_type, not count)
            elif not total or (least >= 2.0**LEAST_EXPONENT and total < MOST_SUM):
                measures[column] = _Measure(column, "DOUBLE", "DECIMAL(38, 0)", not count)
        return measures

    def _find_likely(self) -> Iterator[tuple[Grain, Family]]:
        """The rollups that are likely to have few enough rows."""
        estimates = []
        for grain, family in self._wanted:
            by = [self._day.hour] if grain == "hour" else []
            told = (f"{quote_identifier(name)} IS NULL" for name in family.coarse)
            values = ", ".join([*by, *map(quote_identifier, family.dimensions), *told])
            estimates.append(f"approx_count_distinct(hash({values}))")
        query = f"SELECT {', '.join(estimates)} FROM {self._rows}"
        ((*numbers,),) = self._connection.execute(query).fetchall()
        for wanted, number in zip(self._wanted, numbers, strict=True):
            if number * _LIKELY_SHRINK <= self._count:
                yield wanted

    def _roll_up(
        self, grain: Grain, family: Family, measures: Mapping[str, _Measure], made: _Made | None
    ) -> str:
        start, time = self._day.start, quote_identifier(TIME_COLUMN)
        if grain == "day":
            moment = start
        elif made is None:
            moment = f"make_timestamptz(epoch_us({start}) + {self._day.hour} * {_HOUR})"
        else:
            moment = time
        count = "count(*)" if made is None else f"sum({quote_identifier(COUNT_COLUMN)})"
        listed = [
            f"{moment} AS {time}",
            *_values_of(family),
            f"CAST({count} AS BIGINT) AS {quote_identifier(COUNT_COLUMN)}",
        ]
        for measure in (measures[name] for name in family.measures if name in measures):
            columns = measure.of_rows if made is None else measure.of_rollup
            listed += columns(has_extremes=measure.column in family.extremes)
        source = self._rows if made is None else made.source
        return f"SELECT {', '.join(listed)} FROM {source} GROUP BY {_keys_of(family)}"


def _facts_of(column: str, type_: str) -> str:
    """SQL of a column's number of values, the least size other than 0, and the sum of sizes."""
    name = quote_identifier(column)
    size = f"abs(CAST({name} AS {'HUGEINT' if type_ in INTEGERS else 'DOUBLE'}))"
    return f"count({name}), min({size}) FILTER ({name} <> 0), sum({size})"


def _keys_of(family: Family) -> str:
    """The time and the dimensions, by position."""
    return ", ".join(str(n + 1) for n in range(len(family.keys) + 1))


def _values_of(family: Family) -> list[str]:
    """SQL of the dimensions of a row, or of one of a finer rollup."""
    coarse = map(quote_identifier, family.coarse)
    told = [f"CASE WHEN {name} IS NOT NULL THEN '' END AS {name}" for name in coarse]
    return [*map(quote_identifier, family.dimensions), *told]
