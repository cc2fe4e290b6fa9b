"""How a value is spelt is read and not guessed: the answer says what it took, and what it left."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

Row = dict[str, Any]
World = Any

NOON: Final = datetime(2026, 7, 10, 12, tzinfo=UTC)
WEEK: Final = {"startTs": "2026-07-06", "endTs": "2026-07-13"}
EXAMPLES: Final = min(1000, settings().max_examples)
CACHE: Final = {**WEEK, "datasource": "cacheMetrics", "aggregations": ["cacheHitRate"]}
STATUSES: Final = ("HIT", "Hit", "hit", " hits ", "miss", "MISS", "error", "white", "partial hit")
HITS: Final = ("HIT", "Hit", "hit", " hits ")


def lookups(*made: tuple[str, str | None]) -> list[Row]:
    return [
        {"CreatedAt": NOON, "ModelName": model, "CacheLookupStatus": status}
        for model, status in made
    ]


def spelling_of(text: str) -> str:
    (line,) = [line for line in text.split("\n") if line.startswith("# cacheHitRate = ")]
    return line.partition(" (taken: ")[2]


@pytest.mark.parametrize("group_by", [[], ["modelName"], ["cacheLookupStatus"]], ids=str)
def test_what_is_taken_and_left_is_said(world: World, group_by: list[str]) -> None:
    world.fill(lookups(("a", "HIT"), ("a", "Hit"), ("b", "miss"), ("b", "weird")))

    text = world.ask({**CACHE, "groupBy": group_by})

    assert spelling_of(text) == "HIT, Hit, not miss, weird)"


def test_unknown_spellings_alone_are_said_to_be_no_hits(world: World) -> None:
    world.fill(lookups(("a", "cache-served"), ("b", "miss")))

    text = world.ask({**CACHE, "groupBy": ["modelName"]})

    assert spelling_of(text) == "none of the values seen, not cache-served, miss)"
    assert text.endswith("ALL|2|0%")


@settings(max_examples=EXAMPLES)
@given(
    made=st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from([*STATUSES, None]))),
    group_by=st.sampled_from([[], ["modelName"]]),
)
def test_a_hit_is_one_in_whatever_case(
    world: World, made: list[tuple[str, str | None]], group_by: list[str]
) -> None:
    world.fill(lookups(*made))

    body = world.read({**CACHE, "groupBy": group_by})

    looked_up = [(model, status) for model, status in made if status is not None]  # R16

    def rate(statuses: list[str]) -> float | None:
        return sum(s in HITS for s in statuses) / len(statuses) if statuses else None

    whole = rate([status for _, status in looked_up])
    if not group_by:
        assert [row[-1] for row in body["rows"]] == [whole]
        return
    for model, total, got in body["rows"]:
        statuses = [status for name, status in looked_up if name == model]
        assert (total, got) == (len(statuses), rate(statuses))
    if body["all"] is not None:
        assert body["all"][1] == whole


@pytest.mark.parametrize(
    ("datasource", "table", "column", "measure", "values", "rate"),
    [
        (
            "guardrailMetrics",
            "gateway_guardrail_metrics",
            "GuardrailResult",
            "guardrailBlockRate",
            ["pass", "Fail", "BLOCKED", "error"],
            0.5,
        ),
        (
            "guardrailMetrics",
            "gateway_guardrail_metrics",
            "GuardrailResult",
            "guardrailErrorRate",
            ["pass", "Fail", "BLOCKED", "Error"],
            0.25,
        ),
        (
            "configMetrics",
            "gateway_config_metrics",
            "Status",
            "ruleFailureRate",
            ["success", "Failure", "blocked", "allowed", "fail"],
            0.6,
        ),
    ],
)
def test_other_results_are_read_in_whatever_case(
    world: World,
    datasource: str,
    table: str,
    column: str,
    measure: str,
    values: list[str],
    rate: float,
) -> None:
    world.fill([{"CreatedAt": NOON, column: value} for value in values], table)

    body = world.read({**WEEK, "datasource": datasource, "aggregations": [measure]})

    assert body["rows"] == [[len(values), rate]]
    assert any(note.startswith(f"{measure} = ") and "taken: " in note for note in body["notes"])


def test_tool_errors_need_a_catalog_that_has_them(world: World, tmp_path: Path) -> None:
    field = {"type": "boolean", "operators": "boolean", "tableColumn": "IsToolCallExecutionError"}
    catalog = tmp_path / "catalog.json"
    catalog.write_text(
        json.dumps(
            {"datasources": {"mcpMetrics": {"filters": {"isToolCallExecutionError": field}}}}
        )
    )
    made = [("tools/call", True), ("tools/call", False), ("tools/call", None), ("tools/list", True)]
    world.fill(
        [
            {"CreatedAt": NOON, "Method": method, "IsToolCallExecutionError": is_error}
            for method, is_error in made
        ],
        "gateway_mcp_metrics",
    )
    question = {**WEEK, "datasource": "mcpMetrics", "aggregations": ["toolCallErrorRate"]}

    with_it = world.read({**question, "groupBy": ["method"]}, catalog=catalog)
    without = world.refusal(question)

    assert {row[0]: row[2] for row in with_it["rows"]} == {"tools/call": 1 / 3, "tools/list": None}
    assert with_it["all"] == [4, 1 / 3]
    assert "toolCallErrorRate" in without
