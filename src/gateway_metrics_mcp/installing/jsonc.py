"""JSON with comments and trailing commas -> values that know where they stand in the text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
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
