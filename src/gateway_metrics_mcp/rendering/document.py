"""The document of an answer: header, notes, tables, continuation, and what fits a budget."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal, NamedTuple, Self

from gateway_metrics_mcp.query import Filter, Window
from gateway_metrics_mcp.query.time.window import format_window
from gateway_metrics_mcp.rendering.cells import describe_filters, keep_on_line
from gateway_metrics_mcp.reports.request import ReportRequest

NoteKind = Literal[
    "age",  # how old a cached answer is
    "buckets",  # partial, missing or otherwise aligned buckets
    "change",  # new and vanished groups, and the comparison window
    "columns",  # columns that are equal in every row
    "cut",  # what the budget left out
    "drivers",  # the cost drivers
    "filling",  # the window ends now, so rows may still arrive
    "filter",  # what else a negative filter keeps or drops
    "gap",  # rows that do not add up to ALL
    "impossible",  # values that cannot be
    "link",  # the resource with all rows
    "measure",  # how a measure is computed
    "more",  # the arguments that continue
    "next",  # what to ask instead of an empty answer
    "null",  # values that no row has
    "picture",  # what the chart leaves out, or why there is none
    "plan",  # the queries that would run
    "price",  # calls without a price
    "rounded",  # figures with fewer digits than they have
    "rows",  # what a row stands for
    "run_rate",  # where a running month would end
    "source",  # notes of the backend
    "subject",  # what a catalog is about
    "unmatched",  # filter values that no row has
    "verdict",  # why an answer is empty
    "window",  # how the requested times were resolved
]


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence that says how to read an answer, and its kind."""

    kind: NoteKind
    text: str
    """One line without invisible characters, even if it quotes names from the data."""

    def __post_init__(self) -> None:
        # Escaped here, in one place: a name with a line break must never forge a line of ours.
        object.__setattr__(self, "text", keep_on_line(self.text))


def explain(verdict: str, following: str) -> list[Note]:
    """Why an answer is empty, and what to ask next."""
    return [Note("verdict", verdict), Note("next", f"next: {following}")]


@dataclass(frozen=True, slots=True)
class Continuation(Note):
    """How to get the rows that were left out; `arguments` replace those of the call."""

    arguments: Mapping[str, Any] = field(default_factory=dict)


_BETWEEN: Final = " | "


# No slots: `cached_property` needs a `__dict__`, and a header is measured several times.
@dataclass(frozen=True)
class Header:
    """What an answer covers: the first line of its text."""

    subject: str
    """The datasource and its group-by fields, or what is listed of it."""
    window: Window
    earlier: Window | None = None
    """The comparison window."""
    filters: tuple[Filter, ...] = ()
    scope: str | None = None
    counted: str | None = None
    """What a row of the source stands for."""
    searched: str | None = None
    """The search text of a value list, and how many values match."""
    source: str = ""
    """What the figures come from, made safe to print; empty if it has no name."""

    @cached_property
    def _covered(self) -> str:
        filters = " AND ".join(describe_filters(self.filters))
        pieces = (
            self.subject,
            format_window(self.window),
            self.earlier and f"compared with {format_window(self.earlier)}",
            filters and f"filter: {filters}",
            self.scope,
            self.counted and f"counts {self.counted}",
            self.searched,
        )
        return _BETWEEN.join(piece for piece in pieces if piece)

    def show(self, *parts: str) -> str:
        """The header as text; `parts` add the order and the range of the rows shown."""
        return _BETWEEN.join(filter(None, [self._covered, *parts, self.source]))


def describe_extent(first: int, last: int, count: int) -> str:
    """The range of rows on a page, such as `rows 1-10 of 25`."""
    if first > count:
        return f"no rows: offset is past the last of {count}"
    return f"rows {first}-{last} of {count}"


class Column(NamedTuple):
    """A column of a document's rows."""

    name: str
    kind: Literal["time", "key", "value"]
    unit: str | None = None


class Table(NamedTuple):
    """Formatted cells; `is_number` per column aligns them right for people."""

    heading: Sequence[str]
    rows: Sequence[Sequence[str]]
    is_number: Sequence[bool]
    title: str | None = None


