"""The metrics query API itself, served over a SQL backend: the same path, body and answers."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final

import anyio
import anyio.abc
import anyio.lowlevel
from pydantic_core import from_json, to_json
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from gateway_metrics_mcp.access import LOCAL, Caller
from gateway_metrics_mcp.admission import Admission, BusyError
from gateway_metrics_mcp.auth import ExpiredTokenError, Tokens, UnknownTokenError
from gateway_metrics_mcp.backends import Backend
from gateway_metrics_mcp.backends.opening import open_backend
from gateway_metrics_mcp.errors import (
    AskerError,
    BackendTimeoutError,
    GatewayMetricsError,
    InternalError,
    InvalidQueryError,
    Problem,
    SettingsError,
)
from gateway_metrics_mcp.openapi import PATH, describe_api
from gateway_metrics_mcp.query.catalog import Catalog, load_catalog
from gateway_metrics_mcp.query.model import Query
from gateway_metrics_mcp.query.reading import read_query
from gateway_metrics_mcp.result import Result
from gateway_metrics_mcp.settings import Settings

logger = logging.getLogger(__name__)

MOST_BYTES: Final = 256 * 1024
_ROWS_AT_ONCE: Final = 1000
_RETRY_AFTER_S: Final = 5
_LONGEST_MESSAGE: Final = 2000


def _now() -> datetime:
    return datetime.now(UTC)


class Api:
    """One server: a backend, who may ask it, and how much at once."""

    def __init__(
        self,
        backend: Backend,
        catalog: Catalog,
        tokens: Callable[[], Tokens],
        *,
        most_queries: int = 8,
        patience_s: float = 10,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._backend = backend
        self._catalog = catalog
        self._tokens = tokens
        self._admission = Admission(most_queries, patience_s)
        self._clock = clock

    def build(self) -> Starlette:
        """The application; the backend is closed when it ends."""

        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            try:
                yield
            finally:
                await self._backend.aclose()

        return Starlette(
            routes=[
                Route(PATH, self._query, methods=["POST"]),
                Route("/openapi.json", self._describe, methods=["GET"]),
                Route("/livez", _live, methods=["GET"]),
                Route("/readyz", self._ready, methods=["GET"]),
            ],
            exception_handlers={HTTPException: _refuse_http, Exception: _refuse_fault},
            lifespan=lifespan,
        )

    async def _query(self, request: Request) -> Response:
        try:
            caller = self._tokens().caller_of(request.headers.get("authorization"), self._clock())
            query = read_query(await _read_body(request), self._catalog)
            result = await self._run(request, query, caller)
        except GatewayMetricsError as error:
            return refuse(error)
        except ClientDisconnect:
            return Response(status_code=499)
        return StreamingResponse(_encode(result, query), media_type="application/json")

    async def _run(self, request: Request, query: Query, caller: Caller) -> Result:
        """The result; a caller who goes away takes the query along."""
        results: list[Result] = []
        failures: list[GatewayMetricsError] = []

        async def work(group: anyio.abc.TaskGroup) -> None:
            try:
                async with self._admission.place():
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
        has_tokens = self._tokens().entries is not None
        return JSONResponse(describe_api(self._catalog, has_tokens=has_tokens))

    async def _ready(self, _: Request) -> Response:
        now = self._clock()
        query = Query(datasource="modelMetrics", type="distribution", start_ts=now, end_ts=now)
        try:
            await self._backend.query(query, LOCAL)
        except GatewayMetricsError as error:
            return refuse(error, status=503)
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
        open_backend(settings, catalog, _now),
        catalog,
        tokens,
        most_queries=settings.queries,
        patience_s=settings.patience,
    )
    return api.build()


async def _live(_: Request) -> Response:
    return JSONResponse({"status": "alive"})


async def _read_body(request: Request) -> object:
    """The JSON of the body.

    Raises:
        HTTPException: 413 or 415.
        InvalidQueryError: if it is not JSON.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, "the body has to be application/json")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise HTTPException(413, f"the body is larger than {MOST_BYTES} bytes")
    try:
        value: object = from_json(bytes(body), allow_inf_nan=False)
    except ValueError as error:
        raise InvalidQueryError([Problem("body", f"not JSON: {error}")]) from None
    return value


def refuse(error: GatewayMetricsError, status: int | None = None) -> Response:
    """The error as R20 has it."""
    details = [str(problem) for problem in getattr(error, "problems", ())]
    message = "; ".join(details)[:_LONGEST_MESSAGE] if details else str(error)
    code = status or _status_of(error)
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
        (BusyError, 503),
        (BackendTimeoutError, 504),
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
    """The response body in pieces, so that a large one never holds up the others."""
    yield b'{"data":{"dataPoints":['
    for first in range(0, len(result.points), _ROWS_AT_ONCE):
        rows = result.rows(query, first, first + _ROWS_AT_ONCE)
        text = to_json(rows)[1:-1]
        yield b"," + text if first else text
        await anyio.lowlevel.checkpoint()
    yield b"]}}"
