"""Settings -> the backend they name; engines are imported here, when first needed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

from gateway_metrics_mcp.backends.address import SCHEMES
from gateway_metrics_mcp.backends.base import Backend, Engine
from gateway_metrics_mcp.backends.middleware.instrumented import InstrumentedBackend
from gateway_metrics_mcp.backends.middleware.stack import wrap_backend
from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.query.caller import LOCAL
from gateway_metrics_mcp.query.catalog import Catalog, load_catalog
from gateway_metrics_mcp.query.model import Query
from gateway_metrics_mcp.runtime.metrics import Metrics
from gateway_metrics_mcp.settings import GATEWAY_HOST, Settings

if TYPE_CHECKING:
    from gateway_metrics_mcp.backends.gateway.probe import GatewayProbe
_CLOSING_TIMEOUT_S: Final = 5
_FORMS: Final = (
    "an https:// URL of the gateway's control plane (with TFY_API_KEY in the environment), a"
    " directory of Parquet, clickhouse://user@host:8123/database, or demo: for generated data"
)


class BackendHolder:
    """Opens the backend once, when the first question comes; a failure is tried again.

    Connections share it: it closes when the last one that holds it is gone.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], datetime],
        meter: Metrics | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._meter = meter or Metrics()
        self._backend: Backend | None = None
        self._lock = anyio.Lock()
        self._holders = 0

    async def get(self) -> Backend:
        """The open backend.

        Raises:
            SettingsError: if the settings name none, or it cannot be opened.
        """
        if self._backend is not None:
            return self._backend
        async with self._lock:
            if self._backend is None:
                self._backend = await anyio.to_thread.run_sync(self._open)
            return self._backend

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[None]:
        """Keep the backend open, if it is ever opened, until the end of the block."""
        self._holders += 1
        try:
            yield
        finally:
            self._holders -= 1
            if self._holders == 0:
                await self._close()

    async def _close(self) -> None:
        backend, self._backend = self._backend, None
        if backend is not None:
            with anyio.move_on_after(_CLOSING_TIMEOUT_S, shield=True):
                await backend.aclose()

    def _open(self) -> Backend:
        catalog = load_catalog(self._settings.catalog)
        backend = open_backend(self._settings, catalog, self._clock)
        return wrap_backend(
            InstrumentedBackend(backend, self._meter),
            self._settings,
            self._clock,
            self._meter,
            is_local=not (self._settings.is_remote or _is_clickhouse(self._settings)),
        )


def open_probe(
    settings: Settings, get: Callable[[], Awaitable[Backend]], clock: Callable[[], datetime]
) -> Callable[[], Awaitable[object]]:
    """What tells whether questions can be answered: it raises if not.

    An engine is asked to count the last minute; a gateway is reached without a token, since the
    callers bring theirs.
    """

    @cache
    def open_reach() -> GatewayProbe:
        from gateway_metrics_mcp.backends.gateway.probe import GatewayProbe  # a heavy door

        return GatewayProbe((settings.backend or "").strip())

    async def reach_gateway() -> None:
        await open_reach().check()

    async def ask_engine() -> None:
        now = clock()
        start = now - timedelta(minutes=1)
        question = Query(datasource="modelMetrics", type="distribution", start_ts=start, end_ts=now)
        await (await get()).query(question, LOCAL)

    return reach_gateway if settings.is_remote else ask_engine


def _is_clickhouse(settings: Settings) -> bool:
    return (settings.backend or "").strip().startswith(SCHEMES)


def open_backend(settings: Settings, catalog: Catalog, clock: Callable[[], datetime]) -> Backend:
    """The backend that the settings name.

    Raises:
        SettingsError: if they name none, or it cannot be opened.
    """
    if settings.is_remote:
        return _open_gateway(settings, catalog)
    return open_engine(settings, catalog, clock)


def open_engine(settings: Settings, catalog: Catalog, clock: Callable[[], datetime]) -> Engine:
    """The engine that the settings name.

    Raises:
        SettingsError: if they name none, or it cannot be opened.
    """
    name = (settings.backend or "").strip()
    if not name:
        raise SettingsError(
            f"no backend is set. Set {GATEWAY_HOST}, or --backend or GATEWAY_METRICS_BACKEND to"
            f" {_FORMS}"
        )
    if name.startswith("demo:"):
        return _open_demo(name, settings, catalog, clock)
    if _is_clickhouse(settings):
        return _open_clickhouse(name, settings, catalog)
    if "://" in name:
        raise SettingsError(f"the scheme of the backend is unknown. Give {_FORMS}")
    return _open_directory(Path(name), settings, catalog)


def _open_gateway(settings: Settings, catalog: Catalog) -> Backend:
    from gateway_metrics_mcp.backends.gateway.backend import GatewayBackend  # a heavy door

    return GatewayBackend(
        (settings.backend or "").strip(),
        None if settings.token is None else settings.token.get_secret_value(),
        catalog,
        timeout_s=settings.timeout,
        max_body_bytes=settings.max_response_bytes,
    )


def _open_directory(directory: Path, settings: Settings, catalog: Catalog) -> Engine:
    from gateway_metrics_mcp.backends.duckdb.backend import DuckDBBackend  # a heavy door

    return DuckDBBackend(
        directory,
        catalog,
        memory_limit=settings.memory,
        threads=settings.threads,
        timeout_s=settings.timeout,
        row_cap=settings.row_cap,
    )


def _open_clickhouse(url: str, settings: Settings, catalog: Catalog) -> Engine:
    try:
        from gateway_metrics_mcp.backends.clickhouse.backend import ClickHouseBackend  # likewise
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "clickhouse_connect":
            raise
        raise SettingsError(
            "a clickhouse:// backend needs one more package:"
            " pip install 'gateway-metrics-mcp[clickhouse]'"
        ) from None
    password = settings.clickhouse_password
    return ClickHouseBackend(
        url,
        catalog,
        password=None if password is None else password.get_secret_value(),
        memory_limit=settings.memory,
        timeout_s=settings.timeout,
        row_cap=settings.row_cap,
    )


def _open_demo(
    name: str, settings: Settings, catalog: Catalog, clock: Callable[[], datetime]
) -> Engine:
    from gateway_metrics_mcp.backends.demo.backend import (
        DemoBackend,  # likewise
        read_seed,  # likewise
    )

    return DemoBackend(
        read_seed(name),
        catalog,
        clock=clock,
        memory_limit=settings.memory,
        threads=settings.threads,
        timeout_s=settings.timeout,
        row_cap=settings.row_cap,
    )
