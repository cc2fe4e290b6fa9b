"""Readiness for load balancers: whether the backend can answer queries now."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

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

Probe = Callable[[], Awaitable[object]]


class Readiness:
    """Sends the backend a cheap query, at most one at a time."""

    def __init__(self, probe: Probe, meter: Metrics) -> None:
        self._probe = probe
        self._meter = meter
        self._task: asyncio.Task[str | None] | None = None
        self._found_at = 0.0
        self._ours_at: float | None = None
        """`answered_at` of the probe's own query: it is reused for _FRESH_S, not _PROOF_S."""
        self._told: str | None = None

    async def find_obstacle(self) -> str | None:
        """Why queries cannot be answered now, without names or addresses; None if they can."""
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
        slow = f"the backend gave no answer within {_PATIENCE_S} seconds"
        return task.result() if task.done() else slow

    async def _ask(self) -> str | None:
        obstacle = None
        try:
            await self._probe()
            self._ours_at = self._meter.answered_at
        except Exception as error:  # any error: the load balancer needs an answer
            obstacle = _describe(error)
            if obstacle != self._told:  # log a change, not every probe
                is_fault = not isinstance(error, GatewayMetricsError)
                level = logging.ERROR if is_fault else logging.WARNING
                logger.log(level, "not ready: %s", error, exc_info=is_fault)
        if obstacle is None and self._told is not None:
            logger.warning("ready again")
        self._told = obstacle
        self._found_at = self._meter.clock()
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
