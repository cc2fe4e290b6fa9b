"""`server.json`, the entry in the MCP registry; `python tests/release/test_registry.py` writes it.

The namespace has to be the publisher's own: whoever publishes sets NAME and the README's line.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any, Final

from jsonschema import Draft7Validator, FormatChecker  # type: ignore[import-untyped]  # it ships no types

from gateway_metrics_mcp import __version__
from gateway_metrics_mcp.settings import GATEWAY_HOST, GATEWAY_TOKEN, PREFIX, Settings

ROOT: Final = Path(__file__).parents[2]
ENTRY: Final = ROOT / "server.json"
SCHEMA: Final = Path(__file__).parent / "schemas" / "server-2025-12-11.json.gz"
NAME: Final = "io.github.gateway-metrics/gateway-metrics-mcp"
PACKAGE: Final = "gateway-metrics-mcp"
SETTINGS: Final = ("backend", "timezone", "budget", "hide_emails")
FORMATS: Final = {int: "number", bool: "boolean"}


def variables() -> list[dict[str, Any]]:
    """What most installations set, as the registry describes variables."""
    host = {
        "description": "the gateway's control plane, not its inference host",
        "placeholder": "https://your-org.truefoundry.cloud",
    }
    token = {
        "description": "the gateway token: a personal access token or a virtual account's",
        "isSecret": True,
    }
    given: list[dict[str, Any]] = [{"name": GATEWAY_HOST, **host}, {"name": GATEWAY_TOKEN, **token}]
    for name in SETTINGS:
        field = Settings.model_fields[name]
        entry: dict[str, Any] = {
            "name": f"{PREFIX}{name.upper()}",
            "description": field.description,
        }
        if field.default is not None:
            entry["format"] = FORMATS.get(type(field.default), "string")
            entry["default"] = str(field.default).replace("False", "false")
        given.append(entry)
    return given


def make_entry() -> dict[str, Any]:
    package = {
        "registryType": "pypi",
        "registryBaseUrl": "https://pypi.org",
        "identifier": PACKAGE,
        "version": __version__,
        "runtimeHint": "uvx",
        "transport": {"type": "stdio"},
        "environmentVariables": variables(),
    }
    return {
        "$schema": json.loads(gzip.decompress(SCHEMA.read_bytes()))["$id"],
        "name": NAME,
        "title": "LLM gateway metrics",
        "description": "Ask an LLM gateway's metrics about usage, cost, latency, errors and users",
        "version": __version__,
        "packages": [package],
    }


def write_entry() -> str:
    return f"{json.dumps(make_entry(), indent=2, ensure_ascii=False)}\n"


def faults(entry: dict[str, Any]) -> list[str]:
    schema = json.loads(gzip.decompress(SCHEMA.read_bytes()))
    found = Draft7Validator(schema, format_checker=FormatChecker()).iter_errors(entry)
    return [f"{fault.json_path}: {fault.message[:200]}" for fault in found]


def test_the_entry_is_that_of_the_code() -> None:
    assert ENTRY.read_text("utf-8") == write_entry()


def test_the_entry_is_what_the_registry_takes() -> None:
    assert faults(json.loads(ENTRY.read_text("utf-8"))) == []


def test_the_schema_refuses_entries_that_are_wrong() -> None:
    package = {**make_entry()["packages"][0], "transport": {"type": "pipe"}}

    assert faults({**make_entry(), "name": "no-namespace"}) != []
    assert faults({**make_entry(), "description": "x" * 101}) != []
    assert faults({**make_entry(), "packages": [package]}) != []


def test_the_token_alone_is_a_secret() -> None:
    assert [given["name"] for given in variables() if given.get("isSecret")] == [GATEWAY_TOKEN]


def test_the_readme_proves_to_the_registry_whose_package_it_is() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")

    assert f"mcp-name: {json.loads(ENTRY.read_text('utf-8'))['name']} " in readme


if __name__ == "__main__":
    ENTRY.write_text(write_entry(), "utf-8")
