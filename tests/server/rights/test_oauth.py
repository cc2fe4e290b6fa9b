"""OAuth resource server: an identity provider on loopback signs tokens, good ones and others."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import time
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from mcp_types import CallToolResult
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from gateway_metrics_mcp.callers import open_callers
from gateway_metrics_mcp.callers_keys import Keys, metadata_addresses
from gateway_metrics_mcp.callers_oauth import JwtVerifier, OAuthCallers
from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.settings import Settings

Listen = Callable[[Starlette], AbstractAsyncContextManager[int]]
Serve = Callable[..., AbstractAsyncContextManager[Any]]
TextOf = Callable[[CallToolResult], tuple[str, bool]]
Way = tuple[str, str]

AUDIENCE: Final = "https://metrics.example.com/mcp"
METADATA: Final = "https://metrics.example.com/.well-known/oauth-protected-resource/mcp"
MARCH: Final = {"startTs": "2025-03-01", "endTs": "2025-03-08", "groupBy": ["modelName"]}
RSA_KEY: Final = rsa.generate_private_key(public_exponent=65537, key_size=2048)
NEXT_KEY: Final = rsa.generate_private_key(public_exponent=65537, key_size=2048)
WEAK_KEY: Final = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - refused
EC_KEY: Final = ec.generate_private_key(ec.SECP256R1())

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


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


@pytest.mark.parametrize("key_id", ["r1", "e1"])
async def test_a_good_token_has_the_rights_of_its_subject(
    provider: Provider,
    wanted: dict[str, Any],
    serve_callers: Serve,
    text_of: TextOf,
    way: Way,
    key_id: str,
) -> None:
    texts = {}
    async with serve_callers(*way, **wanted) as served:
        for subject in ("00u-ada", "00u-bob"):
            token = provider.sign(key_id, sub=subject)
            async with served.connect(authorization=f"Bearer {token}") as client:
                answer = await client.call_tool("query_distribution", MARCH)
                texts[subject], is_error = text_of(answer)
                assert not is_error, texts[subject]

    names = ("ada", "bob", "eve", "twin", "bot")
    seen = {who: {n for n in names if f"model-{n}" in text} for who, text in texts.items()}
    assert seen == {"00u-ada": {"ada"}, "00u-bob": {"bob", "bot"}}
    assert provider.fetched == 1


def encode(part: bytes) -> bytes:
    return base64.urlsafe_b64encode(part).rstrip(b"=")


def unsigned(provider: Provider) -> str:
    head = encode(json.dumps({"alg": "none", "kid": "r1"}).encode())
    return b".".join((head, encode(json.dumps(provider.claims()).encode()), b"")).decode()


def confused(provider: Provider) -> str:
    """Signed by HMAC with the public key as its secret, as PyJWT itself would refuse to."""
    secret = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
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
    return jwt.encode(provider.claims(), RSA_KEY, "RS256", headers=headers)


def altered(provider: Provider) -> str:
    head, _, mark = provider.sign().split(".")
    _, claims, _ = provider.sign(sub="00u-bob").split(".")
    return f"{head}.{claims}.{mark}"


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
    "of the other kind of key": lambda p: p.sign("e1", key=RSA_KEY),
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


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": ["https://other.example.com", AUDIENCE]},
        {"scope": None, "scp": ["metrics:read"]},
        {"scope": None, "scp": "metrics:read"},
        {"nbf": int(time.time()) - 5, "azp": "client-1"},
    ],
    ids=str,
)
async def test_providers_may_write_claims_in_their_own_way(
    provider: Provider, wanted: dict[str, Any], serve_callers: Serve, changes: dict[str, Any]
) -> None:
    async with serve_callers(**wanted) as served:
        response = await served.post(authorization=f"Bearer {provider.sign(**changes)}")

    assert response.status_code == 200


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"scope": "openid"}, "insufficient_scope", "lacks the scope metrics:read"),
        ({"scope": None}, "insufficient_scope", "lacks the scope metrics:read"),
        ({"scope": {"metrics:read": 1}}, "insufficient_scope", "lacks the scope"),
        ({"sub": "00u-eve"}, "access_denied", "its subject has no rights here"),
        ({"sub": "ada@example.com"}, "access_denied", "its subject has no rights here"),
    ],
    ids=str,
)
async def test_a_good_token_without_rights_is_forbidden(
    provider: Provider,
    wanted: dict[str, Any],
    serve_callers: Serve,
    changes: dict[str, Any],
    error: str,
    words: str,
) -> None:
    async with serve_callers(**wanted) as served:
        response = await served.post(authorization=f"Bearer {provider.sign(**changes)}")

    assert response.status_code == 403
    assert response.json()["error"] == error
    assert words in response.json()["error_description"]
    assert f'error="{error}"' in response.headers["www-authenticate"]


async def test_who_brings_nothing_is_told_where_to_get_a_token(
    provider: Provider, wanted: dict[str, Any], serve_callers: Serve, way: Way
) -> None:
    async with serve_callers(*way, **wanted) as served, served.http() as client:
        refused = await served.post(x_tfy_api_key="anything")
        described = await client.get("/.well-known/oauth-protected-resource/mcp")

    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == (
        f'Bearer realm="gateway-metrics", resource_metadata="{METADATA}", scope="metrics:read"'
    )
    assert described.status_code == 200
    assert described.json() == {
        "resource": AUDIENCE,
        "authorization_servers": [provider.issuer],
        "scopes_supported": ["metrics:read"],
        "bearer_methods_supported": ["header"],
    }


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_new_keys_are_fetched_when_a_token_names_one_but_not_at_every_guess(
    provider: Provider, wanted: dict[str, Any], serve_callers: Serve
) -> None:
    clock = Clock()
    verifier = JwtVerifier(provider.issuer, AUDIENCE, Keys(provider.issuer, clock=clock))
    callers = OAuthCallers(Settings(**wanted), verifier=verifier)
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
    verifier = JwtVerifier(provider.issuer, AUDIENCE, Keys(provider.issuer, clock=clock))
    callers = OAuthCallers(Settings(**wanted), verifier=verifier)
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
    good = provider._show("r1", RSA_KEY)  # noqa: SLF001 - a part of this file
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
    tokens = [weak, *(provider.sign(k, RSA_KEY) for k in ("enc", "rs512", "torn", "r1"))]
    async with serve_callers(**wanted) as served:
        responses = [await served.post(authorization=f"Bearer {token}") for token in tokens]

    assert [response.status_code for response in responses] == [401, 401, 401, 401, 200]


async def test_over_a_gateway_a_subject_asks_with_the_token_that_the_operator_holds_for_it(
    gateway: Any,
    gateway_url: str,
    provider: Provider,
    wanted: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    serve_callers: Serve,
    text_of: TextOf,
) -> None:
    gateway.totals = {"tok-ada": 11, "tok-bob": 22, "tok-own": 99}
    monkeypatch.setenv("BOBS_TOKEN", "tok-bob\n")
    (tmp_path / "ada").write_text("tok-ada\n", "utf-8")
    wanted["oauth_subjects"].write_text(
        '[subjects."00u-ada"]\ntoken_file = "ada"\n[subjects."00u-bob"]\ntoken_env = "BOBS_TOKEN"\n'
    )
    texts = []
    async with serve_callers(**{**wanted, "backend": gateway_url, "token": "tok-own"}) as served:
        for subject in ("00u-ada", "00u-bob"):
            token = provider.sign(sub=subject)
            async with served.connect(authorization=f"Bearer {token}") as client:
                question = {"startTs": "2025-03-01", "endTs": "2025-03-08"}
                texts.append(text_of(await client.call_tool("query_distribution", question))[0])

    assert ("total: 11" in texts[0], "total: 22" in texts[1]) == (True, True)
    assert gateway.asked_with == ["tok-ada", "tok-bob"]
    assert [text for text in gateway.headers if provider.issuer in text] == []


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("subjects = 5", r"has \[subjects"),
        ("[other]", r"has \[subjects"),
        ("= 5", "cannot be read: not TOML"),
        ('[subjects.a]\ntoken = "tok-secret-1"', "subject 1: subject: Field required; an unknown"),
        ('[subjects.a]\ntoken_file = "tok-secret-1"', "subject 1: subject: Field required; an"),
        ("[subjects.a]\nsubject = 5", "subject 1: subject: Input should be a valid string"),
        ('[subjects.a]\nsubject = "x"\ntenant_admin = 1', "tenant_admin: Input should be a valid"),
    ],
)
def test_a_wrong_file_of_subjects_is_explained_without_its_values(
    tmp_path: Path, text: str, error: str
) -> None:
    file = tmp_path / "subjects.toml"
    file.write_text(text, "utf-8")
    read = Settings(
        backend="/data",
        oauth_issuer="https://idp.example.com",
        oauth_audience=AUDIENCE,
        oauth_subjects=file,
    )
    with pytest.raises(SettingsError, match=error) as caught:
        open_callers(read)

    assert "tok-secret-1" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[subjects.a]", "give token_file or token_env, one of them"),
        ('[subjects.a]\ntoken_file = "x"\ntoken_env = "Y"', "give token_file or token_env"),
        ('[subjects.a]\ntoken_file = "nowhere"', "its token_file cannot be read"),
        ('[subjects.a]\ntoken_env = "NOT_SET_ANYWHERE"', "there is no token"),
        ('[subjects.a]\nsubject = "x"', "an unknown key, or one for another kind of backend"),
    ],
)
def test_over_a_gateway_each_subject_needs_a_token(tmp_path: Path, text: str, error: str) -> None:
    file = tmp_path / "subjects.toml"
    file.write_text(text, "utf-8")
    read = Settings(
        backend="https://gateway.example.com",
        oauth_issuer="https://idp.example.com",
        oauth_audience=AUDIENCE,
        oauth_subjects=file,
    )
    with pytest.raises(SettingsError, match=error):
        open_callers(read)


def test_the_metadata_of_an_issuer_with_a_path_is_looked_for_in_all_three_places() -> None:
    assert metadata_addresses("https://idp.example.com/tenant/") == (
        "https://idp.example.com/.well-known/oauth-authorization-server/tenant",
        "https://idp.example.com/.well-known/openid-configuration/tenant",
        "https://idp.example.com/tenant/.well-known/openid-configuration",
    )
