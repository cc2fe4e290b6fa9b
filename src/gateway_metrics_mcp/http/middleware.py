"""The middleware stack in front of MCP over HTTP and of the metrics API.

Authentication itself is in auth/; here are health, metrics, CORS, the checks of headers, the places
that callers share, and the time limit of a request's body.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from math import inf
from typing import Final, Protocol

import anyio
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway_metrics_mcp.auth.middleware import AuthMiddleware, Refuse, find_owner
from gateway_metrics_mcp.auth.policies import AuthPolicy
from gateway_metrics_mcp.auth.tokens import BEARER_HEADER, TOKEN_HEADER
from gateway_metrics_mcp.errors import (
    RefusedCallerError,
    RefusedRequestError,
    SettingsError,
)
from gateway_metrics_mcp.runtime.concurrency import ShutdownScope
from gateway_metrics_mcp.runtime.metrics import CONTENT_TYPE, Metrics, write_metrics
from gateway_metrics_mcp.runtime.network import LOOPBACK_HOSTS, is_loopback
from gateway_metrics_mcp.runtime.readiness import Readiness
from gateway_metrics_mcp.settings import Settings

LIVE: Final = "/livez"
READY: Final = "/readyz"
METRICS: Final = "/metrics"
RETRY_AFTER_S: Final = 5

_LONGEST_BODY_S: Final = 10
"""For a body of at most 256 KiB; the operator's --timeout may be shorter."""
_SLOW_BODY_S: Final = 1
"""After which a body that is still incomplete makes way for another request."""
_ONCE: Final = {
    name.lower(): name
    for name in (
        *(BEARER_HEADER, TOKEN_HEADER, "Host", "Origin", "Last-Event-ID"),
        *("Content-Length", "Content-Type", "Content-Encoding", "Transfer-Encoding"),
    )
}
"""Headers that decide who asks, from where, or what is read; MCP's own as well."""
_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?")
_USUAL_PORTS: Final = {"http": "80", "https": "443"}

_FRESH: Final = {"cache-control": "no-store"}


class Service(Protocol):
    """What middleware and graceful shutdown need of the server: MCP's or the metrics API's."""

    meter: Metrics
    readiness: Readiness
    calls: ShutdownScope


def add_middleware(
    app: Starlette,
    service: Service,
    settings: Settings,
    policy: AuthPolicy,
    *,
    known: KnownHosts | None,
    refuse: Refuse | None = None,
    host_advice: str = "set --allowed-host",
    open_paths: Collection[str] = (),
    needs_streams: bool = False,
) -> None:
    """Add the whole stack to an application. Host and Origin are checked only with `known` ones.

    `needs_streams`: without a free place for a stream nobody can begin.

    The order matters, and the last one added runs first. Health checks run before every check:
    probes send an IP address as Host, and no token. CORS runs before what refuses requests, so that
    pages can read refusals. Headers are checked before authentication, which may call the provider,
    and places are taken after it, because each caller has a share of them.
    """
    refuse = refuse or partial(write_refusal, challenge=policy.challenge)
    places = Places(settings.connections)
    app.router.routes.extend(policy.routes())
    app.router.redirect_slashes = False  # a redirect would go to whatever Host the caller sent
    app.add_middleware(
        PlacesMiddleware,
        places=places,
        body_s=min(settings.timeout, _LONGEST_BODY_S),
        is_open=policy.is_open,
        refuse=refuse,
    )
    app.add_middleware(AuthMiddleware, policy=policy, refuse=refuse, open_paths=open_paths)
    app.add_middleware(HeadersMiddleware, known=known, refuse=refuse, advice=host_advice)
    if settings.cors_origin:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origin,
            allow_methods=("GET", "POST"),
            allow_headers=("*",),
            expose_headers=("Mcp-Session-Id", "WWW-Authenticate"),
        )
    app.add_middleware(
        OperationsMiddleware,
        service=service,
        has_metrics=settings.metrics,
        find_lack=partial(places.find_lack, needs_streams=needs_streams),
    )


