"""Reads the cells of answers back: the other half of what the product quotes."""

from __future__ import annotations

import json
import re
from typing import Final

_ESCAPE: Final = re.compile(r"\\(.)")


def unquote_text(cell: str) -> str:
    """The text behind a cell that `quote_text` made and did not cut."""
    if not cell.startswith('"'):
        return cell
    plain = _ESCAPE.sub(lambda match: "|" if match[1] == "|" else match[0], cell)
    text: str = json.loads(plain)
    return text
