"""What is taken besides the published forms of the arguments, and what is then sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

from gateway_metrics_mcp.query.model import Query

Call = Callable[[str, dict[str, Any]], Awaitable[tuple[str, bool]]]

COST: Final = {"type": "sum", "column": "costInUSD"}
P95: Final = {"type": "p95", "column": "latencyMs"}
COUNT_COST: Final = {"type": "count", "column": "costInUSD"}
COUNT_LATENCY: Final = {"type": "count", "column": "latencyMs"}
REAL: Final = {"fieldName": "virtualModelName", "operator": "IS_NULL", "value": True}
VIRTUAL: Final = {**REAL, "value": False}

SAME_AGGREGATIONS: Final = (
    ["sum costInUSD", "p95 latencyMs"],
    ["sum  costInUSD ", " p95 latencyMs"],
    ["sumCostInUSD", "p95LatencyMs"],
    ["sum(costInUSD)", "p95( latencyMs )"],
    ["sum costInUSD", "p95 latencyMs", "total"],
    ["sum costInUSD", "count", "p95 latencyMs"],
    "sum costInUSD, p95 latencyMs",
    '["sum costInUSD", "p95 latencyMs"]',
    [COST, P95],
    '[{"type": "sum", "column": "costInUSD"}, {"type": "p95", "column": "latencyMs"}]',
    ['{"type": "sum", "column": "costInUSD"}', "p95 latencyMs"],
)

FILTERS: Final[tuple[tuple[object, dict[str, Any]], ...]] = (
    (
        {"fieldName": "modelName", "operator": "IN", "value": "a"},
        {"fieldName": "modelName", "operator": "IN", "value": ["a"]},
    ),
    (
        {"fieldName": "modelName", "operator": "IN", "value": '["a", "b"]'},
        {"fieldName": "modelName", "operator": "IN", "value": ["a", "b"]},
    ),
    (
        '{"fieldName": "modelName", "operator": "EQUAL", "value": ["a"]}',
        {"fieldName": "modelName", "operator": "EQUAL", "value": "a"},
    ),
    (
        {"fieldName": "modelName", "operator": "EQUAL", "value": 4.5},
        {"fieldName": "modelName", "operator": "EQUAL", "value": "4.5"},
    ),
    (
        {"fieldName": "modelName", "operator": "EQUAL", "value": True},
        {"fieldName": "modelName", "operator": "EQUAL", "value": "true"},
    ),
    (
        {"metadataKey": "note", "operator": "EQUAL", "value": '{"a": 1}'},
        {"metadataKey": "note", "operator": "EQUAL", "value": '{"a": 1}'},
    ),
    (
        {"fieldName": "metadata.env", "operator": "EQUAL", "value": ["prod"]},
        {"metadataKey": "env", "operator": "EQUAL", "value": "prod"},
    ),
    (
        {"fieldName": "virtualaccount", "operator": "EQUAL", "value": ["ci"]},
        {"fieldName": "virtualAccount", "operator": "EQUAL", "value": "ci"},
    ),
    (
        {"fieldName": "latencyMs", "operator": "GREATER_THAN", "value": ["500"]},
        {"fieldName": "latencyMs", "operator": "GREATER_THAN", "value": 500},
    ),
    (
        {"fieldName": "latencyMs", "operator": "BETWEEN", "value": ["0.5", 2]},
        {"fieldName": "latencyMs", "operator": "BETWEEN", "value": [0.5, 2]},
    ),
    (
        {"fieldName": "httpStatusCode", "operator": "IN", "value": ["429", "503"]},
        {"fieldName": "httpStatusCode", "operator": "IN", "value": [429, 503]},
    ),
    (
        {"fieldName": "isFailure", "operator": "EQUAL", "value": ["TRUE"]},
        {"fieldName": "isFailure", "operator": "EQUAL", "value": True},
    ),
    (
        {"fieldName": "team", "operator": "ARRAY_HAS_ANY", "value": "search"},
        {"fieldName": "team", "operator": "ARRAY_HAS_ANY", "value": ["search"]},
    ),
)


@pytest.mark.parametrize("aggregations", SAME_AGGREGATIONS, ids=repr)
async def test_aggregations_are_taken_in_every_usual_form(
    call: Call, sent: list[Query], aggregations: object
) -> None:
    await call("query_distribution", {"startTs": "last 7 days", "aggregations": aggregations})

    assert [query.to_body() for query in sent] == [
        {
            "startTs": "2026-07-08T00:00:00.000Z",
            "endTs": "2026-07-15T00:00:00.000Z",
            "datasource": "modelMetrics",
            "type": "distribution",
            "aggregations": [COST, P95, COUNT_COST, COUNT_LATENCY],
            "filters": [REAL],
        }
    ]


@pytest.mark.parametrize(
    "names", [["modelName", "team"], "modelName, team", "modelName,team,", '["modelName","team"]']
)
async def test_names_to_group_by_are_taken_in_every_usual_form(
    call: Call, sent: list[Query], names: object
) -> None:
    await call("query_distribution", {"startTs": "last 7 days", "groupBy": names})

    assert [query.group_by for query in sent] == [("modelName", "team"), ()]


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("virtualModelName", "virtualModel"),
        ("virtualAccount", "virtualaccount"),
        ("metadata.a,b", "metadata.a,b"),
    ],
)
async def test_either_of_two_names_groups(
    call: Call, sent: list[Query], given: str, taken: str
) -> None:
    await call("query_distribution", {"startTs": "last 7 days", "groupBy": [given]})

    assert sent[0].group_by == (taken,)


async def test_either_of_two_names_is_counted(call: Call, sent: list[Query]) -> None:
    arguments = {"startTs": "last 7 days", "aggregations": ["countDistinct virtualModelName"]}
    await call("query_distribution", arguments)

    assert [query.to_body()["aggregations"] for query in sent] == [
        [{"type": "countDistinct", "column": "virtualModel"}]
    ]


@pytest.mark.parametrize(("given", "taken"), FILTERS, ids=repr)
async def test_a_filter_is_taken_in_every_usual_form(
    call: Call, sent: list[Query], given: object, taken: dict[str, Any]
) -> None:
    await call("query_distribution", {"startTs": "last 7 days", "filters": [given]})
    await call("query_distribution", {"startTs": "last 7 days", "filters": given})

    asked = [query.to_body()["filters"] for query in sent if not query.group_by]
    assert asked == [[taken, REAL]] * 2
    beside = [query.to_body() for query in sent if query.group_by]
    values = taken["value"]
    is_listed = taken.get("fieldName") == "modelName" and isinstance(values, list)
    if (
        is_listed and len(values) > 1
    ):  # which of them are there, and, as one is not, what comes near
        assert [body.get("filters") for body in beside] == [[taken, REAL], [REAL]] * 2
        assert {tuple(body["groupBy"]) for body in beside} == {("modelName",)}
    else:
        assert beside == []


@pytest.mark.parametrize("nothing", [None, [], "[]"])
async def test_an_argument_without_content_is_left_out(
    call: Call, sent: list[Query], nothing: object
) -> None:
    names = ("aggregations", "groupBy", "filters")
    arguments = {"startTs": "last 7 days", **dict.fromkeys(names, nothing)}
    arguments |= dict.fromkeys(("endTs", "timezone", "orderBy", "limit", "datasource"))
    text, is_error = await call("query_distribution", arguments)

    assert not is_error, text
    assert [query.to_body().get("filters") for query in sent] == [[REAL]]


@pytest.mark.parametrize("order", ["sumCostInUSD", "sum costInUSD", "sum(costInUSD)"])
@pytest.mark.parametrize(("sign", "direction"), [("", "desc"), ("-", "asc")])
async def test_the_order_is_taken_in_every_usual_form(
    call_for_two: Call, order: str, sign: str, direction: str
) -> None:
    arguments = {
        "startTs": "last 7 days",
        "groupBy": "modelName",
        "aggregations": "sum costInUSD",
        "orderBy": sign + order,
    }
    text, _ = await call_for_two("query_distribution", arguments)

    assert f" | sorted by sumCostInUSD {direction} | " in text


@pytest.mark.parametrize("limit", [1, "1", 1.0], ids=repr)
async def test_a_whole_number_is_taken_in_every_usual_form(
    call_for_two: Call, limit: object
) -> None:
    arguments = {"startTs": "last 7 days", "groupBy": "modelName", "limit": limit}
    text, _ = await call_for_two("query_distribution", arguments)

    assert " | rows 1-1 of 2\n" in text
