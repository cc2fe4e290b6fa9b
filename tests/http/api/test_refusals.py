"""What the API refuses, and in what words: every error has one shape (R20)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from gateway_metrics_mcp.query.vocabulary import API_PATH as PATH

July = Callable[..., dict[str, Any]]
Serve = Callable[..., Any]
ReadError = Callable[[Any], dict[str, Any]]

LONG_AGO: Final = datetime(2020, 1, 1, tzinfo=UTC)
JSON: Final = {"content-type": "application/json"}


# --- who may ask ---


async def test_no_token_and_an_unknown_one_are_401_with_a_challenge(
    serve: Serve, book: Any, july: July, read_error: ReadError
) -> None:
    api = serve(book)
    book.issue()

    for token in (None, "gmm_unknown"):
        response = await api.post(july(), token=token)
        assert (response.status_code, read_error(response)["code"]) == (401, "unauthorized")
        assert response.headers["www-authenticate"] == "Bearer"


async def test_an_expired_token_is_403(
    serve: Serve, book: Any, july: July, read_error: ReadError
) -> None:
    response = await serve(book).post(july(), token=book.issue(expires=LONG_AGO))

    error = read_error(response)
    assert (response.status_code, error["code"]) == (403, "token_expired")
    assert error["message"] == "the token has expired: ask for a new one"
    assert "www-authenticate" not in response.headers


async def test_who_may_ask_comes_before_what_is_asked(serve: Serve, book: Any) -> None:
    response = await serve(book).post(b"{", content_type="text/plain")

    assert response.status_code == 401


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:8000", 200),
        ("localhost:8000", 200),
        ("[::1]:8000", 200),
        ("metrics.example.com", 200),
        ("metrics.example.com:443", 200),
        ("LocalHost:8000", 200),
        ("METRICS.example.com", 200),
        ("evil.example.com", 421),
        ("localhost.evil.example.com", 421),
        ("127.0.0.1.evil.example.com:8000", 421),
        ("", 421),
    ],
)
async def test_without_tokens_a_page_of_another_host_cannot_ask(
    serve: Serve, july: July, host: str, status: int, read_error: ReadError
) -> None:
    response = await serve(allowed_host=["metrics.example.com"]).post(july(), host=host)

    assert response.status_code == status
    if status != 200:
        assert read_error(response)["code"] == "http"


async def test_with_tokens_any_host_may_stand_before_the_server(
    serve: Serve, book: Any, july: July
) -> None:
    response = await serve(book).post(july(), token=book.issue(), host="a.example.com")

    assert response.status_code == 200


# --- how it is asked ---


@pytest.mark.parametrize("size", [256 * 1024 + 1, 5_000_000])
async def test_a_body_beyond_256_kib_is_413(serve: Serve, size: int, read_error: ReadError) -> None:
    response = await serve().post(b" " * size)

    assert response.status_code == 413
    assert read_error(response)["message"] == "the body is larger than 262144 bytes"


async def test_a_body_of_256_kib_is_read(serve: Serve, july: July) -> None:
    body = json.dumps(july()).encode()

    assert await serve().rows(body + b" " * (256 * 1024 - len(body))) == [{"total": 5}]


@pytest.mark.parametrize(
    "headers",
    [
        {"content_type": "text/plain"},
        {"content_type": "application/x-www-form-urlencoded"},
        {"content_type": "application/jsonp"},
        {"content_type": "application/json5; a=application/json"},
        {"content_type": ""},
        {"content_encoding": "gzip"},
        {"content_encoding": "br"},
    ],
    ids=repr,
)
async def test_what_is_not_plain_json_is_415(
    serve: Serve, july: July, headers: dict[str, str], read_error: ReadError
) -> None:
    response = await serve().post(july(), **headers)

    assert response.status_code == 415
    assert read_error(response)["message"] == "the body must be application/json, not compressed"


@pytest.mark.parametrize(
    "headers",
    [
        {"content_type": "application/json; charset=utf-8"},
        {"content_type": "Application/JSON"},
        {"content_encoding": "identity"},
    ],
    ids=repr,
)
async def test_json_is_json_in_any_spelling(
    serve: Serve, july: July, headers: dict[str, str]
) -> None:
    assert (await serve().post(july(), **headers)).status_code == 200


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY", "post"]
)
async def test_another_method_is_405(serve: Serve, method: str, read_error: ReadError) -> None:
    response = await serve().client.request(method.encode("ascii"), PATH)

    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    if method != "HEAD":
        assert read_error(response)["code"] == "http"


@pytest.mark.parametrize(
    "path",
    ["/", "/api", PATH + "//", PATH[:-1], "/%00", "/%ff", "/" + "x" * 500, "/livez/", PATH.upper()],
    ids=range(9),
)
async def test_another_path_is_404(serve: Serve, path: str, read_error: ReadError) -> None:
    response = await serve().client.post(path, headers=JSON, content=b"{}")

    assert response.status_code == 404
    assert read_error(response)["code"] == "http"
