"""Texts for language models: read from the package, or from the repository's prompts/."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

_PACKAGED: Final = Path(__file__).parents[1] / "_prompts"
_REPOSITORY: Final = Path(__file__).parents[3] / "prompts"


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
