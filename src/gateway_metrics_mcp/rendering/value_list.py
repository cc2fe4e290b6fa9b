"""The values of a field, as a table of how many rows have each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway_metrics_mcp.query.model import format_instant
from gateway_metrics_mcp.query.result import TOTAL, DataPoint, Key, Number, Result
from gateway_metrics_mcp.query.suggestions import closest_matches
from gateway_metrics_mcp.query.time.window import format_window
from gateway_metrics_mcp.query.vocabulary import METADATA_PREFIX
from gateway_metrics_mcp.rendering.budget import TokenBudget
from gateway_metrics_mcp.rendering.cells import (
    LONGEST_NAME,
    SHORT_NAME,
    describe_age,
    format_key,
    format_number,
    keep_on_line,
    quote_text,
)
from gateway_metrics_mcp.rendering.sorting import rank_key, sort_rows
from gateway_metrics_mcp.reports.listing import Listing

LONGEST_VALUE: Final = 256
"""Values are listed to be filtered by, so they are cut later than elsewhere."""

_MOST_COMPARED: Final = 500
_TEAM: Final = "team"


@dataclass(frozen=True, slots=True)
class Listed:
    """What was listed and what came back: what the text is written from, whole and typed."""

    listing: Listing
    result: Result

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of what a row holds."""
        return ("value", TOTAL) if TOTAL in self.result.value_names else ("value",)

    @property
    def is_empty(self) -> bool:
        """Whether no value was found."""
        return not any(_matches(point.keys[0], self.listing.search) for point in self.result.points)

    def rows(self) -> list[tuple[Key, ...]]:
        """The rows that were asked for, in the order of the text."""
        listing = self.listing
        last = None if listing.limit is None else listing.offset + listing.limit
        found = _search(listing, _sort(self.result))[listing.offset : last]
        if TOTAL not in self.result.value_names:
            return [(point.keys[0],) for point in found]
        return [(point.keys[0], _total(self.result, point)) for point in found]


def write_values(listing: Listing, result: Result, budget: int) -> str:
    """The answer's text, within `budget` estimated tokens."""
    points = _sort(result)
    found = _search(listing, points)
    parts = [_describe_search(listing, len(found), len(points))] if listing.search else []
    if not found:
        head = [_header(listing, *parts, "rows none"), *_notes(listing, result)]
        return "\n".join([*head, *_explain_empty(listing, points)])
    text = ""
    for longest in (LONGEST_VALUE, LONGEST_NAME, SHORT_NAME):
        text, is_within = _Table(listing, result, found, parts, longest).write(budget)
        if is_within:
            break
    return text


class _Table:
    """The writing of the rows that were found."""

    def __init__(
        self,
        listing: Listing,
        result: Result,
        found: Sequence[DataPoint],
        parts: Sequence[str],
        longest: int,
    ) -> None:
        self._listing = listing
        self._result = result
        self._found = found
        self._parts = parts
        self._longest = longest
        self._has_total = TOTAL in result.value_names

    def write(self, budget: int) -> tuple[str, bool]:
        """The text, and whether it is within the budget."""
        count = len(self._found)
        heading = ("value", TOTAL) if self._has_total else ("value",)
        table = ["|".join(heading), "|".join(["---"] * len(heading))]
        notes = _notes(self._listing, self._result)
        first = min(self._listing.offset, count)
        room = TokenBudget(budget)
        room.take(self._head(count, count), *notes, *table)
        rows = self._rows(first, room)
        if first + len(rows) < count:
            room = TokenBudget(budget)
            room.take(self._head(count, count), *notes, *table, self._next_line(count - 1))
            rows = self._rows(first, room)
        last = first + len(rows)
        tail = [self._next_line(last)] if last < count else []
        lines = [self._head(first + 1, last), *notes, *table, *rows, *tail]
        return "\n".join(lines), not room.is_overspent

    def _head(self, first: int, last: int) -> str:
        count = len(self._found)
        extent = f"rows {first}-{last} of {count}"
        if first > count:
            extent = f"rows none: offset is past the last of {count}"
        return _header(self._listing, *self._parts, extent)

    def _rows(self, first: int, room: TokenBudget) -> list[str]:
        """The rows that were asked for and fit; at least one, so that the next call gets on."""
        limit = self._listing.limit
        rows: list[str] = []
        for point in self._found[first : None if limit is None else first + limit]:
            line = self._line(point)
            if not room.fits(line):
                if rows:
                    break
                room.take(line)
            rows.append(line)
        return rows

    def _line(self, point: DataPoint) -> str:
        value = format_key(point.keys[0], self._longest)
        if not self._has_total:
            return value
        return f"{value}|{format_number(_total(self._result, point))}"

    def _next_line(self, offset: int) -> str:
        """The arguments that continue; a window that ends at now is held where it is."""
        listing = self._listing
        changes = [f"offset={offset}"]
        if listing.limit is not None:
            changes.append(f"limit={listing.limit}")
        if listing.window.is_to_now:
            changes.append(f"startTs={format_instant(listing.query.start_ts)}")
            changes.append(f"endTs={format_instant(listing.query.end_ts)}")
        return f"# {len(self._found) - offset} more: same arguments with {', '.join(changes)}"


