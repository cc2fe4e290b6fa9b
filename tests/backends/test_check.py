"""`check` against what goes wrong on the way to a gateway: said once, and what to do."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import SecretStr

from gateway_metrics_mcp.cli.check import check
from gateway_metrics_mcp.settings import Settings

pytestmark = pytest.mark.usefixtures("proxyless")

TOKEN: Final = "tok-secret-1234"  # noqa: S105  # planted: no finding may show it
BODY: Final = b'{"data": {"dataPoints": [{"total": 7}]}}'

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Serve = Callable[..., Awaitable[Any]]


def saying(body: bytes = BODY, status: str = "200 OK", **headers: str) -> Handler:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    words = "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    async def handle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(words)
        await writer.drain()
        writer.close()

    return handle


async def lines_of(backend: str, **settings: Any) -> list[str]:
    """What the command prints; never the token."""
    findings = await check(Settings(backend=backend, token=SecretStr(TOKEN), **settings))
    lines = [str(finding) for finding in findings]
    assert TOKEN not in "\n".join(lines)
    return lines


async def test_a_gateway_that_answers_is_good(serve: Serve) -> None:
    site = await serve(saying(Date=format_datetime(datetime.now(UTC), usegmt=True)))

    lines = await lines_of(f"http://127.0.0.1:{site.port}")

    assert [line.partition(":")[0] for line in lines] == [
        "ok    backend",
        "ok    modelMetrics",
        "ok    mcpMetrics",
        "ok    guardrailMetrics",
        "ok    cacheMetrics",
        "ok    configMetrics",
        "ok    agentMetrics",
    ]


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        (
            saying(b"<!doctype html><title>Sign in</title>", Content_Type="text/html"),
            (
                "a web page answers there: the gateway's address is probably the inference host, a"
                " page of the web interface or a wrong tenant: it must be the control plane, such"
            ),
        ),
        (saying(b"{}", "404 Not Found"), "nothing answers there (404): the gateway's address is"),
        (saying(b"", "302 Found", Location="https://sso.example.com"), "redirects (302)"),
        (
            saying(b"{}", "401 Unauthorized"),
            "does not accept the token (401): it is mistyped, expired, or of another tenant",
        ),
        (saying(b"{}", "403 Forbidden"), "the token may not query this (403)"),
        (saying(b"{}", "503 Unavailable"), "the gateway failed (503)"),
        (saying(b"{}", "400 Bad Request"), "refuses the query (400)"),
        (saying(b'{"answer": 42}'), "FAIL  gateway: "),
    ],
)
async def test_what_the_gateway_thinks_of_all_is_said_once(
    handler: Handler, reason: str, serve: Serve
) -> None:
    site = await serve(handler)

    lines = await lines_of(f"http://127.0.0.1:{site.port}")

    assert lines[0] == "ok    backend: gateway at 127.0.0.1"
    assert len(lines) == 2
    assert lines[1].startswith("FAIL  gateway: ")
    assert reason in lines[1]


async def test_what_stops_one_datasource_alone_is_said_of_it(serve: Serve) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        status = "403 Forbidden" if b"agentMetrics" in site.requests[-1] else "200 OK"
        await saying(status=status)(_, writer)

    site = await serve(answer)

    lines = await lines_of(f"http://127.0.0.1:{site.port}")

    assert [line for line in lines if not line.startswith("ok")] == [lines[-1]]
    assert lines[-1].startswith("FAIL  agentMetrics: the token may not query this (403)")


@pytest.mark.parametrize(
    ("minutes", "words"),
    [(6.5, ["6 minutes behind"]), (-90, ["90 minutes ahead of"]), (4, []), (-4, [])],
)
async def test_clocks_that_differ_by_more_than_five_minutes_are_named(
    minutes: float, words: list[str], serve: Serve
) -> None:
    there = datetime.now(UTC) + timedelta(minutes=minutes)
    site = await serve(saying(Date=format_datetime(there, usegmt=True)))

    lines = await lines_of(f"http://127.0.0.1:{site.port}")

    failures = [line for line in lines if line.startswith("FAIL")]
    assert len(failures) == len(words)
    for failure, word in zip(failures, words, strict=True):
        assert failure.startswith(f"FAIL  clock: this machine's clock is {word} the gateway's")


async def test_a_gateway_that_fails_still_tells_its_time(serve: Serve) -> None:
    there = datetime.now(UTC) + timedelta(minutes=6.5)
    date = format_datetime(there, usegmt=True)
    site = await serve(saying(status="503 Service Unavailable", Date=date))

    lines = await lines_of(f"http://127.0.0.1:{site.port}")

    assert [line.split(":")[0] for line in lines] == [
        "ok    backend",
        "FAIL  clock",
        "FAIL  gateway",
    ]


@pytest.mark.parametrize("date", ["", "yesterday", "Sat, 99 Nov 2026 99:99:99 GMT"])
async def test_a_gateway_that_tells_no_time_is_no_failure(date: str, serve: Serve) -> None:
    site = await serve(saying(Date=date))

    assert all(line.startswith("ok") for line in await lines_of(f"http://127.0.0.1:{site.port}"))


async def test_a_closed_port_and_an_unknown_name_are_told_apart() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

    refused = await lines_of(f"http://127.0.0.1:{port}")
    unknown = await lines_of("https://nowhere.invalid")

    assert refused[1:] == [refused[-1]]
    assert "FAIL  gateway: no connection to the gateway" in refused[-1]
    assert unknown[1:] == [unknown[-1]]
    assert "is unknown: check its spelling" in unknown[-1]


async def test_a_gateway_that_never_answers_is_asked_once(serve: Serve) -> None:
    async def wait(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)

    site = await serve(wait)

    lines = await lines_of(f"http://127.0.0.1:{site.port}", timeout=0.2)

    assert lines[1:] == [lines[-1]]
    assert "gave no complete answer within 0.2 seconds" in lines[-1]
    assert len([request for request in site.requests if request.startswith(b"POST")]) == 1


# --- proxies ---


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
async def test_a_proxy_that_refuses_is_named_without_its_password(
    variable: str, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = await serve(saying(b"", "407 Proxy Authentication Required"))
    monkeypatch.setenv(variable, f"http://ada:hush@127.0.0.1:{proxy.port}")

    lines = await lines_of("https://tenant.example.com")

    assert lines[1] == f"ok    proxy: requests go through 127.0.0.1:{proxy.port}, from {variable}"
    assert lines[2].startswith("FAIL  gateway: the proxy refuses to connect to the gateway (407)")
    assert "hush" not in "\n".join(lines)
    assert len(lines) == 3


async def test_a_proxy_variable_that_holds_no_address_is_said_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://ada:hush@proxy.example.com:port")

    lines = await lines_of("https://tenant.example.com")

    assert len(lines) == 2
    assert "HTTPS_PROXY" in lines[1]
    assert "hush" not in lines[1]


@pytest.mark.parametrize(
    "login", ["ada:12/HUSH", "ada:12?HUSH", "ada#HUSH", "HUSH/", "ada:12/x@HUSH", "ada:p@s/HUSH"]
)
@pytest.mark.parametrize("scheme", ["http://", ""])
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
async def test_a_proxys_login_that_ends_its_address_is_told_and_not_shown(
    variable: str, scheme: str, login: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, f"{scheme}{login}@127.0.0.1:9")

    lines = await lines_of("https://tenant.example.com")

    (said,) = lines[1:]
    assert said == (
        f"FAIL  gateway: the proxy's address in {variable} has a login with / ? or # in it:"
        " percent-encode it"
    )


async def test_a_login_that_is_percent_encoded_is_good(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = await serve(saying(b"", "407 Proxy Authentication Required"))
    monkeypatch.setenv("HTTPS_PROXY", f"http://ada:12%2Fhu%40sh@127.0.0.1:{proxy.port}/")

    lines = await lines_of("https://tenant.example.com")

    assert lines[1] == f"ok    proxy: requests go through 127.0.0.1:{proxy.port}, from HTTPS_PROXY"


# --- certificates ---


def certify(path: Path, name: str, first: datetime, last: datetime) -> ssl.SSLContext:
    """A self-signed certificate in a file, and the server's side of it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    signed = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(first)
        .not_valid_after(last)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(signed.public_bytes(Encoding.PEM) + secret)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)
    return context


