"""What any backend has to answer, in plain Python over rows: slow, and right by reading it.

Written from the rulings (R1 to R24) and the catalog alone; it shares no code with an engine.
A row is a mapping of table columns to values; a column that it lacks is null.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, Final

from gateway_metrics_mcp.query.catalog import Catalog, Datasource
from gateway_metrics_mcp.query.model import Aggregation, Caller, Filter, Query
from gateway_metrics_mcp.query.result import DataPoint, Result
from gateway_metrics_mcp.query.time.interval import Interval

Row = Mapping[str, Any]
Group = tuple[datetime | None, tuple[Any, ...]]

METADATA: Final = "metadata."
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_MONDAY: Final = datetime(1970, 1, 5, tzinfo=UTC)

SHARES: Final = {
    "p999": Fraction(999, 1000),
    **{f"p{percent}": Fraction(percent, 100) for percent in (5, 10, 25, 50, 75, 90, 95, 99)},
}
MADE_OF_SUMS: Final = ("sum", "avg", "rateSum", "rateAvg", "ratePerMinute")
OPPOSITES: Final = {
    "NOT_EQUAL": "EQUAL",
    "NOT_IN": "IN",
    "STRING_NOT_CONTAINS": "STRING_CONTAINS",
    "STRING_NOT_STARTS_WITH": "STRING_STARTS_WITH",
    "STRING_NOT_ENDS_WITH": "STRING_ENDS_WITH",
}
MATCHES: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "EQUAL": lambda stored, asked: stored == asked,
    "IN": lambda stored, asked: stored in asked,
    "STRING_CONTAINS": lambda stored, asked: asked in stored,
    "STRING_STARTS_WITH": lambda stored, asked: stored.startswith(asked),
    "STRING_ENDS_WITH": lambda stored, asked: stored.endswith(asked),
    "GREATER_THAN": lambda stored, asked: stored > asked,
    "LESS_THAN": lambda stored, asked: stored < asked,
    "GREATER_THAN_EQUAL": lambda stored, asked: stored >= asked,
    "LESS_THAN_EQUAL": lambda stored, asked: stored <= asked,
    "BETWEEN": lambda stored, asked: asked[0] <= stored <= asked[1],
}
ACCOUNT: Final = "virtualaccount"
KINDS: Final = {"userEmail": "user", "virtualAccount": ACCOUNT, "virtualaccount": ACCOUNT}


def evaluate(query: Query, caller: Caller, rows: Sequence[Row], catalog: Catalog) -> Result:
    """The answer to the query from those rows that the caller may see."""
    datasource = catalog.datasources[query.datasource]
    groups: dict[Group, list[Row]] = {}
    if not query.group_by and query.interval is None:
        groups[None, ()] = []  # R1: there is one row even of nothing
    for row in rows:
        if is_asked_for(row, query, caller, catalog):
            for group in groups_of(row, query, datasource):
                groups.setdefault(group, []).append(row)
    points = []
    for (start, keys), members in groups.items():
        seconds = None if query.interval is None or start is None else length(query.interval, start)
        values = [aggregate(a, members, datasource, seconds) for a in query.aggregations]
        points.append(DataPoint(keys, (len(members), *values), start))
    return Result(
        key_names=key_names(query, datasource),
        value_names=("total", *(name_of(a) for a in query.aggregations)),
        points=tuple(sorted(points, key=rank)),
    )


def rank(point: DataPoint) -> tuple[Any, ...]:
    """R15: by bucket, by total descending, then by the keys, nulls last."""
    keys = [(key is None, key) for key in point.keys]
    return (point.start or EPOCH, -(point.values[0] or 0), keys)


# --- names ---


def name_of(aggregation: Aggregation) -> str:
    return aggregation.type + aggregation.column[0].upper() + aggregation.column[1:]


def key_names(query: Query, datasource: Datasource) -> tuple[str, ...]:
    """R6, R7: metadata under its own name; what shares a name is one key."""
    names = [
        name if name.startswith(METADATA) else datasource.group_by[name].response_key
        for name in query.group_by
    ]
    return tuple(dict.fromkeys(names))


# --- reading a row ---


def value_of(row: Row, column: str) -> Any:
    """R22: what is not a number, NaN and infinity, is taken as null."""
    value = row.get(column)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def metadata_of(row: Row, name: str) -> Any:
    """R6: null where the row lacks the key."""
    return (row.get("Metadata") or {}).get(name.removeprefix(METADATA))


def teams_of(row: Row) -> list[str]:
    """R5: each team once."""
    return list(dict.fromkeys(team for team in row.get("Teams") or () if team is not None))


# --- which rows ---


def is_asked_for(row: Row, query: Query, caller: Caller, catalog: Catalog) -> bool:
    """Inside the window, seen by the caller, and let through by every filter."""
    created = row["CreatedAt"]
    if created is None or not query.start_ts <= created < query.end_ts:
        return False
    if not is_visible(row, caller):
        return False
    required = catalog.datasources[query.datasource].requires
    if required is not None and value_of(row, required) is None:  # R16
        return False
    kinds = {KINDS[name] for name in query.group_by if name in KINDS}
    if len(kinds) == 1 and row.get("CreatedBySubjectType") not in kinds:  # R7
        return False
    return all(holds(row, asked, query, catalog) is True for asked in query.filters)


def is_visible(row: Row, caller: Caller) -> bool:
    """R23: all for a tenant admin; else the caller's own and those of the caller's teams."""
    subject = (row.get("CreatedBySubjectSlug"), row.get("CreatedBySubjectType"))
    is_own = subject == (caller.subject, caller.subject_type)
    return caller.is_tenant_admin or is_own or not caller.teams.isdisjoint(teams_of(row))


def holds(row: Row, asked: Filter, query: Query, catalog: Catalog) -> bool | None:
    """Whether the row matches; None for unknown, in SQL's three-valued logic (R9)."""
    field = catalog.filter_field(query.datasource, asked.field_name)
    assert field is not None
    wanted: Any = asked.value
    if asked.field_name.startswith(METADATA):
        stored = metadata_of(row, asked.field_name)
    else:
        stored = value_of(row, field.table_column)
    if asked.operator == "IS_NULL":
        return (stored is None) is wanted
    if asked.operator == "ARRAY_HAS_ANY":
        return any(team in wanted for team in teams_of(row))
    if asked.operator == "ARRAY_HAS_NONE":
        return not any(team in wanted for team in teams_of(row))
    stored, wanted = comparable(stored, wanted)
    match = MATCHES[OPPOSITES.get(asked.operator, asked.operator)]
    answer = None if stored is None else match(stored, wanted)
    kind = KINDS.get(asked.field_name)
    if kind is not None:  # R8
        stored_kind = row.get("CreatedBySubjectType")
        answer = both(answer, None if stored_kind is None else stored_kind == kind)
    if asked.operator in OPPOSITES and answer is not None:
        return not answer
    return answer


