"""Texts for language models: the files of prompts/, and what is wrong with a call."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from gateway_metrics_mcp.errors import InvalidQueryError

_PACKAGED: Final = Path(__file__).parents[1] / "_prompts"
_REPOSITORY: Final = Path(__file__).parents[3] / "prompts"
_MOST_LINES: Final = 20
_MOST_LETTERS: Final = 1_000
"""Of one problem: an error is read by a model, whose context it must not fill."""


@cache
def read_prompt(name: str) -> str:
    """The text of `prompts/<name>.md`, without white space at its ends.

    An editable install does not carry the packaged copy; the repository has the original.
    """
    folder = _PACKAGED if _PACKAGED.is_dir() else _REPOSITORY
    return (folder / f"{name}.md").read_text("utf-8").strip()


def find_templates() -> list[Path]:
    """The files of `prompts/templates/`, by name."""
    folder = _PACKAGED if _PACKAGED.is_dir() else _REPOSITORY
    return sorted((folder / "templates").glob("*.md"))


def list_problems(name: str, error: InvalidQueryError) -> str:
    """Everything that is wrong with the arguments of a tool or a prompt, a line each."""
    lines = [f"- {problem}"[:_MOST_LETTERS] for problem in error.problems]
    return "\n".join([f"Invalid arguments for {name}:", *cut_lines(lines)])


def cut_lines(lines: Sequence[str]) -> list[str]:
    """The lines, unless there are very many."""
    more = len(lines) - _MOST_LINES
    return [*lines[:_MOST_LINES], *([f"and {more} more like these"] if more > 0 else [])]
