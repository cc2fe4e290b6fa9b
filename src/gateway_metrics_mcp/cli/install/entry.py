"""This server's entry in a client's file: built from options, and read to preserve settings.

It reads no files: the JSON comes from edit.py.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which
from typing import Any, Final

from gateway_metrics_mcp.backends import find_embedded_credentials
from gateway_metrics_mcp.cli.install.clients import Client
from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.settings import (
    CLICKHOUSE_PASSWORD,
    CLICKHOUSE_PASSWORD_FILE,
    CLICKHOUSE_SCHEMES,
    GATEWAY_HOST,
    GATEWAY_TOKEN,
    OUR_VARIABLES,
    PREFIX,
    REFERENCE,
    REMOTE_SCHEMES,
    Settings,
    flag_names,
    flag_of,
    read_settings,
)

PACKAGE: Final = "gateway-metrics-mcp"
CONFIG: Final = "config"
TOKEN_FILE: Final = f"{PREFIX}TOKEN_FILE"
SECRETS: Final = (GATEWAY_TOKEN, TOKEN_FILE, CLICKHOUSE_PASSWORD, CLICKHOUSE_PASSWORD_FILE)
REMOTE_PARTS: Final = (
    *("url", "serverUrl", "httpUrl", "headers", "headersHelper", "auth", "oauth"),
    *("authProviderType", "transport", "transportType"),
)
"""Keys of entries for remote servers, in the spellings of several clients; ours has none."""

_MODULE: Final = "gateway_metrics_mcp"
_WITH_CLICKHOUSE: Final = f"{PACKAGE}[clickhouse]"
_WORDS: Final = ("--from", _WITH_CLICKHOUSE, PACKAGE, "-m", _MODULE)
_ORDER: Final = (*flag_names(), CONFIG)
_BY_FLAG: Final = {flag_of(name): name for name in _ORDER}
_BY_VARIABLE: Final = {
    **{f"{PREFIX}{name.upper()}": name for name in _ORDER},
    **{name: name for name in SECRETS if name != TOKEN_FILE},  # no settings with flags
    GATEWAY_HOST: "backend",
}
_APART: Final = ("backend", "transport", "token_file", *SECRETS)  # decided separately, never kept
_NO_SECRETS: Final = (GATEWAY_HOST, TOKEN_FILE, CLICKHOUSE_PASSWORD_FILE)
_REFERENCE: Final = re.compile(r"\$\{(?:(?:env|(input)):)?([A-Za-z0-9_-]+)\}")  # without a default
_PROGRAM: Final = re.compile(
    r"(?:.*[\\/])?gateway[-_]metrics[-_]mcp(?:\[[a-z,]*\])?(?:\.exe|[@=<>~!].*)?"
)
# Programs that can start ours; another command in an entry is reported as dropped.
_STARTERS: Final = re.compile(r"(?:.*[\\/])?(?:uvx?|pipx|python[0-9.]*|pythonw)(?:\.exe)?")
_FLAG: Final = re.compile(r"--[a-z]+(?:-[a-z]+)*")


@dataclass(frozen=True, slots=True)
class InstallOptions:
    """The user's options for the entry."""

    name: str
    backend: str
    flags: Mapping[str, tuple[str, ...]]
    given: frozenset[str]
    """The settings that the command line sets, by flags or by the file of `--config`."""
    secret_file: Path | None
    writes_token: bool
    environment: Mapping[str, str]
    uses_uvx: bool

    @property
    def has_secret(self) -> bool:
        """Whether the command line says where the secret comes from."""
        return self.secret_file is not None or self.writes_token


@dataclass(frozen=True, slots=True)
class Secret:
    """A backend's secret, and the variables that hold it or name its file."""

    what: str
    variable: str
    file_variable: str
    flag: str


_GATEWAY: Final = Secret("the gateway token", GATEWAY_TOKEN, TOKEN_FILE, "--token-file")
_CLICKHOUSE: Final = Secret(
    "the password", CLICKHOUSE_PASSWORD, CLICKHOUSE_PASSWORD_FILE, "--password-file"
)


@dataclass(frozen=True, slots=True)
class PreservedSettings:
    """The settings of an existing entry that the new one keeps."""

    flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)  # by variable, also those of files
    backend: str | None = None


@dataclass(frozen=True, slots=True)
class ServerEntry:
    """The command, arguments and environment with which a client starts the server."""

    command: str
    args: tuple[str, ...]
    env: Mapping[str, str]
    secret: Secret | None = None
    """The secret in `env`, as itself or as a reference; None if it comes from a file."""

    @property
    def holds_secret(self) -> bool:
        """Whether the entry contains the secret itself and not a reference."""
        secret = self.secret
        return (
            secret is not None and find_source(secret.variable, self.env[secret.variable]) is None
        )

    def to_json(self, client: Client) -> dict[str, Any]:
        """The entry as the client's file holds it."""
        type_ = {"type": "stdio"} if client.has_type else {}
        env = {"env": dict(self.env)} if self.env else {}
        return {**type_, "command": self.command, "args": list(self.args), **env}

    def resolve(self, environ: Mapping[str, str]) -> dict[str, str]:
        """The environment as the client would build it, with references resolved from `environ`."""
        filled: dict[str, str] = {}
        for name, value in self.env.items():
            source = find_source(name, value)
            if source is None or environ.get(source):
                filled[name] = value if source is None else environ[source]
        return filled


