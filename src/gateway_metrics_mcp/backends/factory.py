"""Opens the backend that the settings name, and wraps it in its middleware.

Engines are imported when first needed, so that a client sees the tools quickly.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

import anyio

from gateway_metrics_mcp.backends.base import Backend, OpenedEngine
from gateway_metrics_mcp.backends.middleware import AnswerCache, BackendStack
from gateway_metrics_mcp.errors import GatewayMetricsError, SettingsError
from gateway_metrics_mcp.query import LOCAL, Caller, Catalog, Query, load_catalog
from gateway_metrics_mcp.runtime.concurrency import (
    AbandonableThreads,
    ConcurrencyLimiter,
    limit_opening,
)
from gateway_metrics_mcp.runtime.metrics import Metrics
from gateway_metrics_mcp.settings import CLICKHOUSE_SCHEMES, GATEWAY_HOST, Settings

if TYPE_CHECKING:
    from gateway_metrics_mcp.backends.demo.backend import DemoBackend
    from gateway_metrics_mcp.backends.gateway.backend import GatewayProbe

_FORMS: Final = (
    "an https:// URL of the gateway's control plane (with TFY_API_KEY in the environment), a"
    " directory of Parquet, clickhouse://user@host:8123/database, or demo: for generated data"
)

_DEMO: Final = "demo:"
_PORTS: Final = {"https": 443, "http": 80}


class BackendHolder:
    """Opens the backend at the first query; after a failure the next query tries again.

    Connections share the backend, which closes with the last connection that holds it. A `given`
    backend replaces the one in the settings; the caller that gave it closes it.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], datetime],
        meter: Metrics | None = None,
        *,
        given: Backend | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._meter = meter or Metrics()
        self._given = given and BackendStack(given, _limiter(settings), clock, self._meter)
        self._backend: Backend | None = None
        self._engine: OpenedEngine | None = None
        self._is_demo = given is None and _address(settings).startswith(_DEMO)
        self._demo: DemoBackend | None = None
        self._ahead: asyncio.Task[None] | None = None
        self._probe: GatewayProbe | None = None
        self._lock = anyio.Lock()
        self._threads = AbandonableThreads()
        self._holders = 0

    async def get(self) -> Backend:
        """The backend, opened if necessary.

        Raises:
            SettingsError: if the settings name none, or it cannot be opened.
            BackendTimeoutError: if opening it takes longer than the time limit.
        """
        ready = self._given or self._backend
        if ready is not None:
            return ready
        # Opening reads files and imports an engine: once, and off the event loop.
        with limit_opening(self._settings.timeout):
            async with self._lock:
                if self._backend is None:
                    self._backend = await self._threads.run(self._open, owner="the backend")
                return self._backend

    @asynccontextmanager
    async def hold(self, *, is_server: bool = False) -> AsyncIterator[None]:
        """Keep the backend open until the end of the block, if it is opened at all.

        A server's demo begins to make its data here, while its clients still connect.
        """
        self._holders += 1
        if is_server and self._holders == 1 and self._is_demo:
            self._ahead = asyncio.create_task(self._make_demo())
        try:
            yield
        finally:
            self._holders -= 1
            if self._holders == 0:
                await self._close()

    async def check(self) -> None:
        """Check whether queries can be answered.

        A gateway is only tried without a token, because callers bring their own.

        Raises:
            GatewayMetricsError: if they cannot.
        """
        if self._settings.is_remote:
            if self._probe is None:
                # Heavy: httpx.
                from gateway_metrics_mcp.backends.gateway.backend import GatewayProbe

                self._probe = GatewayProbe(_address(self._settings))
            await self._probe.check()
            return
        await check_engine((await self.get()).query, self._clock())

    async def look(self) -> None:
        """Look whether the source of an open engine is still there.

        Raises:
            GatewayMetricsError: if it is not.
        """
        if self._engine is not None:
            await self._engine.look()

    async def _make_demo(self) -> None:
        with suppress(GatewayMetricsError):  # queries meet the same error, and explain it
            await self.get()
        if self._demo is not None:
            await self._demo.make_all()

    async def _close(self) -> None:
        # Shielded: at shutdown the scope around this is cancelled already.
        with anyio.move_on_after(5, shield=True):
            if self._ahead is not None:
                await asyncio.wait([self._ahead])
            backend, self._backend, self._demo = self._backend, None, None
            self._engine = None
            if backend is not None:
                await backend.aclose()

    def _open(self) -> Backend:
        catalog = load_catalog(self._settings.catalog)
        backend: Backend
        if self._is_demo:
            backend = self._demo = _open_demo(self._settings, catalog, self._clock)
        elif self._settings.is_remote:
            backend = open_backend(self._settings, catalog, self._clock)
        else:
            backend = self._engine = open_engine(self._settings, catalog, self._clock)
        return wrap_backend(backend, self._settings, self._clock, self._meter)


