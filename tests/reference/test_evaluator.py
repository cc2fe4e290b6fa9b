"""The reference evaluator's buckets and groups, worked out by hand: R1 to R8, and R16."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

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
