"""The entry of this server in a client's file: its command, its arguments, its environment."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which
from typing import Any, Final

from gateway_metrics_mcp.backends.address import (
    SCHEMES,
    Address,
    find_embedded_credentials,
    read_host,
)
from gateway_metrics_mcp.backends.duckdb.files import read_directory
from gateway_metrics_mcp.cli.flags import flag_of
from gateway_metrics_mcp.cli.install.clients import Client
from gateway_metrics_mcp.cli.install.existing import (
    CONFIG,
    REMOTE_PARTS,
    TOKEN_FILE,
    PreservedSettings,
    order_flags,
)
from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.settings import (
    CLICKHOUSE_PASSWORD,
    CLICKHOUSE_PASSWORD_FILE,
    GATEWAY_HOST,
    GATEWAY_TOKEN,
    OUR_VARIABLES,
    PREFIX,
    REMOTE_SCHEMES,
    Settings,
    flag_names,
    read_settings,
)

PACKAGE: Final = "gateway-metrics-mcp"

_GATEWAY: Final = ("the gateway token", GATEWAY_TOKEN, TOKEN_FILE, "--token-file")
_CLICKHOUSE: Final = (
    "the password",
    CLICKHOUSE_PASSWORD,
    CLICKHOUSE_PASSWORD_FILE,
    "--password-file",
)
_PLAIN: Final = (GATEWAY_HOST, TOKEN_FILE, CLICKHOUSE_PASSWORD_FILE)
_WITH_CLICKHOUSE: Final = f"{PACKAGE}[clickhouse]"
_MODULE: Final = "gateway_metrics_mcp"
_WORDS: Final = ("--from", _WITH_CLICKHOUSE, PACKAGE, "-m", _MODULE)
_PARTS: Final = ("type", "command", "args", "env")
_REFERENCE: Final = re.compile(
    r"\$\{(?:(?:env|(input)):)?([A-Za-z0-9_-]+)\}"
)  # with no default in it


@dataclass(frozen=True, slots=True)
class InstallOptions:
    """What the user wants in the entry."""

    name: str
    backend: str
    flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    said: frozenset[str] = frozenset()
    """The settings that the command line decides, by a flag or by the file of `--config`."""
    secret_file: Path | None = None
    writes_token: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    uses_uvx: bool = False

    @property
    def says_secret(self) -> bool:
        """Whether the command line says where the secret is."""
        return self.secret_file is not None or self.writes_token


@dataclass(frozen=True, slots=True)
class Secret:
    """What the backend wants to know, by the variable that holds it."""

    what: str
    variable: str
    is_referred: bool


@dataclass(frozen=True, slots=True)
class ServerEntry:
    """A server as a client starts it."""

    command: str
    args: tuple[str, ...]
    env: Mapping[str, str]
    secret: Secret | None = None
    """The secret that does not come from a file; `env` holds it, or the client's reference."""

    def to_json(self, client: Client) -> dict[str, Any]:
        """As the client's file has it."""
        type_ = {"type": "stdio"} if client.has_type else {}
        env = {"env": dict(self.env)} if self.env else {}
        return {**type_, "command": self.command, "args": list(self.args), **env}

    def resolve(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Its environment, as the client makes it: references are filled in where they can be."""
        filled: dict[str, str] = {}
        for name, value in self.env.items():
            source = find_source(name, value)
            text = value if source is None else environ.get(source)
            if text or source is None:
                filled[name] = text or ""
        return filled


def build_entry(
    client: Client,
    wish: InstallOptions,
    environ: Mapping[str, str],
    kept: PreservedSettings | None = None,
) -> ServerEntry:
    """The entry for the client, with what is kept of the one before.

    Raises:
        SettingsError: if the client can keep no secret and nothing else is said.
    """
    kept = kept or PreservedSettings()
    command, args = find_command(wish, environ)
    flags = order_flags({**kept.flags, **wish.flags})
    env = {**kept.env, **wish.environment}
    secret = None
    kind = _secret_of(wish.backend)
    if kind is not None:
        what, variable, file_variable, flag = kind
        is_wanted = kind is _GATEWAY or bool(environ.get(variable))
        if wish.secret_file is not None:
            env[file_variable] = str(wish.secret_file)
        elif wish.writes_token:
            env[variable] = _take_secret(variable, environ)
            secret = Secret(what, variable, is_referred=False)
        elif file_variable in kept.secrets:
            env[file_variable] = kept.secrets[file_variable]
        elif variable in kept.secrets:
            env[variable] = kept.secrets[variable]
            is_referred = find_source(variable, env[variable]) is not None
            secret = Secret(what, variable, is_referred=is_referred)
        elif is_wanted:
            reference = client.refer(variable, wish.name)
            if reference is None:
                raise SettingsError(
                    f"{client.title} keeps no secrets. Put {what} into a file that you alone can"
                    f" read and give {flag} FILE; or, to have it written into the client's file,"
                    " give --write-token"
                )
            env[variable] = reference
            secret = Secret(what, variable, is_referred=True)
    return ServerEntry(command, (*args, "--backend", wish.backend, *flags), env, secret)


def find_source(name: str, value: str) -> str | None:
    """The variable that a reference stands for: the one of its own name, if the client asks."""
    reference = _REFERENCE.fullmatch(value)
    if reference is None:
        return None
    return name if reference[1] else reference[2]


def is_secret(name: str, value: str) -> bool:
    """Whether a variable of an entry may hold what is not to be shown."""
    is_known = name in _PLAIN or (name.startswith(PREFIX) and name != CLICKHOUSE_PASSWORD)
    is_plain = is_known and not find_embedded_credentials(value)
    return not is_plain and not _REFERENCE.fullmatch(value)


def is_ours(words: object) -> bool:
    """Whether a command's arguments are such as stand in our entries: no secret is in those."""
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return False
    flags = {flag_of(name) for name in ("config", *flag_names())}
    rest = iter(words)
    for word in rest:
        if word in flags:
            if find_embedded_credentials(next(rest, "")):
                return False
        elif word not in _WORDS:
            return False
    return True


def merge(old: object, new: Mapping[str, Any]) -> dict[str, Any]:
    """The new entry with what the user added to the old one; None is what has to go."""
    before = old if isinstance(old, dict) else {}
    env_before = before.get("env")
    kept = {
        name: value
        for name, value in (env_before if isinstance(env_before, dict) else {}).items()
        if not name.startswith(OUR_VARIABLES)
    }
    env = {**kept, **new.get("env", {})}
    merged = {**new, **({"env": env} if env or "env" in before else {})}
    parts = (*_PARTS, *REMOTE_PARTS)
    return {part: merged.get(part) for part in parts if part in merged or part in before}


def _secret_of(backend: str) -> tuple[str, str, str, str] | None:
    if backend.lower().startswith(REMOTE_SCHEMES):
        return _GATEWAY
    return _CLICKHOUSE if backend.startswith(SCHEMES) else None


def _take_secret(variable: str, environ: Mapping[str, str]) -> str:
    secret = environ.get(variable, "").strip()
    if not secret:
        raise SettingsError(f"--write-token takes the secret from {variable}, which is not set")
    return secret


def find_command(wish: InstallOptions, environ: Mapping[str, str]) -> tuple[str, Sequence[str]]:
    """How to start this server from anywhere: clients started from a menu have no PATH."""
    if wish.uses_uvx or is_passing(sys.prefix):
        uvx = which("uvx", path=environ.get("PATH")) or "uvx"
        if wish.backend.startswith(SCHEMES):
            return uvx, ("--from", _WITH_CLICKHOUSE, PACKAGE)
        return uvx, (PACKAGE,)
    script = Path(sys.executable).parent / (
        f"{PACKAGE}.exe" if sys.platform == "win32" else PACKAGE
    )
    if script.is_file():
        return str(script), ()
    return sys.executable, ("-m", _MODULE)


def is_passing(prefix: str) -> bool:
    """Whether an installation is one that uvx made for a while, in its cache."""
    return any(part.startswith("archive-v") for part in Path(prefix).parts)


_FROM_ENVIRONMENT: Final = (GATEWAY_HOST, f"{PREFIX}BACKEND")
_APART: Final = ("backend", "token_file", "transport")
_ENGINES: Final = (*REMOTE_SCHEMES, *SCHEMES, "demo:")


def read_wish(arguments: Mapping[str, Any], environ: Mapping[str, str]) -> InstallOptions:
    """What the flags ask for; files by their full path, since clients start anywhere.

    Raises:
        SettingsError: if a setting does not fit, or no backend is named.
    """
    flags = {name: arguments.get(name) for name in (*flag_names(), CONFIG)}
    known = {name: environ[name] for name in _FROM_ENVIRONMENT if environ.get(name)}
    if revealed := find_embedded_credentials(flags["backend"] or ""):
        raise SettingsError(revealed)
    settings = read_settings(flags, known)
    token_file = settings.token_file or arguments["password_file"]
    return InstallOptions(
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
    if revealed := find_embedded_credentials(backend):
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