async def check_engine(ask: Callable[[Query, Caller], Awaitable[object]], now: datetime) -> None:
    """Check an engine by counting the rows of the last minute.

    Raises:
        GatewayMetricsError: if queries cannot be answered.
    """
    start = now - timedelta(minutes=1)
    query = Query(datasource="modelMetrics", type="distribution", start_ts=start, end_ts=now)
    await ask(query, LOCAL)


def wrap_backend(
    backend: Backend,
    settings: Settings,
    clock: Callable[[], datetime],
    meter: Metrics | None = None,
) -> BackendStack:
    """The backend wrapped in the middleware that the settings choose.

    Only a gateway's calls are retried. DuckDB caches its answers itself, by the files they come
    from.
    """
    meter = meter or Metrics()
    retry = cache = None
    if settings.is_remote:
        from gateway_metrics_mcp.backends.gateway.retries import Retries  # heavy: httpx

        retry = Retries(settings.retries, settings.timeout, meter).run
    if settings.cache_bytes and (settings.is_remote or _is_clickhouse(settings)):
        cache = AnswerCache(
            settings.cache_bytes,
            closed_s=settings.cache_age_closed,
            open_s=settings.cache_age_open,
            closed_after_s=settings.cache_closed_after,
            clock=clock,
        )
    return BackendStack(backend, _limiter(settings), clock, meter, cache=cache, retry=retry)


def open_backend(settings: Settings, catalog: Catalog, clock: Callable[[], datetime]) -> Backend:
    """The backend that the settings name, without middleware.

    Raises:
        SettingsError: if they name none, or it cannot be opened.
    """
    if not settings.is_remote:
        return open_engine(settings, catalog, clock)
    from gateway_metrics_mcp.backends.gateway.backend import GatewayBackend  # heavy: httpx

    return GatewayBackend(
        _address(settings),
        None if settings.token is None else settings.token.get_secret_value(),
        catalog,
        timeout_s=settings.timeout,
        max_body_bytes=settings.max_response_bytes,
    )


def open_engine(
    settings: Settings, catalog: Catalog, clock: Callable[[], datetime]
) -> OpenedEngine:
    """The engine that the settings name.

    Raises:
        SettingsError: if they name none, or it cannot be opened.
    """
    name = _address(settings)
    if not name:
        raise SettingsError(
            f"no backend is set. Set {GATEWAY_HOST}, or --backend or GATEWAY_METRICS_BACKEND to"
            f" {_FORMS}"
        )
    if _is_clickhouse(settings):
        return _open_clickhouse(settings, catalog)
    if name.startswith(_DEMO):
        return _open_demo(settings, catalog, clock)
    if "://" in name:
        raise SettingsError(f"the scheme of the backend is unknown. Give {_FORMS}")
    from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend  # heavy: duckdb

    return DuckDBBackend(
        Path(name),
        catalog,
        memory_limit=settings.memory,
        threads=settings.threads,
        timeout_s=settings.timeout,
        row_cap=settings.row_cap,
        cache_bytes=settings.cache_bytes,
    )


