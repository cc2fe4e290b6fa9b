"""The nearest right spellings of a wrong name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Final

FLOOR: Final = 0.6
"""Names less alike than this are not offered: a bad suggestion is worse than none."""

MOST: Final = 3
_MOST_COMPARED: Final = 1_000
_LONGEST: Final = 256
_LEAST_PART: Final = 4
"""Letters of a name that is looked for within others, where none is like it."""
_PARTS: Final = re.compile(r"[/@:]")
_HASH: Final = re.compile(r"user-[0-9a-f]{10}")
"""A hidden e-mail address: that its letters resemble another's says nothing."""


# What people say -> the part of a field's name that means it.
_SAID: Final = {
    "account": "virtualaccount",
    "average": "avg",
    "createdbysubjectslug": "useremail",
    "distinct": "countdistinct",
    "duration": "latency",
    "email": "useremail",
    "failurerate": "errorrate",
    "mean": "avg",
    "median": "p50",
    "p97": "p95",
    "p98": "p99",
    "price": "cost",
    "requests": "total",
    "routing": "configmetrics",
    "server": "mcpservername",
    "spend": "cost",
    "subject": "createdbysubjecttype",
    "tool": "toolname",
    "uniq": "countdistinct",
    "unique": "countdistinct",
    "ttft": "timetofirsttoken",
    "user": "useremail",
    "users": "useremail",
}


@lru_cache(maxsize=1024)
def fold(name: str) -> str:
    """The letters and digits of a name, by which `error rate` is `errorRate`."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _likeness(wanted: str, candidate: str) -> float:
    """0 to 1; a name that begins with the other counts as nearly the same."""
    if wanted == candidate:
        return 1.0
    if min(len(wanted), len(candidate)) >= 3 and (
        candidate.startswith(wanted) or wanted.startswith(candidate)
    ):
        return 0.9
    return SequenceMatcher(None, wanted, candidate).ratio()


def closest_matches(name: str, candidates: Iterable[str]) -> tuple[str, ...]:
    """Up to three candidates that resemble `name`, the nearest first."""
    wanted = fold(name)[:80]
    meant = _SAID.get(wanted)
    scored, holding = [], []
    for candidate in candidates:
        folded = fold(candidate)
        score = _likeness(wanted, folded)
        if meant is not None and folded.startswith(meant):
            score = max(score, 0.95)
        if score >= FLOOR:
            scored.append((-score, candidate))
        elif len(wanted) >= _LEAST_PART and wanted in folded:
            holding.append((0.0, candidate))
    return tuple(candidate for _, candidate in sorted(scored or holding)[:MOST])


def find_near_values(value: str, candidates: Iterable[str]) -> tuple[str, ...]:
    """Up to three names of third parties that resemble a value, the nearest first.

    A name is also compared by its parts: `openai/gpt-4o` by `gpt-4o`, an address by its owner.
    """
    wanted = fold(value)[:80]
    if not wanted or _HASH.fullmatch(value):
        return ()
    scored = []
    for order, candidate in enumerate(candidates):
        if order == _MOST_COMPARED:
            break
        parts = (candidate, *_PARTS.split(candidate)) if len(candidate) <= _LONGEST else ()
        score = max((_likeness_of_value(wanted, fold(part)) for part in parts), default=0)
        if score >= FLOOR:
            scored.append((-score, order, candidate))
    return tuple(candidate for *_, candidate in sorted(scored)[:MOST])


def _likeness_of_value(wanted: str, candidate: str) -> float:
    """As for our own names; one that holds the other is near as well."""
    is_part = len(wanted) >= 3 and wanted in candidate and wanted != candidate
    return 0.9 if is_part else _likeness(wanted, candidate)


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """`Did you mean x or y? Allowed: x, y, z` for a name that is none of the candidates."""
    allowed = tuple(candidates)
    near = closest_matches(name, allowed)
    listed = f"Allowed: {', '.join(allowed)}" if allowed else "Nothing is allowed here"
    return f"Did you mean {' or '.join(near)}? {listed}" if near else listed


def quote(value: object) -> str:
    """A value from the input as messages show it: quoted, on one line, at most 80 characters."""
    text = value if isinstance(value, str) else repr(value)
    shown = "".join(letter if letter.isprintable() else f"\\u{ord(letter):04x}" for letter in text)
    if len(shown) > 80:
        shown = f"{shown[:80]}…(+{len(shown) - 80})"
    return f'"{shown}"' if isinstance(value, str) else shown
