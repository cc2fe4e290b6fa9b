"""Draws charts as PNG, in a process of its own, if the extra `charts` is installed.

The specification is made in vega.py; worker.py is the process.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Hashable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import anyio
from pydantic_core import to_json

from gateway_metrics_mcp.rendering.answer import Answer, Writer
from gateway_metrics_mcp.rendering.charts.worker import (
    PICTURE,
    SPECIFICATION,
    read_frame,
    write_frame,
)
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


class _Worker:
    """The process of worker.py, for one thread at a time."""

    def __init__(self, patience_s: float) -> None:
        # The process gets none of our variables, which hold tokens. `-P` keeps the working
        # directory off its path: a file there must not be imported in place of a module.
        env = {n: text for n, text in os.environ.items() if not n.startswith(OUR_VARIABLES)}
        module = "gateway_metrics_mcp.rendering.charts.worker"
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-P", "-m", module, f"{patience_s}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
        )
        self._patience_s = patience_s
        self.is_ended = False

    def draw(self, specification: bytes) -> bytes:
        """The PNG; empty if the engine refused the specification.

        Raises:
            TimeoutError: if it takes longer than the patience; the process is killed.
            EOFError: if the process ended, or wrote something else; it is killed.
        """
        is_late = threading.Event()

        def give_up() -> None:
            is_late.set()
            self._process.kill()

        timer = threading.Timer(self._patience_s, give_up)
        timer.daemon = True
        timer.start()
        try:
            kind, is_last, answer = self._exchange(specification)
        except BaseException as error:
            self.end()
            raise TimeoutError if is_late.is_set() else EOFError from error
        finally:
            timer.cancel()
        if is_last or is_late.is_set():
            self.end()
        if kind == PICTURE:
            return answer
        logger.error("a picture could not be drawn: the engine refused it")
        # At DEBUG only: the engine's messages can repeat names from the data.
        logger.debug("the engine said: %s", ascii(answer.decode("utf-8", "replace")))
        return b""

    def end(self) -> None:
        """Kill the process: it has nothing to save."""
        self.is_ended = True
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(OSError):  # what was not sent yet
                stream.close()  # type: ignore[union-attr]  # both are pipes

    def _exchange(self, specification: bytes) -> tuple[int, bool, bytes]:
        source, sink = self._process.stdout, self._process.stdin
        assert source is not None  # noqa: S101 - both are pipes
        assert sink is not None  # noqa: S101
        write_frame(sink, SPECIFICATION, specification)
        return read_frame(source)


@dataclass(slots=True, weakref_slot=True)
class ChartRenderer:
    """Draws one chart at a time, in a process that is kept for the next (worker.py).

    It starts with the first chart, ends when it is idle, and is killed after `patience_s` seconds.
    """

    patience_s: float = PATIENCE_S
    _limiter: ConcurrencyLimiter = field(default_factory=lambda: ConcurrencyLimiter(1), repr=False)
    _worker: _Worker | None = field(default=None, repr=False)
    _holders: int = field(default=0, repr=False)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep the process until the end of the block; the last block ends it."""
        self._holders += 1
        try:
            yield
        finally:
            self._holders -= 1
            if not self._holders and self._worker is not None:
                self._worker.end()

    async def draw(self, specification: dict[str, Any], owner: Hashable = None) -> bytes | str:
        """The PNG, or a sentence that says why there is none. Owners take turns."""
        # Looked up, not imported: only the process that draws loads the engine of 84 MB.
        if find_spec("vl_convert") is None:
            return ABSENT
        try:
            # This limit includes waiting for another chart; that in `_draw` kills the process.
            # A caller who gives up leaves the thread to read the picture to its end.
            with anyio.fail_after(self.patience_s):
                work = partial(self._draw, specification)
                image = await self._limiter.run_in_thread(work, owner)
        except TimeoutError:
            return f"it was not rendered within {self.patience_s:g} seconds"
        except OSError:
            logger.exception("the process that draws pictures could not be started")
            return _FAILED
        if not image:
            return _FAILED
        from gateway_metrics_mcp.rendering.charts.vega import MOST_BYTES  # most answers have none

        return image if len(image) <= MOST_BYTES else _LARGE

    def _draw(self, specification: dict[str, Any]) -> bytes:
        """The PNG; empty if the engine failed. In a thread, one at a time."""
        text = to_json(specification)
        kept = self._worker
        if kept is not None and not kept.is_ended:
            # It may just have ended for being idle, and a new one may do what a worn one cannot.
            with suppress(EOFError):
                return kept.draw(text)
        self._worker = worker = _Worker(self.patience_s)
        weakref.finalize(self, worker.end)
        try:
            return worker.draw(text)
        except EOFError:
            logger.error("a picture could not be drawn: the engine ended")  # noqa: TRY400
            return b""


async def illustrate(
    report: Report,
    budget: int,
    painter: ChartRenderer,
    *,
    owner: Hashable,
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
            drawn = await painter.draw(specification, owner)
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
