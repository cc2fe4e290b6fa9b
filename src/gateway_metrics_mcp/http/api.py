"""The metrics query API itself, served over a SQL backend: the same path, body and answers."""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import anyio
import anyio.abc
import anyio.lowlevel
import anyio.to_thread
from pydantic_core import from_json, to_json
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from gateway_metrics_mcp.auth.tokens import ExpiredTokenError, Tokens, UnknownTokenError
from gateway_metrics_mcp.backends.base import Engine
from gateway_metrics_mcp.backends.factory import open_engine
from gateway_metrics_mcp.errors import (
    AskerError,
    BackendTimeoutError,
    GatewayError,
    GatewayMetricsError,
    InternalError,
    InvalidQueryError,
    Problem,
    SettingsError,
)
from gateway_metrics_mcp.http.body import read_query
from gateway_metrics_mcp.http.openapi import PATH, describe_api
from gateway_metrics_mcp.query.caller import LOCAL, Caller
from gateway_metrics_mcp.query.catalog import Catalog, load_catalog
from gateway_metrics_mcp.query.model import Query
from gateway_metrics_mcp.query.result import DataPoints, Result
from gateway_metrics_mcp.query.validation import MOST_BYTES, check_size
from gateway_metrics_mcp.runtime.limits import ConcurrencyLimiter
from gateway_metrics_mcp.runtime.network import is_loopback
from gateway_metrics_mcp.settings import Settings

logger = logging.getLogger(__name__)

_HOST: Final = re.compile(r"(\[[^]]*\]|[^:]*)(?::[0-9]*)?")
_ROWS_AT_ONCE: Final = 250
_RETRY_AFTER_S: Final = 5
_READY_TIMEOUT_S: Final = 5
_LONGEST_MESSAGE: Final = 2000


def _now() -> datetime:
    return datetime.now(UTC)


