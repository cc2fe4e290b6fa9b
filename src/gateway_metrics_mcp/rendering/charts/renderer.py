"""Draws charts as PNG, in a separate process, if the extra `charts` is installed.

The specification is made in vega.py; worker.py is the process.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import anyio
from pydantic_core import to_json

from gateway_metrics_mcp.rendering.answer import Answer, Writer
from gateway_metrics_mcp.rendering.document import Note, Words
from gateway_metrics_mcp.rendering.report_document import describe_report
from gateway_metrics_mcp.reports.report import Report
from gateway_metrics_mcp.runtime.concurrency import ConcurrencyLimiter, run_in_thread_if_large
from gateway_metrics_mcp.settings import OUR_VARIABLES

if TYPE_CHECKING:
    from gateway_metrics_mcp.rendering.charts.chart import Chart

logger = logging.getLogger(__name__)

PATIENCE_S: Final = 20.0
ABSENT: Final = (
    "this server has no chart renderer. Install it with the extra:"
    ' pip install "gateway-metrics-mcp[charts]"'
)
_FAILED: Final = "it could not be drawn; see this server's log"
_LARGE: Final = "it would be too large"


@dataclass(slots=True)
class ChartRenderer:
    """Draws one chart at a time, each in a process of its own (worker.py says why).

    The process is killed after `patience_s` seconds.
    """

    patience_s: float = PATIENCE_S
    _limiter: ConcurrencyLimiter = field(default_factory=lambda: ConcurrencyLimiter(1), repr=False)

    async def draw(self, specification: dict[str, Any]) -> bytes | str:
        """The PNG, or a sentence that says why there is none."""
        # Looked up, not imported: only the process that draws loads the engine of 84 MB.
        if find_spec("vl_convert") is None:
            return ABSENT
        work = partial(_draw, specification, self.patience_s)
        try:
            # This limit includes waiting for another chart; that in `_draw` kills the process.
            with anyio.fail_after(self.patience_s):
                image = await self._limiter.run_in_thread(work)
        except (TimeoutError, subprocess.TimeoutExpired):
            return f"it was not rendered within {self.patience_s:g} seconds"
        except OSError:
            logger.exception("the process that draws pictures could not be started")
            return _FAILED
        if not image:
            return _FAILED
        from gateway_metrics_mcp.rendering.charts.vega import MOST_BYTES  # most answers have none

        return image if len(image) <= MOST_BYTES else _LARGE


def _draw(specification: dict[str, Any], patience_s: float) -> bytes:
    """The PNG; empty if the engine failed."""
    # The process gets none of our variables, which hold tokens. `-P` keeps the working directory
    # off its path: a file there must not be imported in place of a module.
    env = {n: text for n, text in os.environ.items() if not n.startswith(OUR_VARIABLES)}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "gateway_metrics_mcp.rendering.charts.worker"],
        input=to_json(specification),
        capture_output=True,
        check=False,
        env=env,
        timeout=patience_s,
    )
    if done.returncode == 0:
        return done.stdout
    logger.error("a picture could not be drawn: the engine ended with %d", done.returncode)
    # At DEBUG only: the engine's messages can repeat names from the data.
    logger.debug("the engine said: %s", ascii(done.stderr.decode("utf-8", "replace")[-1000:]))
    return b""


async def illustrate(
    report: Report,
    budget: int,
    painter: ChartRenderer,
    *,
    has_view: bool,
    words: Words,
    write: Writer,
) -> Answer:
    """Answer with the text, the chart if requested, and the view's specification.

    A chart that cannot be drawn is never an error: the text says why there is none.
    """
    from gateway_metrics_mcp.rendering.charts.chart import choose_chart  # most answers have none
    from gateway_metrics_mcp.rendering.charts.vega import specify

    rows = len(report.result.points)
    is_picture = report.request.format == "chart"
    if is_picture:
        # The text beside the chart is that of `table`, also in what it says of rounded figures.
        report = replace(report, request=replace(report.request, format="table"))
    document = await run_in_thread_if_large(rows, describe_report, report, words)
    chart = await run_in_thread_if_large(rows, choose_chart, document)
    specification = None if chart is None else specify(chart)
    image = None
    if is_picture:
        drawn: bytes | str = "the answer has no value to draw"
        if specification is not None:
            drawn = await painter.draw(specification)
        image = drawn if isinstance(drawn, bytes) else None
        document = replace(document, picture=_describe(chart, drawn))
    answer = await run_in_thread_if_large(rows, write, document, budget)
    marks = 0 if chart is None else sum(len(panel.marks) for panel in chart.panels)
    # 4,000 marks of a view take about 600 kB in the result, which the host keeps in memory.
    view = specification if has_view and marks <= 4_000 else None
    return replace(answer, image=image, view=view)


def _describe(chart: Chart | None, drawn: bytes | str) -> Note | None:
    """The note on what the chart leaves out, or why there is none; None if it shows all."""
    if isinstance(drawn, str):
        return Note("picture", f"no picture: {drawn}")
    if chart is None or chart.note is None:
        return None
    return Note("picture", f"picture: {chart.note}")
