"""The distributed engine: tables of a ClickHouse server, over its HTTP interface.

Queries are read-only and limited in time, memory and rows; no text of a caller becomes SQL. Each
runs in a worker thread under its own id, by which it is killed if its caller gives up. Behind a
load balancer the kill may reach another node; then `max_execution_time` ends the query.
"""

from __future__ import annotations

import logging
import math
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

import anyio
import anyio.to_thread
import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, Error
from clickhouse_connect.driver.httputil import get_pool_manager

from gateway_metrics_mcp.backends.clickhouse.address import Address
from gateway_metrics_mcp.backends.clickhouse.dialect import ClickHouseDialect
from gateway_metrics_mcp.backends.clickhouse.errors import UNKNOWN_IDENTIFIER, translate
from gateway_metrics_mcp.backends.clickhouse.tables import fits
from gateway_metrics_mcp.backends.sql.compiler import Statement, read_rows
from gateway_metrics_mcp.backends.sql.dialect import SLUG_COLUMN, SUBJECT_TYPE_COLUMN
from gateway_metrics_mcp.backends.sql.engine import SqlEngine
from gateway_metrics_mcp.errors import (
    EngineError,
    GatewayMetricsError,
    InternalError,
    SettingsError,
)
from gateway_metrics_mcp.query import Caller, Catalog, Query, Result
from gateway_metrics_mcp.runtime.concurrency import ConcurrencyLimiter

logger = logging.getLogger(__name__)

CONCURRENCY: Final = 8
"""Queries that run at once, and connections that are kept."""

_KILL: Final = "KILL QUERY WHERE query_id = {id:String} AND user = currentUser() ASYNC"
_MEANING: Final = {
    "aggregate_functions_null_for_empty": "0",
    "distributed_group_by_no_merge": "0",
    "enable_positional_arguments": "1",
    "group_by_overflow_mode": "throw",
    "limit": "0",
    "offset": "0",
    "read_overflow_mode": "throw",
    "read_overflow_mode_leaf": "throw",
    "result_overflow_mode": "throw",
    "skip_unavailable_shards": "0",
    "sort_overflow_mode": "throw",
    "timeout_overflow_mode": "throw",
    "timeout_overflow_mode_leaf": "throw",
    "transform_null_in": "0",
}
"""Settings that could change an answer or cut it, pinned to ClickHouse's defaults: a user's profile
may set them otherwise."""

_BYTES: Final = {
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}


@dataclass(slots=True)
class _Call:
    """One query with its own id, and the state of its thread."""

    query_id: str = field(default_factory=lambda: f"gateway-metrics-mcp-{uuid4()}")
    is_cancelled: bool = False
    is_sent: bool = False
    is_done: bool = False


