"""What stays of the settings of an entry that is updated: those that are not said anew."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gateway_metrics_mcp.cli.flags import flag_of
from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.settings import (
    CLICKHOUSE_PASSWORD,
    CLICKHOUSE_PASSWORD_FILE,
    GATEWAY_HOST,
    GATEWAY_TOKEN,
    OUR_VARIABLES,
    PREFIX,
    Settings,
    flag_names,
    read_settings,
)

CONFIG: Final = "config"
TOKEN_FILE: Final = f"{PREFIX}TOKEN_FILE"
SECRETS: Final = (GATEWAY_TOKEN, TOKEN_FILE, CLICKHOUSE_PASSWORD, CLICKHOUSE_PASSWORD_FILE)
REMOTE_PARTS: Final = (
    *("url", "serverUrl", "httpUrl", "headers", "headersHelper", "auth", "oauth"),
    *("authProviderType", "transport", "transportType"),
)
"""What clients know of a server that is reached over HTTP: an entry with a command has none."""

_ORDER: Final = (*flag_names(), CONFIG)
_BY_FLAG: Final = {flag_of(name): name for name in _ORDER}
_BY_VARIABLE: Final = {
    **{f"{PREFIX}{name.upper()}": name for name in _ORDER},
    **{name: name for name in SECRETS if name != TOKEN_FILE},  # no settings with flags
    GATEWAY_HOST: "backend",
}
_ELSEWHERE: Final = ("backend", "transport", "token_file", *SECRETS)
_REFERENCE: Final = re.compile(r"\$\{[^{}]*\}")
_PROGRAM: Final = re.compile(
    r"(?:.*[\\/])?gateway[-_]metrics[-_]mcp(?:\[[a-z,]*\])?(?:\.exe|[@=<>~!].*)?"
)
_STARTERS: Final = re.compile(r"(?:.*[\\/])?(?:uvx?|pipx|python[0-9.]*|pythonw)(?:\.exe)?")
_FLAG: Final = re.compile(r"--[a-z]+(?:-[a-z]+)*")


@dataclass(frozen=True, slots=True)
class Given:
    """A setting as an entry has it; `label` is the flag or the variable that gives it."""

    label: str
    setting: str | None
    """None if the server knows no such thing."""
    value: Any = None


@dataclass(frozen=True, slots=True)
class PreservedSettings:
    """What of an entry's settings goes into the new one."""

    flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    """The variables that hold a secret or name its file."""
    backend: str | None = None


def find_kept(old: object, said: Collection[str]) -> PreservedSettings:
    """What stays of an entry where `said` are the settings of the new command line."""
    flags = _collect(_read_flags(old))
    variables = [each for each in _read_variables(old) if isinstance(each.value, str)]
    of_secret = {each.label: each.value for each in variables if each.label in SECRETS}
    backends = [each.value for each in variables if each.setting == "backend"]
    env = {
        each.label: each.value
        for each in variables
        if not each.label.startswith(PREFIX) or _stays(each.setting, (each.value,), said)
    }
    if "token_file" in flags:
        of_secret[TOKEN_FILE] = flags["token_file"][-1]
    return PreservedSettings(
        {name: values for name, values in flags.items() if _stays(name, values, said)},
        {name: value for name, value in env.items() if name not in (*SECRETS, GATEWAY_HOST)},
        of_secret,
        flags.get("backend", [*backends, None])[0],
    )


def order_flags(flags: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Settings as words of a command line, in the order that the settings have."""
    return tuple(
        word for name in _ORDER for value in flags.get(name, ()) for word in (flag_of(name), value)
    )


def list_gone(old: object, new: Mapping[str, Any], said: Collection[str]) -> list[str]:
    """What an entry had and the new one has not, by name, where the command line did not say so."""
    if not isinstance(old, dict):
        return []
    stays = {given.setting for given in (*_read_flags(new), *_read_variables(new))} | set(said)
    given = (*_read_flags(old), *_read_variables(old))
    names = [each.label for each in given if each.setting is None or each.setting not in stays]
    return [*(part for part in REMOTE_PARTS if part in old), *_find_foreign(old, new), *names]


def _find_foreign(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """The parts that started something else."""
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


def _stays(setting: str | None, values: Sequence[str], said: Collection[str]) -> bool:
    if setting is None or setting in said or setting in _ELSEWHERE or not values:
        return False
    if setting == CONFIG or any(_REFERENCE.fullmatch(value) for value in values):
        return True  # what is in it is not ours to read
    is_list = Settings.model_fields[setting].default == ()
    try:
        read_settings({setting: [*values] if is_list and len(values) > 1 else values[-1]}, {})
    except SettingsError:
        return False
    return True


def _collect(given: Iterator[Given]) -> dict[str, tuple[str, ...]]:
    """By setting: the last of the values, or all of a list."""
    flags: dict[str, tuple[str, ...]] = {}
    for each in given:
        if each.setting is None or each.value is None:
            continue
        is_list = each.setting != CONFIG and Settings.model_fields[each.setting].default == ()
        before = flags.get(each.setting, ()) if is_list else ()
        flags[each.setting] = (*before, each.value)
    return flags


def _read_variables(entry: object) -> Iterator[Given]:
    env = entry.get("env") if isinstance(entry, dict) else None
    for name, value in (env if isinstance(env, dict) else {}).items():
        if not name.startswith(OUR_VARIABLES):
            continue
        known = _BY_VARIABLE.get(name)
        yield Given(name, known or (None if name.startswith(PREFIX) else name), value)


def _read_flags(entry: object) -> Iterator[Given]:
    """The settings among the words that a server of ours is started with."""
    words = [*(_find_words(entry) or ())]
    while words:
        name, has_value, value = words.pop(0).partition("=")
        if not name.startswith("-"):
            continue
        is_alone = not has_value and (not words or words[0].startswith("--"))
        setting = _BY_FLAG.get(name)
        if not has_value and not is_alone:
            value = words.pop(0)
        if is_alone:
            is_switch = setting in _ORDER[:-1] and Settings.model_fields[setting].default is False
            value = "true" if is_switch else None
        yield Given(name if _FLAG.fullmatch(name) else "a flag", setting, value)


def _find_words(entry: object) -> list[str] | None:
    """What follows the name of our program; None if something else is started."""
    args = entry.get("args", []) if isinstance(entry, dict) else None
    if not isinstance(args, list) or not all(isinstance(word, str) for word in args):
        return None
    command = entry.get("command") if isinstance(entry, dict) else None
    is_named = isinstance(command, str) and _PROGRAM.fullmatch(command)
    flags = [word.partition("=")[0] for word in args if word.startswith("--")]
    is_like_ours = all(word.startswith("--") for word in args[:1]) and {*flags} <= {*_BY_FLAG}
    if is_named or is_like_ours:
        return args
    found = [index for index, word in enumerate(args) if _PROGRAM.fullmatch(word)]
    return args[found[0] + 1 :] if found else None
