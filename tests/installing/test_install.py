"""`install`: each client's file, in its place, with everything that was there."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.installing.files import ConfigFile
from gateway_metrics_mcp.installing.jsonc import parse

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
    return parse(text, is_lenient=True).root.value[servers(client)][name]


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


# --- secrets ---


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
    assert "holds the secret itself" in err
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
    assert "holds the secret that stood there" in err
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


# --- what is there stays ---


@pytest.mark.parametrize("client", CLIENTS)
def test_everything_in_an_existing_file_stays(client: str, home: Any, existing: Existing) -> None:
    before, key = existing(client)
    path = home.write(client, before)

    home.environ["TFY_API_KEY"] = TOKEN

    code, _, _ = home.install(client, "--backend", HOST, "--write-token")

    after = path.read_bytes().decode()
    values, old = (
        parse(text.removeprefix("\ufeff"), is_lenient=True).root.value for text in (after, before)
    )
    assert code == 0
    entry = values[key].pop("gateway-metrics")
    assert entry["env"] == {"TFY_API_KEY": TOKEN}
    assert values == old
    kept = iter(after.splitlines(keepends=True))
    lines = [re.sub(r",(?=\s|$)", "", line) for line in before.splitlines(keepends=True)]
    for line in lines:  # in their order, but for a comma and an empty object that was opened
        assert line.strip() in ("{}", '"mcpServers": {}') or any(
            re.sub(r",(?=\s|$)", "", candidate) == line for candidate in kept
        )
    assert path.with_name(f"{path.name}.bak").read_bytes() == before.encode()


@pytest.mark.parametrize("client", CLIENTS)
def test_remove_leaves_the_rest_byte_for_byte(client: str, home: Any, existing: Existing) -> None:
    path = home.write(client, existing(client)[0])
    home.environ["TFY_API_KEY"] = TOKEN
    flags = ["--write-token"] if client == "claude-desktop" else []
    home.install(client, "--backend", HOST, *flags)
    assert path.read_bytes() != existing(client)[0].encode()

    code, _, err = home.install(client, "--remove")

    assert (code, path.read_bytes().decode()) == (0, existing(client)[0])
    assert "took gateway-metrics out" in err


@pytest.mark.parametrize("client", CLIENTS)
def test_a_second_run_changes_nothing_and_copies_nothing(
    client: str, home: Any, existing: Existing
) -> None:
    path = home.write(client, existing(client)[0])
    home.environ["TFY_API_KEY"] = TOKEN
    command = ("--backend", HOST, "--write-token")
    home.install(client, *command)
    first = (path.read_bytes(), path.stat().st_mtime_ns, home.names(client))

    code, _, err = home.install(client, *command)

    assert code == 0
    assert "nothing to change" in err
    assert (path.read_bytes(), path.stat().st_mtime_ns, home.names(client)) == first


@pytest.mark.parametrize("client", CLIENTS)
def test_removing_what_is_not_there_changes_nothing(
    client: str, home: Any, existing: Existing
) -> None:
    path = home.write(client, existing(client)[0])

    code, _, err = home.install(client, "--remove")

    assert (code, path.read_bytes()) == (0, existing(client)[0].encode())
    assert "nothing to change" in err
    assert home.names(client) == [path.name]


def test_what_the_user_added_to_the_entry_stays(home: Any) -> None:
    home.install("cursor", "--backend", "demo:", "--env", "SSL_CERT_FILE=/ca.pem")
    path = home.file("cursor")
    changed = path.read_text().replace(
        '"command"', '// mine\n      "disabled": true,\n      "command"'
    )
    path.write_text(changed.replace('"SSL', '"EXTRA": "1",\n        "SSL'))

    home.install("cursor", "--backend", HOST)

    text = path.read_text()
    assert "// mine" in text
    assert entry_of(home, "cursor") == {
        "disabled": True,
        "command": COMMAND,
        "args": ARGS,
        "env": {"EXTRA": "1", "SSL_CERT_FILE": "/ca.pem", "TFY_API_KEY": "${env:TFY_API_KEY}"},
    }


@pytest.mark.parametrize("client", CLIENTS)
def test_an_entry_of_a_remote_server_keeps_nothing_of_the_way_there(client: str, home: Any) -> None:
    gone = {
        "type": "http",
        "url": f"https://far.example.com/{TOKEN}",
        "serverUrl": TOKEN,
        "httpUrl": TOKEN,
        "headers": {"Authorization": TOKEN},
        "headersHelper": TOKEN,
        "auth": {"CLIENT_SECRET": TOKEN},
        "oauth": {"clientId": TOKEN},
        "authProviderType": "x",
        "transport": "sse",
        "transportType": "sse",
    }
    old = {servers(client): {"gateway-metrics": {**gone, "disabled": True}}}
    home.write(client, json.dumps(old, indent=2))

    code, _, err = home.install(client, "--backend", "demo:")

    assert code == 0
    assert entry_of(home, client) == {
        **typed(client),
        "command": COMMAND,
        "args": ["--backend", "demo:"],
        "disabled": True,
    }
    assert TOKEN not in home.file(client).read_text()
    assert "holds the secret that stood there" in err


@pytest.mark.parametrize(
    ("old", "is_said"),
    [
        ({"command": "npx", "args": ["mcp-remote", "x", "--header", "K: planted"]}, True),
        ({"command": "x", "args": ["--backend", "clickhouse://u:planted@h/db"]}, True),
        ({"command": "x --token planted", "args": []}, True),
        ({"command": "x", "args": "planted"}, True),
        ({"command": "x", "env": {"TFY_HOST": "https://planted@h"}}, True),
        ({"command": "x", "env": {"TFY_API_KEY": "${TFY_API_KEY:-planted}"}}, True),
        ({"url": "https://far.example.com/planted"}, True),
        ("planted", True),
        ({"command": "C:\\Program Files\\x", "args": ["--backend", "demo:"], "env": {}}, False),
        ({"command": "uvx", "args": ["gateway-metrics-mcp", "--budget", "5"]}, False),
        ({"command": "x", "env": {"TFY_API_KEY": "${env:TFY_API_KEY}"}}, False),
    ],
)
@pytest.mark.parametrize("flags", [("--backend", HOST), ("--remove",)])
def test_a_backup_that_may_hold_a_secret_is_named_so(
    flags: tuple[str, ...],
    old: Any,
    is_said: bool,  # noqa: FBT001 - a case of the table
    home: Any,
) -> None:
    home.write("cursor", json.dumps({"mcpServers": {"gateway-metrics": old}}))

    code, _, err = home.install("cursor", *flags)

    assert code == 0
    assert "the file as it was is in " in err
    assert ("holds the secret that stood there" in err) is is_said


def test_an_input_that_something_else_refers_to_stays(home: Any) -> None:
    home.install("vscode", "--backend", HOST)
    path = home.file("vscode")
    other = (
        '"servers": {"other": {"command": "x", "env": {"K": "${input:gateway-metrics-secret}"}},'
    )
    path.write_text(path.read_text().replace('"servers": {', other))

    home.install("vscode", "--remove")

    assert [*home.read("vscode")["servers"]] == ["other"]
    assert [given["id"] for given in home.read("vscode")["inputs"]] == ["gateway-metrics-secret"]


def test_other_backups_are_never_overwritten(home: Any) -> None:
    path = home.write("cursor", '{"a": 1}')
    for name in ("mcp.json.bak", "mcp.json.bak2"):
        path.with_name(name).write_text(name)

    home.install("cursor", "--backend", "demo:")

    assert path.with_name("mcp.json.bak").read_text() == "mcp.json.bak"
    assert path.with_name("mcp.json.bak2").read_text() == "mcp.json.bak2"
    assert path.with_name("mcp.json.bak3").read_text() == '{"a": 1}'


def test_the_mode_of_the_file_stays(home: Any) -> None:
    path = home.write("cursor", "{}")
    path.chmod(0o640)

    home.install("cursor", "--backend", "demo:")

    assert path.stat().st_mode & 0o777 == 0o640
    assert path.with_name("mcp.json.bak").stat().st_mode & 0o777 == 0o640


def test_a_link_is_followed(home: Any) -> None:
    target = home.path / "dotfiles/cursor.json"
    target.parent.mkdir()
    target.write_text('{"mcpServers": {}}')
    home.file("cursor").parent.mkdir()
    home.file("cursor").symlink_to(target)

    home.install("cursor", "--backend", "demo:")

    assert home.file("cursor").is_symlink()
    assert "gateway-metrics" in target.read_text()
    assert home.read("cursor") == json.loads(target.read_text())


@pytest.mark.parametrize(
    ("client", "text", "reason"),
    [
        ("claude-desktop", '{"mcpServers": {},}', "line 1, column 18: this client's file takes no"),
        ("claude-desktop", "{\n  // mine\n}", "line 2, column 3: this client's file takes no comm"),
        ("claude-code", '{"a": 1\n "b": 2}', "line 2, column 2: a comma or } is expected"),
        ("cursor", '{"mcpServers": {"a": }}', "line 1, column 22: a value is expected"),
        ("cursor", '{"mcpServers": ["a"]}', "line 1, column 16: an object is expected"),
        ("vscode", '{"servers": {} /* open', "line 1, column 16: a comma or } is expected"),
        ("vscode", '{"servers": {}} more', "line 1, column 17: the file goes on after its end"),
        ("vscode", '{"inputs": {}, "servers": {}}', "line 1, column 12: an array is expected"),
        ("vscode", '{"servers', "line 1, column 2: this string does not end"),
        ("vscode", "[" * 5000, "too deep"),
    ],
)
def test_a_file_that_the_client_cannot_read_is_left_as_it_is(
    client: str, text: str, reason: str, home: Any
) -> None:
    path = home.write(client, text)
    home.environ["TFY_API_KEY"] = TOKEN
    flags = ["--write-token"] if client == "claude-desktop" else []

    code, out, err = home.install(client, "--backend", HOST, *flags)

    assert (code, out, path.read_text()) == (1, "", text)
    assert f"{path} is left as it is: " in err
    assert reason in err
    assert home.names(client) == [path.name]


def test_a_file_of_another_encoding_is_left_as_it_is(home: Any) -> None:
    path = home.write("cursor", "")
    path.write_bytes('{"é": 1}'.encode("utf-16"))

    code, _, err = home.install("cursor", "--backend", "demo:")

    assert code == 1
    assert "not UTF-8" in err


@pytest.mark.parametrize("text", ["", " \n", "\ufeff"])
def test_a_file_without_a_value_counts_as_empty(text: str, home: Any) -> None:
    home.write("vscode", text)

    code, _, _ = home.install("vscode", "--backend", "demo:")

    assert code == 0
    assert [*entry_of(home, "vscode")] == ["type", "command", "args"]


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
