"""OAuth resource server: a provider on loopback signs tokens, whose subjects have rights."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from mcp_types import CallToolResult
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway_metrics_mcp.auth.factory import build_policy
from gateway_metrics_mcp.auth.oauth import Keys
from gateway_metrics_mcp.errors import SettingsError, UnavailableError
from gateway_metrics_mcp.http.api import MetricsApi, build_api_app
from gateway_metrics_mcp.query.vocabulary import API_PATH as PATH
from gateway_metrics_mcp.settings import Settings

Provider = Any
Serve = Callable[..., AbstractAsyncContextManager[Any]]
TextOf = Callable[[CallToolResult], tuple[str, bool]]
Way = tuple[str, str]
Listen = Callable[[Starlette], AbstractAsyncContextManager[int]]

AUDIENCE: Final = "https://metrics.example.com/mcp"
METADATA: Final = "https://metrics.example.com/.well-known/oauth-protected-resource/mcp"
MARCH: Final = {"startTs": "2025-03-01", "endTs": "2025-03-08", "groupBy": ["modelName"]}


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


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": ["https://other.example.com", AUDIENCE]},
        {"scope": None, "scp": ["metrics:read"]},
        {"scope": None, "scp": "metrics:read"},
        {"nbf": 1_600_000_000, "azp": "client-1"},
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
        build_policy(read)

    assert "tok-secret-1" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[subjects.a]", "give either token_file or token_env"),
        ('[subjects.a]\ntoken_file = "x"\ntoken_env = "Y"', "give either token_file or token_env"),
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
        build_policy(read)


async def test_the_metadata_of_an_issuer_with_a_path_is_looked_for_in_all_three_places(
    listen: Listen,
) -> None:
    asked = []

    async def refuse(request: Request) -> Response:
        asked.append(request.url.path)
        return Response(status_code=404)

    async with listen(Starlette(routes=[Route("/{path:path}", refuse)])) as port:
        with pytest.raises(UnavailableError, match="keys are unavailable"):
            await Keys(f"http://127.0.0.1:{port}/tenant/").find("r1", "RS256")

    assert asked == [
        "/.well-known/oauth-authorization-server/tenant",
        "/.well-known/openid-configuration/tenant",
        "/tenant/.well-known/openid-configuration",
    ]


async def test_the_api_takes_the_providers_tokens_too(
    provider: Provider, wanted: dict[str, Any], listen: Listen
) -> None:
    settings = Settings(**wanted)
    body = {
        "startTs": "2025-03-01T00:00:00Z",
        "endTs": "2025-03-08T00:00:00Z",
        "datasource": "modelMetrics",
        "type": "distribution",
    }
    tokens = [provider.sign(sub=subject) for subject in ("00u-ada", "00u-bob", "00u-eve")]
    async with (
        listen(build_api_app(MetricsApi(settings), settings)) as port,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        answers = [
            await client.post(PATH, json=body, headers={"authorization": f"Bearer {token}"})
            for token in [*tokens, "abc"]
        ]

    assert [answer.status_code for answer in answers] == [200, 200, 403, 401]
    assert [answer.json()["data"]["dataPoints"] for answer in answers[:2]] == [
        [{"total": 3}],
        [{"total": 6}],
    ]
    assert answers[2].json()["message"].startswith("the token is valid, but its subject has no")