def comparable(stored: Any, wanted: Any) -> tuple[Any, Any]:
    """Integers are compared with integers exactly; as soon as one is a double, all are."""
    numbers = wanted if isinstance(wanted, tuple) else (wanted,)
    if stored is None or float not in map(type, (stored, *numbers)):
        return stored, wanted
    floats = tuple(map(float, numbers))
    return float(stored), floats if isinstance(wanted, tuple) else floats[0]


def both(one: bool | None, other: bool | None) -> bool | None:  # noqa: FBT001 - logic's own values
    """SQL's AND: false beats unknown."""
    if one is False or other is False:
        return False
    return None if one is None or other is None else True


# --- which group ---


def groups_of(row: Row, query: Query, datasource: Datasource) -> Iterator[Group]:
    """The groups that the row counts in: one, or by team one per team (R5)."""
    start = None
    if query.interval is not None:
        start = start_of(query.interval, number_of(query.interval, row["CreatedAt"]))
    teams: Sequence[str | None] = teams_of(row) if "team" in query.group_by else ()
    for team in teams or [None]:
        keys: dict[str, Any] = {}
        for name in query.group_by:
            if name.startswith(METADATA):
                keys[name] = metadata_of(row, name)
            elif name == "team":
                keys[name] = team
            else:
                dimension = datasource.group_by[name]
                keys[dimension.response_key] = value_of(row, dimension.table_column)
        yield start, tuple(keys.values())


