"""Parses the command (`serve` by default) and its settings, and runs it."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import anyio

from gateway_metrics_mcp import __version__
from gateway_metrics_mcp.cli.parsers import Parser, add_setting_flags, read_command_settings
from gateway_metrics_mcp.cli.serve import serve, serve_api
from gateway_metrics_mcp.errors import GatewayMetricsError
from gateway_metrics_mcp.query import did_you_mean
from gateway_metrics_mcp.runtime.logs import announce
from gateway_metrics_mcp.settings import PREFIX, Settings, find_secret_files, warn_of_readers

if TYPE_CHECKING:
    from gateway_metrics_mcp.cli.check import Finding
    from gateway_metrics_mcp.cli.front import Front

_COMMANDS = {
    "serve": "serve MCP over stdio, or with --transport http or sse over HTTP (the default)",
    "api": "serve the metrics query API itself over HTTP, from an engine",
    "check": "try the configured backend and say what works",
    "demo": "ask five questions of generated data, as an MCP client",
}

_OWN_FLAGS = {
    "ask": "ask.command",
    "compact": "ingest.compact",
    "import": "ingest.command",
    "install": "install.command",
    "token": "token",
}
"""Commands with flags of their own, and their modules: imported only when used, for start-up."""
_OTHERS = {
    "ask": "ask one question and print the answer (ask --help)",
    "compact": "merge the files of many imports into one a day (compact --help)",
    "import": "load your own logs into a data directory (import --help)",
    "install": "put this server into an MCP client's configuration (install --help)",
    "token": "make a token for a caller of api or of MCP over HTTP (token --help)",
}


def run(argv: Sequence[str], front: Front | None) -> int:
    """Run a command; `front` answers a client meanwhile, if the command serves stdio."""
    if argv and argv[0] in _OWN_FLAGS:
        module = import_module(f"gateway_metrics_mcp.cli.{_OWN_FLAGS[argv[0]]}")
        _collect_again()
        code: int = module.main(argv[1:])
        return code
    arguments = _parse(argv)
    command, is_whole = arguments.pop("command"), arguments.pop("files")
    try:
        settings = read_command_settings(arguments)
        warn_of_readers(find_secret_files(settings, os.environ))
        if command != "serve":
            _collect_again()
        if command == "check":
            return _check(settings, is_whole=is_whole)
        if command != "serve":
            return _RUN[command](settings)
        return serve(settings, front, arguments["config"])
    except GatewayMetricsError as error:
        announce(str(error))
        return 1


def _collect_again() -> None:
    """Let the garbage collector run, also at the exit, but skip what is imported so far."""
    gc.freeze()
    gc.enable()


def _parse(argv: Sequence[str]) -> dict[str, Any]:
    """Parse the command and its flags; exits with 2 on wrong usage.

    Unknown flags are refused first, because argparse takes the value of one for the command.
    """
    parser = _build_parser()
    known, rest = parser.parse_known_args(argv)
    if known.command in _OWN_FLAGS:
        parser.error(f"{known.command} must come first: it has flags of its own")
    parser.refuse(rest, argv)
    if known.command not in _COMMANDS:
        if set(known.command) & set("@:/\\"):  # there may be a password in it
            parser.error("give an address or a directory as --backend ADDRESS")
        choice = did_you_mean(known.command, _COMMANDS | _OTHERS)
        parser.error(f"unknown command {known.command}. {choice}")
    if known.files and known.command != "check":
        parser.error(f"--files belongs to check, not to {known.command}")
    return vars(known)


def _build_parser() -> Parser:
    """The parser of commands whose flags are the settings."""
    parser = Parser(
        "gateway-metrics-mcp",
        usage="%(prog)s [command] [flags]",
        description="Answers questions about an LLM gateway's metrics over MCP.",
        epilog=f"Each flag is also a variable, {PREFIX}<FLAG>, and a key of the --config file.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = "; ".join(f"{name}: {text}" for name, text in (_COMMANDS | _OTHERS).items())
    names = f"{{{','.join(_COMMANDS | _OTHERS)}}}"
    parser.add_argument("command", nargs="?", metavar=names, default="serve", help=commands)
    whole = "check: read all of a data directory's files, also beyond 1 GB"
    parser.add_argument("--files", action="store_true", help=whole)
    add_setting_flags(parser)
    return parser


def _check(settings: Settings, *, is_whole: bool) -> int:
    # Not for the server's start.
    from gateway_metrics_mcp.cli.check import check, check_files, check_rules

    findings = [*anyio.run(check, settings), check_rules()]
    _print(findings)  # before what may take long
    files = check_files(settings, sys.stderr, is_whole=is_whole)
    _print(files)
    return 0 if all(finding.is_good for finding in (*findings, *files)) else 1


def _print(findings: Sequence[Finding]) -> None:
    for finding in findings:
        print(finding)  # noqa: T201 - the command's output


def _demo(settings: Settings) -> int:
    from gateway_metrics_mcp.cli.demo import run_demo  # a client, not the server

    return anyio.run(run_demo, settings, sys.stdout)


_RUN = {"api": serve_api, "demo": _demo}
