"""`install`: each client's file in its place and form, and how it is asked for."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from gateway_metrics_mcp.cli.install.edit import ConfigFile
from gateway_metrics_mcp.cli.install.jsonc import Text
from gateway_metrics_mcp.errors import SettingsError

CLIENTS: Final = ("claude-desktop", "claude-code", "cursor", "vscode")
PLATFORMS: Final = ("linux", "darwin", "win32")
TOKEN: Final = "tok-planted-2"  # noqa: S105  # planted: nothing may show it
HOST: Final = "https://tenant.example.com"
COMMAND: Final = str(Path(sys.executable).parent / "gateway-metrics-mcp")
ARGS: Final = ["--backend", HOST]

Existing = Callable[[str], tuple[str, str]]
HomeOn = Callable[[str], Any]


def servers(client: str) -> str:
    return "servers" if client == "vscode" else "mcpServers"


def typed(client: str) -> dict[str, str]:
    return {"type": "stdio"} if client in ("claude-code", "vscode") else {}


def entry_of(home: Any, client: str, name: str = "gateway-metrics") -> Any:
    text = home.file(client).read_bytes().decode().removeprefix("\ufeff")
    return Text(text, is_lenient=True).root.value[servers(client)][name]


# --- places and forms ---


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("client", CLIENTS)
def test_an_empty_home_gets_the_file_in_its_place(
    client: str, platform: str, home_on: HomeOn
) -> None:
    home = home_on(platform)

    code, out, err = home.install(client, "--backend", "demo:")

    assert (code, out) == (0, "")
    assert str(home.file(client)) in err
    assert home.read(client) == {
        servers(client): {
            "gateway-metrics": {
                **typed(client),
                "command": COMMAND,
                "args": ["--backend", "demo:"],
            }
        }
    }
    assert home.names(client) == [home.file(client).name]


@pytest.mark.parametrize(
    ("client", "platform", "variable", "place"),
    [
        ("claude-desktop", "linux", "XDG_CONFIG_HOME", "Claude/claude_desktop_config.json"),
        ("vscode", "linux", "XDG_CONFIG_HOME", "Code/User/mcp.json"),
        ("claude-desktop", "win32", "APPDATA", "Claude/claude_desktop_config.json"),
        ("vscode", "win32", "APPDATA", "Code/User/mcp.json"),
        ("claude-code", "linux", "CLAUDE_CONFIG_DIR", ".claude.json"),
        ("claude-code", "win32", "CLAUDE_CONFIG_DIR", ".claude.json"),
    ],
)
def test_variables_of_the_system_move_the_file(
    client: str, platform: str, variable: str, place: str, home_on: HomeOn, tmp_path: Path
) -> None:
    home = home_on(platform)
    home.environ[variable] = str(tmp_path / "elsewhere")

    home.install(client, "--backend", "demo:")

    assert (tmp_path / "elsewhere" / place).is_file()
    assert not home.file(client).exists()


@pytest.mark.parametrize(
    "place", ["Packages/Claude_pzs8/LocalCache/Roaming/Claude", "Claude-Data/claude_pzs8"]
)
def test_the_stores_claude_desktop_is_written_where_it_reads(place: str, home_on: HomeOn) -> None:
    home = home_on("win32")
    directory = home.path / "AppData/Local" / place
    directory.mkdir(parents=True)

    home.install("claude-desktop", "--backend", "demo:")

    assert (directory / "claude_desktop_config.json").is_file()
    assert not home.file("claude-desktop").exists()


def test_another_file_and_another_name_can_be_given(home: Any) -> None:
    path = home.path / "project/.vscode/mcp.json"

    home.install("vscode", "--backend", "demo:", "--name", "spend", "--file", str(path))

    assert [*json.loads(path.read_text())["servers"]] == ["spend"]


def test_print_writes_the_snippet_alone_to_its_output(home: Any) -> None:
    code, out, _ = home.install("print", "--backend", HOST, "--budget", "2000")

    entry = {
        "command": COMMAND,
        "args": [*ARGS, "--budget", "2000"],
        "env": {"TFY_API_KEY": "${TFY_API_KEY}"},
    }
    assert (code, json.loads(out)) == (0, {"mcpServers": {"gateway-metrics": entry}})
    assert [*home.path.iterdir()] == []


# --- the dry run ---


@pytest.mark.parametrize("client", CLIENTS)
def test_a_dry_run_shows_the_change_without_secrets_and_writes_nothing(
    client: str, home: Any, existing: Existing
) -> None:
    path = home.write(client, existing(client)[0])
    home.environ["TFY_API_KEY"] = TOKEN

    code, out, err = home.install(
        client, "--backend", HOST, "--write-token", "--env", f"P=http://u:{TOKEN}@p", "--dry-run"
    )

    assert (code, path.read_bytes()) == (0, existing(client)[0].encode())
    assert home.names(client) == [path.name]
    assert re.search(r'^\+\s+"gateway-metrics": \{$', out, re.MULTILINE)
    assert f'"{HOST}"' in out
    assert '"TFY_API_KEY": "…"' in out
    for secret in (TOKEN, "planted-1"):
        assert secret not in out + err


def test_a_dry_run_in_an_empty_home_makes_nothing(home: Any) -> None:
    code, out, _ = home.install("vscode", "--backend", HOST, "--dry-run")

    assert code == 0
    assert {line[0] for line in out.splitlines()[2:]} == {"@", "+"}
    assert '+        "TFY_API_KEY": "${input:gateway-metrics-secret}"' in out
    assert [*home.path.iterdir()] == []


def test_a_dry_run_of_removing_shows_no_secret_either(home: Any) -> None:
    home.environ["TFY_API_KEY"] = TOKEN
    home.install("cursor", "--backend", HOST, "--write-token")
    before = home.file("cursor").read_text()

    code, out, err = home.install("cursor", "--remove", "--dry-run")

    assert (code, home.file("cursor").read_text()) == (0, before)
    assert '-        "TFY_API_KEY": "…"' in out
    assert TOKEN not in out + err


def test_a_file_that_the_client_wrote_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "mcp.json"
    path.write_text("{}")
    found = ConfigFile.read(path)
    path.write_text('{"theirs": 1}')

    with pytest.raises(SettingsError, match="was changed meanwhile"):
        found.replace('{"ours": 1}', is_private=False)

    assert [each.name for each in tmp_path.iterdir()] == ["mcp.json"]
    assert path.read_text() == '{"theirs": 1}'


# --- usage ---


@pytest.mark.parametrize(
    ("flags", "code", "error"),
    [
        ((), 1, "no backend is named: give --backend"),
        (("--backend", "demo:", "--budgt", "1"), 2, "unknown argument --budgt. Did you mean --bu"),
        (("--backend", "demo:", "--name", "a b"), 2, "--name takes letters"),
        (("--backend", "demo:", "--budget", "1"), 1, "budget: "),
        (("--backend", "demo:", "--env", f"TFY_API_KEY={TOKEN}"), 1, "--env takes NAME=VALUE"),
        (("--backend", "http://far.example.com"), 1, "begins with http://"),
        (("--backend", HOST, "--token-file", "/nowhere"), 1, "/nowhere cannot be read"),
        (("--backend", "/nowhere"), 1, "the data directory /nowhere does not exist"),
        (("--backend", "your-org.example.com"), 1, "host, give https://your-org.example.com"),
    ],
)
def test_what_does_not_fit_is_explained(
    flags: tuple[str, ...], code: int, error: str, home: Any
) -> None:
    found, out, err = home.install("cursor", *flags)

    assert (found, out) == (code, "")
    assert error in err
    assert TOKEN not in err
    assert not home.file("cursor").exists()


@pytest.mark.parametrize("flag", ["--write-token", "--remove"])
def test_print_shows_no_secret_and_removes_nothing(flag: str, home: Any) -> None:
    home.environ["TFY_API_KEY"] = TOKEN

    code, out, err = home.install("print", "--backend", HOST, flag)

    assert (code, out) == (2, "")
    assert TOKEN not in err


def test_settings_go_into_the_entry_with_full_paths(
    home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home.path / "data").mkdir()
    (home.path / "fields.json").write_text("{}")
    monkeypatch.chdir(home.path)

    home.install(
        "cursor",
        *("--backend", "data", "--catalog", "fields.json", "--all-row", "false", "--hide-emails"),
        *("--allowed-host", "a.example.com", "--allowed-host", "b.example.com"),
    )

    assert entry_of(home, "cursor")["args"] == [
        *("--backend", str(home.path / "data")),
        *("--catalog", str(home.path / "fields.json")),
        *("--hide-emails", "true"),
        *("--all-row", "false"),
        *("--allowed-host", "a.example.com", "--allowed-host", "b.example.com"),
    ]
