"""What is drawn: the specification that the picture and the view share, as whole objects."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest

Make = Callable[..., Path]
Specify = Callable[..., Awaitable[dict[str, Any]]]

COST: Final = {"aggregations": ["sum costInUSD"], "groupBy": ["modelName"]}
DAYS: Final = {**COST, "startTs": "2026-07-13..", "interval": "1 day"}
WINDOW: Final = "2026-07-13T00:00Z to 2026-07-15T09:30Z (about 2 days 9 h)"
BLUE: Final = "#0072B2"
VERMILLION: Final = "#D55E00"
GREY: Final = "#8C8C8C"


def figures(panel: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Place, series, value and text of each figure of a panel."""
    rows = panel["data"]["values"]
    return [(r["place"], r["series"], r["value"], r["text"]) for r in rows if r["text"]]


async def test_a_timeseries_is_lines_that_say_scope_window_and_units(
    specify: Specify, few: Path
) -> None:
    specification = await specify(few, DAYS)
    (panel,) = specification["vconcat"]
    series = {
        "field": "series",
        "type": "nominal",
        "scale": {"domain": ["gpt-4o", "claude"], "range": [BLUE, VERMILLION]},
        "legend": {"orient": "right", "title": None, "symbolType": "stroke"},
    }

    assert specification["title"] == {
        "text": "sumCostInUSD by modelName",
        "subtitle": [
            f"modelMetrics, {WINDOW}, buckets of 1 day",
            f"source: {few.name}",
            "models only, virtual-model rows excluded",
            "the last bucket is partial, still running: only to 2026-07-15T09:30Z",
        ],
    }
    assert panel["encoding"] == {
        "x": {
            "field": "place",
            "type": "temporal",
            "scale": {"type": "utc"},
            "axis": {
                "values": [f"2026-07-{day}T00:00:00Z" for day in (13, 14, 15)],
                "format": "%b %d",
                "labelFlush": True,
                "labelOverlap": True,
                "title": "start of the bucket, UTC",
                "grid": False,
            },
        },
        "y": {
            "field": "value",
            "type": "quantitative",
            "scale": {"zero": True, "nice": True},
            "axis": {"title": "sumCostInUSD (USD)", "tickCount": 5, "format": ",~r"},
        },
        "color": series,
    }
    assert [layer["mark"] for layer in panel["layer"]] == [
        {"type": "line", "strokeWidth": 2.25, "strokeJoin": "round"},
        {"type": "line", "strokeWidth": 2, "strokeDash": [2, 3]},
        {"type": "point", "filled": True, "size": 30, "opacity": 1},
    ]
    assert panel["layer"][0]["encoding"]["strokeDash"] == {
        **series,
        "scale": {"domain": ["gpt-4o", "claude"], "range": [[1, 0], [1, 0]]},
    }


async def test_what_leads_to_a_partial_bucket_is_a_line_of_its_own(
    specify: Specify, few: Path
) -> None:
    (panel,) = (await specify(few, DAYS))["vconcat"]
    rows = [
        (r["place"][8:10], r["value"], r["part"], r["dot"])
        for r in panel["data"]["values"]
        if r["series"] == "gpt-4o"
    ]

    assert rows == [
        ("13", 1.25, "whole", True),
        ("14", 2.5, "whole", True),
        ("14", 2.5, "partial", False),
        ("15", 0.75, "partial", True),
    ]


async def test_a_gap_is_zero_where_it_is_and_a_gap_elsewhere(specify: Specify, few: Path) -> None:
    asked = {**DAYS, "aggregations": ["sum costInUSD", "avg latencyMs"], "endTs": "2026-07-15"}
    cost, latency = (await specify(few, asked))["vconcat"]

    assert [row for row in figures(cost) if row[1] == "claude"] == [
        ("2026-07-13T00:00:00Z", "claude", 0.5, "0.5 USD"),
        ("2026-07-14T00:00:00Z", "claude", 0, "0 USD"),
    ]
    assert [row for row in figures(latency) if row[1] == "claude"] == [
        ("2026-07-13T00:00:00Z", "claude", 500.0, "500.0 ms"),
        ("2026-07-14T00:00:00Z", "claude", None, "null"),
    ]
    assert [p["encoding"]["y"]["axis"]["title"] for p in (cost, latency)] == [
        "sumCostInUSD (USD)",
        "avgLatencyMs (ms)",
    ]


