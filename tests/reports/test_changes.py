"""A comparison is right for every group, also for those that only one window has, and for ALL."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Final

import httpx
import pytest
from hypothesis import example, given, note
from hypothesis import strategies as st
from mcp.client import Client
from mcp_types import TextContent

from gateway_metrics_mcp.backends.gateway.backend import GatewayBackend
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.settings import Settings

Row = dict[str, Any]
World = Any
Number = int | float
Group = Callable[[Sequence[Row], Sequence[str]], dict[tuple[Any, ...], list[Row]]]

START: Final = datetime(2026, 6, 29, tzinfo=UTC)
HALF: Final = START + timedelta(days=7)
QUESTION: Final = {"startTs": "2026-07-06", "endTs": "2026-07-13", "compareTo": "1 week"}

ROW: Final = st.fixed_dictionaries(
    {
        "CreatedAt": st.integers(0, 14 * 24 - 1).map(lambda hours: START + timedelta(hours=hours)),
        "ModelName": st.sampled_from(["gpt", "claude", "mistral", None]),
        "InputTokens": st.sampled_from([None, 0, 7, 1000]),
        "CostInUSD": st.sampled_from([None, 0.0, 0.1, 0.37, 12.5]),
        "LatencyMs": st.sampled_from([None, 80.5, 2000.0]),
        "IsFailure": st.booleans(),
        "CreatedBySubjectSlug": st.sampled_from(["ada", "bob"]),
        "CreatedBySubjectType": st.sampled_from(["user", "user", "virtualaccount"]),
        "Teams": st.sampled_from([None, ["red"], ["red", "blue"]]),
        "Metadata": st.sampled_from([None, {"env": "prod"}]),
    }
)
ROWS: Final = st.lists(ROW, max_size=14)
GROUP_BY: Final = st.lists(
    st.sampled_from(["modelName", "team", "userEmail", "metadata.env"]), max_size=2, unique=True
)
ASKED: Final = ("sum costInUSD", "max latencyMs", "countDistinct modelName", "errorRate")
NAMES: Final = ("total", "sumCostInUSD", "maxLatencyMs", "countDistinctModelName", "errorRate")
WITH_ROWS_OF_ITS_OWN: Final = NAMES.index("errorRate")
"""By team, its ALL takes two calls more than there are."""


def come_to(rows: Sequence[Row]) -> tuple[Number | None, ...]:
    """The values of some rows, in the order of NAMES; no row counts and costs 0."""
    if not rows:
        return (0, 0, None, 0, None)
    costs = [row["CostInUSD"] for row in rows if row["CostInUSD"] is not None]
    latencies = [row["LatencyMs"] for row in rows if row["LatencyMs"] is not None]
    return (
        len(rows),
        math.fsum(costs) if costs else None,
        max(latencies, default=None),
        len({row["ModelName"] for row in rows} - {None}),
        sum(row["IsFailure"] for row in rows) / len(rows),
    )


def change(now: Number | None, before: Number | None) -> tuple[Number | None, Number | None]:
    """The difference and its percentage: none of what was nothing."""
    if now is None or before is None:
        return None, None
    return now - before, None if before == 0 else (now - before) / before * 100


def assert_compares(
    cells: Sequence[Any],
    now: Sequence[Number | None],
    before: Sequence[Number | None],
    names: Sequence[str] = NAMES,
) -> None:
    for i, name in enumerate(names):
        expected = (now[i], before[i], *change(now[i], before[i]))
        for got, wanted in zip(cells[4 * i : 4 * i + 4], expected, strict=True):
            if got is None or wanted is None:
                assert got is wanted, name
            else:
                assert math.isclose(got, wanted, rel_tol=1e-9, abs_tol=1e-9), name


def split(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """The rows of the window, and of the one before."""
    return (
        [row for row in rows if row["CreatedAt"] >= HALF],
        [row for row in rows if row["CreatedAt"] < HALF],
    )


def at(start: datetime, model: str | None, cost: float | None) -> Row:
    """One plain call."""
    return {
        "CreatedAt": start,
        "ModelName": model,
        "InputTokens": 7,
        "CostInUSD": cost,
        "LatencyMs": 80.5,
        "IsFailure": False,
        "CreatedBySubjectSlug": "ada",
        "CreatedBySubjectType": "user",
        "Teams": None,
        "Metadata": None,
    }


@given(rows=ROWS, group_by=GROUP_BY)
def test_every_group_is_compared_with_itself(
    world: World, group_rows: Group, rows: list[Row], group_by: list[str]
) -> None:
    world.fill(rows)

    body = world.read({**QUESTION, "groupBy": group_by, "aggregations": [*ASKED]})
    note(body)

    width = len(group_by)
    assert body["columns"][width:] == [
        name + end for name in NAMES for end in ("", "_before", "_change", "_change%")
    ]
    now, before = split(rows)
    ours, theirs = group_rows(now, group_by), group_rows(before, group_by)
    if not group_by:
        assert_compares(body["rows"][0], come_to(now), come_to(before))
        return
    assert {tuple(row[:width]) for row in body["rows"]} == ours.keys() | theirs.keys()
    assert len(body["rows"]) == len(ours.keys() | theirs.keys())
    for row in body["rows"]:
        keys = tuple(row[:width])
        assert_compares(row[width:], come_to(ours.get(keys, ())), come_to(theirs.get(keys, ())))
    is_whole = len(body["rows"]) == 1 and [come_to(now), come_to(before)] == [
        come_to(groups.get(tuple(body["rows"][0][:width]), ())) for groups in (ours, theirs)
    ]
    can_tell = not {"team", "userEmail"} <= set(group_by)  # else ALL has no error rate
    assert (body["all"] is None) == (is_whole and can_tell)
    if body["all"] is not None:
        is_partition = not {"team", "userEmail"} & set(group_by)
        names = NAMES if is_partition else NAMES[:WITH_ROWS_OF_ITS_OWN]
        assert_compares(body["all"], come_to(now), come_to(before), names)


@given(rows=ROWS)
def test_the_changes_of_a_partition_add_up_to_that_of_all(world: World, rows: list[Row]) -> None:
    priced = [{**row, "CostInUSD": row["CostInUSD"] or 0.0} for row in rows]
    world.fill(priced)
    asked = ["sum costInUSD", "count modelName"]

    body = world.read({**QUESTION, "groupBy": ["modelName"], "aggregations": asked})

    if body["all"] is None:
        return
    for i, name in enumerate(body["columns"][1:]):
        if name.endswith("_change"):
            cells = [row[1 + i] for row in body["rows"]]
            whole = math.fsum(cells)
            assert math.isclose(whole, body["all"][i], rel_tol=1e-9, abs_tol=1e-9)


@given(rows=ROWS, group_by=GROUP_BY)
def test_rows_are_sorted_by_the_size_of_their_change(
    world: World, rows: list[Row], group_by: list[str]
) -> None:
    world.fill(rows)

    body = world.read({**QUESTION, "groupBy": group_by, "aggregations": ["sum costInUSD"]})

    position = body["columns"].index("sumCostInUSD_change")
    sizes = [row[position] for row in body["rows"]]
    present = [abs(size) for size in sizes if size is not None]
    assert sizes[len(present) :] == [None] * (len(sizes) - len(present))
    assert all(a >= b for a, b in pairwise(present))


@given(rows=ROWS, group_by=GROUP_BY)
@example(rows=[at(START, "gpt", 5.0), at(HALF, "gpt", None)], group_by=["modelName"])
@example(
    rows=[at(START, "gpt", 5.0), at(HALF, "gpt", None), at(HALF, "claude", 1.0)],
    group_by=["modelName"],
)
def test_rows_that_are_all_calls_are_never_said_to_miss_any(
    world: World, rows: list[Row], group_by: list[str]
) -> None:
    fields = [name for name in group_by if name in ("modelName", "metadata.env")]
    world.fill(rows)

    text = world.ask({**QUESTION, "groupBy": fields, "aggregations": ["sum costInUSD", "share"]})

    assert "rows add up to" not in text
    assert "disagree" not in text


def cells_of(text: str, first: str) -> list[str]:
    (line,) = [line for line in text.split("\n") if line.startswith(f"{first}|")]
    return line.split("|")


def test_percent_of_nothing_is_not_applicable(world: World) -> None:
    world.fill([at(HALF, "gpt", 2.0), at(START, "claude", 1.0), at(HALF, "claude", 1.0)])

    text = world.ask({**QUESTION, "groupBy": ["modelName"], "aggregations": ["sum costInUSD"]})

    assert cells_of(text, "gpt") == ["gpt", "1", "0", "+1", "n/a", "2", "0", "+2", "n/a"]
    assert cells_of(text, "claude") == ["claude", "1", "1", "0", "0%", "1", "1", "0", "0%"]
    assert cells_of(text, "ALL") == ["ALL", "2", "1", "+1", "+100.0%", "3", "1", "+2", "+200.0%"]
    assert "# new, with no row in the earlier window: gpt\n" in text
    assert "vanished" not in text
    assert "inf" not in text


def test_what_vanished_fell_by_all_of_it(world: World) -> None:
    world.fill([at(START, None, 2.0), at(START, "claude", 1.0), at(HALF, "claude", 1.5)])

    text = world.ask({**QUESTION, "groupBy": ["modelName"], "aggregations": ["sum costInUSD"]})

    assert cells_of(text, "null") == ["null", "0", "1", "-1", "-100.0%", "0", "2", "-2", "-100.0%"]
    assert "# vanished, with no row in the later window: null\n" in text


@pytest.mark.parametrize("format_", ["table", "exact"])
def test_rates_change_by_points(world: World, format_: str) -> None:
    rows = [at(START, "gpt", 1.0) for _ in range(4)] + [at(HALF, "gpt", 1.0) for _ in range(4)]
    rows[0] |= {"IsFailure": True}
    rows[4] |= {"IsFailure": True}
    rows[5] |= {"IsFailure": True}
    world.fill(rows)

    text = world.ask({**QUESTION, "aggregations": ["errorRate"], "format": format_})

    percents = ["25%", "50%", "+25pp", "+100%"]
    shown = [line.split(": ")[1] for line in text.split("\n") if line.startswith("errorRate")]
    assert [text.replace(".0", "") for text in shown] == [percents[i] for i in (1, 0, 2, 3)]


@pytest.mark.parametrize(
    ("order", "first"), [("sumCostInUSD", "gpt"), ("-sumCostInUSD_change", "claude")]
)
def test_another_order_is_by_value_and_not_by_size(world: World, order: str, first: str) -> None:
    world.fill(
        [
            at(START, "gpt", 9.0),
            at(HALF, "gpt", 8.0),
            at(START, "claude", 9.0),
            at(HALF, "claude", 0.5),
            at(HALF, "mistral", 1.0),
        ]
    )
    question = {**QUESTION, "groupBy": ["modelName"], "aggregations": ["sum costInUSD"]}

    body = world.read({**question, "orderBy": order})

    assert body["rows"][0][0] == first


GAP: Final = re.compile(r"# the earlier window has no rows (.*): if the data begins there, these")


def gap_of(text: str) -> str | None:
    """What is said of the earlier window's rows."""
    found = GAP.search(text)
    return None if found is None else found[1]


