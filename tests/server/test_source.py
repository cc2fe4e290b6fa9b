"""Each answer names where its figures come from: the demo, a gateway's host, a directory."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from mcp.client import Client
from mcp_types import TextContent, TextResourceContents
from pydantic import SecretStr
from tests import loopback

from gateway_metrics_mcp.backends.factory import BackendHolder
from gateway_metrics_mcp.http.api import MetricsApi, build_api_app
from gateway_metrics_mcp.query.model import LOCAL, Caller
from gateway_metrics_mcp.rendering.charts.chart import choose_chart
from gateway_metrics_mcp.rendering.report_document import ReportDocument
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.server.tools import ToolContext, answer_call
from gateway_metrics_mcp.settings import Settings

TOKEN: Final = "tok-secret-1234"  # noqa: S105 - planted: no answer may show it
DAY: Final = {"startTs": "2025-03-01T00:00:00Z", "endTs": "2025-03-03T00:00:00Z"}
BY_MODEL: Final = {**DAY, "groupBy": ["modelName"], "aggregations": ["sum costInUSD"]}
NOBODY: Final = [{"fieldName": "modelName", "operator": "IN", "value": ["nobody's"]}]
CALLS: Final[list[tuple[str, dict[str, Any]]]] = [
    ("query_distribution", DAY),
    ("query_distribution", BY_MODEL),
    ("query_distribution", {**BY_MODEL, "format": "exact"}),
    ("query_distribution", {**BY_MODEL, "format": "explain"}),
    ("query_distribution", {**BY_MODEL, "limit": 1, "offset": 1}),
    ("query_distribution", {**BY_MODEL, "compareTo": "previous"}),
    ("query_distribution", {**BY_MODEL, "filters": NOBODY}),
    ("query_timeseries", {**BY_MODEL, "interval": "1 day"}),
    ("query_timeseries", {**DAY, "interval": "1 day", "filters": NOBODY}),
    ("list_values", {**DAY, "field": "modelName"}),
    ("list_values", {**DAY, "field": "modelName", "search": "nothing"}),
]


async def call(settings: Settings, name: str, arguments: dict[str, Any]) -> str:
    """The text of an answer, through a client in memory."""
    async with Client(build_server(settings)) as client:
        result = await client.call_tool(name, arguments)
    block = result.content[0]
    assert isinstance(block, TextContent)
    assert not result.is_error, block.text
    return block.text


def source_of(text: str) -> str:
    """The last part of an answer's first line."""
    return text.split("\n", maxsplit=1)[0].rpartition(" | ")[2]


@pytest.mark.parametrize(("name", "arguments"), CALLS)
async def test_the_first_line_of_an_answer_ends_with_the_directorys_name(
    directory: Path, name: str, arguments: dict[str, Any]
) -> None:
    text = await call(Settings(backend=str(directory)), name, arguments)

    assert source_of(text) == directory.name
    assert str(directory.parent) not in text


@pytest.mark.parametrize("name", ["query_distribution", "list_values"])
async def test_a_demo_says_that_its_figures_are_invented(
    name: str, demo_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(demo_cache.parent))
    arguments = {"startTs": "now-1h", **({"field": "team"} if name == "list_values" else {})}

    plain = await call(Settings(backend="demo:"), name, arguments)
    named = await call(Settings(backend=" demo:7", source_name="prod"), name, arguments)

    assert source_of(plain) == "demo data, invented"
    assert source_of(named) == "prod: demo data, invented"


async def test_a_gateway_is_named_by_its_host_without_path_and_token(directory: Path) -> None:
    settings = Settings(backend=str(directory))
    async with loopback.listen(build_api_app(MetricsApi(settings), settings)) as port:
        gateway = Settings(backend=f"http://127.0.0.1:{port}/", token=SecretStr(TOKEN))
        text = await call(gateway, "query_distribution", BY_MODEL)
        asked = await call(gateway, "query_distribution", {**BY_MODEL, "format": "explain"})

    assert source_of(text) == source_of(asked) == f"127.0.0.1:{port}"
    assert TOKEN not in text + asked


