"""The clients: where each keeps its configuration, and what an entry looks like there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class Machine:
    """Whose home it is: the system by its `sys.platform`, and the variables that say where."""

    platform: str
    environ: Mapping[str, str]

    @property
    def home(self) -> Path:
        """The user's directory."""
        variable = "USERPROFILE" if self.platform == "win32" else "HOME"
        given = self.environ.get(variable)
        return Path(given) if given else Path.home()

    @property
    def settings(self) -> Path:
        """Where applications keep what the user chose."""
        if self.platform == "win32":
            return self._named("APPDATA") or self.home / "AppData" / "Roaming"
        if self.platform == "darwin":
            return self.home / "Library" / "Application Support"
        return self._named("XDG_CONFIG_HOME") or self.home / ".config"

    @property
    def local(self) -> Path:
        """Where Windows keeps what stays on this machine."""
        return self._named("LOCALAPPDATA") or self.home / "AppData" / "Local"

    def _named(self, variable: str) -> Path | None:
        given = Path(self.environ.get(variable, ""))
        return given if given.is_absolute() else None


@dataclass(frozen=True, slots=True)
class Client:
    """A client, by the words of its documentation.

    `reference` is how an entry names a variable of the environment that the client was started
    in; None where it knows no such thing. `asks` says that the client asks for secrets itself.
    """

    title: str
    servers: str
    is_lenient: bool
    reference: str | None
    has_type: bool = False
    asks: bool = False
    is_poor: bool = False
    """Started from a menu, it gives its servers little of the user's environment."""
    after: str = ""
    """What to do for the client to see the change."""

    def refer(self, variable: str, name: str) -> str | None:
        """The value that stands for a secret, for the entry of that name."""
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
    """What the secret of an entry is called among the inputs."""
    return f"{name}-secret"


def host_input_id(name: str) -> str:
    """What the gateway's address is called there, where the entry came by README's link."""
    return f"{name}-host"


def find_file(client: str, machine: Machine) -> Path:
    """The client's configuration file of the user, whether it is there or not."""
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
    """Where Claude Desktop of the store keeps its data; it sees no other files. Newest first."""
    if machine.platform != "win32":
        return
    for place in ("Claude-Data/claude_*", "Packages/Claude_*/LocalCache/Roaming/Claude"):
        yield from sorted(path for path in machine.local.glob(place) if path.is_dir())
