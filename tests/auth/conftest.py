"""Servers over HTTP whose callers bring tokens, and the gateways and providers they rely on."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import anyio
import duckdb
import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from mcp.client import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway_metrics_mcp.auth.policies import AuthPolicy
from gateway_metrics_mcp.http.transports import build_http_app, build_sse_app
from gateway_metrics_mcp.query.vocabulary import API_PATH as PATH
from gateway_metrics_mcp.server.app import build_server
from gateway_metrics_mcp.settings import Settings

Listen = Callable[[Starlette], AbstractAsyncContextManager[int]]
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

AUDIENCE: Final = "https://metrics.example.com/mcp"
RSA_KEY: Final = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY: Final = ec.generate_private_key(ec.SECP256R1())

_OWNERS: Final = (
    ("ada", "ada@example.com", "user", "['search']"),
    ("bob", "bob@example.com", "user", "['search', 'data']"),
    ("eve", "eve@example.com", "user", "[]"),
    ("twin", "ada@example.com", "virtualaccount", "[]"),
    ("bot", "ci-bot", "virtualaccount", "['data']"),
)
"""A name in the model's, the subject, its type and its teams of each row."""


@dataclass
class Gateway:
    """A gateway on loopback: the total says whose token it was asked with."""

    totals: dict[str, int] = field(default_factory=dict)
    asked_with: list[str] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)
    held: anyio.Event | None = None
    waiting: int = 0

    async def answer(self, request: Request) -> Response:
        self.headers.append(str(request.headers))
        token = request.headers["authorization"].removeprefix("Bearer ")
        self.asked_with.append(token)
        if self.held is not None:
            self.waiting += 1
            if self.waiting == len(self.totals):
                self.held.set()
            await self.held.wait()
        if token not in self.totals:
            return JSONResponse({"message": "no such token"}, 401)
        return JSONResponse({"data": {"dataPoints": [{"total": self.totals[token]}]}})


@pytest.fixture
async def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
async def gateway_url(gateway: Gateway, listen: Listen) -> AsyncIterator[str]:
    async with listen(Starlette(routes=[Route(PATH, gateway.answer, methods=["POST"])])) as port:
        yield f"http://127.0.0.1:{port}"


@dataclass
class Served:
    """A server on loopback, to connect to with headers."""

    url: str
    transport: str
    mode: str

    @asynccontextmanager
    async def connect(self, **headers: str) -> AsyncIterator[Client]:
        """An MCP client that sends these headers with all it sends."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.transport == "sse":
            async with Client(sse_client(f"{self.url}/sse", headers=sent), mode=self.mode) as own:
                yield own
            return
        async with httpx2.AsyncClient(headers=sent, timeout=120, trust_env=False) as http:
            transport = streamable_http_client(f"{self.url}/mcp", http_client=http)
            async with Client(transport, mode=self.mode) as own:
                yield own

    @asynccontextmanager
    async def http(self) -> AsyncIterator[httpx2.AsyncClient]:
        """A bare HTTP client."""
        async with httpx2.AsyncClient(base_url=self.url, timeout=120, trust_env=False) as client:
            yield client

    async def post(self, **headers: str) -> httpx2.Response:
        """A ping with these headers, as a modern or an old client would send it."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent |= {"accept": "application/json, text/event-stream"}
        async with self.http() as client:
            if self.transport == "sse":
                return await client.post("/messages/?session_id=0", json=PING, headers=sent)
            return await client.post("/mcp", json=PING, headers=sent)


PING: Final = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


@asynccontextmanager
async def _serve(
    listen: Listen,
    transport: str = "http",
    mode: str = "legacy",
    callers: AuthPolicy | None = None,
    **settings: Any,
) -> AsyncIterator[Served]:
    read = Settings(transport=transport, **settings)
    build = build_http_app if transport == "http" else build_sse_app
    async with listen(build(build_server(read), read, callers)) as port:
        yield Served(f"http://127.0.0.1:{port}", transport, mode)