def build_entry(
    client: Client,
    options: InstallOptions,
    environ: Mapping[str, str],
    preserved: PreservedSettings | None = None,
) -> ServerEntry:
    """Build the entry for a client, with the preserved settings of an existing one.

    Raises:
        SettingsError: if the client has no place for the secret and the flags name none.
    """
    preserved = preserved or PreservedSettings()
    command, words = _find_command(options, environ)
    settings = {**preserved.flags, **options.flags}
    for name in _ORDER:
        for value in settings.get(name, ()):
            words += [flag_of(name), value]
    secret = _find_secret(options.backend)
    env = {**preserved.env, **options.environment}
    if secret is not None:
        env |= _place_secret(secret, client, options, environ, preserved)
    is_here = secret is not None and secret.variable in env
    return ServerEntry(command, tuple(words), env, secret if is_here else None)


def _find_secret(backend: str) -> Secret | None:
    if backend.lower().startswith(REMOTE_SCHEMES):
        return _GATEWAY
    return _CLICKHOUSE if backend.startswith(CLICKHOUSE_SCHEMES) else None


def _place_secret(
    secret: Secret,
    client: Client,
    options: InstallOptions,
    environ: Mapping[str, str],
    preserved: PreservedSettings,
) -> dict[str, str]:
    """The environment variable that gives the server its secret; empty if it needs none.

    Flags come first, then what an existing entry had, then the client's reference.

    Raises:
        SettingsError: if none of these gives a secret.
    """
    if options.secret_file is not None:
        return {secret.file_variable: str(options.secret_file)}
    if options.writes_token:
        value = environ.get(secret.variable, "").strip()
        if not value:
            raise SettingsError(
                f"--write-token takes the secret from {secret.variable}, which is not set"
            )
        return {secret.variable: value}
    # A file before the secret itself, in the order in which the server reads them.
    for variable in (secret.file_variable, secret.variable):
        if variable in preserved.secrets:
            return {variable: preserved.secrets[variable]}
    if secret is _CLICKHOUSE and not environ.get(secret.variable):
        return {}  # its user may have no password
    reference = client.refer(secret.variable, options.name)
    if reference is None:
        raise SettingsError(
            f"{client.title} keeps no secrets. Put {secret.what} into a file that you alone can"
            f" read and give {secret.flag} FILE; or, to have it written into the client's file,"
            " give --write-token"
        )
    return {secret.variable: reference}


def _find_command(options: InstallOptions, environ: Mapping[str, str]) -> tuple[str, list[str]]:
    """The command with an absolute path: clients started from a menu lack the shell's PATH."""
    backend = ["--backend", options.backend]
    if options.uses_uvx or is_temporary(sys.prefix):
        uvx = which("uvx", path=environ.get("PATH")) or "uvx"
        extra = (
            ["--from", _WITH_CLICKHOUSE] if options.backend.startswith(CLICKHOUSE_SCHEMES) else []
        )
        return uvx, [*extra, PACKAGE, *backend]
    suffix = ".exe" if sys.platform == "win32" else ""
    script = Path(sys.executable).parent / f"{PACKAGE}{suffix}"
    if script.is_file():
        return str(script), backend
    return sys.executable, ["-m", _MODULE, *backend]


def is_temporary(prefix: str) -> bool:
    """Whether an installation is one that uvx keeps in its cache, where it can be removed."""
    return any(part.startswith("archive-v") for part in Path(prefix).parts)


def find_source(name: str, value: str) -> str | None:
    """The variable that a reference names; for one that the client prompts for, `name` itself."""
    reference = _REFERENCE.fullmatch(value)
    if reference is None:
        return None
    return name if reference[1] else reference[2]


def is_secret(name: str, value: str) -> bool:
    """Whether a variable of an entry may hold a secret; unknown variables count as if they do."""
    is_known = name in _NO_SECRETS or (name.startswith(PREFIX) and name != CLICKHOUSE_PASSWORD)
    is_plain = is_known and not find_embedded_credentials(value)
    return not is_plain and not _REFERENCE.fullmatch(value)


def is_ours(words: object) -> bool:
    """Whether all arguments are ones that our entries have, which never contain a secret."""
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return False
    rest = iter(words)
    for word in rest:
        is_plain = word in _WORDS
        if word in _BY_FLAG:
            is_plain = not find_embedded_credentials(next(rest, ""))
        if not is_plain:
            return False
    return True


