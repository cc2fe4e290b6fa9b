"""Texts for models: the files of prompts/, and lists of problems with a call's arguments."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from gateway_metrics_mcp.errors import InvalidQueryError

_PACKAGED: Final = Path(__file__).parents[2] / "_prompts"
_REPOSITORY: Final = Path(__file__).parents[4] / "prompts"
_MOST_LINES: Final = 20
_MOST_LETTERS: Final = 1_000
"""The length of one problem: an error must not fill a model's context."""


@cache
def read_prompt(name: str) -> str:
    """The text of `prompts/<name>.md`, stripped.

    A wheel has a copy in `_prompts`; an editable install reads the repository's folder.
    """
    folder = _PACKAGED if _PACKAGED.is_dir() else _REPOSITORY
    return (folder / f"{name}.md").read_text("utf-8").strip()


def find_templates() -> list[Path]:
    """The paths of `prompts/templates/*.md`, sorted by name."""
    folder = _PACKAGED if _PACKAGED.is_dir() else _REPOSITORY
    return sorted((folder / "templates").glob("*.md"))


def list_problems(name: str, error: InvalidQueryError) -> str:
    """All problems with the arguments of a tool or prompt, one per line: one retry fixes all."""
    lines = [f"- {problem}"[:_MOST_LETTERS] for problem in error.problems]
    head = [f"Invalid arguments for {name}:", *filter(None, [error.correction])]
    return "\n".join([*head, *cut_lines(lines)])


def cut_lines(lines: Sequence[str]) -> list[str]:
    """At most 20 lines; the others are counted."""
    more = len(lines) - _MOST_LINES
    return [*lines[:_MOST_LINES], *([f"and {more} more like these"] if more > 0 else [])]