LATE: Final = "before 2026-07-02T00:00Z (42.9% of it)"


@pytest.mark.parametrize(
    ("first", "said"),
    [(START, None), (START + timedelta(days=3), LATE), (HALF, "at all")],
    ids=["from the start", "late", "none"],
)
@pytest.mark.parametrize(
    "asked",
    [["sum costInUSD"], ["p95 latencyMs"], ["avg latencyMs", "countDistinct modelName"]],
    ids=str,
)
@pytest.mark.parametrize("group_by", [[], ["modelName"]], ids=["one", "grouped"])
def test_an_earlier_window_whose_rows_begin_late_is_said_to(
    world: World, group_by: list[str], asked: list[str], first: datetime, said: str | None
) -> None:
    world.fill([at(first, "gpt", 1.0), at(HALF, "gpt", 2.0), at(HALF, "claude", 2.0)])

    text = world.ask({**QUESTION, "groupBy": group_by, "aggregations": asked})

    assert gap_of(text) == said
    covering = [q for q in world.recorder.sent if q.interval is not None]
    assert [q.start_ts for q in covering] == [START]
    is_own = asked != ["sum costInUSD"]
    assert (covering[0].aggregations == ()) == is_own
    assert world.recorder.calls == (4 if group_by else 2) + is_own


