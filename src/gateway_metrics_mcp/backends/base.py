"""The protocol of all backends; what wraps them is in middleware.py."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol, runtime_checkable

from gateway_metrics_mcp.query import Caller, DatasourceName, Query, Result


class Backend(Protocol):
    """Answers queries for callers. Safe to use from many tasks at once."""

    @property
    def description(self) -> str:
        """What it is, for operators; without tokens or credentials."""

    @property
    def is_by_rulings(self) -> bool:
        """Whether its groups are those of the rulings: no row is missing, none is hidden."""

    async def query(self, query: Query, caller: Caller) -> Result:
        """The rows that answer the query, restricted to those the caller may see (R23).

        Raises:
            GatewayMetricsError: of the class that says who must act (errors.py).
        """

    def explain(self, query: Query, caller: Caller) -> str:
        """The request body or SQL that `query` would send; no address, path or token."""

    async def metadata_keys(
        self, datasource: DatasourceName, start: datetime, end: datetime, caller: Caller
    ) -> Result | None:
        """The metadata keys of the rows in [start, end), with the number of rows that have each.

        The result has the key `metadata` and the value `total`, most rows first, and counts real
        models alone. None if the backend cannot list keys.

        Raises:
            GatewayMetricsError: as `query` does.
        """

    async def aclose(self) -> None:
        """Release connections and threads; do not use the backend afterwards."""


class Engine(Backend, Protocol):
    """A backend that computes answers itself, so this server can serve the API over it."""

    @property
    def most_queries(self) -> int:
        """How many queries run at once; others wait inside, within their own time limit."""


@runtime_checkable
class ExaminesTables(Protocol):
    """A backend that can tell before a question what of a table it cannot read."""

    async def examine(self, table: str) -> str:
        """What the table is, for operators.

        Raises:
            GatewayMetricsError: that names the columns which cannot be read.
        """


class OpenedEngine(Engine, Protocol):
    """An engine that the settings name, which can also be looked at without a query."""

    async def look(self) -> None:
        """Look whether its source is still there, at next to no cost.

        Raises:
            GatewayMetricsError: if it is not.
        """
