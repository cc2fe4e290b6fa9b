"""How large an answer may be, and how large it is, in tokens of a language model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from gateway_metrics_mcp.answers.tokens import estimate_tokens

MOST_BYTES: Final = 32_000
"""Some clients cut the middle out of longer results."""

UNLIMITED: Final = 10**9
"""The budget of an answer that no model reads."""

_MOST_FOR_LINK: Final = 5
"""A link to all rows may take such a part of the budget; it must not take the rows' place."""


@dataclass(slots=True)
class Room:
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
    def is_overdrawn(self) -> bool:
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


def write_link_line(rows: str, link: str | None, budget: int) -> list[str]:
    """The last line of an answer that leaves rows out: where all are, unless that is too long."""
    if link is None:
        return []
    line = f"# {rows} as CSV: resource {link}"
    return [line] if estimate_tokens(line) * _MOST_FOR_LINK <= budget else []


def _size(line: str) -> int:
    return (len(line) if line.isascii() else len(line.encode())) + 1
