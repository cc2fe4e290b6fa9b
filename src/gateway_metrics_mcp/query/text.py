"""What counts as text: JSON can carry more than engines and requests take."""

from __future__ import annotations

import re
from typing import Final

from pydantic_core import from_json

_NO_TEXT: Final = re.compile("[\0\ud800-\udfff]")


def is_text(value: str) -> bool:
    """False for a NUL or half a surrogate pair."""
    return _NO_TEXT.search(value) is None


def parse_number(text: str) -> int | float | None:
    """The number that the text spells; None if it spells none."""
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return None


def parse_json(value: object) -> object:
    """The value of JSON text: some clients send arrays and objects so."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return from_json(value, allow_inf_nan=False)
        except ValueError:  # deep nesting too: that is no recursion error here
            return value
    return value
