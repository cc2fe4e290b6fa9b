"""Did-you-mean: the nearest valid names for a wrong one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import islice
from typing import Final

FLOOR: Final = 0.6
"""The least similarity that is suggested: a bad suggestion is worse than none."""

_FLOOR_OF_PROPER_NAMES: Final = 0.8

MOST: Final = 3
# Similarity takes time quadratic in the length, and names in rows are third parties' text of any
# number and length: both are bounded.
_MOST_COMPARED: Final = 1_000
_LONGEST: Final = 256
_LEAST_PART: Final = 4
"""The least letters of a name that is also searched for inside other names."""
_PARTS: Final = r"[/@:]"
_HASH: Final = r"user-[0-9a-f]{10}"
"""A masked e-mail address. Hashes with similar digits are unrelated, so none is suggested."""


# A word people use -> the start of the field name that they mean.
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
    """A name's letters and digits in one case, so that `error rate` equals `errorRate`."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _likeness(wanted: str, candidate: str) -> float:
    """Similarity from 0 to 1; a name that begins with the other scores 0.9."""
    if wanted == candidate:
        return 1.0
    if min(len(wanted), len(candidate)) >= 3 and (
        candidate.startswith(wanted) or wanted.startswith(candidate)
    ):
        return 0.9
    from difflib import SequenceMatcher  # most calls spell every name right

    return SequenceMatcher(None, wanted, candidate).ratio()


def closest_matches(name: str, candidates: Iterable[str]) -> tuple[str, ...]:
    """Up to three candidates that resemble `name`, the most similar first."""
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


def find_misspelt(name: str, candidates: Iterable[str]) -> tuple[str, ...]:
    """As `closest_matches`, for proper names: only those that differ in a letter or two.

    `Mumbai` resembles `Dubai`, and `India` begins `Indiana`, but neither is meant.
    """
    from difflib import SequenceMatcher  # most calls spell every name right

    wanted = SequenceMatcher(None, b=fold(name)[:80])
    scored = []
    for candidate in candidates:
        wanted.set_seq1(fold(candidate))
        score = wanted.ratio()
        if score >= _FLOOR_OF_PROPER_NAMES:
            scored.append((-score, candidate))
    return tuple(candidate for _, candidate in sorted(scored)[:MOST])


def find_near_values(value: str, candidates: Iterable[str]) -> tuple[str, ...]:
    """Up to three values from rows that resemble a value, the most similar first.

    A candidate is also compared part by part: `openai/gpt-4o` by `gpt-4o`, an address by the part
    before its `@`.
    """
    wanted = fold(value)[:80]
    if not wanted or re.fullmatch(_HASH, value):
        return ()
    scored = []
    for order, candidate in enumerate(islice(candidates, _MOST_COMPARED)):
        parts = (candidate, *re.split(_PARTS, candidate)) if len(candidate) <= _LONGEST else ()
        score = max((_likeness_of_value(wanted, fold(part)) for part in parts), default=0)
        if score >= FLOOR:
            scored.append((-score, order, candidate))
    return tuple(candidate for *_, candidate in sorted(scored)[:MOST])


def _likeness_of_value(wanted: str, candidate: str) -> float:
    """As `_likeness`; a candidate that contains the wanted value scores 0.9 too."""
    is_part = len(wanted) >= 3 and wanted in candidate and wanted != candidate
    return 0.9 if is_part else _likeness(wanted, candidate)


def did_you_mean(name: str, candidates: Iterable[str], meant: str | None = None) -> str:
    """`Did you mean x or y? Allowed: x, y, z`, for a name that is not a candidate.

    `meant` is known to be what was meant, whatever else resembles the name.
    """
    allowed = tuple(candidates)
    near = closest_matches(name, allowed) if meant is None else (meant,)
    listed = f"Allowed: {', '.join(allowed)}" if allowed else "Nothing is allowed here"
    return f"Did you mean {' or '.join(near)}? {listed}" if near else listed
