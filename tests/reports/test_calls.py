"""No tool call takes more calls to the backend than the setting allows: six by default."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

import pytest
from hypothesis import example, given, note
from hypothesis import strategies as st

World = Any

WEEK: Final = {"startTs": "2026-07-06", "endTs": "2026-07-13"}
START: Final = datetime(2026, 6, 29, tzinfo=UTC)

ASKED: Final = (
    "sum costInUSD",
    "p95 latencyMs",
    "share",
    "errorRate",
    "costPerMillionTokens",
    "outputTokensPerSecond",
    "costPerRequest",
)
FILTERS: Final = (
    {"fieldName": "modelName", "operator": "IN", "value": ["gpt", "gbt"]},
    {"fieldName": "team", "operator": "ARRAY_HAS_ANY", "value": ["red", "rad"]},
    {"fieldName": "metadata.Env", "operator": "IN", "value": ["prod", "prd"]},
    {"fieldName": "metadata.env", "operator": "IN", "value": ["prod", "prd"]},
    {"fieldName": "requestType", "operator": "EQUAL", "value": ["Chad"]},
    {"fieldName": "userEmail", "operator": "IN", "value": ["ada", "adda"]},
)
GROUPS: Final = ("modelName", "team", "userEmail", "metadata.env", "metadata.Env")


@pytest.fixture(scope="module", autouse=True)
def _fill(world: World) -> None:
    chance = Random(1)  # noqa: S311 - no secret
    world.fill(
        [
            {
                "CreatedAt": START + timedelta(hours=n),
                "ModelName": chance.choice(["gpt", "claude", None]),
                "RequestType": "Chat",
                "InputTokens": n,
                "OutputTokens": n,
                "CostInUSD": chance.choice([None, 0.5]),
                "LatencyMs": chance.choice([None, 5.0]),
                "IsFailure": chance.choice([True, False]),
                "CreatedBySubjectSlug": "ada",
                "CreatedBySubjectType": "user",
                "Teams": chance.choice([["red"], ["red", "blue"], None]),
                "Metadata": chance.choice([{"env": "prod"}, {}]),
            }
            for n in range(14 * 24)
        ]
    )


ARGUMENTS: Final = st.fixed_dictionaries(
    {
        "groupBy": st.lists(st.sampled_from(GROUPS), max_size=2, unique=True),
        "aggregations": st.lists(st.sampled_from(ASKED), max_size=5, unique=True),
        "filters": st.lists(st.sampled_from(FILTERS), max_size=3, unique_by=repr),
    },
    optional={
        "interval": st.sampled_from(["", "1 day", "1 hour"]),
        "compareTo": st.just("1 week"),
        "timezone": st.sampled_from(["Asia/Tokyo", "UTC"]),
        "limit": st.just(1),
    },
)
WORST: Final = {
    "groupBy": ["team", "metadata.Env"],
    "aggregations": ["sum costInUSD", "costPerMillionTokens"],
    "filters": [*FILTERS[:2]],
    "compareTo": "1 week",
}


def is_by_days(arguments: dict[str, Any]) -> bool:
    """Whether each local day can be a question of its own: what does not add up over hours."""
    return arguments.get("timezone") == "Asia/Tokyo" and arguments.get("interval") == "1 day"


@given(arguments=ARGUMENTS.filter(lambda a: not is_by_days(a)), most=st.integers(4, 8))
@example(arguments=WORST, most=6)
@example(
    arguments={**WORST, "groupBy": ["metadata.Env"], "aggregations": ["sum costInUSD"]}, most=6
)
@example(arguments={**WORST, "filters": [FILTERS[2], FILTERS[4]]}, most=6)
@example(arguments={**WORST, "compareTo": None, "aggregations": [*ASKED]}, most=6)
def test_no_answer_takes_more_calls_than_allowed(
    world: World, arguments: dict[str, Any], most: int
) -> None:
    if "interval" in arguments:
        arguments = {k: v for k, v in arguments.items() if k != "compareTo"}

    text, is_error = world.call({**WEEK, **arguments}, calls=most)
    note(text)

    assert world.recorder.calls <= most
    if is_error:
        assert "upstream calls, the limit is" in text
        assert world.recorder.calls <= ("interval" in arguments)


@pytest.mark.parametrize("asked", [["p95 latencyMs"], ["p95 latencyMs", "errorRate", "share"]])
def test_local_days_that_do_not_add_up_are_asked_at_most_a_month_of_them(
    world: World, asked: list[str]
) -> None:
    question = {"startTs": "2026-06-12", "endTs": "2026-07-12", "timezone": "Asia/Tokyo"}

    world.ask({**question, "interval": "1 day", "groupBy": ["modelName"], "aggregations": asked})

    assert world.recorder.calls <= 31 + 6


@pytest.mark.parametrize(
    "arguments",
    [
        {"datasource": "modelMetrics", "field": "modelName", **WEEK},
        {"datasource": "modelMetrics", "field": "team", "search": "re", **WEEK},
        {"datasource": "modelMetrics", "field": "userEmail", **WEEK},
        {"datasource": "modelMetrics", "field": "metadata", **WEEK},
        {"datasource": "modelMetrics", "field": "metadata.Env", **WEEK},
    ],
    ids=lambda a: f"{a['field']} {a.get('search', '')}",
)
def test_a_list_of_values_takes_no_more(world: World, arguments: dict[str, Any]) -> None:
    world.ask(arguments, tool="list_values")

    assert world.recorder.calls <= 6


def test_what_takes_too_many_calls_names_how_to_ask_it(world: World) -> None:
    asked = ["errorRate", "costPerMillionTokens", "outputTokensPerSecond"]
    question = {**WEEK, "groupBy": ["modelName"], "compareTo": "1 week", "aggregations": asked}

    text = world.refusal(question)

    assert f"Ask {', '.join(asked)} without compareTo, or in separate calls" in text
    assert world.recorder.calls == 0
    world.ask({**question, "compareTo": None})
    for measure in asked:
        world.ask({**question, "aggregations": [measure]})
