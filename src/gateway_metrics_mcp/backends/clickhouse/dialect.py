"""ClickHouse's SQL for the compiler.

A statement is one flat SELECT, or one over rows that are added up, so that a `Distributed` table
aggregates on its shards. Expressions do not depend on server settings: each spells out nulls,
precision and time zone. Projections (tables.py) have the same ones: those that differ by a sign are
not chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from gateway_metrics_mcp.backends.sql.dialect import (
    FINE_BITS,
    LEAST_EXPONENT,
    METADATA_COLUMN,
    MICROSECONDS,
    TEAMS_COLUMN,
    TIME_COLUMN,
    Dialect,
    Function,
    Sums,
    TextPlace,
    power,
    quote_identifier,
)
from gateway_metrics_mcp.query import Interval, Number
from gateway_metrics_mcp.query.result import round_sum
from gateway_metrics_mcp.query.time.interval import EPOCH

_TEAMS: Final = f'arrayDistinct(arrayFilter(t -> isNotNull(t), "{TEAMS_COLUMN}"))'
"""The row's teams, each once (R5)."""

_METADATA_KEYS: Final = (
    f'arrayDistinct(mapKeys(mapFilter((k, v) -> isNotNull(v), "{METADATA_COLUMN}")))'
)
"""The row's metadata keys, each once; a key without a value does not count (R6)."""

_NOTHING: Final = {
    "TEXT": "CAST(NULL, 'Nullable(String)')",
    "BIGINT": "CAST(NULL, 'Nullable(Int64)')",
    "INTEGER": "CAST(NULL, 'Nullable(Int32)')",
    "DOUBLE PRECISION": "CAST(NULL, 'Nullable(Float64)')",
    "BOOLEAN": "CAST(NULL, 'Nullable(Bool)')",
    "TIMESTAMPTZ": "CAST(NULL, 'Nullable(DateTime64(6))')",
    "Array(Text)": "CAST([], 'Array(String)')",
    "Map(Text, Text)": "CAST(map(), 'Map(String, String)')",
    "Map(Text, Array(Text))": "CAST(map(), 'Map(String, Array(String))')",
}
_TEXT: Final[dict[TextPlace, str]] = {
    "anywhere": "position({text}, {part}) > 0",
    "start": "startsWith({text}, {part})",
    "end": "endsWith({text}, {part})",
}


HOUR: Final = f"toStartOfHour({quote_identifier(TIME_COLUMN)})"
"""The row's hour, a `DateTime`: times before 1970 and after 2106 become its first and last one."""
_COARSE_BITS: Final = 24
_NEAR_EXPONENT: Final = 39
"""Below 2**39, 24 more bits fit into an Int64."""


class FarDoublesError(Exception):
    """Some double is too large for the usual sums."""


