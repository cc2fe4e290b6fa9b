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


def load_backend() -> Any:
    """The class `DuckDBBackend`."""
    return _load("backends.duckdb.backend", "backends.duckdb", "DuckDBBackend")


def load_read_query() -> Any:
    """The function `read_query`, which reads a decoded JSON body."""
    return _load("http.body", "query.reading", "read_query")


def load_caller() -> Any:
    """The caller `LOCAL`, who sees every row."""
    return _load("query.model", "access", "LOCAL")


def _load(module: str, earlier: str, name: str) -> Any:
    """The name from its module, or from an earlier one if this layout has it elsewhere."""
    path = f"{PACKAGE}.{module}"
    try:
        return getattr(importlib.import_module(path), name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{path}.".startswith(f"{error.name}."):
            raise  # the module exists, and a package that it imports is missing
    except AttributeError:
        pass
    return getattr(importlib.import_module(f"{PACKAGE}.{earlier}"), name)
