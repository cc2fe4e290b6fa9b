"""The document of an answer: header, notes, tables, continuation, and what fits a budget."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal

from gateway_metrics_mcp.query import Filter, Window
from gateway_metrics_mcp.query.time.window import format_window
from gateway_metrics_mcp.rendering.cells import describe_filters, keep_on_line

NoteKind = Literal[
    "age",  # how old a cached answer is
    "buckets",  # partial, missing or otherwise aligned buckets
    "change",  # groups that came and went, and the window compared with
    "columns",  # columns that say the same in every row, said once
    "cut",  # what the budget left out
    "drivers",  # what moved the cost
    "filling",  # the window touches now
    "filter",  # what a negative filter keeps or drops beside its words
    "gap",  # rows that do not add up to ALL
    "link",  # where all rows are
    "measure",  # how a measure is computed
    "more",  # the arguments that continue
    "next",  # what to ask instead of an empty answer
    "null",  # values that no row has
    "picture",  # what a picture leaves out, or why there is none
    "plan",  # what would be asked
    "price",  # calls without a price
    "rounded",  # figures with fewer digits than they have
    "rows",  # what a row stands for
    "run_rate",  # where a running month would end
    "source",  # the backend's own sentences
    "subject",  # what a catalog is about
    "unmatched",  # filter values that no row has
    "verdict",  # why an answer is empty
    "window",  # what was made of the times that were asked
]


@dataclass(frozen=True, slots=True)
class Note:
    """A plain sentence on how an answer is to be read, and what it is about."""

    kind: NoteKind
    text: str
    """One line in which everything can be seen, whatever names are in it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", keep_on_line(self.text))


def explain(verdict: str, following: str) -> list[Note]:
    """Why an answer is empty, and what to ask next."""
    return [Note("verdict", verdict), Note("next", f"next: {following}")]


@dataclass(frozen=True, slots=True)
class Continuation(Note):
    """How to go on where rows are left out: its arguments replace those of the call."""

    arguments: Mapping[str, Any] = field(default_factory=dict)


_BETWEEN: Final = " | "


# Without slots, which leave no place for what is written once and measured several times.
@dataclass(frozen=True)
class Header:
    """What an answer covers."""

    subject: str
    """The datasource, and by which fields or what of it."""
    window: Window
    earlier: Window | None = None
    """The window it is compared with."""
    filters: tuple[Filter, ...] = ()
    scope: str | None = None
    counted: str | None = None
    """What a row of the source is."""
    searched: str | None = None
    """What listed values were searched for, and how many have it."""

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
        """The header as text; `parts` say how rows are sorted, and which of them are shown."""
        return _BETWEEN.join([self._covered, *filter(None, parts)])


