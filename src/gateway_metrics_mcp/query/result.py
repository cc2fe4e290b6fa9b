"""A query's result: its data points, read from both shapes of the API and written in one.

Also the arithmetic of values that may be null. How results combine is decided in reports/.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, Final, NamedTuple, Self, TypeVar, overload

from gateway_metrics_mcp.errors import UnreadableResponseError
from gateway_metrics_mcp.query.catalog import Datasource
from gateway_metrics_mcp.query.model import Query, format_instant, parse_number
from gateway_metrics_mcp.query.vocabulary import METADATA_PREFIX

TOTAL: Final = "total"

_QUICK_BITS: Final = 100
_LARGE: Final = 2.0**900
"""Below these, a double of 2**-bits is a finite one."""
_LARGEST: Final = sys.float_info.max
"""The largest accepted number: Python cannot divide a larger integer as a float."""

T = TypeVar("T")
Key = str | int | float | bool | None
Number = int | float


class DataPoint(NamedTuple):
    """One row: its group keys and its values, in the order of the result's names.

    A tuple, because a result can have 100,000 rows and a tuple is the quickest to build.
    """

    keys: tuple[Key, ...]
    values: tuple[Number | None, ...]
    start: datetime | None = None
    """The bucket's start in UTC; None in a distribution."""


Row = tuple[tuple[Key, ...], tuple[Number | None, ...], datetime | None]
"""A data point as a plain tuple."""


Identity = tuple[object, ...]


def identify(keys: tuple[Key, ...]) -> Identity:
    """A hashable identity of a group: True, 1 and 1.0 are equal in Python, but three groups."""
    return keys, tuple(map(type, keys))


def identify_each(points: Iterable[DataPoint]) -> Iterator[tuple[Identity, DataPoint]]:
    """Each row with its identity; rows that repeat a group and bucket get distinct ones."""
    seen: set[Identity] = set()
    for point in points:
        identity = identify(point.keys)
        while (identity, point.start) in seen:
            identity = (*identity, "again")
        seen.add((identity, point.start))
        yield identity, point