async def test_buckets_of_another_zone_stand_at_its_own_days(specify: Specify, few: Path) -> None:
    asked = {**DAYS, "timezone": "America/New_York", "endTs": "2026-07-15"}
    (panel,) = (await specify(few, asked))["vconcat"]
    axis = panel["encoding"]["x"]["axis"]

    assert axis["values"] == ["2026-07-13T00:00:00Z", "2026-07-14T00:00:00Z"]
    assert axis["title"] == "start of the bucket, America/New_York"


async def test_hours_that_the_clocks_repeat_stand_apart(specify: Specify, make: Make) -> None:
    # In Santiago 23:00 comes twice.
    directory = make([(5, hour, "gpt-4o", 1.0, 10.0) for hour in range(6)], month=4)
    window = {"startTs": "2026-04-04T22:00", "endTs": "2026-04-05T01:00"}
    asked = {**COST, **window, "timezone": "America/Santiago", "interval": "1 hour", "groupBy": []}

    (panel,) = (await specify(directory, asked))["vconcat"]

    axis = panel["encoding"]["x"]["axis"]
    assert axis["values"] == [
        *("2026-04-04T22:00:00Z", "2026-04-04T23:00:00Z"),
        *("2026-04-05T00:00:00Z", "2026-04-05T01:00:00Z"),
    ]
    assert axis["title"] == (
        "start of the bucket, America/Santiago at UTC-03:00, as before the clocks changed"
    )


async def test_hours_of_another_zone_stand_at_its_own_time(specify: Specify, few: Path) -> None:
    window = {"startTs": "2026-07-13T13:00", "endTs": "2026-07-13T16:00"}
    asked = {**COST, **window, "timezone": "Asia/Kathmandu", "interval": "1 hour", "groupBy": []}

    (panel,) = (await specify(few, asked))["vconcat"]

    axis = panel["encoding"]["x"]["axis"]
    assert axis["values"] == [f"2026-07-13T{hour}:00:00Z" for hour in (13, 14, 15)]
    assert axis["title"] == "start of the bucket, Asia/Kathmandu"


async def test_values_of_one_unit_share_a_panel_where_there_are_no_groups(
    specify: Specify, few: Path
) -> None:
    values = ["p50 latencyMs", "p99 latencyMs", "sum costInUSD", "errorRate"]
    asked = {**DAYS, "groupBy": [], "aggregations": [*values, "countDistinct modelName"]}
    result = await specify(few, asked)

    assert [p["encoding"]["y"]["axis"]["title"] for p in result["vconcat"]] == [
        "ms",
        "sumCostInUSD (USD)",
        "errorRate (%)",
    ]
    assert [p["encoding"]["color"]["scale"]["domain"] for p in result["vconcat"]] == [
        ["p50LatencyMs", "p99LatencyMs"],
        [""],
        [""],
    ]


async def test_a_distribution_is_bars_in_the_order_of_the_answer(
    specify: Specify, few: Path
) -> None:
    asked = {**COST, "startTs": "2026-07-13", "endTs": "2026-07-15", "orderBy": "-sumCostInUSD"}
    specification = await specify(few, asked)
    (panel,) = specification["vconcat"]

    assert specification["title"]["text"] == "sumCostInUSD by modelName"
    assert panel["encoding"]["y"]["scale"]["domain"] == ["claude", "gpt-4o"]
    assert panel["encoding"]["x"]["axis"]["title"] == "sumCostInUSD (USD)"
    assert panel["encoding"]["color"] == {
        "condition": {"test": {"field": "rest", "equal": True}, "value": GREY},
        "value": BLUE,
    }
    assert panel["data"]["values"] == [
        {
            "place": "claude",
            "series": "",
            "value": 0.5,
            "text": "0.5 USD",
            "label": "0.5",
            "end": 0.5,
            "rest": False,
        },
        {
            "place": "gpt-4o",
            "series": "",
            "value": 3.75,
            "text": "3.75 USD",
            "label": "3.75",
            "end": 3.75,
            "rest": False,
        },
    ]


