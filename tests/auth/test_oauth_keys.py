"""OAuth resource server: tokens that no trusted key signed, and keys that come and go."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm
from starlette.responses import JSONResponse, RedirectResponse, Response

from gateway_metrics_mcp.auth.oauth import Keys, OAuthPolicy
from gateway_metrics_mcp.settings import Settings

Provider = Any
Serve = Callable[..., AbstractAsyncContextManager[Any]]

METADATA: Final = "https://metrics.example.com/.well-known/oauth-protected-resource/mcp"
NEXT_KEY: Final = rsa.generate_private_key(public_exponent=65537, key_size=2048)
WEAK_KEY: Final = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - refused


def encode(part: bytes) -> bytes:
    return base64.urlsafe_b64encode(part).rstrip(b"=")


def unsigned(provider: Provider) -> str:
    head = encode(json.dumps({"alg": "none", "kid": "r1"}).encode())
    return b".".join((head, encode(json.dumps(provider.claims()).encode()), b"")).decode()


def confused(provider: Provider) -> str:
    """Signed by HMAC with the public key as its secret, as PyJWT itself would refuse to."""
    public = provider.keys["r1"].public_key()
    secret = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    parts = ({"alg": "HS256", "typ": "JWT", "kid": "r1"}, provider.claims())
    text = b".".join(encode(json.dumps(part).encode()) for part in parts)
    mark = hmac.new(secret, text, hashlib.sha256).digest()
    return b".".join((text, encode(mark))).decode()


def with_own_key(provider: Provider) -> str:
    """It brings the key along, and says where there are more."""
    own = RSAAlgorithm.to_jwk(NEXT_KEY.public_key(), as_dict=True)
    headers = {"kid": "r1", "jwk": own, "jku": f"{provider.issuer}/other"}
    return jwt.encode(provider.claims(), NEXT_KEY, "RS256", headers=headers)


def with_critical(provider: Provider) -> str:
    headers = {"kid": "r1", "crit": ["b64"], "b64": True}
    return jwt.encode(provider.claims(), provider.keys["r1"], "RS256", headers=headers)


def altered(provider: Provider) -> str:
    head, _, mark = provider.sign().split(".")
    _, claims, _ = provider.sign(sub="00u-bob").split(".")
    return f"{head}.{claims}.{mark}"


def of_algorithm(algorithm: object) -> str:
    head = encode(json.dumps({"alg": algorithm, "kid": "r1"}).encode())
    return b".".join((head, encode(b"{}"), encode(b"sig"))).decode()


def nested(opening: bytes) -> str:
    """As deep as a header of a request may be long."""
    return b".".join((encode(opening * (11_900 // len(opening))), encode(b"{}"), b"c2ln")).decode()


BAD_TOKENS: Final[dict[str, Callable[[Provider], str]]] = {
    "of another issuer": lambda p: p.sign(iss="https://evil.example.com"),
    "of an issuer that begins alike": lambda p: p.sign(iss=f"{p.issuer}/"),
    "of no issuer": lambda p: p.sign(iss=None),
    "for another server": lambda p: p.sign(aud="https://other.example.com/mcp"),
    "for no server": lambda p: p.sign(aud=None),
    "expired": lambda p: p.sign(exp=int(time.time()) - 120),
    "for ever": lambda p: p.sign(exp=None),
    "not yet in force": lambda p: p.sign(nbf=int(time.time()) + 120),
    "of the future": lambda p: p.sign(iat=int(time.time()) + 120),
    "of nobody": lambda p: p.sign(sub=None),
    "unsigned": unsigned,
    "signed with the public key as a secret": confused,
    "signed with another's key": lambda p: p.sign(key=NEXT_KEY),
    "signed with a key of its own": with_own_key,
    "with critical headers": with_critical,
    "altered": altered,
    "of an unknown key": lambda p: p.sign("r9", key=NEXT_KEY),
    "of the other kind of key": lambda p: p.sign("e1", key=p.keys["r1"]),
    "nested deeply": lambda _: nested(b"["),
    "nested deeply in an object": lambda _: nested(b'{"kid":'),
    "of a list of algorithms": lambda _: of_algorithm(["RS256"]),
    "of an object for an algorithm": lambda _: of_algorithm({}),
    "no token": lambda _: "abc",
    "nearly one": lambda _: "a.b.c",
    "very long": lambda p: p.sign(long="x" * 20_000),
}


@pytest.mark.parametrize("name", BAD_TOKENS)
async def test_any_other_token_is_refused(
    provider: Provider,
    wanted: dict[str, Any],
    serve_callers: Serve,
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    token = BAD_TOKENS[name](provider)
    async with serve_callers(**wanted) as served:
        response = await served.post(authorization=f"Bearer {token}")
        good = await served.post(authorization=f"Bearer {provider.sign()}")

    assert (response.status_code, good.status_code) == (401, 200)
    assert response.headers["www-authenticate"] == (
        f'Bearer realm="gateway-metrics", resource_metadata="{METADATA}", scope="metrics:read",'
        ' error="invalid_token"'
    )
    assert response.json()["error"] == "invalid_token"
    assert [t for t in (caplog.text, response.text) if len(token) > 5 and token in t] == []


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_new_keys_are_fetched_when_a_token_names_one_but_not_at_every_guess(
    provider: Provider, wanted: dict[str, Any], serve_callers: Serve
) -> None:
    clock = Clock()
    callers = OAuthPolicy(Settings(**wanted), keys=Keys(provider.issuer, clock=clock))
    async with serve_callers("http", "legacy", callers, **wanted) as served:

        async def status(token: str) -> int:
            response = await served.post(authorization=f"Bearer {token}")
            code: int = response.status_code
            return code

        before = await status(provider.sign())
        old = provider.sign()
        provider.keys = {"r2": NEXT_KEY}
        guesses = [await status(provider.sign(f"g{n}", key=NEXT_KEY)) for n in range(5)]
        fetched_for_guesses = provider.fetched
        clock.now += 11
        rotated = [await status(provider.sign("r2")), await status(provider.sign(None, NEXT_KEY))]
        gone = await status(old)

    assert (before, guesses, fetched_for_guesses) == (200, [401] * 5, 1)
    assert (rotated, gone, provider.fetched) == ([200, 200], 401, 2)


async def test_keys_outlive_a_short_absence_of_the_provider_but_no_long_one(
    provider: Provider, wanted: dict[str, Any], serve_callers: Serve
) -> None:
    clock = Clock()
    callers = OAuthPolicy(Settings(**wanted), keys=Keys(provider.issuer, clock=clock))
    token = provider.sign()
    async with serve_callers("http", "legacy", callers, **wanted) as served:
        responses = [await served.post(authorization=f"Bearer {token}")]
        provider.broken = Response(status_code=500)
        for later in (700, 3000):
            clock.now += later
            responses.append(await served.post(authorization=f"Bearer {token}"))
        provider.broken = None
        clock.now += 11
        responses.append(await served.post(authorization=f"Bearer {token}"))

    assert [response.status_code for response in responses] == [200, 200, 503, 200]
    assert responses[2].headers["retry-after"] == "5"
    assert responses[2].json()["error"] == "temporarily_unavailable"


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        ({"issuer": "https://evil.example.com"}, None),
        ({"jwks_uri": "http://keys.example.com/keys"}, None),
        ({"jwks_uri": "file:///etc/passwd"}, None),
        ({"jwks_uri": None}, None),
        ({}, RedirectResponse("/.well-known/openid-configuration")),
        ({}, Response("<html>", media_type="text/html")),
        ({}, Response(b'{"keys": [' + b" " * 300_000 + b"]}")),
        ({}, JSONResponse({"keys": "none"})),
        ({}, JSONResponse({"keys": [{}] * 101})),
        ({}, Response(status_code=500)),
    ],
    ids=range(10),
)
async def test_a_provider_that_cannot_be_relied_on_lets_nobody_in(
    provider: Provider,
    wanted: dict[str, Any],
    serve_callers: Serve,
    changes: dict[str, Any],
    broken: Response | None,
) -> None:
    provider.changes, provider.broken = changes, broken
    async with serve_callers(**wanted) as served:
        response = await served.post(authorization=f"Bearer {provider.sign()}")

    assert response.status_code == 503
    assert provider.issuer not in response.text


async def test_keys_that_are_weak_or_for_other_ends_are_passed_over(
    provider: Provider, wanted: dict[str, Any], serve_callers: Serve
) -> None:
    provider.keys |= {"weak": WEAK_KEY}
    shared = base64.urlsafe_b64encode(b"secret" * 8).decode()
    good = provider._show("r1", provider.keys["r1"])  # noqa: SLF001 - a part of these tests
    provider.broken = JSONResponse(
        {
            "keys": [
                "no key",
                {"kty": "oct", "kid": "hs", "k": shared},
                {**good, "kid": "enc", "use": "enc"},
                {**good, "kid": "rs512", "alg": "RS512"},
                {"kty": "RSA", "kid": "torn", "n": "!", "e": 5},
                provider._show("weak", WEAK_KEY),  # noqa: SLF001 - likewise
                good,
            ]
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer versions of PyJWT warn of such a key
        weak = provider.sign("weak")
    tokens = [
        weak,
        *(provider.sign(k, provider.keys["r1"]) for k in ("enc", "rs512", "torn", "r1")),
    ]
    async with serve_callers(**wanted) as served:
        responses = [await served.post(authorization=f"Bearer {token}") for token in tokens]

    assert [response.status_code for response in responses] == [401, 401, 401, 401, 200]
