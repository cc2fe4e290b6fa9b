"""What the set-up of rights says at the start, and what it refuses."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import httpx2
import pytest

from gateway_metrics_mcp.auth.factory import build_policy
from gateway_metrics_mcp.auth.tokens import make_token
from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.settings import Settings

OAUTH: Final = {
    "oauth_issuer": "https://idp.example.com",
    "oauth_audience": "https://metrics.example.com/mcp",
    "oauth_subjects": "/nowhere/subjects.toml",
}
REMOTE: Final = "https://gateway.example.com"
FILE: Final = "/nowhere/tokens.toml"


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"backend": REMOTE, "shared_token": True}, "--shared-token and --auth-token-file go tog"),
        ({"backend": REMOTE, "auth_token_file": FILE}, "--shared-token and --auth-token-file go "),
        (
            {"backend": REMOTE, "shared_token": True, "auth_token_file": FILE},
            "--shared-token needs a gateway token to share: set TFY_API_KEY",
        ),
        ({"backend": REMOTE, "tokens": FILE}, "--tokens is for an engine"),
        ({"backend": "demo:", "accept_gateway_bearer": True}, "-bearer is for a remote gateway"),
        (
            {"backend": "demo:", "shared_token": True, "auth_token_file": FILE},
            "--shared-token is for a remote gateway",
        ),
        ({"backend": REMOTE, "oauth_scope": ("a",)}, "OAuth needs --oauth-issuer and --oauth-aud"),
        (
            {"backend": REMOTE, "oauth_issuer": "https://idp.example.com"},
            "OAuth needs --oauth-audience and --oauth-subjects as well",
        ),
        (
            {"backend": REMOTE, **OAUTH, "accept_gateway_bearer": True},
            (
                "--oauth-issuer and --accept-gateway-bearer are alternative ways to"
                " authenticate callers: choose one"
            ),
        ),
        (
            {"backend": "demo:", **OAUTH, "tokens": FILE},
            ("--oauth-issuer and --tokens are alternative ways"),
        ),
        (
            {"backend": "demo:", **OAUTH, "oauth_issuer": "http://idp.example.com"},
            "--oauth-issuer must be an https:// address",
        ),
        (
            {"backend": "demo:", **OAUTH, "oauth_audience": "api://metrics"},
            "--oauth-audience must be an https:// address",
        ),
        ({"backend": "demo:", **OAUTH}, "the subjects file /nowhere/subjects.toml cannot be read"),
        ({"backend": "demo:", "tokens": FILE}, "the tokens file /nowhere/tokens.toml cannot be "),
    ],
    ids=range(14),
)
def test_settings_that_contradict_each_other_are_refused(
    settings: dict[str, Any], error: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        build_policy(Settings(transport="http", **settings))

    assert error in str(caught.value)


class Running:
    """A server as a process, what it says, and where it listens."""

    def __init__(self, process: anyio.abc.Process) -> None:
        self.process = process
        self.said = ""

    @property
    def url(self) -> str:
        return self.said.rpartition("listening at ")[2].split()[0]

    async def wait_for(self, text: str) -> None:
        assert self.process.stderr is not None
        while text not in self.said:
            self.said += (await self.process.stderr.receive()).decode()

    async def ping(self, **headers: str) -> int:
        """The status of a ping."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent |= {"accept": "application/json, text/event-stream"}
        body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        async with httpx2.AsyncClient(trust_env=False, timeout=60) as client:
            return (await client.post(self.url, json=body, headers=sent)).status_code


Run = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture
def run(environment: dict[str, str], forked: tuple[str, ...]) -> Run:
    """The server over HTTP with these flags and variables."""

    @asynccontextmanager
    async def run(*flags: str, **variables: str) -> AsyncIterator[Running]:
        command = [*forked, "--transport", "http", "--port", "0", *flags]
        with anyio.fail_after(60):
            async with await anyio.open_process(command, env={**environment, **variables}) as own:
                running = Running(own)
                try:
                    await running.wait_for("/mcp\n")
                    yield running
                finally:
                    own.terminate()
                await own.wait()

    return run


async def test_an_open_engine_says_so(run: Run, owned: Path) -> None:
    async with run("--backend", str(owned)) as running:
        status = await running.ping()

    assert status == 200
    assert running.said.startswith(
        "gateway-metrics-mcp: no --tokens: every caller is a tenant admin\n"
    )


async def test_a_gateway_is_asked_with_callers_tokens_whatever_token_the_server_has(
    run: Run,
) -> None:
    async with run("--backend", "http://127.0.0.1:1", TFY_API_KEY="tok-own") as running:
        statuses = [await running.ping(), await running.ping(x_tfy_api_key="tok-ada")]

    assert statuses == [401, 200]
    assert running.said.startswith("gateway-metrics-mcp: listening at ")


async def test_a_shared_token_says_what_that_means(run: Run, tmp_path: Path) -> None:
    token, entry = make_token("ada", "user", [], is_tenant_admin=False, expires=None)
    file = tmp_path / "callers.toml"
    file.write_text(entry.to_toml(), "utf-8")
    flags = ("--shared-token", "--auth-token-file", str(file), "--backend", "http://127.0.0.1:1")
    async with run(*flags, TFY_API_KEY="tok-own") as running:
        statuses = [await running.ping(), await running.ping(authorization=f"Bearer {token}")]

    assert statuses == [401, 200]
    assert running.said.startswith(
        "gateway-metrics-mcp: --shared-token: everyone in --auth-token-file asks with this"
        " server's gateway token and sees all that it may see\n"
    )
    file.chmod(0o644)
    async with run(*flags, TFY_API_KEY="tok-own") as running:
        await running.ping()

    assert running.said.count(f"{file} can be read by every user of this machine") == 1


async def test_the_tokens_file_is_read_again_on_a_hangup(
    run: Run, owned: Path, tmp_path: Path
) -> None:
    (first, old), (second, new) = (
        make_token(name, "user", [], is_tenant_admin=False, expires=None) for name in ("a", "b")
    )
    file = tmp_path / "tokens.toml"
    file.write_text(old.to_toml(), "utf-8")
    async with run("--backend", str(owned), "--tokens", str(file)) as running:
        before = [await running.ping(authorization=f"Bearer {t}") for t in (first, second)]
        file.write_text(new.to_toml(), "utf-8")
        running.process.send_signal(signal.SIGHUP)
        await running.wait_for("reloaded ")
        after = [await running.ping(authorization=f"Bearer {t}") for t in (first, second)]
        file.write_text("broken", "utf-8")
        running.process.send_signal(signal.SIGHUP)
        await running.wait_for("the tokens stay unchanged")
        still = await running.ping(authorization=f"Bearer {second}")

    assert (before, after, still) == ([200, 401], [401, 200], 200)
