"""How large an answer may be, and how large it is, in tokens of a language model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway_metrics_mcp.rendering.document import Note

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
