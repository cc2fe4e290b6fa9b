"""Writes a page for people: tables aligned for a terminal, or padded Markdown.

Models get rendering/document.py's tables: padding would cost them tokens.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

from gateway_metrics_mcp.rendering.document import Note, Page, Pairs, Section, Table, write_lines

_MARKS: Final = (
    r"\\\|"  # escaped by us already
    r"|[\\`*<\[\]~]"
    r"|(?<![^\W_])_|_(?![^\W_])"  # within a word an underscore is not markup
    r"|&(?=#?\w+;)"
)

Row = Sequence[str]


def align(page: Page) -> str:
    """The page with padded columns; numbers are right-aligned."""
    lines: list[str] = []
    for block in page.blocks:
        if isinstance(block, Table):
            widths = _widths([block.heading, *block.rows])
            rows = [block.heading, ["-" * width for width in widths], *block.rows]
            lines += [] if block.title is None else [f"## {block.title}"]
            lines += _pad(rows, widths, block.is_number)
        elif isinstance(block, Pairs):
            lines += _pad(block.rows, _widths(block.rows), (False, not block.has_keys))
        else:
            lines += write_lines(Page(None, [block]))
    head = write_lines(Page(page.header, []))
    return "\n".join(line.rstrip() for line in [*head, *lines])


def as_markdown(page: Page) -> str:
    """The page as Markdown, with padded tables; markup in cells is escaped."""
    parts = [] if page.header is None else [_escape(page.header)]
    for block in page.blocks:
        match block:
            case Note(text=text):
                parts.append(_escape(text))
            case Table(heading, rows, is_number, title):
                parts += [] if title is None else [f"**{_escape(title)}**"]
                parts.append(_as_table(heading, rows, is_number))
            case Pairs(rows, has_keys):
                parts.append(_as_table(("name", "value"), rows, (False, not has_keys)))
            case Section(title, lines):
                parts += [] if title is None else [f"**{_escape(title)}**"]
                parts += map(_escape, lines)
    return "\n\n".join(parts)


def _as_table(heading: Row, rows: Sequence[Row], is_number: Sequence[bool]) -> str:
    escaped = [[*map(_escape, row)] for row in (heading, *rows)]
    widths = [max(width, 3) for width in _widths(escaped)]
    rule = ["-" * (n - 1) + (":" if i else "-") for n, i in zip(widths, is_number, strict=True)]
    lines = _pad([escaped[0], rule, *escaped[1:]], widths, is_number, " | ")
    return "\n".join(f"| {line} |" for line in lines)


def _escape(text: str) -> str:
    """The text with a backslash before each character that Markdown would read as markup."""
    return re.sub(_MARKS, lambda mark: mark[0] if mark[0] == r"\|" else f"\\{mark[0]}", text)


def _widths(rows: Sequence[Row]) -> list[int]:
    return [max(map(_width, column)) for column in zip(*rows, strict=True)]


def _width(text: str) -> int:
    """The terminal columns of a text: 2 per wide character, 0 per combining mark."""
    if text.isascii():
        return len(text)
    return sum(
        0
        if unicodedata.category(letter) in ("Mn", "Me", "Cf")
        else 1 + (unicodedata.east_asian_width(letter) in "FW")
        for letter in text
    )


def _pad(
    rows: Iterable[Row], widths: Sequence[int], is_number: Sequence[bool], between: str = "  "
) -> list[str]:
    lines = []
    for row in rows:
        cells = []
        for cell, width, is_right in zip(row, widths, is_number, strict=True):
            blank = " " * (width - _width(cell))
            cells.append(blank + cell if is_right else cell + blank)
        lines.append(between.join(cells))
    return lines
