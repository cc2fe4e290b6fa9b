"""How a value is spelt is read and not guessed: the answer says what it took, and what it left."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

Row = dict[str, Any]
World = Any

NOON: Final = datetime(2026, 7, 10, 12, tzinfo=UTC)
WEEK: Final = {"startTs": "2026-07-06", "endTs": "2026-07-13"}
CACHE: Final = {**WEEK, "datasource": "cacheMetrics", "aggregations": ["cacheHitRate"]}
STATUSES: Final = ("HIT", "Hit", "hit", " hits ", "miss", "MISS", "error", "white", "partial hit")
HITS: Final = ("HIT", "Hit", "hit", " hits ")
KNOWN_OTHERS: Final = ("miss", "MISS", "error")


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


FORMULA: Final = "# cacheHitRate = total where cacheLookupStatus is a hit / total"


def test_unknown_spellings_alone_are_not_told_apart_from_no_hits(world: World) -> None:
    world.fill(lookups(("a", "cache-served"), ("b", "miss")))

    text = world.ask({**CACHE, "groupBy": ["modelName"]})

    seen = "unknown among the values seen: cache-served"
    assert f"\n{FORMULA} (n/a: {seen})\n" in text
    assert text.endswith("\na|1|n/a\nb|1|n/a\nALL|2|n/a")


def test_known_words_for_something_else_alone_are_no_hits(world: World) -> None:
    world.fill(lookups(("a", "Error"), ("b", "miss"), ("b", " MISS ")))

    text = world.ask({**CACHE, "groupBy": ["modelName"]})

    assert spelling_of(text) == 'none of the values seen, not " MISS ", Error, miss)'
    assert text.endswith("\na|1|0%\nb|2|0%\nALL|3|0%")


def test_one_known_hit_tells_the_unknown_apart(world: World) -> None:
    world.fill(lookups(("a", "cache-served"), ("b", "hit")))

    text = world.ask({**CACHE, "groupBy": ["modelName"]})

    assert spelling_of(text) == "hit, not cache-served)"
    assert text.endswith("\nb|1|100.0%\na|1|0%\nALL|2|50.0%")


@pytest.mark.parametrize(
    ("values", "said", "rate"),
    [
        (["Fail", None], "(taken: Fail, not null)", "50.0%"),
        (["pass", None], "(taken: none of the values seen, not pass, null)", "0%"),
        (["odd", None], "(n/a: all values seen are unknown: odd, null)", "n/a"),
        ([None, None], "(taken: none of the values seen, not null)", "null"),
        (["null", "fail"], '(taken: fail, not "null")', "50.0%"),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("datasource", "table", "column", "measure"),
    [
        (
            "guardrailMetrics",
            "gateway_guardrail_metrics",
            "GuardrailResult",
            "guardrailBlockRate",
        ),
        ("configMetrics", "gateway_config_metrics", "Status", "ruleFailureRate"),
    ],
    ids=["guardrails", "rules"],
)
def test_null_among_the_spellings_is_no_word(
    world: World,
    datasource: str,
    table: str,
    column: str,
    measure: str,
    values: list[str | None],
    said: str,
    rate: str,
) -> None:
    world.fill([{"CreatedAt": NOON, column: value} for value in values], table)

    text = world.ask({**WEEK, "datasource": datasource, "aggregations": [measure]})

    assert f"# {measure} = " in text
    assert f" / total {said}\n" in text
    assert text.endswith(f"\n{measure}: {rate}")


@pytest.mark.parametrize(
    ("now", "before", "said", "rates"),
    [
        (["hit", "miss"], ["miss", "hit"], "(taken: hit, not miss)", ["50.0%", "50.0%"]),
        (["hit", "miss"], [], "(taken: hit, not miss)", ["50.0%", "null"]),
        (
            ["hit", "miss"],
            ["served"],
            (
                "(taken: hit, not miss) in the later window,"
                " (n/a: all values seen are unknown: served) in the earlier window"
            ),
            ["50.0%", "n/a"],
        ),
        (
            ["served"],
            ["hit"],
            (
                "(n/a: all values seen are unknown: served) in the later window,"
                " (taken: hit) in the earlier window"
            ),
            ["n/a", "100.0%"],
        ),
        (
            ["hit"],
            ["Hit"],
            "(taken: hit) in the later window, (taken: Hit) in the earlier window",
            ["100.0%", "100.0%"],
        ),
    ],
    ids=str,
)
def test_a_comparison_says_of_which_window_the_spellings_are(
    world: World, now: list[str], before: list[str], said: str, rates: list[str]
) -> None:
    rows = lookups(*(("a", status) for status in now))
    earlier = lookups(*(("a", status) for status in before))
    world.fill([*rows, *({**row, "CreatedAt": NOON.replace(day=3)} for row in earlier)])

    text = world.ask({**CACHE, "compareTo": "1 week"})

    assert f"\n{FORMULA} {said}\n" in text
    assert f"\ncacheHitRate: {rates[0]}\ncacheHitRate_before: {rates[1]}\n" in text


def test_two_rates_of_one_field_share_their_questions(world: World) -> None:
    week_before = NOON.replace(day=3)
    made = [(NOON, "x", "fail"), (NOON, "x", "pass"), (NOON, "y", "error"), (NOON, "x", "pass")]
    made += [(week_before, "x", "error"), (week_before, "x", "fail")]
    world.fill(
        [{"CreatedAt": at, "GuardrailName": name, "GuardrailResult": r} for at, name, r in made],
        "gateway_guardrail_metrics",
    )
    question = {**WEEK, "datasource": "guardrailMetrics", "groupBy": ["guardrailName"]}
    asked = ["guardrailBlockRate", "guardrailErrorRate"]

    body = world.read({**question, "aggregations": asked, "compareTo": "1 week"})

    assert world.recorder.calls == len({*world.recorder.sent}) == 6
    places = [body["columns"].index(name) for name in (*asked, *(f"{n}_before" for n in asked))]
    rates = {row[0]: [row[i] for i in places] for row in body["rows"]}
    assert rates == {"x": [1 / 3, 0, 0.5, 0.5], "y": [0, 1, None, None]}


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

    seen = {status for _, status in looked_up}
    is_known = bool(seen & {*HITS}) or seen <= {*KNOWN_OTHERS}

    def rate(statuses: list[str]) -> float | None:
        if not is_known or not statuses:
            return None
        return sum(s in HITS for s in statuses) / len(statuses)

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
