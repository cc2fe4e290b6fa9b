"""Questions that are being asked already are not asked again: all who ask wait for one answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field

import anyio

from gateway_metrics_mcp.errors import GatewayMetricsError, UnavailableError
from gateway_metrics_mcp.query.result import Result
from gateway_metrics_mcp.runtime.tasks import STOPPING

Ask = Callable[[], Awaitable[Result | None]]


@dataclass(slots=True, eq=False)
class _Flight:
    """One call and how many wait for it; `scope` ends it."""

    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    done: anyio.Event = field(default_factory=anyio.Event)
    waiting: int = 0
    answer: Result | None = None
    failure: BaseException | None = None


class SingleFlight:
    """The calls in flight, by key; a key holds the caller, so that callers never share one.

    A call is a task of its own, not the first asker's: that one may go while others wait. Its
    life is bounded all the same, by the last who waits.
    """

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def has(self, key: Hashable) -> bool:
        """Whether the same question is being asked."""
        return key in self._flights

    async def join(self, key: Hashable, ask: Ask) -> Result | None:
        """The answer of the call with this key, which is made if there is none.

        Raises:
            GatewayMetricsError: the call's, each waiter one of their own.
        """
        flight = self._flights.get(key) or self._start(key, ask)
        flight.waiting += 1
        try:
            await flight.done.wait()
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.done.is_set():
                await self._end(key, flight)
        if flight.failure is not None:
            raise _renew(flight.failure)
        return flight.answer

    async def aclose(self) -> None:
        """End all calls: whoever waits is told so."""
        for key, flight in list(self._flights.items()):
            await self._end(key, flight)

    def _start(self, key: Hashable, ask: Ask) -> _Flight:
        flight = self._flights[key] = _Flight()
        task = asyncio.create_task(self._run(key, flight, ask))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return flight

    async def _run(self, key: Hashable, flight: _Flight, ask: Ask) -> None:
        flight.failure = UnavailableError(STOPPING)
        try:
            with flight.scope:
                flight.answer = await ask()
                flight.failure = None
        except Exception as error:  # noqa: BLE001 - raised again by each who waits
            flight.failure = error
        finally:
            self._forget(key, flight)
            flight.done.set()

    async def _end(self, key: Hashable, flight: _Flight) -> None:
        """Cancel the call, and wait until it has let go of what it holds."""
        self._forget(key, flight)
        flight.scope.cancel()
        with anyio.CancelScope(shield=True):
            await flight.done.wait()

    def _forget(self, key: Hashable, flight: _Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]


def _renew(error: BaseException) -> BaseException:
    """An equal error without a traceback: each raise adds to the one it has."""
    if not isinstance(error, GatewayMetricsError):
        return error
    renewed = type(error).__new__(type(error), *error.args)
    renewed.__dict__.update(error.__dict__)
    return renewed
