"""The Dockerfile, as far as it can be held without a Docker daemon."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import pytest

from gateway_metrics_mcp.settings import read_settings

Serve = Callable[..., AbstractAsyncContextManager[Any]]

ROOT: Final = Path(__file__).parents[3]
DEPLOY: Final = ROOT / "docs/deploy.md"


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    """Each instruction with its arguments, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", "")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


def _last(instructions: list[tuple[str, str]], name: str) -> str:
    return [arguments for word, arguments in instructions if word == name][-1]


def test_it_copies_only_what_is_there_and_not_ignored(instructions: list[tuple[str, str]]) -> None:
    copied = {
        source
        for word, arguments in instructions
        if word == "COPY" and not arguments.startswith("--from")
        for source in arguments.split()[:-1]
    }
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()

    assert {name for name in copied if not (ROOT / name).exists()} == set()
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == copied
    assert "*" in ignored


def test_its_extras_are_there_and_its_docs_name_more_of_them(
    instructions: list[tuple[str, str]],
) -> None:
    there = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = [_last(instructions, "ARG"), *re.findall(r"EXTRAS=\S+", DEPLOY.read_text("utf-8"))]

    extras = [re.findall(r"\w+", names.partition("=")[2]) for names in named]

    assert extras == [["ops", "clickhouse"], ["ops", "clickhouse", "charts"]]
    assert set(extras[1]) == set(there["optional-dependencies"])


def test_it_runs_as_a_number_that_is_not_root(instructions: list[tuple[str, str]]) -> None:
    user, group = _last(instructions, "USER").split(":")

    assert (int(user) >= 10_000, int(group) >= 10_000) == (True, True)


def test_its_variables_are_settings_and_none_is_a_secret(
    instructions: list[tuple[str, str]],
) -> None:
    variables = dict(re.findall(r"(\w+)=(\S+)", _last(instructions, "ENV")))

    settings = read_settings({}, variables)

    assert (settings.transport, settings.log_format) == ("http", "json")
    assert [n for n in variables if re.search("TOKEN|KEY|PASSWORD", n)] == []


async def test_its_health_check_passes_where_the_server_is_up_and_fails_where_none_is(
    open_server: Serve, directory: Path, instructions: list[tuple[str, str]]
) -> None:
    command = json.loads(_last(instructions, "HEALTHCHECK").partition("CMD ")[2])

    async def check(url: str) -> int:
        environment = {
            "GATEWAY_METRICS_PORT": str(urlsplit(url).port),
            "HTTP_PROXY": "http://127.0.0.1:1",
        }
        run = [sys.executable, *command[1:]]
        done = await anyio.run_process(run, env=environment, check=False, stderr=subprocess.DEVNULL)
        return done.returncode

    async with open_server(backend=str(directory)) as server:
        up = await check(server.url)
    down = await check(server.url)

    assert (up, down) == (0, 1)
