"""The bundle for Claude Desktop: its manifest is the code's, and what it says starts."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from tests.release.conftest import ROOT, TOKEN, Ask, Gateway

from gateway_metrics_mcp import __version__
from gateway_metrics_mcp.server.prompts import read_prompt
from gateway_metrics_mcp.server.tools import TOOLS
from gateway_metrics_mcp.settings import (
    GATEWAY_HOST,
    GATEWAY_TOKEN,
    PREFIX,
    Settings,
    flag_names,
    read_settings,
)

REFERENCE: Final = re.compile(r"\$\{user_config\.(\w+)\}")


def fill(manifest: dict[str, Any], **given: str) -> dict[str, str]:
    """The variables that the client sets: what the user gave, else the defaults."""
    options = manifest["user_config"].items()
    texts = {name: str(option["default"]).replace("False", "false") for name, option in options}
    texts |= given
    env: dict[str, str] = manifest["server"]["mcp_config"]["env"]
    return {name: REFERENCE.sub(lambda found: texts[found[1]], text) for name, text in env.items()}


def packer() -> str:
    """The official tool at the version that the build takes."""
    found = re.search(r'PACKER: Final = "(.+)"', (ROOT / "bundle/build.py").read_text("utf-8"))
    assert found is not None
    return found[1]


async def start(ask: Ask, files: Path, variables: Mapping[str, str]) -> str:
    """The bundle's own start file, under this Python instead of uv's."""
    environment = {**variables, "PYTHONPATH": str(files / "src")}
    return await ask(sys.executable, [str(files / "server.py")], environment)


def test_it_names_the_tools_that_there_are(manifest: dict[str, Any]) -> None:
    assert [tool["name"] for tool in manifest["tools"]] == [*TOOLS]
    for tool in manifest["tools"]:
        assert read_prompt(f"tools/{tool['name']}").startswith(tool["description"].rstrip("."))


def test_every_field_of_the_user_is_a_setting(manifest: dict[str, Any]) -> None:
    env = manifest["server"]["mcp_config"]["env"]
    known = {GATEWAY_HOST, GATEWAY_TOKEN, *(f"{PREFIX}{name.upper()}" for name in flag_names())}

    assert set(env) <= known
    assert sorted(REFERENCE.findall(" ".join(env.values()))) == sorted(manifest["user_config"])


def test_with_nothing_given_the_settings_are_the_defaults(manifest: dict[str, Any]) -> None:
    options = manifest["user_config"].values()

    assert read_settings({}, fill(manifest)) == Settings()
    assert [option for option in options if option["required"]] == []


def test_the_token_alone_is_kept_as_a_secret(manifest: dict[str, Any]) -> None:
    options = manifest["user_config"].items()

    assert [name for name, option in options if option.get("sensitive")] == ["token"]
    assert manifest["server"]["mcp_config"]["env"][GATEWAY_TOKEN] == "${user_config.token}"


def test_its_project_is_ours_without_the_tests_groups(files: Path) -> None:
    bundled = tomllib.loads((files / "pyproject.toml").read_text("utf-8"))
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))

    assert set(bundled) == {"build-system", "project", "tool"}
    assert bundled["project"] == ours["project"]
    assert bundled["build-system"] == ours["build-system"]
    assert bundled["tool"] == {"hatch": ours["tool"]["hatch"]}


def test_it_starts_with_pictures_which_its_users_cannot_add(manifest: dict[str, Any]) -> None:
    arguments = manifest["server"]["mcp_config"]["args"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    extra = arguments[arguments.index("--extra") + 1]

    assert extra == "charts"
    assert extra in project["optional-dependencies"]


def test_it_holds_what_is_installed_and_nothing_else(files: Path, manifest: dict[str, Any]) -> None:
    holds = {path.name for path in files.iterdir()}

    assert holds == {
        *("manifest.json", "pyproject.toml", "server.py", "README.md", "LICENSE"),
        *("src", "prompts"),
    }
    assert manifest["server"]["entry_point"] in holds
    assert [path for path in files.rglob("*") if path.suffix == ".pyc"] == []


async def test_with_nothing_given_it_starts_and_says_what_is_missing(
    ask: Ask, files: Path, manifest: dict[str, Any]
) -> None:
    answer = await start(ask, files, fill(manifest))

    assert "no backend is set. Set TFY_HOST" in answer


async def test_fields_that_the_client_left_unfilled_are_as_if_empty(
    ask: Ask, files: Path, manifest: dict[str, Any]
) -> None:
    answer = await start(ask, files, manifest["server"]["mcp_config"]["env"])

    assert "no backend is set. Set TFY_HOST" in answer


async def test_a_gateway_without_a_token_is_told_so(
    ask: Ask, files: Path, manifest: dict[str, Any], gateway: Gateway
) -> None:
    answer = await start(ask, files, fill(manifest, host=gateway.url))

    assert "there is no gateway token: set TFY_API_KEY" in answer
    assert gateway.callers == set()


async def test_with_a_host_and_a_token_it_asks_the_gateway(
    ask: Ask, files: Path, manifest: dict[str, Any], gateway: Gateway
) -> None:
    answer = await start(ask, files, fill(manifest, host=gateway.url, token=TOKEN))

    assert "1234" in answer
    assert gateway.callers == {f"Bearer {TOKEN}"}


def test_without_npm_the_build_says_what_is_missing(tmp_path: Path) -> None:
    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, str(ROOT / "bundle/build.py"), "--to", str(tmp_path)],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, [*tmp_path.iterdir()]) == (1, [])
    assert done.stderr.startswith("npx is needed")


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """The bundle as the official tool packs it, unpacked."""
    build = [sys.executable, str(ROOT / "bundle/build.py"), "--to", str(tmp_path)]
    subprocess.run(build, check=True)  # noqa: S603 - our own script
    with zipfile.ZipFile(tmp_path / f"gateway-metrics-mcp-{__version__}.mcpb") as bundle:
        bundle.extractall(tmp_path / "unpacked")
    return tmp_path / "unpacked"


@pytest.mark.thorough
async def test_the_official_tool_packs_it_and_uv_starts_what_it_says(
    ask: Ask, unpacked: Path, manifest: dict[str, Any], fresh: dict[str, str], gateway: Gateway
) -> None:
    config = manifest["server"]["mcp_config"]
    variables = fill(manifest, host=gateway.url, token=TOKEN)
    arguments = [text.replace("${__dirname}", str(unpacked)) for text in config["args"]]

    answer = await ask(config["command"], arguments, {**fresh, **variables})

    assert json.loads((unpacked / "manifest.json").read_text("utf-8")) == manifest
    assert "1234" in answer
    assert gateway.callers == {f"Bearer {TOKEN}"}


@pytest.mark.thorough
def test_the_official_tool_refuses_a_manifest_that_is_wrong(
    tmp_path: Path, manifest: dict[str, Any]
) -> None:
    wrong = tmp_path / "manifest.json"
    wrong.write_text(json.dumps({**manifest, "user_config": {"host": {"type": "text"}}}), "utf-8")
    npx = shutil.which("npx")
    assert npx is not None, "npx is needed, of Node.js"

    done = subprocess.run(  # noqa: S603 - our words
        [npx, "--yes", packer(), "validate", str(wrong)], capture_output=True, check=False
    )

    assert done.returncode == 1
