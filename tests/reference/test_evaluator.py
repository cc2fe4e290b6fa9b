"""The reference evaluator against answers worked out by hand, each by its ruling (R1 to R24)."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from gateway_metrics_mcp.access import Caller

Ask = Callable[..., list[dict[str, Any]]]

EDGE: Final = timedelta(microseconds=1)

SUBJECTS: Final = [
    {"CreatedBySubjectSlug": "ann", "CreatedBySubjectType": "user", "InputTokens": 1},
    {"CreatedBySubjectSlug": "bot", "CreatedBySubjectType": "user", "InputTokens": 2},
    {"CreatedBySubjectSlug": "bot", "CreatedBySubjectType": "virtualaccount", "InputTokens": 4},
    {"CreatedBySubjectSlug": None, "CreatedBySubjectType": "user", "InputTokens": 8},
    {"CreatedBySubjectSlug": None, "CreatedBySubjectType": "virtualaccount", "InputTokens": 16},
    {"CreatedBySubjectSlug": "bot", "CreatedBySubjectType": None, "InputTokens": 32},
    {"CreatedBySubjectSlug": "ann", "CreatedBySubjectType": None, "InputTokens": 64},
]
"""Every subset has a sum of its own."""

TEAMS: Final = [
    {"Teams": ["a", "b"], "InputTokens": 1},
    {"Teams": ["a", "a"], "InputTokens": 2},
    {"Teams": [], "InputTokens": 4},
    {"Teams": None, "InputTokens": 8},
]

TEXTS: Final = ["100%", "100_", "1000", "gpt", "GPT", "", None]

WIDE_TILDE: Final = "\uff5e"
"""Before the emoji by code point, after them by UTF-16."""

LATENCIES: Final = [10.0, 20.0, 30.0, 40.0]


def models(*names: str | None) -> list[dict[str, Any]]:
    return [{"ModelName": name} for name in names]


def at(text: str, **columns: Any) -> dict[str, Any]:
    return {"CreatedAt": datetime.fromisoformat(text).replace(tzinfo=UTC), **columns}


# --- R1 to R4: nothing, and buckets ---


def test_r1_an_ungrouped_distribution_of_nothing_is_one_row(ask: Ask) -> None:
    asked = ["sum inputTokens", "count inputTokens", "countDistinct modelName", "p50 latencyMs"]
    assert ask([], aggregations=asked) == [
        {
            "total": 0,
            "sumInputTokens": None,
            "countInputTokens": 0,
            "countDistinctModelName": 0,
            "p50LatencyMs": None,
        }
    ]


def test_r1_nothing_is_also_what_no_filter_lets_through(ask: Ask) -> None:
    never = ("modelName", "EQUAL", "other")
    asked = ["max latencyMs", "count team"]
    expected = [{"total": 0, "maxLatencyMs": None, "countTeam": 0}]
    assert ask(models("gpt"), aggregations=asked, filters=[never]) == expected


def test_r2_a_grouped_question_to_nothing_has_no_rows(ask: Ask) -> None:
    assert ask([], groupBy=["modelName"]) == []
    assert ask([], groupBy=["team"]) == []


def test_r3_a_bucket_without_rows_is_not_returned(ask: Ask) -> None:
    rows = [at("2026-07-01T00:30"), at("2026-07-01T02:30")]
    assert ask([], interval="1 hour") == []
    assert [row["startTimestamp"] for row in ask(rows, interval="1 hour")] == [
        "2026-07-01T00:00:00.000Z",
        "2026-07-01T02:00:00.000Z",
    ]


@pytest.mark.parametrize(
    ("interval", "start", "end"),
    [
        # 2026-07-08 is day 20,642 = 7 x 2,948 + 6 = 3 x 6,880 + 2; 13:00 is hour 495,421,
        # 13:45 minute 29,725,305 and 13:45:30 second 1,783,518,330 = 7 x 254,788,332 + 6.
        # July 2026 is month 678 = 5 x 135 + 3.
        ("7 seconds", "2026-07-08T13:45:24", "2026-07-08T13:45:31"),
        ("25 minutes", "2026-07-08T13:40:00", "2026-07-08T14:05:00"),
        ("5 hours", "2026-07-08T12:00:00", "2026-07-08T17:00:00"),
        ("1 day", "2026-07-08T00:00:00", "2026-07-09T00:00:00"),
        ("3 days", "2026-07-06T00:00:00", "2026-07-09T00:00:00"),
        ("7 days", "2026-07-02T00:00:00", "2026-07-09T00:00:00"),
        ("1 week", "2026-07-06T00:00:00", "2026-07-13T00:00:00"),
        ("1 month", "2026-07-01T00:00:00", "2026-08-01T00:00:00"),
        ("5 months", "2026-04-01T00:00:00", "2026-09-01T00:00:00"),
        ("1 year", "2026-01-01T00:00:00", "2027-01-01T00:00:00"),
        ("10 years", "2020-01-01T00:00:00", "2030-01-01T00:00:00"),
    ],
)
def test_r4_buckets_are_counted_from_1970_and_weeks_from_its_first_monday(
    ask: Ask, interval: str, start: str, end: str
) -> None:
    (row,) = ask([at("2026-07-08T13:45:30")], interval=interval)
    assert row == {"startTimestamp": f"{start}.000Z", "endTimestamp": f"{end}.000Z", "total": 1}


def test_r4_only_rows_inside_the_window_count_in_its_partial_buckets(ask: Ask) -> None:
    start, end = at("2026-07-01T00:30")["CreatedAt"], at("2026-07-01T01:30")["CreatedAt"]
    moments = [start - EDGE, start, end - EDGE, end]
    rows = [{"CreatedAt": moment, "InputTokens": 1 << n} for n, moment in enumerate(moments)]
    window = {"startTs": "2026-07-01T00:30:00Z", "endTs": "2026-07-01T01:30:00Z"}
    assert ask(rows, aggregations=["sum inputTokens"], interval="1 hour", **window) == [
        {
            "startTimestamp": "2026-07-01T00:00:00.000Z",
            "endTimestamp": "2026-07-01T01:00:00.000Z",
            "total": 1,
            "sumInputTokens": 2,
        },
        {
            "startTimestamp": "2026-07-01T01:00:00.000Z",
            "endTimestamp": "2026-07-01T02:00:00.000Z",
            "total": 1,
            "sumInputTokens": 4,
        },
    ]


# --- R5 to R8, R16: groups, subjects, the cache ---


def test_r5_a_row_counts_once_in_each_of_its_teams_and_without_one_in_null(ask: Ask) -> None:
    assert ask(TEAMS, groupBy=["team"], aggregations=["sum inputTokens"]) == [
        {"team": "a", "total": 2, "sumInputTokens": 3},
        {"team": None, "total": 2, "sumInputTokens": 12},
        {"team": "b", "total": 1, "sumInputTokens": 1},
    ]


def test_r5_a_null_in_the_list_of_teams_is_no_team(ask: Ask) -> None:
    rows = [{"Teams": [None, "a"]}, {"Teams": [None]}, {"Teams": ["a"]}]
    assert ask(rows, groupBy=["team"]) == [{"team": "a", "total": 2}, {"team": None, "total": 1}]
    asked = ["count team", "countDistinct team"]
    assert ask(rows, aggregations=asked) == [{"total": 3, "countTeam": 2, "countDistinctTeam": 1}]


def test_r6_a_metadata_group_is_named_as_asked_and_null_without_the_key(ask: Ask) -> None:
    rows = [
        {"Metadata": {"cost.center": "x", "cost": "y"}},
        {"Metadata": {"cost": "y"}},
        {"Metadata": None},
    ]
    assert ask(rows, groupBy=["metadata.cost.center"]) == [
        {"metadata.cost.center": None, "total": 2},
        {"metadata.cost.center": "x", "total": 1},
    ]


@pytest.mark.parametrize(
    ("group_by", "expected"),
    [
        (["userEmail"], {"ann": 1, "bot": 2, None: 8}),
        (["virtualaccount"], {"bot": 4, None: 16}),
        (["userEmail", "virtualaccount"], {"ann": 65, "bot": 38, None: 24}),
    ],
)
def test_r7_one_subject_group_keeps_its_kind_and_both_keep_all_rows_under_one_key(
    ask: Ask, group_by: list[str], expected: dict[str | None, int]
) -> None:
    rows = ask(SUBJECTS, groupBy=group_by, aggregations=["sum inputTokens"])
    assert all(set(r) == {"createdBySubjectSlug", "total", "sumInputTokens"} for r in rows)
    assert {r["createdBySubjectSlug"]: r["sumInputTokens"] for r in rows} == expected


@pytest.mark.parametrize(
    ("field", "operator", "value", "expected"),
    [
        ("userEmail", "EQUAL", "bot", 2),
        ("virtualAccount", "IN", ["ann", "bot"], 4),
        ("userEmail", "STRING_CONTAINS", "", 1 + 2),
        ("userEmail", "GREATER_THAN", "ann", 2),
        # Negative: not (the slug matches and the subject is of that kind). Unknown, and so out:
        # the user without a slug, and the slug that matches where the kind is not known.
        ("userEmail", "NOT_EQUAL", "bot", 1 + 4 + 16 + 64),
        ("virtualAccount", "NOT_IN", ["bot"], 1 + 2 + 8 + 64),
        ("userEmail", "STRING_NOT_STARTS_WITH", "a", 2 + 4 + 16 + 32),
    ],
)
def test_r8_a_subject_filter_asks_for_its_kind_and_a_negative_one_negates_the_whole(
    ask: Ask, field: str, operator: str, value: Any, expected: int
) -> None:
    (row,) = ask(SUBJECTS, aggregations=["sum inputTokens"], filters=[(field, operator, value)])
    assert row["sumInputTokens"] == expected


def test_r16_cache_metrics_are_the_rows_with_a_lookup_status(ask: Ask) -> None:
    rows = [{"CacheLookupStatus": status} for status in ("hit", "", None)]
    assert ask(rows, datasource="cacheMetrics") == [{"total": 2}]
    assert ask(rows, datasource="modelMetrics") == [{"total": 3}]


# --- R9 to R11: filters ---


@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [
        ("NOT_EQUAL", "gpt", {"100%", "100_", "1000", "GPT", ""}),
        ("NOT_IN", ["gpt", "GPT"], {"100%", "100_", "1000", ""}),
        ("STRING_NOT_CONTAINS", "0", {"gpt", "GPT", ""}),
        ("STRING_NOT_ENDS_WITH", "T", {"100%", "100_", "1000", "gpt", ""}),
        ("IS_NULL", True, {None}),
        ("IS_NULL", False, {"100%", "100_", "1000", "gpt", "GPT", ""}),
    ],
)
def test_r9_a_null_is_reached_by_is_null_alone(
    ask: Ask, operator: str, value: Any, expected: set[str | None]
) -> None:
    rows = [{"VirtualModelName": text} for text in TEXTS]
    found = ask(rows, groupBy=["virtualModel"], filters=[("virtualModelName", operator, value)])
    assert {row["virtualModelName"] for row in found} == expected


@pytest.mark.parametrize(
    ("operator", "expected"), [("ARRAY_HAS_ANY", 1), ("ARRAY_HAS_NONE", 2 + 4 + 8)]
)
def test_r9_has_none_of_the_teams_takes_a_null_array_as_empty(
    ask: Ask, operator: str, expected: int
) -> None:
    given = ("team", operator, ["b", "c"])
    (row,) = ask(TEAMS, aggregations=["sum inputTokens"], filters=[given])
    assert row["sumInputTokens"] == expected


def test_r9_a_negative_filter_on_metadata_does_not_reach_a_missing_key(ask: Ask) -> None:
    rows = [{"Metadata": {"env": "prod"}}, {"Metadata": {"env": "dev"}}, {"Metadata": {}}]
    assert ask(rows, filters=[("metadata.env", "NOT_EQUAL", "prod")]) == [{"total": 1}]


@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [
        ("STRING_CONTAINS", "%", {"100%"}),
        ("STRING_ENDS_WITH", "0_", {"100_"}),
        ("STRING_STARTS_WITH", "100", {"100%", "100_", "1000"}),
        ("STRING_STARTS_WITH", "g", {"gpt"}),
        ("STRING_CONTAINS", "", {"100%", "100_", "1000", "gpt", "GPT", ""}),
        ("EQUAL", "", {""}),
        ("IN", ["", "GPT"], {"", "GPT"}),
    ],
)
def test_r10_text_is_case_sensitive_and_wildcards_are_plain(
    ask: Ask, operator: str, value: Any, expected: set[str]
) -> None:
    found = ask(models(*TEXTS), groupBy=["modelName"], filters=[("modelName", operator, value)])
    assert {row["modelName"] for row in found} == expected


@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [
        # U+005A, U+0061, U+00E9, U+FF5E, U+1F600.
        ("GREATER_THAN", "a", {"é", WIDE_TILDE, "😀"}),
        ("GREATER_THAN_EQUAL", WIDE_TILDE, {WIDE_TILDE, "😀"}),
        ("LESS_THAN", "a", {"Z", ""}),
        ("LESS_THAN_EQUAL", "a", {"Z", "a", ""}),
    ],
)
def test_r10_older_text_comparisons_are_by_code_point(
    ask: Ask, operator: str, value: str, expected: set[str]
) -> None:
    rows = models("Z", "a", "é", WIDE_TILDE, "😀", "", None)
    found = ask(rows, groupBy=["modelName"], filters=[("modelName", operator, value)])
    assert {row["modelName"] for row in found} == expected


def test_r11_between_takes_in_both_ends_of_numbers_and_of_text(ask: Ask) -> None:
    rows = [{"LatencyMs": latency} for latency in (9.5, 10.0, 15.0, 20.0, 20.5, None)]
    assert ask(rows, filters=[("latencyMs", "BETWEEN", [10, 20])]) == [{"total": 3}]
    names = models("a", "b", "ba", "c", "ca")
    assert ask(names, filters=[("modelName", "BETWEEN", ["b", "c"])]) == [{"total": 3}]


def test_filters_compare_integers_with_integers_exactly(ask: Ask) -> None:
    rows = [{"InputTokens": 2**53 + n} for n in range(3)]
    assert ask(rows, filters=[("inputTokens", "EQUAL", 2**53 + 1)]) == [{"total": 1}]
    assert ask(rows, filters=[("inputTokens", "GREATER_THAN", 2**53)]) == [{"total": 2}]
    assert ask(rows, filters=[("inputTokens", "BETWEEN", [0, 2**53 + 1])]) == [{"total": 2}]


def test_filters_compare_numbers_of_two_kinds_as_doubles(ask: Ask) -> None:
    # 2^53 + 1 has no double of its own: the nearest is 2^53.
    rows = [{"LatencyMs": latency} for latency in (2.0**53, 2.0**53 + 2)]
    assert ask(rows, filters=[("latencyMs", "EQUAL", 2**53 + 1)]) == [{"total": 1}]
    assert ask(rows, filters=[("latencyMs", "BETWEEN", [2**53 + 1, 1e300])]) == [{"total": 2}]
    tokens = [{"InputTokens": 2**53 + n} for n in range(3)]
    assert ask(tokens, filters=[("inputTokens", "LESS_THAN_EQUAL", 2.0**53)]) == [{"total": 2}]
    assert ask(tokens, filters=[("inputTokens", "LESS_THAN", 2**53 + 1.5)]) == [{"total": 2}]


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
