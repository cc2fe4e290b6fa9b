"""How much one question may hold: work and words grow with it, and others wait meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from gateway_metrics_mcp.errors import InvalidQueryError, Problem

MOST_BYTES: Final = 256 * 1024
"""Of a request's body."""
MOST_KEYS: Final = 20
"""Of any object."""
MOST_ENTRIES: Final = 100
"""Of aggregations, groupBy and filters."""
MOST_VALUES: Final = 1000
"""Of one filter."""
_LARGEST_INTEGER: Final = 2**63 - 1


def check_size(value: object, whole: str) -> None:
    """Refuse what holds more than anyone needs; `whole` names the value itself.

    Raises:
        InvalidQueryError: with everything that is too large.
    """
    if excess := list(_find_excess(value, "", whole)):
        raise InvalidQueryError(excess)


def _find_excess(value: object, place: str, whole: str) -> Iterator[Problem]:
    if isinstance(value, Mapping):
        if len(value) > MOST_KEYS:
            yield Problem(place or whole, f"{len(value)} keys, the most are {MOST_KEYS}")
            return
        for key, item in value.items():
            yield from _find_excess(item, f"{place}.{key}" if place else key, whole)
    elif isinstance(value, list | tuple):
        most = MOST_ENTRIES if place in ("aggregations", "groupBy", "filters") else MOST_VALUES
        if len(value) > most:
            yield Problem(place or whole, f"{len(value)} entries, the most are {most}")
            return
        for index, item in enumerate(value):
            yield from _find_excess(item, f"{place}[{index}]", whole)
    elif isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
        yield Problem(place or whole, "a whole number of more than 64 bits")
