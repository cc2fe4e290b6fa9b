"""`install`: everything that was there stays."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from gateway_metrics_mcp.cli.install.jsonc import Text

CLIENTS: Final = ("claude-desktop", "claude-code", "cursor", "vscode")
TOKEN: Final = "tok-planted-2"  # noqa: S105  # planted: nothing may show it
HOST: Final = "https://tenant.example.com"
COMMAND: Final = str(Path(sys.executable).parent / "gateway-metrics-mcp")
ARGS: Final = ["--backend", HOST]

Existing = Callable[[str], tuple[str, str]]


def servers(client: str) -> str:
    return "servers" if client == "vscode" else "mcpServers"


def typed(client: str) -> dict[str, str]:
    return {"type": "stdio"} if client in ("claude-code", "vscode") else {}


def entry_of(home: Any, client: str, name: str = "gateway-metrics") -> Any:
    text = home.file(client).read_bytes().decode().removeprefix("\ufeff")
    return Text(text, is_lenient=True).root.value[servers(client)][name]


@pytest.mark.parametrize("client", CLIENTS)
def test_everything_in_an_existing_file_stays(client: str, home: Any, existing: Existing) -> None:
    before, key = existing(client)
    path = home.write(client, before)

    home.environ["TFY_API_KEY"] = TOKEN

    code, _, _ = home.install(client, "--backend", HOST, "--write-token")

    after = path.read_bytes().decode()
    values, old = (
        Text(text.removeprefix("\ufeff"), is_lenient=True).root.value for text in (after, before)
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
    assert "removed gateway-metrics" in err


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
    assert "contains the secret that was there" in err


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
    assert "the previous file is in " in err
    assert ("contains the secret that was there" in err) is is_said


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


@pytest.mark.parametrize(
    "flags", [("--backend", "demo:"), ("--remove",), ("--backend", "demo:", "--dry-run")]
)
def test_a_read_only_file_is_left_as_it_is(flags: tuple[str, ...], home: Any) -> None:
    text = '{"mcpServers": {"gateway-metrics": {"command": "x", "env": {"A": "b"}}}}'
    path = home.write("cursor", text)
    path.chmod(0o444)

    code, _, err = home.install("cursor", *flags)

    assert code == 1
    assert f"{path} is read-only: it is left as it is" in err
    assert "not kept" not in err
    assert [name.name for name in path.parent.iterdir()] == [path.name]
    assert path.read_text() == text


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
        (
            "vscode",
            '{"servers": {}} more',
            "line 1, column 17: more text after the end of the document",
        ),
        ("vscode", '{"inputs": {}, "servers": {}}', "line 1, column 12: an array is expected"),
        ("vscode", '{"servers', "line 1, column 2: this string does not end"),
        ("vscode", "[" * 5000, "nested too deeply"),
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


@pytest.mark.parametrize("env", ["5", '"x"', "[1]", "null"])
def test_an_environment_that_is_none_is_replaced_and_named(env: str, home: Any) -> None:
    home.write(
        "cursor", f'{{"mcpServers": {{"gateway-metrics": {{"command": "uvx", "env": {env}}}}}}}'
    )

    code, _, err = home.install("cursor", "--backend", HOST)

    assert code == 0
    assert "dropped from the previous entry: env" in err or env == "null"
    assert entry_of(home, "cursor")["env"] == {"TFY_API_KEY": "${env:TFY_API_KEY}"}
