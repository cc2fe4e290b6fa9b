"""A token that none can be: what is wrong with it is said, in the words that fit."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

import pytest

from gateway_metrics_mcp.auth.factory import build_policy
from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.settings import Settings

Serve = Callable[..., AbstractAsyncContextManager[Any]]

LONG: Final = "a" * 16_385
TOO_LONG: Final = "is longer than any token (16384 characters): send the token alone"
STRANGE: Final = (
    "contains a character not allowed in tokens: send the token alone, without `Bearer` or quotes"
)


@pytest.mark.parametrize(("token", "said"), [(LONG, TOO_LONG), ("two words", STRANGE)])
async def test_a_gateway_token_that_is_none_is_told_why_and_by_its_header(
    gateway_url: str, serve_callers: Serve, token: str, said: str
) -> None:
    given = {"backend": gateway_url, "accept_gateway_bearer": True}
    async with serve_callers("http", "legacy", **given) as served:
        own = await served.post(x_tfy_api_key=token)
        bearer = await served.post(authorization=f"Bearer {token}")
        longest = await served.post(x_tfy_api_key="a" * 16_384)

    assert (own.status_code, bearer.status_code, longest.status_code) == (401, 401, 200)
    assert own.json()["error_description"] == f"the token in X-TFY-API-Key {said}"
    assert bearer.json()["error_description"] == f"the token in Authorization {said}"


async def test_a_token_too_long_for_an_identity_provider_is_told_so(
    owned: Path, serve_callers: Serve, tmp_path: Path
) -> None:
    subjects = tmp_path / "subjects.toml"
    subjects.write_text('[subjects."a"]\nsubject = "ada@example.com"\n')
    given = {
        "backend": str(owned),
        "oauth_issuer": "http://127.0.0.1:1",
        "oauth_audience": "https://metrics.example.com/mcp",
        "oauth_subjects": subjects,
    }
    async with serve_callers("http", "legacy", **given) as served:
        answer = await served.post(authorization=f"Bearer {LONG}")

    assert answer.status_code == 401
    assert answer.json() == {
        "error": "invalid_token",
        "error_description": f"the token in Authorization {TOO_LONG}",
    }


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("", "there is no token"),
        (LONG, "its token is longer than any token"),
        ("two words", "its token contains a character not allowed in tokens"),
    ],
)
def test_a_token_that_the_operator_holds_is_told_likewise(
    tmp_path: Path, token: str, said: str
) -> None:
    (tmp_path / "token").write_text(token)
    subjects = tmp_path / "subjects.toml"
    subjects.write_text('[subjects."a"]\ntoken_file = "token"\n')
    with pytest.raises(SettingsError, match=rf", subject 1: {said}"):
        build_policy(
            Settings(
                backend="https://gateway.example.com",
                oauth_issuer="https://login.example.com",
                oauth_audience="https://metrics.example.com/mcp",
                oauth_subjects=subjects,
            )
        )
