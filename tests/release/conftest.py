"""What leaves the repository: the bundle's files, uv, and a gateway for what they start to ask."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp_types import TextContent

from gateway_metrics_mcp.server.tools import TOOLS

ROOT: Final = Path(__file__).parents[2]
TOKEN: Final = "tok-secret-1234"  # noqa: S105 - planted
QUESTION: Final = {"startTs": "2026-03-01", "endTs": "2026-03-02"}
_ROWS: Final = {"data": {"dataPoints": [{"total": 1234}]}}
# Read before the tests narrow the authorities that are trusted: uv goes to a package index.
NETWORK: Final = {
    name: value for name, value in os.environ.items() if name.startswith(("UV_", "SSL"))
}
_START_TIMEOUT_S: Final = 120

Ask = Callable[..., Awaitable[str]]


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the bundle, unpacked."""
    folder = tmp_path_factory.mktemp("bundle") / "files"
    build = [sys.executable, str(ROOT / "bundle/build.py"), "--files", "--to", str(folder)]
    subprocess.run(build, check=True)  # noqa: S603 - our own script
    return folder


@pytest.fixture(scope="session")
def manifest(files: Path) -> dict[str, Any]:
    """The manifest of the bundle."""
    manifest: dict[str, Any] = json.loads((files / "manifest.json").read_text("utf-8"))
    return manifest


@pytest.fixture(scope="session")
def uv(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of uv and uvx: those of the machine, else from the package index."""
    there = shutil.which("uvx")
    if there is not None:
        return str(Path(there).parent)
    folder = tmp_path_factory.mktemp("uv")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)  # noqa: S603 - our words
    pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "uv>=0.9,<1"]
    subprocess.run(pip, check=True)  # noqa: S603 - our words
    return str(folder / "bin")


@pytest.fixture
def fresh(tmp_path: Path, uv: str) -> dict[str, str]:
    """The environment of a user who has uv and an empty home."""
    home = tmp_path / "home"
    home.mkdir()
    return {**NETWORK, "HOME": str(home), "PATH": os.pathsep.join((uv, os.environ["PATH"]))}


@dataclass
class Gateway:
    """A gateway on loopback, and who asked it."""

    url: str
    callers: set[str] = field(default_factory=set)


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """It has 1,234 calls in every window."""
    body = json.dumps(_ROWS).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.callers.add(self.headers["Authorization"])
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        asked = Gateway(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield asked
        server.shutdown()
        thread.join()


@pytest.fixture
def ask() -> Ask:
    """Start a server on stdio, see that its tools are the registry's, and ask it a question."""

    async def ask(command: str, arguments: list[str], environment: Mapping[str, str]) -> str:
        server = StdioServerParameters(command=command, args=arguments, env=dict(environment))
        with anyio.fail_after(_START_TIMEOUT_S):
            async with Client(server, mode="legacy") as client:
                tools = await client.list_tools()
                assert [tool.name for tool in tools.tools] == [*TOOLS]
                result = await client.call_tool("query_distribution", QUESTION)
        (block,) = result.content
        assert isinstance(block, TextContent)
        return block.text

    return ask
