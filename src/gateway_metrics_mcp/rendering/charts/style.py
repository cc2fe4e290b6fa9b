"""How pictures look: colours that everybody can tell apart, sizes that can be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

# Pixels of the image per pixel of the layout: the first that fits into the bytes. Two is sharp
# where clients show it at half its size.
SCALES: Final = (2, 1.75, 1.5, 1)

# Of one image, which is sent as base64: some clients refuse results beyond a megabyte.
MOST_BYTES: Final = 700_000

WIDTH: Final = 820

# Those of Okabe and Ito, without the yellow, which white swallows.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#222222")

REST_COLOUR: Final = "#8C8C8C"
EARLIER_COLOUR: Final = "#B5BDC6"
SOLID: Final = (1, 0)
DASHED: Final = (7, 3)

# The last stretch of a line, to or from a bucket that holds less than its width.
PARTIAL: Final = (2, 3)

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
        # Names are short already. Vega would cut them by pixels, at times between the halves of a
        # surrogate pair, on which the engine stumbles.
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


def colour_series(series: Sequence[str], rest: str | None) -> list[str]:
    """A colour per series; from the eighth on those of the first, whose lines are dashed."""
    return [
        REST_COLOUR if name == rest else COLOURS[i % len(COLOURS)] for i, name in enumerate(series)
    ]


def dash_series(series: Sequence[str], rest: str | None) -> list[list[int]]:
    """A dash per series, so that two of one colour are told apart."""
    return [
        list(SOLID if i < len(COLOURS) or name == rest else DASHED) for i, name in enumerate(series)
    ]
