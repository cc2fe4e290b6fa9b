"""What a backend answers: data points, and both shapes they have on the wire."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, overload

from gateway_metrics_mcp.errors import UnreadableResponseError
from gateway_metrics_mcp.query.catalog import Datasource
from gateway_metrics_mcp.query.model import Query, format_instant, parse_number
from gateway_metrics_mcp.query.vocabulary import METADATA_PREFIX

TOTAL: Final = "total"

_LARGEST: Final = sys.float_info.max
"""Beyond that an integer is no count of anything, and cannot be divided."""

Key = str | int | float | bool | None
Number = int | float


class DataPoint(NamedTuple):
    """One row: its group keys and its values, in the order of the result's names.

    A tuple, since answers have very many of them and it is the quickest to make.
    """

    keys: tuple[Key, ...]
    values: tuple[Number | None, ...]
    start: datetime | None = None
    """The bucket's start, in a timeseries."""


Row = tuple[tuple[Key, ...], tuple[Number | None, ...], datetime | None]
"""A data point without its names."""


Identity = tuple[object, ...]


def identify(keys: tuple[Key, ...]) -> Identity:
    """What tells groups apart: True, 1 and 1.0 are equal in Python, and three groups here."""
    return keys, tuple(map(type, keys))


def identify_each(points: Iterable[DataPoint]) -> Iterator[tuple[Identity, DataPoint]]:
    """Each row with its group; of rows that share group and bucket, each stands for itself."""
    seen: set[Identity] = set()
    for point in points:
        identity = identify(point.keys)
        while (identity, point.start) in seen:
            identity = (*identity, "again")
        seen.add((identity, point.start))
        yield identity, point


class DataPoints(Sequence[DataPoint]):
    """Very many rows, kept without their names, which they get as they are read.

    The garbage collector leaves plain tuples alone. Named ones it walks through again and again
    while an answer grows, and nobody else has a turn: 40 ms each time for 100,000 rows.
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
    """All rows of an answer.

    `key_names` are the response keys of the query's group-by (R6, R7), `value_names` begin
    with `total` where the source counts rows. `notes` are sentences on what changes
    how the rows are to be read. `age_s` is how old a cached result is.
    """

    key_names: tuple[str, ...]
    value_names: tuple[str, ...]
    points: Sequence[DataPoint]
    notes: tuple[str, ...] = ()
    is_by_rulings: bool = True
    """Whether nulls and subjects are filtered as our rulings say; a gateway does as it does."""
    age_s: float | None = None
    is_absent: bool = False
    """Whether the source has no table of this datasource, so that there can be no rows."""

    def plain_rows(self) -> Sequence[Row]:
        """The points as they are kept."""
        return self.points.rows if isinstance(self.points, DataPoints) else self.points

    def column(self, name: str) -> tuple[Number | None, ...]:
        """The values of one name, a row each."""
        index = self.value_names.index(name)
        return tuple(values[index] for _, values, _ in self.plain_rows())

    def rows(self, query: Query) -> list[dict[str, Any]]:
        """The data points as the API's response body has them, under `data.dataPoints` (R21)."""
        return [self._row(point, query) for point in self.points]

    def _row(self, point: DataPoint, query: Query) -> dict[str, Any]:
        row: dict[str, Any] = {}
        if point.start is not None and query.interval is not None:
            row["startTimestamp"] = format_instant(point.start)
            row["endTimestamp"] = format_instant(query.interval.after(point.start))
        row.update(zip(self.key_names, point.keys, strict=True))
        row.update(zip(self.value_names, point.values, strict=True))
        return row


def key_names_of(query: Query, datasource: Datasource) -> tuple[str, ...]:
    """The response keys of the group-by, each once: two fields can share one (R7)."""
    return tuple(dict.fromkeys(datasource.response_key(name) for name in query.group_by))


def value_names_of(query: Query) -> tuple[str, ...]:
    """`total`, then a key per aggregation, in the order asked."""
    return (TOTAL, *(aggregation.key for aggregation in query.aggregations))