def test_without_a_call_left_for_it_the_earlier_window_is_not_looked_at(world: World) -> None:
    world.fill([at(START + timedelta(days=3), "gpt", 1.0), at(HALF, "gpt", 2.0)])
    question = {**QUESTION, "groupBy": ["modelName"], "aggregations": ["p95 latencyMs"]}

    text = world.ask(question, calls=4)

    assert gap_of(text) is None
    assert world.recorder.calls == 4


ELAPSED: Final = "is in progress: compared with as much of the earlier"


@pytest.mark.parametrize(
    ("start", "earlier", "span", "unit"),
    [
        ("today", "yesterday", "2026-07-14T00:00Z to 2026-07-14T09:30Z", "day"),
        ("today", "2026-07-08..2026-07-08", "2026-07-08T00:00Z to 2026-07-08T09:30Z", "day"),
        ("this week", "last week", "2026-07-06T00:00Z to 2026-07-08T09:30Z", "week"),
        ("this month", "last month", "2026-06-01T00:00Z to 2026-06-15T09:30Z", "month"),
        ("this month", "2026-06", "2026-06-01T00:00Z to 2026-06-15T09:30Z", "month"),
        ("2026-07", "2026-02", "2026-02-01T00:00Z to 2026-02-15T09:30Z", "month"),
        ("this month", "2026-W20", "2026-05-11T00:00Z to 2026-05-18T00:00Z", None),
        ("last month", "2026-05", "2026-05-01T00:00Z to 2026-06-01T00:00Z", None),
        ("this month", "previous", "2026-06-01T00:00Z to 2026-06-15T09:30Z", None),
        ("now-1d", "yesterday", "2026-07-14T00:00Z to 2026-07-15T00:00Z", None),
    ],
)
def test_a_running_period_is_compared_with_as_much_of_a_whole_one(
    world: World, start: str, earlier: str, span: str, unit: str | None
) -> None:
    world.fill(
        [at(datetime(2026, 2, 1, tzinfo=UTC) + timedelta(hours=n), "m", 1) for n in range(9)]
    )

    question = {"startTs": start, "compareTo": earlier, "aggregations": ["sum costInUSD"]}
    text, is_error = world.call(question)

    assert not is_error
    assert f"| compared with {span} (" in text
    note = f"# the {unit} {ELAPSED} {unit}"
    assert [line for line in text.split("\n") if ELAPSED in line] == ([note] if unit else [])


