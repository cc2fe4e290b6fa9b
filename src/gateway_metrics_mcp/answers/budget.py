"""How large an answer may be, and how large it is, in tokens of a language model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway_metrics_mcp.answers.tokens import estimate_tokens

MOST_BYTES: Final = 32_000
"""Some clients cut the middle out of longer results."""


@dataclass(slots=True)
class Room:
    """What is left of a budget while lines are added."""

    tokens: int
    bytes: int = MOST_BYTES

    @property
    def is_overdrawn(self) -> bool:
        """Whether more was spent than there was."""
        return self.tokens < 0 or self.bytes < 0

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
