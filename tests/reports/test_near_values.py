"""A value that no row has is named, with those that come near: what exists is no slip."""

from __future__ import annotations

from typing import Final

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

INSIDER: Final = Caller("ada@example.com", "user")


@pytest.fixture(autouse=True)
def _fill(world: World) -> None:
    world.fill([call(name) for name in NAMES for _ in range(2)])


@GROUPED
@pytest.mark.parametrize("operator", ["IN", "EQUAL"])
def test_a_value_that_no_row_has_is_named_with_those_that_come_near(
    world: World, group_by: list[str], operator: str
) -> None:
    filters = where(("modelName", operator, ["openai/gpt-4"]))

    text = world.ask({**WEEK, "groupBy": group_by, "filters": filters})

    assert 'match modelName IN ["openai/gpt-4"]' in text or "match modelName EQUAL" in text
    (line,) = [line for line in text.split("\n") if "did you mean" in line]
    assert line.startswith('# modelName "openai/gpt-4" has no rows: did you mean ')
    near = line.removesuffix("?").split("did you mean ")[1].split(" or ")
    assert len(near) == 3
    assert set(near) == set(NAMES[:3])
    assert "; without the filters 8 do" in text
    assert [query.filters for query in probes(world)] == [(REAL,)]
    assert world.recorder.calls <= 6


def test_a_value_that_resembles_none_is_said_to(world: World) -> None:
    text = world.ask({**WEEK, "filters": where(("modelName", "IN", ["zzzzzz"]))})

    assert '# modelName "zzzzzz" has no rows, and no value is similar' in text
    assert "did you mean" not in text
    assert "list_values of modelName" in text


def test_a_metadata_key_of_another_spelling_is_offered(world: World) -> None:
    text = world.ask({**WEEK, "filters": where(("metadata.Customer", "IN", ["acme"]))})

    assert "none of the rows here has the metadata key Customer: did you mean customer?" in text
    assert world.recorder.calls <= 6


def test_near_values_are_those_that_the_caller_may_see(world: World) -> None:
    world.fill([call("gpt-4o"), call("gpt-4o-secret", "bob@example.com", Teams=["black"])])

    text = world.ask_as(INSIDER, {**WEEK, "filters": where(("modelName", "IN", ["gpt-4"]))})

    assert "did you mean gpt-4o?" in text
    assert "secret" not in text


def test_a_value_among_several_that_matches_nothing_is_said(world: World) -> None:
    values = ["openai/gpt-4o", "openai/gpt-5-mini"]
    question = {**WEEK, "filters": where(("modelName", "IN", values))}

    one = world.ask(question)
    grouped = world.ask({**question, "groupBy": ["modelName"]})
    otherwise = world.ask({**question, "groupBy": ["team"]})

    for text in (one, grouped, otherwise):
        assert '# modelName "openai/gpt-5-mini" has no rows: did you mean ' in text
        assert '"openai/gpt-4o" has no rows' not in text
    assert "total: 2" in one


def test_values_that_all_match_cost_no_probe(world: World) -> None:
    filters = where(("modelName", "IN", list(NAMES[:2])))

    text = world.ask({**WEEK, "filters": filters, "groupBy": ["modelName"]})

    assert "has no rows" not in text
    assert probes(world) == []


@GROUPED
def test_a_value_that_only_the_earlier_window_has_is_there(
    world: World, group_by: list[str]
) -> None:
    earlier = NOON.replace(day=1)
    world.fill([call("gpt"), call("claude") | {"CreatedAt": earlier}])
    filters = where(("modelName", "IN", ["gpt", "claude", "clause"]))

    question = {**WEEK, "compareTo": "1 week", "filters": filters, "groupBy": group_by}
    text = world.ask(question)

    assert '"claude" has no rows' not in text
    assert '# modelName "clause" has no rows: did you mean claude?' in text


def test_where_calls_run_out_it_is_said_that_values_were_not_looked_for(world: World) -> None:
    filters = where(("modelName", "IN", [NAMES[0], "opeani/gpt-4o"]))
    question = {**WEEK, "compareTo": "1 week", "groupBy": ["requestType"], "filters": filters}
    said = "# unknown whether each value of modelName has rows: call limit reached\n"

    text = world.ask({**question, "aggregations": ["errorRate"]})
    enough = world.ask({**question, "aggregations": ["errorRate"]}, calls=12)

    assert said in text
    assert "has no rows:" not in text
    assert said not in enough
    assert '# modelName "opeani/gpt-4o" has no rows: did you mean ' in enough


def test_a_value_that_is_a_part_of_another_comes_before_what_begins_with_it(world: World) -> None:
    names = [f"developer-05{n}@example.com" for n in (1, 2, 3)]
    rows = [call("gpt", name) for name in names for _ in range(3)]
    world.fill([*rows, call("gpt", "developer-05@example.com")])

    text = world.ask({**WEEK, "filters": where(("userEmail", "IN", ["developer-05"]))})

    assert "has no rows: did you mean developer-05@example.com or developer-051@" in text


def test_a_filter_on_what_cannot_be_listed_is_told_without_near_values(world: World) -> None:
    filters = where(("isFailure", "EQUAL", ["true"]))

    text = world.ask({**WEEK, "filters": filters})

    assert body_of(text)[0].startswith("no rows in this window")
    assert "did you mean" not in text
    assert world.recorder.calls <= 6


def test_a_value_that_exists_but_not_with_the_other_filters_is_no_slip(world: World) -> None:
    world.fill([call("gpt"), call("claude", Teams=["blue"])])
    filters = where(("modelName", "IN", ["gpt", "claude"]), ("team", "ARRAY_HAS_ANY", ["red"]))

    for group_by in ([], ["modelName"], ["userEmail"]):
        text = world.ask({**WEEK, "filters": filters, "groupBy": group_by})

        assert "did you mean claude" not in text
        assert 'modelName "claude" has no rows with the other filters' in text


def test_near_values_are_on_the_side_of_virtual_models_that_is_asked(world: World) -> None:
    world.fill([call("fast", VirtualModelName="fast"), call("gpt")])

    text = world.ask({**WEEK, "filters": where(("modelName", "IN", ["fas"]))})

    assert "models only, virtual-model rows excluded" in text
    assert "did you mean fast" not in text
    assert "; without the filters 1 do" in text


def test_near_values_are_on_the_side_of_virtual_models_also_where_that_is_grouped_by(
    world: World,
) -> None:
    world.fill([call("fast", VirtualModelName="fast"), *(call("fast-1") for _ in range(3))])
    filters = where(("modelName", "IN", ["fas"]))

    text = world.ask({**WEEK, "groupBy": ["virtualModel"], "filters": filters})

    assert "did you mean fast?" in text
    assert "; without the filters 1 do" in text
    assert [query.filters for query in probes(world)] == [(VIRTUAL,)]
