"""The command that makes tokens, and what is served without them."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway_metrics_mcp.auth.policies import OpenPolicy
from gateway_metrics_mcp.auth.tokens import Headers, read_lifetime, read_tokens
from gateway_metrics_mcp.cli.token import main as token_command
from gateway_metrics_mcp.query.model import LOCAL, Caller
from gateway_metrics_mcp.query.vocabulary import API_PATH as PATH

Run = Callable[..., tuple[int, str, str]]
RunApi = Callable[..., AbstractAsyncContextManager[Any]]
July = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("headers", [[], [(b"authorization", b"Bearer anything")]])
async def test_without_a_file_everyone_is_the_local_tenant_admin(headers: Headers) -> None:
    policy = OpenPolicy()
    policy.reload()

    assert await policy.identify(headers) == LOCAL


# --- the command ---


def test_the_command_prints_a_token_once_and_its_entry(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--subject", "ci-bot", "--type", "virtualaccount", "--expires", "90d"]
    arguments += ["--team", "search", "--team", "data", "--tenant-admin"]
    code = token_command(arguments)
    out, err = capsys.readouterr()
    (token,) = re.findall(r"gmm_[\w-]+", err)
    file = tmp_path / "tokens.toml"
    file.write_text(out, "utf-8")
    (entry,) = read_tokens(file).tokens

    assert code == 0
    assert token not in out
    assert entry.sha256 not in err
    assert entry.sha256 == hashlib.sha256(token.encode()).hexdigest()
    assert entry.caller == Caller(
        "ci-bot", "virtualaccount", frozenset({"search", "data"}), is_tenant_admin=True
    )
    assert entry.expires is not None
    assert abs(entry.expires - datetime.now(UTC) - timedelta(days=90)) < timedelta(minutes=1)


def test_entries_are_appended_to_a_file(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    for subject in ("ada@example.com", "bob@example.com"):
        _, out, _ = run("token", "--subject", subject)
        with file.open("a", encoding="utf-8") as stream:
            stream.write(out)

    subjects = [entry.subject for entry in read_tokens(file).tokens]
    assert subjects == ["ada@example.com", "bob@example.com"]


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ([], "the following arguments are required: --subject"),
        (["--subject", ""], "subject: "),
        (["--subject", "x" * 257], "subject: "),
        (["--subject", "a\udcff"], "subject: "),
        (["--subject", "x", "--team", "a\udcff"], "teams.0: "),
        (["--subject", "x", "--team", ""], "teams.0: "),
        (["--subject", "x", "--type", "service"], "argument --type: invalid choice"),
        (["--subject", "x", "--expires", "soon"], "'soon' is not a lifetime: give days or hours"),
        (["--subject", "x", "--expires", "0d"], "'0d' is not a lifetime"),
        (["--subject", "x", "--expires", "-1d"], "expected one argument"),
        (["--subject", "x", "--expires", "²d"], "'²d' is not a lifetime"),
    ],
)
def test_a_wrong_token_command_is_explained(
    capsys: pytest.CaptureFixture[str], arguments: Sequence[str], wrong: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        token_command(arguments)

    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (2, "")
    assert wrong in err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90d", timedelta(days=90)),
        ("1 day", timedelta(days=1)),
        ("12h", timedelta(hours=12)),
        (" 36 Hours ", timedelta(hours=36)),
        ("99999d", timedelta(days=99999)),
    ],
)
def test_a_lifetime_is_days_or_hours(text: str, expected: timedelta) -> None:
    assert read_lifetime(text) == expected


def test_the_command_line_makes_a_token(run: Run) -> None:
    code, out, err = run("token", "--subject", "ada@example.com")

    assert (code, err.count("gmm_"), out.count("gmm_")) == (0, 1, 0)
    (entry,) = tomllib.loads(out)["tokens"]
    assert (entry["subject"], entry["teams"]) == ("ada@example.com", [])


def test_the_help_names_the_command(run: Run) -> None:
    code, out, _ = run("--help")

    assert code == 0
    assert "token: " in out


def test_the_command_stands_before_its_flags(run: Run) -> None:
    code, out, err = run("--config", "x.toml", "token")

    assert (code, out) == (2, "")
    assert "gateway-metrics-mcp: token must come first: it has flags of its own" in err


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", ""])  # noqa: S104 - refused
def test_without_tokens_it_listens_on_loopback_alone(run: Run, directory: Path, host: str) -> None:
    flags = ("--backend", str(directory), "--host", host, "--port", "0")
    code, out, err = run("api", *flags)

    assert (code, out) == (1, "")
    assert err == (
        f"gateway-metrics-mcp: listening on {host} needs --tokens: otherwise anyone could query\n"
    )


@pytest.mark.parametrize(
    ("flags", "wrong"),
    [
        (("--backend", "https://gateway.example.com"), "the API is served from an engine: set "),
        ((), "no backend is set."),
        (("--tokens", "/nowhere.toml"), "the tokens file /nowhere.toml cannot be read"),
    ],
)
def test_what_cannot_be_served_is_explained(run: Run, flags: tuple[str, ...], wrong: str) -> None:
    code, out, err = run("api", "--port", "0", *flags)

    assert (code, out) == (1, "")
    assert wrong in err
    assert "Traceback" not in err


async def test_without_tokens_it_says_that_everyone_is_tenant_admin(
    run_api: RunApi, july: July
) -> None:
    async with run_api() as server, httpx.AsyncClient(timeout=60) as client:
        response = await client.post(server.url + PATH, json=july())

    assert response.json() == {"data": {"dataPoints": [{"total": 5}]}}
    assert "no --tokens: every caller is a tenant admin\n" in server.said


async def test_it_says_nothing_as_it_ends(run_api: RunApi, july: July) -> None:
    async with run_api() as server, httpx.AsyncClient(timeout=60) as client:
        response = await client.post(f"{server.url}{PATH}", json=july())
        response.raise_for_status()
        await server.wait_for(f"{PATH}\n")
        begun = server.said

    assert server.said == begun
