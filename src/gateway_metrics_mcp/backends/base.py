"""What answers a query: the one interface of the remote gateway and the engines."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from gateway_metrics_mcp.query import Caller, DatasourceName, Query, Result


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

    def explain(self, query: Query, caller: Caller) -> str:
        """What `query` would send, without sending it: no address, no path, no token."""
        ...

    async def metadata_keys(
        self, datasource: DatasourceName, start: datetime, end: datetime, caller: Caller
    ) -> Result | None:
        """The keys of the callers' metadata: how many rows of [start, end) have each.

        Key `metadata`, value `total`, most rows first; of virtual models, the real models' rows.
        None if the source has no way to list them.

        Raises:
            GatewayMetricsError: as `query` does.
        """
        ...

    async def aclose(self) -> None:
        """Release connections and threads; the backend is not used afterwards."""
        ...


class Engine(Backend, Protocol):
    """A backend that makes the answers itself, so that the API can be served over it."""

    @property
    def most_queries(self) -> int:
        """How many run at once; more wait inside, within their own time limit."""
        ...
