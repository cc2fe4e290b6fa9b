"""How each SQL engine spells what the compiler needs; the meaning is pinned by the rulings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from gateway_metrics_mcp.query.time.interval import Interval

MICROSECONDS = 1_000_000
TextPlace = Literal["anywhere", "start", "end"]
Function = Literal["sum", "count", "countDistinct", "min", "max", "avg"]


def quote_identifier(name: str) -> str:
    """A table or a column as an identifier; its own quotes are doubled."""
    return '"' + name.replace('"', '""') + '"'


class Dialect(Protocol):
    """One engine's spelling. Every argument is SQL text, never a user's value."""

    def placeholder(self, name: str, value: object) -> str:
        """The place of a bound value."""
        ...

    def finite(self, number: str) -> str:
        """The number, or null where it is NaN or infinite (R22)."""
        ...

    def as_float(self, number: str) -> str:
        """An integer as a double, in which it is compared with doubles."""
        ...

    def has_text(self, place: TextPlace, text: str, part: str) -> str:
        """Whether the text has the part there: case-sensitive, no wildcards (R10)."""
        ...

    def aggregate(self, function: Function, value: str, *, is_integer: bool) -> str:
        """The aggregate of the values that are not null; null of none, but for counts (R22)."""
        ...

    def bucket(self, interval: Interval) -> str:
        """The number of the row's bucket: equal to `Interval.number_of` (R4)."""
        ...

    def percentiles(self, number: str, fractions: Sequence[float]) -> str:
        """A list of exact, linearly interpolated percentiles (R12)."""
        ...

    def metadata(self, key: str) -> str:
        """The value of a metadata key, null where the row has none (R6)."""
        ...

    def has_team(self, team: str) -> str:
        """Whether the row's teams hold the team; false where it has none."""
        ...

    def rows(self, source: str, condition: str, *, by_team: bool, by_key: bool) -> str:
        """What follows FROM: the rows that fulfil the condition.

        For `team` one per team (R5), for the metadata's keys one per key.
        """
        ...

    def metadata_key(self) -> str:
        """The metadata key of such a row; no row where it has none."""
        ...

    def team(self) -> str:
        """The team of such a row; null where it has none."""
        ...

    def count_teamed(self) -> str:
        """How many rows have at least one team (R24)."""
        ...

    def distinct_teams(self) -> str:
        """How many distinct teams the rows have (R24)."""
        ...