# --- an entry that is there already ---


@dataclass(frozen=True, slots=True)
class _Given:
    """A setting in an existing entry; `label` is its flag or variable."""

    label: str
    setting: str | None  # None if the server has no such setting
    value: Any


def find_preserved(old: object, given: Collection[str]) -> PreservedSettings:
    """The settings of an existing entry to keep; `given` are those that the command line sets."""
    flags: dict[str, tuple[str, ...]] = {}
    for each in _read_flags(old):
        if each.setting is not None and each.value is not None:
            before = flags.get(each.setting, ()) if _is_list(each.setting) else ()
            flags[each.setting] = (*before, each.value)
    variables = [each for each in _read_variables(old) if isinstance(each.value, str)]
    secrets = {each.label: each.value for each in variables if each.label in SECRETS}
    if "token_file" in flags:
        secrets[TOKEN_FILE] = flags["token_file"][-1]
    backends = [each.value for each in variables if each.setting == "backend"]
    env = {
        each.label: each.value
        for each in variables
        if each.label not in (*SECRETS, GATEWAY_HOST)
        and (not each.label.startswith(PREFIX) or _stays(each.setting, (each.value,), given))
    }
    return PreservedSettings(
        {name: values for name, values in flags.items() if _stays(name, values, given)},
        env,
        secrets,
        flags.get("backend", [*backends, None])[0],
    )


def list_dropped(old: object, new: Mapping[str, Any], given: Collection[str]) -> list[str]:
    """Names of what the new entry lacks of the old one, without what the command line sets."""
    if not isinstance(old, dict):
        return []
    stays = {each.setting for each in (*_read_flags(new), *_read_variables(new))} | set(given)
    before = (*_read_flags(old), *_read_variables(old))
    names = [each.label for each in before if each.setting is None or each.setting not in stays]
    return [*(part for part in REMOTE_PARTS if part in old), *_find_foreign(old, new), *names]


def _find_foreign(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """The parts of an entry that started another program."""
    command, args, env = old.get("command"), old.get("args"), old.get("env")
    is_known = isinstance(command, str) and (
        command == new["command"] or _PROGRAM.fullmatch(command) or _STARTERS.fullmatch(command)
    )
    if command is not None and not is_known:
        yield "command"
    if args and _find_words(old) is None:
        yield "args"
    if env is not None and not isinstance(env, dict):
        yield "env"


def _is_list(setting: str) -> bool:
    return setting != CONFIG and Settings.model_fields[setting].default == ()


def _stays(setting: str | None, values: Sequence[str], given: Collection[str]) -> bool:
    """Whether a setting of the existing entry is still valid and not set by the command line."""
    if setting is None or setting in given or setting in _APART or not values:
        return False
    if setting == CONFIG or any(REFERENCE.fullmatch(value) for value in values):
        return True  # a file or a reference: its contents are known only where the client runs
    value = [*values] if _is_list(setting) and len(values) > 1 else values[-1]
    try:
        read_settings({setting: value}, {})
    except SettingsError:
        return False
    return True


def _read_variables(entry: object) -> Iterator[_Given]:
    env = entry.get("env") if isinstance(entry, dict) else None
    for name, value in (env if isinstance(env, dict) else {}).items():
        if name.startswith(OUR_VARIABLES):
            unknown = None if name.startswith(PREFIX) else name
            yield _Given(name, _BY_VARIABLE.get(name, unknown), value)


def _read_flags(entry: object) -> Iterator[_Given]:
    """The settings among the arguments of an entry that starts this server."""
    words = [*(_find_words(entry) or ())]
    while words:
        name, has_value, value = words.pop(0).partition("=")
        if not name.startswith("-"):
            continue
        setting = _BY_FLAG.get(name)
        if not has_value and words and not words[0].startswith("--"):
            value = words.pop(0)
        elif not has_value:
            is_switch = setting in _ORDER[:-1] and Settings.model_fields[setting].default is False
            value = "true" if is_switch else None
        # Text that does not look like a flag is not repeated: it may be a secret.
        yield _Given(name if _FLAG.fullmatch(name) else "a flag", setting, value)


def _find_words(entry: object) -> list[str] | None:
    """The arguments after our program's name; None if the entry starts another program."""
    args = entry.get("args", []) if isinstance(entry, dict) else None
    if not isinstance(args, list) or not all(isinstance(word, str) for word in args):
        return None
    command = entry.get("command") if isinstance(entry, dict) else None
    is_named = isinstance(command, str) and _PROGRAM.fullmatch(command)
    flags = {word.partition("=")[0] for word in args if word.startswith("--")}
    is_like_ours = all(word.startswith("--") for word in args[:1]) and flags <= {*_BY_FLAG}
    if is_named or is_like_ours:
        return args
    found = [index for index, word in enumerate(args) if _PROGRAM.fullmatch(word)]
    return args[found[0] + 1 :] if found else None
