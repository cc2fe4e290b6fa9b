"""Resources: the catalog, and all rows of an answer that had to leave some out."""

from __future__ import annotations

import csv
import io
import json
import logging
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote as percent_encode
from urllib.parse import unquote

import duckdb
import pytest
from mcp import MCPError
from mcp.client import Client
from mcp_types import CallToolResult, TextResourceContents

from gateway_metrics_mcp.query.vocabulary import DATASOURCES
from gateway_metrics_mcp.server.app import MetricsServer, build_server
from gateway_metrics_mcp.settings import Settings

Connect = Callable[[str, str], AbstractAsyncContextManager[Client]]
TextOf = Callable[[CallToolResult], tuple[str, bool]]

MARCH: Final = {"startTs": "2025-03-01", "endTs": "2025-03-08"}
ROWS: Final = "gateway-metrics://rows"
ALL_MODELS: Final = "gateway-metrics://rows?groupBy=modelName&startTs=2025-03-01&endTs=2025-03-08"
ARGUMENTS: Final = (
    *("datasource", "aggregations", "groupBy", "filters", "startTs", "endTs", "timezone"),
    *("compareTo", "orderBy", "interval"),
)
OLDER: Final = (
    "gateway-metrics://rows/('groupBy':!'modelName';,'startTs':'2025-03-01','endTs':'2025-03-08')"
)
INVALID: Final = -32602
INTERNAL: Final = -32603
_MANY: Final = """
    SELECT TIMESTAMPTZ '2025-03-01 00:00:00Z' + INTERVAL (n % 96) HOUR AS CreatedAt,
        'model-' || (n % 40) AS ModelName, n AS InputTokens, n * 0.0371 AS CostInUSD
    FROM range(4000) AS numbers(n)
"""


