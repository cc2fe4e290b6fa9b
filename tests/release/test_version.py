"""One version: `__version__`, which everything that is published repeats."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from tests.release.conftest import ROOT, TOKEN, Ask, Gateway

from gateway_metrics_mcp import __version__


def test_the_package_takes_its_version_from_the_code() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))

    assert project["project"]["dynamic"] == ["version"]
    source = ROOT / project["tool"]["hatch"]["version"]["path"]
    assert f'__version__ = "{__version__}"' in source.read_text("utf-8")
    assert importlib.metadata.version("gateway-metrics-mcp") == __version__, "install it again"


def test_what_is_published_has_the_same_version(manifest: dict[str, Any]) -> None:
    entry = json.loads((ROOT / "server.json").read_text("utf-8"))
    changes = re.findall(r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)

    versions = {
        "bundle": manifest["version"],
        "registry": entry["version"],
        "package in the registry": entry["packages"][0]["version"],
        "newest changes": changes[0],
    }
    assert versions == dict.fromkeys(versions, __version__)


def test_the_command_has_the_name_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    assert project["name"] in project["scripts"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--wheel-dir", str(folder), str(ROOT)], check=True)  # noqa: S603 - our words
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.mark.thorough
def test_uvx_shows_the_version_of_the_wheel(wheel: Path, uv: str, fresh: dict[str, str]) -> None:
    uvx = [f"{uv}/uvx", "--from", str(wheel), "gateway-metrics-mcp"]

    said = subprocess.run([*uvx, "--version"], env=fresh, capture_output=True, check=True)  # noqa: S603 - our words

    assert wheel.name.startswith(f"gateway_metrics_mcp-{__version__}-")
    assert said.stdout.decode().strip() == __version__


@pytest.mark.thorough
async def test_uvx_starts_the_server_of_the_wheel(
    ask: Ask, wheel: Path, fresh: dict[str, str], gateway: Gateway
) -> None:
    variables = {**fresh, "TFY_HOST": gateway.url, "TFY_API_KEY": TOKEN}

    answer = await ask("uvx", ["--from", str(wheel), "gateway-metrics-mcp"], variables)

    assert "1234" in answer
    assert gateway.callers == {f"Bearer {TOKEN}"}
