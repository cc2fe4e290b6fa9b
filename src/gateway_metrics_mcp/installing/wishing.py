"""The command's flags -> what the user wants in the entry, checked as the server checks it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from gateway_metrics_mcp.backends.clickhouse_address import SCHEMES, Address
from gateway_metrics_mcp.backends.files import read_directory
from gateway_metrics_mcp.backends.gateway_host import read_host
from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.installing.entry import Wish
from gateway_metrics_mcp.installing.keeping import CONFIG
from gateway_metrics_mcp.revealed import explain_revealed
from gateway_metrics_mcp.settings import (
    GATEWAY_HOST,
    OUR_VARIABLES,
    PREFIX,
    REMOTE_SCHEMES,
    Settings,
    flag_names,
    read_settings,
)

_FROM_ENVIRONMENT: Final = (GATEWAY_HOST, f"{PREFIX}BACKEND")
_APART: Final = ("backend", "token_file", "transport")
_ENGINES: Final = (*REMOTE_SCHEMES, *SCHEMES, "demo:")


def read_wish(arguments: Mapping[str, Any], environ: Mapping[str, str]) -> Wish:
    """What the flags ask for; files by their full path, since clients start anywhere.

    Raises:
        SettingsError: if a setting does not fit, or no backend is named.
    """
    flags = {name: arguments.get(name) for name in (*flag_names(), CONFIG)}
    known = {name: environ[name] for name in _FROM_ENVIRONMENT if environ.get(name)}
    if revealed := explain_revealed(flags["backend"] or ""):
        raise SettingsError(revealed)
    settings = read_settings(flags, known)
    token_file = settings.token_file or arguments["password_file"]
    return Wish(
        name=arguments["name"],
        backend=_read_backend(settings),
        flags=dict(_flags(flags, settings)),
        said=frozenset(_find_said(flags, settings)),
        secret_file=None if token_file is None else _full(token_file),
        writes_token=arguments["write_token"],
        environment=dict(_read_variable(text) for text in arguments["env"]),
        uses_uvx=arguments["uvx"],
    )


def _read_backend(settings: Settings) -> str:
    backend = (settings.backend or "").strip()
    if not backend:
        raise SettingsError(
            "no backend is named: give --backend with your gateway's https:// address (or set"
            f" {GATEWAY_HOST}), a directory of Parquet, clickhouse://user@host:8123/database, or"
            " demo: to try it without an account"
        )
    if revealed := explain_revealed(backend):
        raise SettingsError(revealed)
    if settings.is_remote:
        return read_host(backend)
    if backend.startswith(SCHEMES):
        Address.read(backend)
    if backend.startswith(_ENGINES):
        return backend
    read_directory(Path(backend))
    return str(_full(Path(backend)))


def _find_said(flags: Mapping[str, Any], settings: Settings) -> Iterator[str]:
    yield from settings.model_fields_set
    if flags[CONFIG] is not None:
        yield CONFIG


def _flags(given: Mapping[str, Any], settings: Settings) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The settings that were given, as a command line has them."""
    for name, value in given.items():
        if value is None or name in _APART:
            continue
        is_path = name == CONFIG or isinstance(getattr(settings, name), Path)
        values = value if isinstance(value, list) else [value]
        yield name, tuple(str(_full(Path(each))) if is_path else str(each) for each in values)


def _full(path: Path) -> Path:
    return path.expanduser().absolute()


def _read_variable(text: str) -> tuple[str, str]:
    name, is_given, value = text.partition("=")
    if not is_given or not name or name.startswith(OUR_VARIABLES):
        raise SettingsError(
            "--env takes NAME=VALUE of a variable that is not this server's own: those are flags,"
            " and secrets come from their files or variables"
        )
    return name, value
