"""What the API says where a good query cannot be answered, and how it writes numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend
from gateway_metrics_mcp.errors import (
    EngineError,
    GatewayMetricsError,
    RateLimitedError,
    SettingsError,
    UnavailableError,
)
from gateway_metrics_mcp.query.vocabulary import PERCENTILES

July = Callable[..., dict[str, Any]]
Serve = Callable[..., Any]
ReadError = Callable[[Any], dict[str, Any]]


# --- what cannot be answered ---


class Failing:
    """A backend that fails in a way of choice."""

    description = "failing"
    is_by_rulings = False
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
        (RuntimeError("secret"), "internal", "an internal error of this server; see its log"),
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
    read_error: ReadError,
) -> None:
    response = await serve(backend=Failing(error)).post(july())

    read = read_error(response)
    assert (response.status_code, read["code"], read["message"]) == (500, code, message)
    assert str(error) in caplog.text


@pytest.mark.parametrize("error", [UnavailableError("it is away"), RateLimitedError("slowly")])
async def test_what_passes_by_itself_is_503(
    serve: Serve, july: July, error: Exception, read_error: ReadError
) -> None:
    response = await serve(backend=Failing(error)).post(july())

    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert read_error(response)["message"] == str(error)


async def test_a_damaged_file_is_500_in_our_words(
    serve: Serve, july: July, tmp_path: Path, read_error: ReadError
) -> None:
    table = tmp_path / "gateway_model_metrics"
    table.mkdir()
    await anyio.Path(table / "x.parquet").write_bytes(b"PAR1 no parquet at all PAR1")

    response = await serve(at=tmp_path).post(july())

    read = read_error(response)
    assert (response.status_code, read["code"]) == (500, "engine")
    assert str(tmp_path) not in response.text


async def test_more_rows_than_the_cap_are_400_and_counted(
    serve: Serve, july: July, directory: Path, catalog: Any, read_error: ReadError
) -> None:
    api = serve(backend=DuckDBBackend(directory, catalog, row_cap=1))
    response = await api.post(july(groupBy=["modelName"]))

    read = read_error(response)
    assert (response.status_code, read["code"]) == (400, "too_many_rows")
    assert read["message"].startswith(
        "the answer would have 2 rows, the limit is 1. Ask for a shorter"
    )


async def test_a_question_too_large_for_the_engines_memory_is_400_and_says_what_helps(
    serve: Serve,
    july: July,
    long_directory: Path,
    catalog: Any,
    caplog: pytest.LogCaptureFixture,
    read_error: ReadError,
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
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = serve(), serve(backend=Failing(EngineError("no disk")))

    statuses = [
        (await api.client.get(path)).status_code
        for api in (good, bad)
        for path in ("/livez", "/readyz")
    ]
    response = await bad.client.get("/readyz")

    reason = "the backend cannot be used (engine); the log has details"
    assert statuses == [200, 200, 200, 503]
    assert response.json() == {"status": "not ready", "reason": reason}
    assert "not ready: no disk" in caplog.text


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
