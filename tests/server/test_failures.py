"""A server whose backend is down, unset or wrong: it starts, lists, and says what to do."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import anyio
import duckdb
import pytest
from mcp.client import Client
from mcp.client.sse import sse_client
from mcp_types import CallToolResult
from starlette.applications import Starlette

from gateway_metrics_mcp.backends.factory import BackendHolder
from gateway_metrics_mcp.http.transports import build_sse_app
from gateway_metrics_mcp.query.model import Caller, Query
from gateway_metrics_mcp.query.result import Result
from gateway_metrics_mcp.query.vocabulary import DatasourceName
from gateway_metrics_mcp.server.app import MetricsServer, build_server
from gateway_metrics_mcp.server.tools import TOOLS
from gateway_metrics_mcp.settings import Settings

TOKEN: Final = "tok-secret-1234"  # noqa: S105 - planted: no error may show it
WEEK: Final = {"startTs": "last 7 days"}
BACKENDS: Final = (
    (None, "Error (settings): no backend is set. Set TFY_HOST, or --backend or"),
    ("ftp://example.com", "Error (settings): the scheme of the backend is unknown. Give "),
    ("/nowhere/at/all", "Error (settings): the data directory of this server cannot be used"),
    ("https://127.0.0.1:1", "Error (unreachable): "),
    (
        "https://name:pass@gateway.example.com",
        ("Error (settings): the gateway's host contains a user"),
    ),
    ("http://gateway.example.com", "Error (settings): the gateway's host begins with http://"),
    ("https://", "Error (settings): the gateway's host is not an address. Give "),
)

Serve = Callable[..., MetricsServer]
TextOf = Callable[[CallToolResult], tuple[str, bool]]


@pytest.fixture(autouse=True)
def proxyless(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy and no certificates of the machine that the tests happen to run on."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize(("backend", "error"), BACKENDS)
async def test_a_server_without_a_working_backend_lists_its_tools_and_says_what_to_do(
    text_of: TextOf,
    caplog: pytest.LogCaptureFixture,
    backend: str | None,
    error: str,
    mode: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    server = build_server(Settings(backend=backend, token=TOKEN))
    async with Client(server, mode=mode) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        fields, fields_failed = text_of(await client.call_tool("list_fields", {}))
        text, is_error = text_of(await client.call_tool("query_distribution", WEEK))

    assert (names, fields_failed, is_error) == (list(TOOLS), False, True)
    assert fields.startswith("# datasources")
    assert text.startswith(error)
    assert [
        secret for secret in (TOKEN, "pass@", "127.0.0.1:1", "Traceback") if secret in text
    ] == []
    assert TOKEN not in caplog.text


async def test_a_gateway_without_a_token_names_the_variable(text_of: TextOf) -> None:
    async with Client(build_server(Settings(backend="https://127.0.0.1:1"))) as client:
        text, is_error = text_of(await client.call_tool("query_distribution", WEEK))

    assert is_error
    assert text.startswith("Error (settings): there is no gateway token: set TFY_API_KEY")


async def test_a_wrong_catalog_file_is_named_in_every_answer(
    tmp_path: Path, text_of: TextOf, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "own.json"
    file.write_text('{"datasources": {"nothing": {}}}')
    async with Client(build_server(Settings(catalog=file))) as client:
        answers = [
            text_of(await client.call_tool(tool, WEEK if "query" in tool else {})) for tool in TOOLS
        ]

    assert {is_error for _, is_error in answers} == {True}
    (text,) = {text for text, _ in answers}
    assert text.startswith("Error (settings): the catalog file of this server cannot be used")
    assert str(file) not in text
    assert f"the catalog file {file}: unknown datasource 'nothing'" in caplog.text


async def test_a_backend_that_comes_up_later_answers(
    tmp_path: Path, directory: Path, text_of: TextOf
) -> None:
    later = tmp_path / "later"
    async with Client(build_server(Settings(backend=str(later)))) as client:
        _, failed_before = text_of(await client.call_tool("query_distribution", WEEK))
        later.symlink_to(directory)
        _, failed_after = text_of(await client.call_tool("query_distribution", WEEK))

    assert (failed_before, failed_after) == (True, False)


class _Broken:
    description = "broken"
    is_by_rulings = False

    async def query(self, query: Query, caller: Caller) -> Result:
        raise RuntimeError(f"at https://gateway.example.com with {TOKEN}: {query} {caller}")

    def explain(self, query: Query, caller: Caller) -> str:
        raise NotImplementedError

    async def metadata_keys(
        self, datasource: DatasourceName, start: datetime, end: datetime, caller: Caller
    ) -> Result | None:
        raise NotImplementedError

    async def aclose(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize("arguments", [WEEK, {**WEEK, "groupBy": ["modelName"]}])
async def test_a_fault_of_ours_is_logged_and_not_shown(
    serve: Serve,
    text_of: TextOf,
    caplog: pytest.LogCaptureFixture,
    mode: str,
    arguments: dict[str, Any],
) -> None:
    async with Client(serve(_Broken()), mode=mode) as client:
        answer = text_of(await client.call_tool("query_distribution", arguments))

    assert answer == ("Error (internal): an internal error of this server; see its log.", True)
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage() == 'tool "query_distribution" failed'
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], RuntimeError)


async def test_the_name_of_an_unknown_tool_is_quoted_and_cut(serve: Serve, text_of: TextOf) -> None:
    async with Client(serve()) as client:
        text, is_error = text_of(await client.call_tool("query\n" + "x" * 500, {}))

    assert is_error
    assert text.startswith('Error (unknown_tool): no tool "query\\u000axxx')
    assert len(text) < 500


async def test_a_question_too_large_for_the_engine_is_said_with_what_helps(
    tmp_path: Path, text_of: TextOf
) -> None:
    table = tmp_path / "gateway_model_metrics"
    table.mkdir()
    columns = "TIMESTAMPTZ '2025-03-01 10:00:00Z' AS CreatedAt, i::VARCHAR AS ModelName"
    rows = f"SELECT {columns}, random() AS LatencyMs FROM range(2_000_000) AS r(i)"  # noqa: S608 - our own
    duckdb.execute(f"COPY ({rows}) TO '{table / 'rows.parquet'}' (FORMAT parquet)")
    settings = Settings(backend=str(tmp_path), memory="10MB", threads=1)
    question = {"startTs": "2025-03-01", "endTs": "2025-03-03"}
    async with Client(build_server(settings)) as client:
        measures = ["p5 latencyMs", "p50 latencyMs", "p99 latencyMs", "countDistinct modelName"]
        large = {**question, "aggregations": measures}
        text, is_error = text_of(await client.call_tool("query_distribution", large))
        _, small_failed = text_of(await client.call_tool("query_distribution", question))

    assert (is_error, small_failed) == (True, False)
    assert text == (
        "Error (query_too_large): the question needs more memory than the engine may use. Ask for a"
        " shorter window, fewer percentiles or fewer groups, or raise the memory limit"
    )


async def test_one_connection_that_ends_leaves_the_backend_open_for_the_other(
    directory: Path,
    listen: Callable[[Starlette], AbstractAsyncContextManager[int]],
    text_of: TextOf,
) -> None:
    settings = Settings(backend=str(directory))
    question = {"startTs": "2025-03-01", "endTs": "2025-03-03"}
    async with listen(build_sse_app(build_server(settings), settings)) as port:
        url = f"http://127.0.0.1:{port}/sse"
        async with Client(sse_client(url)) as staying:
            async with Client(sse_client(url)) as leaving:
                first = text_of(await leaving.call_tool("query_distribution", question))
            second = text_of(await staying.call_tool("query_distribution", question))
        async with Client(sse_client(url)) as coming:
            third = text_of(await coming.call_tool("query_distribution", question))

    assert (first[1], second, third) == (False, first, first)


async def test_the_backend_stays_open_as_long_as_anyone_holds_it(directory: Path) -> None:
    opening = BackendHolder(Settings(backend=str(directory)), lambda: datetime.now(UTC))
    async with opening.hold():
        first = await opening.get()
        async with opening.hold():
            second = await opening.get()
        third = await opening.get()
    async with opening.hold():
        fourth = await opening.get()

    assert (second, third) == (first, first)
    assert fourth is not first


async def test_a_server_opens_its_backend_again_for_the_next_client(
    directory: Path, text_of: TextOf
) -> None:
    server = build_server(Settings(backend=str(directory)))
    answers = []
    for _ in range(2):
        async with Client(server) as client:
            answers.append(text_of(await client.call_tool("query_distribution", WEEK)))

    assert [is_error for _, is_error in answers] == [False, False]


async def test_a_gateway_that_never_answers_is_given_up(text_of: TextOf) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        backend = f"http://127.0.0.1:{silent.getsockname()[1]}"
        settings = Settings(backend=backend, token=TOKEN, timeout=0.2)
        async with Client(build_server(settings)) as client:
            with anyio.fail_after(60):
                text, is_error = text_of(await client.call_tool("query_distribution", WEEK))

    assert is_error
    assert text.startswith("Error (timeout): ")