def find_unread(settings: Settings, catalog: Catalog) -> list[str]:
    """What a data directory has that no question reads; nothing of another backend."""
    directory = find_directory(settings)
    if directory is None:
        return []
    from gateway_metrics_mcp.backends.duckdb.strays import find_strays, list_tables  # likewise

    return list(find_strays(directory, list_tables(catalog)))


def find_directory(settings: Settings) -> Path | None:
    """The data directory that the settings name; None if they name something else."""
    name = _address(settings)
    if settings.is_remote or not name or "://" in name or name.startswith(_DEMO):
        return None
    from gateway_metrics_mcp.backends.duckdb.files import read_directory  # not for a start

    try:
        return read_directory(Path(name))
    except SettingsError:
        return None


def name_source(settings: Settings) -> str:
    """What answers name as the source of their figures, unquoted; empty if no backend is set.

    The setting's name, else the gateway's host, the data directory's last component, or
    ClickHouse's host and database: no scheme, user, path or token.
    """
    if settings.source_name and settings.source_name.strip():
        return settings.source_name.strip()
    name = _address(settings)
    if not name or name.startswith(_DEMO):
        return ""
    if "://" not in name:
        # Resolved, since `.` and `..` name nothing. Of the root there is no name.
        return Path(name).expanduser().resolve().name or "data directory"
    try:
        url = urlsplit(name)
        # A port tells gateways on one host apart; that of the scheme would say nothing.
        host, port = url.hostname or "", url.port
    except ValueError:  # queries explain what is wrong with the address
        return ""
    host = f"[{host}]" if ":" in host else host
    if _is_clickhouse(settings):
        return f"{host}/{unquote(url.path).strip('/') or 'default'}" if host else ""
    return host if port in (None, _PORTS.get(url.scheme)) else f"{host}:{port}"


def is_demo(settings: Settings) -> bool:
    """Whether the backend that the settings name invents its data."""
    return _address(settings).startswith(_DEMO)


def _open_demo(settings: Settings, catalog: Catalog, clock: Callable[[], datetime]) -> DemoBackend:
    from gateway_metrics_mcp.backends.demo import backend as demo  # heavy: duckdb

    return demo.DemoBackend(
        demo.read_seed(_address(settings)),
        catalog,
        clock=clock,
        memory_limit=settings.memory,
        threads=settings.threads,
        timeout_s=settings.timeout,
        row_cap=settings.row_cap,
        cache_bytes=settings.cache_bytes,
    )


def _open_clickhouse(settings: Settings, catalog: Catalog) -> OpenedEngine:
    try:
        from gateway_metrics_mcp.backends.clickhouse.backend import ClickHouseBackend  # an extra
    except ModuleNotFoundError as error:
        # A missing module of our own is a bug, not a missing extra.
        if (error.name or "").partition(".")[0] != "clickhouse_connect":
            raise
        raise SettingsError(
            "a clickhouse:// backend needs one more package:"
            " pip install 'gateway-metrics-mcp[clickhouse]'"
        ) from None
    password = settings.clickhouse_password
    return ClickHouseBackend(
        _address(settings),
        catalog,
        password=None if password is None else password.get_secret_value(),
        memory_limit=settings.memory,
        timeout_s=settings.timeout,
        row_cap=settings.row_cap,
    )


def _address(settings: Settings) -> str:
    return (settings.backend or "").strip()


def _is_clickhouse(settings: Settings) -> bool:
    return _address(settings).startswith(CLICKHOUSE_SCHEMES)


def _limiter(settings: Settings) -> ConcurrencyLimiter:
    return ConcurrencyLimiter(
        settings.upstream_calls, per_owner=settings.caller_calls, patience_s=settings.patience
    )
