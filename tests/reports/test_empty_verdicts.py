"""Empty is not zero: why nothing matched, found out by one probe and no more calls than allowed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import pytest
from tests.reports.four_models import (
    GROUPED,
    NAMES,
    NOON,
    REAL,
    VIRTUAL,
    WEEK,
    World,
    body_of,
    call,
    probes,
    where,
)

from gateway_metrics_mcp.query.model import Caller
from gateway_metrics_mcp.rendering.document import estimate_tokens

OUTSIDER: Final = Caller("eve@example.com", "user", frozenset({"black"}))


@pytest.fixture(autouse=True)
def _fill(world: World) -> None:
    world.fill([call(name) for name in NAMES for _ in range(2)])


@GROUPED
def test_no_traffic_is_said_to_be_none(world: World, group_by: list[str]) -> None:
    text = world.ask({"startTs": "2026-05", "groupBy": group_by})

    assert body_of(text)[0].startswith("no traffic in this window")
    assert "total: 0" not in text
    assert [query.filters for query in probes(world)] == [()]
    assert world.recorder.calls <= 3


@GROUPED
def test_no_traffic_is_found_out_also_with_a_filter(world: World, group_by: list[str]) -> None:
    filters = where(("modelName", "IN", ["openai/gpt-4o"]))

    text = world.ask({"startTs": "2026-05", "groupBy": group_by, "filters": filters})

    assert body_of(text)[0].startswith("no traffic in this window")
    assert "did you mean" not in text
    assert [query.filters for query in probes(world)] == [(REAL,)]


def test_values_that_exist_but_not_together_are_said_to(world: World) -> None:
    world.fill([call("gpt"), call("claude", "bob@example.com")])
    filters = where(("modelName", "IN", ["gpt"]), ("userEmail", "IN", ["bob@example.com"]))

    text = world.ask({**WEEK, "filters": filters})

    assert "has no rows" not in text
    assert body_of(text)[-1] == "# next: drop modelName or userEmail: rows match without one"
    assert "; without the filters 2 do" in text
    assert (REAL,) in [query.filters for query in probes(world)]


def test_a_metadata_key_that_no_row_has_is_said_of_groups_too(world: World) -> None:
    text = world.ask({**WEEK, "groupBy": ["metadata.environment"]})

    assert "none of these rows has the metadata key environment: did you mean env?" in text


def test_rows_whose_column_is_null_are_rows(world: World) -> None:
    text = world.ask({**WEEK, "groupBy": ["modelName"], "aggregations": ["sum costInUSD"]})

    assert "# costInUSD is null in all of these rows: not recorded (not 0)" in text
    assert "no traffic" not in text
    assert "openai/gpt-4o|2|null" in text


def test_a_measure_of_no_calls_is_not_said_to_be_not_recorded(world: World) -> None:
    world.fill([call("gpt", OutputTokens=0, LatencyMs=5.0)])

    text = world.ask({**WEEK, "aggregations": ["outputTokensPerSecond"]})

    said = "# outputTokensPerSecond is null in all of these rows: its formula lacks a value"
    assert said in text
    assert "not recorded" not in text


def test_a_column_that_some_row_has_is_not_said_to_be_missing(world: World) -> None:
    world.fill([call("gpt"), call("claude", CostInUSD=0.0)])

    text = world.ask({**WEEK, "groupBy": ["modelName"], "aggregations": ["sum costInUSD"]})

    assert "null in all" not in text
    assert "\nclaude|1|0\n" in text


@GROUPED
@pytest.mark.parametrize("filters", [[], where(("modelName", "IN", ["openai/gpt-4o"]))])
def test_what_this_token_may_not_see_is_not_said_to_be_nothing(
    world: World, group_by: list[str], filters: list[dict[str, Any]]
) -> None:
    question = {**WEEK, "groupBy": group_by, "filters": filters}

    hidden = world.ask_as(OUTSIDER, question)

    assert "visible to this token" in body_of(hidden)[0]
    assert "no traffic" not in hidden
    assert not [name for name in NAMES[1:] if name in hidden]
    assert {caller.subject for caller in world.recorder.callers} == {OUTSIDER.subject}


def test_groups_of_the_other_kind_of_subject_are_not_no_traffic(world: World) -> None:
    text = world.ask({**WEEK, "groupBy": ["virtualaccount"]})

    assert body_of(text)[0].startswith("no groups: none of the 8 rows here")
    assert body_of(text)[1:] == ["# rows are virtual accounts only; other callers are excluded"]


@pytest.mark.parametrize("interval", ["1 day", "1 hour"])
def test_a_timeseries_of_nothing_says_why(world: World, interval: str) -> None:
    filters = where(("modelName", "IN", ["openai/gpt-4"]))

    text = world.ask({**WEEK, "interval": interval, "filters": filters})

    assert "did you mean " in text
    assert [query.filters for query in probes(world)] == [(REAL,)]


def test_a_comparison_of_nothing_says_why(world: World) -> None:
    filters = where(("modelName", "IN", ["openai/gpt-4"]))

    text = world.ask({**WEEK, "compareTo": "1 week", "filters": filters, "groupBy": ["modelName"]})

    assert "did you mean " in text
    assert world.recorder.calls <= 6


def test_a_comparison_is_probed_over_both_windows(world: World) -> None:
    earlier = NOON.replace(day=1)
    world.fill([call("gpt-4o") | {"CreatedAt": earlier}])
    question = {**WEEK, "compareTo": "1 week"}

    text = world.ask({**question, "filters": where(("modelName", "IN", ["gpt-4"]))})

    assert '# modelName "gpt-4" has no rows: did you mean gpt-4o?' in text
    assert "; without the filters 1 do" in text
    (probe,) = probes(world)
    assert (probe.start_ts, probe.end_ts) == (
        datetime(2026, 6, 29, tzinfo=UTC),
        datetime(2026, 7, 13, tzinfo=UTC),
    )


APART: Final = {**WEEK, "compareTo": "2026-05-04..2026-05-10"}


def test_rows_between_two_windows_are_in_neither(world: World) -> None:
    days = [NOON, NOON, NOON.replace(month=5, day=5), *[NOON.replace(month=6)] * 5]
    world.fill([call("mistral" if at.month == 6 else "gpt") | {"CreatedAt": at} for at in days])
    asked = {**APART, "aggregations": ["sum costInUSD"]}

    text = world.ask({**asked, "filters": where(("modelName", "EQUAL", ["mistral"]))})

    counted = "(rows are model calls, retries included)"
    assert body_of(text)[0] == (
        f'no rows in either window {counted} match modelName EQUAL "mistral"; without the filters'
        " 3 do"
    )
    assert '# modelName "mistral" has no rows, and no value is similar' in text
    assert "not together" not in text


@GROUPED
def test_two_windows_without_rows_have_none_whatever_lies_between(
    world: World, group_by: list[str]
) -> None:
    world.fill([call("gpt") | {"CreatedAt": NOON.replace(month=6)}])

    text = world.ask({**APART, "groupBy": group_by})

    assert body_of(text)[0].startswith("no traffic in either window")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["gpt", "gpt"], "; without the filters 2 do in the later window"),
        ([], "; without the filters there are none in the later window either"),
    ],
    ids=["rows", "none"],
)
def test_where_one_call_is_left_the_later_window_alone_is_looked_at(
    world: World, rows: list[str], said: str
) -> None:
    earlier = call("mistral") | {"CreatedAt": NOON.replace(month=5, day=5)}
    world.fill([earlier, *(call(name) for name in rows)])
    filters = where(("modelName", "EQUAL", ["mixtral"]))

    text = world.ask({**APART, "groupBy": ["modelName"], "filters": filters}, calls=5)

    assert world.recorder.calls == 5
    assert body_of(text)[0].endswith(said)
    is_told = '# modelName "mixtral" has no rows in the later window, and no value' in text
    assert is_told == bool(rows)
    assert "exist" not in body_of(text)[-1].replace("shows what exists", "")


def test_values_are_looked_for_in_both_windows_and_not_between(world: World) -> None:
    days = {"gpt": NOON, "claude": NOON.replace(month=5, day=5), "mistral": NOON.replace(month=6)}
    world.fill([call(name) | {"CreatedAt": at} for name, at in days.items()])

    text = world.ask({**APART, "filters": where(("modelName", "IN", [*days]))})

    assert '# modelName "mistral" has no rows' in text
    assert '"gpt" has no rows' not in text
    assert '"claude" has no rows' not in text


@pytest.mark.parametrize("value", ["%", "?"])
def test_a_value_without_letters_comes_near_to_nothing(world: World, value: str) -> None:
    world.fill([call(""), call("gpt")])

    text = world.ask({**WEEK, "filters": where(("modelName", "EQUAL", [value]))})

    assert "has no rows, and no value is similar" in text


def test_one_field_that_should_be_two_values_at_once_is_said_to_be(world: World) -> None:
    filters = where(("modelName", "EQUAL", [NAMES[0]]), ("modelName", "EQUAL", [NAMES[1]]))

    text = world.ask({**WEEK, "filters": filters})

    assert body_of(text)[-1] == ("# next: modelName cannot match all its filters at once: keep one")


def test_what_was_not_looked_at_is_what_to_drop(world: World) -> None:
    failed = {"fieldName": "isFailure", "operator": "EQUAL", "value": True}
    world.fill([call("gpt", IsFailure=False), call("claude", IsFailure=True)])
    filters = [*where(("modelName", "IN", ["gpt"])), failed]

    text = world.ask({**WEEK, "filters": filters})

    assert "has no rows" not in text
    assert body_of(text)[-1] == ("# next: drop modelName or isFailure: rows match without one")


def test_the_keys_of_the_metadata_are_listed_by_a_field_of_their_own(world: World) -> None:
    text = world.ask({**WEEK, "filters": where(("metadata.zzzz", "IN", ["acme"]))})

    assert body_of(text)[-1] == (
        "# next: list_values of metadata shows what exists, or a wider window"
    )


def test_a_key_that_others_have_is_no_slip(world: World) -> None:
    world.fill([call("gpt", Metadata={"customer": "acme"}), call("claude")])
    filters = where(("modelName", "IN", ["gpt"]))

    text = world.ask({**WEEK, "groupBy": ["metadata.env"], "filters": filters})

    assert "# none of these rows has the metadata key env; others do\n" in text
    assert "did you mean" not in text
    assert "no row has" not in text


def test_notes_give_way_where_an_empty_answer_has_no_room(world: World) -> None:
    world.fill([call(f"provider/model-{n:02}") for n in range(40)])
    wrong = [f"privoder/model-{n:02}" for n in range(30)]
    teams = [f"{'reb' * 9}-{n}" for n in range(5)]
    filters = where(("modelName", "IN", wrong), ("team", "ARRAY_HAS_ANY", teams))
    question = {**WEEK, "filters": filters, "aggregations": ["errorRate", "costPerRequest"]}

    texts = {budget: world.ask(question, budget=budget) for budget in (550, 12_000)}

    for text in texts.values():
        assert body_of(text)[0].startswith("no rows in this window (rows are model calls")
        assert body_of(text)[-1].startswith("# next: the same with a value that exists")
    assert estimate_tokens(texts[550]) <= 550 < estimate_tokens(texts[12_000])
    assert set(body_of(texts[550])) < set(body_of(texts[12_000]))


def test_no_request_to_a_virtual_model_is_not_told_as_no_traffic(world: World) -> None:
    filters = where(("modelName", "IN", [NAMES[0]]))

    text = world.ask({**WEEK, "groupBy": ["virtualModel"], "filters": filters})

    assert body_of(text) == [
        (
            "no rows in this window (rows are requests to virtual models) match virtual models"
            " only, their model calls excluded, with or without the other filters"
        ),
        "# next: a wider or a later window",
    ]
    assert [query.filters for query in probes(world)] == [(VIRTUAL,)]


def test_both_sides_of_virtual_models_at_once_are_not_told_as_no_traffic(world: World) -> None:
    sides = [
        {"fieldName": "virtualModelName", "operator": "IS_NULL", "value": value}
        for value in (True, False)
    ]
    filters = [*where(("modelName", "IN", [NAMES[0]])), *sides]

    text = world.ask({**WEEK, "filters": filters})

    assert "no traffic" not in text
    assert "exclude each other" in text
    assert "; without the filters there are rows" in text
    assert [query.filters for query in probes(world)] == [()]
