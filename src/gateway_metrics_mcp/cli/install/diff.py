"""What a change of a client's file looks like, with nothing in it that may be a secret."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import unified_diff
from typing import Any, Final

from gateway_metrics_mcp.backends.address import find_embedded_credentials
from gateway_metrics_mcp.cli.install.entry import is_secret
from gateway_metrics_mcp.cli.install.jsonc import Node, Text

_HIDDEN: Final = '"…"'
_CONTEXT: Final = 2
_WORDS: Final[Mapping[str, Sequence[object]]] = {
    "type": ("stdio", "http", "sse", "promptString"),
    "description": ("The gateway token", "The password"),
    "password": (True, False),
}

Span = tuple[int, int, str]


def find_shown(entry: Mapping[str, Any]) -> frozenset[str]:
    """The strings of an entry of ours that are no secrets."""
    env = entry.get("env", {}).items()
    plain = [value for name, value in env if not is_secret(name, value)]
    words = [word for word in entry["args"] if not find_embedded_credentials(word)]
    return frozenset([entry["command"], *words, *plain])


def show_change(
    path: str,
    old: Text | None,
    new: Text,
    ours: Sequence[Sequence[str]],
    shown: Collection[str] = (),
) -> str:
    """A unified diff; all comments, and the strings that are not `shown`, become an ellipsis.

    `ours` are the paths to what is ours: elsewhere all strings do.
    """
    lines = unified_diff(
        [] if old is None else _hide(old, ours, shown).splitlines(),
        _hide(new, ours, shown).splitlines(),
        path,
        path,
        n=_CONTEXT,
        lineterm="",
    )
    return "\n".join(lines)


def _hide(text: Text, ours: Sequence[Sequence[str]], shown: Collection[str]) -> str:
    strings = _strings(text.root, [tuple(path) for path in ours], shown)
    comments = [(a, b, _hide_comment(text.text[a:b])) for a, b in text.comments]
    parts, at = [], 0
    for start, end, instead in sorted([*strings, *comments]):
        if start >= at:  # else it stands within a part that is hidden
            parts += [text.text[at:start], instead]
            at = end
    return "".join([*parts, text.text[at:]])


def _strings(node: Node, ours: Sequence[Sequence[str]], shown: Collection[str]) -> Iterator[Span]:
    """The strings to hide; `ours` are the paths from here to what is ours."""
    if () in ours and node.entries:
        yield from _secrets(node, shown)
        return
    if isinstance(node.value, str):
        yield node.start, node.end, _HIDDEN
    for entry in node.entries:
        name = entry.key
        if name is None and isinstance(entry.value.value, dict):
            name = str(entry.value.value.get("id"))
        below = [tuple(path[1:]) for path in ours if path[:1] == (name,)]
        yield from _strings(entry.value, below, shown)


def _secrets(node: Node, shown: Collection[str]) -> Iterator[Span]:
    """Of our entry: all values but those to be shown and the words of the format."""
    for entry in node.entries:
        value = entry.value
        inner = value.entries if entry.key in ("args", "env") else ()
        for part in [each.value for each in inner] or [value]:
            is_word = part is value and value.value in _WORDS.get(str(entry.key), ())
            is_empty = part.value in ([], {})
            if not (is_word or is_empty or (isinstance(part.value, str) and part.value in shown)):
                yield part.start, part.end, _HIDDEN


def _hide_comment(comment: str) -> str:
    """As many lines as it had."""
    if comment.startswith("//"):
        return "// …"
    lines = "\n" * comment.count("\n")
    return f"/* …{lines} */"
