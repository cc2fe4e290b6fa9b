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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, Literal
from uuid import uuid4

import anyio
import anyio.to_thread
import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, Error
from clickhouse_connect.driver.httputil import get_pool_manager

from gateway_metrics_mcp.backends.clickhouse import Address
from gateway_metrics_mcp.backends.clickhouse.dialect import (
    DIALECTS,
    HOUR,
    AddedClickHouseDialect,
    ClickHouseDialect,
    FarDoublesError,
)
from gateway_metrics_mcp.backends.clickhouse.errors import (
    ILLEGAL_FINAL,
    UNKNOWN_IDENTIFIER,
    describe_error,
    translate,
)
from gateway_metrics_mcp.backends.clickhouse.stored import (
    StoredTable,
    describe,
)
from gateway_metrics_mcp.backends.clickhouse.tables import (
    guess_projection,
    precision,
    refuse_bytes,
)
from gateway_metrics_mcp.backends.sql.compiler import Statement, read_rows
from gateway_metrics_mcp.backends.sql.dialect import (
    TEAMS_COLUMN,
    TIME_COLUMN,
    Sums,
    find_used,
    quote_identifier,
)
from gateway_metrics_mcp.backends.sql.engine import SqlEngine
from gateway_metrics_mcp.errors import (
    GatewayMetricsError,
    InternalError,
    SettingsError,
)
from gateway_metrics_mcp.query import Caller, Catalog, Query, Result
from gateway_metrics_mcp.query.vocabulary import PERCENTILES
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

_FINAL: Final = {
    "final": "1",
    "do_not_merge_across_partitions_select_final": "0",
    "optimize_move_to_prewhere_if_final": "0",
}
"""Settings by which rows that ClickHouse has yet to merge count once, through views too. Tables
without such rows are read as ever."""
_GUARDED: Final = {
    "short_circuit_function_evaluation": "force_enable",
    "optimize_functions_to_subcolumns": "0",
}
"""Settings with which a caller's filters and metadata keys take no time of rows that the caller may
not see: cheap conditions would be evaluated on all rows, and a key be looked up while reading."""
_HOUR: Final = timedelta(hours=1)
_HOURS: Final = (datetime(1970, 1, 1, 1, tzinfo=UTC), datetime(2106, 2, 7, 6, tzinfo=UTC))
"""Between these, `toStartOfHour` tells all hours apart."""
_NO_PROJECTION: Final = {"optimize_use_projections": "0"}
_AS_WRITTEN: Final = {
    "optimize_functions_to_subcolumns": "0",
    "optimize_rewrite_aggregate_function_with_if": "0",
}
"""Settings that keep ClickHouse from writing an aggregate in a way that no projection has."""
_KNOWN_FOR_S: Final = 60
_MICROSECOND_DIGITS: Final = 6
_NANOSECOND_TIMES: Final = (
    datetime(1900, 1, 1, tzinfo=UTC),
    datetime(2262, 4, 11, 23, 47, 16, tzinfo=UTC),
)
"""What a time in nanoseconds can be; ClickHouse fails on comparing it with others."""

Merges = Literal["by setting", "by keyword", "not needed", "not allowed"]
"""How rows that ClickHouse has yet to merge are made to count once."""

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


@dataclass(frozen=True, slots=True)
class Reading:
    """A statement over a table as it is stored, and what to say of its answer."""

    statement: Statement
    parameters: Mapping[str, Any]
    notes: tuple[str, ...]
    settings: Mapping[str, str]
    """How ClickHouse is to plan it."""


