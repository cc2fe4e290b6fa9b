"""Changes to a JSON text that leave every other byte of it as it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway_metrics_mcp.installing.jsonc import Document, Entry, JsoncError, Node, parse

_USUAL_INDENT: Final = "  "


@dataclass(frozen=True, slots=True)
class Text:
    """A JSON text, and whether its reader takes comments and trailing commas."""

    text: str
    is_lenient: bool

    def parse(self) -> Document:
        """Its values.

        Raises:
            JsoncError: if its reader could not read it.
        """
        return parse(self.text, is_lenient=self.is_lenient)

    def get(self, path: Sequence[str]) -> Any:
        """The value at the path; None where there is none."""
        node = _find(self.parse().root, path)
        return None if node is None else node.value

    def set(self, path: Sequence[str], value: Any) -> Text:
        """The text with that value at the path; the objects on the way are made.

        Raises:
            JsoncError: if something else than an object is in the way.
        """
        document = self.parse()
        node, rest = document.root, list(path)
        while rest:
            self._expect(document, node, dict)
            entry = node.find(rest[0])
            if entry is None:
                for name in reversed(rest[1:]):
                    value = {name: value}
                return self._append(document, node, rest[0], value)
            node, rest = entry.value, rest[1:]
        if node.value == value:
            return self
        indent = _indent_at(self.text, node.start)
        is_inline = "\n" not in self.text
        return self.cut(node.start, node.end, self._write(value, indent, is_inline=is_inline))

    def append(self, path: Sequence[str], value: Any) -> Text:
        """The text with one more item in the array at the path, which is made if absent."""
        document = self.parse()
        node = _find(document.root, path)
        if node is None:
            return self.set(path, [value])
        self._expect(document, node, list)
        return self._append(document, node, None, value)

    def remove(self, path: Sequence[str]) -> Text:
        """The text without what is at the path, if there is anything."""
        text = self
        while True:
            document = text.parse()
            parent = _find(document.root, path[:-1])
            entry = None if parent is None else parent.find(path[-1])
            if parent is None or entry is None:
                return text
            text = text._remove(document, parent, entry)

    def remove_item(self, path: Sequence[str], index: int) -> Text:
        """The text without one item of the array at the path."""
        document = self.parse()
        parent = _find(document.root, path)
        if parent is None:
            return self
        return self._remove(document, parent, parent.entries[index])

    def _expect(self, document: Document, node: Node, kind: type) -> None:
        if not isinstance(node.value, kind):
            what = "an object" if kind is dict else "an array"
            raise JsoncError(f"{what} is expected", document.text, node.start)

    def _append(self, document: Document, parent: Node, key: str | None, value: Any) -> Text:
        """One more entry after the last, and after the comments there."""
        inside = self.text[parent.start + 1 : parent.end - 1]
        comments = [end for _, end in document.comments_within(parent.start, parent.end)]
        last = parent.entries[-1] if parent.entries else None
        after = parent.start + 1
        if last is not None:
            after = last.value.end if last.comma is None else last.comma + 1
        at = max([after, *(end for end in comments if end > after)])
        is_inline = "\n" not in (inside if last is not None else self.text.strip())
        if self.text.strip() == "{}":
            is_inline = False
        closing = _indent_at(self.text, parent.start)
        indent = closing + self._unit()
        if last is not None and "\n" in inside:
            indent = _indent_at(self.text, last.start)
        name = "" if key is None else f"{json.dumps(key, ensure_ascii=False)}: "
        new = name + self._write(value, indent, is_inline=is_inline)
        new = f" {new}" if is_inline and last is not None else new
        new = new if is_inline else f"{self._newline()}{indent}{new}"
        if last is not None and last.comma is not None:
            new += ","  # as the file has it
        elif last is None and not is_inline and "\n" not in self.text[at : parent.end]:
            new += f"{self._newline()}{closing}"
        text = self.cut(at, at, new)
        if last is not None and last.comma is None:
            text = text.cut(last.value.end, last.value.end, ",")
        return text

    def _remove(self, document: Document, parent: Node, entry: Entry) -> Text:
        """Without an entry, its comma and the space before it."""
        place = parent.entries.index(entry)
        before = parent.entries[place - 1] if place else None
        floor = (parent.start if before is None or before.comma is None else before.comma) + 1
        comments = [*document.comments_within(floor, entry.start)]
        start = comments[-1][1] if comments else floor
        end = entry.value.end if entry.comma is None else entry.comma + 1
        if comments and self.text.startswith("//", comments[-1][0]) and self._has_more(end):
            start = entry.start  # what follows must not come into the comment's line
        if len(parent.entries) == 1 and not [
            *document.comments_within(parent.start + 1, entry.start),
            *document.comments_within(end, parent.end),
        ]:
            return self.cut(parent.start + 1, parent.end - 1, "")
        text = self.cut(start, end, "")
        if entry.comma is None and before is not None and before.comma is not None:
            text = text.cut(before.comma, before.comma + 1, "")
        return text

    def cut(self, start: int, end: int, new: str) -> Text:
        """The text with a part of it put in another's place."""
        return Text(self.text[:start] + new + self.text[end:], self.is_lenient)

    def _has_more(self, at: int) -> bool:
        """Whether anything follows in the line."""
        return bool(self.text[at:].split("\n", 1)[0].strip())

    def _newline(self) -> str:
        return "\r\n" if "\r\n" in self.text else "\n"

    def _unit(self) -> str:
        root = self.parse().root
        first = root.entries[0].start if root.entries else 0
        return _indent_at(self.text, first) or _USUAL_INDENT

    def _write(self, value: Any, indent: str, *, is_inline: bool) -> str:
        if is_inline:
            return json.dumps(value, ensure_ascii=False)
        text = json.dumps(value, ensure_ascii=False, indent=self._unit())
        return text.replace("\n", f"{self._newline()}{indent}")


def _find(node: Node, path: Sequence[str]) -> Node | None:
    for name in path:
        entry = node.find(name)
        if entry is None:
            return None
        node = entry.value
    return node


def _indent_at(text: str, position: int) -> str:
    """The white space that the line of a position begins with."""
    line = text[text.rfind("\n", 0, position) + 1 : position]
    return line[: len(line) - len(line.lstrip(" \t"))]
