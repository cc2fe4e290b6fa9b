"""Retries of gateway calls that failed for a passing reason, within one time limit.

Which failures pass is decided by the errors' `is_passing`.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final

import anyio

from gateway_metrics_mcp.backends.gateway.errors import explain_timeout
from gateway_metrics_mcp.errors import GatewayMetricsError
from gateway_metrics_mcp.query import Result
from gateway_metrics_mcp.runtime.metrics import Metrics

_FIRST_WAIT_S: Final = 0.2

Ask = Callable[[], Awaitable[Result | None]]


class Retries:
    """Up to `most` retries, each of which has to start within `budget_s` seconds of the first try.

    If the gateway's Retry-After lies beyond that, its error is raised without waiting.
    """

    def __init__(self, most: int, budget_s: float, meter: Metrics) -> None:
        self._most = most
        self._budget_s = budget_s
        self._meter = meter

    async def run(self, ask: Ask) -> Result | None:
        """The result of `ask`, retried if necessary.

        Raises:
            BackendTimeoutError: if all tries together take longer than the budget.
            GatewayMetricsError: the last try's error.
        """
        begun = monotonic()
        with anyio.move_on_after(self._budget_s):
            try:
                return await ask()
            except GatewayMetricsError as error:
                if not error.is_passing:
                    raise
                first = error
            return await self._ask_again(ask, first, self._budget_s - (monotonic() - begun))
        raise explain_timeout(self._budget_s)

    async def _ask_again(
        self, ask: Ask, first: GatewayMetricsError, left_s: float
    ) -> Result | None:
        """Retry after a first failure; calls that succeed never build tenacity's objects."""
        import tenacity  # needed only after a failure

        failed = [first]

        async def ask_or_fail() -> Result | None:
            if failed:
                raise failed.pop()
            return await ask()

        growing = tenacity.wait_exponential(_FIRST_WAIT_S, max=8)
        usual = growing + tenacity.wait_random(0, _FIRST_WAIT_S)

        def wait(state: tenacity.RetryCallState) -> float:
            error = None if state.outcome is None else state.outcome.exception()
            if isinstance(error, GatewayMetricsError) and error.wait_s is not None:
                # Up to a tenth later, so that clients do not all return at once.
                return error.wait_s * random.uniform(1, 1.1)  # noqa: S311 - no secret
            return usual(state)

        tries = tenacity.AsyncRetrying(
            sleep=anyio.sleep,
            stop=tenacity.stop_after_attempt(1 + self._most) | tenacity.stop_before_delay(left_s),
            wait=wait,
            retry=tenacity.retry_if_exception(_is_passing),
            before_sleep=lambda _: self._meter.count_retry(),
            reraise=True,
        )
        return await tries(ask_or_fail)


def _is_passing(error: BaseException) -> bool:
    return isinstance(error, GatewayMetricsError) and error.is_passing
