"""What answers a query: the one interface of the remote gateway and the engines."""

from __future__ import annotations

from typing import Protocol

from gateway_metrics_mcp.access import Caller
from gateway_metrics_mcp.query.model import Query
from gateway_metrics_mcp.result import Result


class Backend(Protocol):
    """Answers queries for callers. Safe to use from many tasks at once."""

    @property
    def description(self) -> str:
        """What it is, for operators: never a token, no credentials of an address."""
        ...

    async def query(self, query: Query, caller: Caller) -> Result:
        """The rows that answer the query, as far as the caller may see them.

        Raises:
            GatewayMetricsError: a class of errors.py that says who must act.
        """
        ...

    async def aclose(self) -> None:
        """Release connections and threads; the backend is not used afterwards."""
        ...
