"""Long names made short: what is common gives way to what tells them apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_CUT: Final = "…"
_ENOUGH: Final = 8
"""Letters by which two cut names are to differ, where the whole ones do: a word to read."""

_LEAST_ROOM: Final = 5
"""In less there is none for marks at both ends of what is shown."""

_SHORTEST_PIECE: Final = 3
"""What is shorter tells nothing: its room goes to the letters beside the difference."""


def cut_apart(names: Sequence[str], longest: int) -> list[str]:
    """Each name within `longest`; those that differ stay so where there is room for it.

    All are cut in their middle. Those that would look alike then keep the part in which they
    differ; if that makes others alike, all are cut around the part in which any two differ.
    """
    cuts: list[str] = []
    for fewest in (min(_ENOUGH, longest // 2), 1):
        cuts = _cut_look_alikes(names, longest, fewest)
        if _are_apart(names, cuts):
            return cuts
    around = _cut_around(names, longest)
    return around if _are_apart(names, around) else cuts


def cut_middle(text: str, longest: int) -> str:
    """The text, its middle left out where it is too long: names differ at their ends."""
    if len(text) <= longest:
        return text
    tail = (longest - 1) // 2
    return f"{text[: longest - 1 - tail]}{_CUT}{text[len(text) - tail :]}"


def cut_end(text: str, longest: int) -> str:
    """The text up to what fits."""
    return text if len(text) <= longest else f"{text[: longest - 1]}{_CUT}"


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
    """The places of names whose cuts hide most of what tells one from the next."""

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
    """The letters between the start and the end that the two share."""
    start, end = _find_common((one, other))
    return max(len(one), len(other)) - start - end


def _find_common(names: Sequence[str]) -> tuple[int, int]:
    """How many letters all names share at their start, and at their end beside those."""
    start = _count_common(names)
    return start, _count_common([name[start:][::-1] for name in names])


def _count_common(names: Sequence[str]) -> int:
    """How many letters all names begin with: as many as the first and the last in order."""
    first, last = min(names), max(names)
    unlike = (i for i, letter in enumerate(first) if letter != last[i : i + 1])
    return next(unlike, len(first))


def _cut_around(names: Sequence[str], longest: int) -> list[str]:
    """The names cut beside the part in which they differ; that part is cut where it is too long."""
    start, end = _find_common(names)
    differing = max(map(len, names)) - start - end
    if max(differing + 2, _LEAST_ROOM) <= longest:
        return [_cut_beside(name, start, end, differing, longest) for name in names]
    before, after = start > 1, end > 1  # the mark would take the room of a single letter
    if longest < _LEAST_ROOM or not (before or after):
        return [cut_middle(name, longest) for name in names]
    inner = [name[start * before : len(name) - end * after] for name in names]
    cuts = cut_apart(inner, longest - before - after)
    return [
        name if len(name) <= longest else f"{_CUT * before}{cut}{_CUT * after}"
        for name, cut in zip(names, cuts, strict=True)
    ]


def _cut_beside(name: str, start: int, end: int, differing: int, longest: int) -> str:
    """The name with a gap in what is common before its own part, or after it, or both."""
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
    left = room // 2  # of one letter less, for the second mark
    head, before = _share(left)
    tail, after = _share(room - 1 - left)
    window = name[start - before : last + after]
    return f"{name[:head]}{_CUT}{window}{_CUT}{name[len(name) - tail :]}"


def _share(room: int) -> tuple[int, int]:
    """The letters for the far end of the name, and those beside its own part."""
    far = room // 2
    return (far, room - far) if far >= _SHORTEST_PIECE else (0, room)