class ClickHouseDialect(Dialect):
    """The dialect of ClickHouse, whose server binds the parameters.

    `scales` has the quoted columns that are stored as Decimal, with their digits after the point,
    `keys` the metadata keys with columns of their own. `is_hourly` says that the window and the
    buckets consist of whole hours: only by the hour does ClickHouse choose a projection.
    """

    metadata_key = f"arrayJoin({_METADATA_KEYS})"
    # An empty array becomes [null].
    team = f"arrayJoin(emptyArrayToSingle(CAST({_TEAMS}, 'Array(Nullable(String))')))"
    count_teamed = f"countIf(notEmpty({_TEAMS}))"
    distinct_teams = f"uniqExactArray({_TEAMS})"

    def __init__(
        self,
        scales: Mapping[str, int] | None = None,
        keys: Mapping[str, str] | None = None,
        *,
        is_hourly: bool = False,
    ) -> None:
        self._scales = scales or {}
        self._keys = keys or {}
        if is_hourly:
            self.time = HOUR
        self._decimals = {_read_decimal(column): column for column in self._scales}

    def source(self, database: str, table: str) -> str:
        """The qualified name of a table."""
        return f"{quote_identifier(database)}.{quote_identifier(table)}"

    def absent_columns(self, absent: Mapping[str, str]) -> str:
        """A WITH clause that gives nulls for the columns the table lacks; empty if it has all."""
        nulls = [f"{_NOTHING[type_]} AS {quote_identifier(n)}" for n, type_ in absent.items()]
        return f"WITH {', '.join(nulls)} " if nulls else ""

    def converted(self, source: str, reads: Mapping[str, str]) -> str:
        """The table's rows with the SQL that reads each column, over its name `t`."""
        listed = ", ".join(f"{read} AS {quote_identifier(name)}" for name, read in reads.items())
        return f"(SELECT {listed} FROM {source}) AS converted"

    def parameter(self, value: object) -> Any:
        """The value in the form its placeholder expects."""
        if isinstance(value, datetime):
            return (value - EPOCH) // timedelta(microseconds=1)
        if isinstance(value, bool):
            return str(value).lower()
        return value

    def placeholder(self, name: str, value: object) -> str:
        if isinstance(value, datetime):  # a number, as text is limited to the years 1900 to 2299
            return f"fromUnixTimestamp64Micro({{{name}:Int64}}, 'UTC')"
        if isinstance(value, bool):
            return f"{{{name}:Bool}}"
        if isinstance(value, int):
            return f"{{{name}:Int64}}"
        return f"{{{name}:{'Float64' if isinstance(value, float) else 'String'}}}"

    def finite(self, number: str) -> str:
        if number in self._scales:
            return _read_decimal(number)
        # Adding 0 turns -0 into 0, which ClickHouse would otherwise group apart.
        return f"if(isFinite({number}), {number} + 0., NULL)"

    def as_float(self, number: str) -> str:
        return f"toFloat64({number})"

    def has_text(self, place: TextPlace, text: str, part: str) -> str:
        return _TEXT[place].format(text=text, part=part)

    def aggregate(self, function: Function, value: str) -> str:
        if function == "count":
            return f"count({value})"
        if function == "countDistinct":
            return f"uniqExact({value})"  # uniq is approximate (R13)
        if value in self._decimals:
            return _read_decimal(f"{function}OrNull({self._decimals[value]})")
        if function == "sum":
            return f"sumOrNull(toInt128({value}))"  # 64 bits wrap around silently
        # OrNull: of no values ClickHouse would give 0 or NaN (R1).
        return f"{function}OrNull({value})"

    def count_doubles(self, number: str) -> str:
        return f"count({self.finite(number)})"

    def sum_doubles(self, number: str) -> str:
        if number in self._scales:
            wide = (
                f"toDecimal256({number}, {self._scales[number]})"  # 128 bits wrap around silently
            )
            return _read_decimal(f"sumOrNull({wide})")
        coarse, fine, far, count = self.parts_of_sum(number)
        return f"[{coarse}, {fine}, toInt128({far}), toInt128({count})]"

    def parts_of_sum(self, number: str) -> tuple[str, str, str, str]:
        """The aggregates that make an exact sum of doubles."""
        # In two integers: ClickHouse converts a double to 128 bits inexactly, and back as well.
        double = self.as_float(number)
        # 0 and not NULL elsewhere: under a NULL it would still convert NaN, which is an error.
        near = f"if(abs({double}) < {power(_NEAR_EXPONENT)}, {double}, 0.)"
        coarse = f"toInt64({near} * {power(_COARSE_BITS)})"
        below = f"{near} * {power(_COARSE_BITS)} - {coarse}"
        fine = f"toInt64(roundBankers(({below}) * {power(FINE_BITS - _COARSE_BITS)}))"
        far = f"countIf(isFinite({double}) AND abs({double}) >= {power(_NEAR_EXPONENT)})"
        count = f"countIf(isFinite({double}))"
        return f"sum(toInt128({coarse}))", f"sum(toInt128({fine}))", far, count

    def rest_of_sum(self, number: str) -> str | None:  # noqa: ARG002 - `read_sum` gives it
        return None

    def read_sum(self, cell: Any) -> Number | None:
        if cell is None or isinstance(cell, float):  # of a Decimal
            return cell
        coarse, fine, far, count = cell
        if far:
            raise FarDoublesError
        if not count:
            return None
        return round_sum((coarse << FINE_BITS - _COARSE_BITS) + fine, FINE_BITS)

    def bucket(self, interval: Interval) -> str:
        # Integer arithmetic (R4), because toStartOfInterval restarts 5 or 36 hours at midnight.
        seconds = interval.fixed_seconds
        if seconds is None:
            year, month = (f"to{part}({self.time}, 'UTC')" for part in ("Year", "Month"))
            return f"intDiv(({year} - 1970) * 12 + {month} - 1, {interval.months})"
        microseconds = f"toUnixTimestamp64Micro(toDateTime64({self.time}, 6, 'UTC'))"
        width = seconds * MICROSECONDS
        origin = int((interval.origin - EPOCH).total_seconds()) * MICROSECONDS
        # intDiv truncates towards zero; adding one width first makes it round down before 1970 too.
        return f"intDiv({microseconds} - {origin} + {width}, {width}) - 1"

    def percentiles(self, number: str, fractions: Sequence[float]) -> str:
        # Interpolates as DuckDB's quantile_cont (R12); quantileExact takes the nearest value.
        listed = ", ".join(str(fraction) for fraction in fractions)
        return f"quantilesExactInclusive({listed})(toFloat64({number}))"

    def metadata(self, key: str) -> str:
        column = quote_identifier(METADATA_COLUMN)
        # A missing key of a Map reads as an empty text, not as null (R6).
        return f"if(mapContains({column}, {key}), {column}[{key}], NULL)"

    def stored_metadata(self, key: str) -> str | None:
        return quote_identifier(self._keys[key]) if key in self._keys else None

    def has_team(self, team: str) -> str:
        return f"has({quote_identifier(TEAMS_COLUMN)}, {team})"

    def guard(self, rights: str, condition: str) -> str:
        return f"if({rights}, {condition}, 0)"

    def opaque(self, condition: str) -> str:
        return condition  # neither an index nor statistics look into an `if`

    def opaque_in(self, value: str, items: Sequence[str]) -> str:
        return f"{value} IN ({', '.join(items)})"

    def rows(self, source: str, condition: str, *, by_team: bool, by_key: bool) -> str:  # noqa: ARG002 - arrayJoin makes the rows
        return f"{source} WHERE {condition}"


