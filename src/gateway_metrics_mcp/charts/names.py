"""The names in a picture: as the answer writes them, short, and no two alike."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final

from gateway_metrics_mcp.answers.cells import format_key
from gateway_metrics_mcp.charts.cutting import cut_apart, cut_middle
from gateway_metrics_mcp.result import Key

LONGEST: Final = 34
_LONGEST_KEY: Final = 2_000
_EMPTY: Final = "all"
_BETWEEN: Final = ", "
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
    rows = [[format_key(keys[i], _LONGEST_KEY) for i in told] for keys in groups]
    if len(told) == 1:
        return shorten([_name(row) for row in rows])
    names = _shorten_keys(rows)
    is_short = all(len(name) <= LONGEST for name in names)
    is_told = len(set(names)) == len(names)
    return names if is_short and is_told else shorten([_name(row) for row in rows])


def shorten(names: Sequence[str], longest: int = LONGEST) -> list[str]:
    """The names within `longest`; those that cannot be told apart so are numbered."""
    short, taken = [], set[str]()
    for name in cut_apart(names, longest):
        cut, number = name, 1
        while cut in taken:
            number += 1
            mark = f" ({number})"
            cut = cut_middle(name, longest - len(mark)) + mark
        taken.add(cut)
        short.append(cut)
    return short


def _name(keys: Sequence[str]) -> str:
    name = _BETWEEN.join(keys) or _EMPTY
    return f'"{name}"' if name in _PROPERTIES else name


def _shorten_keys(rows: Sequence[Sequence[str]]) -> list[str]:
    """The names of several keys, each key cut among those of its field."""
    columns = [list(dict.fromkeys(column)) for column in zip(*rows, strict=True)]

    @cache
    def cut(i: int, room: int) -> dict[str, str]:
        return dict(zip(columns[i], cut_apart(columns[i], room), strict=True))

    names = []
    for row in rows:
        rooms = _share_room([*map(len, row)], LONGEST - len(_BETWEEN) * (len(row) - 1))
        is_whole = len(_name(row)) <= LONGEST
        keys = row if is_whole else [cut(i, rooms[i])[key] for i, key in enumerate(row)]
        names.append(_name(keys))
    return names


def _share_room(lengths: Sequence[int], room: int) -> list[int]:
    """The room for each key: what short ones leave is for the long ones."""
    rooms = [0] * len(lengths)
    from_short = sorted(range(len(lengths)), key=lengths.__getitem__)
    for done, i in enumerate(from_short):
        rooms[i] = min(lengths[i], room // (len(lengths) - done))
        room -= rooms[i]
    return rooms
