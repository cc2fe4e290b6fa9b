"""How many calls local buckets take, and which questions cannot be had in them."""

from __future__ import annotations

from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest

from gateway_metrics_mcp.http.body import read_query
from gateway_metrics_mcp.query.catalog import Catalog
from gateway_metrics_mcp.query.model import Query
from gateway_metrics_mcp.query.time.interval import LocalDays
from gateway_metrics_mcp.reports.time_buckets import choose_step, find_obstacle

LONG: Final = {"start": "2025-01-01", "end": "2026-01-01"}
WINTER: Final = {"zone": "Europe/London", "start": "2026-01-01", "end": "2026-03-01"}


def ask(
    catalog: Catalog,
    *values: str,
    zone: str = "Europe/Berlin",
    interval: str = "1 day",
    start: str = "2026-07-01",
    end: str = "2026-07-31",
) -> tuple[Query, LocalDays]:
    body: dict[str, Any] = {
        "startTs": f"{start}T00:00:00Z",
        "endTs": f"{end}T00:00:00Z",
        "datasource": "modelMetrics",
        "type": "timeseries",
        "interval": interval,
        "aggregations": [dict(zip(("type", "column"), v.split(), strict=True)) for v in values],
    }
    query = read_query(body, catalog)
    assert query.interval is not None
    return query, LocalDays(query.interval.count, query.interval.unit, ZoneInfo(zone))


@pytest.mark.parametrize(
    ("values", "changes", "step", "calls"),
    [
        ((), {}, "1 hour", 1),
        (("sum costInUSD", "count costInUSD"), {}, "1 hour", 1),
        (("sum costInUSD",), {"zone": "Asia/Kathmandu"}, "15 minutes", 1),
        (("sum costInUSD",), LONG, "1 hour", 1),
        (("p99 latencyMs",), {}, "None", 31),
        (("sum costInUSD", "countDistinct modelName"), {"interval": "1 week"}, "None", 5),
        # Twelve calls instead of 8,760 rows.
        (("sum costInUSD",), {**LONG, "interval": "1 month"}, "None", 13),
        # No quarter of an hour.
        ((), {"zone": "Africa/Monrovia", "start": "1971-01-01", "end": "1971-01-03"}, "None", 3),
        # Clocks that show UTC.
        (("p99 latencyMs", "rateSum costInUSD"), {**LONG, "zone": "Africa/Accra"}, "1 day", 1),
        (("avg costInUSD",), WINTER, "1 day", 1),
    ],
)
def test_additive_values_take_one_call(
    catalog: Catalog, values: tuple[str, ...], changes: dict[str, str], step: str, calls: int
) -> None:
    query, local = ask(catalog, *values, **changes)

    assert find_obstacle(query, local) is None
    assert str(choose_step(query, local)) == step
    if choose_step(query, local) is None:
        assert local.count_buckets(query.start_ts, query.end_ts) == calls
    else:
        assert calls == 1


@pytest.mark.parametrize(
    ("values", "changes", "message"),
    [
        (
            ("sum costInUSD", "rateSum costInUSD", "ratePerMinute inputTokens"),
            {},
            (
                "rateSum costInUSD, ratePerMinute inputTokens: rates come in UTC buckets only, not"
                ' in the days of Europe/Berlin. Ask sum instead, or give timezone "UTC"'
            ),
        ),
        (
            ("sum costInUSD", "p99 latencyMs", "avg latencyMs"),
            {"end": "2026-08-01"},
            (
                "p99 latencyMs, avg latencyMs cannot be added up from UTC buckets, so each of the"
                " 32 buckets of 1 day in Europe/Berlin is a call, and at most 31 are made. Give a"
                ' shorter window, a longer interval, or timezone "UTC"'
            ),
        ),
        (
            (),
            {"zone": "Africa/Monrovia", "start": "1971-01-01", "end": "1971-03-01"},
            (
                "the days of Africa/Monrovia do not start on a quarter of an hour, so each of the"
                " 60 buckets of 1 day in Africa/Monrovia is a call, and at most 31 are made. Give a"
                ' shorter window, a longer interval, or timezone "UTC"'
            ),
        ),
    ],
)
def test_what_cannot_be_had_is_refused_with_what_can(
    catalog: Catalog, values: tuple[str, ...], changes: dict[str, str], message: str
) -> None:
    obstacle = find_obstacle(*ask(catalog, *values, **changes))

    assert obstacle is not None
    assert ". ".join(obstacle) == message
