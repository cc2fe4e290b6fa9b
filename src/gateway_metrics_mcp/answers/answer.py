"""What a tool returns, whatever carries it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer; `text` is all that a model needs to read."""

    text: str
