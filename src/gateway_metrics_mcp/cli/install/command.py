"""The command `install`: puts this server into a client's configuration file, or takes it out."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio

from gateway_metrics_mcp.cli.flags import add_setting_flags
from gateway_metrics_mcp.cli.install.clients import CLIENTS, Client, Machine, find_file
from gateway_metrics_mcp.cli.install.config_file import ConfigFile
from gateway_metrics_mcp.cli.install.entry import (
    InstallOptions,
    ServerEntry,
    build_entry,
    find_source,
    is_passing,
    read_wish,
)
from gateway_metrics_mcp.cli.install.existing import (
    SECRETS,
    PreservedSettings,
    find_kept,
    list_gone,
)
from gateway_metrics_mcp.cli.install.plan import ConfigEdit, plan_install, plan_removal, read_entry
from gateway_metrics_mcp.cli.mcp_client import list_tools
from gateway_metrics_mcp.cli.parsers import Parser
from gateway_metrics_mcp.errors import GatewayMetricsError, UnreachableError
from gateway_metrics_mcp.settings import OUR_VARIABLES

_PATIENCE_S: Final = 60
_POOR_PATH: Final = "/usr/bin:/bin:/usr/sbin:/sbin"
_POOR: Final = ("HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "LANG")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    is_good: bool
    text: str


def try_server(client: Client, entry: ServerEntry, environ: Mapping[str, str]) -> Outcome:
    """Start the entry's command with the entry's environment, and ask for the tools."""
    env = {**_surroundings(client, environ), **entry.resolve(environ)}
    ask = partial(list_tools, entry.command, entry.args, env, timeout_s=_PATIENCE_S)
    try:
        tools = anyio.run(ask)
    except UnreachableError as error:
        return Outcome(False, f"started as {client.title} would start it, {error}")
    listed = ", ".join(tools)
    return Outcome(True, f"started as {client.title} would start it: {len(tools)} tools: {listed}")


def _surroundings(client: Client, environ: Mapping[str, str]) -> dict[str, str]:
    """What the client hands on of its own environment; our variables are the entry's business."""
    if client.is_poor and "SYSTEMROOT" not in environ:
        return {**{n: environ[n] for n in _POOR if n in environ}, "PATH": _POOR_PATH}
    return {name: text for name, text in environ.items() if not name.startswith(OUR_VARIABLES)}


PROGRAM: Final = "gateway-metrics-mcp install"
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PRINT: Final = "print"
_SHOWN: Final = ("backend", "token_file", "catalog", "prompts", "timezone", "budget")


def main(
    argv: Sequence[str],
    environ: Mapping[str, str] = os.environ,
    platform: str = sys.platform,
) -> int:
    """Run the command; 0 is success, 1 a failure that was explained, 2 wrong usage."""
    arguments = _parse(argv)
    machine = Machine(platform, environ)
    try:
        if arguments.pop("remove"):
            return _remove(arguments, machine)
        return _install(arguments, machine)
    except GatewayMetricsError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)  # noqa: T201 - the command's output
        return 1


def _install(arguments: dict[str, Any], machine: Machine) -> int:
    client = CLIENTS[arguments["client"]]
    is_tried = not arguments["no_try"] and not arguments["dry_run"]
    wish = read_wish(arguments, machine.environ)
    way_back = None
    if arguments["client"] == _PRINT:
        entry = build_entry(client, wish, machine.environ)
        snippet = {client.servers: {wish.name: entry.to_json(client)}}
        print(json.dumps(snippet, indent=2, ensure_ascii=False))  # noqa: T201 - the command's output
    else:
        entry, way_back = _put_in(_find_file(arguments, machine), client, wish, arguments, machine)
    _advise(entry, machine, client.title)
    if is_passing(sys.prefix) and not wish.uses_uvx:
        _say("the entry starts uvx: this installation is a passing one")
    if not is_tried:
        return 0
    outcome = try_server(client, entry, machine.environ)
    _say(outcome.text)
    if outcome.is_good and client.after:
        _say(client.after)
    if not outcome.is_good and way_back is not None:
        _say(f"the entry is written all the same. To go back, {way_back}")
    return 0 if outcome.is_good else 1


