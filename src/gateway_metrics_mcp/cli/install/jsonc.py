"""JSON with comments and trailing commas -> values that know where they stand in the text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

_SPACE: Final = re.compile(r"[ \t\r\n]*")
_COMMENT: Final = re.compile(r"//[^\r\n]*|/\*.*?\*/", re.DOTALL)
_WORD: Final = re.compile(r"-?[0-9][0-9.eE+-]*|true\b|false\b|null\b")
_DECODER: Final = json.JSONDecoder()
_DEEPEST: Final = 200


class JsoncError(ValueError):
    """The text is not what the client reads; line and column say where, from 1."""

    def __init__(self, reason: str, text: str, position: int) -> None:
        line = text.count("\n", 0, position) + 1
        column = position - text.rfind("\n", 0, position)
        super().__init__(f"line {line}, column {column}: {reason}")


@dataclass(frozen=True, slots=True)
class Entry:
    """A member of an object, or an item of an array: its text is [start, value.end)."""

    key: str | None
    start: int
    value: Node
    comma: int | None
    """Where the comma after it stands."""


@dataclass(frozen=True, slots=True)
class Node:
    """A value and its text, [start, end)."""

    value: Any
    start: int
    end: int
    entries: tuple[Entry, ...] = field(default=())

    def find(self, key: str) -> Entry | None:
        """The member of that name: the last one, as readers take it."""
        found = [entry for entry in self.entries if entry.key == key]
        return found[-1] if found else None


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed text."""

    text: str
    root: Node
    comments: tuple[tuple[int, int], ...]

    def comments_within(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The comments that stand in a part of the text."""
        return ((a, b) for a, b in self.comments if start <= a and b <= end)


def parse(text: str, *, is_lenient: bool) -> Document:
    """Read a text; comments and trailing commas are for a lenient client alone.

    Raises:
        JsoncError: if the client could not read it.
    """
    reader = _Reader(text, is_lenient=is_lenient)
    start = reader.skip(0)
    root = reader.read(start, 0)
    end = reader.skip(root.end)
    if end != len(text):
        raise JsoncError("the file goes on after its end", text, end)
    return Document(text, root, tuple(reader.comments))


class _Reader:
    def __init__(self, text: str, *, is_lenient: bool) -> None:
        self.text = text
        self.comments: list[tuple[int, int]] = []
        self._is_lenient = is_lenient

    def skip(self, at: int) -> int:
        """The next position with neither space nor a comment."""
        while True:
            at = _end_of(_SPACE.match(self.text, at), at)
            comment = _COMMENT.match(self.text, at)
            if comment is None:
                return at
            if not self._is_lenient:
                raise JsoncError("this client's file takes no comments", self.text, at)
            self.comments.append(comment.span())
            at = comment.end()

    def read(self, at: int, depth: int) -> Node:
        """The value that begins here."""
        if depth > _DEEPEST:
            raise JsoncError("too deep", self.text, at)
        first = self.text[at : at + 1]
        if first in ("{", "["):
            return self._read_entries(at, depth, is_object=first == "{")
        if first == '"':
            string, end = self._read_string(at)
            return Node(string, at, end)
        word = _WORD.match(self.text, at)
        try:
            return Node(json.loads(word.group() if word else ""), at, _end_of(word, at))
        except ValueError:
            raise JsoncError("a value is expected", self.text, at) from None

    def _read_string(self, at: int) -> tuple[str, int]:
        try:
            string, end = _DECODER.raw_decode(self.text, at)
        except ValueError:
            raise JsoncError(
                "this string does not end, or is none of JSON", self.text, at
            ) from None
        return str(string), end

    def _read_entries(self, start: int, depth: int, *, is_object: bool) -> Node:
        closing = "}" if is_object else "]"
        entries: list[Entry] = []
        at = self.skip(start + 1)
        while self.text[at : at + 1] != closing:
            if entries and entries[-1].comma is None:
                raise JsoncError(f"a comma or {closing} is expected", self.text, at)
            entry = self._read_entry(at, depth, is_object=is_object)
            entries.append(entry)
            at = self.skip(entry.value.end if entry.comma is None else entry.comma + 1)
        if entries and entries[-1].comma is not None and not self._is_lenient:
            comma = entries[-1].comma
            raise JsoncError("this client's file takes no comma after the last", self.text, comma)
        values = [entry.value.value for entry in entries]
        keys = [str(entry.key) for entry in entries]
        value = dict(zip(keys, values, strict=True)) if is_object else values
        return Node(value, start, at + 1, tuple(entries))

    def _read_entry(self, start: int, depth: int, *, is_object: bool) -> Entry:
        key, at = None, start
        if is_object:
            if self.text[at : at + 1] != '"':
                raise JsoncError("a name in double quotes is expected", self.text, at)
            key, at = self._read_string(at)
            at = self.skip(at)
            if self.text[at : at + 1] != ":":
                raise JsoncError("a colon is expected", self.text, at)
            at = self.skip(at + 1)
        value = self.read(at, depth + 1)
        after = self.skip_quietly(value.end)
        comma = after if self.text[after : after + 1] == "," else None
        return Entry(key, start, value, comma)

    def skip_quietly(self, at: int) -> int:
        """As `skip`, of what is skipped again if no comma follows."""
        seen = len(self.comments)
        after = self.skip(at)
        if self.text[after : after + 1] != ",":
            del self.comments[seen:]
        return after


def _end_of(match: re.Match[str] | None, at: int) -> int:
    return at if match is None else match.end()


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
