"""`--fail-if` checks what the answer shows, and refuses what could never hold."""

from __future__ import annotations

from typing import Any, Final

import pytest
from tests.cli.ask.conftest import Ask, Server

DAY: Final = ("--start", "2026-07-01", "--end", "2026-07-02")
SERIES: Final = ("timeseries", *DAY, "--interval", "6 hours", "--sum", "costInUSD")


def bucket(hour: int, total: int, cost: float | None = 1.5, **more: Any) -> dict[str, Any]:
    """A row of six hours."""
    times = {
        "startTimestamp": f"2026-07-01T{hour:02}:00:00Z",
        "endTimestamp": f"2026-07-01T{hour + 5:02}:59:59Z",
    }
    return {**times, "total": total, "sumCostInUSD": cost, "countCostInUSD": total, **more}


@pytest.mark.parametrize(
    ("limit", "code", "said"),
    [
        ("any total = 0", 3, "total of 2026-07-01T06:00:00.000Z is 0: any total = 0 holds"),
        ("any sumCostInUSD < 0.5", 3, "sumCostInUSD of 2026-07-01T06:00:00.000Z is 0: "),
        ("any total > 40", 0, "total of every row is within the limit, any total > 40"),
        ("any avgLatencyMs < 1", 0, "avgLatencyMs of every row is within the limit"),
        ("any avgLatencyMs > 150", 3, "avgLatencyMs of 2026-07-01T18:00:00.000Z is 200: "),
    ],
)
def test_a_bucket_without_rows_is_what_the_table_shows(
    gateway: Server, ask: Ask, limit: str, code: int, said: str
) -> None:
    late = bucket(18, 7, avgLatencyMs=200.0)
    gateway.buckets += [bucket(0, 40, avgLatencyMs=100.0), bucket(12, 9, avgLatencyMs=90.0), late]

    found, out, err = ask(*SERIES, "--avg", "latencyMs", "--fail-if", limit)

    assert "06:00|0|0|null" in out
    assert found == code
    assert said in err


def test_a_series_counts_in_buckets_that_only_others_have(gateway: Server, ask: Ask) -> None:
    gateway.rows = [
        *(bucket(hour, 9, modelName="busy") for hour in (0, 6, 12, 18)),
        *(bucket(hour, 1, modelName="rare") for hour in (0, 6, 12)),
    ]

    code, _, err = ask(*SERIES, "--by", "modelName", "--fail-if", "any total = 0")

    assert code == 3
    assert "total of 2026-07-01T18:00:00.000Z rare is 0: any total = 0 holds\n" in err


def test_a_bucket_that_the_window_cuts_is_named_so(gateway: Server, ask: Ask) -> None:
    gateway.rows = [bucket(0, 9, modelName="busy"), bucket(18, 1, modelName="busy")]
    argv = ("timeseries", "--start", "2026-07-01", "--end", "2026-07-01T20:00", "--by", "modelName")

    code, _, err = ask(*argv, "--interval", "6 hours", "--fail-if", "any total = 1")

    assert code == 3
    assert "total of 2026-07-01T18:00:00.000Z (partial) busy is 1: any total = 1 holds\n" in err


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("errorRate > 1", "errorRate is a fraction of 1. Write 1%, or 100%"),
        ("errorRate >= 1.0", "errorRate is a fraction of 1. Write 1%, or 100%"),
        ("errorRate > 5", "errorRate is a fraction of 1. Write 5%, or 0.05"),
        ("errorRate_change < -1", "errorRate_change is a fraction of 1. Write -1%, or -100%"),
    ],
)
def test_a_part_has_no_limit_that_could_be_meant_in_percent(
    gateway: Server, ask: Ask, limit: str, said: str
) -> None:
    code, out, err = ask(
        *("distribution", *DAY, "--measure", "errorRate", "--compare", "previous"),
        *("--fail-if", limit),
    )

    assert (code, out) == (2, "")
    assert said in err
    assert gateway.bodies == []


@pytest.mark.parametrize("limit", ["share > 100%", "share > 0.99", "share < 1%"])
@pytest.mark.usefixtures("gateway")
def test_a_part_has_limits_in_percent_and_below_1(ask: Ask, limit: str) -> None:
    code, _, err = ask(
        *("distribution", *DAY, "--sum", "costInUSD", "--measure", "share", "--fail-if", limit)
    )

    assert code == (3 if limit == "share > 0.99" else 0)
    assert limit in err
