"""A specification -> a PNG, drawn beside the server where the extra [charts] is installed."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from typing import Any, Final

import anyio
from pydantic_core import to_json

from gateway_metrics_mcp.rendering.charts.style import MOST_BYTES
from gateway_metrics_mcp.runtime.limits import ConcurrencyLimiter
from gateway_metrics_mcp.settings import OUR_VARIABLES

logger = logging.getLogger(__name__)

PATIENCE_S: Final = 20.0
_ENGINE: Final = "gateway_metrics_mcp.rendering.charts.worker"
ABSENT: Final = (
    "this server has no engine for pictures. Install it with the extra:"
    ' pip install "gateway-metrics-mcp[charts]"'
)
_FAILED: Final = "it could not be drawn; the log of this server says more"
_LARGE: Final = "it would be too large"


@dataclass(slots=True)
class ChartRenderer:
    """Draws one picture at a time, each in a process of its own (see engine.py for why).

    What takes too long is ended with its process.
    """

    patience_s: float = PATIENCE_S
    _limiter: ConcurrencyLimiter | None = field(default=None, repr=False)

    async def draw(self, specification: dict[str, Any]) -> bytes | str:
        """The PNG, or why there is none."""
        if find_spec("vl_convert") is None:
            return ABSENT
        if self._limiter is None:
            self._limiter = ConcurrencyLimiter(1)
        work = partial(_draw, specification, self.patience_s)
        try:
            with anyio.fail_after(self.patience_s):
                image = await self._limiter.run_in_thread(work)
        except (TimeoutError, subprocess.TimeoutExpired):
            return f"it was not drawn within {self.patience_s:g} seconds"
        except OSError:
            logger.exception("the process that draws pictures could not be started")
            return _FAILED
        if not image:
            return _FAILED
        return image if len(image) <= MOST_BYTES else _LARGE


def _draw(specification: dict[str, Any], patience_s: float) -> bytes:
    """The PNG; nothing if the engine failed."""
    # It needs no token, and no file of the folder that the server was started in (-P).
    env = {n: text for n, text in os.environ.items() if not n.startswith(OUR_VARIABLES)}
    done = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-P", "-m", _ENGINE],
        input=to_json(specification),
        capture_output=True,
        check=False,
        env=env,
        timeout=patience_s,
    )
    if done.returncode == 0:
        return done.stdout
    logger.error("a picture could not be drawn: the engine ended with %d", done.returncode)
    logger.debug("the engine said: %s", ascii(done.stderr.decode("utf-8", "replace")[-1000:]))
    return b""