def write_refusal(error: RefusedRequestError, challenge: str) -> Response:
    """A refusal as an OAuth error (RFC 6750): JSON body and, for 401 and 403, the challenge."""
    headers = {"Cache-Control": "no-store"}
    if isinstance(error, RefusedCallerError) and error.status in (401, 403):
        mark = f', error="{error.error}"' if error.error else ""
        headers["WWW-Authenticate"] = f"{challenge}{mark}"
    headers.update(advise_client(error.status))
    body = {"error": error.error or error.code, "error_description": str(error)}
    return JSONResponse(body, error.status, headers=headers)


def advise_client(status: int) -> dict[str, str]:
    """The headers that say when to come back, or that this connection ends."""
    if status == 408:
        return {"Connection": "close"}
    return {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else {}


class OperationsMiddleware:
    """Answers `/livez`, `/readyz` and `/metrics`, and counts what the application refuses.

    They are open to all, so no response contains a caller, a value or an address.
    """

    def __init__(
        self,
        app: ASGIApp,
        service: Service,
        *,
        has_metrics: bool,
        find_lack: Callable[[], str | None],
    ) -> None:
        self._app = app
        self._service = service
        self._has_metrics = has_metrics
        self._find_lack = find_lack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"] in (LIVE, READY, METRICS):
            await (await self._answer(Request(scope)))(scope, receive, send)
        else:
            await self._pass_on(_serve_slash(scope), receive, send)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, counting it while in flight, and its status if it is an error."""
        meter = self._service.meter

        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400:
                meter.refusals[message["status"]] += 1
            await send(message)

        # Only POST carries a call. A GET is an idle stream, for which shutdown must not wait.
        is_message = scope["method"] == "POST"
        meter.requests_in_flight += is_message
        try:
            await self._app(scope, receive, watch)
        finally:
            meter.requests_in_flight -= is_message

    async def _answer(self, request: Request) -> Response:
        path = request.scope["path"]
        if request.method not in ("GET", "HEAD"):
            return PlainTextResponse("GET only\n", 405, headers={"allow": "GET, HEAD"})
        if path == LIVE:
            return JSONResponse({"status": "alive"}, headers=_FRESH)
        return await self._ready() if path == READY else self._show_metrics()

    async def _ready(self) -> Response:
        obstacle = self._find_lack() or await self._service.readiness.find_obstacle()
        if obstacle is None:
            return JSONResponse({"status": "ready"}, headers=_FRESH)
        return JSONResponse({"status": "not ready", "reason": obstacle}, 503, headers=_FRESH)

    def _show_metrics(self) -> Response:
        if not self._has_metrics:
            return PlainTextResponse("no metrics here: they are switched off\n", 404)
        try:
            text = write_metrics(self._service.meter)
        except ModuleNotFoundError as error:
            # The package is an extra; a module of ours that is missing is a fault and raised.
            if (error.name or "").partition(".")[0] != "prometheus_client":
                raise
            advice = "pip install 'gateway-metrics-mcp[ops]'"
            return PlainTextResponse(f"no metrics here: {advice}\n", 404)
        return Response(text, media_type=CONTENT_TYPE, headers=_FRESH)


def _serve_slash(scope: Scope) -> Scope:
    """The scope of the same path without a slash at its end; SSE's messages have one."""
    path = scope["path"]
    wanted = path if path == "/" else path.removesuffix("/")
    wanted += "/" if wanted == "/messages" else ""
    return scope if wanted == path else {**scope, "path": wanted, "raw_path": wanted.encode()}


class _Place:
    """A place that a request holds, and the wait for its body while that arrives."""

    def __init__(self, places: Counter[Hashable], owner: Hashable, body_s: float) -> None:
        self._places = places
        self.owner = owner
        self._is_held = True
        self._waiting: anyio.CancelScope | None = None
        self.begun = anyio.current_time()
        self._deadline = self.begun + body_s
        places[owner] += 1

    def free(self) -> None:
        """Give the place back, once."""
        if self._is_held:
            self._is_held = False
            self._places[self.owner] -= 1
            if not self._places[self.owner]:
                del self._places[self.owner]

    def give_up(self) -> None:
        """Free the place, and refuse the request: its body did not arrive."""
        self._deadline = -inf
        if self._waiting is not None:
            self._waiting.cancel()
        self.free()

    async def wait(self, receive: Receive) -> Message:
        """The next part of the body.

        Raises:
            RefusedRequestError: if it does not arrive in time.
            ClientDisconnect: if the client has gone.
        """
        with anyio.CancelScope(deadline=self._deadline) as self._waiting:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            return message
        raise RefusedRequestError("the body did not arrive in time", status=408, error="timeout")


class Places:
    """At most `most` requests at once, and as many open streams (GET), which callers share.

    Separately, because idle SSE streams would otherwise use up the places for messages. A caller
    gets a place while more are free than the caller holds: half of all if alone, and others always
    find one.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[bool, Counter[Hashable]] = {False: Counter(), True: Counter()}
        """By whether they are streams."""
        self._arriving: dict[_Place, None] = {}
        """Requests whose bodies are incomplete, the oldest first."""

    def find_lack(self, *, needs_streams: bool) -> str | None:
        """What prevents any new caller from asking."""
        for is_stream, what in ((False, "requests"), (True, "streams")):
            if (needs_streams or not is_stream) and not self._count_free(is_stream=is_stream):
                return f"all places for {what} are taken (--connections)"
        return None

    @contextmanager
    def hold(self, owner: Hashable, *, is_stream: bool, body_s: float) -> Iterator[_Place | None]:
        """A place for the block, or None; a slow body of the same caller makes way."""
        held = self._held[is_stream]
        if self._count_free(is_stream=is_stream) <= held[owner]:
            self._give_up_slow_body(owner, held)
        if self._count_free(is_stream=is_stream) <= held[owner]:
            yield None
            return
        place = _Place(held, owner, body_s)
        self._arriving[place] = None
        try:
            yield place
        finally:
            self.settle(place)
            place.free()

    def settle(self, place: _Place) -> None:
        """Note that the request's body is complete."""
        self._arriving.pop(place, None)

    def _count_free(self, *, is_stream: bool) -> int:
        return self._most - self._held[is_stream].total()

    def _give_up_slow_body(self, owner: Hashable, held: Counter[Hashable]) -> None:
        """Of this caller if they hold any, else of anyone."""
        latest = anyio.current_time() - _SLOW_BODY_S
        for place in self._arriving:
            if place.begun < latest and (place.owner == owner or not held[owner]):
                self.settle(place)
                place.give_up()
                return


class PlacesMiddleware:
    """Gives each request a place and its body a time limit.

    A caller who hangs up before the body is complete leaves no trace: nothing was asked.
    """

    def __init__(
        self, app: ASGIApp, places: Places, body_s: float, refuse: Refuse, *, is_open: bool
    ) -> None:
        self._app = app
        self._places = places
        self._body_s = body_s
        self._refuse = refuse
        self._is_open = is_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or refuse: with `Retry-After` where there is no place."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        address = (scope.get("client") or ("",))[0]
        owner = address if self._is_open else find_owner(scope) or address
        is_stream = scope["method"] == "GET"
        try:
            with self._places.hold(owner, is_stream=is_stream, body_s=self._body_s) as place:
                if place is None:  # no waiting
                    text = "too many requests at once: ask again in a few seconds"
                    raise RefusedRequestError(text, status=503, error="busy")
                await self._app(scope, self._watch_body(place, receive), send)
        except RefusedRequestError as error:
            await self._refuse(error)(scope, receive, send)
        except ClientDisconnect:
            return

    def _watch_body(self, place: _Place, receive: Receive) -> Receive:
        is_whole = False

        async def read() -> Message:
            nonlocal is_whole
            if is_whole:
                return await receive()
            message = await place.wait(receive)
            if is_whole := not message.get("more_body", False):
                self._places.settle(place)
            return message

        return read


class HeadersMiddleware:
    """Refuses headers that are read differently, and an unknown Host or Origin (DNS rebinding).

    Not the SDK's check: it compares letters' case, takes the first of two headers, and logs what
    the caller sent.
    """

    def __init__(self, app: ASGIApp, known: KnownHosts | None, refuse: Refuse, advice: str) -> None:
        self._app = app
        self._known = known
        self._refuse = refuse
        self._advice = advice

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on."""
        refused = self._find_fault(scope["headers"]) if scope["type"] == "http" else None
        if refused is None:
            await self._app(scope, receive, send)
        else:
            response = self._refuse(refused)
            # A proxy may take something else than we do for the next request.
            response.headers["Connection"] = "close"
            await response(scope, receive, send)

    def _find_fault(self, headers: Sequence[tuple[bytes, bytes]]) -> RefusedRequestError | None:
        given: dict[str, str] = {}
        for raw, value in headers:
            name = raw.decode("latin-1").lower()
            # Proxies and servers disagree on which of two counts.
            if name in given and (name in _ONCE or name.startswith("mcp-")):
                text = f"the header {_ONCE.get(name, name)} appears twice"
                return RefusedRequestError(text, status=400, error="invalid_request")
            given[name] = value.decode("latin-1")
        if "content-length" in given and "transfer-encoding" in given:  # by which it ends, likewise
            text = "the body has a Content-Length beside a Transfer-Encoding"
            return RefusedRequestError(text, status=400, error="invalid_request")
        if self._known is None:
            return None
        text, status = "", 0
        if not self._known.has_host(given.get("host", "")):
            text, status = f"this host is not served: {self._advice}", 421
        elif (origin := given.get("origin")) and not self._known.has_origin(origin):
            text, status = "this origin is not served: set --allowed-origin", 403
        return RefusedRequestError(text, status=status, error="not_served") if status else None


class KnownHosts:
    """The Host and Origin headers that are accepted.

    Names are compared without case and without a dot at their end. A name without a port stands
    for every port; clients leave out the usual ones, 80 and 443.
    """

    def __init__(self, hosts: Collection[str], origins: Collection[str]) -> None:
        self._hosts = {_split_host(host) for host in hosts}
        self._origins = {_split_origin(origin) for origin in origins}

    def has_host(self, host: str) -> bool:
        """Whether this Host is accepted."""
        name, port = _split_host(host)
        ports = ("", port) if port else ("", *_USUAL_PORTS.values())
        return not self._hosts.isdisjoint((name, port) for port in ports)

    def has_origin(self, origin: str) -> bool:
        """Whether pages of this origin are accepted: those of the hosts, and those named."""
        scheme, name, port = _split_origin(origin)
        is_ours = scheme in _USUAL_PORTS and not self._hosts.isdisjoint({(name, ""), (name, port)})
        return is_ours or (scheme, name, port) in self._origins


def _split_host(host: str) -> tuple[str, str]:
    """A host's name and port, "" if it has none; what is no host has no name."""
    match = _HOST.fullmatch(host.lower())
    return (match[1].removesuffix("."), match[2] or "") if match else ("", "")


def _split_origin(origin: str) -> tuple[str, str, str]:
    """An origin's scheme, name and port, where it has none the scheme's usual one."""
    scheme, _, host = origin.lower().partition("://")
    name, port = _split_host(host)
    return scheme, name, port or _USUAL_PORTS.get(scheme, "")


def read_hosts(settings: Settings) -> KnownHosts:
    """The accepted Host and Origin headers, checked on any address and not only on loopback.

    Raises:
        SettingsError: if the address is not loopback and no host is allowed.
    """
    own = f"[{settings.host}]" if ":" in settings.host else settings.host
    if not is_loopback(settings.host):
        if not settings.allowed_host:
            raise SettingsError(
                f"listening on {settings.host} needs --allowed-host with the name clients use,"
                " such as --allowed-host metrics.example.com"
            )
        own = LOOPBACK_HOSTS[0]  # clients do not call an address such as 0.0.0.0 by that name
    hosts = (*LOOPBACK_HOSTS, own, *settings.allowed_host)
    return KnownHosts(hosts, (*settings.allowed_origin, *settings.cors_origin))