def _read_decimal(number: str) -> str:
    """The nearest double, by its text: the direct conversion divides two doubles, each rounded."""
    return f"toFloat64(toString({number}))"


class AddedClickHouseDialect(ClickHouseDialect):
    """The dialect by team that adds up rows with the same teams before it multiplies them."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._parts: dict[str, str] = {}
        self._distinct: dict[str, str] = {}

    @property
    def count_teamed(self) -> str:  # type: ignore[override]
        """The sum of the counts of rows with teams."""
        return f"sumIf({self._part('count(*)')}, notEmpty({_TEAMS}))"

    def _part(self, aggregate: str) -> str:
        """The name of an aggregate of the rows with the same teams."""
        return self._parts.setdefault(aggregate, f"a{len(self._parts)}")

    def count_rows(self) -> str:
        return f"sum({self._part('count(*)')})"

    def aggregate(self, function: Function, value: str) -> str:
        if function == "countDistinct":
            return f"uniqExact({self._distinct.setdefault(value, f'd{len(self._distinct)}')})"
        if function == "count":
            return f"sum({self._part(super().aggregate(function, value))})"
        if value in self._decimals:
            part = self._part(f"{function}OrNull({self._decimals[value]})")
            return _read_decimal(f"{function}OrNull({part})")
        return f"{function}OrNull({self._part(super().aggregate(function, value))})"

    def count_doubles(self, number: str) -> str:
        return f"sum({self._part(super().count_doubles(number))})"

    def sum_doubles(self, number: str) -> str:
        if number not in self._scales:
            return f"sumForEach({self._part(super().sum_doubles(number))})"
        wide = f"toDecimal256({number}, {self._scales[number]})"
        return _read_decimal(f"sumOrNull({self._part(f'sumOrNull({wide})')})")

    def rows_by_team(self, source: str, condition: str, groups: Sequence[str]) -> str:
        keys = [f"{group} AS g{number}" for number, group in enumerate(groups)]
        keys += [quote_identifier(TEAMS_COLUMN), *_named(self._distinct)]
        listed = ", ".join([*keys, *_named(self._parts)])
        numbers = ", ".join(str(number + 1) for number in range(len(keys)))
        return f"(SELECT {listed} FROM {source} WHERE {condition} GROUP BY {numbers}) AS added"


def _named(expressions: Mapping[str, str]) -> list[str]:
    return [f"{expression} AS {name}" for expression, name in expressions.items()]


class FineClickHouseDialect(ClickHouseDialect):
    """The dialect that finds parts of doubles too fine for the usual sums, instead of a sum."""

    def sum_doubles(self, number: str) -> str:
        if number in self._scales:
            return "toUInt64(0)"
        double = self.as_float(number)
        return f"countIf(abs({double}) < {power(LEAST_EXPONENT)} AND {double} != 0)"

    def read_sum(self, cell: Any) -> Number | None:
        found: int = cell
        return found


class WideClickHouseDialect(ClickHouseDialect):
    """The dialect that sums any doubles exactly, by exponent; it takes several times as long."""

    def sum_doubles(self, number: str) -> str:
        if number in self._scales:
            return super().sum_doubles(number)
        double = f"assumeNotNull({self.as_float(number)})"
        bits = f"reinterpretAsUInt64({double})"
        exponent = f"bitAnd(bitShiftRight({bits}, 52), 2047)"
        leading = f"if({exponent} > 0, {2**52}, 0)"
        mantissa = f"toInt128(bitOr(bitAnd({bits}, {2**52 - 1}), {leading}))"
        signed = f"if({double} < 0, -{mantissa}, {mantissa})"
        parts = f"map(toUInt16(greatest({exponent}, 1)), {signed})"
        return f"sumMapIf({parts}, isFinite({number}))"

    def read_sum(self, cell: Any) -> Number | None:
        if cell is None or isinstance(cell, float):  # of a Decimal
            return cell
        units = sum(mantissa << exponent - 1 for exponent, mantissa in cell.items())
        return round_sum(units, 1074) if cell else None


DIALECTS: Final[dict[Sums, type[ClickHouseDialect]]] = {
    "usual": ClickHouseDialect,
    "fine": FineClickHouseDialect,
    "wide": WideClickHouseDialect,
}
