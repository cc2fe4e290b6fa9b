"""The commands: serve (the default), check and demo."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, get_args

import anyio

from gateway_metrics_mcp import __version__
from gateway_metrics_mcp.errors import GatewayMetricsError
from gateway_metrics_mcp.settings import PREFIX, Settings, flag_names, read_settings

_COMMANDS = {
    "serve": "serve MCP over stdio, or with --transport http or sse over HTTP (the default)",
    "check": "try the configured backend and say what works",
    "demo": "ask five questions of generated data, as an MCP client",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 0 is success, 1 a failure that was explained, 2 wrong usage."""
    # A print that stays in the buffer would reach the wire after the server's end.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a text stream here
    arguments = vars(_build_parser().parse_args(argv))
    command = arguments.pop("command")
    try:
        settings = read_settings(arguments, os.environ)
        _configure_logging(settings)
        return _RUN[command](settings)
    except GatewayMetricsError as error:
        print(f"gateway-metrics-mcp: {error}", file=sys.stderr)  # noqa: T201 - stderr is ours
        return 1


def _build_parser() -> argparse.ArgumentParser:
    """A flag per setting; the text is the setting's own."""
    parser = argparse.ArgumentParser(
        prog="gateway-metrics-mcp",
        description="Answers questions about an LLM gateway's metrics over MCP.",
        epilog=f"Each flag is also a variable, {PREFIX}<FLAG>, and a key of the --config file.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = "; ".join(f"{name}: {text}" for name, text in _COMMANDS.items())
    parser.add_argument("command", nargs="?", choices=_COMMANDS, default="serve", help=commands)
    parser.add_argument("--config", metavar="FILE", help="a TOML file with settings")
    for name in flag_names():
        field = Settings.model_fields[name]
        choices = [c for c in get_args(field.annotation) if isinstance(c, str)]
        options: dict[str, Any] = {"action": "append"} if name == "allowed_host" else {}
        if choices:
            options["choices"] = choices
        else:
            options["metavar"] = name.rpartition("_")[2].upper()
        help_text = (field.description or "").replace("%", "%%")
        parser.add_argument(f"--{name.replace('_', '-')}", help=help_text, **options)
    return parser


def _configure_logging(settings: Settings) -> None:
    """Before the SDK configures it: our format and stream win."""
    logging.basicConfig(
        stream=sys.stderr,
        level=settings.log_level,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )


def _serve(settings: Settings) -> int:
    from gateway_metrics_mcp.server import build_server  # noqa: PLC0415 - mcp takes half a second

    server = build_server(settings)
    if settings.transport == "stdio":
        # The thread that reads stdin cannot be woken: the default action ends at once.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        anyio.run(server.run_stdio_async)
        return 0
    return _serve_http(server, settings)


def _serve_http(server: Any, settings: Settings) -> int:
    import uvicorn  # noqa: PLC0415 - only for HTTP

    from gateway_metrics_mcp.server import build_http_app, build_sse_app  # noqa: PLC0415 - likewise

    build = build_http_app if settings.transport == "http" else build_sse_app
    config = uvicorn.Config(
        build(server, settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        timeout_graceful_shutdown=1,
        server_header=False,
    )
    uvicorn.Server(config).run()
    return 0


def _check(settings: Settings) -> int:
    from gateway_metrics_mcp.check import check  # noqa: PLC0415 - not for the server's start

    findings = anyio.run(check, settings)
    for finding in findings:
        print(finding)  # noqa: T201 - the command's output
    return 0 if all(finding.is_good for finding in findings) else 1


def _demo(settings: Settings) -> int:
    from gateway_metrics_mcp.demo import run_demo  # noqa: PLC0415 - a client, not the server

    return anyio.run(run_demo, settings, sys.stdout)


_RUN = {"serve": _serve, "check": _check, "demo": _demo}
