"""What an answer heads its columns with, and writes in its cells, can be given back."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from mcp.client import Client
from mcp_types import TextContent, TextResourceContents

from gateway_metrics_mcp.query.catalog import Catalog, load_catalog
from gateway_metrics_mcp.query.model import LOCAL, Query
from gateway_metrics_mcp.query.vocabulary import DatasourceName
from gateway_metrics_mcp.rendering.charts.chart import choose_chart
from gateway_metrics_mcp.rendering.report_document import ReportDocument
from gateway_metrics_mcp.reports.request import ParserOptions, read_distribution
from gateway_metrics_mcp.server.app import MetricsServer
from gateway_metrics_mcp.server.tools import ToolContext, answer_call
from gateway_metrics_mcp.settings import Settings

NOW: Final = datetime(2026, 7, 15, 9, 30, tzinfo=UTC)
DAY: Final = {"startTs": "2026-07-14"}
BOTH: Final = ["userEmail", "virtualaccount"]
NO_FILTER: Final = frozenset(
    (
        *("errorCode", "createdBySubjectType", "conversationID"),
        *("configType", "status", "loadbalanceTargetAttemptCount"),
    )
)
"""Group-by fields of some datasource that the API cannot filter by there."""
FIELDS: Final = [
    (name, field)
    for name, datasource in load_catalog().datasources.items()
    for field in datasource.group_by
]


async def answer(server: MetricsServer, arguments: dict[str, Any]) -> str:
    """The text of an answer or a refusal."""
    async with Client(server) as client:
        result = await client.call_tool("query_distribution", arguments)
    block = result.content[0]
    assert isinstance(block, TextContent)
    assert not result.is_error, block.text
    return block.text


def headings_of(text: str) -> list[str]:
    """The headings of the table, or the names of the lines of a single row."""
    lines = [line for line in text.split("\n") if not line.startswith("# ")]
    if len(lines) > 1 and set(lines[1]) == {"-", "|"}:
        return lines[0].split("|")
    return [line.partition(": ")[0] for line in lines]


@pytest.fixture
def two(catalog: Catalog, sent: list[Query], recorder: Any, serve: Any) -> MetricsServer:
    """A server over a backend that answers two rows to everything."""
    made: MetricsServer = serve(recorder(catalog, sent, ("one", "two")))
    return made


@pytest.mark.parametrize(("datasource", "field"), FIELDS)
async def test_a_key_is_headed_by_a_name_that_every_argument_takes(
    two: MetricsServer, catalog: Catalog, datasource: DatasourceName, field: str
) -> None:
    asked = {**DAY, "datasource": datasource, "groupBy": [field]}

    heading = headings_of(await answer(two, asked))[0]

    assert headings_of(await answer(two, {**asked, "groupBy": [heading]}))[0] == heading
    for order in (
        heading,
        f"-{heading}",
        field,
        catalog.datasources[datasource].response_key(field),
    ):
        assert "sorted by" in await answer(two, {**asked, "orderBy": order})
    known = catalog.filter_field(datasource, catalog.canonical("filters", heading))
    if known is None:
        assert field in NO_FILTER
        return
    operator = next(o for o in ("IN", "ARRAY_HAS_ANY", "EQUAL") if o in known.allowed)
    value: Any = True if known.type == "boolean" else 1 if known.type == "number" else "one"
    filters = [
        {
            "fieldName": heading,
            "operator": operator,
            "value": value if operator == "EQUAL" else [value],
        }
    ]
    await answer(two, {**asked, "filters": filters})


@pytest.mark.parametrize("datasource", [*load_catalog().datasources])
async def test_every_value_is_headed_by_a_name_that_can_be_asked_and_sorted_by(
    two: MetricsServer, catalog: Catalog, datasource: DatasourceName
) -> None:
    known = catalog.datasources[datasource]
    entries = [f"{of} {name}" for name, one in known.columns.items() for of in one.aggregations]
    entries = [entry for entry in entries if not entry.startswith("rate")]
    values = [*entries, *catalog.measures[datasource], "share"]
    arguments = {**DAY, "datasource": datasource, "groupBy": [next(iter(known.group_by))]}
    options = ParserOptions(catalog)
    for value in values if len(values) < 20 else values[::7]:
        asked = {**arguments, "aggregations": [value], "compareTo": "previous"}
        for heading in headings_of(await answer(two, asked))[1:]:
            order = read_distribution({**asked, "orderBy": heading}, options, NOW).order_by or ""
            assert order == heading.partition(" (")[0]
            if "_" not in order and order != "total":
                given = {**asked, "aggregations": [heading]}
                assert read_distribution(given, options, NOW).values[1].name == order


@pytest.mark.parametrize(
    "group_by",
    [BOTH, BOTH[::-1], ["userEmail/virtualaccount"], ["createdBySubjectSlug"]],
)
async def test_a_column_of_users_and_virtual_accounts_is_named_for_both(
    two: MetricsServer, group_by: list[str]
) -> None:
    text = await answer(two, {**DAY, "groupBy": group_by})
    heading = headings_of(text)[0]

    assert set(heading.split("/")) == set(BOTH)
    for order in (heading, "createdBySubjectSlug", *BOTH):
        asked = {**DAY, "groupBy": [*group_by, "modelName"], "orderBy": f"-{order}"}
        assert f"sorted by {heading} asc" in await answer(two, asked)


async def test_json_csv_and_pictures_have_the_same_names(
    two: MetricsServer, catalog: Catalog, recorder: Any, sent: list[Query]
) -> None:
    asked = {**DAY, "groupBy": ["userEmail"], "aggregations": ["sum costInUSD"]}
    body = json.loads(await answer(two, {**asked, "format": "json"}))
    async with Client(two) as client:
        uri = "gateway-metrics://rows?groupBy=userEmail&startTs=2026-07-14&endTs=2026-07-15"
        contents = (await client.read_resource(uri)).contents[0]
    assert isinstance(contents, TextResourceContents)

    async def backend() -> Any:
        return recorder(catalog, sent, ("one", "two"))

    context = ToolContext(Settings(), backend, lambda: NOW)
    told = await answer_call(context, "query_distribution", asked, LOCAL)
    assert isinstance(told.document, ReportDocument)
    chart = choose_chart(told.document)

    assert body["columns"] == ["userEmail", "total", "sumCostInUSD"]
    assert body["request"]["groupBy"] == ["userEmail"]
    assert next(csv.reader(io.StringIO(contents.text))) == ["userEmail", "total"]
    assert chart is not None
    assert "createdBySubjectSlug" not in repr(chart)


async def test_a_series_of_users_is_named_for_what_was_asked(
    two: MetricsServer, make_json: Callable[..., Any]
) -> None:
    body = await make_json(two, {**DAY, "groupBy": ["virtualAccount"], "interval": "6 hours"})

    assert body["columns"] == ["startTimestamp", "virtualaccount", "total"]


@pytest.fixture
def make_json() -> Callable[..., Any]:
    """Ask `query_timeseries` for JSON."""

    async def ask(server: MetricsServer, arguments: dict[str, Any]) -> Any:
        async with Client(server) as client:
            result = await client.call_tool("query_timeseries", {**arguments, "format": "json"})
        block = result.content[0]
        assert isinstance(block, TextContent)
        return json.loads(block.text)

    return ask
