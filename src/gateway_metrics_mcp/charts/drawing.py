"""A specification -> a PNG, in a thread, by an engine that is there where [charts] is installed."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import anyio
from anyio.to_thread import run_sync

from gateway_metrics_mcp.charts.style import SCALE

logger = logging.getLogger(__name__)

PATIENCE_S: Final = 20.0
MOST_BYTES: Final = 700_000
"""Of one image, which is sent as base64: some clients refuse results beyond a megabyte."""

ABSENT: Final = (
    "this server has no engine for pictures. Install it with the extra:"
    ' pip install "gateway-metrics-mcp[charts]"'
)
_FAILED: Final = "it could not be drawn; the log of this server says more"
_LARGE: Final = "it would be too large"


@dataclass(slots=True)
class Painter:
    """Draws one picture at a time: the engine has one thread of its own.

    So pictures that wait take no thread from the queries.
    """

    patience_s: float = PATIENCE_S
    _turn: anyio.CapacityLimiter | None = field(default=None, repr=False)

    async def draw(self, specification: dict[str, Any]) -> bytes | str:
        """The PNG, or why there is none."""
        if self._turn is None:
            self._turn = anyio.CapacityLimiter(1)
        try:
            with anyio.fail_after(self.patience_s):
                image = await run_sync(
                    partial(_draw, specification), limiter=self._turn, abandon_on_cancel=True
                )
        except TimeoutError:
            return f"it was not drawn within {self.patience_s:g} seconds"
        except ImportError:
            return ABSENT
        except _UndrawableError:
            logger.exception("a picture could not be drawn")
            return _FAILED
        return image if len(image) <= MOST_BYTES else _LARGE


def _draw(specification: dict[str, Any]) -> bytes:
    """The PNG; no address of the specification is ever fetched: it has its data within."""
    from vl_convert import vegalite_to_png  # noqa: PLC0415 - heavy, and an extra

    try:
        image = vegalite_to_png(specification, scale=SCALE, allowed_base_urls=[])
        if len(image) > MOST_BYTES:
            image = vegalite_to_png(specification, scale=1, allowed_base_urls=[])
    except BaseException as error:  # a panic of the engine is no Exception
        raise _UndrawableError from error
    return image


class _UndrawableError(Exception):
    """The engine failed, whatever it raised."""
