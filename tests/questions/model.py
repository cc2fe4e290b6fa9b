"""A question in plain words, the calls that answer it, and where the figures have to stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

LAST_7_DAYS: Final[dict[str, Any]] = {"startTs": "last 7 days"}
"""In SQL `last_7_days(CreatedAt)`; the week before it is `week_before(CreatedAt)`."""

AGAINST_BEFORE: Final[dict[str, Any]] = {**LAST_7_DAYS, "compareTo": "previous"}
TOOL_CALLS: Final = {"fieldName": "method", "operator": "IN", "value": ["tools/call"]}


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call.

    Each row of `sql`, taken straight from the Parquet, has to stand in the answer: its first
    `keys` columns say in which row (`time` and `series` in a timeseries, `ALL` is the row ALL),
    the names of the others in which column. `says` are patterns that the text has to match.
    """

    tool: str
    arguments: Mapping[str, Any]
    sql: str = ""
    keys: int = 0
    says: tuple[str, ...] = ()
    is_error: bool = False
    leads: bool = False
    """Whether the first row of `sql` has to be the first of the answer."""


@dataclass(frozen=True, slots=True)
class PlainQuestion:
    """What somebody wants to know.

    `needs` is what makes it harder than one look at one table; `unknowable` means that the honest
    answer is that it cannot be known.
    """

    slug: str
    words: str
    calls: tuple[Call, ...]
    needs: Literal["two datasources", "a zone", "a comparison", "unknowable"] | None = None


def where(field: str, operator: str, *values: str) -> dict[str, Any]:
    """One entry of `filters`."""
    return {"fieldName": field, "operator": operator, "value": [*values]}


def by_group(
    sql: str, *, keys: int = 0, says: tuple[str, ...] = (), leads: bool = False, **arguments: Any
) -> Call:
    """A call of query_distribution."""
    return Call("query_distribution", arguments, sql, keys, says, leads=leads)


def over_time(sql: str, *, keys: int = 1, says: tuple[str, ...] = (), **arguments: Any) -> Call:
    """A call of query_timeseries."""
    return Call("query_timeseries", arguments, sql, keys, says)


def refused(*says: str, tool: str = "query_distribution", **arguments: Any) -> Call:
    """A call whose answer is an error that says why, and what can be asked instead."""
    return Call(tool, arguments, says=says, is_error=True)
