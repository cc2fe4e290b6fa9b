"""The gateway's metrics query API, served from an engine: same path, request and response.

It serves rows as they are stored: e-mail masking and answers for models belong to MCP.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Final

import anyio
import anyio.lowlevel
import anyio.to_thread
from pydantic_core import from_json, to_json
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from gateway_metrics_mcp.auth.factory import build_policy
from gateway_metrics_mcp.auth.middleware import find_caller
from gateway_metrics_mcp.auth.policies import AuthPolicy
from gateway_metrics_mcp.backends import Engine
from gateway_metrics_mcp.backends.factory import check_engine, open_engine
from gateway_metrics_mcp.backends.middleware import measure_upstream
from gateway_metrics_mcp.errors import (
    AskerError,
    BackendTimeoutError,
    ExpiredTokenError,
    GatewayError,
    GatewayMetricsError,
    InternalError,
    InvalidQueryError,
    Problem,
    RefusedRequestError,
    SettingsError,
)
from gateway_metrics_mcp.http.body import read_query
from gateway_metrics_mcp.http.middleware import add_middleware, advise_client, read_hosts
from gateway_metrics_mcp.http.openapi import describe_api
from gateway_metrics_mcp.query import (
    API_PATH,
    Caller,
    Catalog,
    DataPoints,
    Query,
    Result,
    load_catalog,
)
from gateway_metrics_mcp.query.validation import MOST_BYTES, check_size
from gateway_metrics_mcp.runtime.concurrency import (
    ConcurrencyLimiter,
    ShutdownScope,
    open_in_thread,
)
from gateway_metrics_mcp.runtime.logs import describe_call, watch_call
from gateway_metrics_mcp.runtime.metrics import OK, Metrics
from gateway_metrics_mcp.runtime.readiness import Readiness
from gateway_metrics_mcp.settings import Settings

logger = logging.getLogger(__name__)

_CALL: Final = "api:query"
"""The name of a request in metrics and logs, in place of a tool's name."""
_DESCRIPTION: Final = "/openapi.json"
# The first match counts, so subclasses stand before their bases.
_STATUSES: Final[tuple[tuple[type[GatewayMetricsError], int], ...]] = (
    (ExpiredTokenError, 403),
    (AskerError, 400),
    (BackendTimeoutError, 504),
    (GatewayError, 503),
)


