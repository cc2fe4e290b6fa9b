"""Imports the package's entry points from its rooms or from the older flat layout.

Benchmarks compare this version with older ones.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

PACKAGE: Final = "gateway_metrics_mcp"


def load_build_server() -> Any:
    """The function `build_server`."""
    return _load("server.app", "server", "build_server")


def load_settings() -> Any:
    """The class `Settings`."""
    return _load("settings", "settings", "Settings")


def load_main() -> Any:
    """The function `main` of the command line."""
    return _load("cli.main", "cli", "main")


def _load(module: str, earlier: str, name: str) -> Any:
    try:
        found = importlib.import_module(f"{PACKAGE}.{module}")
    except ModuleNotFoundError as error:
        if error.name != f"{PACKAGE}.{module}":
            raise  # the module exists, and a package that it imports is missing
        found = importlib.import_module(f"{PACKAGE}.{earlier}")
    return getattr(found, name)
