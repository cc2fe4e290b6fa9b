"""The command `install`: adds this server to a client's configuration file, or removes it."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio

from gateway_metrics_mcp.backends import find_embedded_credentials
from gateway_metrics_mcp.backends.clickhouse import Address
from gateway_metrics_mcp.backends.duckdb.files import read_directory
from gateway_metrics_mcp.backends.gateway.address import read_host
from gateway_metrics_mcp.cli.install.clients import CLIENTS, Client, Machine, find_file
from gateway_metrics_mcp.cli.install.edit import ConfigEdit, ConfigFile, plan_edit, read_entry
from gateway_metrics_mcp.cli.install.entry import (
    CONFIG,
    SECRETS,
    InstallOptions,
    PreservedSettings,
    ServerEntry,
    build_entry,
    find_preserved,
    find_source,
    is_temporary,
    list_dropped,
)
from gateway_metrics_mcp.cli.mcp_client import list_tools
from gateway_metrics_mcp.cli.parsers import Parser, add_setting_flags
from gateway_metrics_mcp.errors import GatewayMetricsError, SettingsError, UnreachableError
from gateway_metrics_mcp.settings import (
    CLICKHOUSE_SCHEMES,
    GATEWAY_HOST,
    OUR_VARIABLES,
    PREFIX,
    REMOTE_SCHEMES,
    Settings,
    flag_names,
    read_settings,
)

PROGRAM: Final = "gateway-metrics-mcp install"
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PRINT: Final = "print"
_SHOWN: Final = ("backend", "token_file", "catalog", "prompts", "timezone", "budget")
# What clients started from a menu on macOS and Linux pass on: without the shell's PATH, `uvx` or
# a virtual environment is not found, so the smoke test uses the same.
_POOR_PATH: Final = "/usr/bin:/bin:/usr/sbin:/sbin"
_POOR: Final = ("HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "LANG")


def main(
    argv: Sequence[str],
    environ: Mapping[str, str] = os.environ,
    platform: str = sys.platform,
) -> int:
    """Run the command.

    Returns:
        The exit code: 0 success, 1 an explained failure; wrong usage exits with 2.
    """
    arguments = _parse(argv)
    machine = Machine(platform, environ)
    try:
        if arguments["remove"]:
            return _remove(arguments, machine)
        return _install(arguments, machine)
    except GatewayMetricsError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)  # noqa: T201 - the command's output
        return 1


def _install(arguments: Mapping[str, Any], machine: Machine) -> int:
    client = CLIENTS[arguments["client"]]
    options = _read_options(arguments, machine.environ)
    way_back = None
    if arguments["client"] == _PRINT:
        entry = build_entry(client, options, machine.environ)
        snippet = {client.servers: {options.name: entry.to_json(client)}}
        print(json.dumps(snippet, indent=2, ensure_ascii=False))  # noqa: T201 - the command's output
    else:
        entry, way_back = _put_entry(client, options, arguments, machine)
    _advise(entry, machine, client.title)
    if is_temporary(sys.prefix) and not options.uses_uvx:
        _say("the entry starts uvx: this installation is temporary")
    if arguments["no_try"] or arguments["dry_run"]:
        return 0
    is_good = _run_smoke_test(client, entry, machine.environ)
    if is_good and client.after:
        _say(client.after)
    if not is_good and way_back is not None:
        _say(f"the entry is written anyway. To undo, {way_back}")
    return 0 if is_good else 1


def _put_entry(
    client: Client, options: InstallOptions, arguments: Mapping[str, Any], machine: Machine
) -> tuple[ServerEntry, str | None]:
    """Write the entry, or show it with `--dry-run`, keeping settings of an existing entry.

    Returns:
        The entry, and how to undo the change; None if nothing was changed.
    """
    file, is_dry = _find_file(arguments, machine), arguments["dry_run"]
    before = read_entry(file, client, options.name)
    preserved = find_preserved(before, options.given)
    entry = build_entry(client, options, machine.environ, preserved)
    edit = plan_edit(file, client, options.name, entry)
    if edit.is_any:
        file.check_writable()
    _explain_preserved(before, entry, options, preserved, client)
    backup = _apply(edit, is_dry=is_dry, is_private=entry.holds_secret)
    if entry.holds_secret and not is_dry:
        _say(f"{file.path} contains the secret itself: keep it private")
    if not edit.is_any:
        return entry, None
    if before is None:
        return entry, "give the same command with --remove"
    return entry, f"replace {file.path} with {backup}"


def _explain_preserved(
    before: object,
    entry: ServerEntry,
    options: InstallOptions,
    preserved: PreservedSettings,
    client: Client,
) -> None:
    """Say what is dropped of the existing entry, and if a kept token was for another backend."""
    given = {*options.given, *SECRETS, "token_file"} if options.has_secret else options.given
    dropped = list_dropped(before, entry.to_json(client), given)
    if dropped:
        _say(f"dropped from the previous entry: {', '.join(dropped)}")
    if options.has_secret or preserved.backend in (None, options.backend):
        return
    for name, value in preserved.secrets.items():
        if entry.env.get(name) == value:
            _say(f"{name} is kept, which was for another backend")


def _remove(arguments: Mapping[str, Any], machine: Machine) -> int:
    file = _find_file(arguments, machine)
    edit = plan_edit(file, CLIENTS[arguments["client"]], arguments["name"], None)
    if edit.is_any:
        file.check_writable()
    _apply(edit, is_dry=arguments["dry_run"], is_private=False)
    return 0


def _find_file(arguments: Mapping[str, Any], machine: Machine) -> ConfigFile:
    return ConfigFile.read(arguments["file"] or find_file(arguments["client"], machine))


def _apply(edit: ConfigEdit, *, is_dry: bool, is_private: bool) -> Path | None:
    """Write the edit, or show it with `--dry-run`; returns the backup's path if one was made."""
    if not edit.is_any:
        _say(f"{edit.file.path}: nothing to change")
        return None
    if is_dry:
        print(edit.show())  # noqa: T201 - the command's output
        return None
    backup = edit.file.replace(edit.new.text, is_private=is_private)
    _say(f"{edit.file.path}: {edit.what}")
    if backup is not None:
        secret = ", and contains the secret that was there" if edit.had_secret else ""
        _say(f"the previous file is in {backup}{secret}")
    return backup