@pytest.fixture(scope="session")
def serve_callers(listen: Listen) -> Callable[..., AbstractAsyncContextManager[Served]]:
    """`serve_callers(transport, mode, callers, **settings)`: a server over HTTP on loopback."""

    def serve(*arguments: Any, **settings: Any) -> AbstractAsyncContextManager[Served]:
        return _serve(listen, *arguments, **settings)

    return serve


@pytest.fixture(
    params=[("http", "legacy"), ("http", "2026-07-28"), ("sse", "legacy")], ids="-".join
)
def way(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A transport, and the era of the protocol spoken over it."""
    way: tuple[str, str] = request.param
    return way


@pytest.fixture(scope="session")
def owned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few rows of each owner in March 2025; the model's name says whose they are."""
    directory = tmp_path_factory.mktemp("owned")
    table = directory / "gateway_model_metrics"
    table.mkdir()
    rows = ", ".join(
        f"(TIMESTAMPTZ '2025-03-0{day} 10:00:00Z', 'model-{name}', {day * 10 + number},"
        f" '{subject}', '{kind}', {teams}::VARCHAR[])"
        for number, (name, subject, kind, teams) in enumerate(_OWNERS, 1)
        for day in range(1, 4)
    )
    columns = "CreatedAt, ModelName, InputTokens, CreatedBySubjectSlug, CreatedBySubjectType, Teams"
    select = f"SELECT * FROM (VALUES {rows}) AS rows({columns})"  # noqa: S608 - our own constants
    duckdb.execute(f"COPY ({select}) TO '{table / 'rows.parquet'}' (FORMAT parquet)")
    return directory


@dataclass
class Provider:
    """An identity provider: its metadata, its keys, and tokens it signs."""

    issuer: str = ""
    keys: dict[str, PrivateKey] = field(default_factory=lambda: {"r1": RSA_KEY, "e1": EC_KEY})
    fetched: int = 0
    changes: dict[str, Any] = field(default_factory=dict)
    """Of the metadata."""
    broken: Response | None = None
    """What it answers for its keys instead."""

    async def describe(self, _: Request) -> Response:
        keys = f"{self.issuer}/keys"
        return JSONResponse({"issuer": self.issuer, "jwks_uri": keys, **self.changes})

    async def list_keys(self, _: Request) -> Response:
        self.fetched += 1
        return self.broken or JSONResponse(
            {"keys": [self._show(k, v) for k, v in self.keys.items()]}
        )

    def _show(self, key_id: str, key: PrivateKey) -> dict[str, Any]:
        if isinstance(key, rsa.RSAPrivateKey):
            shown = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
        else:
            shown = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
        return {**shown, "kid": key_id, "use": "sig"}

    def claims(self, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": "00u-ada",
            "exp": now + 300,
            "iat": now,
            "scope": "metrics:read openid",
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def sign(self, key_id: str | None = "r1", key: PrivateKey | None = None, **changes: Any) -> str:
        """A token; `key` where it is not the one of that id."""
        key = key or self.keys[key_id or "r1"]
        algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
        headers = None if key_id is None else {"kid": key_id}
        return jwt.encode(self.claims(**changes), key, algorithm, headers=headers)


@pytest.fixture
async def provider(listen: Listen) -> AsyncIterator[Provider]:
    provider = Provider()
    routes = [
        Route("/.well-known/openid-configuration", provider.describe),
        Route("/keys", provider.list_keys),
    ]
    async with listen(Starlette(routes=routes)) as port:
        provider.issuer = f"http://127.0.0.1:{port}"
        yield provider


SUBJECTS: Final = """
    [subjects."00u-ada"]
    subject = "ada@example.com"

    [subjects."00u-bob"]
    subject = "bob@example.com"
    teams = ["data"]
"""


@pytest.fixture
def wanted(provider: Provider, owned: Path, tmp_path: Path) -> dict[str, Any]:
    """Settings of a server over an engine that trusts the provider."""
    subjects = tmp_path / "subjects.toml"
    subjects.write_text(SUBJECTS, "utf-8")
    return {
        "backend": str(owned),
        "oauth_issuer": provider.issuer,
        "oauth_audience": AUDIENCE,
        "oauth_scope": ("metrics:read",),
        "oauth_subjects": subjects,
    }