def describe_extent(first: int, last: int, count: int) -> str:
    """Which rows stand in a page, for its header."""
    if first > count:
        return f"rows none: offset is past the last of {count}"
    return f"rows {first}-{last} of {count}"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a document's rows."""

    name: str
    kind: Literal["time", "key", "value"]
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as they are shown, and which columns hold numbers."""

    heading: Sequence[str]
    rows: Sequence[Sequence[str]]
    is_number: Sequence[bool]
    title: str | None = None


@dataclass(frozen=True, slots=True)
class Pairs:
    """A single row, a value a line."""

    rows: Sequence[tuple[str, str]]
    has_keys: bool
    """Whether some of the values are names."""


@dataclass(frozen=True, slots=True)
class Section:
    """Lines that are no table, with a title above."""

    title: str | None
    lines: Sequence[str] = ()


Block = Note | Table | Pairs | Section


@dataclass(frozen=True, slots=True)
class Page:
    """What is shown of a document, in order."""

    header: str | None
    blocks: Sequence[Block]

    @property
    def notes(self) -> list[Note]:
        """The sentences among the blocks."""
        return [block for block in self.blocks if isinstance(block, Note)]


def _as_arguments(arguments: Mapping[str, Any]) -> str:
    changes = ", ".join(f"{name}={value}" for name, value in arguments.items())
    return f"same arguments with {changes}"


# Hints are written in the reader's words at once: replacing names in a finished text would also
# replace them in the values of filters and in the names of others.
@dataclass(frozen=True, slots=True)
class Words:
    """How the reader of an answer asks again: a model names tools and arguments."""

    list_values: str = "list_values"
    list_fields: str = "ask list_fields"
    exact: str = "format exact"
    go_on: Callable[[Mapping[str, Any]], str] = _as_arguments


TOOL_WORDS: Final = Words()


def write_lines(page: Page) -> list[str]:
    """The page as a model reads it: notes behind `# `, tables with `|` between cells."""
    lines = [] if page.header is None else [f"# {page.header}"]
    for block in page.blocks:
        if isinstance(block, Note):
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


# After each letter, those that follow it in 95 % of the pairs of English and of code. So words stay
# whole, and random letters break at about every second one.
_FOLLOWERS: Final = (
    "aabcdfgiklmnprstuvwxy baceilorsuy cacdefhiklmorstu dabcdefilorstu "
    "eabcdefgilmnopqrstvwxy fadefilorstu gaeghilnorsu haeilorst iabcdefglmnoprstvxz keis "
    "lacdefilopstuy mabdeilmopsu nacdefgiklnoprstuv oabcdfgiklmnoprstuvw padehiloprstuy qu "
    "rabcdefgiklmnoprstuvy sacdefhiklmnopqrstuwy tabcdefhilmoprstuy uabcdefgilmnprst vaeio "
    "waehinors xceipt yelnpst ze"
)

_STEPS: Final = "|".join(f"{pair[0]}(?=[{pair[1:]}])" for pair in _FOLLOWERS.split())
_PIECE: Final = re.compile(
    r"[0-9]{1,3}"
    r"|(?<=\\)u"  # of an escape: stands alone
    rf"| ?(?:[A-Z](?=[a-z]))?(?:(?![aeiou]{{3}})(?:{_STEPS})){{0,7}}[a-z]"
    r"| ?[A-Z]{1,2}(?![a-z])| ?[A-Z]"
    r'|---\|?|\|+|[\]"],[\["]?|,"'  # the rule of a table, empty cells, the joints of JSON
    r"|\s|[^\sA-Za-z0-9]"
)

# What characters outside of ASCII take beyond the one that `_PIECE` counts.
_PICTURES: Final = "\U0001d400-\U0001d7ff\U0001f000-\U0001ffff"
_MORE: Final = (
    (1, re.compile("[\u0080-\u024f\u0300-\u036f\u0800-\uffff]")),
    (1, re.compile("[\u0e80-\u10cf\u1100-\u1fff\u2c00-\u2dff\u3400-\u4dbf\ua000-\uabff]")),
    (1, re.compile("[\ud7b0-\uf8ff\ufb00-\ufdff]")),
    (2, re.compile(f"[{_PICTURES}]")),
    (3, re.compile(f"(?![{_PICTURES}])[\U00010000-\U0010ffff]")),
)


def estimate_tokens(text: str) -> int:
    """About how many tokens the text takes."""
    count = len(_PIECE.findall(text))
    if text.isascii():
        return count
    return count + sum(more * len(kind.findall(text)) for more, kind in _MORE)


# Some clients cut the middle out of longer results.
MOST_BYTES: Final = 32_000

# The budget of an answer that no model reads.
UNLIMITED: Final = 10**9

# A link to all rows may take such a part of the budget; it must not take the rows' place.
_MOST_FOR_LINK: Final = 5


@dataclass(slots=True)
class TokenBudget:
    """What is left of a budget while lines are added.

    A token is at least a byte. So lines are only counted once their bytes would no longer fit:
    most answers are never counted at all.
    """

    tokens: int
    bytes: int = MOST_BYTES
    _uncounted: list[str] = field(default_factory=list)
    _uncounted_bytes: int = 0
    is_unlimited: bool = field(init=False)
    """Whether there is more than any client is given: that is no budget at all."""

    def __post_init__(self) -> None:
        self.is_unlimited = self.tokens > MOST_BYTES
        if self.is_unlimited:
            self.bytes = max(self.bytes, self.tokens)

    @property
    def is_overspent(self) -> bool:
        """Whether more was spent than there was."""
        return self.bytes < 0 or not self._has(0)

    def reserve(self, tokens: int) -> None:
        """Keep room for what is not written yet."""
        self.tokens -= tokens

    def take(self, *lines: str) -> None:
        """Spend the lines whether or not they fit: what must be said is said."""
        for line in lines:
            self._spend(line, _size(line))

    def fits(self, line: str) -> bool:
        """Spend the line if there is room for it."""
        size = _size(line)
        if size > self.bytes:
            return False
        if not self._has(size) and not self._has(estimate_tokens(line) + 1):
            return False
        self._spend(line, size)
        return True

    def take_rows(self, rows: Iterable[Sequence[str]], least: int = 1) -> list[Sequence[str]]:
        """The rows that fit, from the first on; so many are taken whether or not they do."""
        taken: list[Sequence[str]] = []
        for cells in rows:
            line = "|".join(cells)
            if not self.fits(line):
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
        """Whether so many tokens are left; counts only if the bytes do not settle it."""
        if self._uncounted_bytes + tokens <= self.tokens:
            return True
        self.tokens -= sum(estimate_tokens(line) + 1 for line in self._uncounted)
        self._uncounted.clear()
        self._uncounted_bytes = 0
        return tokens <= self.tokens


def note_link(rows: str, link: str | None, budget: int) -> list[Note]:
    """The last line of an answer that leaves rows out: where all are, unless that is too long."""
    note = Note("link", f"{rows} as CSV: resource {link}")
    is_short = estimate_tokens(f"# {note.text}") * _MOST_FOR_LINK <= budget
    return [note] if link is not None and is_short else []


def _size(line: str) -> int:
    return (len(line) if line.isascii() else len(line.encode())) + 1