@pytest.mark.parametrize(
    ("name", "days", "is_trusted", "reason"),
    [
        ("localhost", (-1, 1), False, "could not be verified: if it is from a private authority"),
        ("localhost", (-9, -1), True, "has expired, by this machine's clock"),
        ("localhost", (1, 9), True, "is not valid yet, by this machine's clock"),
        ("other.example.com", (-1, 1), True, "is for another host name"),
    ],
)
async def test_what_is_wrong_with_a_certificate_is_told(
    name: str,
    days: tuple[int, int],
    is_trusted: bool,  # noqa: FBT001 - a case of the table
    reason: str,
    serve: Serve,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, last = (datetime.now(UTC) + timedelta(days=count) for count in days)
    site = await serve(saying(), certify(tmp_path / "site.pem", name, first, last))
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "site.pem"))

    lines = await lines_of(f"https://localhost:{site.port}")

    assert lines[1:] == [lines[-1]]
    assert lines[-1].startswith("FAIL  gateway: the gateway's certificate ")
    assert reason in lines[-1]
    assert site.requests == []


async def test_a_trusted_certificate_is_good(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    day = timedelta(days=1)
    site = await serve(saying(), certify(tmp_path / "a.pem", "localhost", now - day, now + day))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "a.pem"))

    assert all(line.startswith("ok") for line in await lines_of(f"https://localhost:{site.port}"))


# --- engines ---


async def test_an_empty_directory_is_a_failure(data: Path) -> None:
    lines = await lines_of(str(data))

    assert lines[-1] == "FAIL  data: none of the tables exists"
    assert [line[:2] for line in lines[:-1]] == ["ok"] * 7