async def test_a_comparison_draws_both_windows(specify: Specify, few: Path) -> None:
    asked = {**COST, "startTs": "2026-07-14", "endTs": "2026-07-15", "compareTo": "previous"}
    specification = await specify(few, asked)
    (panel,) = specification["vconcat"]

    assert specification["title"]["subtitle"][:2] == [
        "modelMetrics, 2026-07-14T00:00Z to 2026-07-15T00:00Z (1 day)",
        "compared with 2026-07-13T00:00Z to 2026-07-14T00:00Z (1 day)",
    ]
    assert [(r["place"], r["series"], r["label"]) for r in panel["data"]["values"]] == [
        ("gpt-4o", "this window", "2.5 (+100.0%)"),
        ("gpt-4o", "the earlier window", "1.25"),
        ("claude", "this window", "0 (-100.0%)"),
        ("claude", "the earlier window", "0.5"),
    ]
    assert panel["encoding"]["yOffset"]["scale"]["domain"] == ["this window", "the earlier window"]


async def test_one_number_is_one_bar(specify: Specify, few: Path) -> None:
    asked = {"startTs": "2026-07-13..", "aggregations": ["sum costInUSD"]}
    (panel,) = (await specify(few, asked))["vconcat"]

    assert figures(panel) == [("sumCostInUSD", "", 5.125, "5.125 USD")]


@pytest.mark.parametrize("asked_for", [{}, {"limit": 14}], ids=["default", "limit 14"])
async def test_twelve_groups_are_drawn_and_the_rest_is_other(
    specify: Specify, many: Path, asked_for: dict[str, Any]
) -> None:
    specification = await specify(many, {**COST, "startTs": "2026-07-08..", **asked_for})
    (panel,) = specification["vconcat"]
    places = panel["encoding"]["y"]["scale"]["domain"]
    rows = {r["place"]: r for r in panel["data"]["values"]}

    assert places == [*(f"model-{number:02}" for number in range(12)), "other (2)"]
    assert rows["other (2)"]["rest"]
    assert rows["other (2)"]["value"] == pytest.approx(
        sum(r["value"] for r in rows.values()) - sum(rows[p]["value"] for p in places[:12])
    )
    extent = "12 of 14 groups, sorted by sumCostInUSD desc, the rest in other"
    assert specification["title"]["subtitle"][-1] == extent


async def test_twelve_series_are_drawn_and_the_rest_is_other(specify: Specify, many: Path) -> None:
    asked = {**COST, "startTs": "2026-07-08", "endTs": "2026-07-15", "interval": "1 day"}
    (panel,) = (await specify(many, {**asked, "limit": 14}))["vconcat"]
    scale = panel["encoding"]["color"]["scale"]
    dashes = panel["layer"][0]["encoding"]["strokeDash"]["scale"]["range"]
    looks = [(colour, *dash) for colour, dash in zip(scale["range"], dashes, strict=True)]

    assert len(scale["domain"]) == 13
    assert scale["domain"][-1] == "other (2)"
    assert len(set(looks)) == 13, "no two lines look alike"
    whole = [r["value"] for r in panel["data"]["values"] if r["place"].startswith("2026-07-08")]
    assert len(whole) == 13


async def test_fewer_series_are_drawn_where_fewer_are_asked(specify: Specify, many: Path) -> None:
    asked = {**COST, "startTs": "2026-07-08..", "interval": "1 day", "limit": 3}
    (panel,) = (await specify(many, asked))["vconcat"]

    assert panel["encoding"]["color"]["scale"]["domain"] == [
        "model-00",
        "model-01",
        "model-02",
        "other (11)",
    ]


@pytest.mark.parametrize("interval", [{}, {"interval": "1 day"}], ids=["bars", "lines"])
async def test_what_does_not_add_up_has_no_other(
    specify: Specify, many: Path, interval: dict[str, str]
) -> None:
    asked = {"aggregations": ["p95 latencyMs"], "groupBy": ["modelName"], "startTs": "2026-07-08.."}
    specification = await specify(many, asked | interval | {"limit": 12})
    (panel,) = specification["vconcat"]
    drawn = {r["series"] or r["place"] for r in panel["data"]["values"]}

    assert len(drawn) == 12
    assert all(name.startswith("model-") for name in drawn)
    assert any("the rest excluded" in line for line in specification["title"]["subtitle"])


async def test_bars_that_are_all_zero_have_their_zero_at_the_left(
    specify: Specify, make: Make
) -> None:
    directory = make([(14, 5, "gpt-4o", 0.0), (14, 6, "claude", 0.0)])
    (panel,) = (await specify(directory, {**COST, "startTs": "2026-07-13.."}))["vconcat"]

    assert panel["encoding"]["x"]["scale"] == {"domain": [0, 1]}
    assert [row["value"] for row in panel["data"]["values"]] == [0, 0]
