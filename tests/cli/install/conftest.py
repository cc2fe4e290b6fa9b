"""A home of its own for each test, on the system of its choice."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway_metrics_mcp.cli.install.command import main

PLACES = {
    ("claude-desktop", "linux"): ".config/Claude/claude_desktop_config.json",
    ("claude-desktop", "darwin"): "Library/Application Support/Claude/claude_desktop_config.json",
    ("claude-desktop", "win32"): "AppData/Roaming/Claude/claude_desktop_config.json",
    ("claude-code", "linux"): ".claude.json",
    ("claude-code", "darwin"): ".claude.json",
    ("claude-code", "win32"): ".claude.json",
    ("cursor", "linux"): ".cursor/mcp.json",
    ("cursor", "darwin"): ".cursor/mcp.json",
    ("cursor", "win32"): ".cursor/mcp.json",
    ("vscode", "linux"): ".config/Code/User/mcp.json",
    ("vscode", "darwin"): "Library/Application Support/Code/User/mcp.json",
    ("vscode", "win32"): "AppData/Roaming/Code/User/mcp.json",
}


@dataclass
class Home:
    """A user's directory, and the command run in it."""

    path: Path
    platform: str
    capsys: pytest.CaptureFixture[str]
    environ: dict[str, str] = field(default_factory=dict)

    def install(self, client: str, *flags: str, tries: bool = False) -> tuple[int, str, str]:
        """Exit code, output and errors; the server is not started unless `tries`."""
        variable = "USERPROFILE" if self.platform == "win32" else "HOME"
        environ = {"PATH": "/usr/bin:/bin", variable: str(self.path), **self.environ}
        words = ["--client", client, *flags, *([] if tries else ["--no-try"])]
        try:
            code = main(words, environ, self.platform)
        except SystemExit as end:
            code = int(str(end.code))
        out, err = self.capsys.readouterr()
        return code, out, err

    def file(self, client: str) -> Path:
        return self.path / PLACES[client, self.platform]

    def read(self, client: str) -> Any:
        return json.loads(self.file(client).read_text("utf-8"))

    def write(self, client: str, text: str) -> Path:
        path = self.file(client)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
        return path

    def names(self, client: str) -> list[str]:
        """What lies in the directory of the client's file."""
        return sorted(path.name for path in self.file(client).parent.iterdir())


@pytest.fixture
def home_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[str], Home]:
    """An empty home on a system."""

    def make(platform: str) -> Home:
        path = tmp_path / "home"
        path.mkdir()
        return Home(path, platform, capsys)

    return make


@pytest.fixture
def home(home_on: Callable[[str], Home]) -> Home:
    return home_on("linux")


_DESKTOP = """{
    "globalShortcut": "Ctrl+Space",
    "mcpServers": {
        "filesystem": {
            "command": "npx",
            "args": ["-y", "@modelcontextprotocol/server-filesystem", "/home/ada"],
            "env": {"OTHER_TOKEN": "planted-1"}
        }
    },
    "scale": 0
}
"""
_CODE = """{
  "numStartups": 42,
  "tipsHistory": {"shift-enter": 3},
  "projects": {
    "/home/ada/work": {"allowedTools": [], "mcpServers": {}, "history": ["planted-1 é ✓"]}
  },
  "mcpServers": {},
  "oauthAccount": {"emailAddress": "ada@example.com"}
}"""
_CURSOR = """\ufeff{\r
\t"mcpServers": {\r
\t\t// the team's own\r
\t\t"wiki": { "url": "https://wiki.example.com/mcp", "headers": {"X-Key": "planted-1"} } // keep\r
\t}\r
}\r
"""
_CODE_EDITOR = """// my servers
{
\t"inputs": [
\t\t{ "type": "promptString", "id": "gh", "description": "GitHub", "password": true }, // asked once
\t],
\t"servers": {
\t\t/* planted-1: the old one
\t\t   "old": {}, */
\t\t"github": {
\t\t\t"type": "stdio",
\t\t\t"command": "docker",
\t\t\t"args": ["run", "ghcr.io/github/github-mcp-server"],
\t\t\t"env": { "GITHUB_TOKEN": "${input:gh}" },
\t\t}, // planted-1
\t},
\t"sandbox": { "network": {} },
}
"""

EXISTING = {
    "claude-desktop": (_DESKTOP, "mcpServers"),
    "claude-code": (_CODE, "mcpServers"),
    "cursor": (_CURSOR, "mcpServers"),
    "vscode": (_CODE_EDITOR, "servers"),
}


@pytest.fixture(scope="session")
def existing() -> Callable[[str], tuple[str, str]]:
    """A realistic configuration of a client, and the name of its object of servers."""
    return EXISTING.__getitem__