class ClickHouseBackend(SqlEngine):
    """Answers from a database's tables in the vendor's layout, `Distributed` or not.

    Connects at the first query. Columns that a table lacks read as null. `connect` replaces the
    HTTP client.
    """

    _dialect = ClickHouseDialect()

    def __init__(
        self,
        url: str,
        catalog: Catalog,
        *,
        password: str | None = None,
        memory_limit: str = "2GB",
        timeout_s: float = 60,
        row_cap: int = 100_000,
        connect: Callable[[], Client] | None = None,
    ) -> None:
        self._address = Address.read(url)
        super().__init__(catalog, timeout_s, row_cap, CONCURRENCY)
        self._memory_bytes = _read_bytes(memory_limit)
        self._limiter = ConcurrencyLimiter(CONCURRENCY)
        self._opening = threading.Lock()
        self._client: Client | None = None
        self._columns: dict[str, tuple[float, dict[str, str]]] = {}
        self._connect = connect or (
            lambda: _open_client(self._address, password or "", timeout_s=timeout_s)
        )

    @property
    def description(self) -> str:
        """`ClickHouse at <host>:<port>/<database>`."""
        return f"ClickHouse at {self._address}"

    async def query(self, query: Query, caller: Caller) -> Result:
        """The rows that answer the query, by rulings R1 to R24.

        Raises:
            TooManyRowsError: if there are more rows than the cap (R19).
            QueryTooLargeError: if it exceeds the memory or a limit of the user's profile.
            BackendTimeoutError: if it takes longer than the time limit.
            OperatorError: if the server cannot be reached, or its tables cannot be read.
        """
        call = _Call()
        outcome: Result | GatewayMetricsError
        try:
            with anyio.fail_after(self._timeout_s):
                outcome = await self._run(call, query, caller)
        except TimeoutError:
            outcome = self._give_up()
        if isinstance(outcome, GatewayMetricsError):
            raise outcome  # outside any handler: frames of the client's errors hold the password
        return outcome

    async def aclose(self) -> None:
        """Close the connections."""
        with self._opening:
            client, self._client = self._client, None
        if client is not None:
            client.close_connections()
            client.close()

    async def _run(self, call: _Call, query: Query, caller: Caller) -> Result | GatewayMetricsError:
        try:
            return await self._limiter.run_in_thread(lambda: self._work(call, query, caller))
        except anyio.get_cancelled_exc_class():
            call.is_cancelled = True
            with anyio.move_on_after(2, shield=True):  # without an answer, the time limit ends it
                # Repeated, because a kill that arrives before the query has no effect.
                while call.is_sent and not call.is_done:
                    await anyio.to_thread.run_sync(self._kill, call, abandon_on_cancel=True)
                    await anyio.sleep(0.2)
            raise

    def _work(self, call: _Call, query: Query, caller: Caller) -> Result | GatewayMetricsError:
        """Run one query, in the worker thread; errors are returned, not raised."""
        table = self._table_of(query)
        try:
            return self._answer(call, query, caller, table)
        except GatewayMetricsError as error:
            return error
        except ClickHouseError as error:
            if call.is_cancelled:
                return InternalError("cancelled")
            if isinstance(error, Error) and error.code == UNKNOWN_IDENTIFIER:
                self._columns.pop(table, None)  # the table has lost a column
            return translate(error, table)
        finally:
            call.is_done = True

    def _answer(self, call: _Call, query: Query, caller: Caller, table: str) -> Result:
        client = self._open()
        dialect = self._dialect
        source = dialect.source(self._address.database, table)
        stored = self._stored(client, table, source)
        statement = self._compile(query, caller, source)
        self._check_types(table, stored, statement)
        absent = dialect.absent_columns(self._layout.tables[table], stored)
        parameters = {name: dialect.parameter(v) for name, v in statement.parameters.items()}
        settings = {"query_id": call.query_id, **self._limits(client)}
        most = _allowed(client, {"max_result_rows": str(self._row_cap + 1)})
        if call.is_cancelled:
            raise InternalError("cancelled")
        call.is_sent = True
        rows = client.query(absent + statement.text, parameters, settings | most).result_rows
        if len(rows) > self._row_cap:
            counted = client.query(absent + statement.count_text, parameters, settings)
            raise self._refuse_rows(counted.result_rows[0][0])
        return read_rows(rows, statement, query, self._layout.catalog)

    def _open(self) -> Client:
        with self._opening:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _stored(self, client: Client, table: str, source: str) -> dict[str, str]:
        """The table's columns and types; those added while the server runs show within a minute."""
        now = time.monotonic()
        age, stored = self._columns.get(table, (-float("inf"), {}))
        if now - age > 60:
            described = client.query(f"DESCRIBE TABLE {source}").result_rows
            stored = {row[0]: row[1] for row in described}
            self._columns[table] = (now, stored)
        return stored

    def _check_types(self, table: str, stored: Mapping[str, str], statement: Statement) -> None:
        """Refuse columns of another kind of type, some of which would give wrong values.

        Raises:
            EngineError: if the statement uses one.
        """
        for name, published in self._layout.tables[table].items():
            # The compiler writes these two without quotes.
            is_unquoted = name in (SLUG_COLUMN, SUBJECT_TYPE_COLUMN)
            is_used = is_unquoted or f'"{name}"' in statement.text
            if is_used and name in stored and not fits(stored[name], published):
                raise EngineError(
                    f"the column {name} of {table} is of type {stored[name]}, which is not of the"
                    f" published kind ({published}); docs/clickhouse.md has the types"
                )

    def _limits(self, client: Client) -> dict[str, str]:
        """The settings of a query, as far as the user's profile allows them.

        Raises:
            SettingsError: if the profile fixes a setting of `_MEANING` to another value.
        """
        for name, value in _MEANING.items():
            fixed = client.server_settings.get(name)
            if fixed is not None and fixed.readonly and fixed.value != value:
                raise SettingsError(
                    f"the ClickHouse user's profile fixes {name} to {fixed.value}, with which"
                    f" answers could be wrong. Set it to {value}"
                )
        wanted = {
            **_MEANING,
            "max_execution_time": f"{self._timeout_s:g}",
            "max_memory_usage": str(self._memory_bytes),
            "readonly": "1",
        }
        own = client.server_settings.get("readonly")
        if own is not None and own.value != "0":
            del wanted["readonly"]  # a read-only profile cannot be changed, not even to this
        return _allowed(client, wanted)

    def _kill(self, call: _Call) -> None:
        """Ask the server to kill the query, which also ends its thread's wait."""
        try:
            if self._client is not None:
                self._client.command(_KILL, {"id": call.query_id})
        except ClickHouseError as error:
            logger.info("query %s was not killed: %s", call.query_id, error)


def _allowed(client: Client, wanted: Mapping[str, str]) -> dict[str, str]:
    """The settings that the server knows, lets us change, and that differ from ours."""
    known = client.server_settings
    return {
        name: value
        for name, value in wanted.items()
        if name in known and not known[name].readonly and known[name].value != value
    }


def _open_client(address: Address, password: str, *, timeout_s: float) -> Client:
    """A client without a session, so that many threads can use it.

    It has its own connection pool, closed with it: the library's shared pool would use the
    environment's proxies, which could read the password of a connection without TLS.

    Raises:
        ClickHouseError: if the server cannot be reached or refuses the user.
    """
    return clickhouse_connect.get_client(
        interface="https" if address.is_secure else "http",
        host=address.host,
        port=address.port,
        username=address.user,
        password=password,
        autogenerate_session_id=False,
        query_retries=0,
        connect_timeout=10,
        send_receive_timeout=math.ceil(timeout_s) + 5,  # the server's own time-out says more
        client_name="gateway-metrics-mcp",
        form_encode_query_params=True,  # in the body: proxies log URLs
        pool_mgr=get_pool_manager(maxsize=CONCURRENCY),
    )


def _read_bytes(text: str) -> int:
    match = re.fullmatch(r"([\d.]+)\s?([A-Za-z]+)", text)
    if match is None:
        raise SettingsError(f"{text!r} is not an amount of memory. Give one such as 2GB")
    return int(float(match[1]) * _BYTES[match[2]])