class Pairs(NamedTuple):
    """A single row, with one value per line."""

    rows: Sequence[tuple[str, str]]
    has_keys: bool
    """Whether some of the values are names."""


class Section(NamedTuple):
    """Lines outside of tables, with an optional title."""

    title: str | None
    lines: Sequence[str] = ()


Block = Note | Table | Pairs | Section


class Page(NamedTuple):
    """The part of a document that is shown, in order."""

    header: str | None
    blocks: Sequence[Block]

    @property
    def notes(self) -> list[Note]:
        """The notes among the blocks."""
        return [block for block in self.blocks if isinstance(block, Note)]


def _as_arguments(arguments: Mapping[str, Any]) -> str:
    return "same arguments with " + ", ".join(f"{n}={value}" for n, value in arguments.items())


# Hints are written in the reader's terms from the start: replacing names in finished text would
# also replace them inside filter values and other names.
class Words(NamedTuple):
    """How hints name the next request: tools and arguments for a model, flags for `ask`."""

    list_values: str = "list_values"
    list_fields: str = "ask list_fields"
    exact: str = "format exact"
    go_on: Callable[[Mapping[str, Any]], str] = _as_arguments
    link: Callable[[ReportRequest], str | None] = lambda _: None
    """The URI of all rows of a report, for an answer that omits some; None if there is none."""


TOOL_WORDS: Final = Words()


def write_lines(page: Page) -> list[str]:
    """The page as lines for a model: notes after `# `, table cells separated by `|`.

    `|` without padding costs the tokens of CSV, and is still a legal Markdown table.
    """
    lines = [] if page.header is None else [f"# {page.header}"]
    for block in page.blocks:
        if isinstance(block, Note):
            # The verdict is the answer of an empty result, so it is not marked as a note.
            lines.append(block.text if block.kind == "verdict" else f"# {block.text}")
        elif isinstance(block, Pairs):
            lines += [f"{name}: {value}" for name, value in block.rows]
        else:
            lines += [] if block.title is None else [f"## {block.title}"]
            if isinstance(block, Table):
                lines += ["|".join(block.heading), "|".join(["---"] * len(block.heading))]
                lines += map("|".join, block.rows)
            else:
                lines += block.lines
    return lines


def write_text(page: Page) -> str:
    """The page as one text."""
    return "\n".join(write_lines(page))


# Why not a real tokenizer: its vocabulary takes megabytes and a download. This estimate is within
# 10 % of o200k_base on answers, and within 25 % on hostile names (benchmarks/tokens.py).
# After each letter come those that follow it in 95 % of the pairs in English and code: words stay
# whole, and random letters break at about every second one. Like the sets below, the pattern is
# compiled by the first text that needs it: that takes Python a millisecond, and most answers fit
# their budget by their bytes alone.
_FOLLOWERS: Final = (
    "aabcdfgiklmnprstuvwxy baceilorsuy cacdefhiklmorstu dabcdefilorstu "
    "eabcdefgilmnopqrstvwxy fadefilorstu gaeghilnorsu haeilorst iabcdefglmnoprstvxz keis "
    "lacdefilopstuy mabdeilmopsu nacdefgiklnoprstuv oabcdfgiklmnoprstuvw padehiloprstuy qu "
    "rabcdefgiklmnoprstuvy sacdefhiklmnopqrstuwy tabcdefhilmoprstuy uabcdefgilmnprst vaeio "
    "waehinors xceipt yelnpst ze"
)

_STEPS: Final = "|".join(f"{pair[0]}(?=[{pair[1:]}])" for pair in _FOLLOWERS.split())
_PIECE: Final = (
    r"[0-9]{1,3}"
    r"|(?<=\\)u"  # of an escape: stands alone
    rf"| ?(?:[A-Z](?=[a-z]))?(?:(?![aeiou]{{3}})(?:{_STEPS})){{0,7}}[a-z]"
    r"| ?[A-Z]{1,2}(?![a-z])| ?[A-Z]"
    r'|---\|?|\|+|[\]"],[\["]?|,"'  # the rule of a table, empty cells, the joints of JSON
    r"|\s|[^\sA-Za-z0-9]"
)

