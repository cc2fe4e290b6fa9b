"""Edits JSON with comments and trailing commas in place, and changes no other byte.

Libraries that parse such files write them anew, without the user's comments.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NoReturn

_STRING_OR_COMMENT: Final = re.compile(
    r'"(?:[^"\\\r\n]|\\.)*"?|(?P<comment>//[^\r\n]*|/\*.*?\*/)', re.DOTALL
)
# Below Python's recursion limit: a hostile file is an error with a line, never a traceback.
_DEEPEST: Final = 200


class JsoncError(ValueError):
    """The client could not parse the text; the message has line and column, from 1."""

    def __init__(self, reason: str, text: str, position: int) -> None:
        line = text.count("\n", 0, position) + 1
        column = position - text.rfind("\n", 0, position)
        super().__init__(f"line {line}, column {column}: {reason}")


@dataclass(frozen=True, slots=True)
class Entry:
    """A member of an object or an item of an array; its text is `[start, value.end)`."""

    key: str | None
    start: int
    value: Node
    comma: int | None  # the position of the comma after it


@dataclass(frozen=True, slots=True)
class Node:
    """A parsed value; its text is `[start, end)`."""

    value: Any
    start: int
    end: int
    entries: tuple[Entry, ...] = ()

    def member(self, key: str) -> Entry | None:
        """The member of that name; the last of duplicates, as JSON parsers take it."""
        return next((entry for entry in reversed(self.entries) if entry.key == key), None)

    def find(self, path: Sequence[str]) -> Node | None:
        """The node at a path of names, or None."""
        if not path:
            return self
        entry = self.member(path[0])
        return None if entry is None else entry.value.find(path[1:])


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)  # Python's parser accepts NaN and Infinity, which are not JSON


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)


class _Reader:
    """Parses a text whose comments were replaced by spaces, so that positions stay the file's."""

    def __init__(self, text: str, *, is_lenient: bool) -> None:
        self._text = text
        self._is_lenient = is_lenient

    def read_all(self) -> Node:
        root = self._read(self._skip(0), 0)
        end = self._skip(root.end)
        if end != len(self._text):
            self._fail("more text after the end of the document", end)
        return root

    def _fail(self, reason: str, at: int) -> NoReturn:
        raise JsoncError(reason, self._text, at)

    def _skip(self, at: int) -> int:
        """The next position that is not white space."""
        while self._text[at : at + 1] in (" ", "\t", "\r", "\n"):
            at += 1
        return at

    def _read(self, at: int, depth: int) -> Node:
        if depth > _DEEPEST:
            self._fail("nested too deeply", at)
        first = self._text[at : at + 1]
        if first in ("{", "["):
            return self._read_entries(at, depth, is_object=first == "{")
        try:
            value, end = _DECODER.raw_decode(self._text, at)
        except ValueError:
            is_string = first == '"'
            what = "this string does not end, or is not JSON"
            self._fail(what if is_string else "a value is expected", at)
        return Node(value, at, end)

    def _read_entries(self, start: int, depth: int, *, is_object: bool) -> Node:
        closing = "}" if is_object else "]"
        entries: list[Entry] = []
        comma: int | None = start
        at = self._skip(start + 1)
        while self._text[at : at + 1] != closing:
            if comma is None:
                self._fail(f"a comma or {closing} is expected", at)
            entry = self._read_entry(at, depth, is_object=is_object)
            entries.append(entry)
            comma = entry.comma
            at = self._skip(entry.value.end if comma is None else comma + 1)
        if entries and comma is not None and not self._is_lenient:
            self._fail("this client's file takes no trailing comma", comma)
        values = [entry.value.value for entry in entries]
        keys = [str(entry.key) for entry in entries]
        value = dict(zip(keys, values, strict=True)) if is_object else values
        return Node(value, start, at + 1, tuple(entries))

    def _read_entry(self, start: int, depth: int, *, is_object: bool) -> Entry:
        key, at = None, start
        if is_object:
            if self._text[at : at + 1] != '"':
                self._fail("a name in double quotes is expected", at)
            name = self._read(at, depth)
            key, at = str(name.value), self._skip(name.end)
            if self._text[at : at + 1] != ":":
                self._fail("a colon is expected", at)
            at = self._skip(at + 1)
        value = self._read(at, depth + 1)
        after = self._skip(value.end)
        return Entry(key, start, value, after if self._text[after : after + 1] == "," else None)


