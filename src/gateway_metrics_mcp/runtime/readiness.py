"""Readiness for load balancers: whether the backend can answer queries now."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from gateway_metrics_mcp.errors import (
    BackendTimeoutError,
    GatewayError,
    GatewayMetricsError,
    SettingsError,
)
from gateway_metrics_mcp.runtime.metrics import Metrics

logger = logging.getLogger(__name__)

_FRESH_S: Final = 5
"""How long a result is reused, in seconds: every node of a load balancer sends probes."""
_PROOF_S: Final = 15
"""How long an answered query proves readiness, in seconds: a server that is busy, and so slow to
answer the probe, must stay in the load balancer."""
_PATIENCE_S: Final = 3
_SLOW: Final = f"the backend gave no answer within {_PATIENCE_S} seconds"

Probe = Callable[[], Awaitable[object]]


class Readiness:
    """Sends the backend a cheap query, at most one at a time.

    `look` is cheaper still and is done for each check: no earlier answer proves that a data
    directory is still there.
    """

    def __init__(self, probe: Probe, meter: Metrics, look: Probe | None = None) -> None:
        self._probe = probe
        self._look = look
        self._meter = meter
        self._task: asyncio.Task[str | None] | None = None
        self._found_at = 0.0
        self._ours_at: float | None = None
        """`answered_at` of the probe's own query: it is reused for _FRESH_S, not _PROOF_S."""
        self._told: str | None = None

    async def find_obstacle(self) -> str | None:
        """Why queries cannot be answered now, without names or addresses; None if they can."""
        try:
            if self._look is not None:
                with anyio.fail_after(_PATIENCE_S):
                    await self._look()
        except TimeoutError:
            return _SLOW
        except Exception as error:  # noqa: BLE001 - any error: the load balancer needs an answer
            return self._tell(error)
        now, answered_at = self._meter.clock(), self._meter.answered_at
        is_callers = answered_at != self._ours_at
        if answered_at is not None and is_callers and now - answered_at < _PROOF_S:
            return None
        task = self._task
        if task is None or (task.done() and now - self._found_at > _FRESH_S):
            # A task, because it has to outlive this probe: opening a slow backend continues, and
            # the next probe waits for the same task.
            task = self._task = asyncio.create_task(self._ask())
        await asyncio.wait([task], timeout=_PATIENCE_S)
        return task.result() if task.done() else _SLOW

    async def _ask(self) -> str | None:
        obstacle = None
        try:
            await self._probe()
            self._ours_at = self._meter.answered_at
        except Exception as error:  # noqa: BLE001 - likewise
            obstacle = self._tell(error)
        else:
            if self._told is not None:
                logger.warning("ready again")
            self._told = None
        self._found_at = self._meter.clock()
        return obstacle

    def _tell(self, error: Exception) -> str:
        """The obstacle; a change is logged, not every check."""
        obstacle = _describe(error)
        if obstacle != self._told:
            is_fault = not isinstance(error, GatewayMetricsError)
            level = logging.ERROR if is_fault else logging.WARNING
            logger.log(level, "not ready: %s", error, exc_info=error if is_fault else None)
        self._told = obstacle
        return obstacle


def _describe(error: Exception) -> str:
    """A reason for the public: the error's text may contain a path, so it is only logged."""
    match error:
        case SettingsError():
            return "the configuration is wrong; the log has details"
        case BackendTimeoutError():
            return "the backend gave no answer in time"
        case GatewayError():
            return f"the backend fails ({error.code})"
        case GatewayMetricsError():
            return f"the backend cannot be used ({error.code}); the log has details"
    return "an internal error of this server; see its log"
