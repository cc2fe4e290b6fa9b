"""What the SQL engines share, except how each runs a statement."""

from __future__ import annotations

import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import ClassVar

from gateway_metrics_mcp.backends.sql.compiler import (
    Statement,
    choose_small_sums,
    compile_query,
)
from gateway_metrics_mcp.backends.sql.dialect import Dialect, Layout, Sums, quote_identifier
from gateway_metrics_mcp.errors import (
    BackendTimeoutError,
    EngineError,
    GatewayMetricsError,
    TooManyRowsError,
)
from gateway_metrics_mcp.query import (
    METADATA,
    Caller,
    Catalog,
    DatasourceName,
    Query,
    Result,
    break_markup,
    format_instant,
)
from gateway_metrics_mcp.query.scope import apply_scope

logger = logging.getLogger(__name__)


class SqlEngine(ABC):
    """The base class of engines that answer with SQL."""

    is_by_rulings = True
    _dialect: ClassVar[Dialect]

    def __init__(self, catalog: Catalog, timeout_s: float, row_cap: int, most_queries: int) -> None:
        self._layout = Layout.of(catalog)
        self._timeout_s = timeout_s
        self._row_cap = row_cap
        self.most_queries = most_queries

    @abstractmethod
    async def query(self, query: Query, caller: Caller) -> Result:
        """The rows that answer the query."""

    async def look(self) -> None:  # noqa: B027 - most can only be asked a query
        """Look whether the source is still there, at next to no cost.

        Raises:
            GatewayMetricsError: if it is not.
        """

    def explain(self, query: Query, caller: Caller) -> str:
        """The SQL over the table's name, then one line per parameter."""
        statement = self._compile(query, caller, quote_identifier(self._table_of(query)))
        lines = [f"{name} = {_show(value)}" for name, value in statement.parameters.items()]
        return "\n".join([statement.text, *lines])

    async def metadata_keys(
        self, datasource: DatasourceName, start: datetime, end: datetime, caller: Caller
    ) -> Result | None:
        """The metadata keys of the rows the caller may see, from an ordinary query."""
        keys = Query(
            datasource=datasource,
            type="distribution",
            start_ts=start,
            end_ts=end,
            group_by=(METADATA,),
        )
        scoped = apply_scope(keys, self._layout.catalog.datasources[datasource])
        return await self.query(scoped.query, caller)

    def _table_of(self, query: Query) -> str:
        return self._layout.catalog.datasources[query.datasource].table

    def _compile(
        self,
        query: Query,
        caller: Caller,
        source: str,
        dialect: Dialect | None = None,
        *,
        is_in_window: bool = False,
    ) -> Statement:
        return compile_query(
            query,
            caller,
            source=source,
            dialect=dialect or self._dialect,
            layout=self._layout,
            row_cap=self._row_cap,
            is_in_window=is_in_window,
        )

    def _add_exactly(
        self,
        query: Query,
        run: Callable[[Sums, Query], Result],
        has_finer: Callable[[Query], bool],
        too_large: tuple[type[Exception], ...],
    ) -> Result:
        """Run a query by the usual sums, or by the wide ones if those would not be exact (R22).

        `has_finer` looks for finer doubles than the usual sums hold, `too_large` are the errors of
        too large ones.
        """
        with suppress(*too_large):
            result = run("usual", query)
            small = choose_small_sums(query, result, self._layout)
            if small is None or not has_finer(small):
                return result
        return run("wide", query)

    def _withhold(
        self, error: GatewayMetricsError, query: Query, caller: Caller
    ) -> GatewayMetricsError:
        """The error as the caller may have it: what cannot be read may be rows of others.

        So files, folders, columns and the kind of damage are named to those who see all rows.
        """
        if not (caller.is_restricted and isinstance(error, EngineError)):
            return error
        table = self._table_of(query)
        logger.warning("%s: %s", table, error)
        return EngineError(
            f"not all rows of {table} in this window can be read. Ask for another window or again"
            " later, or tell the operator of this server, whose log says why"
        )

    def _refuse_rows(self, count: int) -> TooManyRowsError:
        return TooManyRowsError(
            f"the answer would have {count} rows, the limit is {self._row_cap}. Ask for a shorter"
            " window, a longer interval, fewer group-by fields, or filter"
        )

    def _give_up(self) -> BackendTimeoutError:
        return BackendTimeoutError(
            f"no answer within {self._timeout_s:g} s. Ask for a shorter window or fewer groups"
        )


def _show(value: object) -> str:
    """A parameter as JSON, which shows invisible characters and markup as escapes."""
    shown = format_instant(value) if isinstance(value, datetime) else value
    return break_markup(json.dumps(shown))
