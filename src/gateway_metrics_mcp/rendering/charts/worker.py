"""The process that draws one picture: a specification on stdin, its PNG on stdout.

The engine keeps the interpreter to itself while it draws. In a thread of the server nobody else
would be answered meanwhile.
"""

from __future__ import annotations

import json
import sys

from vl_convert import vegalite_to_png

from gateway_metrics_mcp.rendering.charts.vega import MOST_BYTES, SCALES


def _draw() -> None:
    """No address of the specification is ever fetched: it has its data within."""
    specification = json.load(sys.stdin.buffer)
    image = b""
    for scale in SCALES:
        image = vegalite_to_png(specification, scale=scale, allowed_base_urls=[])
        if len(image) <= MOST_BYTES:
            break
    sys.stdout.buffer.write(image)


if __name__ == "__main__":
    _draw()
