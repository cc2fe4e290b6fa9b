"""A percentile of few values is shown with their number, unless `total` says it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import pytest

Row = dict[str, Any]
World = Any

WEEK: Final = {"startTs": "2026-07-06", "endTs": "2026-07-13"}
NOON: Final = datetime(2026, 7, 10, 12, tzinfo=UTC)


def latencies(model: str, values: Sequence[float | None]) -> list[Row]:
    return [{"CreatedAt": NOON, "ModelName": model, "LatencyMs": value} for value in values]


P95: Final = {**WEEK, "groupBy": ["modelName"], "aggregations": ["p95 latencyMs"]}


def columns_of(text: str) -> list[str]:
    return next(line for line in text.split("\n") if not line.startswith("#")).split("|")


@pytest.mark.parametrize(
    ("present", "absent", "is_shown"),
    [(99, 1, True), (99, 0, False), (100, 0, False), (100, 50, False), (0, 3, True), (1, 1, True)],
)
def test_the_count_stands_beside_a_percentile_of_few(
    world: World, present: int, absent: int, *, is_shown: bool
) -> None:
    world.fill(
        latencies("gpt", [*map(float, range(present)), *[None] * absent])
        + latencies("claude", [1.0] * 500)
    )

    body = world.read(P95)

    assert ("countLatencyMs" in body["columns"]) == is_shown
    rows = {row[0]: row[1:] for row in body["rows"]}
    assert rows["gpt"][0] == present + absent
    if is_shown:
        assert body["columns"] == ["modelName", "total", "p95LatencyMs", "countLatencyMs"]
        assert rows["gpt"][2] == present
        assert rows["claude"][2] == 500
        assert body["all"][2] == present + 500
    assert columns_of(world.ask(P95)) == body["columns"]


def test_a_count_that_was_asked_stands_once(world: World) -> None:
    world.fill(latencies("gpt", [1.0, None]) + latencies("claude", [1.0]))

    asked = ["p95 latencyMs", "count latencyMs", "p50 latencyMs"]
    body = world.read({**P95, "aggregations": asked})

    names = ["total", "p95LatencyMs", "countLatencyMs", "p50LatencyMs"]
    assert body["columns"][1:] == names


def test_two_percentiles_of_one_column_share_their_count(world: World) -> None:
    world.fill(latencies("gpt", [1.0, None]) + latencies("claude", [1.0]))

    body = world.read({**P95, "aggregations": ["p95 latencyMs", "p50 latencyMs"]})

    assert body["columns"].count("countLatencyMs") == 1


def test_buckets_of_few_values_show_their_number(world: World) -> None:
    world.fill(latencies("gpt", [1.0, 2.0, None]))
    question = {**WEEK, "interval": "1 day", "aggregations": ["p95 latencyMs"]}

    body = world.read(question)

    assert body["columns"] == ["startTimestamp", "total", "p95LatencyMs", "countLatencyMs"]
    assert [row[1:] for row in body["rows"]] == [[3, 1.95, 2]]
