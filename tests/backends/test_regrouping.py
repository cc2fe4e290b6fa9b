"""Local buckets, put together of UTC ones or asked one by one, are those of every single row."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final
from zoneinfo import ZoneInfo

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.errors import (
    EngineError,
    InvalidQueryError,
    TooManyRowsError,
    UnavailableError,
    UnreadableResponseError,
)
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.query.model import LOCAL, Query
from gateway_metrics_mcp.query.result import DataPoint, Result
from gateway_metrics_mcp.query.time.interval import Interval, LocalDays, LocalHours
from gateway_metrics_mcp.query.vocabulary import IntervalUnit
from gateway_metrics_mcp.reports.time_buckets import choose_step, run_local
from gateway_metrics_mcp.runtime.concurrency import MOST_AT_ONCE

Row = dict[str, Any]
Make = Callable[..., Query]
Fetch = Callable[[Query], Awaitable[Result]]

BERLIN: Final = LocalDays(1, "day", ZoneInfo("Europe/Berlin"))
ZONES: Final = (
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "America/St_Johns",
    "Africa/Casablanca",
)
UNITS: Final[tuple[IntervalUnit, ...]] = ("day", "week", "month", "year")
# Clocks change in each of these: Berlin, New York, St. John's, Lord Howe, Casablanca, Apia's date.
SEASONS: Final = tuple(
    datetime.fromisoformat(day).replace(tzinfo=UTC)
    for day in ("2011-12-20", "2026-02-10", "2026-03-20", "2026-10-20")
)
SEASON: Final = timedelta(days=24)


def make_rows() -> list[Row]:
    """Rows around all changes of the clocks, some at the very second that a day begins."""
    random, rows = Random(7), []  # noqa: S311 - no secrets are drawn
    for season in SEASONS:
        starts = [
            start
            for zone in ZONES
            for start in LocalDays(1, "day", ZoneInfo(zone)).buckets(season, season + SEASON)
        ]
        times = [season + timedelta(seconds=random.randrange(24 * 86_400)) for _ in range(600)]
        times += [start - timedelta(seconds=n) for start in starts for n in (0, 1)]
        rows += [
            {
                "CreatedAt": time,
                "ModelName": random.choice(["a", "b", None]),
                "InputTokens": random.choice([None, 0, random.randrange(2**50)]),
                "CostInUSD": random.choice([None, random.random() * 10 ** random.randrange(-6, 6)]),
            }
            for time in times
        ]
    return rows


ROWS: Final = make_rows()


@pytest.fixture(scope="module")
async def fetch(
    tmp_path_factory: pytest.TempPathFactory, write_rows: Callable[..., Path]
) -> AsyncIterator[Fetch]:
    """Ask an engine over these rows."""
    directory = tmp_path_factory.mktemp("seasons")
    write_rows(directory, ROWS)
    backend = DuckDBBackend(directory, load_catalog())
    yield lambda query: backend.query(query, LOCAL)
    await backend.aclose()


def group_by_date(
    local: LocalDays, start: datetime, end: datetime
) -> dict[tuple[datetime, str | None], list[Row]]:
    """The rows of a window by the first instant of their local bucket, one row at a time."""
    groups: dict[tuple[datetime, str | None], list[Row]] = {}
    for row in ROWS:
        if start <= row["CreatedAt"] < end:
            date = row["CreatedAt"].astimezone(local.zone)
            first = date.replace(hour=0, minute=0, second=0, fold=0)
            if local.unit == "week":
                first -= timedelta(days=first.weekday())
            elif local.unit in ("month", "year"):
                first = first.replace(day=1, month=1 if local.unit == "year" else first.month)
            groups.setdefault((first.astimezone(UTC), row["ModelName"]), []).append(row)
    return groups


def present(rows: list[Row], column: str) -> list[float]:
    return [row[column] for row in rows if row[column] is not None]


def body_of(start: datetime, end: datetime, values: list[str]) -> dict[str, Any]:
    window = {"startTs": start.isoformat(), "endTs": end.isoformat()}
    return {**window, "interval": "1 day", "groupBy": ["modelName"], "aggregations": values}


WINDOWS: Final = st.tuples(
    st.sampled_from(SEASONS), st.integers(0, 86_400 * 12), st.integers(1, 86_400 * 12)
).map(lambda w: (w[0] + timedelta(seconds=w[1]), w[0] + timedelta(seconds=w[1] + w[2])))


@given(st.sampled_from(ZONES), st.sampled_from(UNITS), WINDOWS)
async def test_regrouped_sums_are_those_of_the_rows_of_each_local_date(
    fetch: Fetch, make_query: Make, zone: str, unit: IntervalUnit, window: tuple[datetime, datetime]
) -> None:
    local = LocalDays(1, unit, ZoneInfo(zone))
    values = ["sum inputTokens", "sum costInUSD", "count costInUSD"]
    query = make_query(**body_of(*window, values))

    result = await run_local(fetch, query, local)

    groups = group_by_date(local, *window)
    assert len(result.points) == len(groups)
    for point in result.points:
        assert point.start is not None
        rows = groups[point.start, point.keys[0]]  # type: ignore[index]  # names are text or null
        tokens, costs = present(rows, "InputTokens"), present(rows, "CostInUSD")
        total, sum_tokens, sum_cost, count_cost = point.values
        assert (total, count_cost) == (len(rows), len(costs))
        assert sum_tokens == (sum(tokens) if tokens else None)
        assert (sum_cost is None) == (not costs)
        assert math.isclose(sum_cost or 0, math.fsum(costs), rel_tol=1e-12)


def group_by_hours(
    zone: ZoneInfo, hours: int, start: datetime, end: datetime
) -> dict[tuple[Any, ...], int]:
    """The number of rows by what the clocks showed, and for single hours by their offset."""
    counts: dict[tuple[Any, ...], int] = {}
    for row in ROWS:
        if start <= row["CreatedAt"] < end:
            wall = row["CreatedAt"].astimezone(zone)
            offset = wall.utcoffset() if hours == 1 else None
            key = (wall.date(), wall.hour // hours, offset, row["ModelName"])
            counts[key] = counts.get(key, 0) + 1
    return counts


@given(
    st.sampled_from([(zone, hours) for zone in ZONES for hours in (1, 6, 12)]).filter(
        lambda case: case != ("Australia/Lord_Howe", 1)  # whose half hour belongs to two
    ),
    WINDOWS,
)
async def test_hours_are_what_the_clocks_showed_of_each_row(
    fetch: Fetch, make_query: Make, case: tuple[str, int], window: tuple[datetime, datetime]
) -> None:
    zone, hours = ZoneInfo(case[0]), case[1]
    local = LocalHours(hours, "hour", zone)
    query = make_query(**body_of(*window, ["sum inputTokens"]))

    result = await run_local(fetch, query, local)

    came = {}
    for point in result.points:
        assert point.start is not None
        wall = point.start.astimezone(zone)
        offset = wall.utcoffset() if hours == 1 else None
        came[wall.date(), wall.hour // hours, offset, point.keys[0]] = point.values[0]
    assert came == group_by_hours(zone, hours, *window)


@given(st.sampled_from(ZONES), WINDOWS)
async def test_other_values_are_asked_of_each_local_bucket(
    fetch: Fetch, make_query: Make, zone: str, window: tuple[datetime, datetime]
) -> None:
    local = LocalDays(1, "day", ZoneInfo(zone))
    query = make_query(**body_of(*window, ["max costInUSD", "countDistinct inputTokens"]))

    result = await run_local(fetch, query, local)

    came = {(p.start, p.keys[0]): p.values for p in result.points}
    assert came == {
        group: (
            len(rows),
            max(present(rows, "CostInUSD"), default=None),
            len(set(present(rows, "InputTokens"))),
        )
        for group, rows in group_by_date(local, *window).items()
    }


@pytest.mark.parametrize("values", [["sum costInUSD"], ["max costInUSD"]])
async def test_both_ways_leave_out_buckets_without_rows(
    fetch: Fetch, make_query: Make, values: list[str]
) -> None:
    day = SEASONS[1] + SEASON  # nothing follows
    query = make_query(**body_of(day - timedelta(days=2), day + SEASON / 4, values))
    query = query.model_copy(update={"group_by": ()})

    result = await run_local(fetch, query, BERLIN)

    assert [point.start for point in result.points] == list(
        BERLIN.buckets(day - timedelta(days=2), day)
    )
    assert [point.values[0] for point in result.points if not point.values[0]] == []


class Watch:
    """Passes queries on to an engine, and says which and how many at once; some of them fail."""

    def __init__(self, fetch: Fetch, failing: dict[int, Exception] | None = None) -> None:
        self.queries: list[Query] = []
        self.most = self.under_way = self.cancelled = 0
        self._fetch = fetch
        self._failing = failing or {}

    async def __call__(self, query: Query) -> Result:
        number = len(self.queries)
        self.queries.append(query)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await anyio.lowlevel.checkpoint()
            if number in self._failing:
                raise self._failing[number]
            return await self._fetch(query)
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise
        finally:
            self.under_way -= 1


MARCH: Final = (SEASONS[2], SEASONS[2] + timedelta(days=20))


async def test_additive_values_take_one_call(fetch: Fetch, make_query: Make) -> None:
    watch = Watch(fetch)
    query = make_query(**body_of(*MARCH, ["sum costInUSD"]))

    await run_local(watch, query, BERLIN)

    assert [q.interval for q in watch.queries] == [Interval(1, "hour")]
    assert choose_step(query, BERLIN) == Interval(1, "hour")


async def test_six_calls_are_under_way_at_most(fetch: Fetch, make_query: Make) -> None:
    watch = Watch(fetch)
    query = make_query(**body_of(*MARCH, ["p99 costInUSD"]))

    await run_local(watch, query, BERLIN)

    assert len(watch.queries) == 21
    assert watch.most == MOST_AT_ONCE
    assert {(q.type, q.interval) for q in watch.queries} == {("distribution", None)}
    assert min(q.start_ts for q in watch.queries) == MARCH[0]
    assert max(q.end_ts for q in watch.queries) == MARCH[1]


async def test_what_cannot_be_had_is_refused_before_anything_is_sent(
    fetch: Fetch, make_query: Make
) -> None:
    watch = Watch(fetch)
    query = make_query(**body_of(SEASONS[1], SEASONS[1] + 2 * SEASON, ["p99 costInUSD"]))

    with pytest.raises(InvalidQueryError, match="interval: p99 costInUSD cannot be added up"):
        await run_local(watch, query, BERLIN)

    assert watch.queries == []


async def test_the_first_failure_is_raised_and_ends_the_rest(
    fetch: Fetch, make_query: Make
) -> None:
    error = UnavailableError("gone")
    watch = Watch(fetch, {0: error})

    with pytest.raises(UnavailableError) as caught:
        await run_local(watch, make_query(**body_of(*MARCH, ["p99 costInUSD"])), BERLIN)

    assert caught.value is error
    assert len(watch.queries) <= MOST_AT_ONCE
    assert watch.cancelled == len(watch.queries) - 1


async def test_too_many_narrow_rows_are_asked_for_by_bucket(fetch: Fetch, make_query: Make) -> None:
    watch = Watch(fetch, {0: TooManyRowsError("500,000 rows")})
    query = make_query(**body_of(*MARCH, ["sum inputTokens"]))

    result = await run_local(watch, query, BERLIN)

    assert len(watch.queries) == 1 + 21
    expected = await run_local(fetch, query, BERLIN)
    assert sorted(result.points, key=repr) == sorted(expected.points, key=repr)


async def test_too_many_rows_stay_a_failure_where_buckets_are_many(
    fetch: Fetch, make_query: Make
) -> None:
    watch = Watch(fetch, {0: TooManyRowsError("500,000 rows")})
    query = make_query(**body_of(SEASONS[1], SEASONS[1] + 2 * SEASON, ["sum inputTokens"]))

    with pytest.raises(TooManyRowsError):
        await run_local(watch, query, BERLIN)


async def test_other_failures_are_not_asked_around(fetch: Fetch, make_query: Make) -> None:
    watch = Watch(fetch, {0: EngineError("broken")})

    with pytest.raises(EngineError):
        await run_local(watch, make_query(**body_of(*MARCH, ["sum inputTokens"])), BERLIN)


def from_the_window(fetch: Fetch) -> Fetch:
    """A source that counts buckets from the start of the window: half an hour off."""

    async def ask_moved(query: Query) -> Result:
        result = await fetch(query)
        if query.interval is None:
            return result
        moved = [
            p._replace(start=p.start + timedelta(minutes=30)) for p in result.points if p.start
        ]
        return Result(result.key_names, result.value_names, tuple(moved))

    return ask_moved


async def test_buckets_that_lie_otherwise_are_not_added_up(fetch: Fetch, make_query: Make) -> None:
    short = make_query(**body_of(*MARCH, ["sum inputTokens"]))
    long = make_query(**body_of(SEASONS[1], SEASONS[1] + 2 * SEASON, ["sum inputTokens"]))

    result = await run_local(from_the_window(fetch), short, BERLIN)

    expected = await run_local(fetch, short, BERLIN)
    assert sorted(result.points, key=repr) == sorted(expected.points, key=repr)
    with pytest.raises(UnreadableResponseError, match='Give timezone "UTC"'):
        await run_local(from_the_window(fetch), long, BERLIN)


HOUR: Final = datetime(2026, 7, 1, 22, tzinfo=UTC)


async def answer(query: Query) -> Result:
    """Two rows in each of two hours of a local day, or a row per day; with notes."""
    if query.interval is None:
        is_first = query.start_ts < HOUR
        names = ("total", "avgCostInUSD") if is_first else ("avgCostInUSD",)
        values = (5, 1.5) if is_first else (2.5,)
        return Result((), names, (DataPoint((), values),), ("said", str(is_first)), age_s=3)
    keys = [(True,), (1,), (1.0,), (None,)]
    points = [
        DataPoint(key, (2**60 + n, 0.1, None), HOUR + timedelta(hours=hour))
        for hour in (0, 1)
        for n, key in enumerate(keys)
    ]
    sums = ("total", "sumCostInUSD", "sumInputTokens")
    return Result(("x",), sums, tuple(points), ("said",), is_by_rulings=False, age_s=3)


async def test_keys_of_several_types_stay_apart_and_integers_exact(make_query: Make) -> None:
    values = ["sum costInUSD", "sum inputTokens"]
    query = make_query(**body_of(HOUR, HOUR + timedelta(hours=2), values))

    result = await run_local(answer, query, BERLIN)

    assert [(p.start, [*map(type, p.keys)], p.values) for p in result.points] == [
        (HOUR, [type(key)], (2**61 + 2 * n, 0.2, None))
        for n, key in [(3, None), (2, 1.0), (1, 1), (0, True)]
    ]
    assert (result.notes, result.is_by_rulings, result.age_s) == (("said",), False, 3)


async def test_what_was_said_of_the_buckets_is_said_once(make_query: Make) -> None:
    window = (HOUR - timedelta(hours=1), HOUR + timedelta(days=2))
    query = make_query(**body_of(*window, ["avg costInUSD"]))
    query = query.model_copy(update={"group_by": ()})

    result = await run_local(answer, query, BERLIN)

    assert result.notes == ("said", "True", "False")
    assert result.value_names == ("total", "avgCostInUSD")
    assert [p.values for p in result.points] == [(5, 1.5), (None, 2.5), (None, 2.5)]
    assert result.age_s == 3
