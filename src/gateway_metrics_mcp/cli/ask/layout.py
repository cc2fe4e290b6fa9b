"""An answer's text for people: tables aligned for a terminal, or as padded Markdown."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

FORMATS: Final = ("table", "aligned", "exact", "csv", "json", "markdown", "explain")
FORMATS_OF_VALUES: Final = ("table", "aligned", "csv", "json", "markdown")
FORMATS_OF_FIELDS: Final = ("table", "markdown")

_RULE: Final = re.compile(r"---(?:\|---)*")
_CELL: Final = re.compile(r"((?:\\.|[^|\\])*)(\||$)", re.DOTALL)
_NUMBER: Final = re.compile(r"[+-]?\d+(?:\.\d+)?(?:e[+-]\d+)?(?:%|pp)?|null|n/a")
_MARKS: Final = re.compile(
    r"\\\|"  # ours already, in a table and out of it
    r"|[\\`*<\[\]~]"
    r"|(?<![^\W_])_|_(?![^\W_])"  # within a word it is none
    r"|&(?=#?\w+;)"
)
_OURS: Final = ("# ", "## ")


@dataclass(frozen=True, slots=True)
class Table:
    """A table of an answer; its cells as the answer has them."""

    heading: Sequence[str]
    rows: Sequence[Sequence[str]]


Block = str | Table


def read_blocks(text: str, *, has_pairs: bool = False) -> Iterator[Block]:
    """The lines and tables of an answer; with `has_pairs`, `name: value` lines are a table too."""
    lines = text.split("\n")
    i = 0
    pairs: list[Sequence[str]] = []
    while i < len(lines):
        if i + 1 < len(lines) and _RULE.fullmatch(lines[i + 1]):
            last = i + 2
            while last < len(lines) and not lines[last].startswith(_OURS):
                last += 1
            yield Table(_split(lines[i]), [_split(line) for line in lines[i + 2 : last]])
            i = last
            continue
        if has_pairs and not lines[i].startswith(_OURS):
            pairs.append(_split_pair(lines[i]))
        else:
            yield lines[i]
        i += 1
    if pairs:
        yield Table(("name", "value"), pairs)


def _split(line: str) -> list[str]:
    """The cells of a row: `|` between them stands bare, within them it is escaped."""
    cells: list[str] = []
    position = 0
    while True:
        cell = _CELL.match(line, position)
        if cell is None:  # a lone backslash at the end: no row of ours has one
            return [*cells, line[position:]]
        cells.append(cell[1])
        if not cell[2]:
            return cells
        position = cell.end()


def _split_pair(line: str) -> tuple[str, str]:
    end = 0
    if line.startswith('"'):
        _, end = json.JSONDecoder().raw_decode(line.replace("\\|", "||"))
    name, _, value = line[end:].partition(": ")
    return line[:end] + name, value


def align(text: str, *, has_pairs: bool = False) -> str:
    """The text with padded columns, numbers to the right."""
    lines: list[str] = []
    for block in read_blocks(text, has_pairs=has_pairs):
        if isinstance(block, str):
            lines.append(block)
            continue
        is_pairs = has_pairs and block.heading == ("name", "value")
        widths, is_right = _widths(block), _is_right(block)
        rows = [["-" * width for width in widths], *block.rows]
        shown = block.rows if is_pairs else [block.heading, *rows]
        lines += ["  ".join(_pad(row, widths, is_right)) for row in shown]
    return "\n".join(line.rstrip() for line in lines)


def as_markdown(text: str, *, has_pairs: bool = False) -> str:
    """Padded Markdown tables between paragraphs; nothing in a cell is markup."""
    parts: list[str] = []
    for block in read_blocks(text, has_pairs=has_pairs):
        if isinstance(block, str):
            parts += [_as_paragraph(block), ""]
            continue
        shown = Table(
            [_escape(cell) for cell in block.heading],
            [[_escape(cell) for cell in row] for row in block.rows],
        )
        widths = [max(width, 3) for width in _widths(shown)]
        is_right = _is_right(block)
        rule = [
            "-" * (width - 1) + (":" if right else "-")
            for width, right in zip(widths, is_right, strict=True)
        ]
        rows = [_pad(shown.heading, widths, is_right), rule]
        rows += [_pad(row, widths, is_right) for row in shown.rows]
        parts += ["\n".join(f"| {' | '.join(row)} |" for row in rows), ""]
    return "\n".join(parts).rstrip("\n")


def _as_paragraph(line: str) -> str:
    if line.startswith("## "):
        return f"**{_escape(line[3:])}**"
    return _escape(line.removeprefix("# "))


def _escape(text: str) -> str:
    """The text with a backslash before what Markdown would read as markup."""
    return _MARKS.sub(lambda mark: mark[0] if mark[0] == r"\|" else f"\\{mark[0]}", text)


def _widths(table: Table) -> list[int]:
    rows = [table.heading, *table.rows]
    return [max(_width(row[i]) for row in rows) for i in range(len(table.heading))]


def _width(text: str) -> int:
    """The columns that a terminal takes for it."""
    if text.isascii():
        return len(text)
    return sum(
        0
        if unicodedata.category(letter) in ("Mn", "Me", "Cf")
        else 1 + (unicodedata.east_asian_width(letter) in "FW")
        for letter in text
    )


def _is_right(table: Table) -> list[bool]:
    """Which columns hold numbers alone."""
    columns = range(len(table.heading))
    return [
        bool(table.rows) and all(_NUMBER.fullmatch(row[i]) for row in table.rows) for i in columns
    ]


def _pad(row: Sequence[str], widths: Sequence[int], is_right: Sequence[bool]) -> list[str]:
    cells = []
    for cell, width, right in zip(row, widths, is_right, strict=True):
        blank = " " * (width - _width(cell))
        cells.append(blank + cell if right else cell + blank)
    return cells
