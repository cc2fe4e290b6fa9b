"""The commands of the README and of docs/clients.md, word for word, in an empty home."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[3]
BIN: Final = Path(sys.executable).parent
TOKEN: Final = "tok-planted-2"  # noqa: S105  # planted: nothing may show it


def block(document: str) -> str:
    """The one block of shell commands that makes the file of the token."""
    text = (ROOT / document).read_text("utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    (found,) = (each for each in blocks if "Ctrl-D" in each)
    return str(found)


def entry_of(home: Path, file: str) -> Any:
    return json.loads((home / file).read_text("utf-8"))["mcpServers"]["gateway-metrics"]


@pytest.mark.parametrize(
    "document", ["README.md", pytest.param("docs/clients.md", marks=pytest.mark.thorough)]
)
def test_the_step_of_the_token_works_in_an_empty_home(document: str, tmp_path: Path) -> None:
    done = subprocess.run(  # noqa: S603 - our own manual
        ["/bin/sh", "-e", "-c", block(document)],
        env={
            "HOME": str(tmp_path),
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "TFY_HOST": "https://your-org.truefoundry.cloud",
            "TFY_API_KEY": TOKEN,
        },
        input=f"{TOKEN}\n",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert TOKEN not in done.stderr
    entry = entry_of(tmp_path, ".config/Claude/claude_desktop_config.json")
    (path,) = map(Path, entry["env"].values())
    assert (path.read_text(), path.stat().st_mode & 0o777) == (f"{TOKEN}\n", 0o600)
    assert path.parent == tmp_path
