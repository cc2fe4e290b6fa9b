"""How large an answer may be, and how large it is, in tokens of a language model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MOST_BYTES: Final = 32_000
"""Some clients cut the middle out of longer results."""

# Calibrated on tables: within some 10 % of o200k_base there. It is no bound.
_PIECE: Final = re.compile(r"[0-9]{1,3}|[A-Z]{1,4}|[a-z]{1,5}|[A-Za-z]|\s|[^\sA-Za-z0-9]")


def estimate_tokens(text: str) -> int:
    """About how many tokens the text takes; other letters count their UTF-8 bytes less one."""
    count = len(_PIECE.findall(text))
    if text.isascii():
        return count
    return count + sum(len(letter.encode()) - 2 for letter in text if not letter.isascii())


@dataclass(slots=True)
class Room:
    """What is left of a budget while lines are added."""

    tokens: int
    bytes: int = MOST_BYTES

    def take(self, *lines: str) -> None:
        """Spend the lines whether or not they fit: what must be said is said."""
        for line in lines:
            self.tokens -= estimate_tokens(line) + 1
            self.bytes -= len(line.encode()) + 1

    def fits(self, line: str) -> bool:
        """Spend the line if there is room for it."""
        tokens, size = estimate_tokens(line) + 1, len(line.encode()) + 1
        if tokens > self.tokens or size > self.bytes:
            return False
        self.tokens -= tokens
        self.bytes -= size
        return True
