"""`install` over an entry of ours: the settings that are not said anew stay."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_metrics_mcp.cli.install.command import main
from gateway_metrics_mcp.settings import flag_of

TOKEN: Final = "tok-planted-2"  # noqa: S105  # planted: nothing may show it
HOST: Final = "https://tenant.example.com"
OTHER_HOST: Final = "https://other.example.com"
COMMAND: Final = str(Path(sys.executable).parent / "gateway-metrics-mcp")
FILE: Final = "GATEWAY_METRICS_TOKEN_FILE"
REFERENCE: Final = {"TFY_API_KEY": "${env:TFY_API_KEY}"}
CLIENTS: Final = ("claude-desktop", "claude-code", "cursor", "vscode")


def servers(client: str) -> str:
    return "servers" if client == "vscode" else "mcpServers"


def write(home: Any, entry: Any, client: str = "cursor") -> None:
    home.write(client, json.dumps({servers(client): {"gateway-metrics": entry}}, indent=2))


def entry_of(home: Any, client: str = "cursor") -> Any:
    return home.read(client)[servers(client)]["gateway-metrics"]


@pytest.mark.parametrize("client", CLIENTS)
def test_an_update_keeps_the_settings_and_the_token_that_are_not_said_anew(
    client: str, home: Any
) -> None:
    old = {
        "command": COMMAND,
        "args": ["--backend", HOST, "--timezone", "Europe/Berlin", "--hide-emails"],
        "env": {FILE: "/secrets/token", "GATEWAY_METRICS_HIDE_EMAILS": "true"},
    }
    write(home, old, client)

    code, _, err = home.install(client, "--backend", HOST)

    kept = ["--timezone", "Europe/Berlin", "--hide-emails", "true"]
    assert code == 0
    assert entry_of(home, client)["args"] == ["--backend", HOST, *kept]
    assert entry_of(home, client)["env"] == old["env"]
    assert "inputs" not in home.read(client)
    assert "not kept" not in err

    text = home.file(client).read_bytes()
    _, _, err = home.install(client, "--backend", HOST)

    assert "nothing to change" in err
    assert home.file(client).read_bytes() == text


@pytest.mark.parametrize(
    "started",
    [
        {"command": "/elsewhere/bin/gateway-metrics-mcp", "args": []},
        {"command": "uvx", "args": ["gateway-metrics-mcp@1.2"]},
        {"command": "uvx", "args": ["--from", "gateway-metrics-mcp[clickhouse]"]},
        {"command": "python3", "args": ["-m", "gateway_metrics_mcp", "serve"]},
        {"command": "C:\\x\\gateway-metrics-mcp.exe", "args": []},
    ],
)
def test_settings_are_read_however_the_server_is_started(started: Any, home: Any) -> None:
    flags = ["--backend", "demo:", "--budget=2000", "--all-row", "false", "--config", "/c.toml"]
    write(home, {"command": started["command"], "args": [*started["args"], *flags]})

    _, _, err = home.install("cursor", "--backend", "demo:", "--budget", "3000")

    assert entry_of(home) == {
        "command": COMMAND,
        "args": [
            *("--backend", "demo:", "--budget", "3000"),
            *("--all-row", "false", "--config", "/c.toml"),
        ],
    }
    assert "not kept" not in err


def test_what_is_said_anew_goes_before_flags_variables_and_the_token(home: Any) -> None:
    write(
        home,
        {
            "command": COMMAND,
            "args": ["--backend", "demo:", "--allowed-host", "a.example.com", "--budget", "900"],
            "env": {
                "TFY_HOST": OTHER_HOST,
                FILE: "/secrets/old",
                "TFY_API_KEY": TOKEN,
                "GATEWAY_METRICS_BUDGET": "800",
                "GATEWAY_METRICS_TIMEZONE": "Asia/Tokyo",
            },
        },
    )
    (home.path / "token").write_text(TOKEN)
    (home.path / "c.toml").write_text("timezone = 'Europe/Berlin'\n")

    _, _, err = home.install(
        "cursor",
        *("--backend", HOST, "--budget", "3000", "--config", str(home.path / "c.toml")),
        *("--allowed-host", "b.example.com", "--token-file", str(home.path / "token")),
    )

    assert entry_of(home) == {
        "command": COMMAND,
        "args": [
            *("--backend", HOST, "--budget", "3000", "--allowed-host", "b.example.com"),
            *("--config", str(home.path / "c.toml")),
        ],
        "env": {FILE: str(home.path / "token")},
    }
    assert "not kept" not in err


@pytest.mark.parametrize("flags", [(), ("--dry-run",)])
def test_what_cannot_be_kept_is_named_and_no_value_shown(flags: tuple[str, ...], home: Any) -> None:
    write(
        home,
        {
            "command": COMMAND,
            "args": [
                *("--backend", HOST, "--transport", "http", "--budget", "planted"),
                *("--old-flag", "planted", "--bearer=planted", "--planted!"),
            ],
            "env": {
                "TFY_API_KEY": "planted",
                "TFY_OTHER": "planted",
                "GATEWAY_METRICS_GONE": "planted",
                "GATEWAY_METRICS_CALLS": "planted",
                "MINE": "1",
            },
        },
    )

    code, out, err = home.install("cursor", "--backend", "demo:", *flags)

    said = (
        "--transport, --budget, --old-flag, --bearer, a flag,"
        " TFY_API_KEY, GATEWAY_METRICS_GONE, GATEWAY_METRICS_CALLS\n"
    )
    assert code == 0
    assert f"dropped from the previous entry: {said}" in err
    assert "planted" not in out + err
    if not flags:
        assert entry_of(home) == {
            "command": COMMAND,
            "args": ["--backend", "demo:"],
            "env": {"TFY_OTHER": "planted", "MINE": "1"},
        }


def test_the_command_of_something_else_is_named_and_leaves_nothing(home: Any) -> None:
    words = ["-y", "mcp-remote", "https://far.example.com/planted", "--host", "h.example.com"]
    write(home, {"command": "npx", "args": words, "env": {"A": "1"}})

    _, out, err = home.install("cursor", "--backend", "demo:")

    assert "dropped from the previous entry: command, args\n" in err
    assert "planted" not in out + err
    assert entry_of(home) == {"command": COMMAND, "args": ["--backend", "demo:"], "env": {"A": "1"}}


@pytest.mark.parametrize("flags", [(), ("--dry-run",)])
def test_the_parts_of_a_remote_entry_are_named(flags: tuple[str, ...], home: Any) -> None:
    old = {"type": "http", "url": "https://x/planted", "headers": {"Authorization": "planted"}}
    write(home, old, "claude-code")

    _, out, err = home.install("claude-code", "--backend", "demo:", *flags)

    assert "dropped from the previous entry: url, headers\n" in err
    assert "planted" not in out + err


@pytest.mark.parametrize(
    ("env", "is_private"),
    [
        ({"TFY_API_KEY": TOKEN}, True),
        ({FILE: "/secrets/token"}, False),
        ({"TFY_API_KEY": "${env:TENANT_TOKEN}"}, False),
    ],
)
def test_the_way_of_the_token_stays_and_is_told_at_another_address(
    env: dict[str, str],
    is_private: bool,  # noqa: FBT001 - a case of the table
    home: Any,
) -> None:
    write(home, {"command": COMMAND, "args": ["--backend", HOST], "env": env})
    home.file("cursor").chmod(0o644)

    code, out, err = home.install("cursor", "--backend", OTHER_HOST)

    assert code == 0
    assert entry_of(home)["env"] == env
    assert f"{next(iter(env))} is kept, which was for another backend" in err
    assert ("TENANT_TOKEN is not set here" in err) is ("${env:TENANT_TOKEN}" in env.values())
    assert home.file("cursor").stat().st_mode & 0o777 == (0o600 if is_private else 0o644)
    assert TOKEN not in out + err


def test_a_token_file_given_as_a_flag_stays_as_a_variable(home: Any) -> None:
    args = ["--backend", HOST, "--token-file", "/secrets/token"]
    write(home, {"command": COMMAND, "args": args}, "claude-desktop")

    code, _, err = home.install("claude-desktop", "--backend", HOST)

    assert code == 0
    assert entry_of(home, "claude-desktop")["env"] == {FILE: "/secrets/token"}
    assert "not kept" not in err
    assert "another backend" not in err


def test_an_input_of_the_users_own_stays_the_one_that_is_asked_for(home: Any) -> None:
    env = {"TFY_API_KEY": "${input:mine}"}
    write(home, {"command": COMMAND, "args": ["--backend", HOST], "env": env}, "vscode")

    home.install("vscode", "--backend", HOST)

    assert entry_of(home, "vscode")["env"] == env
    assert "inputs" not in home.read("vscode")


# --- any settings, by flag or by variable ---

VALUES: Final = {
    "timezone": ("Europe/Berlin", "Asia/Tokyo"),
    "budget": ("900", "3000"),
    "hide_emails": ("true", "false"),
    "all_row": ("true", "false"),
    "catalog": ("/a/fields.json", "/b/fields.json"),
    "allowed_host": ("a.example.com", "b.example.com"),
    "log_level": ("INFO", "ERROR"),
}


def chosen() -> st.SearchStrategy[dict[str, str]]:
    return st.fixed_dictionaries({}, optional={n: st.sampled_from(v) for n, v in VALUES.items()})


def words_of(settings: dict[str, str]) -> list[str]:
    return [word for name, value in settings.items() for word in (flag_of(name), value)]


def effective(entry: Any) -> dict[str, str]:
    """What the server makes of an entry: a flag goes before a variable."""
    words = entry["args"][2:]
    flags = dict(zip(words[::2], words[1::2], strict=True))
    env = {n: v for n, v in entry.get("env", {}).items() if n.startswith("GATEWAY_METRICS_")}
    by_variable = {flag_of(n.removeprefix("GATEWAY_METRICS_").lower()): v for n, v in env.items()}
    return {**by_variable, **flags}


@given(flags=chosen(), variables=chosen(), anew=chosen())
def test_the_server_gets_the_old_settings_with_the_new_ones_over_them(
    flags: dict[str, str],
    variables: dict[str, str],
    anew: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("home") / "mcp.json"
    env = {f"GATEWAY_METRICS_{name.upper()}": value for name, value in variables.items()}
    old = {"command": COMMAND, "args": ["--backend", "demo:", *words_of(flags)], "env": env}
    path.write_text(json.dumps({"mcpServers": {"gateway-metrics": old}}))
    command = ["--client", "cursor", "--file", str(path), "--no-try", "--backend", "demo:"]
    expected = {flag_of(n): v for n, v in {**variables, **flags, **anew}.items()}

    for _ in range(2):
        assert main([*command, *words_of(anew)], {"PATH": os.defpath}) == 0
        entry = json.loads(path.read_text())["mcpServers"]["gateway-metrics"]
        assert effective(entry) == expected

    assert main(command, {"PATH": os.defpath}) == 0
    assert json.loads(path.read_text())["mcpServers"]["gateway-metrics"] == entry
