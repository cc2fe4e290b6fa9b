"""`install --dry-run` shows the change, and nothing of what stood there that may be a secret."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import pytest

CLIENTS: Final = ("claude-desktop", "claude-code", "cursor", "vscode")
PLANTED: Final = [f"SECRET{number}" for number in range(20)]
PROXIED: Final[dict[str, Any]] = {
    "type": "stdio",
    "command": "env A=SECRET0 npx",
    "args": [
        *("-y", "mcp-remote", "https://far.example.com/SECRET1", "--header"),
        *("X-TFY-API-Key: SECRET2", "--backend", "clickhouse://u:SECRET3@h/db"),
        {"SECRET4": ["SECRET5"]},
        [["SECRET6"]],
    ],
    "env": {
        "TFY_API_KEY": "${TFY_API_KEY:-SECRET7}",
        "TFY_HOST": "https://u:SECRET8@far.example.com",
        "GATEWAY_METRICS_BACKEND": "clickhouse://u:SECRET9@h/db",
        "OTHER": ["SECRET10"],
    },
    "password": "SECRET11",
    "description": "SECRET12",
    "id": "SECRET13",
}
REMOTE: Final[dict[str, Any]] = {
    "type": "http",
    "url": "https://far.example.com/SECRET14/mcp",
    "headers": {"Authorization": "Bearer SECRET15"},
    "auth": {"CLIENT_SECRET": "SECRET16"},
}
ODD: Final[tuple[Any, ...]] = (
    "SECRET17",
    ["SECRET17"],
    {"command": ["SECRET18"], "args": "SECRET19", "env": "SECRET17", "type": {"a": "SECRET18"}},
)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("old", [PROXIED, REMOTE, *ODD])
@pytest.mark.parametrize("flags", [("--backend", "demo:"), ("--remove",)])
def test_a_dry_run_shows_nothing_of_the_entry_that_stood_there(
    flags: tuple[str, ...], old: Any, client: str, home: Any
) -> None:
    key = "servers" if client == "vscode" else "mcpServers"
    text = json.dumps({key: {"gateway-metrics": old, "b": {"args": ["SECRET0"]}}}, indent=2)
    home.write(client, text)

    code, out, err = home.install(client, *flags, "--dry-run")

    assert (code, home.file(client).read_text()) == (0, text)
    assert re.search(r"^[-+] .*…", out, re.MULTILINE)
    assert [secret for secret in PLANTED if secret in out + err] == []
    if flags != ("--remove",):
        assert re.search(r'^\+ +"demo:"$', out, re.MULTILINE)


def test_a_dry_run_shows_no_comment_of_the_entry(home: Any) -> None:
    text = """{"mcpServers": {"gateway-metrics": {
      // "args": ["SECRET0"]
      "headers": { /* SECRET1 */ "a": "SECRET2", //
      "b": "SECRET3" },
      "command": "x" /* SECRET4
      SECRET5 */
    }}}"""
    home.write("cursor", text)

    for flags in (("--remove",), ("--backend", "demo:")):
        _, out, err = home.install("cursor", *flags, "--dry-run")

        assert '"headers": "…"' in out
        assert "// …" in out
        assert [secret for secret in PLANTED if secret in out + err] == []


def test_a_dry_run_shows_of_the_old_entry_what_the_new_one_says_too(home: Any) -> None:
    home.install("cursor", "--backend", "demo:", "--budget", "2000")

    _, out, _ = home.install("cursor", "--backend", "demo:", "--budget", "3000", "--dry-run")

    changed = [line for line in out.splitlines()[2:] if line[0] in "+-"]
    assert [line.replace(" ", "") for line in changed] == ['-"…"', '+"3000"']


def test_a_dry_run_does_not_say_that_the_token_was_written(home: Any) -> None:
    home.environ["TFY_API_KEY"] = "planted"

    code, _, err = home.install(
        "cursor", "--backend", "https://tenant.example.com", "--write-token", "--dry-run"
    )

    assert (code, err) == (0, "")
