"""The names in a picture: as the answer writes them, short, and no two alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway_metrics_mcp.answers.cells import format_key
from gateway_metrics_mcp.result import Key

LONGEST: Final = 34
_LONGEST_KEY: Final = 2_000
_EMPTY: Final = "all"
_PROPERTIES: Final = frozenset(
    (
        "constructor",
        "hasOwnProperty",
        "isPrototypeOf",
        "propertyIsEnumerable",
        "toLocaleString",
        "toString",
        "valueOf",
    )
)
"""Names that every JavaScript object has: Vega stumbles over groups of that name."""


def name_groups(groups: Sequence[Sequence[Key]]) -> list[str]:
    """A name for each group's keys; keys that are the same in all of several are left out.

    What cannot be seen is escaped as in the answer's cells, so that a name shows what it is.
    """
    width = len(groups[0]) if groups else 0
    kinds = [{(type(keys[i]), keys[i]) for keys in groups} for i in range(width)]
    told = [i for i in range(width) if len(kinds[i]) > 1] or list(range(width))
    names = [", ".join(format_key(keys[i], _LONGEST_KEY) for i in told) for keys in groups]
    return shorten([f'"{n}"' if n in _PROPERTIES else n or _EMPTY for n in names])


def shorten(names: Sequence[str], longest: int = LONGEST) -> list[str]:
    """The names cut in the middle; those that would look alike are numbered."""
    short, taken = [], set[str]()
    for name in names:
        cut, number = cut_middle(name, longest), 1
        while cut in taken:
            number += 1
            mark = f" ({number})"
            cut = cut_middle(name, longest - len(mark)) + mark
        taken.add(cut)
        short.append(cut)
    return short


def cut_middle(text: str, longest: int) -> str:
    """The text, its middle left out where it is too long: names differ at their ends."""
    if len(text) <= longest:
        return text
    tail = (longest - 1) // 2
    return f"{text[: longest - 1 - tail]}…{text[len(text) - tail :]}"


def cut_end(text: str, longest: int) -> str:
    """The text up to what fits."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
