"""What a change of a client's file looks like, with nothing in it that may be a secret."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from difflib import unified_diff
from typing import Final

from gateway_metrics_mcp.installing.editing import Text
from gateway_metrics_mcp.installing.entry import is_secret
from gateway_metrics_mcp.installing.jsonc import Node

_HIDDEN: Final = '"…"'
_CONTEXT: Final = 2

Span = tuple[int, int, str]


def show_change(path: str, old: Text | None, new: Text, ours: Sequence[Sequence[str]]) -> str:
    """A unified diff; strings and comments of others, and our secrets, are shown as an ellipsis."""
    lines = unified_diff(
        [] if old is None else _hide(old, ours).splitlines(),
        _hide(new, ours).splitlines(),
        path,
        path,
        n=_CONTEXT,
        lineterm="",
    )
    return "\n".join(lines)


def _hide(text: Text, ours: Sequence[Sequence[str]]) -> str:
    document = text.parse()
    spans = [*_strings(document.root, [tuple(path) for path in ours])]
    shown = [span for path in ours if (span := _span_at(document.root, path))]
    for start, end in document.comments:
        if not any(a <= start and end <= b for a, b in shown):
            spans.append((start, end, _hide_comment(document.text[start:end])))
    hidden = document.text
    for start, end, instead in sorted(spans, reverse=True):
        hidden = hidden[:start] + instead + hidden[end:]
    return hidden


def _strings(node: Node, ours: Sequence[Sequence[str]]) -> Iterator[Span]:
    """The strings to hide; `ours` are the paths from here to what may be shown."""
    if [] in [list(path) for path in ours]:
        yield from _secrets(node)
        return
    if isinstance(node.value, str):
        yield node.start, node.end, _HIDDEN
    for entry in node.entries:
        name = entry.key
        if name is None and isinstance(entry.value.value, dict):
            name = str(entry.value.value.get("id"))
        yield from _strings(entry.value, [path[1:] for path in ours if path[0] == name])


def _secrets(node: Node) -> Iterator[Span]:
    """Of our entry: the variables that may hold secrets, and what others added."""
    for entry in node.entries:
        if entry.key == "env":
            for variable in entry.value.entries:
                value = variable.value.value
                if not isinstance(value, str) or is_secret(str(variable.key), value):
                    yield variable.value.start, variable.value.end, _HIDDEN
        elif entry.key not in ("type", "command", "args", "id", "description", "password"):
            yield entry.value.start, entry.value.end, json.dumps("…", ensure_ascii=False)


def _span_at(node: Node, path: Sequence[str]) -> tuple[int, int] | None:
    for name in path:
        entry = node.find(name)
        if entry is None:
            return None
        node = entry.value
    return node.start, node.end


def _hide_comment(comment: str) -> str:
    """As many lines as it had."""
    if comment.startswith("//"):
        return "// …"
    lines = "\n" * comment.count("\n")
    return f"/* …{lines} */"
