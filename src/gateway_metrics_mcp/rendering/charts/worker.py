"""The process that draws one chart: a specification on stdin, its PNG on stdout.

A process and not a thread, because the engine holds the interpreter lock while it draws: each
chart would block all other callers for 0.2 s.
"""

from __future__ import annotations

import json
import sys

from vl_convert import vegalite_to_png

from gateway_metrics_mcp.rendering.charts.vega import MOST_BYTES, SCALES


def _draw() -> None:
    """Draw in the largest scale that fits; no URL in the specification is ever fetched."""
    specification = json.load(sys.stdin.buffer)
    image = b""
    for scale in SCALES:
        image = vegalite_to_png(specification, scale=scale, allowed_base_urls=[])
        if len(image) <= MOST_BYTES:
            break
    sys.stdout.buffer.write(image)


if __name__ == "__main__":
    _draw()
