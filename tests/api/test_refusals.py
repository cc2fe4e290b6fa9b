"""What the API refuses, and in what words: every error has one shape (R20)."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from gateway_metrics_mcp.backends.duckdb import DuckDBBackend
from gateway_metrics_mcp.errors import (
    EngineError,
    GatewayMetricsError,
    RateLimitedError,
    SettingsError,
    UnavailableError,
)
from gateway_metrics_mcp.openapi import PATH
from gateway_metrics_mcp.query.vocabulary import PERCENTILES

July = Callable[..., dict[str, Any]]
Serve = Callable[..., Any]

LONG_AGO: Final = datetime(2020, 1, 1, tzinfo=UTC)
JSON: Final = {"content-type": "application/json"}


def read_error(response: Any) -> dict[str, Any]:
    """The body of an error, whose shape is checked."""
    assert response.headers["content-type"] == "application/json"
    body: dict[str, Any] = response.json()
    assert list(body) == ["statusCode", "message", "code", "details"]
    assert body["statusCode"] == response.status_code
    assert isinstance(body["message"], str)
    assert body["message"]
    assert isinstance(body["code"], str)
    assert all(isinstance(detail, str) for detail in body["details"])
    return body


# --- who may ask ---


async def test_no_token_and_an_unknown_one_are_401_with_a_challenge(
    serve: Serve, book: Any, july: July
) -> None:
    api = serve(book.current)
    book.issue()

    for token in (None, "gmm_unknown"):
        response = await api.post(july(), token=token)
        assert (response.status_code, read_error(response)["code"]) == (401, "unauthorized")
        assert response.headers["www-authenticate"] == "Bearer"


async def test_an_expired_token_is_403(serve: Serve, book: Any, july: July) -> None:
    response = await serve(book.current).post(july(), token=book.issue(expires=LONG_AGO))

    error = read_error(response)
    assert (response.status_code, error["code"]) == (403, "token_expired")
    assert error["message"] == "the token has expired: ask for a new one"
    assert "www-authenticate" not in response.headers


async def test_who_may_ask_comes_before_what_is_asked(serve: Serve, book: Any) -> None:
    response = await serve(book.current).post(b"{", content_type="text/plain")

    assert response.status_code == 401


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:8000", 200),
        ("localhost:8000", 200),
        ("[::1]:8000", 200),
        ("metrics.example.com", 200),
        ("metrics.example.com:443", 200),
        ("evil.example.com", 421),
        ("localhost.evil.example.com", 421),
        ("127.0.0.1.evil.example.com:8000", 421),
        ("", 421),
    ],
)
async def test_without_tokens_a_page_of_another_host_cannot_ask(
    serve: Serve, july: July, host: str, status: int
) -> None:
    response = await serve(allowed_hosts=["metrics.example.com"]).post(july(), host=host)

    assert response.status_code == status
    if status != 200:
        assert read_error(response)["code"] == "http"


async def test_with_tokens_any_host_may_stand_before_the_server(
    serve: Serve, book: Any, july: July
) -> None:
    response = await serve(book.current).post(july(), token=book.issue(), host="a.example.com")

    assert response.status_code == 200


# --- what is asked ---


async def test_r20_every_problem_of_a_query_is_listed_in_the_one_shape(
    serve: Serve, july: July
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
        ({"groupBy": ["toolName"]}, 'groupBy[0]: "toolName" is no group-by field of modelMetrics'),
        (
            {"aggregations": [{"type": "sum", "column": "cost"}]},
            'aggregations[0].column: "cost" is no column of modelMetrics',
        ),
        (
            {"filters": [{"fieldName": "toolName", "operator": "EQUAL", "value": "x"}]},
            'filters[0].fieldName: "toolName" is no filter of modelMetrics',
        ),
        ({"limit": 10}, "limit: unknown key"),
        ({"aggregations": [SUM, SUM]}, 'aggregations[1]: "sum inputTokens" stands here twice'),
        ({"groupBy": ["team", "modelName", "team"]}, 'groupBy[2]: "team" stands here twice'),
        (
            {"groupBy": ["virtualModel", "virtualModelName"]},
            'groupBy[1]: "virtualModelName" stands here twice',
        ),
    ],
)
async def test_r18_an_empty_window_a_local_time_an_unknown_name_and_a_duplicate_are_400(
    serve: Serve, july: July, changes: dict[str, Any], wrong: str
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
async def test_hostile_bodies_are_400(serve: Serve, body: bytes, wrong: str) -> None:
    with anyio.fail_after(5):
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
            "groupBy: 101 entries, the most are 100",
        ),
        ({"groupBy": ["modelNmae"] * 9000}, "groupBy: 9000 entries, the most are 100"),
        ({"filters": [{}] * 60_000}, "filters: 60000 entries, the most are 100"),
        ({"aggregations": [{}] * 101}, "aggregations: 101 entries, the most are 100"),
        ({f"x{n}": n for n in range(9000)}, "body: 9004 keys, the most are 20"),
        (
            {"filters": [{f"x{n}": n for n in range(9000)}]},
            "filters[0]: 9000 keys, the most are 20",
        ),
        (
            {
                "filters": [
                    {"fieldName": "team", "operator": "ARRAY_HAS_ANY", "value": ["x"] * 1001}
                ]
            },
            "filters[0].value: 1001 entries, the most are 1000",
        ),
        (
            {
                "filters": [
                    {"fieldName": "team", "operator": "ARRAY_HAS_ANY", "value": [["x"] * 1001]}
                ]
            },
            "filters[0].value[0]: 1001 entries, the most are 1000",
        ),
    ],
    ids=range(8),
)
async def test_more_entries_than_anyone_needs_are_refused_at_once(
    serve: Serve, july: July, changes: dict[str, Any], wrong: str
) -> None:
    with anyio.fail_after(1):
        response = await serve().post(july(**changes))

    assert response.status_code == 400
    assert read_error(response)["details"] == [wrong]


async def test_the_most_entries_are_answered(serve: Serve, july: July) -> None:
    many = {"fieldName": "team", "operator": "ARRAY_HAS_ANY", "value": ["search"] * 1000}
    one = {"fieldName": "team", "operator": "ARRAY_HAS_NONE", "value": ["x"]}
    keys = [f"metadata.{number}" for number in range(100)]

    with anyio.fail_after(10):
        (row,) = await serve().rows(july(groupBy=keys, filters=[many, *[one] * 99]))

    assert row == {**dict.fromkeys(keys), "total": 2}


async def test_a_hundred_misspelt_names_do_not_hold_up_the_others(serve: Serve, july: July) -> None:
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


# --- how it is asked ---


@pytest.mark.parametrize("size", [256 * 1024 + 1, 5_000_000])
async def test_a_body_beyond_256_kib_is_413(serve: Serve, size: int) -> None:
    response = await serve().post(b" " * size)

    assert response.status_code == 413
    assert read_error(response)["message"] == "the body is larger than 262144 bytes"


async def test_a_body_of_256_kib_is_read(serve: Serve, july: July) -> None:
    body = json.dumps(july()).encode()

    assert await serve().rows(body + b" " * (256 * 1024 - len(body))) == [{"total": 5}]


@pytest.mark.parametrize(
    "headers",
    [
        {"content_type": "text/plain"},
        {"content_type": "application/x-www-form-urlencoded"},
        {"content_type": "application/jsonp"},
        {"content_type": "application/json5; a=application/json"},
        {"content_type": ""},
        {"content_encoding": "gzip"},
        {"content_encoding": "br"},
    ],
    ids=repr,
)
async def test_what_is_not_plain_json_is_415(
    serve: Serve, july: July, headers: dict[str, str]
) -> None:
    response = await serve().post(july(), **headers)

    assert response.status_code == 415
    assert read_error(response)["message"] == "the body has to be application/json, not compressed"


@pytest.mark.parametrize(
    "headers",
    [
        {"content_type": "application/json; charset=utf-8"},
        {"content_type": "Application/JSON"},
        {"content_encoding": "identity"},
    ],
    ids=repr,
)
async def test_json_is_json_in_any_spelling(
    serve: Serve, july: July, headers: dict[str, str]
) -> None:
    assert (await serve().post(july(), **headers)).status_code == 200


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY", "post"]
)
async def test_another_method_is_405(serve: Serve, method: str) -> None:
    response = await serve().client.request(method.encode("ascii"), PATH)

    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    if method != "HEAD":
        assert read_error(response)["code"] == "http"


@pytest.mark.parametrize(
    "path",
    ["/", "/api", PATH + "/", PATH[:-1], "/%00", "/%ff", "/" + "x" * 5000, "/livez/", PATH.upper()],
    ids=range(9),
)
async def test_another_path_is_404(serve: Serve, path: str) -> None:
    response = await serve().client.post(path, headers=JSON, content=b"{}")

    assert response.status_code == 404
    assert read_error(response)["code"] == "http"


# --- what cannot be answered ---


class Failing:
    """A backend that fails in a way of choice."""

    description = "failing"
    most_queries = 100

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def query(self, query: object, caller: object) -> Any:
        del query, caller
        raise self._error

    def explain(self, query: object, caller: object) -> str:
        raise NotImplementedError

    async def metadata_keys(
        self, datasource: object, start: object, end: object, caller: object
    ) -> Any:
        raise NotImplementedError

    async def aclose(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (EngineError("a Parquet file cannot be read"), "engine", "a Parquet file cannot be read"),
        (GatewayMetricsError("strange"), "internal", "strange"),
        (SettingsError("/secret is not there", public="set it up"), "settings", "set it up"),
        (RuntimeError("secret"), "internal", "a fault of this server; its log says more"),
    ],
    ids=repr,
)
async def test_what_the_asker_cannot_mend_is_500_and_in_the_log(
    serve: Serve,
    july: July,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    code: str,
    message: str,
) -> None:
    response = await serve(backend=Failing(error)).post(july())

    read = read_error(response)
    assert (response.status_code, read["code"], read["message"]) == (500, code, message)
    assert str(error) in caplog.text


@pytest.mark.parametrize("error", [UnavailableError("it is away"), RateLimitedError("slowly")])
async def test_what_passes_by_itself_is_503(serve: Serve, july: July, error: Exception) -> None:
    response = await serve(backend=Failing(error)).post(july())

    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert read_error(response)["message"] == str(error)


async def test_a_damaged_file_is_500_in_our_words(serve: Serve, july: July, tmp_path: Path) -> None:
    table = tmp_path / "gateway_model_metrics"
    table.mkdir()
    await anyio.Path(table / "x.parquet").write_bytes(b"PAR1 no parquet at all PAR1")

    response = await serve(at=tmp_path).post(july())

    read = read_error(response)
    assert (response.status_code, read["code"]) == (500, "engine")
    assert str(tmp_path) not in response.text


async def test_more_rows_than_the_cap_are_400_and_counted(
    serve: Serve, july: July, directory: Path, catalog: Any
) -> None:
    api = serve(backend=DuckDBBackend(directory, catalog, row_cap=1))
    response = await api.post(july(groupBy=["modelName"]))

    read = read_error(response)
    assert (response.status_code, read["code"]) == (400, "too_many_rows")
    assert read["message"].startswith("the answer would have 2 rows, the limit is 1. Ask a shorter")


async def test_a_question_too_large_for_the_engines_memory_is_400_and_says_what_helps(
    serve: Serve,
    july: July,
    long_directory: Path,
    catalog: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    backend = DuckDBBackend(long_directory, catalog, threads=1, memory_limit="10MB")
    api = serve(backend=backend)
    columns = [{"type": name, "column": "latencyMs"} for name in PERCENTILES]
    columns.append({"type": "countDistinct", "column": "modelName"})

    response = await api.post(july(aggregations=columns))

    read = read_error(response)
    assert (response.status_code, read["code"]) == (400, "query_too_large")
    assert read["message"].startswith("the question needs more memory than the engine may use. Ask")
    assert "OutOfMemoryException" in caplog.text
    assert await api.rows(july()) == [{"total": 2_000_000}]


async def test_it_lives_whatever_the_backend_does_and_is_ready_when_it_answers(
    serve: Serve,
) -> None:
    good, bad = serve(), serve(backend=Failing(EngineError("no disk")))

    statuses = [
        (await api.client.get(path)).status_code
        for api in (good, bad)
        for path in ("/livez", "/readyz")
    ]
    response = await bad.client.get("/readyz")

    assert statuses == [200, 200, 200, 503]
    assert read_error(response)["message"] == "no disk"
    assert response.headers["retry-after"] == "5"


# --- answers ---


async def test_whole_numbers_of_any_size_and_money_stay_exact(
    serve: Serve, july: July, write_rows: Callable[..., Path], tmp_path: Path
) -> None:
    row = {"InputTokens": 2**63 - 1, "CostInUSD": 0.1, "LatencyMs": float("nan")}
    write_rows(tmp_path, [row] * 3)
    pairs = (("sum", "inputTokens"), ("sum", "costInUSD"), ("max", "latencyMs"))
    body = july(aggregations=[{"type": type_, "column": column} for type_, column in pairs])

    response = await serve(at=tmp_path).post(body)

    assert response.headers["content-type"] == "application/json"
    assert response.text == (
        '{"data":{"dataPoints":[{"total":3,"sumInputTokens":27670116110564327421,'
        '"sumCostInUSD":0.30000000000000004,"maxLatencyMs":null}]}}'
    )


async def test_no_row_and_no_bucket_are_an_empty_list(serve: Serve, july: July) -> None:
    empty = july(startTs="2027-01-01T00:00:00Z", endTs="2027-02-01T00:00:00Z")

    assert await serve().rows(empty) == [{"total": 0}]
    assert await serve().rows({**empty, "groupBy": ["team"]}) == []
    assert await serve().rows({**empty, "type": "timeseries", "interval": "1 day"}) == []