# How many tokens non-ASCII characters take beyond the one that `_PIECE` counts.
_PICTURES: Final = "\U0001d400-\U0001d7ff\U0001f000-\U0001ffff"
_MORE: Final = (
    (1, "[\u0080-\u024f\u0300-\u036f\u0800-\uffff]"),
    (1, "[\u0e80-\u10cf\u1100-\u1fff\u2c00-\u2dff\u3400-\u4dbf\ua000-\uabff]"),
    (1, "[\ud7b0-\uf8ff\ufb00-\ufdff]"),
    (2, f"[{_PICTURES}]"),
    (3, f"(?![{_PICTURES}])[\U00010000-\U0010ffff]"),
)


def estimate_tokens(text: str) -> int:
    """The estimated number of tokens of the text, in o200k_base."""
    count = len(re.findall(_PIECE, text))
    if text.isascii():
        return count
    return count + sum(more * len(re.findall(kind, text)) for more, kind in _MORE)


# Some clients cut the middle out of longer results (Codex from 40,000 bytes on).
MOST_BYTES: Final = 32_000

# The budget of an answer for programs and files.
UNLIMITED: Final = 10**9


@dataclass(slots=True)
class TokenBudget:
    """What remains of a budget of tokens and bytes while lines are added.

    A token is at least one byte, so lines are tokenized only once their bytes no longer fit. Most
    answers are never tokenized.
    """

    tokens: int
    bytes: int = MOST_BYTES
    _uncounted: list[str] = field(default_factory=list)
    _uncounted_bytes: int = 0
    is_unlimited: bool = field(init=False)
    """Whether the budget exceeds what any client is sent, as for files."""

    def __post_init__(self) -> None:
        self.is_unlimited = self.tokens > MOST_BYTES
        if self.is_unlimited:
            self.bytes = max(self.bytes, self.tokens)

    @classmethod
    def beside(cls, page: Page, tokens: int) -> Self:
        """What remains of `tokens` beside a page, as the text writer writes it."""
        room = cls(tokens)
        room.take(*write_lines(page))
        return room

    @property
    def is_overspent(self) -> bool:
        """Whether more was spent than the budget held."""
        return self.bytes < 0 or not self._has(0)

    def take(self, *lines: str) -> None:
        """Spend lines that are shown whether or not they fit, such as the header."""
        for line in lines:
            self._spend(line, _size(line))

    def take_if_fits(self, line: str) -> bool:
        """Spend the line if it fits; whether it did."""
        size = _size(line)
        if size > self.bytes:
            return False
        # The byte count first: it is free, and mostly enough.
        if not self._has(size) and not self._has(estimate_tokens(line) + 1):
            return False
        self._spend(line, size)
        return True

    def take_rows(self, rows: Iterable[Sequence[str]], least: int = 1) -> list[Sequence[str]]:
        """The first rows that fit; at least `least` rows, even over budget."""
        taken: list[Sequence[str]] = []
        for cells in rows:
            line = "|".join(cells)
            if not self.take_if_fits(line):
                if len(taken) >= least:
                    break
                self.take(line)
            taken.append(cells)
        return taken

    def _spend(self, line: str, size: int) -> None:
        self.bytes -= size
        self._uncounted.append(line)
        self._uncounted_bytes += size

    def _has(self, tokens: int) -> bool:
        """Whether that many tokens remain; tokenizes only if the byte count does not settle it."""
        if self._uncounted_bytes + tokens <= self.tokens:
            return True
        self.tokens -= sum(estimate_tokens(line) + 1 for line in self._uncounted)
        self._uncounted.clear()
        self._uncounted_bytes = 0
        return tokens <= self.tokens


def note_link(rows: str, link: str | None, budget: int) -> list[Note]:
    """The resource with all rows, for a cut answer; empty without a link or if it is too long."""
    note = Note("link", f"{rows} as CSV: resource {link}")
    # It may take a fifth of the budget: it must not displace the rows.
    is_short = estimate_tokens(f"# {note.text}") * 5 <= budget
    return [note] if link is not None and is_short else []


def _size(line: str) -> int:
    return (len(line) if line.isascii() else len(line.encode())) + 1