class Api:
    """One server: a backend, who may ask it, and how much at once."""

    def __init__(
        self,
        backend: Engine,
        catalog: Catalog,
        tokens: Callable[[], Tokens],
        *,
        most_queries: int = 8,
        patience_s: float = 10,
        timeout_s: float = 60,
        allowed_hosts: Sequence[str] = (),
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._backend = backend
        self._catalog = catalog
        self._tokens = tokens
        most = min(most_queries, backend.most_queries)
        self._limiter = ConcurrencyLimiter(most, patience_s=patience_s)
        self._timeout_s = timeout_s
        self._hosts = frozenset(host.lower() for host in allowed_hosts)
        self._clock = clock
        self._document = to_json(describe_api(catalog, has_tokens=tokens().entries is not None))

    def build(self) -> Starlette:
        """The application; the backend is closed when it ends."""

        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            try:
                yield
            finally:
                await self._backend.aclose()

        app = Starlette(
            routes=[
                Route(PATH, self._query, methods=["POST"]),
                Route("/openapi.json", self._describe, methods=["GET"]),
                Route("/livez", _live, methods=["GET"]),
                Route("/readyz", self._ready, methods=["GET"]),
            ],
            exception_handlers={HTTPException: _refuse_http, Exception: _refuse_fault},
            lifespan=lifespan,
        )
        app.router.redirect_slashes = False  # it would lead to the Host that the caller names
        return app

    async def _query(self, request: Request) -> Response:
        query: Query | None = None
        try:
            caller = self._identify(request)
            with anyio.fail_after(self._timeout_s):
                body = await _read_body(request)
                # In a thread: a body of many mistakes takes a while to explain.
                query = await anyio.to_thread.run_sync(_read_query, body, self._catalog)
                result = await self._run(request, query, caller)
        except GatewayMetricsError as error:
            return refuse(error)
        except ClientDisconnect:
            return Response(status_code=499)
        except TimeoutError:
            if query is None:
                raise HTTPException(408, "the body did not come in time") from None
            advice = "Ask a shorter window or fewer groups"
            return refuse(BackendTimeoutError(f"no answer within {self._timeout_s:g} s. {advice}"))
        return StreamingResponse(_encode(result, query), media_type="application/json")

    def _identify(self, request: Request) -> Caller:
        """Who asks; where all may, no web page that a browser here shows (DNS rebinding)."""
        tokens = self._tokens()
        if tokens.entries is None:
            host = _HOST.fullmatch(request.headers.get("host", "").lower())
            if host is None or not (is_loopback(host[1]) or host[1] in self._hosts):
                raise HTTPException(421, "this host is not served: set --allowed-host or --tokens")
        return tokens.caller_of(request.headers.get("authorization"), self._clock())

    async def _run(self, request: Request, query: Query, caller: Caller) -> Result:
        """The result; a caller who goes away takes the query along."""
        results: list[Result] = []
        failures: list[GatewayMetricsError] = []

        async def work(group: anyio.abc.TaskGroup) -> None:
            try:
                async with self._limiter.acquire():
                    results.append(await self._backend.query(query, caller))
            except GatewayMetricsError as error:
                failures.append(error)
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(work, group)
            while (await request.receive())["type"] != "http.disconnect":
                pass
            group.cancel_scope.cancel()
        if failures:
            raise failures[0]
        if not results:
            raise ClientDisconnect
        return results[0]

    async def _describe(self, _: Request) -> Response:
        return Response(self._document, media_type="application/json")

    async def _ready(self, _: Request) -> Response:
        now = self._clock()
        query = Query(datasource="modelMetrics", type="distribution", start_ts=now, end_ts=now)
        try:
            with anyio.fail_after(min(self._timeout_s, _READY_TIMEOUT_S)):
                await self._backend.query(query, LOCAL)
        except GatewayMetricsError as error:
            return refuse(error, status=503)
        except TimeoutError:
            return refuse(BackendTimeoutError("the engine does not get to answering"), status=503)
        return JSONResponse({"status": "ready"})


def build_api(settings: Settings, tokens: Callable[[], Tokens]) -> Starlette:
    """The application of these settings, with its backend open.

    Raises:
        SettingsError: if the backend is no engine, or cannot be opened.
    """
    if settings.is_remote:
        raise SettingsError("the API is served from an engine: set --backend to a directory")
    catalog = load_catalog(settings.catalog)
    api = Api(
        open_engine(settings, catalog, _now),
        catalog,
        tokens,
        most_queries=settings.queries,
        patience_s=settings.patience,
        timeout_s=settings.timeout,
        allowed_hosts=settings.allowed_host,
    )
    return api.build()


async def _live(_: Request) -> Response:
    return JSONResponse({"status": "alive"})


async def _read_body(request: Request) -> bytes:
    """The body's bytes.

    Raises:
        HTTPException: 413 or 415.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if kind != "application/json" or encoding != "identity":
        raise HTTPException(415, "the body has to be application/json, not compressed")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise HTTPException(413, f"the body is larger than {MOST_BYTES} bytes")
    return bytes(body)


def _read_query(body: bytes, catalog: Catalog) -> Query:
    """The query of a body.

    Raises:
        InvalidQueryError: if it is none, or larger than anyone needs.
    """
    try:
        value: object = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise InvalidQueryError([Problem("body", f"not JSON: {error}")]) from None
    check_size(value, "body")
    return read_query(value, catalog)


def refuse(error: GatewayMetricsError, status: int | None = None) -> Response:
    """The error as R20 has it."""
    details = [str(problem) for problem in getattr(error, "problems", ())]
    text = error.public if isinstance(error, SettingsError) else str(error)
    message = "; ".join(details)[:_LONGEST_MESSAGE] if details else text
    code = status or _status_of(error)
    if code == 500:
        logger.warning("%s: %s", error.code, error)
    headers = {}
    if code == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if code == 503:
        headers["Retry-After"] = str(_RETRY_AFTER_S)
    body = {"statusCode": code, "message": message, "code": error.code, "details": details}
    return Response(to_json(body), code, headers, "application/json")


def _status_of(error: GatewayMetricsError) -> int:
    statuses: tuple[tuple[type[GatewayMetricsError], int], ...] = (
        (UnknownTokenError, 401),
        (ExpiredTokenError, 403),
        (AskerError, 400),
        (BackendTimeoutError, 504),
        (GatewayError, 503),
    )
    return next((status for kind, status in statuses if isinstance(error, kind)), 500)


async def _refuse_http(_: Request, error: Exception) -> Response:
    """Starlette's own refusals (404, 405) and those of the body, in the same shape."""
    if not isinstance(error, HTTPException):
        raise error
    body = {
        "statusCode": error.status_code,
        "message": error.detail,
        "code": "http",
        "details": [],
    }
    return JSONResponse(body, error.status_code, headers=error.headers)


async def _refuse_fault(_: Request, error: Exception) -> Response:
    """A fault of ours: the log has it, the caller a plain sentence."""
    logger.error("a request failed", exc_info=error)
    return refuse(InternalError("a fault of this server; its log says more"))


async def _encode(result: Result, query: Query) -> AsyncIterator[bytes]:
    """The response body in pieces, so that a large one never holds up the others.

    Rows are let go of as they are written: to free all of them at once takes a while, too.
    """
    rows = deque(result.plain_rows())
    result = replace(result, points=())
    start = b'{"data":{"dataPoints":['
    while rows:
        few = DataPoints(rows.popleft() for _ in range(min(_ROWS_AT_ONCE, len(rows))))
        yield start + to_json(replace(result, points=few).rows(query))[1:-1]
        start = b","
        await anyio.lowlevel.checkpoint()
    yield b"]}}" if start == b"," else start + b"]}}"