class ClickHouseBackend(SqlEngine):
    """Answers from a database's tables in the vendor's layout, `Distributed` or not.

    Connects at the first query. Columns of other types are read as the published ones where each
    value has one (`tables.py`), and those that a table lacks as null. `connect` replaces the HTTP
    client.
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
        self._tables: dict[str, tuple[float, StoredTable]] = {}
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
            # Outside any handler: frames of the client's errors hold the password.
            raise self._withhold(outcome, query, caller)
        return outcome

    async def examine(self, table: str) -> str:
        """Read a table's columns and engines, as `StoredTable.summarize` has it.

        Raises:
            EngineError: if not all of it can be read.
        """

        def work() -> str | GatewayMetricsError:
            try:
                client = self._open()
                limits = self._limits(client)
                stored = self._stored(client, table, limits)
                said = stored.summarize(self._layout.tables[table])
                return "; ".join(filter(None, (said, stored.timeless)))
            except GatewayMetricsError as error:
                return error
            except ClickHouseError as error:
                return translate(error, table)

        outcome = await self._limiter.run_in_thread(work)
        if isinstance(outcome, GatewayMetricsError):
            raise outcome
        return outcome

    async def aclose(self) -> None:
        """Close the connections; one that is being made is waited for, beside the loop."""
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._close)

    def _close(self) -> None:
        with self._opening:
            client, self._client = self._client, None
        if client is not None:
            client.close_connections()
            client.close()

    async def _run(self, call: _Call, query: Query, caller: Caller) -> Result | GatewayMetricsError:
        try:
            work = partial(self._work, call, query, caller)
            return await self._limiter.run_in_thread(work, caller.identity)
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
                self._tables.pop(table, None)  # the table has lost a column
            return translate(error, table)
        finally:
            call.is_done = True

    def _answer(self, call: _Call, query: Query, caller: Caller, table: str) -> Result:
        client = self._open()
        limits = self._limits(client)
        stored = self._stored(client, table, limits)
        stored.refuse_engine()
        try:
            return self._ask(call, client, query, caller, stored, limits)
        except Error as error:
            if error.code != ILLEGAL_FINAL or not stored.has_final:
                raise
        # Shards of an older server refuse FINAL where ours passes it over: nothing merges there.
        stored = replace(stored, has_final=False)
        self._tables[table] = (time.monotonic(), stored)
        return self._ask(call, client, query, caller, stored, limits)

    def _ask(
        self,
        call: _Call,
        client: Client,
        query: Query,
        caller: Caller,
        stored: StoredTable,
        limits: dict[str, str],
    ) -> Result:
        merges = _merges(client, stored)
        settings = {"query_id": call.query_id, **limits}
        if merges == "by setting":
            settings |= _allowed(client, _FINAL)
        if not caller.is_tenant_admin:
            settings |= _allowed(client, _GUARDED)

        def run(sums: Sums, part: Query) -> Result:
            reading = self._read_as_published(stored, part, caller, merges, sums)
            return self._fetch(client, call, reading, part, settings)

        def has_finer(part: Query) -> bool:
            _, *found = run("fine", part).points[0].values  # after total
            return any(found)

        return self._add_exactly(query, run, has_finer, (FarDoublesError,))

    def _fetch(
        self, client: Client, call: _Call, reading: Reading, query: Query, settings: dict[str, str]
    ) -> Result:
        """Run a statement, and take its rows up to the cap."""
        statement, dialect = reading.statement, self._dialect
        parameters = {n: dialect.parameter(v) for n, v in reading.parameters.items()}
        settings |= _allowed(client, reading.settings)
        most = _allowed(client, {"max_result_rows": str(self._row_cap + 1)})
        if call.is_cancelled:
            raise InternalError("cancelled")
        call.is_sent = True
        rows = client.query(statement.text, parameters, settings | most).result_rows
        if len(rows) > self._row_cap:
            counted = client.query(statement.count_text, parameters, settings)
            raise self._refuse_rows(counted.result_rows[0][0])
        result = read_rows(rows, statement, query, self._layout.catalog)

        def ask_bytes() -> Sequence[Sequence[Any]]:
            formats = {"String": "bytes"}
            again = client.query(statement.text, parameters, settings | most, query_formats=formats)
            return again.result_rows

        refuse_bytes(result, self._table_of(query), 0 if query.interval is None else 1, ask_bytes)
        return replace(result, notes=(*result.notes, *reading.notes))

    def _open(self) -> Client:
        with self._opening:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _stored(self, client: Client, table: str, limits: dict[str, str]) -> StoredTable:
        """The table as it is; what changes while the server runs shows within a minute."""
        now = time.monotonic()
        known = self._tables.get(table)
        if known is not None and now - known[0] <= _KNOWN_FOR_S:
            return known[1]

        def run(text: str, parameters: dict[str, Any] | None) -> Sequence[Sequence[Any]]:
            rows: Sequence[Sequence[Any]] = client.query(text, parameters, limits).result_rows
            return rows

        stored = describe(run, self._address.database, table)
        self._tables[table] = (now, stored)
        return stored

    def _choose_dialect(
        self,
        stored: StoredTable,
        query: Query,
        caller: Caller,
        scales: Mapping[str, int],
        sums: Sums,
        *,
        is_plain: bool,
        is_hourly: bool,
    ) -> ClickHouseDialect:
        """The dialect for a table, whose columns are the published ones if `is_plain`."""
        if sums != "usual" or not is_plain:
            return DIALECTS[sums](scales)
        has_percentiles = any(entry.type in PERCENTILES for entry in query.aggregations)
        is_added = self._is_by_team(query) and not (has_percentiles or query.finds_one)
        kind = AddedClickHouseDialect if is_added else ClickHouseDialect
        if not caller.is_tenant_admin:  # columns and projections may tell what others' rows hold
            return kind(scales)
        is_hourly &= stored.has_projections and not has_percentiles and _is_hourly(stored, query)
        return kind(scales, stored.keys, is_hourly=is_hourly)

    def _is_by_team(self, query: Query) -> bool:
        fields = self._layout.catalog.datasources[query.datasource].group_by
        keys = [fields[name] for name in query.group_by if name in fields]
        return any(key.table_column == TEAMS_COLUMN for key in keys)

    def _read_as_published(
        self,
        stored: StoredTable,
        query: Query,
        caller: Caller,
        merges: Merges,
        sums: Sums,
    ) -> Reading:
        """The statement over the columns as they are stored.

        Raises:
            EngineError: if it needs columns that cannot be read as the published ones.
        """
        published = self._layout.tables[stored.name]
        source = self._dialect.source(self._address.database, stored.name)
        final = " FINAL" if merges == "by keyword" else ""
        plain = self._compile(query, caller, source + final)
        used = find_used(published, plain.text)
        reads = stored.read_all(used)
        absent = {name: used[name] for name, read in reads.items() if read is None}
        present = {name: read for name, read in reads.items() if read is not None}
        # Only where needed: a Distributed table would send its rows, not its shards' aggregates.
        is_converted = any(read != quote_identifier(name) for name, read in present.items())
        dialect = self._choose_dialect(
            stored,
            query,
            caller,
            stored.find_scales(name for name in present if used[name] == "DOUBLE PRECISION"),
            sums,
            is_plain=not is_converted and not absent,
            is_hourly=merges == "not needed",
        )
        if is_converted:
            source = dialect.converted(f"{source} AS t{final}", present)
        else:
            source += final
        statement = self._compile(query, caller, source, dialect)
        planned = _plan(stored, statement, is_hourly=dialect.time == HOUR)
        if absent:
            statement = statement.opened_by(dialect.absent_columns(absent))
        notes = [*stored.say_absent(absent), *_say_unmerged(stored, merges)]
        # It counts rows of all callers.
        notes += [stored.timeless] if stored.timeless and not caller.is_restricted else []
        has_nanoseconds = precision(stored.type_of(TIME_COLUMN)) > _MICROSECOND_DIGITS
        parameters = _clip(statement.parameters) if has_nanoseconds else statement.parameters
        return Reading(statement, parameters, tuple(notes), planned)

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
            "precise_float_parsing": "1",  # of a Decimal's sum
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
            logger.info("query %s was not killed: %s", call.query_id, describe_error(error))


def _allowed(client: Client, wanted: Mapping[str, str]) -> dict[str, str]:
    """The settings that the server knows, lets us change, and that differ from ours."""
    known = client.server_settings
    return {
        name: value
        for name, value in wanted.items()
        if name in known and not known[name].readonly and known[name].value != value
    }


def _merges(client: Client, stored: StoredTable) -> Merges:
    """How rows count once that ClickHouse has yet to merge, as far as the profile allows it."""
    if not stored.may_merge:
        return "not needed"
    if all(_is_set(client, name, value) for name, value in _FINAL.items()):
        return "by setting"
    return "by keyword" if stored.is_itself_merging else "not allowed"


def _is_set(client: Client, name: str, value: str) -> bool:
    """Whether a query runs with the setting: the profile allows it, or has it already."""
    known = client.server_settings.get(name)
    return known is not None and (not known.readonly or known.value == value)


def _say_unmerged(stored: StoredTable, merges: Merges) -> Iterator[str]:
    if merges == "not allowed":
        yield (
            f"rows of {stored.name} that ClickHouse has yet to merge may count twice: the user's"
            " profile does not allow the setting final = 1"
        )
    if stored.is_merging and ("rand" in stored.sharding or stored.is_unsharded):
        yield (
            f"a row of {stored.name} that was stored again on another shard counts twice: its"
            " sharding key does not keep such rows together"
        )


def _plan(stored: StoredTable, statement: Statement, *, is_hourly: bool) -> dict[str, str]:
    """Settings by which ClickHouse weighs one projection or none: each takes a millisecond."""
    if not stored.has_projections:
        return {}
    if not is_hourly:
        return _NO_PROJECTION
    guessed = guess_projection(statement.text, stored.keys.values())
    return {**_AS_WRITTEN, "preferred_optimize_projection_name": guessed}


def _is_hourly(stored: StoredTable, query: Query) -> bool:
    """Whether the window and each bucket consist of whole hours, as ClickHouse finds them."""
    first, last = _HOURS
    width = query.interval and query.interval.fixed_seconds
    return (
        re.fullmatch(r"DateTime64\(\d, 'UTC'\)", stored.columns.get(TIME_COLUMN, "")) is not None
        and all(
            (instant - first) % _HOUR == _HOUR * 0 for instant in (query.start_ts, query.end_ts)
        )
        and first <= query.start_ts
        and query.end_ts <= last
        and (not width or width % _HOUR.seconds == 0)
    )


def _clip(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with times that ClickHouse can compare with nanoseconds."""
    first, last = _NANOSECOND_TIMES
    return {
        name: min(max(value, first), last) if isinstance(value, datetime) else value
        for name, value in parameters.items()
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