@pytest.mark.parametrize(
    ("backend", "source"),
    [
        ("https://acme.truefoundry.cloud", "acme.truefoundry.cloud"),
        ("https://ACME.truefoundry.cloud:443/prefix/", "acme.truefoundry.cloud"),
        ("http://localhost:8443", "localhost:8443"),
        ("https://[::1]:8443", '"[::1]:8443"'),
        ("clickhouse://reader@ch.internal:8123/metrics", "ch.internal/metrics"),
        ("clickhouses://reader@ch.internal", "ch.internal/default"),
        ("/data/team%20costs", '"team%20costs"'),
        ("/data/prod/", "prod"),
        ("/data/prod/../staging", "staging"),
        ("/data/a|b", r'"a\|b"'),
        ("/data/a\n# 12 USD", r'"a\n# 12 USD"'),
        ("/data/demo data, invented", '"demo data, invented"'),
        ("/", "data directory"),
    ],
)
async def test_a_source_is_named_without_scheme_user_and_path(backend: str, source: str) -> None:
    assert _context(Settings(backend=backend)).source == source


@pytest.mark.parametrize(
    ("name", "source"),
    [("prod", "prod"), (" EU prod ", "EU prod"), ("a|b\n# c", r'"a\|b\n# c"'), ("", "data")],
)
def test_a_setting_names_the_source_and_is_made_safe(name: str, source: str) -> None:
    assert _context(Settings(backend="/x/data", source_name=name)).source == source


def test_a_name_with_an_address_is_masked_where_addresses_are() -> None:
    context = _context(Settings(backend="/x/ada@example.com"), b"key")

    assert context.source.startswith("user-")


async def test_json_names_the_source_in_a_key(directory: Path) -> None:
    text = await call(
        Settings(backend=str(directory)), "query_distribution", {**BY_MODEL, "format": "json"}
    )

    assert json.loads(text)["source"] == directory.name


async def test_the_notes_of_a_csv_resource_end_their_first_line_with_the_source(
    directory: Path,
) -> None:
    uri = (
        "gateway-metrics://rows?groupBy=modelName&startTs=2025-03-01T00:00:00Z"
        "&endTs=2025-03-03T00:00:00Z"
    )
    async with Client(build_server(Settings(backend=str(directory)))) as client:
        result = await client.read_resource(uri)
    contents = result.contents[0]
    assert isinstance(contents, TextResourceContents)
    assert contents.meta is not None

    assert source_of(contents.meta["gateway-metrics/notes"][0]) == directory.name


async def test_a_picture_names_its_source(directory: Path) -> None:
    context = _context(Settings(backend=str(directory)))

    for name, arguments in CALLS[1:2] + CALLS[7:8]:
        answer = await answer_call(context, name, arguments, LOCAL)
        assert isinstance(answer.document, ReportDocument)
        chart = choose_chart(answer.document)
        assert chart is not None
        assert chart.subtitle[1] == f"source: {directory.name}"


async def test_a_restricted_caller_reads_the_same_source(directory: Path) -> None:
    reader = Caller("ada@example.com")
    context = _context(Settings(backend=str(directory)))

    for name, arguments in CALLS:
        answer = await answer_call(context, name, arguments, reader)
        assert source_of(answer.text) == directory.name


@pytest.mark.parametrize("form", ["table", "aligned", "markdown", "csv"])
@pytest.mark.parametrize("question", [("distribution",), ("timeseries",), ("values", "modelName")])
def test_every_format_of_ask_names_the_source(
    run: Callable[..., Any], directory: Path, question: tuple[str, ...], form: str
) -> None:
    window = ("--range", "2025-03-01..2025-03-02", "--backend", str(directory))

    code, out, err = run("ask", *question, *window, "--format", form)

    assert code == 0, err
    line = (err if form == "csv" else out).split("\n")[0]
    assert line.replace("\\", "").endswith(f" | {directory.name}"), line


def test_the_values_of_ask_name_the_source_in_json(
    run: Callable[..., Any], directory: Path
) -> None:
    window = ("--range", "2025-03-01..2025-03-02", "--backend", str(directory))

    _, out, _ = run("ask", "values", "modelName", *window, "--format", "json")

    assert json.loads(out)["source"] == directory.name


def _now() -> datetime:
    return datetime(2026, 7, 15, 9, 30, tzinfo=UTC)


def _context(settings: Settings, key: bytes | None = None) -> ToolContext:
    return ToolContext(settings, BackendHolder(settings, _now).get, _now, key)
