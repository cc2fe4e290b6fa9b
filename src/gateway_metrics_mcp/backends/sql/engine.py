"""What every SQL engine has beside its own way to run a statement."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from datetime import datetime
from typing import ClassVar

from gateway_metrics_mcp.backends.sql.compiler import compile_query
from gateway_metrics_mcp.backends.sql.dialect import Dialect, quote_identifier
from gateway_metrics_mcp.backends.sql.tables import Layout
from gateway_metrics_mcp.query.caller import Caller
from gateway_metrics_mcp.query.model import Query, format_instant
from gateway_metrics_mcp.query.result import Result
from gateway_metrics_mcp.query.virtual_models import apply_scope
from gateway_metrics_mcp.query.vocabulary import METADATA, DatasourceName


class SqlEngine(ABC):
    """The base of the engines that answer with SQL."""

    _dialect: ClassVar[Dialect]
    _layout: Layout
    _row_cap: int

    @abstractmethod
    async def query(self, query: Query, caller: Caller) -> Result:
        """The rows that answer the query."""

    def explain(self, query: Query, caller: Caller) -> str:
        """The statement over the table's name, then a line for each parameter."""
        table = self._layout.catalog.datasources[query.datasource].table
        statement = compile_query(
            query,
            caller,
            source=quote_identifier(table),
            dialect=self._dialect,
            layout=self._layout,
            row_cap=self._row_cap,
        )
        lines = [f"{name} = {_show(value)}" for name, value in statement.parameters.items()]
        return "\n".join([statement.text, *lines])

    async def metadata_keys(
        self, datasource: DatasourceName, start: datetime, end: datetime, caller: Caller
    ) -> Result | None:
        """The keys that the caller's rows have, by a query like any other."""
        keys = Query(
            datasource=datasource,
            type="distribution",
            start_ts=start,
            end_ts=end,
            group_by=(METADATA,),
        )
        scoped = apply_scope(keys, self._layout.catalog.datasources[datasource])
        return await self.query(scoped.query, caller)


def _show(value: object) -> str:
    """A parameter as JSON, in which nothing is invisible."""
    return json.dumps(format_instant(value) if isinstance(value, datetime) else value)
