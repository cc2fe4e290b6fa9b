"""The remote gateway's one endpoint, over httpx, and a probe of its address without a token.

Errors are worded in errors.py, connections kept in transport.py, retries made in retries.py.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from typing import Final, cast

import anyio
import anyio.to_thread
import httpx
from pydantic_core import from_json, to_json

from gateway_metrics_mcp import __version__
from gateway_metrics_mcp.backends.gateway.address import EXAMPLE_HOST, find_proxy, read_host
from gateway_metrics_mcp.backends.gateway.errors import (
    WRONG_HOST,
    explain_failure,
    explain_status,
    explain_timeout,
    read_date,
)
from gateway_metrics_mcp.backends.gateway.transport import (
    ConnectionTransport,
    IdleTransports,
    RequestBody,
    unpack,
)
from gateway_metrics_mcp.errors import (
    GatewayError,
    GatewayMetricsError,
    SettingsError,
    UnauthorizedError,
    UnavailableError,
    UnreadableResponseError,
    WrongHostError,
)
from gateway_metrics_mcp.query import (
    API_PATH,
    Caller,
    Catalog,
    DatasourceName,
    Query,
    Result,
    break_markup,
)
from gateway_metrics_mcp.query.result import read_result
from gateway_metrics_mcp.runtime.concurrency import STOPPING, run_in_thread_if_large
from gateway_metrics_mcp.runtime.logs import trace_headers

SCOPE_NOTE: Final = "figures cover what this token may see"

_CONNECT_TIMEOUT_S: Final = 10
_PROBE_TIMEOUT_S: Final = 3


class GatewayBackend:
    """The metrics API of a gateway's control plane.

    The server's own token serves the local caller alone; every other caller brings a token. Tokens
    are on requests and in no local variable, because tracebacks can show those. Requests use
    transports: a client of httpx would keep one caller's cookies for the next, and follow up on
    redirects. Each request in flight has its own transport, kept for the same caller's next
    request: a shared one would pass connections from caller to caller, and without kept
    connections each query takes a TLS handshake, three times the processor time.
    """

    is_by_rulings = False
    """It restricts rows to the token's rights and may leave out groups without saying so."""

    def __init__(
        self,
        host: str,
        token: str | None,
        catalog: Catalog,
        *,
        timeout_s: float = 60,
        max_body_bytes: int = 8_000_000,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = _read_url(host)
        self._token = token
        self._catalog = catalog
        self._timeout_s = timeout_s
        self._max_body_bytes = max_body_bytes
        self._connect_timeout_s = min(_CONNECT_TIMEOUT_S, timeout_s)
        self._given = transport
        self._tls: ssl.SSLContext | None = None
        self._idle = IdleTransports()
        self._in_flight: set[anyio.CancelScope] = set()
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<GatewayBackend: {self.description}>"

    @property
    def description(self) -> str:
        """The gateway's host name."""
        return f"gateway at {self._url.host}"

    async def query(self, query: Query, caller: Caller) -> Result:
        """The result in the gateway's response, of either generation of the API.

        Raises:
            GatewayMetricsError: see errors.py; of the gateway's words it repeats only the
                documented messages.
        """
        content = to_json(query.to_body())
        sent = RequestBody(content)
        request = httpx.Request(
            "POST",
            self._url,
            headers={
                "accept": "application/json",
                "accept-encoding": "gzip",
                "authorization": self._authorization(caller),
                "content-length": str(len(content)),
                "content-type": "application/json",
                "user-agent": f"gateway-metrics-mcp/{__version__}",
                **trace_headers(),
            },
            content=sent,
            # Reading and writing are bounded by the time limit of the whole call.
            extensions={"timeout": {"connect": self._connect_timeout_s}},
        )
        body = await self._fetch(request, sent)
        rows = len(body) // 200  # about as many bytes a row
        return await run_in_thread_if_large(rows, self._read, body, query)

    def explain(self, query: Query, caller: Caller) -> str:  # noqa: ARG002 - the token says who asks
        """The request body."""
        return break_markup(json.dumps(query.to_body()))

    async def metadata_keys(
        self, datasource: DatasourceName, start: datetime, end: datetime, caller: Caller
    ) -> None:
        """None: the API groups by a named key, but cannot list keys."""

    async def aclose(self) -> None:
        """Cancel requests in flight, which close their connections; close idle connections."""
        self._is_closed = True
        for scope in self._in_flight:
            scope.cancel()
        await self._idle.aclose()

    def _authorization(self, caller: Caller) -> str:
        if not (caller.has_server_token or caller.token):
            raise UnauthorizedError(
                "the caller sent no gateway token: each caller has to send their own"
            )
        if not (caller.token or self._token):
            raise SettingsError(
                "there is no gateway token: set TFY_API_KEY to a personal access token or a "
                "virtual account token"
            )
        if not re.fullmatch(r"[!-~]+", caller.token or self._token or ""):
            raise SettingsError(
                "the gateway token has a space, a line break or another character that no token "
                "has: set TFY_API_KEY to the token alone, without `Bearer` or quotes"
            )
        return f"Bearer {caller.token or self._token}"

    async def _fetch(self, request: httpx.Request, sent: RequestBody) -> bytes:
        """The body of a successful response.

        httpx's errors contain the request, and so the token. Ours are raised after the handler,
        so that no httpx error becomes their context.
        """
        # A digest of the token, so that idle connections hold no token.
        owner = sha256(request.headers["authorization"].encode()).digest()
        kept = self._idle.take(owner)
        transport = kept or self._open_transport()
        failure: GatewayMetricsError = UnavailableError(STOPPING)
        scope = anyio.move_on_after(self._timeout_s)
        try:
            with scope:
                self._in_flight.add(scope)
                response = await self._send(transport, request, sent, is_kept=kept is not None)
                try:
                    return await self._read_body(request, response)
                finally:
                    await response.aclose()
            if anyio.current_time() >= scope.deadline:  # else aclose() ended it
                failure = explain_timeout(self._timeout_s)
        except (httpx.HTTPError, OSError) as error:
            failure = explain_failure(error, self._timeout_s)
        finally:
            self._in_flight.discard(scope)
            await self._put_back(owner, transport)
        raise failure

    async def _send(
        self,
        transport: httpx.AsyncBaseTransport,
        request: httpx.Request,
        sent: RequestBody,
        *,
        is_kept: bool,
    ) -> httpx.Response:
        """The response; over a new connection if a kept one turns out to be unusable.

        Sending a query twice is safe: it only reads.
        """
        if is_kept:
            with suppress(httpx.RemoteProtocolError):
                response = await transport.handle_async_request(request)
                if sent.has_waited:
                    return response
            await transport.aclose()
        return await transport.handle_async_request(request)

    async def _put_back(self, owner: bytes, transport: httpx.AsyncBaseTransport) -> None:
        with anyio.CancelScope(shield=True):
            if self._is_closed:
                await transport.aclose()
            elif transport is not self._given:
                await self._idle.put(owner, transport)

    def _open_transport(self) -> httpx.AsyncBaseTransport:
        """A new transport; all share one TLS context, because reading certificates is slow."""
        if self._given is not None:
            return self._given
        try:
            self._tls = self._tls or httpx.create_ssl_context()
            proxy = find_proxy(str(self._url))
            if proxy is None:
                return ConnectionTransport(self._url, self._tls)
            # No connection through a proxy is kept: the proxy could mix up two responses, and in a
            # tunnel late bytes of one response cannot be detected.
            limits = httpx.Limits(max_keepalive_connections=0)
            return httpx.AsyncHTTPTransport(verify=self._tls, proxy=proxy, limits=limits)
        except OSError:
            wrong = "SSL_CERT_FILE or SSL_CERT_DIR names no readable certificates"
        except (ValueError, ImportError, httpx.InvalidURL):
            wrong = "HTTPS_PROXY, HTTP_PROXY, ALL_PROXY or NO_PROXY holds no usable address"
        raise SettingsError(f"the environment variable {wrong}")

    async def _read_body(self, request: httpx.Request, response: httpx.Response) -> bytes:
        if response.is_redirect:
            raise WrongHostError(
                f"the gateway's address redirects ({response.status_code}) to another one, which"
                f" the token is not sent to: {WRONG_HOST}"
            )
        if not response.is_success:
            raise explain_status(
                response.status_code,
                response.headers.get("retry-after"),
                await _read_start(response),
                request.headers["authorization"].removeprefix("Bearer "),
            )
        # A wrong host or path of the tenant's web app answers 200 with a page.
        kind = response.headers.get("content-type", "").lower()
        if kind.startswith(("text/html", "application/xhtml+xml")):
            raise WrongHostError(f"a web page answers there: {WRONG_HOST}")
        body = bytearray()
        async for part in _parts(response, self._max_body_bytes):
            body += part  # a list of tiny parts would take many times the memory
        if body[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
            raise WrongHostError(f"a web page answers there: {WRONG_HOST}")
        return bytes(body)

    def _read(self, body: bytes, query: Query) -> Result:
        try:
            answer = from_json(body)
            result = read_result(answer, query, self._catalog.datasources[query.datasource])
        except UnreadableResponseError as error:
            wrong = str(error)
        except (ValueError, OverflowError):
            wrong = "the gateway's answer is not JSON as the API documents it: ask again later"
        else:
            return replace(result, notes=(*result.notes, SCOPE_NOTE))
        raise UnreadableResponseError(wrong)


def _read_url(host: str) -> httpx.URL:
    try:
        url = httpx.URL(read_host(host) + API_PATH)
        if url.host:  # httpx decodes an international name, and so checks it, on access
            return url
    except (httpx.InvalidURL, ValueError):
        pass
    raise SettingsError(f"the gateway's host is not an address. Give {EXAMPLE_HOST}")


def _parts(response: httpx.Response, limit: int) -> AsyncIterator[bytes]:
    chunks = cast("AsyncIterable[bytes]", response.stream)
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    return unpack(chunks, encoding, limit)


async def _read_start(response: httpx.Response) -> bytes:
    """The part of an error's body that arrives soon; the status counts without a body too."""
    parts = []
    with (
        anyio.move_on_after(2),
        suppress(httpx.HTTPError, OSError, GatewayError),
    ):
        async for part in _parts(response, limit=64_000):
            parts.append(part)  # noqa: PERF401  # keep the parts that came before a failure
    return b"".join(parts)


class GatewayProbe:
    """Reaches one gateway and reads its clock, over a new connection each time; sends no token."""

    def __init__(self, host: str) -> None:
        self._url = read_host(host) + API_PATH
        self._tls: ssl.SSLContext | None = None

    async def check(self) -> None:
        """Send a HEAD without a token; any status below 500 proves that the gateway is there.

        Raises:
            GatewayMetricsError: if there is no response, or a 5xx other than 501.
        """
        status, _ = await self._try()
        if status >= 500 and status != 501:  # some answer 501 to HEAD and still take a POST
            raise UnavailableError(f"the gateway fails ({status})")

    async def read_clock(self) -> datetime | None:
        """The time in the response's Date header, whatever the status; None without one.

        Raises:
            GatewayMetricsError: if there is no response.
        """
        _, date = await self._try()
        try:
            return read_date(date)
        except (ValueError, OverflowError):
            return None

    async def _try(self) -> tuple[int, str]:
        """The response's status and Date header.

        Raises:
            GatewayMetricsError: if there is no response.
        """
        try:
            with anyio.fail_after(_PROBE_TIMEOUT_S):
                if self._tls is None:  # in a thread: reading the certificates is slow
                    self._tls = await anyio.to_thread.run_sync(httpx.create_ssl_context)
                proxy = find_proxy(self._url)
                async with httpx.AsyncHTTPTransport(verify=self._tls, proxy=proxy) as transport:
                    request = httpx.Request("HEAD", self._url)
                    async with aclosing(await transport.handle_async_request(request)) as response:
                        return response.status_code, response.headers.get("date", "")
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise explain_failure(error, _PROBE_TIMEOUT_S) from None
        except (ValueError, ImportError):
            raise SettingsError("a variable of the proxy holds no usable address") from None
