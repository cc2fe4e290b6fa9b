"""A secret is where it is used and nowhere else: all that failing paths show is searched."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

import pytest

import gateway_metrics_mcp

SOURCES: Final = Path(gateway_metrics_mcp.__file__).parents[1]
SCRIPT: Final = Path(__file__).parent / "failing_paths.py"
SECRETS: Final = {
    "TFY_API_KEY": "tok-server-5f1e9c77",
    "CALLER_TOKEN": "tok-caller-8b3d2a61",
    "GATEWAY_METRICS_CLICKHOUSE_PASSWORD": "pw-engine-41c6e0d9",
}
PATIENCE_S: Final = 120


@dataclass
class Shown:
    """All that the process wrote, and what the system shows of it."""

    output: str
    log: str
    command: bytes
    code: int


@pytest.fixture(params=["text", pytest.param("json", marks=pytest.mark.thorough)])
def shown(request: pytest.FixtureRequest, tmp_path: Path) -> Shown:
    folder = tmp_path
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": str(SOURCES),
        "SECRETS_FOLDER": str(folder),
        **SECRETS,
    }
    out, err = folder / "out.txt", folder / "err.txt"
    with (
        out.open("wb") as to_out,
        err.open("wb") as to_err,
        subprocess.Popen(  # noqa: S603 - our own script
            [sys.executable, str(SCRIPT), request.param],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=to_out,
            stderr=to_err,
        ) as process,
    ):
        command = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        process.communicate(timeout=PATIENCE_S)
    return Shown(out.read_text("utf-8"), err.read_text("utf-8"), command, process.returncode)


def forms_of(secret: str) -> list[str]:
    """The secret as it is, encoded, and the half of it that would be enough to guess at."""
    plain = secret.encode()
    return [
        secret,
        secret[4:],
        secret[-8:],
        quote(secret, safe=""),
        plain.hex(),
        base64.b64encode(plain).decode().rstrip("="),
        base64.b64encode(b"u:" + plain).decode().rstrip("="),
    ]


def test_every_path_failed_and_no_secret_is_in_anything_that_is_shown(shown: Shown) -> None:
    texts = {"output": shown.output, "log": shown.log, "command": shown.command.decode("latin-1")}
    found = {
        f"{name} in {where}: ...{text[max(text.find(form) - 200, 0) :][:400]}"
        for name, secret in SECRETS.items()
        for form in forms_of(secret)
        for where, text in texts.items()
        if form in text
    }

    assert found == set()
    assert shown.code == 0, shown.log[-3000:]
    assert "== done" in shown.output
    for way in ("answer", "resource"):
        codes = {*re.findall(rf"== {way}: Error \((\w+)\)", shown.output)}
        assert codes >= {
            *("refused_query", "unauthorized", "forbidden", "wrong_host", "rate_limited"),
            *("unavailable", "unreadable_response", "timeout", "unreachable", "settings"),
        }
    assert "Error (internal)" not in shown.output
    assert "== the gateway was sent a secret: True" in shown.output
    assert '"name": "tools/call query_distribution"' in shown.output
    assert "== http: 401" in shown.output
    assert "DEBUG" in shown.log


@pytest.mark.parametrize("flag", ["--token", "--clickhouse-password", "--tok"])
def test_a_secret_given_as_a_flag_is_refused_without_being_repeated(
    forked: tuple[str, ...], flag: str
) -> None:
    secret = SECRETS["TFY_API_KEY"]
    for arguments in ([f"{flag}={secret}"], [flag, secret]):
        done = subprocess.run(  # noqa: S603 - our own module
            [*forked, *arguments],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCES)},
            capture_output=True,
            text=True,
            check=False,
        )

        assert done.returncode == 2
        assert f"unknown argument {flag}" in done.stderr
        assert secret not in done.stderr + done.stdout