def _advise(entry: ServerEntry, machine: Machine, title: str) -> None:
    """Say what the user still has to do for the server to get its secret."""
    if entry.secret is None or entry.holds_secret:
        return
    reference = entry.env[entry.secret.variable]
    source = find_source(entry.secret.variable, reference)
    if "${input:" in reference:
        _say(f"{title} asks for {entry.secret.what} when it starts the server, and keeps it")
    elif source is not None and not machine.environ.get(source):
        _say(f"{source} is not set here: set it where {title} is started from")


def _run_smoke_test(client: Client, entry: ServerEntry, environ: Mapping[str, str]) -> bool:
    """Start the server as the client would; whether it lists its tools."""
    env = {**_inherit(client, environ), **entry.resolve(environ)}
    ask = partial(list_tools, entry.command, entry.args, env, timeout_s=60)
    started = f"started as {client.title} would start it"
    try:
        tools = anyio.run(ask)
    except UnreachableError as error:
        _say(f"{started}, {error}")
        return False
    _say(f"{started}: {len(tools)} tools: {', '.join(tools)}")
    return True


def _inherit(client: Client, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment that the client passes on; our own variables come from the entry only."""
    # SYSTEMROOT is set on Windows, to which the short list does not apply.
    if client.is_poor and "SYSTEMROOT" not in environ:
        return {**{n: environ[n] for n in _POOR if n in environ}, "PATH": _POOR_PATH}
    return {name: text for name, text in environ.items() if not name.startswith(OUR_VARIABLES)}


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201 - the command's report; stdout is for what is asked


# --- what the command line says ---


def _read_options(arguments: Mapping[str, Any], environ: Mapping[str, str]) -> InstallOptions:
    """Read the flags; paths become absolute, because clients start servers in any directory.

    Raises:
        SettingsError: if a setting is invalid, or no backend is given.
    """
    flags = {name: arguments.get(name) for name in (*flag_names(), CONFIG)}
    # Of this environment only the backend counts: the entry's server runs in another one.
    known = {
        name: environ[name] for name in (GATEWAY_HOST, f"{PREFIX}BACKEND") if environ.get(name)
    }
    if revealed := find_embedded_credentials(flags["backend"] or ""):
        raise SettingsError(revealed)
    settings = read_settings(flags, known)
    token_file = settings.token_file or arguments["password_file"]
    config = () if flags[CONFIG] is None else (CONFIG,)
    return InstallOptions(
        name=arguments["name"],
        backend=_read_backend(settings),
        flags=dict(_read_flags(flags, settings)),
        given=frozenset((*settings.model_fields_set, *config)),
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
    if revealed := find_embedded_credentials(backend):
        raise SettingsError(revealed)
    if settings.is_remote:
        return read_host(backend)
    if backend.startswith(CLICKHOUSE_SCHEMES):
        Address.read(backend)
    if backend.startswith((*REMOTE_SCHEMES, *CLICKHOUSE_SCHEMES, "demo:")):
        return backend
    read_directory(Path(backend))
    return str(_full(Path(backend)))


def _read_flags(
    given: Mapping[str, Any], settings: Settings
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The given settings as flags with their values, for the entry's command line."""
    for name, value in given.items():
        # These are written elsewhere, or always stdio.
        if value is None or name in ("backend", "token_file", "transport"):
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
    add("--file", type=Path, metavar="FILE", help="a file other than the client's usual one")
    add("--dry-run", action="store_true", help="show the change, without secrets; write nothing")
    add("--remove", action="store_true", help="remove the entry")
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
