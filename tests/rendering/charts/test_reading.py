"""What can be read off a picture: units, dates, names, rows, and where a line leads."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from mcp.client import Client
from mcp_types import CallToolResult, TextContent
from vl_convert import vegalite_to_svg

from gateway_metrics_mcp.backends.gateway.backend import GatewayBackend
from gateway_metrics_mcp.query.catalog import load_catalog
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.settings import Settings

Ask = Callable[..., Awaitable[CallToolResult]]
Specify = Callable[..., Awaitable[dict[str, Any]]]

COST: Final = {"aggregations": ["sum costInUSD"], "groupBy": ["modelName"]}
CUT: Final = {**COST, "startTs": "2026-07-08T06:00Z", "interval": "1 day"}
"""Its first and its last bucket are partial."""

DAYS: Final = {"startTs": "2026-07-13..", "interval": "1 day"}


def axes(specification: dict[str, Any], channel: str = "y") -> list[str]:
    return [panel["encoding"][channel]["axis"]["title"] for panel in specification["vconcat"]]


def names(specification: dict[str, Any]) -> list[list[str]]:
    panels = specification["vconcat"]
    return [panel["encoding"]["color"]["scale"]["domain"] for panel in panels]


def dotted_lines(svg: str) -> list[list[float]]:
    """How far each piece of each dotted line goes to the right."""
    paths = [p for p in re.findall("<path [^>]*>", svg) if 'stroke-dasharray="2,3"' in p]
    drawn = [part for p in paths for part in re.findall('d="([^"]*)"', p)[0].split("M")[1:]]
    points = [[float(x) for x in re.findall(r"(-?[\d.]+),", part)] for part in drawn]
    return [[b - a for a, b in pairwise(xs)] for xs in points]


async def test_no_dotted_line_leads_from_the_first_bucket_to_the_last(
    specify: Specify, many: Path
) -> None:
    specification = await specify(many, {**CUT, "limit": 2})
    (panel,) = specification["vconcat"]
    lines = dotted_lines(vegalite_to_svg(specification, allowed_base_urls=[]))

    assert len(lines) == 6, "two of each series, and of the rest"
    assert all(line == [pytest.approx(panel["width"] / 7, abs=1)] for line in lines)


async def test_buckets_that_are_all_partial_are_one_dotted_line(
    specify: Specify, many: Path
) -> None:
    asked = {**CUT, "startTs": "2026-07-13T06:00Z", "endTs": "2026-07-14T12:00Z", "limit": 1}
    lines = dotted_lines(vegalite_to_svg(await specify(many, asked), allowed_base_urls=[]))

    assert [len(line) for line in lines] == [1, 1], "one of the series, one of the rest"


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (
            ["rateSum inputTokens", "ratePerMinute inputTokens", "avg inputTokens"],
            [
                "rateSumInputTokens (tokens/s)",
                "ratePerMinuteInputTokens (tokens/min)",
                "avgInputTokens (tokens)",
            ],
        ),
        (
            ["rateSum inputTokens", "rateSum outputTokens", "avg inputTokens", "p50 inputTokens"],
            ["tokens/s", "tokens"],
        ),
        (
            ["rateSum costInUSD", "costPerRequest", "costPerMillionTokens"],
            ["rateSumCostInUSD (USD/s)", "costPerRequest (USD)", "costPerMillionTokens (USD)"],
        ),
        (["rateAvg latencyMs", "rateMax latencyMs"], ["ms/s"]),
    ],
)
async def test_an_axis_has_one_unit(
    specify: Specify, few: Path, values: list[str], shown: list[str]
) -> None:
    specification = await specify(few, {**DAYS, "aggregations": values})

    assert axes(specification) == shown


async def test_bars_of_different_measures_share_no_axis(specify: Specify, few: Path) -> None:
    values = ["costPerRequest", "costPerMillionTokens"]
    specification = await specify(few, {"startTs": "2026-07-13..", "aggregations": values})

    assert axes(specification, "x") == ["costPerRequest (USD)", "costPerMillionTokens (USD)"]


@pytest.mark.parametrize(("interval", "channel"), [({}, "x"), ({"interval": "1 day"}, "y")])
async def test_parts_of_a_whole_share_an_axis_in_percent(
    specify: Specify, interval: dict[str, str], channel: str, demo: Path
) -> None:
    values = ["cacheHitRate", "errorRate"]
    asked = {"datasource": "cacheMetrics", "aggregations": values, "startTs": "2026-07-13.."}
    specification = await specify(demo, asked | interval)

    assert axes(specification, channel) == ["%"]


async def test_the_unit_of_a_rate_stands_with_each_figure(specify: Specify, few: Path) -> None:
    specification = await specify(few, {**DAYS, "aggregations": ["ratePerMinute inputTokens"]})
    (panel,) = specification["vconcat"]

    assert specification["title"]["text"] == "ratePerMinuteInputTokens"
    assert panel["data"]["values"][1]["text"].endswith(" tokens/min")


async def test_the_unit_of_a_rate_is_its_own_where_the_name_has_none(
    specify: Specify, demo: Path
) -> None:
    values = ["rateSum potentialCostSavings"]
    asked = {**DAYS, "datasource": "cacheMetrics", "aggregations": values}
    specification = await specify(demo, asked)

    assert specification["title"]["text"] == "rateSumPotentialCostSavings (USD/s)"
    assert axes(specification) == ["rateSumPotentialCostSavings (USD/s)"]


@pytest.mark.parametrize(
    ("start", "interval", "form"),
    [
        ("2025-12-01", "1 week", "%Y-%m-%d"),
        ("2025-12-01", "1 month", "%Y-%m"),
        ("2026-01-05", "1 week", "%b %d"),
    ],
)
async def test_dates_of_several_years_have_the_year(
    specify: Specify, many: Path, start: str, interval: str, form: str
) -> None:
    asked = {**COST, "startTs": start, "endTs": "2026-07-15", "interval": interval}
    (panel,) = (await specify(many, asked))["vconcat"]
    axis = panel["encoding"]["x"]["axis"]
    labels = [datetime.fromisoformat(tick).strftime(axis["format"]) for tick in axis["values"]]

    assert axis["format"] == form
    assert len(set(labels)) == len(labels)


async def test_hours_over_the_turn_of_the_year_have_the_year(
    specify: Specify, make: Callable[..., Path]
) -> None:
    directory = make([(1, 1, "gpt-4o", 1.0)], month=1)
    asked = {**COST, "startTs": "2025-12-31T20:00Z", "endTs": "2026-01-01T04:00Z"}
    (panel,) = (await specify(directory, {**asked, "interval": "1 hour"}))["vconcat"]

    assert panel["encoding"]["x"]["axis"]["format"] == "%Y-%m-%d %H:%M"


async def test_a_single_line_has_its_name(specify: Specify, many: Path) -> None:
    asked = {"aggregations": ["avg latencyMs"], "groupBy": ["modelName"], "limit": 1}
    specification = await specify(many, {**CUT, **asked})
    svg = vegalite_to_svg(specification, allowed_base_urls=[])

    assert names(specification) == [["model-00"]]
    assert ">model-00</text>" in svg


async def test_a_single_line_without_groups_needs_no_legend(specify: Specify, few: Path) -> None:
    specification = await specify(few, {**DAYS, "aggregations": ["avg latencyMs"]})
    (panel,) = specification["vconcat"]

    assert names(specification) == [[""]]
    assert panel["encoding"]["color"]["legend"] is None


@pytest.mark.parametrize(
    ("page", "extent"),
    [
        ({"offset": 3, "limit": 4}, "groups 4-7 of 14"),
        ({"offset": 13, "limit": 4}, "group 14 of 14"),
        ({"limit": 4}, "4 of 14 groups"),
    ],
)
async def test_a_page_says_which_groups_it_draws(
    ask: Ask, many: Path, page: dict[str, int], extent: str
) -> None:
    result = await ask(many, {**COST, "startTs": "2026-07-08..", **page}, ui=True)
    text = result.content[0]

    assert isinstance(text, TextContent)
    assert result.meta is not None
    subtitle = result.meta["gateway-metrics/view"]["title"]["subtitle"]
    assert text.text.splitlines()[1] == f"# picture: {extent}"
    assert subtitle[-1] == f"{extent}, sorted by sumCostInUSD desc, the rest in other"


@pytest.mark.parametrize(
    ("group", "says"),
    [
        ("team", "team rows (may )?overlap: a caller in several teams counts in each"),
        ("userEmail", "rows are users only; other callers"),
    ],
)
@pytest.mark.parametrize("more", [{}, {"interval": "1 day"}])
async def test_what_rows_are_stands_above_the_picture(
    specify: Specify, group: str, says: str, more: dict[str, str], demo: Path
) -> None:
    asked = {"aggregations": ["sum costInUSD"], "groupBy": [group], "startTs": "last 7 days"}
    specification = await specify(demo, {**asked, **more})

    assert any(re.match(says, line) for line in specification["title"]["subtitle"])


async def test_a_changed_rate_has_its_points_as_the_text_does(ask: Ask, demo: Path) -> None:
    asked = {"aggregations": ["errorRate"], "groupBy": ["modelName"], "startTs": "last 7 days"}
    result = await ask(demo, {**asked, "compareTo": "previous", "limit": 1}, ui=True)
    text = result.content[0]

    assert isinstance(text, TextContent)
    assert result.meta is not None
    points = re.findall(r"[+-][\d.]+pp", text.text)
    assert points
    assert f"({points[0]})" in str(result.meta["gateway-metrics/view"])


@pytest.mark.parametrize("cost", [10**30, -(10**30), 2**63])
async def test_a_whole_number_beyond_all_measure_is_drawn(cost: int) -> None:
    rows = [{"modelName": "own", "total": 1, "sumCostInUSD": cost}]

    def answer(request: httpx.Request) -> httpx.Response:
        del request
        return httpx.Response(200, content=json.dumps({"data": {"dataPoints": rows}}))

    backend = GatewayBackend(
        "https://tenant.example.com",
        "tok",
        load_catalog(),
        transport=httpx.MockTransport(answer),
    )
    server = build_server(Settings(backend="demo:"), backend=backend)
    async with Client(server) as client:
        asked = {**COST, "startTs": "2026-07-13", "endTs": "2026-07-14", "format": "chart"}
        result = await client.call_tool("query_distribution", asked)

    assert not result.is_error
    assert [block.type for block in result.content] == ["text", "image"]
    assert "could not be drawn" not in str(result.content[0])
