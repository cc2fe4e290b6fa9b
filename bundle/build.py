"""`make bundle`: the Claude Desktop bundle, dist/gateway-metrics-mcp-<version>.mcpb.

It holds the sources, from which uv installs the server where it is opened, and `manifest.json` of
this folder with the code's version and tools. The official tool, from npm, checks and packs it.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from gateway_metrics_mcp import __version__
from gateway_metrics_mcp.server.tools import TOOLS

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent
PACKER: Final = "@anthropic-ai/mcpb@2.1.2"
FILES: Final = ("README.md", "LICENSE")
FOLDERS: Final = ("src", "prompts")
LEFT_OUT: Final = shutil.ignore_patterns("__pycache__", "*.egg-info")
TABLE: Final = re.compile(r"^(?=\[[a-z])", re.MULTILINE)
NEEDED: Final = ("[build-system]", "[project", "[tool.hatch")


def make_manifest() -> dict[str, Any]:
    """The manifest of this folder, with the version and the tools of the code."""
    manifest: dict[str, Any] = json.loads((HERE / "manifest.json").read_text("utf-8"))
    tools = []
    for tool in TOOLS.values():
        first = (tool.publish().description or "").split(". ")[0].rstrip(".")
        tools.append({"name": tool.name, "description": f"{first}."})
    return {**manifest, "version": __version__, "tools": tools}


def make_pyproject() -> str:
    """The tables of pyproject.toml that an installation needs.

    uv settles every dependency group there is: those of the tests would take minutes.
    """
    tables = TABLE.split((ROOT / "pyproject.toml").read_text("utf-8"))
    return "".join(table for table in tables if table.startswith(NEEDED))


def lay_out(folder: Path) -> None:
    """Write what goes into the bundle."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest = json.dumps(make_manifest(), indent=2, ensure_ascii=False)
    (folder / "manifest.json").write_text(f"{manifest}\n", "utf-8")
    (folder / "pyproject.toml").write_text(make_pyproject(), "utf-8")
    for path in (HERE / "server.py", *(ROOT / name for name in FILES)):
        shutil.copy(path, folder)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=LEFT_OUT)


def main() -> int:
    """Build the bundle; 1 where the official tool is missing or refuses it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=ROOT / "dist", help="the folder of the bundle")
    parser.add_argument("--files", action="store_true", help="write its files there, unpacked")
    arguments = parser.parse_args()
    if arguments.files:
        lay_out(arguments.to)
        return 0
    npx = shutil.which("npx")
    if npx is None:
        print(f"npx is needed, of Node.js: it brings {PACKER}", file=sys.stderr)
        return 1
    arguments.to.mkdir(parents=True, exist_ok=True)
    bundle = (arguments.to / f"gateway-metrics-mcp-{__version__}.mcpb").resolve()
    with TemporaryDirectory() as temporary:
        folder = Path(temporary, "bundle")
        lay_out(folder)
        for words in (("validate", folder / "manifest.json"), ("pack", folder, bundle)):
            done = subprocess.run([npx, "--yes", PACKER, *words], check=False)  # noqa: S603 - our words
            if done.returncode:
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
