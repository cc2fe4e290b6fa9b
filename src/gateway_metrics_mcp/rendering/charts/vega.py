"""A chart as a Vega-Lite specification.

Names from the data appear as data only, never in Vega expressions, which would be evaluated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from gateway_metrics_mcp.rendering.charts.chart import Chart, Mark, Panel

# Image pixels per layout pixel; the first that keeps the image within `MOST_BYTES` is used. 2 is
# sharp in clients that show the image at half its size.
SCALES: Final = (2, 1.75, 1.5, 1)

# Of one image. Base64 adds a third, and some clients refuse results over a megabyte.
MOST_BYTES: Final = 700_000

WIDTH: Final = 820

# The palette of Okabe and Ito, which colour-blind readers can tell apart, without its yellow:
# that is invisible on white.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#222222")

REST_COLOUR: Final = "#8C8C8C"

CONFIG: Final[dict[str, Any]] = {
    "font": "sans-serif",
    "title": {
        "anchor": "start",
        "fontSize": 17,
        "subtitleFontSize": 12,
        "subtitleColor": "#555555",
        "subtitlePadding": 5,
        "subtitleLineHeight": 16,
        "offset": 14,
    },
    "axis": {
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titleColor": "#444444",
        "labelColor": "#333333",
        "gridColor": "#E6E6E6",
        "domainColor": "#999999",
        "tickColor": "#999999",
        # Names are cut already. Vega cuts by pixels, at times between the halves of a surrogate
        # pair, on which the engine fails.
        "labelLimit": 0,
    },
    "legend": {
        "labelFontSize": 12,
        "labelLimit": 0,
        "symbolSize": 320,
        "symbolStrokeWidth": 2.5,
        "rowPadding": 5,
        "title": None,
    },
    "view": {"stroke": None},
}


Spec = dict[str, Any]

SCHEMA: Final = "https://vega.github.io/schema/vega-lite/v6.json"
_AXIS_WIDTH: Final = 74
_BAR_MARGIN: Final = 40
_MOST_TICKS: Final = 8

# Overrides for a whole bucket's row that is repeated as the end of a dotted stretch.
_END: Final[Spec] = {"part": "partial", "dot": False, "text": ""}

_MIDNIGHT: Final = "T00:00:00Z"


def specify(chart: Chart) -> Spec:
    """The Vega-Lite specification of a chart, used for the image and the interactive view."""
    panels = [
        _line_panel(chart, panel, is_first=i == 0, is_last=i == len(chart.panels) - 1)
        if chart.kind == "lines"
        else _bar_panel(chart, panel, is_first=i == 0)
        for i, panel in enumerate(chart.panels)
    ]
    return {
        "$schema": SCHEMA,
        "background": "white",
        "padding": 14,
        "title": {"text": chart.title, "subtitle": list(chart.subtitle)},
        "config": CONFIG,
        "vconcat": panels,
        "spacing": 18,
        # Panels can show other series, and each has the colours of its own.
        "resolve": {"scale": {"color": "independent", "strokeDash": "independent"}},
    }


def _line_panel(chart: Chart, panel: Panel, *, is_first: bool, is_last: bool) -> Spec:
    has_legend = any(panel.series) and (is_first or panel.series != chart.panels[0].series)
    series = _series_channel(panel, chart.rest, has_legend=has_legend)
    return {
        "width": WIDTH - _AXIS_WIDTH - _legend_width(chart),
        "height": {1: 300, 2: 210, 3: 170}[len(chart.panels)],
        # Up to 40 buckets each figure of a line has a dot.
        "data": {"values": _line_rows(panel, is_dotted=len(chart.places) <= 40)},
        "encoding": {
            "x": _time_channel(chart, has_title=is_last),
            "y": _value_channel(panel),
            "color": series,
        },
        "layer": [
            {
                "transform": [{"filter": {"field": "part", "equal": "whole"}}],
                "mark": {"type": "line", "strokeWidth": 2.25, "strokeJoin": "round"},
                "encoding": {"strokeDash": _dash_channel(panel, chart.rest, series)},
            },
            {
                "transform": [{"filter": {"field": "part", "equal": "partial"}}],
                "mark": {"type": "line", "strokeWidth": 2, "strokeDash": [2, 3]},
                "encoding": {"detail": {"field": "stretch", "type": "nominal"}},
            },
            {
                "transform": [{"filter": {"field": "dot", "equal": True}}],
                "mark": {"type": "point", "filled": True, "size": 30, "opacity": 1},
            },
        ],
    }


def _line_rows(panel: Panel, *, is_dotted: bool) -> list[Spec]:
    """A row per mark; stretches to and from partial buckets are separate dotted lines.

    The stretches are numbered: otherwise Vega would join the first and last of a series.
    """
    rows: list[Spec] = []
    for _, run in groupby(panel.marks, key=lambda mark: mark.series):
        marks, stretch = list(run), 0
        for i, mark in enumerate(marks):
            beside = [*marks[max(i - 1, 0) : i], *marks[i + 1 : i + 2]]
            # A value between two gaps has no line, so it gets a dot however many buckets there are.
            is_alone = all(other.value is None for other in beside)
            row = {
                "place": mark.place,
                "series": mark.series,
                "value": mark.value,
                "text": mark.text,
                "part": "partial" if mark.is_partial else "whole",
                "dot": mark.value is not None and (is_dotted or is_alone),
            }
            if mark.is_partial:
                rows.append({**row, "stretch": stretch})
                continue
            if i and marks[i - 1].is_partial:
                rows.append({**row, **_END, "stretch": stretch})
            rows.append(row)
            if i + 1 < len(marks) and marks[i + 1].is_partial:
                stretch += 1
                rows.append({**row, **_END, "stretch": stretch})
    return rows


def _time_channel(chart: Chart, *, has_title: bool) -> Spec:
    """The time axis: bucket starts, of which at most `_MOST_TICKS` are labelled."""
    axis: Spec = {
        "values": _ticks(chart.places),
        "format": _time_format(chart.places),
        "labelFlush": True,
        "labelOverlap": True,
        "title": chart.place_axis if has_title else None,
        "grid": False,
    }
    return {"field": "place", "type": "temporal", "scale": {"type": "utc"}, "axis": axis}


def _ticks(places: Sequence[str]) -> list[str]:
    """The places to label: midnights if there are at least three, else evenly spaced starts."""
    midnights = [place for place in places if place.endswith(_MIDNIGHT)]
    chosen = midnights if len(midnights) > 2 else places
    return list(chosen[:: -(-len(chosen) // _MOST_TICKS)])


def _time_format(places: Sequence[str]) -> str:
    """A time format with no more of date and time than tells the labels apart."""
    times = [datetime.fromisoformat(place) for place in places]
    if all(time.strftime("%d%H%M%S") == "01000000" for time in times) and len(times) > 1:
        return "%Y-%m"
    date = "%b %d" if times[0].year == times[-1].year else "%Y-%m-%d"
    if all(tick.endswith(_MIDNIGHT) for tick in _ticks(places)):
        return date
    if times[0].date() == times[-1].date():
        return "%H:%M:%S" if any(time.second for time in times) else "%H:%M"
    return f"{date} %H:%M"


def _value_channel(panel: Panel) -> Spec:
    """The value axis, from zero on; a fixed 0 to 1 if all values are zero.

    Without a domain Vega would put zero in the middle of the axis.
    """
    has_size = any(mark.value for mark in panel.marks)
    return {
        "field": "value",
        "type": "quantitative",
        "scale": {"zero": True, "nice": True} if has_size else {"domain": [0, 1]},
        "axis": {"title": panel.axis, "tickCount": 5, **_number_axis(panel)},
    }


def _number_axis(panel: Panel) -> Spec:
    """Tick formats: ratios in percent, large numbers as `2.5M`, others unrounded."""
    if panel.unit == "ratio":
        return {"format": "~%"}
    largest = max((abs(mark.value) for mark in panel.marks if mark.value is not None), default=0)
    if largest < 10_000:
        return {"format": ",~r"}
    # An expression over the tick's own number, without any text from the data. SI writes G for
    # 10^9, where people expect B for billion.
    return {
        "format": "~s",
        "labelExpr": "datum.value === 0 ? '0' : replace(datum.label, 'G', 'B')",
    }


def _series_channel(panel: Panel, rest: str | None, *, has_legend: bool) -> Spec:
    """The colour per series; from the eighth on colours repeat, and `_dash_channel` dashes them."""
    colours = [
        REST_COLOUR if name == rest else COLOURS[i % len(COLOURS)]
        for i, name in enumerate(panel.series)
    ]
    return {
        "field": "series",
        "type": "nominal",
        "scale": {"domain": list(panel.series), "range": colours},
        "legend": {"orient": "right", "title": None, "symbolType": "stroke"}
        if has_legend
        else None,
    }


def _dash_channel(panel: Panel, rest: str | None, series: Mapping[str, Any]) -> Spec:
    """The dash channel; Vega merges its legend with the colours' since both show one field."""
    dashes = [
        [1, 0] if i < len(COLOURS) or name == rest else [7, 3]
        for i, name in enumerate(panel.series)
    ]
    return {**series, "scale": {"domain": list(panel.series), "range": dashes}}