def read_result(body: object, query: Query, datasource: Datasource) -> Result:
    """The result in a response body of either generation (spec section 8).

    Tolerant of numeric strings, of missing keys and of how `metadata.<key>` is spelt; what
    was asked and is in no row at all is said in a note.

    Raises:
        UnreadableResponseError: if the body is not a metrics result.
    """
    rows = _rows_of(body)
    key_names = key_names_of(query, datasource)
    value_names = value_names_of(query)
    if rows and not any(TOTAL in row for row in rows):
        value_names = value_names[1:]
    points = DataPoints(
        [
            (
                tuple([_read_key(row, name) for name in key_names]),
                tuple([_read_number(row.get(name), name) for name in value_names]),
                _read_start(row) if query.interval is not None else None,
            )
            for row in rows
        ]
    )
    absent = [name for name in key_names if rows and not any(_has_key(r, name) for r in rows)]
    absent += [name for name in value_names if rows and not any(name in row for row in rows)]
    notes = [f"the gateway's rows have no {', '.join(absent)}: shown as null"] if absent else []
    if rows and TOTAL not in value_names:
        notes.append("this gateway does not count rows: for that ask count of a column")
    return Result(key_names, value_names, points, tuple(notes), is_by_rulings=False)


def _rows_of(body: object) -> Sequence[Mapping[str, Any]]:
    """`data.dataPoints` today, `data` itself in the older generation."""
    data = body.get("data") if isinstance(body, Mapping) else None
    rows = data.get("dataPoints") if isinstance(data, Mapping) else data
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise UnreadableResponseError(
            "the gateway's answer has no list of data points where the API documents one"
        )
    return rows


def _metadata_places(row: Mapping[str, Any], name: str) -> list[tuple[Mapping[str, Any], str]]:
    """Where a key can stand: under its name, or for metadata bare or nested."""
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


def _read_key(row: Mapping[str, Any], name: str) -> Key:
    if type(value := row.get(name)) is str:  # nearly always
        return value
    for place, key in _metadata_places(row, name):
        if key in place:
            value = place[key]
            if value is None or isinstance(value, str | int | float | bool):
                return value
            return str(value)
    return None


def _read_number(value: object, name: str) -> Number | None:
    """A finite number, also out of a numeric string; null for null and for NaN."""
    if (type(value) is float and math.isfinite(value)) or (
        type(value) is int and abs(value) <= _LARGEST
    ):
        return value  # nearly always
    if isinstance(value, str):
        number = parse_number(value)
        value = value if number is None else number
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > _LARGEST:
        raise UnreadableResponseError(f"the gateway's answer has no number in {name}")
    return value


def _read_start(row: Mapping[str, Any]) -> datetime:
    value = row.get("startTimestamp", row.get("timestamp"))
    try:
        start = datetime.fromisoformat(value)
        return start.replace(tzinfo=UTC) if start.tzinfo is None else start.astimezone(UTC)
    except (TypeError, ValueError, OverflowError) as error:
        raise UnreadableResponseError(
            "the gateway's answer has a bucket without a readable start"
        ) from error


FLOAT_NOISE: Final = 1e-12
"""Of the larger value: an engine adds the same floats in another order, and they come out so."""


def add_up(values: Iterable[Number | None]) -> Number | None:
    """The sum, exact for integers; null where there is nothing but nulls."""
    present = [value for value in values if value is not None]
    if not present:
        return None
    if all(isinstance(value, int) for value in present):
        return sum(present)
    try:
        return math.fsum(present)
    except OverflowError:
        return math.inf


def subtract(now: Number | None, before: Number | None) -> Number | None:
    """The difference; null where either is null, 0 where it is but the order of adding floats."""
    if now is None or before is None:
        return None
    has_float = isinstance(now, float) or isinstance(before, float)
    if has_float and math.isclose(now, before, rel_tol=FLOAT_NOISE):
        return 0.0
    return now - before


def ratio_of(upper: Number | None, lower: Number | None, scale: int = 1) -> Number | None:
    """`upper * scale / lower`; null where either is null or the lower is 0."""
    if upper is None or lower is None or lower == 0:
        return None
    try:
        return upper * scale / lower
    except OverflowError:
        return math.nan