def _put_in(
    file: ConfigFile,
    client: Client,
    wish: InstallOptions,
    arguments: Mapping[str, Any],
    machine: Machine,
) -> tuple[ServerEntry, str | None]:
    """Write the entry with what stays of the one before, or show it; and the way back."""
    before, is_dry = read_entry(file, client, wish.name), arguments["dry_run"]
    kept = find_kept(before, wish.said)
    entry = build_entry(client, wish, machine.environ, kept)
    change = plan_install(file, client, wish.name, entry)
    if change.is_any:
        file.check_writable()
    _explain_kept(before, entry, wish, kept, client)
    holds_secret = entry.secret is not None and not entry.secret.is_referred
    backup = _apply(change, is_dry=is_dry, is_private=holds_secret)
    if holds_secret and not is_dry:
        _say(f"{change.file.path} holds the secret itself: keep it to yourself")
    if not change.is_any:
        return entry, None
    if before is None:
        return entry, "give the same command with --remove"
    return entry, f"put {backup} in the place of {change.file.path}"


def _explain_kept(
    before: object,
    entry: ServerEntry,
    wish: InstallOptions,
    kept: PreservedSettings,
    client: Client,
) -> None:
    """What goes of the entry before, and a token that was meant for another address."""
    said = {*wish.said, *SECRETS, "token_file"} if wish.says_secret else wish.said
    gone = list_gone(before, entry.to_json(client), said)
    if gone:
        _say(f"not kept of the entry that was there: {', '.join(gone)}")
    for name in kept.secrets:
        is_same = entry.env.get(name) == kept.secrets[name] and name not in wish.environment
        if kept.backend not in (None, wish.backend) and is_same and not wish.says_secret:
            _say(f"{name} is kept, which was for another backend")


def _remove(arguments: dict[str, Any], machine: Machine) -> int:
    file = _find_file(arguments, machine)
    change = plan_removal(file, CLIENTS[arguments["client"]], arguments["name"])
    if change.is_any:
        file.check_writable()
    _apply(change, is_dry=arguments["dry_run"], is_private=False)
    return 0


def _find_file(arguments: Mapping[str, Any], machine: Machine) -> ConfigFile:
    return ConfigFile.read(arguments["file"] or find_file(arguments["client"], machine))


def _apply(change: ConfigEdit, *, is_dry: bool, is_private: bool) -> Path | None:
    """Write the change, or show it, and say which; the backup's path, where one was made."""
    if not change.is_any:
        _say(f"{change.file.path}: nothing to change")
        return None
    if is_dry:
        print(change.show())  # noqa: T201 - the command's output
        return None
    backup = change.file.replace(change.new.text, is_private=is_private)
    _say(f"{change.file.path}: {change.what}")
    if backup is not None:
        secret = ", and holds the secret that stood there" if change.had_secret else ""
        _say(f"the file as it was is in {backup}{secret}")
    return backup


def _advise(entry: ServerEntry, machine: Machine, title: str) -> None:
    secret = entry.secret
    if secret is None or not secret.is_referred:
        return
    source = find_source(secret.variable, entry.env[secret.variable])
    if "${input:" in entry.env[secret.variable]:
        _say(f"{title} asks for {secret.what} when it starts the server, and keeps it")
    elif source is not None and not machine.environ.get(source):
        _say(f"{source} is not set here: set it where {title} is started from")


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201 - the command's report; stdout is for what is asked


def _parse(argv: Sequence[str]) -> dict[str, Any]:
    parser = _build_parser()
    known = parser.parse(argv)
    if known.client == _PRINT and (known.write_token or known.remove):
        parser.error("print takes no --remove, and no --write-token: it would show the secret")
    if not _NAME.fullmatch(known.name):
        parser.error("--name takes letters, digits, - and _, at most 64")
    return vars(known)


def _build_parser() -> Parser:
    parser = Parser(
        PROGRAM,
        usage="%(prog)s --client CLIENT [flags]",
        description="Puts this server into an MCP client's configuration, and tries it.",
        epilog="Every other setting of the server is a flag here too, and goes into the entry.",
    )
    add = parser.add_argument
    add("--client", required=True, choices=tuple(CLIENTS), help="print: the snippet for others")
    add("--name", default="gateway-metrics", help="the server's name there (%(default)s)")
    add("--file", type=Path, metavar="FILE", help="another file than the client's usual one")
    add("--dry-run", action="store_true", help="show the change, without secrets; write nothing")
    add("--remove", action="store_true", help="take the entry out again")
    add("--no-try", action="store_true", help="do not start the server to try it")
    add("--uvx", action="store_true", help="start it by uvx, not from this installation")
    add(
        "--env",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a variable for the server, such as SSL_CERT_FILE or HTTPS_PROXY; repeat",
    )
    add("--password-file", type=Path, metavar="FILE", help="a file with ClickHouse's password")
    add(
        "--write-token",
        action="store_true",
        help="write the secret itself, from its variable, into the client's file (mode 0600)",
    )
    add_setting_flags(parser, without=("transport",), shown=_SHOWN)
    return parser
