"""What is to change in a client's file."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from gateway_metrics_mcp.cli.install.clients import Client, host_input_id, input_id
from gateway_metrics_mcp.cli.install.config_file import ConfigFile
from gateway_metrics_mcp.cli.install.diff import find_shown, show_change
from gateway_metrics_mcp.cli.install.entry import ServerEntry, is_ours, is_secret, merge
from gateway_metrics_mcp.cli.install.existing import REMOTE_PARTS
from gateway_metrics_mcp.cli.install.jsonc import JsoncError, Text
from gateway_metrics_mcp.errors import SettingsError

_INPUTS: Final = "inputs"
_WITH_WORDS: Final = re.compile(r"=| -|://")  # a command that is more than a path


@dataclass(frozen=True, slots=True)
class ConfigEdit:
    """A file, and its text before and after."""

    file: ConfigFile
    old: Text
    new: Text
    what: str
    ours: Sequence[Sequence[str]]
    had_secret: bool
    shown: Collection[str] = ()
    """The strings that we put there: no others are shown."""

    @property
    def is_any(self) -> bool:
        """Whether there is anything to do."""
        return self.new != self.old

    def show(self) -> str:
        """The change as a diff, without secrets."""
        old = None if self.file.content is None else self.old
        return show_change(str(self.file.path), old, self.new, self.ours, self.shown)


def read_entry(file: ConfigFile, client: Client, name: str) -> object:
    """The entry of that name, if there is one.

    Raises:
        SettingsError: if the client itself could not read the file.
    """
    try:
        return Text(file.text, client.is_lenient).get((client.servers, name))
    except JsoncError as error:
        raise SettingsError(_refuse(file, error)) from None


def plan_install(file: ConfigFile, client: Client, name: str, entry: ServerEntry) -> ConfigEdit:
    """The file with the entry in it, and all else as it is.

    Raises:
        SettingsError: if the client itself could not read the file.
    """
    old = Text(file.text, client.is_lenient)
    place = (client.servers, name)
    try:
        before = old.get(place)
        new = old
        if not isinstance(before, dict):
            new = new.set(place, entry.to_json(client))
        else:
            new = _update(new, place, merge(before, entry.to_json(client)))
        if entry.secret is not None and _asks(client, name, entry.env[entry.secret.variable]):
            new = _add_input(new, client, name, entry.secret.what)
        else:
            new = _drop_input(new, input_id(name))
        new = _drop_links_input(new, name, before)
    except JsoncError as error:
        raise SettingsError(_refuse(file, error)) from None
    what = f"{'added' if before is None else 'updated'} {name}"
    shown = find_shown(entry.to_json(client)) | _input_ids(name)
    return ConfigEdit(file, old, new, what, _ours(place, name), _has_secret(before), shown)


def plan_removal(file: ConfigFile, client: Client, name: str) -> ConfigEdit:
    """The file without the entry.

    Raises:
        SettingsError: if the client itself could not read the file.
    """
    old = Text(file.text, client.is_lenient)
    place = (client.servers, name)
    try:
        before = old.get(place)
        new = old
        if before is not None:
            new = _drop_input(old.remove(place), input_id(name))
            new = _drop_links_input(new, name, before)
    except JsoncError as error:
        raise SettingsError(_refuse(file, error)) from None
    ours, shown = _ours(place, name), _input_ids(name)
    return ConfigEdit(file, old, new, f"took {name} out", ours, _has_secret(before), shown)


def _update(text: Text, place: tuple[str, ...], merged: dict[str, object]) -> Text:
    """Part by part, so that comments between them stay."""
    for part, value in merged.items():
        if part != "env" or not isinstance(value, dict):
            text = text.remove((*place, part)) if value is None else text.set((*place, part), value)
            continue
        for name in [*(text.get((*place, "env")) or ())]:
            if name not in value:
                text = text.remove((*place, "env", name))
        for name, content in value.items():
            text = text.set((*place, "env", name), content)
    return text


def _add_input(text: Text, client: Client, name: str, what: str) -> Text:
    wanted = client.input(name, what[:1].upper() + what[1:])
    if wanted is None or _find_input(text, input_id(name)) is not None:
        return text
    return text.append((_INPUTS,), wanted)


def _drop_input(text: Text, id_: str) -> Text:
    """Without the input of that id, however often, unless something refers to it."""
    while f"${{input:{id_}}}" not in text.text:
        index = _find_input(text, id_)
        if index is None:
            break
        text = text.remove_item((_INPUTS,), index)
    return text


def _drop_links_input(text: Text, name: str, before: object) -> Text:
    """Without what README's link asks for, if the entry that was there came by it."""
    id_ = host_input_id(name)
    return _drop_input(text, id_) if f"${{input:{id_}}}" in json.dumps(before) else text


def _asks(client: Client, name: str, value: str) -> bool:
    """Whether a variable's value is what the client asks for."""
    return client.asks and value == f"${{input:{input_id(name)}}}"


def _find_input(text: Text, id_: str) -> int | None:
    inputs = text.get((_INPUTS,))
    for index, given in enumerate(inputs if isinstance(inputs, list) else ()):
        if isinstance(given, dict) and given.get("id") == id_:
            return index
    return None


def _ours(place: tuple[str, ...], name: str) -> tuple[tuple[str, ...], ...]:
    return place, *((_INPUTS, id_) for id_ in sorted(_input_ids(name)))


def _input_ids(name: str) -> set[str]:
    return {input_id(name), host_input_id(name)}


def _has_secret(entry: object) -> bool:
    """Whether what goes may be one; what an entry was started with is taken for one if unknown."""
    if not isinstance(entry, dict):
        return entry is not None
    if any(part in entry for part in REMOTE_PARTS) or not is_ours(entry.get("args", [])):
        return True
    command, env = entry.get("command", ""), entry.get("env", {})
    if not isinstance(command, str) or not isinstance(env, dict) or _WITH_WORDS.search(command):
        return True
    values = env.items()
    return any(not isinstance(value, str) or is_secret(name, value) for name, value in values)


def _refuse(file: ConfigFile, error: JsoncError) -> str:
    return f"{file.path} is left as it is: {error}"
