"""The reference evaluator's values, their order, and whose rows: R12 to R15, R22 to R24."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from gateway_metrics_mcp.query.model import Caller

Ask = Callable[..., list[dict[str, Any]]]

TEAMS: Final = [
    {"Teams": ["a", "b"], "InputTokens": 1},
    {"Teams": ["a", "a"], "InputTokens": 2},
    {"Teams": [], "InputTokens": 4},
    {"Teams": None, "InputTokens": 8},
]

WIDE_TILDE: Final = "\uff5e"
"""Before the emoji by code point, after them by UTF-16."""

LATENCIES: Final = [10.0, 20.0, 30.0, 40.0]


def models(*names: str | None) -> list[dict[str, Any]]:
    return [{"ModelName": name} for name in names]


def at(text: str, **columns: Any) -> dict[str, Any]:
    return {"CreatedAt": datetime.fromisoformat(text).replace(tzinfo=UTC), **columns}


# --- R12 to R14, R22, R24: values ---


@pytest.mark.parametrize(
    ("type_", "expected"),
    [
        # Rank (n - 1) q = 3 q; between the neighbours 10, 20, 30, 40.
        ("p5", 11.5),
        ("p10", 13.0),
        ("p25", 17.5),
        ("p50", 25.0),
        ("p75", 32.5),
        ("p90", 37.0),
        ("p95", 38.5),
        ("p99", 39.7),
        ("p999", 39.97),
    ],
)
def test_r12_percentiles_interpolate_between_neighbours(
    ask: Ask, type_: str, expected: float
) -> None:
    rows = [{"LatencyMs": latency} for latency in (*reversed(LATENCIES), None)]
    (row,) = ask(rows, aggregations=[f"{type_} latencyMs"])
    assert row[f"{type_}LatencyMs"] == pytest.approx(expected, rel=1e-12)


def test_r12_the_percentile_of_one_value_is_the_value(ask: Ask) -> None:
    (row,) = ask([{"InputTokens": 7}], aggregations=["p5 inputTokens", "p999 inputTokens"])
    assert row == {"total": 1, "p5InputTokens": 7.0, "p999InputTokens": 7.0}


def test_r13_distinct_values_are_counted_without_null(ask: Ask) -> None:
    rows = models("a", "A", "a", "", None, None)
    (row,) = ask(rows, aggregations=["countDistinct modelName", "count modelName"])
    assert row == {"total": 6, "countDistinctModelName": 3, "countModelName": 4}


def test_r13_zero_and_minus_zero_are_one_value(ask: Ask) -> None:
    rows = [{"LatencyMs": latency} for latency in (0.0, -0.0, 1.0)]
    (row,) = ask(rows, aggregations=["countDistinct latencyMs"])
    assert row["countDistinctLatencyMs"] == 2


def test_r14_rates_divide_by_the_seconds_of_the_whole_bucket(ask: Ask) -> None:
    rows = [at("2026-07-01T00:30", InputTokens=n) for n in (1200, 2400, 7200, None)]
    asked = [f"{t} inputTokens" for t in ("rateSum", "rateAvg", "rateMin", "rateMax")]
    # Half an hour of window, an hour of bucket: 10,800, 3,600, 1,200 and 7,200 over 3,600 s.
    (row,) = ask(
        rows,
        interval="1 hour",
        aggregations=[*asked, "ratePerMinute inputTokens"],
        startTs="2026-07-01T00:15:00Z",
        endTs="2026-07-01T00:45:00Z",
    )
    assert row["rateSumInputTokens"] == 3.0
    assert row["rateAvgInputTokens"] == 1.0
    assert row["rateMinInputTokens"] == pytest.approx(1 / 3, rel=1e-12)
    assert row["rateMaxInputTokens"] == 2.0
    assert row["ratePerMinuteInputTokens"] == 180.0


def test_r14_a_calendar_month_has_its_real_length(ask: Ask) -> None:
    # 28 days of February 2026 are 40,320 minutes and 2,419,200 seconds; 29 of 2028 are 41,760.
    asked = ["ratePerMinute inputTokens", "rateSum inputTokens", "rateSum costInUSD"]
    rows = [at("2026-02-03", InputTokens=2_419_200), at("2028-02-03", InputTokens=41_760)]
    window = {"startTs": "2026-01-01T00:00:00Z", "endTs": "2029-01-01T00:00:00Z"}
    first, second = ask(rows, interval="1 month", aggregations=asked, **window)
    assert (first["ratePerMinuteInputTokens"], first["rateSumInputTokens"]) == (60.0, 1.0)
    assert second["ratePerMinuteInputTokens"] == 1.0
    assert first["rateSumCostInUSD"] is None


def test_r22_integers_stay_integers_whatever_their_size(ask: Ask) -> None:
    rows = [{"InputTokens": 2**63 - 1}] * 3
    (row,) = ask(rows, aggregations=["sum inputTokens", "max inputTokens", "avg inputTokens"])
    assert row["sumInputTokens"] == 3 * (2**63 - 1)
    assert type(row["sumInputTokens"]) is int
    assert row["maxInputTokens"] == 2**63 - 1
    assert row["avgInputTokens"] == 2.0**63


def test_r22_money_is_summed_in_full_precision(ask: Ask) -> None:
    rows = [{"CostInUSD": cost} for cost in [0.1] * 10]
    (row,) = ask(rows, aggregations=["sum costInUSD"])
    assert row["sumCostInUSD"] == 1.0


def test_r22_what_is_no_number_is_taken_as_null(ask: Ask) -> None:
    rows = [{"LatencyMs": latency} for latency in (5.0, math.nan, math.inf, -math.inf)]
    asked = [f"{t} latencyMs" for t in ("sum", "count", "countDistinct", "min", "max", "p50")]
    (row,) = ask(rows, aggregations=asked)
    assert list(row.values()) == [4, 5.0, 1, 1, 5.0, 5.0, 5.0]
    assert ask(rows, filters=[("latencyMs", "GREATER_THAN", 1)]) == [{"total": 1}]


def test_r22_a_sum_beyond_all_doubles_is_null_and_so_is_what_is_made_of_it(ask: Ask) -> None:
    rows = [{"LatencyMs": 1.7e308}] * 2
    asked = ["sum latencyMs", "avg latencyMs", "ratePerMinute latencyMs", "max latencyMs"]
    (row,) = ask(rows, aggregations=asked, interval="1 day")
    assert list(row.values())[2:] == [2, None, None, None, 1.7e308]


def test_r24_teams_are_counted_by_row_and_by_name(ask: Ask) -> None:
    asked = ["count team", "countDistinct team"]
    assert ask(TEAMS, aggregations=asked) == [{"total": 4, "countTeam": 2, "countDistinctTeam": 2}]


def test_r24_under_a_team_its_rows_are_counted_with_all_their_teams(ask: Ask) -> None:
    asked = ["count team", "countDistinct team"]
    assert ask(TEAMS, groupBy=["team"], aggregations=asked) == [
        {"team": "a", "total": 2, "countTeam": 2, "countDistinctTeam": 2},
        {"team": None, "total": 2, "countTeam": 0, "countDistinctTeam": 0},
        {"team": "b", "total": 1, "countTeam": 1, "countDistinctTeam": 2},
    ]


# --- R15, R23: order, and whose rows ---


def test_r15_a_distribution_is_by_total_then_keys_with_nulls_last(ask: Ask) -> None:
    rows = models("b", "b", "😀", WIDE_TILDE, "a", "Z", None, "")
    expected = ["b", "", "Z", "a", WIDE_TILDE, "😀", None]
    assert [row["modelName"] for row in ask(rows, groupBy=["modelName"])] == expected


def test_r15_numbers_and_booleans_are_ordered_as_such(ask: Ask) -> None:
    rows = [
        {"IsFailure": failed, "HttpStatusCode": status}
        for failed in (None, True, False)
        for status in (None, 1000, 200)
    ]
    found = ask(rows, datasource="agentMetrics", groupBy=["isFailure", "httpStatusCode"])
    assert [(row["isFailure"], row["httpStatusCode"]) for row in found] == [
        (failed, status) for failed in (False, True, None) for status in (200, 1000, None)
    ]


def test_r15_a_timeseries_is_by_bucket_first(ask: Ask) -> None:
    moments = ["2026-07-02", "2026-07-02", "2026-07-02", "2026-07-01", "2026-07-01"]
    rows = [at(moment, ModelName=name) for moment, name in zip(moments, "bbaab", strict=True)]
    found = ask(rows, interval="1 day", groupBy=["modelName"])
    assert [(row["startTimestamp"][:10], row["modelName"], row["total"]) for row in found] == [
        ("2026-07-01", "a", 1),
        ("2026-07-01", "b", 1),
        ("2026-07-02", "b", 2),
        ("2026-07-02", "a", 1),
    ]


@pytest.mark.parametrize(
    ("caller", "expected"),
    [
        (Caller("nobody", is_tenant_admin=True), 63),
        (Caller("bot"), 1),
        (Caller("bot", "virtualaccount"), 2),
        (Caller("bot", teams=frozenset({"a", "z"})), 1 + 4 + 8),
        (Caller("nobody", teams=frozenset({"z"})), None),
        (Caller("Bot"), None),
    ],
)
def test_r23_a_caller_sees_own_rows_and_those_of_own_teams(
    ask: Ask, caller: Caller, expected: int | None
) -> None:
    rows: list[dict[str, Any]] = [
        {"CreatedBySubjectSlug": "bot", "CreatedBySubjectType": "user", "Teams": None},
        {"CreatedBySubjectSlug": "bot", "CreatedBySubjectType": "virtualaccount", "Teams": []},
        {"CreatedBySubjectSlug": "ann", "CreatedBySubjectType": "user", "Teams": ["a", "b"]},
        {"CreatedBySubjectSlug": None, "CreatedBySubjectType": None, "Teams": ["a"]},
        {"CreatedBySubjectSlug": None, "CreatedBySubjectType": "user", "Teams": []},
        {"CreatedBySubjectSlug": "ann", "CreatedBySubjectType": "user", "Teams": ["b"]},
    ]
    weighed = [{**row, "InputTokens": 1 << n} for n, row in enumerate(rows)]
    (row,) = ask(weighed, caller=caller, aggregations=["sum inputTokens"])
    assert row["sumInputTokens"] == expected


def test_r23_a_team_shown_to_its_member_keeps_the_other_teams_of_its_rows(ask: Ask) -> None:
    caller = Caller("nobody", teams=frozenset({"a"}))
    assert ask(TEAMS, caller=caller, groupBy=["team"]) == [
        {"team": "a", "total": 2},
        {"team": "b", "total": 1},
    ]
