"""What the API refuses in a query: every problem of it, and whatever stands in it."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from typing import Any, Final

import anyio
import pytest

July = Callable[..., dict[str, Any]]
Serve = Callable[..., Any]
ReadError = Callable[[Any], dict[str, Any]]

MOST_CPU_S: Final = 1.5


async def test_r20_every_problem_of_a_query_is_listed_in_the_one_shape(
    serve: Serve, july: July, read_error: ReadError
) -> None:
    body = july(
        groupBy=["modelNmae", "team", "team"],
        aggregations=[{"type": "rateSum", "column": "inputTokens"}],
        filters=[
            {"fieldName": "latencyMs", "operator": "BETWEEN", "value": [9, 1]},
            {"fieldName": "team", "operator": "IS_NULL", "value": True},
        ],
        interval="1 hour 30 minutes",
        limit=5,
    )
    response = await serve().post(body)

    error = read_error(response)
    places = [detail.partition(":")[0] for detail in error["details"]]
    assert (response.status_code, error["code"]) == (400, "invalid_query")
    assert places == [
        "limit",
        "interval",
        "aggregations[0]",
        "groupBy[0]",
        "groupBy[2]",
        "filters[0].value",
        "filters[1].operator",
    ]
    assert error["message"] == "; ".join(error["details"])[:2000]
    assert "Did you mean modelName" in error["message"]


SUM: Final = {"type": "sum", "column": "inputTokens"}


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"endTs": "2026-07-01T00:00:00Z"}, "endTs: must be after startTs"),
        ({"endTs": "2026-07-01T05:30:00+05:30"}, "endTs: must be after startTs"),
        ({"startTs": "2026-08-02T00:00:00Z"}, "endTs: must be after startTs"),
        ({"startTs": "2026-07-01T00:00:00"}, 'startTs: "2026-07-01T00:00:00" is not a time with'),
        ({"endTs": "2026-08-01"}, 'endTs: "2026-08-01" is not a time with an offset'),
        ({"datasource": "toolMetrics"}, 'datasource: "toolMetrics" is unknown'),
        (
            {"groupBy": ["toolName"]},
            'groupBy[0]: "toolName" is not a group-by field of modelMetrics',
        ),
        (
            {"aggregations": [{"type": "sum", "column": "cost"}]},
            'aggregations[0].column: "cost" is not a column of modelMetrics',
        ),
        (
            {"filters": [{"fieldName": "toolName", "operator": "EQUAL", "value": "x"}]},
            'filters[0].fieldName: "toolName" is not a filter of modelMetrics',
        ),
        ({"limit": 10}, "limit: unknown key"),
        ({"aggregations": [SUM, SUM]}, 'aggregations[1]: "sum inputTokens" appears twice'),
        ({"groupBy": ["team", "modelName", "team"]}, 'groupBy[2]: "team" appears twice'),
        (
            {"groupBy": ["virtualModel", "virtualModelName"]},
            'groupBy[1]: "virtualModelName" appears twice',
        ),
    ],
)
async def test_r18_an_empty_window_a_local_time_an_unknown_name_and_a_duplicate_are_400(
    serve: Serve, july: July, changes: dict[str, Any], wrong: str, read_error: ReadError
) -> None:
    response = await serve().post(july(**changes))

    error = read_error(response)
    (detail,) = error["details"]
    assert (response.status_code, error["code"]) == (400, "invalid_query")
    assert detail.startswith(wrong)
    assert error["message"] == detail


def with_value(text: str) -> bytes:
    """A query whose one filter has this JSON as its value."""
    return (
        b'{"startTs":"2026-07-01T00:00:00Z","endTs":"2026-08-01T00:00:00Z",'
        b'"datasource":"modelMetrics","type":"distribution","filters":[{"fieldName":"latencyMs",'
        b'"operator":"LESS_THAN","value":' + text.encode() + b"}]}"
    )


def with_seconds(text: str) -> bytes:
    """A timeseries with this JSON as its width."""
    return (
        b'{"startTs":"2026-07-01T00:00:00Z","endTs":"2026-08-01T00:00:00Z",'
        b'"datasource":"modelMetrics","type":"timeseries","intervalInSeconds":'
        + text.encode()
        + b"}"
    )


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        (b"", "body: not JSON"),
        (b" ", "body: not JSON"),
        (b"{", "body: not JSON"),
        (b"{} {}", "body: not JSON"),
        (b"null", "body: expected an object, got nothing"),
        (b"[]", "body: expected an object, got a list"),
        (b'"{}"', "body: expected an object, got text"),
        (b"[" * 200_000, "body: not JSON: recursion limit exceeded"),
        (b'{"a":' * 40_000, "body: not JSON: recursion limit exceeded"),
        (b"[" * 150 + b"]" * 150, "body: expected an object, got a list"),
        (with_value("[" * 150 + "]" * 150), "filters[0].value: LESS_THAN takes one value"),
        (b'{"a":"\xff"}', "body: not JSON"),
        (b'{"a":"\xed\xa0\x80"}', "body: not JSON"),
        (b'{"a":"\\ud800"}', "body: not JSON"),
        (b'{"a":"\\udc00\\ud800"}', "body: not JSON"),
        (b'\xef\xbb\xbf{"a":1}', "body: not JSON"),
        ('{"a":1}'.encode("utf-16"), "body: not JSON"),
        (b'{"a":"\x00"}', "body: not JSON"),
        (gzip.compress(b"{}", mtime=0), "body: not JSON"),
        (with_value("NaN"), "body: not JSON"),
        (with_value("-Infinity"), "body: not JSON"),
        (with_value("1e999"), "filters[0].value: expected a finite number"),
        (with_value("9" * 400), "filters[0].value: a whole number of more than 64 bits"),
        (with_value("-" + "9" * 4000), "filters[0].value: a whole number of more than 64 bits"),
        (with_value("9" * 200_000), "body: not JSON"),
        (with_value("9223372036854775808"), "filters[0].value: a whole number of more than 64"),
        (with_value("true"), "filters[0].value: expected a finite number"),
        (with_seconds("9" * 400), "intervalInSeconds: a whole number of more than 64 bits"),
        (with_seconds("-9223372036854775808"), "intervalInSeconds: "),
        (with_seconds("9223372036854775807"), "intervalInSeconds: "),
        (with_seconds("1e400"), "intervalInSeconds: "),
        (with_seconds("60.0"), "intervalInSeconds: "),
    ],
)
async def test_hostile_bodies_are_400(
    serve: Serve, body: bytes, wrong: str, read_error: ReadError
) -> None:
    with anyio.fail_after(60):
        response = await serve().post(body)

    assert response.status_code == 400
    assert read_error(response)["details"][0].startswith(wrong)


async def test_of_keys_that_stand_twice_the_last_counts(serve: Serve, july: July) -> None:
    body = json.dumps(july(groupBy=["modelName"])).encode()[:-1] + b',"groupBy":[]}'

    assert await serve().rows(body) == [{"total": 5}]


@pytest.mark.parametrize("value", [{}, [], "", "x", 0, -1, True, None, 1.5, [[]], [None], {"a": 1}])
async def test_a_value_of_any_kind_anywhere_is_answered_or_400(
    serve: Serve, july: July, value: object
) -> None:
    api = serve()
    filter_ = {"fieldName": "latencyMs", "operator": "LESS_THAN", "value": 1}
    aggregation = {"type": "sum", "column": "inputTokens"}
    bodies = [
        *(july(**{key: value}) for key in july()),
        *(july(**{key: value}) for key in ("aggregations", "groupBy", "filters")),
        *(july(type="timeseries", **{key: value}) for key in ("interval", "intervalInSeconds")),
        *(july(**{key: [value]}) for key in ("aggregations", "groupBy", "filters")),
        *(july(filters=[{**filter_, key: value}]) for key in (*filter_, "metadataKey", "x")),
        *(july(aggregations=[{**aggregation, key: value}]) for key in (*aggregation, "x")),
        july(
            filters=[{**filter_, "fieldName": "httpStatusCode", "operator": "IN", "value": value}]
        ),
        july(filters=[{**filter_, "operator": "BETWEEN", "value": [value, value]}]),
        july(filters=[{"metadataKey": "a", "operator": "IN", "value": [value]}]),
    ]

    statuses = {(await api.post(body)).status_code for body in bodies}

    assert statuses <= {200, 400}


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        (
            {"groupBy": [f"metadata.{n}" for n in range(101)]},
            "groupBy: 101 entries, the limit is 100",
        ),
        ({"groupBy": ["modelNmae"] * 9000}, "groupBy: 9000 entries, the limit is 100"),
        ({"filters": [{}] * 60_000}, "filters: 60000 entries, the limit is 100"),
        ({"aggregations": [{}] * 101}, "aggregations: 101 entries, the limit is 100"),
        ({f"x{n}": n for n in range(9000)}, "body: 9004 keys, the limit is 20"),
        (
            {"filters": [{f"x{n}": n for n in range(9000)}]},
            "filters[0]: 9000 keys, the limit is 20",
        ),
        (
            {
                "filters": [
                    {"fieldName": "team", "operator": "ARRAY_HAS_ANY", "value": ["x"] * 1001}
                ]
            },
            "filters[0].value: 1001 entries, the limit is 1000",
        ),
        (
            {
                "filters": [
                    {"fieldName": "team", "operator": "ARRAY_HAS_ANY", "value": [["x"] * 1001]}
                ]
            },
            "filters[0].value[0]: 1001 entries, the limit is 1000",
        ),
    ],
    ids=range(8),
)
async def test_more_entries_than_anyone_needs_are_refused_at_once(
    serve: Serve, july: July, changes: dict[str, Any], wrong: str, read_error: ReadError
) -> None:
    begun = time.process_time()
    response = await serve().post(july(**changes))

    assert time.process_time() - begun < MOST_CPU_S
    assert response.status_code == 400
    assert read_error(response)["details"] == [wrong]


async def test_the_most_entries_are_answered(serve: Serve, july: July) -> None:
    many = {"fieldName": "team", "operator": "ARRAY_HAS_ANY", "value": ["search"] * 1000}
    one = {"fieldName": "team", "operator": "ARRAY_HAS_NONE", "value": ["x"]}
    keys = [f"metadata.{number}" for number in range(100)]

    with anyio.fail_after(60):
        (row,) = await serve().rows(july(groupBy=keys, filters=[many, *[one] * 99]))

    assert row == {**dict.fromkeys(keys), "total": 2}


async def test_a_hundred_misspelt_names_do_not_hold_up_the_others(
    serve: Serve, july: July, read_error: ReadError
) -> None:
    api = serve()
    body = july(
        groupBy=[f"modelNmae{number}" for number in range(100)],
        aggregations=[{"type": f"summ{n}", "column": f"inputToekns{n}"} for n in range(100)],
        filters=[{"fieldName": f"modelNmae{n}", "operator": "EQAUL"} for n in range(100)],
    )
    beats = 0
    async with anyio.create_task_group() as group:

        async def beat() -> None:
            nonlocal beats
            while True:
                await anyio.sleep(0.001)
                beats += 1

        group.start_soon(beat)
        response = await api.post(body)
        group.cancel_scope.cancel()

    assert len(read_error(response)["details"]) == 500
    assert beats >= 5