class DataPoints(Sequence[DataPoint]):
    """Rows stored as plain tuples, and wrapped as DataPoints when they are read.

    The garbage collector stops tracking plain tuples. Named ones it walks through repeatedly
    while a result grows, which stops the event loop: 40 ms each time at 100,000 rows.
    """

    __slots__ = ("rows",)

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = tuple(rows)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> DataPoint: ...
    @overload
    def __getitem__(self, index: slice) -> DataPoints: ...
    def __getitem__(self, index: int | slice) -> DataPoint | DataPoints:
        if isinstance(index, slice):
            return DataPoints(self.rows[index])
        return DataPoint._make(self.rows[index])

    def __iter__(self) -> Iterator[DataPoint]:
        return map(DataPoint._make, self.rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self.rows == tuple(other)

    def __hash__(self) -> int:
        return hash(self.rows)


@dataclass(frozen=True, slots=True)
class Result:
    """All rows that answer one query.

    `key_names` are the response keys of the query's group-by (R6, R7). `value_names` begin with
    `total` if the source counts rows. `notes` are sentences that change how to read the rows.
    `age_s` is the age of a cached result in seconds, None for a fresh one.
    """

    key_names: tuple[str, ...]
    value_names: tuple[str, ...]
    points: Sequence[DataPoint]
    notes: tuple[str, ...] = ()
    is_by_rulings: bool = True
    """Whether docs/rulings.md decided the open questions; a gateway decides for itself."""
    age_s: float | None = None
    is_absent: bool = False
    """Whether the source has no table for this datasource, so it can have no rows."""

    def plain_rows(self) -> Sequence[Row]:
        """The points without wrapping each as a DataPoint."""
        return self.points.rows if isinstance(self.points, DataPoints) else self.points

    def column(self, name: str) -> tuple[Number | None, ...]:
        """The values of one name, one per row."""
        index = self.value_names.index(name)
        return tuple([values[index] for _, values, _ in self.plain_rows()])

    def rows(self, query: Query) -> list[dict[str, Any]]:
        """The data points as objects of the API's `data.dataPoints` (R17, R21)."""
        return [self._row(point, query) for point in self.points]

    def _row(self, point: DataPoint, query: Query) -> dict[str, Any]:
        row: dict[str, Any] = {}
        # A bucket has its own full length, also where the window cuts it (R4).
        if point.start is not None and query.interval is not None:
            row["startTimestamp"] = format_instant(point.start)
            row["endTimestamp"] = format_instant(query.interval.after(point.start))
        row.update(zip(self.key_names, point.keys, strict=True))
        row.update(zip(self.value_names, point.values, strict=True))
        return row


def key_names_of(query: Query, datasource: Datasource) -> tuple[str, ...]:
    """The response keys of the group-by, without duplicates: two fields can share one (R7)."""
    return tuple(dict.fromkeys(datasource.response_key(name) for name in query.group_by))


def value_names_of(query: Query) -> tuple[str, ...]:
    """`total`, then the key of each aggregation, in the order of the query."""
    return (TOTAL, *(aggregation.key for aggregation in query.aggregations))


def read_result(body: object, query: Query, datasource: Datasource) -> Result:
    """The result in a response body of either generation of the API (R21).

    Accepts numeric strings, missing keys and any spelling of `metadata.<key>`. A requested key
    that no row has is named in a note.

    Raises:
        UnreadableResponseError: if the body is not a metrics result.
    """
    rows = _rows_of(body)
    key_names = key_names_of(query, datasource)
    value_names = value_names_of(query)
    # The older generation of the API has no implicit `total`.
    if rows and not any(TOTAL in row for row in rows):
        value_names = value_names[1:]
    keys = _join_columns([_read_keys(rows, name) for name in key_names], len(rows))
    values = _join_columns([_read_numbers(rows, name) for name in value_names], len(rows))
    starts = [None] * len(rows) if query.interval is None else map(_read_start, rows)
    points = DataPoints(zip(keys, values, starts, strict=True))
    absent = [name for name in key_names if rows and not any(_has_key(r, name) for r in rows)]
    absent += [name for name in value_names if rows and not any(name in row for row in rows)]
    notes = [f"the gateway's rows have no {', '.join(absent)}: shown as null"] if absent else []
    if rows and TOTAL not in value_names:
        notes.append("this gateway does not count rows: use count of a column")
    return Result(key_names, value_names, points, tuple(notes), is_by_rulings=False)


def _join_columns(columns: Sequence[Sequence[T]], count: int) -> Iterable[tuple[T, ...]]:
    """The columns as `count` rows."""
    return zip(*columns, strict=True) if columns else [()] * count


def _rows_of(body: object) -> Sequence[Mapping[str, Any]]:
    """The rows: `data.dataPoints` in the current API, `data` in the older generation.

    Self-hosted control planes of either generation exist.
    """
    data = body.get("data") if isinstance(body, Mapping) else None
    rows = data.get("dataPoints") if isinstance(data, Mapping) else data
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise UnreadableResponseError(
            "the gateway's answer has no list of data points where the API documents one"
        )
    return rows


def _metadata_places(row: Mapping[str, Any], name: str) -> list[tuple[Mapping[str, Any], str]]:
    """Where to look a key up: under its name; for metadata also bare, or nested.

    The API does not document the response key of `metadata.<key>`.
    """
    places = [(row, name)]
    if name.startswith(METADATA_PREFIX):
        key = name.removeprefix(METADATA_PREFIX)
        nested = row.get("metadata")
        places.append((row, key))
        if isinstance(nested, Mapping):
            places.append((nested, key))
    return places


def _has_key(row: Mapping[str, Any], name: str) -> bool:
    return any(key in place for place, key in _metadata_places(row, name))


def _read_keys(rows: Sequence[Mapping[str, Any]], name: str) -> Sequence[Key]:
    """A column of keys; in nearly every one all are text."""
    values = [row.get(name) for row in rows]
    if set(map(type, values)) == {str}:
        return values
    return [_read_key(row, name) for row in rows]


def _read_key(row: Mapping[str, Any], name: str) -> Key:
    found = (place[key] for place, key in _metadata_places(row, name) if key in place)
    value = next(found, None)
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _read_numbers(rows: Sequence[Mapping[str, Any]], name: str) -> Sequence[Number | None]:
    """A column of values; in nearly every one all are plain numbers of one type."""
    values: list[Any] = [row.get(name) for row in rows]
    types = set(map(type, values))
    is_plain = (types == {float} and all(map(math.isfinite, values))) or (
        types == {int} and max(map(abs, values)) <= _LARGEST
    )
    return values if is_plain else [_read_number(value, name) for value in values]


def _read_number(value: object, name: str) -> Number | None:
    """A finite number, also from a numeric string; None for null, NaN and infinity."""
    if isinstance(value, str):
        value = parse_number(value)
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    # True is an int in Python, but no number in JSON.
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > _LARGEST:
        raise UnreadableResponseError(f"the gateway's answer has no number in {name}")
    return value


def _read_start(row: Mapping[str, Any]) -> datetime:
    # The older generation calls it `timestamp`; a time without an offset is in UTC (R17).
    value = row.get("startTimestamp", row.get("timestamp"))
    try:
        start = datetime.fromisoformat(value)
        return start.replace(tzinfo=UTC) if start.tzinfo is None else start.astimezone(UTC)
    except (TypeError, ValueError, OverflowError) as error:
        raise UnreadableResponseError(
            "the gateway's answer has a bucket without a readable start"
        ) from error


FLOAT_NOISE: Final = 1e-12
"""Relative to the larger value. A gateway adds floats in varying order, so equal sums differ by
it."""

NOT_COMPUTABLE: Final = math.nan
"""A value that exists but that the results do not tell; shown as n/a, while None is shown as null.

NaN, because arithmetic carries it on and no backend returns it (R22).
"""


class RoundedSum(float):
    """A sum of doubles, rounded once, and the `rest` that rounding took away.

    With their rests, sums of groups add up to the digits of the sum over all rows.
    """

    __slots__ = ("rest",)

    rest: float

    def __new__(cls, nearest: float, rest: float = 0.0) -> Self:
        """The double nearest to the sum, and the sum less it."""
        made = super().__new__(cls, nearest)
        made.rest = rest
        return made


def round_sum(units: int, bits: int) -> float:
    """The sum `units / 2**bits`; infinity if it exceeds all doubles."""
    try:
        nearest = units / (1 << bits)  # of integers, Python's division rounds correctly
    except OverflowError:
        return math.inf if units > 0 else -math.inf
    if bits < _QUICK_BITS and abs(nearest) < _LARGE:
        rest = math.ldexp(units - int(math.ldexp(nearest, bits)), -bits)
    else:
        numerator, denominator = nearest.as_integer_ratio()
        rest = (units - (numerator << bits) // denominator) / (1 << bits)
    return RoundedSum(nearest, rest) if rest else nearest


def add_up(values: Iterable[Number | None]) -> Number | None:
    """The sum, exact for integers and rounded once for floats; None if all values are null."""
    present = [value for value in values if value is not None]
    if not present:
        return None
    if all(isinstance(value, int) for value in present):
        return sum(present)
    present += [value.rest for value in present if isinstance(value, RoundedSum)]
    try:
        nearest = math.fsum(present)
        rest = math.fsum([*present, -nearest])
    except OverflowError:  # fsum gives up, depending on the order, where a part of the sum does
        total = sum(map(Fraction, present))
        try:
            nearest = float(total)
        except OverflowError:
            return math.inf if total > 0 else -math.inf
        rest = float(total - Fraction(nearest))
    return RoundedSum(nearest, rest) if rest else nearest


def subtract(now: Number | None, before: Number | None) -> Number | None:
    """The difference; None if either is None, 0.0 if it is within FLOAT_NOISE."""
    if now is None or before is None:
        return None
    has_float = isinstance(now, float) or isinstance(before, float)
    if has_float and math.isclose(now, before, rel_tol=FLOAT_NOISE):
        return 0.0
    return now - before


def ratio_of(upper: Number | None, lower: Number | None, scale: int = 1) -> Number | None:
    """`upper * scale / lower`; None if either is None or `lower` is 0.

    Not computable if it overflows.
    """
    if upper is None or lower is None or lower == 0:
        return None
    try:
        return upper * scale / lower
    except OverflowError:
        return NOT_COMPUTABLE
