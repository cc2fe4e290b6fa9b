"""The names of a chart's series and groups: as the answer writes them, short, no two alike."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final

from gateway_metrics_mcp.query import Key
from gateway_metrics_mcp.rendering.cells import (
    format_key,
)

_CUT: Final = "…"

# With less, `…` at both ends would leave nothing to read.
_LEAST_ROOM: Final = 5


def cut_apart(names: Sequence[str], longest: int) -> list[str]:
    """Cut each name to `longest` characters, keeping different names different if possible.

    Names are cut in the middle, because they differ at their ends (provider, version). Names that
    would then look alike keep the part in which they differ; if that makes others alike, all are
    cut around the part in which any two differ.
    """
    cuts: list[str] = []
    # Cut names should differ by 8 letters if the whole names do: enough to read a word.
    for fewest in (min(8, longest // 2), 1):
        cuts = _cut_look_alikes(names, longest, fewest)
        if _are_apart(names, cuts):
            return cuts
    around = _cut_around(names, longest)
    return around if _are_apart(names, around) else cuts


def cut_middle(text: str, longest: int) -> str:
    """The text, with its middle replaced by `…` if it is too long."""
    if len(text) <= longest:
        return text
    tail = (longest - 1) // 2
    return f"{text[: longest - 1 - tail]}{_CUT}{text[len(text) - tail :]}"


def _are_apart(names: Sequence[str], cuts: Sequence[str]) -> bool:
    return len(set(cuts)) == len(set(names))


def _cut_look_alikes(names: Sequence[str], longest: int, fewest: int) -> list[str]:
    cuts = [cut_middle(name, longest) for name in names]
    for alike in _find_look_alikes(names, cuts, fewest):
        again = _cut_around([names[i] for i in alike], longest)
        for i, cut in zip(alike, again, strict=True):
            cuts[i] = cut
    return cuts


def _find_look_alikes(names: Sequence[str], cuts: Sequence[str], fewest: int) -> list[list[int]]:
    """Groups of positions of names whose cuts hide most of what tells them apart."""

    def look_alike(i: int, j: int) -> bool:
        shown = _count_differing(cuts[i], cuts[j])
        return shown < fewest and shown < _count_differing(names[i], names[j])

    groups: list[list[int]] = []
    for i in range(len(names)):
        near = [group for group in groups if any(look_alike(i, j) for j in group)]
        groups = [group for group in groups if group not in near]
        groups.append([*(j for group in near for j in group), i])
    return [group for group in groups if len(group) > 1]


def _count_differing(one: str, other: str) -> int:
    """How many letters lie between the common start and the common end of two texts."""
    start, end = _find_common((one, other))
    return max(len(one), len(other)) - start - end


def _find_common(names: Sequence[str]) -> tuple[int, int]:
    """The lengths of the names' common start, and of their common end after that start."""
    start = _count_common(names)
    return start, _count_common([name[start:][::-1] for name in names])


def _count_common(names: Sequence[str]) -> int:
    """The length of the common prefix: that of the first and last name in sorted order."""
    first, last = min(names), max(names)
    unlike = (i for i, letter in enumerate(first) if letter != last[i : i + 1])
    return next(unlike, len(first))


def _cut_around(names: Sequence[str], longest: int) -> list[str]:
    """Cut the names around the part in which they differ; cut that part too if it is too long."""
    start, end = _find_common(names)
    differing = max(map(len, names)) - start - end
    if max(differing + 2, _LEAST_ROOM) <= longest:
        return [_cut_beside(name, start, end, differing, longest) for name in names]
    before, after = start > 1, end > 1  # `…` in place of a single letter saves nothing
    if longest < _LEAST_ROOM or not (before or after):
        return [cut_middle(name, longest) for name in names]
    inner = [name[start * before : len(name) - end * after] for name in names]
    cuts = cut_apart(inner, longest - before - after)
    return [
        name if len(name) <= longest else f"{_CUT * before}{cut}{_CUT * after}"
        for name, cut in zip(names, cuts, strict=True)
    ]


def _cut_beside(name: str, start: int, end: int, differing: int, longest: int) -> str:
    """The name with `…` in the common part before its own part, after it, or both."""
    if len(name) <= longest:
        return name
    room = longest - differing - 1
    last = len(name) - end
    if end <= room and (start >= end or start > room):
        head, beside = _share(room - end)
        return f"{name[:head]}{_CUT}{name[start - beside :]}"
    if start <= room:
        tail, beside = _share(room - start)
        return f"{name[: last + beside]}{_CUT}{name[len(name) - tail :]}"
    left = room // 2  # `room - 1 - left` is the other half: the second `…` takes a letter
    head, before = _share(left)
    tail, after = _share(room - 1 - left)
    window = name[start - before : last + after]
    return f"{name[:head]}{_CUT}{window}{_CUT}{name[len(name) - tail :]}"


def _share(room: int) -> tuple[int, int]:
    """Split the room: letters for the far end of the name, and beside its own part."""
    far = room // 2
    # A shorter piece says nothing: its letters go beside the difference instead.
    return (far, room - far) if far >= 3 else (0, room)


LONGEST: Final = 34
_BETWEEN: Final = ", "

# Properties of every JavaScript object: Vega fails on groups with these names.
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


def name_groups(groups: Sequence[Sequence[Key]]) -> list[str]:
    """A name for each group's keys, without keys that are equal in all groups.

    Invisible characters are escaped as in the answer's cells.
    """
    width = len(groups[0]) if groups else 0
    kinds = [{(type(keys[i]), keys[i]) for keys in groups} for i in range(width)]
    told = [i for i in range(width) if len(kinds[i]) > 1] or list(range(width))
    # Far longer than in cells: `shorten` cuts names later, where they do not differ.
    rows = [[format_key(keys[i], 2_000) for i in told] for keys in groups]
    if len(told) == 1:
        return shorten([_name(row) for row in rows])
    names = _shorten_keys(rows)
    is_short = all(len(name) <= LONGEST for name in names)
    is_told = len(set(names)) == len(names)
    return names if is_short and is_told else shorten([_name(row) for row in rows])


def shorten(names: Sequence[str], longest: int = LONGEST) -> list[str]:
    """The names cut to `longest` characters; names that are still alike are numbered."""
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
    name = _BETWEEN.join(keys) or "all"
    return f'"{name}"' if name in _PROPERTIES else name


def _shorten_keys(rows: Sequence[Sequence[str]]) -> list[str]:
    """Names of several keys; each key is cut against the other keys of its field."""
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
    """The room for each key; long keys get what short ones leave."""
    rooms = [0] * len(lengths)
    from_short = sorted(range(len(lengths)), key=lengths.__getitem__)
    for done, i in enumerate(from_short):
        rooms[i] = min(lengths[i], room // (len(lengths) - done))
        room -= rooms[i]
    return rooms