def test_one_group_that_is_not_all_is_compared_beside_it(world: World) -> None:
    account = {"CreatedBySubjectType": "virtualaccount", "CreatedBySubjectSlug": "bot"}
    rows = [at(START, "gpt", 1.0), at(HALF, "gpt", 2.0)]
    world.fill([*rows, rows[1] | account])
    question = {**QUESTION, "groupBy": ["userEmail"], "aggregations": ["sum costInUSD"]}

    apart = world.ask(question)
    world.fill(rows)
    alone = world.ask(question)

    assert cells_of(apart, "ALL") == ["ALL", "2", "1", "+1", "+100.0%", "4", "1", "+3", "+300.0%"]
    assert cells_of(apart, "ada") == ["ada", "1", "1", "0", "0%", "2", "1", "+1", "+100.0%"]
    amounts = "1 total (50.0%) less, 2 sumCostInUSD (50.0%) less"
    assert f"# rows add up to {amounts} than ALL: other callers are not in the rows\n" in apart
    assert "\nALL" not in alone
    assert "rows add up to" not in alone


@pytest.mark.parametrize(
    ("asked", "column", "why"),
    [
        ("sum costInUSD", "costInUSD", "not recorded (not 0)"),
        ("costPerRequest", "costPerRequest", "its formula lacks a value, or divides by 0"),
    ],
)
@pytest.mark.parametrize("priced", [None, START, HALF], ids=["neither", "before", "now"])
def test_what_is_null_in_both_windows_is_not_recorded(
    world: World, asked: str, column: str, why: str, priced: datetime | None
) -> None:
    world.fill([at(start, "gpt", 1.0 if start == priced else None) for start in (START, HALF)])

    text = world.ask({**QUESTION, "aggregations": [asked]})

    note = f"# {column} is null in all of these rows: {why}\n"
    assert (note in text) == (priced is None)


def test_an_earlier_window_whose_rows_do_not_match_is_not_said_to_have_none(world: World) -> None:
    world.fill([at(START, "gpt", 1.0), at(HALF, "claude", 2.0)])
    only = {"fieldName": "modelName", "operator": "EQUAL", "value": "claude"}

    text = world.ask({**QUESTION, "filters": [only]})

    assert "# the earlier window has no rows that match at all: if " in text