def _legend_width(chart: Chart) -> int:
    """The legend's width in pixels, by the longest name of all panels, so that they align."""
    names = [name for panel in chart.panels for name in panel.series if name]
    return _width(names) + 46 if names else 0


def _bar_panel(chart: Chart, panel: Panel, *, is_first: bool) -> Spec:
    places = list(dict.fromkeys(mark.place for mark in panel.marks))
    is_pair = len(panel.series) > 1
    all_places = [mark.place for each in chart.panels for mark in each.marks]
    names_width, labels_width = _width(all_places), _width([m.label for m in panel.marks])
    y: Spec = {
        "field": "place",
        "type": "nominal",
        "scale": {"domain": places, "paddingInner": 0.25},
        "axis": {"title": None, "ticks": False, "domain": False, "minExtent": names_width},
    }
    x = _value_channel(panel)
    encoding: Spec = {"y": y, "x": x, "color": _bar_colours(panel, has_legend=is_first)}
    if is_pair:
        series = list(panel.series)
        encoding["yOffset"] = {"field": "series", "type": "nominal", "scale": {"domain": series}}
    return {
        "width": WIDTH - names_width - labels_width - _BAR_MARGIN,
        "height": len(places) * (44 if is_pair else 26),
        "data": {"values": [_bar_row(mark, chart.rest) for mark in panel.marks]},
        "encoding": encoding,
        "layer": [
            {"mark": {"type": "bar"}},
            {
                "mark": {
                    "type": "text",
                    "align": "left",
                    "baseline": "middle",
                    "dx": 5,
                    "fontSize": 12,
                },
                "encoding": {
                    "x": {**x, "field": "end"},
                    "text": {"field": "label", "type": "nominal"},
                    "color": {"value": "#333333"},
                },
            },
        ],
    }


def _bar_row(mark: Mark, rest: str | None) -> Spec:
    return {
        "place": mark.place,
        "series": mark.series,
        "value": mark.value,
        "text": mark.text,
        "label": mark.label,
        # Where the label begins: at the bar's end, or at the axis for a missing or negative value.
        "end": max(mark.value or 0, 0),
        "rest": mark.place == rest,
    }


def _bar_colours(panel: Panel, *, has_legend: bool) -> Spec:
    """The colours of bars: one, and grey for the rest or for a comparison's earlier window."""
    if len(panel.series) == 1:
        rest = {"test": {"field": "rest", "equal": True}, "value": REST_COLOUR}
        return {"condition": rest, "value": COLOURS[0]}
    return {
        "field": "series",
        "type": "nominal",
        "scale": {"domain": list(panel.series), "range": [COLOURS[0], "#B5BDC6"]},
        "legend": {"orient": "top", "title": None, "symbolSize": 140} if has_legend else None,
    }


def _width(texts: Sequence[str]) -> int:
    """The estimated width of the widest text, in pixels."""
    return int(max(map(len, texts), default=0) * 7)
