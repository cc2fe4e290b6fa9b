"""`install` ends by starting the server as the client would."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from gateway_metrics_mcp.cli.install.entry import is_temporary

TOKEN: Final = "tok-planted-3"  # noqa: S105  # planted: nothing may show it
TOOLS: Final = "4 tools: query_distribution, query_timeseries, list_fields, list_values"


@pytest.mark.parametrize(
    "client",
    [
        "claude-desktop",
        "print",
        *(pytest.param(n, marks=pytest.mark.thorough) for n in ("claude-code", "cursor", "vscode")),
    ],
)
def test_the_server_is_started_and_lists_its_tools(client: str, home: Any) -> None:
    code, _, err = home.install(client, "--backend", "demo:", tries=True)

    assert code == 0
    assert TOOLS in err


@pytest.mark.parametrize("client", ["cursor", "vscode", "claude-code"])
def test_a_reference_is_filled_in_from_the_environment(client: str, home: Any) -> None:
    """The server tells what it was given: its variables are those of the entry, filled in."""
    told = home.path / "told"
    server = home.path / "server"
    server.write_text(f'#!/bin/sh\necho "$TFY_API_KEY $GATEWAY_METRICS_BUDGET" > {told}\n')
    server.chmod(0o755)
    home.environ |= {
        "TFY_API_KEY": TOKEN,
        "GATEWAY_METRICS_BUDGET": "1",
        "PATH": f"{home.path}:/usr/bin:/bin",
    }
    (home.path / "uvx").symlink_to(server)

    code, out, err = home.install(
        client, "--backend", "https://tenant.example.com", "--uvx", tries=True
    )

    assert told.read_text() == f"{TOKEN} \n"
    assert code == 1
    assert "the server ended before it answered" in err
    assert TOKEN not in out + err


def test_a_server_that_does_not_start_is_a_failure_and_the_file_stays(home: Any) -> None:
    code, _, err = home.install("cursor", "--backend", "demo:", "--uvx", tries=True)

    assert code == 1
    assert "the command was not found" in err
    assert home.read("cursor")["mcpServers"]["gateway-metrics"]["command"] == "uvx"


def test_a_menu_starts_it_with_little(home: Any) -> None:
    """Claude Desktop hands on no variables of a shell: what was set there does not help."""
    told = home.path / "told"
    server = home.path / "uvx"
    server.write_text(f'#!/bin/sh\necho "$PATH|$HTTPS_PROXY|$HOME" > {told}\n')
    server.chmod(0o755)
    home.environ |= {"HTTPS_PROXY": "http://p.example.com", "PATH": f"{home.path}:/usr/bin"}

    home.install("claude-desktop", "--backend", "demo:", "--uvx", tries=True)

    assert told.read_text() == f"/usr/bin:/bin:/usr/sbin:/sbin||{home.path}\n"


def test_the_command_itself_installs_into_the_users_home(tmp_path: Path) -> None:
    done = subprocess.run(  # noqa: S603 - our own module
        [
            *(sys.executable, "-m", "gateway_metrics_mcp", "install"),
            *("--client", "claude-code", "--backend", "demo:"),
        ],
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "")
    assert TOOLS in done.stderr
    assert [*json.loads((tmp_path / ".claude.json").read_text())["mcpServers"]] == [
        "gateway-metrics"
    ]


@pytest.mark.parametrize("before", [None, '{"theirs": 1}'])
def test_an_interrupt_of_the_trial_is_quiet_and_the_file_is_whole(
    before: str | None, tmp_path: Path, forked: tuple[str, ...]
) -> None:
    """A server that never answers says by a pipe that it was started."""
    path = tmp_path / ".cursor/mcp.json"
    path.parent.mkdir()
    if before is not None:
        path.write_text(before)
    os.mkfifo(tmp_path / "started")
    server = tmp_path / "uvx"
    server.write_text(f"#!/bin/sh\necho > {tmp_path}/started\nexec cat\n")
    server.chmod(0o755)
    process = subprocess.Popen(  # noqa: S603 - our own command
        [*forked, "install", "--client", "cursor", "--uvx", "--backend", "demo:"],
        env={"HOME": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    (tmp_path / "started").read_text()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    assert (process.returncode, out) == (130, "")
    assert [line.partition(":")[0].partition(" is in ")[0] for line in err.splitlines()] == [
        str(path),
        *(["the previous file"] if before else []),
    ]
    after = json.loads(path.read_text())
    assert [*after.pop("mcpServers")] == ["gateway-metrics"]
    assert after == json.loads(before or "{}")
    names = ["mcp.json", *(["mcp.json.bak"] if before else [])]
    assert sorted(each.name for each in path.parent.iterdir()) == names


@pytest.mark.parametrize(
    ("prefix", "is_passed"),
    [("/home/ada/.cache/uv/archive-v0/Jg6ps5uxgXYoD_8l", True), ("/home/ada/work/.venv", False)],
)
def test_an_installation_of_uvx_is_told_from_one_that_stays(
    prefix: str,
    is_passed: bool,  # noqa: FBT001 - a case of the table
) -> None:
    assert is_temporary(prefix) is is_passed


def test_after_a_failed_trial_the_way_back_is_said(home: Any) -> None:
    path = home.file("cursor")
    flags = ("--backend", "demo:", "--uvx")  # which is not there

    code, _, err = home.install("cursor", *flags, tries=True)

    assert code == 1
    assert "To undo, give the same command with --remove\n" in err

    home.install("cursor", "--remove")
    home.install("cursor", "--backend", "demo:")
    good = path.read_text()
    code, _, err = home.install("cursor", *flags, tries=True)

    assert code == 1
    (backup,) = re.findall(r"To undo, replace \S+ with (\S+)", err)
    assert Path(backup).read_text() == good

    code, _, err = home.install("cursor", *flags, tries=True)

    assert code == 1
    assert "To go back" not in err