@pytest.mark.parametrize("calls", [6, 9])
def test_where_the_data_begin_is_said_or_said_to_be_not_asked(world: World, calls: int) -> None:
    world.fill([at(START + timedelta(days=4), "gpt", 1.0), at(HALF, "gpt", 2.0)])
    asked = {"groupBy": ["modelName"], "aggregations": ["p95 latencyMs", "errorRate"]}

    text = world.ask({**QUESTION, **asked}, calls=calls)

    is_asked = "# the earlier window has no rows before 2026-07-03T00:00Z (57.1% of it)" in text
    said = "# not checked where the rows of the earlier window begin (call limit reached)"
    assert is_asked == (calls == 9)
    assert (said in text) == (calls == 6)


def test_an_earlier_window_whose_all_is_nothing_is_said_to_have_no_rows(world: World) -> None:
    world.fill([at(HALF, "gpt", 2.0), at(HALF, "claude", 2.0)])
    asked = {"groupBy": ["modelName"], "aggregations": ["p95 latencyMs", "errorRate"]}

    text = world.ask({**QUESTION, **asked}, calls=6)

    assert "# the earlier window has no rows at all: if the data begins there" in text
    assert "was not asked" not in text


def test_json_tells_the_earlier_window_the_zone_and_the_order(world: World) -> None:
    world.fill([at(START, "gpt", 1.0), at(HALF, "gpt", 2.0)])
    asked = {"timezone": "Asia/Tokyo", "aggregations": ["sum costInUSD"], "groupBy": ["modelName"]}

    body = world.read({**QUESTION, **asked})

    assert body["comparedWith"] == {
        "startTs": "2026-06-28T15:00:00.000Z",
        "endTs": "2026-07-05T15:00:00.000Z",
    }
    assert body["timezone"] == "Asia/Tokyo"
    assert body["order"] == "sorted by size of sumCostInUSD_change desc"


def test_there_is_no_share_of_nothing(world: World) -> None:
    world.fill([at(HALF, "gpt", 2.0), at(HALF, "claude", 2.0)])
    asked = {"aggregations": ["sum costInUSD", "share"], "groupBy": ["modelName"]}

    body = world.read({**QUESTION, **asked})

    place = body["columns"].index("share_before")
    assert [row[place] for row in body["rows"]] == [None, None]
    assert body["all"][place - 1] is None


def test_the_order_of_adding_floats_is_no_change(world: World) -> None:
    """0.1 + 0.2 is 0.30000000000000004 and as much as 0.3."""
    now = [at(HALF, "gpt", 0.1), at(HALF + timedelta(hours=1), "gpt", 0.2)]
    world.fill([*now, at(START, "gpt", 0.3)])

    body = world.read({**QUESTION, "aggregations": ["sum costInUSD"]})

    ours, theirs, change, percent = body["rows"][0][4:8]
    assert (ours, theirs) == (pytest.approx(0.3), 0.3)
    assert (change, percent) == (0, 0)


def test_what_moved_a_cost_is_not_told_of_the_order_of_adding_either(world: World) -> None:
    now = [at(HALF, "gpt", 0.1), at(HALF + timedelta(hours=1), "gpt", 0.2)]
    world.fill([*now, at(START, "gpt", 0.15), at(START, "gpt", 0.15)])

    text = world.ask({**QUESTION, "aggregations": ["sum costInUSD"]})

    assert "# of the +0.00 USD of ALL: calls +0.00, tokens per call +0.00, price or mix" in text
    assert "e-1" not in text


async def test_a_whole_number_beside_a_float_is_held_to_the_same() -> None:
    """Writers of JSON that know floats alone leave the point of 5.0 away."""

    def answer(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        is_now = asked["startTs"].startswith("2026-07-06")
        row = {"total": 3, "sumInputTokens": 5 if is_now else 4.999999999999999}
        if asked["type"] == "timeseries":  # how far back the data reach
            row["startTimestamp"] = asked["startTs"]
        return httpx.Response(200, json={"data": {"dataPoints": [row]}})

    backend = GatewayBackend(
        "https://tenant.example.com", "t", load_catalog(), transport=httpx.MockTransport(answer)
    )
    server = build_server(Settings(backend="https://x.example.com"), backend=backend)
    async with Client(server) as client:
        arguments = {**QUESTION, "aggregations": ["sum inputTokens"]}
        result = await client.call_tool("query_distribution", arguments)

    (block,) = result.content
    assert isinstance(block, TextContent)
    assert "\nsumInputTokens_change: 0\n" in block.text
