"""The package's entrances, in its rooms or as they lay before them: benchmarks compare both."""

from __future__ import annotations

import importlib
from typing import Any, Final

PACKAGE: Final = "gateway_metrics_mcp"


def load_build_server() -> Any:
    """What makes the MCP server of settings."""
    return _load("server.app", "server", "build_server")


def load_settings() -> Any:
    """The class of settings."""
    return _load("settings", "settings", "Settings")


def load_main() -> Any:
    """The command."""
    return _load("cli.main", "cli", "main")


def _load(module: str, earlier: str, name: str) -> Any:
    try:
        found = importlib.import_module(f"{PACKAGE}.{module}")
    except ModuleNotFoundError as error:
        if error.name != f"{PACKAGE}.{module}":
            raise
        found = importlib.import_module(f"{PACKAGE}.{earlier}")
    return getattr(found, name)
