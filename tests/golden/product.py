"""The one place of the recording that imports the product: all else goes through these names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr
from starlette.applications import Starlette

from gateway_metrics_mcp import __version__
from gateway_metrics_mcp.auth import policies
from gateway_metrics_mcp.cli import check, main, token
from gateway_metrics_mcp.cli.ask import command as ask_command
from gateway_metrics_mcp.cli.ingest import command as import_command
from gateway_metrics_mcp.cli.ingest import directory as import_directory
from gateway_metrics_mcp.cli.install.command import main as run_install
from gateway_metrics_mcp.http import api
from gateway_metrics_mcp.http.api import MetricsApi, build_api_app
from gateway_metrics_mcp.http.transports import build_http_app
from gateway_metrics_mcp.query.vocabulary import API_PATH
from gateway_metrics_mcp.server.app import MetricsServer, build_server
from gateway_metrics_mcp.settings import OUR_VARIABLES, Settings

__all__ = [
    "API_PATH",
    "NOW",
    "OUR_VARIABLES",
    "VERSION",
    "at_fixed_clock",
    "run_command",
    "run_installer",
    "serve_api",
    "serve_http",
    "serve_memory",
]

NOW: Final = datetime(2026, 7, 15, 9, 30, tzinfo=UTC)
"""A Wednesday, at which every question is asked."""

VERSION: Final = __version__

_CLOCKED: Final[Sequence[Any]] = (
    api,
    ask_command,
    check,
    import_command,
    import_directory,
    policies,
    token,
)
"""The modules that read the clock by themselves, by the name `datetime`."""


class _AnyDatetime(type(datetime)):  # type: ignore[misc]  # the metaclass is `type` itself
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, datetime)


class _FixedDatetime(datetime, metaclass=_AnyDatetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Any:
        return NOW.astimezone(tz)


@contextmanager
def at_fixed_clock() -> Iterator[None]:
    """Commands and the HTTP application read NOW wherever they ask for the time of day."""
    for module in _CLOCKED:
        module.datetime = _FixedDatetime
    try:
        yield
    finally:
        for module in _CLOCKED:
            module.datetime = datetime


def serve_memory(backend: str, **settings: Any) -> MetricsServer:
    """An MCP server to connect to in process."""
    return build_server(_read(backend, settings), clock=lambda: NOW)


def serve_http(backend: str, tokens: Path, **settings: Any) -> Starlette:
    """MCP over HTTP, for callers with tokens; with `/metrics`."""
    read = _read(backend, {"transport": "http", "tokens": tokens, **settings})
    return build_http_app(build_server(read, clock=lambda: NOW), read)


def serve_api(backend: str, tokens: Path | None, **settings: Any) -> Starlette:
    """The metrics query API over HTTP."""
    read = _read(backend, {"tokens": tokens, **settings})
    return build_api_app(MetricsApi(read, clock=lambda: NOW), read)


def run_command(argv: Sequence[str]) -> int:
    """The command line, in process."""
    return main.main(argv)


run_installer: Callable[[Sequence[str], Mapping[str, str], str], int] = run_install
"""`install`, for a system and an environment of one's choice."""


def _read(backend: str, settings: dict[str, Any]) -> Settings:
    secret = settings.pop("token", None)
    given = {"backend": backend, "threads": 1, "timeout": 60, **settings}
    return Settings(**given, token=None if secret is None else SecretStr(secret))
