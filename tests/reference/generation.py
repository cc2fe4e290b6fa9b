"""Rows of one table, a caller and a question to them, made so that the question selects some.

An example is made of a source of chance and of bits that say what of it is kept: hypothesis
draws both, and shrinks a failing example by clearing bits. The question's frame comes first,
then rows with the columns that it touches, then its filters, with values mostly out of the rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final, Self, TypeVar, cast

from gateway_metrics_mcp.backends.sql.dialect import published_tables
from gateway_metrics_mcp.query.catalog import Catalog, Datasource, FilterField
from gateway_metrics_mcp.query.model import Aggregation, Caller, Filter, Query
from gateway_metrics_mcp.query.time.interval import Interval
from gateway_metrics_mcp.query.vocabulary import (
    DATASOURCES,
    INTERVAL_UNITS,
    LIST_OPERATORS,
    METADATA_PREFIX,
    RATE_TYPES,
    Operator,
)

T = TypeVar("T")
Row = dict[str, Any]

CHOICES: Final = 24
"""Bytes of an example."""
KEPT: Final = 8
"""How many of them say what is kept; the others are the seed of the rest."""

MICROSECOND: Final = timedelta(microseconds=1)
STARTS: Final = (
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(2024, 2, 28, 23, 30, tzinfo=UTC),
    datetime(2026, 7, 10, 12, tzinfo=UTC),
    datetime(2026, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
)
TEXTS: Final = (
    *("gpt-4o", "GPT-4o", "gpt", "100%", "100_", "1000", "%", "_", "", " ", "null", "NULL"),
    *("it's", "''", 'say "hi"', "back\\slash", "\\%", "$1", "?", "{x}", "a\nb", "-- ", "*"),
    *("😀", "😀😀", "\uff5e", "é", "e\u0301", "ß", "日本", "Z", "a", "k\u200dv", "\x01"),
    *("\u05e9\u05dc\u05d5\u05dd", "\u202e\u0645\u0631\u062d\u0628\u0627", "\U0010ffff"),
)
CODE_POINTS: Final = ("Z", "z", "\u00e9", "\uff5e", "😀")
"""By code point; UTF-16 puts the emoji before the wide tilde, a language the accent before z."""

SLUGS: Final = ("ann@example.com", "Ann@example.com", "ci-bot", "100%", "it's", "")
KINDS: Final = ("user", "user", "user", "virtualaccount", "virtualaccount", "service", None)
TEAMS: Final = ("search", "Search", "data_%", "it's", '"x"', "😀", "")
METADATA_KEYS: Final = ("env", "Env", "cost.center", "a b", "it's", 'a"b', "%\\😀")
INTEGERS: Final = (0, 1, 7, 200, 404, 2**31 - 1, 2**53, 2**53 + 1, 2**62, 2**63 - 2, 2**63 - 1)
FLOATS: Final = (0.0, -0.0, 5e-324, 1e-300, 0.1, 1 / 3, 10.0, 1e15 + 0.3, 2.0**63, 1e300, 1.7e308)
NO_NUMBERS: Final = (math.nan, math.inf, -math.inf)
SUBJECT_GROUPS: Final = ("team", "userEmail", "virtualaccount", "createdBySubjectType")
LARGEST_COUNTS: Final = {"week": 60, "month": 40, "year": 20}


@dataclass(frozen=True)
class Example:
    """A question and the table that it is asked of; `columns` are those that are stored.

    `tolerance` is how far a value may be off absolutely: numbers of both signs cancel out.
    """

    query: Query
    caller: Caller
    table: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    tolerance: float


@dataclass
class Chance:
    """A source of chance, and the bits that say what is kept.

    The numbers of one example have one sign and any size, or both signs and sums that are exact.
    """

    random: Random
    bits: int
    sign: int = field(init=False)
    texts: list[str] = field(init=False)
    caller: Caller = field(init=False)

    def __post_init__(self) -> None:
        self.sign = self.one_of([0, 1, 1, -1])
        self.texts = [self.text() for _ in range(self.random.randint(1, 5))]
        if self.is_one_in(5):
            self.texts = [*CODE_POINTS]
        self.caller = Caller(
            subject=self.one_of(SLUGS),
            subject_type=self.one_of(["user", "virtualaccount"]),
            teams=frozenset(self.some_of(TEAMS, 4)),
            is_tenant_admin=not self.is_one_in(3),
        )

    @classmethod
    def of(cls, choices: bytes) -> Self:
        return cls(Random(choices[KEPT:]), int.from_bytes(choices[:KEPT]))  # noqa: S311 - no secret

    def one_of(self, values: Sequence[T]) -> T:
        return self.random.choice(values)

    def some_of(self, values: Sequence[T], most: int) -> list[T]:
        return [self.one_of(values) for _ in range(self.random.randint(0, most))]

    def is_one_in(self, number: int) -> bool:
        return self.random.randrange(number) == 0

    def kept(self, values: Iterable[T]) -> list[T]:
        """The values whose bit is set, about half."""
        found = []
        for value in values:
            if self.bits & 1:
                found.append(value)
            self.bits >>= 1
        return found

    def text(self) -> str:
        if self.is_one_in(4):
            return "".join(self.one_of("aA%_\\'\" é😀") for _ in range(self.random.randint(0, 3)))
        return self.one_of(TEXTS)

    def integer(self, bits: int = 64) -> int:
        if self.sign == 0:
            return self.random.randint(-9, 9)
        largest: int = 2 ** (bits - 1) - 1
        number = self.one_of([*INTEGERS, self.random.randrange(1000)])
        return self.sign * min(number, largest)

    def real(self) -> float:
        if self.sign == 0:
            return self.random.randint(-72, 72) / 8
        return self.sign * self.one_of([*FLOATS, *(self.random.uniform(0, 5000) for _ in FLOATS)])


def make_example(choices: bytes, catalog: Catalog) -> Example:
    chance = Chance.of(choices)
    frame = _make_frame(chance, catalog)
    datasource = catalog.datasources[frame.datasource]
    asked = chance.kept(
        chance.one_of([*datasource.filters, METADATA_PREFIX + chance.one_of(METADATA_KEYS)])
        for _ in range(chance.one_of([0, 1, 2, 4]))
    )
    columns = _columns_of(frame, asked, datasource)
    moments = _moments_of(frame, chance)
    rows = chance.kept(
        {
            "CreatedAt": chance.one_of(moments),
            **{column: _make_cell(datasource.table, column, chance) for column in columns},
        }
        for _ in range(chance.one_of([0, 4, 8, 16, 24, 40, 40, 40]))
    )
    inside = [row for row in rows if _is_inside(row, frame)]
    anchors = [chance.one_of(inside or rows)] if rows else []
    filters = [_make_filter(name, frame, catalog, anchors, rows, chance) for name in asked]
    absent = chance.one_of(columns) if chance.is_one_in(10) else None
    stored = ("CreatedAt", *(column for column in columns if column != absent))
    return Example(
        query=frame.model_copy(update={"filters": tuple(filters)}),
        caller=chance.caller,
        table=datasource.table,
        columns=stored,
        rows=tuple({column: row[column] for column in stored} for row in rows),
        tolerance=1e-9 if chance.sign == 0 else 1e-300,
    )


# --- the question but for its filters ---


def _make_frame(chance: Chance, catalog: Catalog) -> Query:
    name = chance.one_of(DATASOURCES)
    datasource = catalog.datasources[name]
    interval = None
    if chance.is_one_in(2):
        unit = chance.one_of(INTERVAL_UNITS)
        largest = LARGEST_COUNTS.get(unit, 90)
        interval = Interval(chance.one_of([1, chance.random.randint(1, largest)]), unit)
    aggregations = [
        Aggregation(type=type_, column=column)
        for column, entry in datasource.columns.items()
        for type_ in entry.aggregations
        if interval is not None or type_ not in RATE_TYPES
    ]
    groups = [*SUBJECT_GROUPS, *datasource.group_by]
    groups += [METADATA_PREFIX + key for key in METADATA_KEYS[:4]]
    start = chance.one_of([*STARTS, STARTS[0] + chance.random.randrange(4 * 10**15) * MICROSECOND])
    return Query(
        datasource=name,
        type="distribution" if interval is None else "timeseries",
        start_ts=start,
        end_ts=start + _make_length(interval, chance),
        aggregations=tuple(dict.fromkeys(chance.kept(chance.some_of(aggregations, 12)))),
        group_by=tuple(dict.fromkeys(chance.kept(chance.some_of(groups, 5)))),
        interval=interval,
    )


def _make_length(interval: Interval | None, chance: Chance) -> timedelta:
    """The length of a window: from a part of a bucket to several buckets."""
    if interval is None:
        return chance.one_of([MICROSECOND, timedelta(hours=1), timedelta(days=31)])
    seconds = interval.seconds_from(interval.floor(STARTS[2]))
    return timedelta(seconds=seconds * chance.one_of([0.1, 0.5, 1, 1.5, 3, 7]))


# --- the rows ---


def _columns_of(frame: Query, asked: Iterable[str], datasource: Datasource) -> list[str]:
    """The table columns that the answer depends on."""
    columns = ["CreatedBySubjectSlug", "CreatedBySubjectType", "Teams", "Metadata"]
    columns += [datasource.columns[a.column].table_column for a in frame.aggregations]
    groups = [name for name in frame.group_by if not name.startswith(METADATA_PREFIX)]
    columns += [datasource.group_by[name].table_column for name in groups]
    filters = [name for name in asked if not name.startswith(METADATA_PREFIX)]
    columns += [datasource.filters[name].table_column for name in filters]
    columns += [] if datasource.requires is None else [datasource.requires]
    return list(dict.fromkeys(columns))


def _moments_of(frame: Query, chance: Chance) -> list[datetime | None]:
    """When rows are made: in the window, at its edges, now and then all outside."""
    start, end = frame.start_ts, frame.end_ts
    if chance.is_one_in(20):
        return [end, end + timedelta(days=400), None]
    inside = [start + (end - start) * chance.random.random() for _ in range(20)]
    return [*inside, start, end - MICROSECOND, end, start - MICROSECOND, None]


def _make_cell(table: str, column: str, chance: Chance) -> Any:
    if column == "CreatedBySubjectType":
        return chance.one_of(KINDS)
    if chance.is_one_in(6):
        return None
    if column == "CreatedBySubjectSlug":
        return chance.one_of([chance.caller.subject, chance.one_of(SLUGS)])
    makers: dict[str, Callable[[], Any]] = {
        "Array(Text)": lambda: chance.some_of([*TEAMS, None], 3),
        "Map(Text, Text)": lambda: {
            key: chance.one_of([*chance.texts, None]) for key in chance.some_of(METADATA_KEYS, 9)
        },
        "BIGINT": chance.integer,
        "INTEGER": lambda: chance.integer(32),
        "DOUBLE PRECISION": lambda: chance.one_of([chance.real()] * 5 + [*NO_NUMBERS[:2]]),
        "BOOLEAN": lambda: chance.is_one_in(2),
        "TEXT": lambda: chance.one_of(chance.texts),
    }
    return makers[published_tables()[table].get(column, "TEXT")]()


def _is_inside(row: Row, frame: Query) -> bool:
    return row["CreatedAt"] is not None and frame.start_ts <= row["CreatedAt"] < frame.end_ts


# --- its filters ---


def _make_filter(
    name: str,
    frame: Query,
    catalog: Catalog,
    anchors: Sequence[Row],
    rows: Sequence[Row],
    chance: Chance,
) -> Filter:
    """A filter that, three times of four, is about a value of the anchor or else of a row."""
    known_field = cast("FilterField", catalog.filter_field(frame.datasource, name))
    operator = _operator_of(known_field, chance)
    known = _values_of(anchors, name, known_field) or _values_of(rows, name, known_field)

    def scalar() -> Any:
        if known_field.type == "boolean":
            return chance.is_one_in(2)
        if known and not chance.is_one_in(4):
            value = chance.one_of(known)
            if operator.startswith("STRING_"):
                first = chance.random.randint(0, len(value))
                return value[first : chance.random.randint(first, len(value))]
            if known_field.type == "number" and chance.is_one_in(3):
                return _in_bounds(value + chance.one_of([-1, -0.5, 0.5, 1]))
            return value
        if known_field.type == "number":
            return chance.one_of([chance.integer(), chance.real()])
        return chance.one_of(TEAMS) if known_field.type == "array" else chance.text()

    value: Any = scalar()
    if operator == "IS_NULL":
        value = chance.is_one_in(2)
    elif operator == "BETWEEN":
        value = tuple(sorted([value, scalar()]))
    elif operator in LIST_OPERATORS:
        value = (value, *(scalar() for _ in range(chance.random.randrange(3))))
    return Filter(field_name=name, operator=operator, value=value)


def _operator_of(known_field: FilterField, chance: Chance) -> Operator:
    """Any that is allowed; the rare fields that may be asked for null are, often."""
    if known_field.is_null and chance.is_one_in(3):
        return "IS_NULL"
    return chance.one_of(known_field.allowed)


def _in_bounds(number: float) -> float:
    """What the API takes: no integer beyond 64 bits."""
    return number if isinstance(number, float) else max(min(number, 2**63 - 1), 1 - 2**63)


def _values_of(rows: Sequence[Row], name: str, known_field: FilterField) -> list[Any]:
    """What the rows hold in the field of a filter."""
    if name.startswith(METADATA_PREFIX):
        key = name.removeprefix(METADATA_PREFIX)
        stored = [(row["Metadata"] or {}).get(key) for row in rows]
    else:
        stored = [row[known_field.table_column] for row in rows]
    if known_field.type == "array":
        stored = [team for teams in stored for team in teams or ()]
    return [v for v in stored if not (v is None or (isinstance(v, float) and not math.isfinite(v)))]
