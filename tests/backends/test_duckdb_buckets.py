"""Buckets of the embedded engine and rates over them (R4, R14)."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.errors import InvalidQueryError
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.query.model import LOCAL, Query
from gateway_metrics_mcp.query.time.interval import Interval
from gateway_metrics_mcp.query.vocabulary import INTERVAL_UNITS

Row = dict[str, Any]
Ask = Callable[..., Awaitable[list[Row]]]
Write = Callable[..., Path]
Make = Callable[..., Query]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# --- R4: buckets ---


@pytest.mark.parametrize(
    ("interval", "instant", "start", "end"),
    [
        ("7 second", "2026-07-10T12:00:00", "2026-07-10T11:59:58", "2026-07-10T12:00:05"),
        ("7 minute", "2026-07-10T12:00:00", "2026-07-10T11:56:00", "2026-07-10T12:03:00"),
        ("5 hour", "2026-07-10T12:00:00", "2026-07-10T09:00:00", "2026-07-10T14:00:00"),
        ("5 hour", "2026-07-10T23:30:00", "2026-07-10T19:00:00", "2026-07-11T00:00:00"),
        ("36 hour", "2026-07-10T12:00:00", "2026-07-10T12:00:00", "2026-07-12T00:00:00"),
        ("36 hour", "2026-07-10T11:59:59", "2026-07-09T00:00:00", "2026-07-10T12:00:00"),
        ("2 day", "2026-07-10T12:00:00", "2026-07-10T00:00:00", "2026-07-12T00:00:00"),
        ("1 week", "2026-07-10T12:00:00", "2026-07-06T00:00:00", "2026-07-13T00:00:00"),
        ("1 week", "2026-07-13T00:00:00", "2026-07-13T00:00:00", "2026-07-20T00:00:00"),
        ("2 week", "2026-07-10T12:00:00", "2026-07-06T00:00:00", "2026-07-20T00:00:00"),
        ("1 month", "2026-07-10T12:00:00", "2026-07-01T00:00:00", "2026-08-01T00:00:00"),
        ("3 month", "2026-08-31T23:59:59", "2026-07-01T00:00:00", "2026-10-01T00:00:00"),
        ("5 month", "2026-07-10T12:00:00", "2026-04-01T00:00:00", "2026-09-01T00:00:00"),
        ("1 year", "2026-07-10T12:00:00", "2026-01-01T00:00:00", "2027-01-01T00:00:00"),
        ("2 year", "2027-12-31T23:59:59", "2026-01-01T00:00:00", "2028-01-01T00:00:00"),
        ("1 week", "1970-01-03T12:00:00", "1969-12-29T00:00:00", "1970-01-05T00:00:00"),
    ],
)
async def test_r4_buckets_count_from_the_epoch_the_first_monday_or_the_calendar(
    ask: Ask, write: Write, interval: str, instant: str, start: str, end: str
) -> None:
    write([{"CreatedAt": at(instant)}])

    rows = await ask(
        interval=interval, startTs="1970-01-01T00:00:00Z", endTs="2030-01-01T00:00:00Z"
    )

    assert rows == [{"startTimestamp": f"{start}.000Z", "endTimestamp": f"{end}.000Z", "total": 1}]


async def test_r4_the_first_and_last_bucket_count_the_window_alone(ask: Ask, write: Write) -> None:
    hours = [at("2026-07-10T00:00") + timedelta(minutes=30 * step) for step in range(12)]
    write([{"CreatedAt": hour} for hour in hours])

    rows = await ask(
        interval="2 hour", startTs="2026-07-10T00:30:00Z", endTs="2026-07-10T04:30:00Z"
    )

    counts = [(row["startTimestamp"][11:16], row["total"]) for row in rows]
    assert counts == [("00:00", 3), ("02:00", 4), ("04:00", 1)]


async def test_r4_the_window_holds_its_start_and_not_its_end(ask: Ask, write: Write) -> None:
    start, end = at("2026-07-10T00:00"), at("2026-07-11T00:00")
    tick = timedelta(microseconds=1)
    write([{"CreatedAt": instant} for instant in (start - tick, start, end - tick, end)])

    rows = await ask(startTs="2026-07-10T00:00:00Z", endTs="2026-07-11T00:00:00Z")

    assert rows == [{"total": 2}]


INSTANTS: Final = tuple(
    sorted(
        {
            *(
                edge + timedelta(microseconds=offset)
                for year in (1970, 1972, 1999, 2000, 2024, 2026, 2038, 2100)
                for month in (1, 2, 3, 12)
                for edge in (datetime(year, month, 1, tzinfo=UTC),)
                for offset in (-1, 0, 1)
                if edge + timedelta(microseconds=offset) >= datetime(1970, 1, 1, tzinfo=UTC)
            ),
            *(
                datetime.fromtimestamp(seconds, UTC)
                for seconds in random.Random(4).sample(range(4_102_444_800), 400)  # noqa: S311
            ),
        }
    )
)


@pytest.fixture(scope="module")
async def instants(
    tmp_path_factory: pytest.TempPathFactory, write_rows: Write
) -> AsyncIterator[DuckDBBackend]:
    directory = tmp_path_factory.mktemp("instants")
    write_rows(directory, [{"CreatedAt": instant} for instant in INSTANTS])
    backend = DuckDBBackend(directory, load_catalog())
    yield backend
    await backend.aclose()


@given(
    interval=st.builds(Interval, st.integers(1, 40), st.sampled_from(INTERVAL_UNITS)),
    window=st.tuples(st.sampled_from(INSTANTS), st.sampled_from(INSTANTS)).filter(
        lambda pair: pair[0] < pair[1]
    ),
)
@example(interval=Interval(1, "week"), window=(INSTANTS[0], INSTANTS[-1]))
@example(interval=Interval(1, "second"), window=(INSTANTS[0], INSTANTS[-1]))
async def test_r4_the_engine_fills_the_buckets_that_the_interval_computes(
    instants: DuckDBBackend, interval: Interval, window: tuple[datetime, datetime]
) -> None:
    start, end = window
    expected = Counter(interval.floor(i) for i in INSTANTS if start <= i < end)
    query = Query(
        datasource="modelMetrics",
        type="timeseries",
        start_ts=start,
        end_ts=end,
        interval=interval,
    )

    result = await instants.query(query, LOCAL)

    assert [(point.start, point.values[0]) for point in result.points] == sorted(expected.items())


# --- R14: rates ---


RATES: Final = [
    f"{name} inputTokens" for name in ("rateSum", "rateAvg", "rateMin", "rateMax", "ratePerMinute")
]


@pytest.mark.parametrize(
    ("interval", "instant", "seconds"),
    [
        ("1 hour", "2026-07-10T12:00", 3600),
        ("2 week", "2026-07-10T12:00", 1_209_600),
        ("1 month", "2026-02-10T12:00", 28 * 86_400),
        ("1 month", "2028-02-10T12:00", 29 * 86_400),
        ("1 month", "2026-07-10T12:00", 31 * 86_400),
        ("3 month", "2028-02-10T12:00", 91 * 86_400),
        ("1 year", "2028-07-10T12:00", 366 * 86_400),
        ("1 year", "2100-07-10T12:00", 365 * 86_400),
    ],
)
async def test_r14_rates_divide_by_the_buckets_own_full_length(
    ask: Ask, write: Write, interval: str, instant: str, seconds: int
) -> None:
    write([{"CreatedAt": at(instant), "InputTokens": n} for n in (100, 250, None)])

    (row,) = await ask(
        interval=interval,
        startTs=f"{instant}:00Z",  # inside the bucket: its full length counts all the same
        endTs="2101-01-01T00:00:00Z",
        aggregations=RATES,
    )

    del row["startTimestamp"], row["endTimestamp"]
    assert row == {
        "total": 3,
        "rateSumInputTokens": pytest.approx(350 / seconds, rel=1e-12),
        "rateAvgInputTokens": pytest.approx(175 / seconds, rel=1e-12),
        "rateMinInputTokens": pytest.approx(100 / seconds, rel=1e-12),
        "rateMaxInputTokens": pytest.approx(250 / seconds, rel=1e-12),
        "ratePerMinuteInputTokens": pytest.approx(350 / (seconds / 60), rel=1e-12),
    }


async def test_r14_a_rate_of_nothing_is_null(ask: Ask, write: Write) -> None:
    write([{"InputTokens": None}])

    (row,) = await ask(interval="1 day", aggregations=RATES)

    assert [row[key] for key in row if key.startswith("rate")] == [None] * 5


@pytest.mark.parametrize("rate", RATES)
def test_r14_a_distribution_has_no_rates(make_query: Make, rate: str) -> None:
    with pytest.raises(InvalidQueryError, match="needs a timeseries"):
        make_query(aggregations=[rate])
