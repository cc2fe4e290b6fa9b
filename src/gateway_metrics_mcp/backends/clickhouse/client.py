"""A client of ClickHouse's HTTP interface whose calls can be cut off.

The client's own connections are told which call they serve. Cutting a call shuts its connection,
on which the server stops the query, as it is read-only.
"""

from __future__ import annotations

import math
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Final
from uuid import uuid4

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.httpclient import HttpClient
from clickhouse_connect.driver.httputil import get_pool_manager
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from gateway_metrics_mcp.backends.address import Address

CONCURRENCY: Final = 8
"""Queries of one backend at a time, and connections that are kept."""

_CONNECT_TIMEOUT_S: Final = 10
_GRACE_S: Final = 5
"""How much longer than a query may take its socket waits: the server's own answer is better."""


class CutError(BaseException):
    """The call was cut off; nobody waits for it any more. No Exception: the client would go on."""


class Call:
    """One question to the server, under an id of its own."""

    def __init__(self) -> None:
        self.query_id = f"gateway-metrics-mcp-{uuid4()}"
        self.is_cut = False
        self._connection: _Watched | None = None

    @contextmanager
    def active(self) -> Iterator[None]:
        """Inside, in this thread, every connection used serves this call."""
        token = _call.set(self)
        try:
            yield
        finally:
            _call.reset(token)
            self._connection = None

    def attach(self, connection: _Watched) -> None:
        """The connection serves this call from now on.

        Raises:
            CutError: if the call has been cut.
        """
        with _lock:
            self.check()
            self._connection, connection.call = connection, self

    def check(self) -> None:
        """Raise CutError if the call has been cut."""
        if self.is_cut:
            raise CutError

    def cut(self) -> bool:
        """End the call: whatever its thread waits for on a connection fails at once.

        Whether there was a connection to shut, so that the server may know of the call.
        """
        with _lock:
            self.is_cut = True
            connection = self._connection
            if connection is None or connection.call is not self:
                return False
            if (sock := connection.sock) is not None:
                with suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)
            return True


class _Watched(HTTPConnection):
    """A connection that knows the call it serves."""

    call: Call | None = None

    def connect(self) -> None:
        super().connect()
        if (call := _call.get()) is not None:
            call.check()

    def request(self, *arguments: Any, **options: Any) -> None:
        if (call := _call.get()) is not None:
            call.attach(self)
        super().request(*arguments, **options)


class _WatchedTls(_Watched, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Watched


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedTls


_call: ContextVar[Call | None] = ContextVar("call", default=None)
_lock: Final = threading.Lock()


def open_client(address: Address, password: str, *, timeout_s: float) -> Client:
    """A client for many threads: it has no session, and a pool of connections of its own.

    Raises:
        ClickHouseError: if there is no such server, or it does not let the user in.
    """
    pools = get_pool_manager(maxsize=CONCURRENCY)
    pools.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
    return clickhouse_connect.get_client(
        interface="https" if address.is_secure else "http",
        host=address.host,
        port=address.port,
        username=address.user,
        password=password,
        autogenerate_session_id=False,
        query_retries=0,
        connect_timeout=_CONNECT_TIMEOUT_S,
        send_receive_timeout=math.ceil(timeout_s) + _GRACE_S,
        client_name="gateway-metrics-mcp",
        form_encode_query_params=True,  # values belong into no proxy's log of URLs
        pool_mgr=pools,
    )


def close_client(client: Client) -> None:
    """Close a client and every connection that it keeps."""
    if isinstance(client, HttpClient):
        pools = client.http.pools
        for key in pools.keys():  # noqa: SIM118 - it cannot be iterated
            if (pool := pools.get(key)) is not None:
                pool.close()
        client.close_connections()
    client.close()