@dataclass(frozen=True)
class Text:
    """A JSON text; `is_lenient` allows comments and trailing commas. Edits return a new text."""

    text: str
    is_lenient: bool

    @cached_property
    def comments(self) -> tuple[tuple[int, int], ...]:
        """The spans of the comments."""
        found = _STRING_OR_COMMENT.finditer(self.text)
        return tuple(match.span() for match in found if match["comment"])

    @cached_property
    def root(self) -> Node:
        """The parsed root value.

        Raises:
            JsoncError: if the client could not parse the text.
        """
        if self.comments and not self.is_lenient:
            raise JsoncError("this client's file takes no comments", self.text, self.comments[0][0])
        bare = _STRING_OR_COMMENT.sub(_blank_comment, self.text)
        return _Reader(bare, is_lenient=self.is_lenient).read_all()

    def get(self, path: Sequence[str]) -> Any:
        """The value at the path, or None."""
        node = self.root.find(path)
        return None if node is None else node.value

    def set(self, path: Sequence[str], value: Any) -> Text:
        """The text with the value at the path; missing objects on the way are created.

        Raises:
            JsoncError: if a value on the way is not an object.
        """
        node, rest = self.root, list(path)
        while rest:
            self._expect(node, dict)
            entry = node.member(rest[0])
            if entry is None:
                for name in reversed(rest[1:]):
                    value = {name: value}
                return self._append(node, rest[0], value)
            node, rest = entry.value, rest[1:]
        if node.value == value:
            return self
        new = self._write(value, self._indent_at(node.start), is_inline="\n" not in self.text)
        return self.cut(node.start, node.end, new)

    def append(self, path: Sequence[str], value: Any) -> Text:
        """The text with an item appended to the array at the path, which is created if missing."""
        node = self.root.find(path)
        if node is None:
            return self.set(path, [value])
        self._expect(node, list)
        return self._append(node, None, value)

    def remove(self, path: Sequence[str]) -> Text:
        """The text without the member at the path, including duplicates of it."""
        parent = self.root.find(path[:-1])
        entry = None if parent is None else parent.member(path[-1])
        if parent is None or entry is None:
            return self
        return self._remove(parent, entry).remove(path)

    def remove_item(self, path: Sequence[str], index: int) -> Text:
        """The text without the item at `index` of the array at the path."""
        parent = self.root.find(path)
        return self if parent is None else self._remove(parent, parent.entries[index])

    def _expect(self, node: Node, kind: type) -> None:
        if not isinstance(node.value, kind):
            what = "an object" if kind is dict else "an array"
            raise JsoncError(f"{what} is expected", self.text, node.start)

    def _append(self, parent: Node, key: str | None, value: Any) -> Text:
        """Append an entry after the last one and the comments that follow it.

        It takes the indentation, line ends and trailing comma that the file has.
        """
        inside = self.text[parent.start + 1 : parent.end - 1]
        last = parent.entries[-1] if parent.entries else None
        at = parent.start + 1
        if last is not None:
            at = last.value.end if last.comma is None else last.comma + 1
        at = max([at, *(end for _, end in self._comments_within(at, parent.end))])
        is_inline = "\n" not in (inside if last is not None else self.text.strip())
        is_inline = is_inline and self.text.strip() != "{}"  # a new file has a line per entry
        closing = self._indent_at(parent.start)
        indent = closing + self._unit()
        if last is not None and "\n" in inside:
            indent = self._indent_at(last.start)
        space = f"{self._newline()}{indent}"
        if is_inline:
            space = "" if last is None else " "
        name = "" if key is None else f"{json.dumps(key, ensure_ascii=False)}: "
        new = f"{space}{name}{self._write(value, indent, is_inline=is_inline)}"
        if last is not None and last.comma is not None:
            new += ","  # the file has trailing commas
        elif last is None and not is_inline and "\n" not in self.text[at : parent.end]:
            new += f"{self._newline()}{closing}"
        text = self.cut(at, at, new)
        if last is not None and last.comma is None:
            text = text.cut(last.value.end, last.value.end, ",")
        return text

    def _remove(self, parent: Node, entry: Entry) -> Text:
        """Remove an entry, its comma and the space before it; comments stay."""
        place = parent.entries.index(entry)
        before = parent.entries[place - 1] if place else None
        floor = (parent.start if before is None or before.comma is None else before.comma) + 1
        comments = self._comments_within(floor, entry.start)
        start = comments[-1][1] if comments else floor
        end = entry.value.end if entry.comma is None else entry.comma + 1
        is_alone = len(parent.entries) == 1
        if is_alone and not comments and not self._comments_within(end, parent.end):
            return self.cut(parent.start + 1, parent.end - 1, "")
        rest_of_line = self.text[end:].partition("\n")[0]
        if comments and self.text.startswith("//", comments[-1][0]) and rest_of_line.strip():
            start = entry.start  # else the text that follows would become part of the comment
        text = self.cut(start, end, "")
        if entry.comma is None and before is not None and before.comma is not None:
            text = text.cut(before.comma, before.comma + 1, "")
        return text

    def _comments_within(self, start: int, end: int) -> list[tuple[int, int]]:
        return [(a, b) for a, b in self.comments if start <= a and b <= end]

    def cut(self, start: int, end: int, new: str) -> Text:
        """The text with `[start, end)` replaced by `new`."""
        return Text(self.text[:start] + new + self.text[end:], self.is_lenient)

    def _newline(self) -> str:
        return "\r\n" if "\r\n" in self.text else "\n"

    def _unit(self) -> str:
        """The file's unit of indentation."""
        first = self.root.entries[0].start if self.root.entries else 0
        return self._indent_at(first) or "  "

    def _indent_at(self, position: int) -> str:
        """The indentation of the line at a position."""
        line = self.text[self.text.rfind("\n", 0, position) + 1 : position]
        return line[: len(line) - len(line.lstrip(" \t"))]

    def _write(self, value: Any, indent: str, *, is_inline: bool) -> str:
        if is_inline:
            return json.dumps(value, ensure_ascii=False)
        text = json.dumps(value, ensure_ascii=False, indent=self._unit())
        return text.replace("\n", f"{self._newline()}{indent}")


def _blank_comment(match: re.Match[str]) -> str:
    """Spaces in place of a comment; line ends stay, because errors count lines."""
    return re.sub(r"[^\n]", " ", match[0]) if match["comment"] else match[0]
