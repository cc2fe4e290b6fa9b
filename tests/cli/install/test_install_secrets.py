"""`install`: where the token and the passwords go, and where never."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from gateway_metrics_mcp.cli.install.jsonc import Text

CLIENTS: Final = ("claude-desktop", "claude-code", "cursor", "vscode")
TOKEN: Final = "tok-planted-2"  # noqa: S105  # planted: nothing may show it
HOST: Final = "https://tenant.example.com"
ARGS: Final = ["--backend", HOST]

Existing = Callable[[str], tuple[str, str]]


def servers(client: str) -> str:
    return "servers" if client == "vscode" else "mcpServers"


def entry_of(home: Any, client: str, name: str = "gateway-metrics") -> Any:
    text = home.file(client).read_bytes().decode().removeprefix("\ufeff")
    return Text(text, is_lenient=True).root.value[servers(client)][name]


@pytest.mark.parametrize(
    ("client", "reference"),
    [
        ("claude-code", "${TFY_API_KEY}"),
        ("cursor", "${env:TFY_API_KEY}"),
        ("vscode", "${input:gateway-metrics-secret}"),
    ],
)
def test_the_token_is_a_reference(client: str, reference: str, home: Any) -> None:
    home.environ |= {"TFY_HOST": HOST, "TFY_API_KEY": TOKEN}

    code, out, err = home.install(client)

    assert code == 0
    assert entry_of(home, client)["args"] == ARGS
    assert entry_of(home, client)["env"] == {"TFY_API_KEY": reference}
    assert TOKEN not in home.file(client).read_text() + out + err


def test_vs_code_asks_for_the_token_as_a_password(home: Any) -> None:
    _, _, err = home.install("vscode", "--backend", HOST)

    assert home.read("vscode")["inputs"] == [
        {
            "type": "promptString",
            "id": "gateway-metrics-secret",
            "description": "The gateway token",
            "password": True,
        }
    ]
    assert "VS Code asks for the gateway token" in err


def test_claude_desktop_keeps_no_secret_unless_said(home: Any) -> None:
    home.environ["TFY_API_KEY"] = TOKEN

    code, out, err = home.install("claude-desktop", "--backend", HOST)

    assert (code, out) == (1, "")
    assert "--token-file FILE" in err
    assert "--write-token" in err
    assert not home.file("claude-desktop").exists()


@pytest.mark.parametrize("client", CLIENTS)
def test_a_token_file_is_named_by_its_full_path(
    client: str, home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home.path / "token").write_text(TOKEN)
    monkeypatch.chdir(home.path)

    code, out, err = home.install(client, "--backend", HOST, "--token-file", "token")

    assert code == 0
    env = {"GATEWAY_METRICS_TOKEN_FILE": str(home.path / "token")}
    assert entry_of(home, client)["env"] == env
    assert "inputs" not in home.read(client)
    assert TOKEN not in home.file(client).read_text() + out + err


@pytest.mark.parametrize("client", CLIENTS)
def test_the_token_itself_is_written_when_said_for_its_owner_alone(
    client: str, home: Any, existing: Existing
) -> None:
    path = home.write(client, existing(client)[0])
    path.chmod(0o644)
    home.environ["TFY_API_KEY"] = TOKEN

    code, out, err = home.install(client, "--backend", HOST, "--write-token")

    assert code == 0
    assert entry_of(home, client)["env"] == {"TFY_API_KEY": TOKEN}
    assert path.stat().st_mode & 0o777 == 0o600
    assert "contains the secret itself" in err
    assert TOKEN not in out + err


def test_without_a_token_there_is_none_to_write(home: Any) -> None:
    code, _, err = home.install("cursor", "--backend", HOST, "--write-token")

    assert code == 1
    assert "TFY_API_KEY, which is not set" in err


def test_a_written_token_gives_way_to_its_file_and_is_named_in_the_backup(home: Any) -> None:
    home.environ["TFY_API_KEY"] = TOKEN
    home.install("claude-desktop", "--backend", HOST, "--write-token")
    (home.path / "token").write_text(TOKEN)

    _, _, err = home.install(
        "claude-desktop", "--backend", HOST, "--token-file", str(home.path / "token")
    )

    assert [*entry_of(home, "claude-desktop")["env"]] == ["GATEWAY_METRICS_TOKEN_FILE"]
    assert "contains the secret that was there" in err
    backup = home.file("claude-desktop").with_name("claude_desktop_config.json.bak")
    assert backup.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "backend", [f"https://user:{TOKEN}@tenant.example.com", f"clickhouse://ada:{TOKEN}@host/db"]
)
def test_an_address_with_a_password_is_refused_and_not_repeated(backend: str, home: Any) -> None:
    code, out, err = home.install("cursor", "--backend", backend)

    assert code == 1
    assert TOKEN not in out + err
    assert not home.file("cursor").exists()


def test_clickhouse_brings_its_extra_and_its_password_file(home: Any) -> None:
    (home.path / "password").write_text("planted")
    backend = "clickhouse://ada@localhost:8123/metrics"

    home.install(
        "cursor", "--uvx", "--backend", backend, "--password-file", str(home.path / "password")
    )

    assert entry_of(home, "cursor") == {
        "command": "uvx",
        "args": [
            *("--from", "gateway-metrics-mcp[clickhouse]", "gateway-metrics-mcp"),
            *("--backend", backend),
        ],
        "env": {"GATEWAY_METRICS_CLICKHOUSE_PASSWORD_FILE": str(home.path / "password")},
    }


@pytest.mark.parametrize("flags", [("--backend", "demo:"), ("--backend", HOST), ("--remove",)])
def test_inputs_of_one_id_are_settled_in_one_run(flags: tuple[str, ...], home: Any) -> None:
    ours = {"type": "promptString", "id": "gateway-metrics-secret"}
    inputs = [ours, {"id": "gh"}, ours, ours]
    there = {"gateway-metrics": {"command": "gateway-metrics-mcp", "args": ["--backend", "demo:"]}}
    home.write("vscode", json.dumps({"inputs": inputs, "servers": there}))
    home.install("vscode", *flags)
    text = home.file("vscode").read_text()

    _, _, err = home.install("vscode", *flags)

    assert "nothing to change" in err
    assert home.file("vscode").read_text() == text
    if HOST not in flags:
        assert home.read("vscode")["inputs"] == [{"id": "gh"}]


def entry_of_the_link(home: Any) -> None:
    """What README's link for VS Code writes: it asks for the address and for the token."""
    inputs = [
        {"type": "promptString", "id": f"gateway-metrics-{part}"} for part in ("host", "secret")
    ]
    env = {
        "TFY_HOST": "${input:gateway-metrics-host}",
        "TFY_API_KEY": "${input:gateway-metrics-secret}",
    }
    entry = {"type": "stdio", "command": "uvx", "args": ["gateway-metrics-mcp"], "env": env}
    home.write("vscode", json.dumps({"inputs": inputs, "servers": {"gateway-metrics": entry}}))


@pytest.mark.parametrize(
    ("flags", "left"),
    [
        (("--remove",), []),
        (("--backend", "demo:"), []),
        (("--backend", HOST), ["gateway-metrics-secret"]),
    ],
)
def test_an_input_of_the_readmes_link_goes_with_what_asked_for_it(
    flags: tuple[str, ...], left: list[str], home: Any
) -> None:
    entry_of_the_link(home)

    code, out, err = home.install("vscode", *flags)

    assert code == 0, out + err
    assert [given["id"] for given in home.read("vscode").get("inputs", [])] == left


def test_an_input_of_that_name_that_no_entry_asked_for_is_the_users(home: Any) -> None:
    mine = {"type": "promptString", "id": "gateway-metrics-host"}
    home.write("vscode", json.dumps({"inputs": [mine]}))

    home.install("vscode", "--backend", "demo:")
    home.install("vscode", "--remove")

    assert home.read("vscode")["inputs"] == [mine]
