"""The remote gateway behind TLS, private authorities and proxies."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway_metrics_mcp import errors
from gateway_metrics_mcp.backends.gateway.backend import GatewayBackend
from gateway_metrics_mcp.errors import GatewayMetricsError
from gateway_metrics_mcp.query.catalog import Catalog, load_catalog
from gateway_metrics_mcp.query.model import LOCAL, Query

pytestmark = pytest.mark.usefixtures("proxyless")

TOKEN = "tok-secret-1234"  # noqa: S105  # planted: no failure may show it
HOST = "https://tenant.example.com"
ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n{"data": [{"total": 7}]}'

Ask = Callable[..., Awaitable[GatewayMetricsError]]
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
ProxyTo = Callable[[int], Awaitable[tuple[Any, bytearray]]]
Serve = Callable[..., Awaitable[Any]]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of the tenant's and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tenant.example.com")])
    names = [x509.DNSName("tenant.example.com"), x509.IPAddress(ip_address("127.0.0.1"))]
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "tenant.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(signed.public_bytes(Encoding.PEM) + secret)
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))


@pytest.fixture
def proxy_to(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> ProxyTo:
    """Start a proxy that leads every tunnel to one port; with it, the bytes it carries."""

    async def start(port: int) -> tuple[Any, bytearray]:
        carried = bytearray()

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65_536):
                carried.extend(data)
                sink.write(data)
            sink.close()

        async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            there = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))

        proxy = await serve(tunnel)
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        return proxy, carried

    return start


def saying(words: bytes) -> Handler:
    async def say(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(words)
        await writer.drain()

    return say


answer = saying(ANSWER)


async def test_a_certificate_nobody_vouches_for_stops_the_query_before_the_token(
    serve: Serve, failure: Ask, catalog: Catalog, tls: ssl.SSLContext
) -> None:
    site = await serve(answer, tls)

    error = await failure(GatewayBackend(f"https://127.0.0.1:{site.port}", TOKEN, catalog))

    assert type(error) is errors.TlsError
    assert "SSL_CERT_FILE" in str(error)
    assert site.requests == []


async def test_a_port_without_tls_is_a_tls_failure(
    serve: Serve, failure: Ask, catalog: Catalog
) -> None:
    async def speak_plainly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    site = await serve(speak_plainly, is_raw=True)

    error = await failure(GatewayBackend(f"https://127.0.0.1:{site.port}", TOKEN, catalog))

    assert type(error) is errors.TlsError
    assert "speak HTTPS" in str(error)


async def test_a_handshake_that_breaks_off_is_unreachable(
    serve: Serve, failure: Ask, catalog: Catalog
) -> None:
    async def hang_up(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(65_536)

    site = await serve(hang_up, is_raw=True)

    error = await failure(GatewayBackend(f"https://127.0.0.1:{site.port}", TOKEN, catalog))

    assert type(error) is errors.UnreachableError


@pytest.mark.usefixtures("proxyless", "trusted")
async def test_a_private_authority_is_trusted_by_ssl_cert_file(
    serve: Serve, question: Query, catalog: Catalog, tls: ssl.SSLContext
) -> None:
    site = await serve(answer, tls)
    backend = GatewayBackend(f"https://127.0.0.1:{site.port}", TOKEN, catalog)

    result = await backend.query(question, LOCAL)
    await backend.aclose()

    assert result.column("total") == (7,)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SSL_CERT_FILE", "/nowhere/authority.pem"),
        ("SSL_CERT_FILE", __file__),
        ("HTTPS_PROXY", "gopher://user:hush@proxy.example.com"),
        ("HTTPS_PROXY", "http://user:hush@proxy.example.com:port"),
    ],
)
async def test_a_variable_that_cannot_be_used_is_named_and_not_shown(
    variable: str, value: str, failure: Ask, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)

    error = await failure(GatewayBackend(HOST, TOKEN, catalog))

    assert type(error) is errors.SettingsError
    assert variable in str(error)
    assert value not in str(error)


@pytest.mark.usefixtures("proxyless", "trusted")
async def test_https_goes_through_the_proxy_of_the_environment_unread(
    serve: Serve, question: Query, catalog: Catalog, tls: ssl.SSLContext, proxy_to: ProxyTo
) -> None:
    site = await serve(answer, tls)
    proxy, carried = await proxy_to(site.port)
    backend = GatewayBackend(HOST, TOKEN, catalog)

    result = await backend.query(question, LOCAL)
    await backend.aclose()

    assert result.column("total") == (7,)
    assert proxy.requests[0].startswith(b"CONNECT tenant.example.com:443 ")
    assert f"Bearer {TOKEN}".encode() in site.requests[0]
    assert len(carried) > len(ANSWER)
    assert TOKEN.encode() not in proxy.requests[0] + carried


@pytest.mark.usefixtures("proxyless", "trusted")
async def test_what_comes_after_an_answer_through_a_proxy_is_nobodys_answer(
    serve: Serve, question: Query, catalog: Catalog, tls: ssl.SSLContext, proxy_to: ProxyTo
) -> None:
    async def answer_twice(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(ANSWER + ANSWER.replace(b"7", b"8"))
        await writer.drain()

    site = await serve(answer_twice, tls)
    await proxy_to(site.port)
    backend = GatewayBackend(HOST, TOKEN, catalog)

    answers = [(await backend.query(question, LOCAL)).column("total") for _ in range(3)]
    await backend.aclose()

    assert answers == [(7,), (7,), (7,)]


@pytest.mark.usefixtures("proxyless", "trusted")
async def test_what_comes_after_an_answer_over_tls_is_nobodys_answer(
    serve: Serve, question: Query, catalog: Catalog, tls: ssl.SSLContext
) -> None:
    async def answer_twice(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(ANSWER)
        writer.write(ANSWER.replace(b"7", b"8"))
        await writer.drain()

    site = await serve(answer_twice, tls)
    backend = GatewayBackend(f"https://127.0.0.1:{site.port}", TOKEN, catalog)

    answers = [(await backend.query(question, LOCAL)).column("total") for _ in range(3)]
    await backend.aclose()

    assert answers == [(7,), (7,), (7,)]


async def test_a_proxy_that_asks_for_credentials_is_what_the_operator_hears_of(
    serve: Serve, failure: Ask, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = await serve(saying(b"HTTP/1.1 407 Obey Me\r\nContent-Length: 0\r\n\r\n"))
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")

    error = await failure(GatewayBackend(HOST, TOKEN, catalog))

    assert type(error) is errors.UnreachableError
    assert "the proxy refuses to connect to the gateway (407)" in str(error)
    assert "Obey" not in str(error)
    assert TOKEN.encode() not in proxy.requests[0]


async def test_a_host_in_no_proxy_is_asked_directly(
    serve: Serve, question: Query, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, site = await serve(saying(ANSWER)), await serve(saying(ANSWER))
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    backend = GatewayBackend(f"http://127.0.0.1:{site.port}", TOKEN, catalog)

    await backend.query(question, LOCAL)
    await backend.aclose()

    assert (proxy.connections, site.connections) == (0, 1)


@pytest.mark.parametrize(
    ("address", "connections"),
    [
        ("http://127.0.0.1:{}", (1, 0)),
        ("localhost:{}", (1, 0)),
        ("http://proxy.invalid:{}", (0, 1)),
        ("proxy.invalid:{}", (0, 1)),
    ],
)
async def test_a_request_without_tls_takes_no_proxy_beyond_this_machine(
    address: str,
    connections: tuple[int, int],
    serve: Serve,
    question: Query,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proxy, site = await serve(saying(ANSWER)), await serve(saying(ANSWER))
    monkeypatch.setenv("HTTP_PROXY", address.format(proxy.port))
    backend = GatewayBackend(f"http://127.0.0.1:{site.port}", TOKEN, load_catalog())

    await backend.query(question, LOCAL)
    await backend.aclose()

    assert (proxy.connections, site.connections) == connections
