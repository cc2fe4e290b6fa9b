"""The README's one-click links: decoded as the clients do, and started."""

from __future__ import annotations

import base64
import json
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from tests.release.conftest import ROOT, TOKEN, Ask, Gateway

NAME: Final = "gateway-metrics"
REFERENCE: Final = re.compile(r"\$\{(?:env|input):([\w-]+)\}")


def read_link(host: str) -> dict[str, Any]:
    """The query of the README's link to a host."""
    links = re.findall(r"\]\((https://[^)]+)\)", (ROOT / "README.md").read_text("utf-8"))
    (link,) = (parts for link in links if (parts := urlsplit(link)).netloc == host)
    query = parse_qs(link.query, strict_parsing=True)
    return {"path": link.path, **{name: value for name, (value,) in query.items()}}


def fill(environment: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    """The variables, with what the client puts in the place of its references."""
    return {
        name: REFERENCE.sub(lambda found: values[found[1]], text)
        for name, text in environment.items()
    }


async def start(ask: Ask, config: dict[str, Any], variables: dict[str, str]) -> str:
    """What the link starts; what uvx would install is installed already."""
    assert (config["command"], config["args"]) == ("uvx", ["gateway-metrics-mcp"])
    command = shutil.which(config["args"][0], path=str(Path(sys.executable).parent))
    assert command is not None
    return await ask(command, [], variables)


async def test_the_link_for_cursor_takes_host_and_token_from_the_environment(
    ask: Ask, gateway: Gateway
) -> None:
    link = read_link("cursor.com")
    config = json.loads(base64.b64decode(link["config"], validate=True))
    values = {"TFY_HOST": gateway.url, "TFY_API_KEY": TOKEN}

    answer = await start(ask, config, fill(config["env"], values))

    assert (link["path"], link["name"]) == ("/en/install-mcp", NAME)
    assert "1234" in answer
    assert gateway.callers == {f"Bearer {TOKEN}"}


async def test_without_them_the_server_says_what_is_missing(ask: Ask) -> None:
    config = json.loads(base64.b64decode(read_link("cursor.com")["config"]))

    assert "no backend is set. Set TFY_HOST" in await start(ask, config, config["env"])


async def test_the_link_for_vs_code_asks_for_host_and_token(ask: Ask, gateway: Gateway) -> None:
    link = read_link("insiders.vscode.dev")
    config, inputs = json.loads(link["config"]), json.loads(link["inputs"])
    answers = {False: gateway.url, True: TOKEN}
    values = {given["id"]: answers[given["password"]] for given in inputs}

    answer = await start(ask, config, fill(config["env"], values))

    assert (link["path"], link["name"]) == ("/redirect/mcp/install", NAME)
    assert {given["type"] for given in inputs} == {"promptString"}
    assert sorted(REFERENCE.findall(" ".join(config["env"].values()))) == sorted(values)
    assert "1234" in answer
    assert gateway.callers == {f"Bearer {TOKEN}"}
