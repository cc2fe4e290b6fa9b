"""Calls under way when the server stops: they are ended, and their callers told so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import anyio

from gateway_metrics_mcp.errors import UnavailableError

STOPPING: Final = "this server is stopping: ask again in a minute"


class Endable:
    """Work that lasts until it is done, or until the end of all such work."""

    def __init__(self) -> None:
        self._scopes: set[anyio.CancelScope] = set()
        self._is_over = False

    @contextmanager
    def until_the_end(self) -> Iterator[None]:
        """Run the block, unless the end comes first.

        Raises:
            UnavailableError: if it does.
        """
        scope = anyio.CancelScope()
        if self._is_over:
            scope.cancel()
        self._scopes.add(scope)
        try:
            with scope:
                yield
        finally:
            self._scopes.discard(scope)
        if scope.cancelled_caught:
            raise UnavailableError(STOPPING)

    def end(self) -> None:
        """End all that is under way, and what begins later at once."""
        self._is_over = True
        for scope in list(self._scopes):
            scope.cancel()