@pytest.fixture(params=["auto", "legacy"])
async def client(request: pytest.FixtureRequest, connect: Connect) -> AsyncIterator[Client]:
    async with connect("memory", request.param) as client:
        yield client


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty models over four days, more than an answer shows."""
    directory = tmp_path_factory.mktemp("many")
    (directory / "gateway_model_metrics").mkdir()
    file = directory / "gateway_model_metrics" / "rows.parquet"
    duckdb.execute(f"COPY ({_MANY}) TO '{file}' (FORMAT parquet)")
    return directory


@pytest.fixture
def serve_many(many: Path) -> Callable[..., MetricsServer]:
    def serve(**settings: Any) -> MetricsServer:
        return build_server(Settings(backend=str(many), **settings))

    return serve


async def read(client: Client, uri: str) -> TextResourceContents:
    (content,) = (await client.read_resource(uri)).contents
    assert isinstance(content, TextResourceContents)
    return content


async def refusal(client: Client, uri: str) -> tuple[int, str]:
    with pytest.raises(MCPError) as caught:
        await client.read_resource(uri)
    is_ours = caught.value.error.code == INTERNAL
    assert caught.value.error.data == (None if is_ours else {"uri": uri})
    return caught.value.error.code, caught.value.error.message


def link_in(text: str) -> str:
    (link,) = re.findall(rf"(?m)^# .* as CSV: resource ({re.escape(ROWS)}\S+)\Z", text)
    return str(link)


def cells(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


async def test_the_catalogs_are_listed_and_the_rest_are_templates(client: Client) -> None:
    listed = (await client.list_resources()).resources
    templates = (await client.list_resource_templates()).resource_templates

    assert [one.uri for one in listed] == [
        "gateway-metrics://catalog",
        *(f"gateway-metrics://catalog/{name}" for name in DATASOURCES),
    ]
    assert [(one.uri_template, one.mime_type) for one in templates] == [
        ("gateway-metrics://catalog/{datasource}", "text/markdown"),
        (ROWS + "{?" + ",".join(ARGUMENTS) + "}", "text/csv"),
    ]
    assert all(one.title and one.description for one in listed)
    assert all(one.title and one.description for one in templates)


@pytest.mark.parametrize("datasource", DATASOURCES)
async def test_a_catalog_says_what_list_fields_says(
    client: Client, text_of: TextOf, datasource: str
) -> None:
    content = await read(client, f"gateway-metrics://catalog/{datasource}")
    whole = await read(client, "gateway-metrics://catalog")

    text, _ = text_of(await client.call_tool("list_fields", {"datasource": datasource}))
    listed, _ = text_of(await client.call_tool("list_fields", {}))
    assert (content.text, content.mime_type) == (text, "text/markdown")
    assert whole.text.startswith(listed)
    assert f"\n\n{text}" in whole.text


async def test_an_unknown_datasource_is_not_found_with_the_nearest(client: Client) -> None:
    code, message = await refusal(client, "gateway-metrics://catalog/modelMetric")

    assert code == INVALID
    assert message.startswith(
        'Error (unknown_resource): no datasource "modelMetric". Did you mean modelMetrics'
    )


@pytest.mark.parametrize(
    "uri",
    ["gateway-metrics://catalogue", "gateway-metrics://", "file:///etc/passwd", "x", "../catalog"],
)
async def test_what_is_no_resource_is_not_found(client: Client, uri: str) -> None:
    code, message = await refusal(client, uri)

    assert code == INVALID
    assert message.startswith(f'Error (unknown_resource): no resource "{uri}". ')
    assert "gateway-metrics://catalog, " in message


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("query_distribution", {"groupBy": ["modelName"]}),
        ("query_distribution", {"groupBy": ["modelName"], "compareTo": "1 day"}),
        ("query_distribution", {"groupBy": ["modelName"], "orderBy": "-total", "limit": 3}),
        ("query_timeseries", {"groupBy": ["modelName"]}),
        (
            "query_timeseries",
            {"groupBy": ["modelName"], "interval": "1 day", "timezone": "Asia/Tokyo"},
        ),
        ("query_timeseries", {"interval": "1 hour"}),
    ],
)
async def test_a_cut_answer_names_the_rows_that_it_leaves_out(
    serve_many: Callable[..., MetricsServer],
    text_of: TextOf,
    mode: str,
    tool: str,
    arguments: dict[str, Any],
) -> None:
    question = {**MARCH, "aggregations": ["sum costInUSD", "share"], **arguments}
    async with Client(serve_many(budget=650), mode=mode) as client:
        answer, is_error = text_of(await client.call_tool(tool, question))
        assert not is_error, answer
        content = await read(client, link_in(answer))
    most = {**question, "format": "json", "limit": 40}
    async with Client(serve_many(budget=12_000)) as client:
        whole, _ = text_of(await client.call_tool(tool, most))

    body = json.loads(whole)
    head, *rows = cells(content.text)
    assert content.mime_type == "text/csv"
    assert head[-1] == body["columns"][-1]
    if tool == "query_distribution":
        assert body["isComplete"]
        assert rows == [["" if v is None else str(v) for v in row] for row in body["rows"]]
    else:
        totals = [int(row[head.index("total")]) for row in rows]
        assert sum(totals) == 4000


async def test_rows_are_those_of_the_answer_when_it_was_given(
    serve_many: Callable[..., MetricsServer], text_of: TextOf
) -> None:
    async with Client(serve_many(budget=600)) as client:
        now = {"startTs": "2025-03-01", "endTs": "now"}
        question = {**now, "groupBy": ["modelName"], "limit": 3}
        answer, _ = text_of(await client.call_tool("query_distribution", question))

    link = link_in(answer)
    assert "now" not in link
    async with Client(serve_many()) as client:  # a replica that never saw the question
        assert len(cells((await read(client, link)).text)) == 41


async def test_an_explanation_has_no_rows(
    serve_many: Callable[..., MetricsServer], text_of: TextOf
) -> None:
    async with Client(serve_many(budget=600)) as client:
        question = {**MARCH, "groupBy": ["modelName"], "format": "explain"}
        answer, _ = text_of(await client.call_tool("query_distribution", question))

    assert ROWS not in answer


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?startTs=now-7d&endTs=2025-03-08", 'startTs: "now-7d" is not absolute. Give'),
        ("?startTs=2025-03-01T00:00Z", "endTs: missing. Give an absolute one"),
        ("?startTs=2025-03-01&startTs=2025-03-02&endTs=2025-03-08", "is not absolute. Give"),
        (
            "?groupBy=modelNam&startTs=2025-03-01&endTs=2025-03-08&limit=3",
            '- "limit": is not a parameter of such a resource.',
        ),
        (
            "?groupBy=modelNam&startTs=2025-03-01&endTs=2025-03-08&limit=3",
            '\n- groupBy[0]: "modelNam" ',
        ),
        ("?filters=modelName&startTs=2025-03-01&endTs=2025-03-08", "- filters[0]: expected {"),
        (
            "?filters=modelName,EQUALL,a&startTs=2025-03-01&endTs=2025-03-08",
            '- filters[0].operator: "EQUALL" is unknown. Did you mean',
        ),
        ("/('startTs':'now-7d','endTs':'2025-03-08')", 'startTs: "now-7d" is not absolute. Give'),
        ("/('startTs':'2025-03-01T00:00Z')", "endTs: missing. Give an absolute one"),
        ("/!1,2;", "- query: expected an object, got [1, 2]"),
    ],
)
async def test_a_wrong_query_is_refused_with_what_is_wrong(
    client: Client, query: str, said: str
) -> None:
    code, message = await refusal(client, ROWS + query)

    assert code == INVALID
    assert message.startswith("Invalid arguments for resource:rows:\n- ")
    assert said in message


NESTED: Final = f"/('orderBy':{'!' * 900}{';' * 900},'startTs':'2026-07-01','endTs':'2026-07-02')"


@pytest.mark.parametrize(
    "query",
    [
        *("", "?", "?x", "?groupBy=", "?groupBy=%ff", f"?groupBy={'x' * 3000}"),
        *("/", "/x", "/('a':", "/%ff", "/%7B%7D%7D", f"/{'(' * 3000}", f"/{'!' * 1400}", NESTED),
    ],
)
async def test_what_holds_no_query_has_no_rows(client: Client, query: str) -> None:
    code, message = await refusal(client, ROWS + query)

    assert code == INVALID
    assert message == (
        "Error (unknown_resource): not a rows URI: copy the whole URI from the last line"
        " of an answer"
    )


@pytest.mark.parametrize(
    "older",
    [
        OLDER,
        f"{ROWS}/{percent_encode(unquote(OLDER.removeprefix(ROWS + '/')), safe='')}",
        f'{ROWS}/{{"groupBy":["modelName"],"startTs":"2025-03-01","endTs":"2025-03-08"}}',
    ],
)
async def test_uris_of_the_earlier_form_name_the_same_rows(client: Client, older: str) -> None:
    assert (await read(client, older)).text == (await read(client, ALL_MODELS)).text


async def test_rows_without_a_backend_say_so_as_the_tools_do() -> None:
    async with Client(build_server(Settings(backend="/no/such/place"))) as client:
        code, message = await refusal(client, ALL_MODELS)

    assert code == INTERNAL
    assert message.startswith("Error (")
    assert "/no/such/place" not in message


async def test_more_than_clients_can_hold_is_refused(tmp_path: Path) -> None:
    (tmp_path / "gateway_model_metrics").mkdir()
    file = tmp_path / "gateway_model_metrics" / "rows.parquet"
    columns = "TIMESTAMPTZ '2025-03-01 00:00:00Z' AS CreatedAt, repeat('m', 95) || n AS ModelName"
    select = f"SELECT {columns} FROM range(60000) AS numbers(n)"  # noqa: S608 - our own words
    duckdb.execute(f"COPY ({select}) TO '{file}' (FORMAT parquet)")

    async with Client(build_server(Settings(backend=str(tmp_path)))) as client:
        code, message = await refusal(client, ALL_MODELS)

    assert code == INVALID
    assert message == (
        "Error (too_many_rows): all rows take 6.2 MB as CSV, the limit is 5 MB. Ask for a shorter"
        " window, fewer group-by fields, or filter"
    )


async def test_the_row_cap_of_the_engine_holds(serve_many: Callable[..., MetricsServer]) -> None:
    async with Client(serve_many(row_cap=10)) as client:
        code, message = await refusal(client, ALL_MODELS)

    assert (code, message[:22]) == (INVALID, "Error (too_many_rows):")


async def test_reading_is_counted_and_logged_without_what_was_read(
    serve_many: Callable[..., MetricsServer], caplog: pytest.LogCaptureFixture
) -> None:
    server = serve_many()
    with caplog.at_level(logging.INFO, "gateway_metrics_mcp"):
        async with Client(server, cache=None) as client:
            await read(client, ALL_MODELS)
            await read(client, "gateway-metrics://catalog")
            await refusal(client, "gateway-metrics://secret-name")

    names = [(tool, code) for tool, code in server.meter.calls]
    assert names == [
        ("resource:rows", "ok"),
        ("resource:catalog", "ok"),
        ("resource:unknown", "unknown_resource"),
    ]
    fields = [record.fields for record in caplog.records if hasattr(record, "fields")]
    assert [one["tool"] for one in fields] == [tool for tool, _ in names]
    assert fields[0]["rows"] == 40
    assert "secret-name" not in caplog.text
    assert "2025-03-08" not in caplog.text


@pytest.mark.parametrize(
    ("transport", "mode"), [("http", "legacy"), ("http", "auto"), ("stdio", "legacy")]
)
async def test_over_every_transport(connect: Connect, transport: str, mode: str) -> None:
    async with connect(transport, mode) as client:
        content = await read(client, ALL_MODELS)
        code, _ = await refusal(client, "gateway-metrics://rows/x")

    assert content.text == "modelName,total\ngpt-4o,2\nclaude,1\n"
    assert content.uri == ALL_MODELS
    assert code == INVALID
