"""A client's configuration file: plans and shows its change, and replaces it atomically.

The diff has nothing secret, and a backup stays beside the file. JSON itself is in jsonc.py.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import Any, Final

from gateway_metrics_mcp.backends import find_embedded_credentials
from gateway_metrics_mcp.cli.install.clients import Client, host_input_id, input_id
from gateway_metrics_mcp.cli.install.entry import REMOTE_PARTS, ServerEntry, is_ours, is_secret
from gateway_metrics_mcp.cli.install.jsonc import JsoncError, Node, Text
from gateway_metrics_mcp.errors import SettingsError
from gateway_metrics_mcp.settings import OUR_VARIABLES

_BOM: Final = "\ufeff"
_PRIVATE: Final = 0o600
_INPUTS: Final = "inputs"
_PARTS: Final = ("type", "command", "args", "env", *REMOTE_PARTS)
_WITH_WORDS: Final = re.compile(r"=| -|://")  # a command with more in it than a path
_HIDDEN: Final = '"…"'
_FORMAT_WORDS: Final[Mapping[str, Sequence[object]]] = {
    "type": ("stdio", "http", "sse", "promptString"),
    "description": ("The gateway token", "The password"),
    "password": (True, False),
}

KeyPath = tuple[str, ...]
Span = tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file as it was read; `path` is resolved, so that a symlink to it stays a symlink."""

    path: Path
    content: bytes | None

    @classmethod
    def read(cls, path: Path) -> ConfigFile:
        """Read the file; `content` is None if it does not exist.

        Raises:
            SettingsError: if it exists and cannot be read.
        """
        path = Path(os.path.realpath(path))
        try:
            return cls(path, path.read_bytes())
        except FileNotFoundError:
            return cls(path, None)
        except OSError as error:
            raise SettingsError(f"{path} cannot be read: {error.strerror}") from None

    @property
    def text(self) -> str:
        """The text without a byte order mark; an empty object if the file is missing or blank.

        Raises:
            SettingsError: if it is not UTF-8.
        """
        try:
            text = (self.content or b"").decode("utf-8")
        except UnicodeDecodeError:
            raise SettingsError(f"{self.path} is not UTF-8 text: left as it is") from None
        text = text.removeprefix(_BOM)
        return text if text.strip() else "{}\n"

    def replace(self, text: str, *, is_private: bool) -> Path | None:
        """Replace the text, all or nothing; returns the backup's path if one was made.

        `is_private` sets mode 0600; otherwise the file keeps its mode.

        Raises:
            SettingsError: if it cannot be written, or was changed since it was read.
        """
        mark = _BOM if (self.content or b"").startswith(_BOM.encode()) else ""
        try:
            content = (mark + text).encode("utf-8")
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._check_unchanged()
            mode = _PRIVATE if is_private else self._mode()
            backup = self._back_up()
            self._swap(content, mode)
        except UnicodeEncodeError:
            raise SettingsError("a path or a value is not UTF-8 text: nothing is changed") from None
        except OSError as error:
            raise SettingsError(f"{self.path} cannot be written: {error.strerror}") from None
        return backup

    def check_writable(self) -> None:
        """Refuse a read-only file: a rename would replace it even so, against its owner's will.

        Raises:
            SettingsError: if the file is read-only.
        """
        with suppress(OSError):  # writing reports what is wrong with the file
            if not self._mode() & 0o222:  # nobody may write it
                raise SettingsError(f"{self.path} is read-only: it is left as it is")

    def _mode(self) -> int:
        return _PRIVATE if self.content is None else self.path.stat().st_mode & 0o777

    def _back_up(self) -> Path | None:
        """Copy the old content beside the file; an existing equal backup is reused."""
        if self.content is None:
            return None
        mode = self._mode()
        for number in range(1, 1000):
            suffix = ".bak" if number == 1 else f".bak{number}"
            path = self.path.with_name(self.path.name + suffix)
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            except FileExistsError:
                if path.is_file() and path.read_bytes() == self.content:
                    return path
                continue
            with os.fdopen(descriptor, "wb") as file:
                file.write(self.content)
            return path
        raise SettingsError(f"{self.path} has too many backups beside it: delete some")

    def _check_unchanged(self) -> None:
        """Refuse if the file changed since it was read: clients write their files too.

        Raises:
            SettingsError: if it changed.
        """
        if ConfigFile.read(self.path).content != self.content:
            raise SettingsError(f"{self.path} was changed meanwhile: run the command again")

    def _swap(self, content: bytes, mode: int) -> None:
        descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(mode)
            # Checked again right before the rename, to make the time for a lost update small.
            self._check_unchanged()
            Path(name).replace(self.path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise


@dataclass(frozen=True, slots=True)
class ConfigEdit:
    """A planned change: a file, and its text before and after."""

    file: ConfigFile
    old: Text
    new: Text
    what: str
    had_secret: bool
    ours: Collection[KeyPath]
    """Paths to our entry and inputs: all strings elsewhere are hidden."""
    shown: Collection[str]
    """The strings that we wrote: no others are shown."""

    @property
    def is_any(self) -> bool:
        """Whether the text changes."""
        return self.new != self.old

    def show(self) -> str:
        """A unified diff, with comments and possible secrets shown as `…`.

        An allow-list, because a secret of another server cannot be recognised by its form.
        """
        name = str(self.file.path)
        before = [] if self.file.content is None else self._hide(self.old).splitlines()
        after = self._hide(self.new).splitlines()
        return "\n".join(unified_diff(before, after, name, name, n=2, lineterm=""))

    def _hide(self, text: Text) -> str:
        comments = [(a, b, _hide_comment(text.text[a:b])) for a, b in text.comments]
        parts, at = [], 0
        for start, end, instead in sorted([*_strings(text.root, self.ours, self.shown), *comments]):
            if start >= at:  # else it is inside a part that is hidden already
                parts += [text.text[at:start], instead]
                at = end
        return "".join([*parts, text.text[at:]])


def read_entry(file: ConfigFile, client: Client, name: str) -> object:
    """The entry of that name, or None.

    Raises:
        SettingsError: if the client itself could not parse the file.
    """
    try:
        return Text(file.text, client.is_lenient).get((client.servers, name))
    except JsoncError as error:
        raise _refusal(file, error) from None


def plan_edit(file: ConfigFile, client: Client, name: str, entry: ServerEntry | None) -> ConfigEdit:
    """Plan the file with the entry, or without it if None, and everything else unchanged.

    Raises:
        SettingsError: if the client itself could not parse the file.
    """
    place = (client.servers, name)
    ids = (input_id(name), host_input_id(name))
    new = old = Text(file.text, client.is_lenient)
    try:
        before = old.get(place)
        if entry is not None:
            new = _put_entry(old, place, before, entry.to_json(client))
            new = _put_input(new, client, name, entry)
        elif before is not None:
            new = _drop_input(old.remove(place), ids[0])
        if f"${{input:{ids[1]}}}" in json.dumps(before):  # it was made by the README's link
            new = _drop_input(new, ids[1])
    except JsoncError as error:
        raise _refusal(file, error) from None
    what = f"{'added' if before is None else 'updated'} {name}" if entry else f"removed {name}"
    ours = (place, *((_INPUTS, each) for each in ids))
    shown = {*ids, *(_find_shown(entry) if entry else ())}
    return ConfigEdit(file, old, new, what, _has_secret(before), ours, shown)


def _refusal(file: ConfigFile, error: JsoncError) -> SettingsError:
    return SettingsError(f"{file.path} is left as it is: {error}")


def _put_entry(text: Text, place: KeyPath, before: object, entry: dict[str, Any]) -> Text:
    """Write the entry part by part, so that comments and parts that the user added stay."""
    if not isinstance(before, dict):
        return text.set(place, entry)
    for part in _PARTS:
        where = (*place, part)
        if part == "env" and isinstance(before.get(part), dict):
            text = _put_env(text, where, before[part], entry.get(part, {}))
        else:
            text = text.set(where, entry[part]) if part in entry else text.remove(where)
    return text


def _put_env(text: Text, where: KeyPath, before: Mapping[str, Any], env: Mapping[str, str]) -> Text:
    for name in before:
        if name.startswith(OUR_VARIABLES) and name not in env:
            text = text.remove((*where, name))
    for name, value in env.items():
        text = text.set((*where, name), value)
    return text


def _put_input(text: Text, client: Client, name: str, entry: ServerEntry) -> Text:
    """Add the input for which VS Code prompts the user, if the entry refers to it."""
    secret, id_ = entry.secret, input_id(name)
    if secret is None or not client.asks or entry.env[secret.variable] != f"${{input:{id_}}}":
        return _drop_input(text, id_)
    if _find_input(text, id_) is not None:
        return text
    what = secret.what[:1].upper() + secret.what[1:]
    wanted = {"type": "promptString", "id": id_, "description": what, "password": True}
    return text.append((_INPUTS,), wanted)


def _drop_input(text: Text, id_: str) -> Text:
    """Remove every input with that id, unless another entry refers to it."""
    while f"${{input:{id_}}}" not in text.text:
        index = _find_input(text, id_)
        if index is None:
            break
        text = text.remove_item((_INPUTS,), index)
    return text


def _find_input(text: Text, id_: str) -> int | None:
    inputs = text.get((_INPUTS,))
    for index, given in enumerate(inputs if isinstance(inputs, list) else ()):
        if isinstance(given, dict) and given.get("id") == id_:
            return index
    return None


def _has_secret(entry: object) -> bool:
    """Whether an entry may hold a secret; an entry that is not ours counts as if it does."""
    if not isinstance(entry, dict):
        return entry is not None
    if any(part in entry for part in REMOTE_PARTS) or not is_ours(entry.get("args", [])):
        return True
    command, env = entry.get("command", ""), entry.get("env", {})
    if not isinstance(command, str) or not isinstance(env, dict) or _WITH_WORDS.search(command):
        return True
    values = env.items()
    return any(not isinstance(value, str) or is_secret(name, value) for name, value in values)


# --- what a diff shows ---


def _find_shown(entry: ServerEntry) -> Iterator[str]:
    """The strings of our entry that are not secret."""
    yield entry.command
    yield from (word for word in entry.args if not find_embedded_credentials(word))
    yield from (value for name, value in entry.env.items() if not is_secret(name, value))


def _strings(node: Node, ours: Collection[KeyPath], shown: Collection[str]) -> Iterator[Span]:
    """The spans of strings to hide; `ours` are paths relative to `node`."""
    if () in ours and node.entries:
        yield from _secrets(node, shown)
        return
    if isinstance(node.value, str):
        yield node.start, node.end, _HIDDEN
    for entry in node.entries:
        name = entry.key
        if name is None and isinstance(entry.value.value, dict):
            name = str(entry.value.value.get("id"))
        below = [path[1:] for path in ours if path[:1] == (name,)]
        yield from _strings(entry.value, below, shown)


def _secrets(node: Node, shown: Collection[str]) -> Iterator[Span]:
    """The spans to hide in our entry: all values except `shown` and words of the format."""
    for entry in node.entries:
        value = entry.value
        inner = value.entries if entry.key in ("args", "env") else ()
        for part in [each.value for each in inner] or [value]:
            is_word = part is value and value.value in _FORMAT_WORDS.get(str(entry.key), ())
            is_empty = part.value in ([], {})
            if not (is_word or is_empty or (isinstance(part.value, str) and part.value in shown)):
                yield part.start, part.end, _HIDDEN


def _hide_comment(comment: str) -> str:
    """A placeholder for a comment, with as many lines, so that the diff's lines stay aligned."""
    if comment.startswith("//"):
        return "// …"
    lines = "\n" * comment.count("\n")
    return f"/* …{lines} */"
