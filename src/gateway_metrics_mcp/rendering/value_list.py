"""The answer of `list_values`: a field's values and their row counts, as document and page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway_metrics_mcp.query import (
    METADATA_PREFIX,
    TOTAL,
    Key,
    Number,
    Result,
    closest_matches,
    format_instant,
)
from gateway_metrics_mcp.rendering.cells import (
    LONGEST_NAME,
    SHORT_NAME,
    describe_age,
    format_key,
    quote_always,
    quote_text,
)
from gateway_metrics_mcp.rendering.document import (
    TOOL_WORDS,
    Column,
    Continuation,
    Header,
    Note,
    Page,
    Table,
    TokenBudget,
    Words,
    describe_extent,
    explain,
)
from gateway_metrics_mcp.rendering.grid import rank_key, sort_rows
from gateway_metrics_mcp.reports.listing import Listing

# Longer than elsewhere: callers copy these values into filters, which match exactly.
LONGEST_VALUE: Final = 256

_MOST_COMPARED: Final = 500
_TEAM: Final = "team"


@dataclass(frozen=True, slots=True)
class ValueList:
    """The values that were found, most rows first, with header and notes."""

    listing: Listing
    header: Header
    verdict: Sequence[Note]
    """For an empty list: why nothing was found, and what to ask next."""
    notes: Sequence[Note]
    columns: Sequence[Column]
    _rows: Sequence[tuple[Key, ...]]
    _words: Words

    @property
    def is_empty(self) -> bool:
        """Whether no value was found."""
        return not self._rows

    def records(self) -> Sequence[tuple[Key, ...]]:
        """The requested rows: a value, and its number of rows if known."""
        offset, limit = self.listing.offset, self.listing.limit
        return self._rows[offset : None if limit is None else offset + limit]

    def fit(self, budget: int) -> Page:
        """The page within the budget; values are cut shorter if not even one row fits."""
        if self.is_empty:
            return Page(self.header.show("no rows"), [*self.notes, *self.verdict])
        for longest in (LONGEST_VALUE, LONGEST_NAME, SHORT_NAME):
            page, room = self._fit(budget, longest)
            if not room.is_overspent:
                break
        return page

    def _fit(self, budget: int, longest: int) -> tuple[Page, TokenBudget]:
        count = len(self._rows)
        first = min(self.listing.offset, count)
        asked = (
            [format_key(key, longest), *map(format_key, rest)] for key, *rest in self.records()
        )
        room = self._measure(budget)
        rows = room.take_rows(asked)
        if first + len(rows) < count:
            room = self._measure(budget, self._continue(count - 1))
            rows = room.take_rows(rows)
        last = first + len(rows)
        tail = [self._continue(last)] if last < count else []
        return self._page(first + 1, last, rows, tail), room

    def _measure(self, budget: int, *tail: Note) -> TokenBudget:
        """The budget that remains for rows beside header, notes and continuation."""
        count = len(self._rows)
        return TokenBudget.beside(self._page(count, count, [], tail), budget)

    def _page(
        self, first: int, last: int, rows: Sequence[Sequence[str]], tail: Sequence[Note]
    ) -> Page:
        extent = describe_extent(first, last, len(self._rows))
        heading = [column.name for column in self.columns]
        table = Table(heading, rows, [column.kind == "value" for column in self.columns])
        return Page(self.header.show(extent), [*self.notes, table, *tail])

    def _continue(self, offset: int) -> Continuation:
        """How to continue; a window that ends now is pinned, so that offsets stay valid."""
        listing = self.listing
        arguments: dict[str, object] = {"offset": offset}
        if listing.limit is not None:
            arguments["limit"] = listing.limit
        if listing.window.is_to_now:
            arguments["startTs"] = format_instant(listing.query.start_ts)
            arguments["endTs"] = format_instant(listing.query.end_ts)
        left = len(self._rows) - offset
        return Continuation("more", f"{left} more: {self._words.go_on(arguments)}", arguments)


def describe_values(
    listing: Listing,
    result: Result,
    words: Words = TOOL_WORDS,
    *,
    source: str = "",
    is_restricted: bool = False,
) -> ValueList:
    """The document of a listing; `words` name the next request in the reader's terms.

    `is_restricted`: the caller sees a part of the rows.
    """
    total = [Column(TOTAL, "value")] if TOTAL in result.value_names else []
    position = result.value_names.index(TOTAL) if total else 0
    rows = [(p.keys[0], *([p.values[position]] if total else [])) for p in result.points]
    rows = sort_rows(rows, _rank)
    found = [row for row in rows if _matches(row[0], listing.search)]
    what = "keys" if listing.is_of_keys else "values"
    keys = [key for key, *_ in rows]
    searched = f"search {quote_always(listing.search)}: {len(found)} of {len(rows)} match"
    is_part = is_restricted or not result.is_by_rulings
    header = Header(
        f"{listing.query.datasource} {what} of {quote_text(listing.field)}",
        listing.window,
        scope=listing.scope,
        searched=searched if listing.search else None,
        source=source,
    )
    return ValueList(
        listing,
        header,
        [] if found else _explain_empty(listing, keys, is_part=is_part),
        _list_notes(listing, result),
        [Column("value", "key"), *total],
        found,
        words,
    )


def _rank(row: tuple[Key, ...]) -> tuple[Number, tuple[int, Number, str]]:
    """A sort key: most rows first, then by value, the missing value last."""
    count = row[1] if len(row) > 1 else None
    return (-count if isinstance(count, int | float) else 0, rank_key(row[0]))


def _list_notes(listing: Listing, result: Result) -> list[Note]:
    """Notes that change how the list is read."""
    keys = {point.keys[0] for point in result.points}
    notes = []
    if listing.field == _TEAM and len(keys - {None}) > 1:
        each = "a caller in several teams counts in each, so never add them up"
        notes.append(Note("rows", f"team rows may overlap: {each}"))
    if listing.field.startswith(METADATA_PREFIX) and keys == {None}:
        key = quote_text(listing.field.removeprefix(METADATA_PREFIX))
        lacking = f"none of the rows here has the metadata key {key} (case-sensitive)"
        notes.append(Note("unmatched", lacking))
    notes += [Note("window", text) for text in listing.window.notes]
    notes += [Note("source", text) for text in result.notes]
    return [*notes, *(Note("age", text) for text in describe_age(result))]


def _matches(key: Key, search: str) -> bool:
    """Whether the value contains the search text, ignoring case; null never does."""
    if not search:
        return True
    return key is not None and search.casefold() in _text(key).casefold()


def _text(key: Key) -> str:
    return key if isinstance(key, str) else format_key(key)


def _explain_empty(listing: Listing, keys: Sequence[Key], *, is_part: bool) -> list[Note]:
    """Why no value was found, and what to ask next; `is_part` if there can be unseen rows."""
    wider = "a wider window" if listing.window.is_to_now else "a wider or a later window"
    if not keys:
        what = "metadata keys" if listing.is_of_keys else "values: no rows"
        sight = " that this token may see" if is_part else ""
        counted = f"(rows are {listing.datasource.rows}){sight}"
        return explain(f"no {what} in this window {counted}", f"{wider}, or another datasource")
    texts = [_text(key) for key in keys[:_MOST_COMPARED] if key is not None]
    near = [quote_text(text, LONGEST_VALUE) for text in closest_matches(listing.search, texts)]
    nearest = f" Near: {', '.join(near)}" if near else ""
    verdict = f"none of {len(keys)} values contains the text.{nearest}"
    return explain(verdict, f"without search, or {wider}")