def number_of(interval: Interval, instant: datetime) -> int:
    """R4: the number of the bucket, counted in UTC from 1970."""
    if interval.unit in ("month", "year"):
        utc = instant.astimezone(UTC)
        return ((utc.year - 1970) * 12 + utc.month - 1) // months(interval)
    return (instant - origin(interval)) // width(interval)


def start_of(interval: Interval, number: int) -> datetime:
    if interval.unit in ("month", "year"):
        years, month = divmod(number * months(interval), 12)
        return datetime(1970 + years, month + 1, 1, tzinfo=UTC)
    return origin(interval) + number * width(interval)


def length(interval: Interval, start: datetime) -> int:
    """R14: the seconds of the whole bucket, a calendar month by its real length."""
    return (start_of(interval, number_of(interval, start) + 1) - start) // timedelta(seconds=1)


def months(interval: Interval) -> int:
    return interval.count * (12 if interval.unit == "year" else 1)


def origin(interval: Interval) -> datetime:
    return FIRST_MONDAY if interval.unit == "week" else EPOCH


def width(interval: Interval) -> timedelta:
    return timedelta(**{f"{interval.unit}s": interval.count})


# --- which value ---


def aggregate(
    aggregation: Aggregation, rows: Sequence[Row], datasource: Datasource, seconds: int | None
) -> int | float | None:
    """One value of a group; `seconds` is its bucket's length."""
    column = datasource.columns[aggregation.column].table_column
    if column == "Teams":  # R24
        teams = [teams_of(row) for row in rows]
        if aggregation.type == "count":
            return sum(1 for names in teams if names)
        return len({name for names in teams for name in names})
    values = [value for row in rows if (value := value_of(row, column)) is not None]
    if aggregation.type == "count":
        return len(values)
    if aggregation.type == "countDistinct":  # R13
        return len(set(values))
    return compute(aggregation.type, values, seconds or 1) if values else None  # R1


def compute(type_: str, values: list[int] | list[float], seconds: int) -> int | float | None:
    """The value of numbers, of which there is one or more."""
    if type_ == "sum" and isinstance(values[0], int):
        return sum(values)  # R22
    if type_ in ("min", "max"):
        return min(values) if type_ == "min" else max(values)
    exact = [Fraction(value) for value in values]
    if type_ in SHARES:
        return as_float(percentile(sorted(exact), SHARES[type_]))
    total = sum(exact, start=Fraction(0))
    if type_ in MADE_OF_SUMS and as_float(total) is None:
        return None
    results = {
        "sum": total,
        "avg": total / len(exact),
        "rateSum": total / seconds,  # R14, as are the other rates
        "rateAvg": total / len(exact) / seconds,
        "rateMin": min(exact) / seconds,
        "rateMax": max(exact) / seconds,
        "ratePerMinute": total / Fraction(seconds, 60),
    }
    return as_float(results[type_])


def percentile(values: list[Fraction], share: Fraction) -> Fraction:
    """R12: linear interpolation between the neighbours of rank (n - 1) x share."""
    position = share * (len(values) - 1)
    below, above = math.floor(position), math.ceil(position)
    return values[below] + (values[above] - values[below]) * (position - below)


def as_float(value: Fraction) -> float | None:
    """R22: null where no double is large enough, as JSON knows no infinity."""
    try:
        return float(value)
    except OverflowError:
        return None
