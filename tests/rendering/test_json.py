"""The same answer for programs."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

Ask = Callable[..., Awaitable[str]]

WEEK: Final = {"startTs": "2026-07-01", "endTs": "2026-07-08", "format": "json"}
MODELS: Final = [
    {"modelName": "o4", "total": 12, "sumCostInUSD": 20.123456},
    {"modelName": None, "total": 82, "sumCostInUSD": None},
]
BY_MODEL: Final = {**WEEK, "groupBy": ["modelName"], "aggregations": ["sum costInUSD"]}


async def test_a_distribution_is_columns_rows_and_all(ask: Ask) -> None:
    body = json.loads(await ask(MODELS, BY_MODEL))

    assert body == {
        "request": {
            "startTs": "2026-07-01T00:00:00.000Z",
            "endTs": "2026-07-08T00:00:00.000Z",
            "datasource": "modelMetrics",
            "type": "distribution",
            "aggregations": [
                {"type": "sum", "column": "costInUSD"},
                {"type": "count", "column": "costInUSD"},
            ],
            "groupBy": ["modelName"],
            "filters": [{"fieldName": "virtualModelName", "operator": "IS_NULL", "value": True}],
        },
        "scope": "models only, virtual-model rows excluded",
        "order": "sorted by sumCostInUSD desc",
        "notes": [],
        "columns": ["modelName", "total", "sumCostInUSD"],
        "all": [94, 20.123456],
        "offset": 0,
        "rowCount": 2,
        "isComplete": True,
        "next": None,
        "rows": [["o4", 12, 20.123456], [None, 82, None]],
    }


async def test_a_timeseries_has_the_largest_series_and_says_of_how_many(ask: Ask) -> None:
    rows = [
        {"startTimestamp": f"2026-07-0{day}T00:00:00Z", "modelName": f"m{n}", "total": n + day}
        for n in range(3)
        for day in (2, 1)
    ]
    question = {**WEEK, "groupBy": ["modelName"], "interval": "1 day", "limit": 2}

    body = json.loads(await ask(rows, question))
    whole = json.loads(await ask(rows, {**question, "limit": body["seriesCount"]}))

    assert body["columns"] == ["startTimestamp", "modelName", "total"]
    assert body["rows"] == [
        ["2026-07-01T00:00:00.000Z", "m2", 3],
        ["2026-07-01T00:00:00.000Z", "m1", 2],
        ["2026-07-02T00:00:00.000Z", "m2", 4],
        ["2026-07-02T00:00:00.000Z", "m1", 3],
    ]
    assert (body["seriesShown"], body["seriesCount"]) == (2, 3)
    assert (body["rowCount"], body["isComplete"], body["next"]) == (6, False, None)
    assert body["notes"] == ["5 of 7 buckets had no rows at all"]
    assert (len(whole["rows"]), whole["isComplete"], whole["next"]) == (6, True, None)


async def test_notes_are_told_without_their_mark(ask: Ask) -> None:
    facts = {"age_s": 9, "is_by_rulings": False}
    body = json.loads(await ask(MODELS, BY_MODEL, totals={"total": 100}, **facts))

    gap, cached = body["notes"]
    assert gap.startswith("rows add up to 6 total (6.0%) less than ALL: calls without a value")
    assert cached == "from the cache, 9 s old"


async def test_the_reason_of_a_gap_is_our_engines_own(ask: Ask) -> None:
    body = json.loads(await ask(MODELS, BY_MODEL, totals={"total": 100}))

    (gap,) = body["notes"]
    assert gap.startswith("rows add up to 6 total (6.0%) less than ALL: the backend's two answers")


async def test_nothing_is_no_rows(ask: Ask) -> None:
    body = json.loads(await ask([], BY_MODEL))

    assert (body["rows"], body["rowCount"], body["isComplete"]) == ([], 0, True)


async def test_keys_longer_than_any_name_are_cut(ask: Ask) -> None:
    body = json.loads(await ask([{"modelName": "é" * 200, "total": 1}], BY_MODEL))

    assert body["rows"][0][0] == "é" * 128 + "…(+72)"


async def test_a_bucket_too_large_for_the_budget_is_shown_in_part(ask: Ask) -> None:
    rows = [
        {"startTimestamp": "2026-07-01T00:00:00Z", "modelName": "\u202e" * 60 + f"{n}", "total": n}
        for n in range(8)
    ]

    text = await ask(rows, {**WEEK, "groupBy": ["modelName"], "interval": "1 day"}, budget=900)

    body = json.loads(text)
    assert 0 < body["seriesShown"] < 8
    assert len(body["rows"]) == body["seriesShown"]
    assert not body["isComplete"]
    assert body["next"] is None  # a larger limit would get the same answer


@given(
    totals=st.lists(st.integers(0, 9) | st.none(), min_size=1, max_size=150),
    limit=st.none() | st.integers(1, 40),
    budget=st.sampled_from([500, 900, 1500]),
)
async def test_following_next_gives_every_row_once(
    ask: Ask, totals: list[int | None], limit: int | None, budget: int
) -> None:
    rows = [{"modelName": f"model-{n}", "total": total} for n, total in enumerate(totals)]
    question = {**WEEK, "groupBy": ["modelName"]}
    arguments: dict[str, Any] = question if limit is None else {**question, "limit": limit}
    seen: list[str] = []
    following: dict[str, Any] | None = {}

    while following is not None:
        arguments |= following
        body = json.loads(await ask(rows, arguments, budget=budget))
        seen += [row[0] for row in body["rows"]]
        following = body["next"]

    assert sorted(seen) == sorted(f"model-{n}" for n in range(len(totals)))
    assert len(seen) == len(totals)


async def test_following_next_gives_every_bucket_once(ask: Ask) -> None:
    rows = [
        {"startTimestamp": f"2026-07-0{1 + n // 24}T{n % 24:02}:00:00.000Z", "total": n}
        for n in range(168)
    ]
    arguments: dict[str, Any] = {**WEEK, "interval": "1 hour"}
    seen: list[str] = []
    following: dict[str, Any] | None = {}

    while following is not None:
        arguments |= following
        came = [row for row in rows if str(row["startTimestamp"]) >= arguments["startTs"][:10]]
        came = [row for row in came if str(row["startTimestamp"]) >= arguments["startTs"]]
        body = json.loads(await ask(came, arguments, budget=700))
        seen += [row[0] for row in body["rows"]]
        following = body["next"]

    assert seen == [row["startTimestamp"] for row in rows]


def long_filters() -> list[dict[str, Any]]:
    values = [f"provider/{'model' * 5}-{n}" for n in range(100)]
    return [{"fieldName": "modelName", "operator": "IN", "value": values}]


async def test_a_long_request_is_left_out_for_the_rows(ask: Ask) -> None:
    question = {**BY_MODEL, "filters": long_filters()}

    short = json.loads(await ask(MODELS, question, budget=600, present=()))
    whole = json.loads(await ask(MODELS, question, budget=12_000, present=()))

    assert short["request"] is None
    assert short["notes"][0] == "the request is too long to be shown"
    assert short["rows"] == whole["rows"] == [["o4", 12, 20.123456], [None, 82, None]]
    assert whole["request"]["filters"][0]["value"] == long_filters()[0]["value"]
    assert short["notes"][1:6] == whole["notes"][:5]
    rest = len(whole["notes"]) - 5
    assert short["notes"][6:] == [f"and {rest} more notes (token budget too small)"]


async def test_nothing_is_said_to_be_nothing_also_where_the_request_is_left_out(ask: Ask) -> None:
    question = {**BY_MODEL, "filters": long_filters()}
    notes = tuple(f"sentence {n}" for n in range(9))

    body = json.loads(await ask([], question, budget=600, unfiltered=[], notes=notes))

    assert body["request"] is None
    assert body["notes"][1].startswith("no traffic in this window")
    assert body["notes"][2] == "next: a wider or a later window, or another datasource"


async def test_the_window_and_the_filters_stay_longest_of_the_request(ask: Ask) -> None:
    only = {"fieldName": "modelName", "operator": "EQUAL", "value": "o4"}
    values = ["sum costInUSD", "sum inputTokens", "sum outputTokens", "avg latencyMs"]
    question = {**BY_MODEL, "aggregations": values, "filters": [only]}

    body, whole = [json.loads(await ask(MODELS, question, budget=b)) for b in (500, 12_000)]

    assert body["request"] == {
        name: whole["request"][name] for name in ("startTs", "endTs", "datasource", "filters")
    }
    assert body["notes"][0] == (
        "of the request the window, the datasource and the filters are shown"
    )
    assert body["rows"]