def _header(listing: Listing, *parts: str) -> str:
    what = "keys" if listing.is_of_keys else "values"
    pieces = [
        f"{listing.query.datasource} {what} of {quote_text(listing.field)}",
        format_window(listing.window),
        *([] if listing.scope is None else [listing.scope]),
        *parts,
    ]
    return "# " + " | ".join(pieces)


def _notes(listing: Listing, result: Result) -> list[str]:
    """What is true of this answer and changes how it is to be read."""
    notes = [*listing.window.notes, *result.notes]
    keys = {point.keys[0] for point in result.points}
    if listing.field.startswith(METADATA_PREFIX) and keys == {None}:
        key = quote_text(listing.field.removeprefix(METADATA_PREFIX))
        notes.insert(0, f"no row has the metadata key {key}: case counts")
    if listing.field == _TEAM and len(keys - {None}) > 1:
        notes.insert(0, "a caller in several teams counts in each: never add these rows up")
    if result.age_s is not None:
        notes.append(describe_age(result.age_s))
    return [f"# {keep_on_line(note)}" for note in notes]


def _sort(result: Result) -> list[DataPoint]:
    """Most rows first, then by value; the missing value last of those with as many."""
    points = sort_rows(result.points, lambda point: rank_key(point.keys[0]))
    return sort_rows(points, lambda point: -(_total(result, point) or 0))


def _search(listing: Listing, points: Sequence[DataPoint]) -> list[DataPoint]:
    return [point for point in points if _matches(point.keys[0], listing.search)]


def _total(result: Result, point: DataPoint) -> Number | None:
    if TOTAL not in result.value_names:
        return None
    return point.values[result.value_names.index(TOTAL)]


def _matches(key: Key, search: str) -> bool:
    """Whether the value has the text in it; a missing value has none."""
    if not search:
        return True
    return key is not None and search.casefold() in _text(key).casefold()


def _text(key: Key) -> str:
    return key if isinstance(key, str) else format_key(key)


def _describe_search(listing: Listing, found: int, count: int) -> str:
    wanted = quote_text(listing.search)
    wanted = wanted if wanted.startswith('"') else f'"{wanted}"'
    return f"search {wanted}: {found} of {count} match"


def _explain_empty(listing: Listing, points: Sequence[DataPoint]) -> list[str]:
    """What matched nothing, and what to ask next."""
    wider = "a wider window" if listing.window.is_to_now else "a wider or a later window"
    if not points:
        what = "metadata keys" if listing.is_of_keys else "values: no rows"
        counted = f"(a row counts {listing.datasource.rows})"
        return [
            f"no {what} in this window {counted}",
            f"# next: {wider}, or another datasource",
        ]
    texts = [_text(p.keys[0]) for p in points[:_MOST_COMPARED] if p.keys[0] is not None]
    near = [quote_text(text, LONGEST_VALUE) for text in closest_matches(listing.search, texts)]
    nearest = f" Near: {', '.join(near)}" if near else ""
    return [
        f"none of {len(points)} values has the text.{nearest}",
        f"# next: without search, or {wider}",
    ]
