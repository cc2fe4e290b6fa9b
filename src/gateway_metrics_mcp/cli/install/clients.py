"""The MCP clients: where each keeps its configuration, and the form of an entry there.

The facts are from the clients' own documentation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class Machine:
    """The platform and environment that decide where configuration files are."""

    platform: str
    environ: Mapping[str, str]

    @property
    def home(self) -> Path:
        """The user's home directory."""
        variable = "USERPROFILE" if self.platform == "win32" else "HOME"
        given = self.environ.get(variable)
        return Path(given) if given else Path.home()

    @property
    def settings(self) -> Path:
        """The directory of applications' settings on this platform."""
        if self.platform == "win32":
            return self._named("APPDATA") or self.home / "AppData" / "Roaming"
        if self.platform == "darwin":
            return self.home / "Library" / "Application Support"
        return self._named("XDG_CONFIG_HOME") or self.home / ".config"

    @property
    def local(self) -> Path:
        """The directory of application data on Windows that does not roam."""
        return self._named("LOCALAPPDATA") or self.home / "AppData" / "Local"

    def _named(self, variable: str) -> Path | None:
        given = Path(self.environ.get(variable, ""))
        # The XDG specification says to ignore relative paths.
        return given if given.is_absolute() else None


@dataclass(frozen=True, slots=True)
class Client:
    """An MCP client.

    `servers` is the key of the entries, `is_lenient` whether the file may have comments and
    trailing commas, `reference` the format of a reference to an environment variable (None if the
    client has none), `asks` whether the client prompts for secrets and stores them.
    """

    title: str
    servers: str
    is_lenient: bool
    reference: str | None
    has_type: bool = False
    asks: bool = False
    is_poor: bool = False
    """Whether it is started from a menu and passes servers little of the user's environment."""
    after: str = ""
    """What the user has to do for the client to load the change."""

    def refer(self, variable: str, name: str) -> str | None:
        """The reference to a secret, for the entry of that name; None if the client has none."""
        if self.asks:
            return f"${{input:{input_id(name)}}}"
        return None if self.reference is None else self.reference.format(variable)


CLIENTS: Final = {
    "claude-desktop": Client(
        "Claude Desktop",
        "mcpServers",
        is_lenient=False,
        reference=None,
        is_poor=True,
        after="Quit Claude Desktop and start it again: it reads the file when it starts.",
    ),
    "claude-code": Client(
        "Claude Code",
        "mcpServers",
        is_lenient=False,
        reference="${{{}}}",
        has_type=True,
        after="New sessions of Claude Code have it; /mcp shows it.",
    ),
    "cursor": Client(
        "Cursor",
        "mcpServers",
        is_lenient=True,
        reference="${{env:{}}}",
        after="Cursor reads the file again by itself; Settings, MCP shows it.",
    ),
    "vscode": Client(
        "VS Code",
        "servers",
        is_lenient=True,
        reference="${{env:{}}}",
        has_type=True,
        asks=True,
        after="VS Code reads the file again by itself; MCP: List Servers starts it.",
    ),
    "print": Client("a client", "mcpServers", is_lenient=True, reference="${{{}}}"),
}


def input_id(name: str) -> str:
    """The id of an entry's secret among VS Code's inputs."""
    return f"{name}-secret"


def host_input_id(name: str) -> str:
    """The id of the gateway's address there, if the entry was made by the README's link."""
    return f"{name}-host"


def find_file(client: str, machine: Machine) -> Path:
    """The path of the user's configuration file for a client, which may not exist."""
    if client == "claude-desktop":
        directories = [*_windows_directories(machine), machine.settings / "Claude"]
        return directories[0] / "claude_desktop_config.json"
    if client == "claude-code":
        given = machine.environ.get("CLAUDE_CONFIG_DIR")
        return (Path(given) if given else machine.home) / ".claude.json"
    if client == "cursor":
        return machine.home / ".cursor" / "mcp.json"
    return machine.settings / "Code" / "User" / "mcp.json"


def _windows_directories(machine: Machine) -> Iterator[Path]:
    """Data directories of Claude Desktop from the Windows store, which sees no other files.

    The layout of newer versions comes first.
    """
    if machine.platform != "win32":
        return
    for place in ("Claude-Data/claude_*", "Packages/Claude_*/LocalCache/Roaming/Claude"):
        yield from sorted(path for path in machine.local.glob(place) if path.is_dir())