class MetricsApi:
    """The API's server: one engine, its limit of concurrent queries, metrics and readiness."""

    def __init__(
        self,
        settings: Settings,
        *,
        backend: Engine | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Open the engine that the settings name, unless `backend` is given.

        Raises:
            SettingsError: if the backend is not an engine, or cannot be opened.
        """
        # A gateway serves this API itself.
        if settings.is_remote:
            raise SettingsError("the API is served from an engine: set --backend to a directory")
        self.catalog = load_catalog(settings.catalog)
        look = None
        if backend is None:  # in a thread, as its storage can hang
            opening = partial(open_engine, settings, self.catalog, clock)
            backend = opened = open_in_thread(settings.timeout, opening)
            look = opened.look
        most = min(settings.queries, backend.most_queries)
        self._limiter = ConcurrencyLimiter(most, patience_s=settings.patience)
        self._timeout_s = settings.timeout
        self.calls = ShutdownScope()
        self.meter = Metrics()
        self._engine = backend
        probe = lambda: check_engine(self._query, clock())  # noqa: E731 - a probe
        self.readiness = Readiness(probe, self.meter, look)

    async def answer(self, request: Request) -> Response:
        """Answer a query (R21); it is counted and logged like a tool call."""
        with watch_call(_CALL, self.meter) as call:
            try:
                result, query = await self._read_and_run(request)
            except GatewayMetricsError as error:
                call.code = error.code
                return refuse(error)
            except ClientDisconnect:
                return Response(status_code=499)  # nginx's code; nobody receives it
            except HTTPException:
                call.code = RefusedRequestError.code
                raise
            except Exception:
                call.code = InternalError.code
                raise
            call.code = OK
        return StreamingResponse(self._encode(result, query), media_type="application/json")

    async def aclose(self) -> None:
        """Close the engine."""
        await self._engine.aclose()

    async def _query(self, query: Query, caller: Caller) -> Result:
        with measure_upstream(self.meter, query.datasource):
            return await self._engine.query(query, caller)

    async def _read_and_run(self, request: Request) -> tuple[Result, Query]:
        body = await _read_body(request)
        try:
            with anyio.fail_after(self._timeout_s):
                # In a thread: explaining a body with many mistakes would block other requests.
                query = await anyio.to_thread.run_sync(_read_query, body, self.catalog)
                describe_call(datasource=query.datasource)
                result = await self._run(request, query, find_caller(request.scope))
        except TimeoutError:
            advice = "Ask for a shorter window or fewer groups"
            text = f"no answer within {self._timeout_s:g} s. {advice}"
            raise BackendTimeoutError(text) from None
        describe_call(rows=len(result.points))
        return result, query

    async def _run(self, request: Request, query: Query, caller: Caller) -> Result:
        """Run the query, and cancel it if the caller disconnects or the server stops."""
        with anyio.CancelScope() as asked:
            watching = asyncio.create_task(_cancel_on_disconnect(request, asked))
            try:
                with self.calls.until_the_end():
                    async with self._limiter.acquire(caller.identity):
                        return await self._query(query, caller)
            finally:
                watching.cancel()
        # Reached only if the scope was cancelled: the caller has gone.
        raise ClientDisconnect

    async def _encode(self, result: Result, query: Query) -> AsyncIterator[bytes]:
        """The response body in chunks, so that a large response does not block other requests.

        Rows are released as they are written: freeing 100,000 at once would block them too.
        """
        rows = deque(result.plain_rows())
        result = replace(result, points=())
        start = b'{"data":{"dataPoints":['
        while rows:
            few = DataPoints(rows.popleft() for _ in range(min(250, len(rows))))
            part = start + to_json(replace(result, points=few).rows(query))[1:-1]
            self.meter.bytes_returned[_CALL] += len(part)
            yield part
            start = b","
            await anyio.lowlevel.checkpoint()
        end = b"]}}" if start == b"," else start + b"]}}"
        self.meter.bytes_returned[_CALL] += len(end)
        yield end


def build_api_app(
    api: MetricsApi, settings: Settings, policy: AuthPolicy | None = None
) -> Starlette:
    """Build the application; its shutdown closes the engine. `policy` defaults to the settings'."""
    policy = policy or build_policy(settings)
    document = to_json(describe_api(api.catalog, has_tokens=not policy.is_open))

    async def describe(_: Request) -> Response:
        return Response(document, media_type="application/json")

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await api.aclose()

    app = Starlette(
        routes=[
            Route(API_PATH, api.answer, methods=["POST"]),
            Route(_DESCRIPTION, describe, methods=["GET"]),
        ],
        exception_handlers={HTTPException: _refuse_http, Exception: _refuse_fault},
        lifespan=lifespan,
    )
    add_middleware(
        app,
        api,
        settings,
        policy,
        # Tokens protect against foreign pages already, and callers use any name for this host.
        known=read_hosts(settings) if policy.is_open else None,
        refuse=refuse,
        host_advice="set --allowed-host or --tokens",
        open_paths=(_DESCRIPTION,),
    )
    return app


async def _cancel_on_disconnect(request: Request, scope: anyio.CancelScope) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def _read_body(request: Request) -> bytes:
    """Read the body.

    Raises:
        HTTPException: 415 if it is not JSON or compressed, 413 beyond `MOST_BYTES`.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if kind != "application/json" or encoding != "identity":
        raise HTTPException(415, "the body must be application/json, not compressed")
    # Counted while reading: a Content-Length can be missing or wrong.
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise HTTPException(413, f"the body is larger than {MOST_BYTES} bytes")
    return bytes(body)


def _read_query(body: bytes, catalog: Catalog) -> Query:
    """Parse and validate the query of a body.

    Raises:
        InvalidQueryError: if it is not a query of the catalog, or exceeds the size limits.
    """
    try:
        # NaN and Infinity are not JSON, and R22 excludes them.
        value: object = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise InvalidQueryError([Problem("body", f"not JSON: {error}")]) from None
    check_size(value, "body")
    return read_query(value, catalog)


def refuse(error: GatewayMetricsError) -> Response:
    """The response for an error, in the shape of ruling R20."""
    details = [str(problem) for problem in getattr(error, "problems", ())]
    text = error.public if isinstance(error, SettingsError) else str(error)
    message = "; ".join(details)[:2000] if details else text
    usual = error.status if isinstance(error, RefusedRequestError) else 500
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), usual)
    if status == 500:
        logger.warning("%s: %s", error.code, error)
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    headers.update(advise_client(status))
    return _write_error(status, message, error.code, headers, details)


async def _refuse_http(_: Request, error: Exception) -> Response:
    """The shape of R20 for Starlette's own errors (404, 405) and for those of the body."""
    if not isinstance(error, HTTPException):
        raise error
    code = RefusedRequestError.code
    return _write_error(error.status_code, error.detail, code, error.headers or {})


async def _refuse_fault(_: Request, error: Exception) -> Response:
    """The response to an unexpected exception: its traceback goes to the log only."""
    logger.error("a request failed", exc_info=error)
    return refuse(InternalError("an internal error of this server; see its log"))


def _write_error(
    status: int,
    message: str,
    code: str,
    headers: Mapping[str, str],
    details: Sequence[str] = (),
) -> Response:
    body = {"statusCode": status, "message": message, "code": code, "details": details}
    return Response(to_json(body), status, headers, "application/json")
