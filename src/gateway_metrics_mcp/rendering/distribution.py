"""The page of a distribution: the rows that fit the budget, the rest as `other`, and ALL."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from gateway_metrics_mcp.query import DataPoint, Key, Number
from gateway_metrics_mcp.rendering.cells import (
    LONGEST_NAME,
    SHORT_NAME,
    cell_formatter,
    count_rows,
    format_cell,
    format_key,
    quote_text,
)
from gateway_metrics_mcp.rendering.document import (
    Block,
    Note,
    Page,
    Pairs,
    Table,
    TokenBudget,
    describe_extent,
    note_link,
)
from gateway_metrics_mcp.rendering.grid import choose_values, label_of
from gateway_metrics_mcp.rendering.notes import fit_notes, keep_true_of
from gateway_metrics_mcp.rendering.report_document import ReportDocument
from gateway_metrics_mcp.reports.report import Report

ALL: Final = "ALL"

_DOMAIN: Final = r"[^@]+(@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)"


def fit_rows(document: ReportDocument, budget: int) -> Page:
    """The page within the budget; names are cut shorter if not even one row fits."""
    notes = fit_notes(document.notes, budget)
    for longest in (LONGEST_NAME, SHORT_NAME):
        if document.is_one_row:
            page = _list_values(document, notes, longest)
            room = TokenBudget.beside(page, budget)
        else:
            page, room = _Table(document, notes, longest).fit(budget)
        if not room.is_overspent:
            break
    return page


def _list_values(document: ReportDocument, notes: Sequence[Note], longest: int) -> Page:
    """A single row, with one value per line."""
    report, result, (point,) = document.report, document.report.result, document.points
    keys = zip(result.key_names, point.keys, strict=True)
    values = zip(result.value_names, point.values, strict=True)
    pairs = [(quote_text(name), format_key(key, longest)) for name, key in keys]
    pairs += [(label_of(report, name), format_cell(report, value, name)) for name, value in values]
    return Page(document.header.show(), [*notes, Pairs(pairs, bool(result.key_names))])


class _Table:
    """Finds how many rows of a table fit the budget."""

    def __init__(self, document: ReportDocument, notes: Sequence[Note], longest: int) -> None:
        self._document = document
        self._report = report = document.report
        self._points = document.points
        self._keys = keys = arrange_keys(report, self._points, longest)
        self._shown, equal = choose_values(report, "in every row")
        self._formats = [(i, cell_formatter(report, name)) for i, name in self._shown]
        self._heading = [*keys.names, *(label_of(report, name) for _, name in self._shown)]
        self._notes = [*notes, *(Note("columns", fact) for fact in keys.facts), *equal]

    def fit(self, budget: int) -> tuple[Page, TokenBudget]:
        """The page, and what remains of the budget."""
        count, offset = len(self._points), self._report.request.offset
        first = min(offset, count)
        room = TokenBudget.beside(self._page(count, count, []), budget)
        rows = room.take_rows(self._rows(first))
        link: list[Note] = []
        if len(rows) < count:
            link = note_link(f"all {count_rows(count)}", self._document.link, budget)
            # Reserve the longest possible `other` row and continuation: both depend on how many
            # rows fit, which is not known yet.
            tail = [self._document.continue_at(count - 1), *link]
            room = TokenBudget.beside(self._page(count, count, [], self._points, tail), budget)
            # A sum of some rows can print longer than the sum of all (0.1 + 0.2).
            room.tokens -= 4 * len(self._shown)
            rows = room.take_rows(rows)
            if room.is_overspent:  # the first row is shown even if it does not fit, the link is not
                link = []
        last = first + len(rows)
        tail = [self._document.continue_at(last), *link] if last < count else []
        hidden = [*self._points[:first], *self._points[last:]]
        show = partial(self._show_values, first, last, hidden)
        self._notes = keep_true_of(self._notes, self._report, show)
        return self._page(first + 1, last, rows, hidden, tail), room

    def _show_values(
        self, first: int, last: int, hidden: Sequence[DataPoint]
    ) -> Iterator[Sequence[Number | None]]:
        """The values of the rows on the page, of `other` and of ALL."""
        report = self._report
        yield from (point.values for point in self._points[first:last])
        yield from [report.put_together(hidden)] if hidden else []
        yield from () if report.totals is None else (report.totals,)

    def _page(
        self,
        first: int,
        last: int,
        rows: Sequence[Sequence[str]],
        hidden: Sequence[DataPoint] = (),
        tail: Sequence[Note] = (),
    ) -> Page:
        document, totals = self._document, self._report.totals
        rest = [self._add_up_rest(hidden)] if hidden else []
        whole = [] if totals is None else [self._cells(self._keys.label(ALL), totals)]
        is_number = [name == _NUMBERED for name in self._keys.names] + [True] * len(self._shown)
        table = Table(self._heading, [*rows, *rest, *whole], is_number)
        blocks: list[Block] = [*self._notes, table, *tail]
        extent = describe_extent(first, last, len(self._points))
        return Page(document.header.show(document.order, extent), blocks)

    def _rows(self, first: int) -> Iterator[Sequence[str]]:
        """The cells of the requested rows, made lazily: most rows of a large answer never fit."""
        limit = self._report.request.limit
        last = None if limit is None else first + limit
        for number, point in enumerate(self._points[first:last], first + 1):
            yield self._cells(self._keys.cells(point, number), point.values)

    def _cells(self, keys: Sequence[str], values: Sequence[Number | None]) -> list[str]:
        return [*keys, *[form(values[i]) for i, form in self._formats]]

    def _add_up_rest(self, hidden: Sequence[DataPoint]) -> list[str]:
        """The `other` row: hidden rows put together; `n/a` for what their values do not tell."""
        report = self._report
        label = self._keys.label(f"other ({count_rows(len(hidden))})")
        return self._cells(label, report.put_together(hidden))


# The heading of rows without any key column.
_NUMBERED: Final = "row"


@dataclass(frozen=True, slots=True)
class KeyColumns:
    """The key columns that differ between rows, and the facts about the others."""

    names: tuple[str, ...]
    """The headings; `row` if no key column differs between rows."""
    facts: tuple[str, ...]
    longest: int
    """How many characters of a key are shown."""
    _positions: tuple[int, ...]
    _domains: dict[int, str] = field(default_factory=dict)

    def cells(self, point: DataPoint, number: int) -> list[str]:
        """The row's key cells."""
        if not self._positions:
            return [str(number)]
        return [self._cell(point.keys[i], i) for i in self._positions]

    def label(self, text: str) -> list[str]:
        """The key cells of a summary row (`other`, ALL): its label, the rest empty."""
        return [text, *[""] * (len(self.names) - 1)]

    def _cell(self, key: Key, position: int) -> str:
        domain = self._domains.get(position)
        if domain is not None and isinstance(key, str):
            # The @ stays as the mark of an address that continues with the common domain.
            return quote_text(key.removesuffix(domain[1:]), self.longest)
        return format_key(key, self.longest)


def arrange_keys(report: Report, points: Sequence[DataPoint], longest: int) -> KeyColumns:
    """The key columns of two or more rows; columns equal in all rows become a fact."""
    names = [quote_text(name) for name in report.result.key_names]
    # Compare types too: True, 1 and 1.0 are equal in Python but are three groups here.
    kinds = [{(type(p.keys[i]), p.keys[i]) for p in points} for i in range(len(names))]
    constant = [i for i in range(len(names)) if len(kinds[i]) == 1]
    # Rows that are equal in all keys still need one key column.
    constant = constant[1:] if len(constant) == len(names) else constant
    shown = tuple(i for i in range(len(names)) if i not in constant)
    domains = _find_domains(report, points, shown)
    facts = []
    if constant:
        same = [f"{names[i]}={format_key(points[0].keys[i], longest)}" for i in constant]
        facts.append(f"all rows: {', '.join(same)}")
    facts += [
        f"every {names[i]} ending in @ below continues with {domain[1:]}: filters need it"
        for i, domain in domains.items()
    ]
    headings = tuple(names[i] for i in shown) or (_NUMBERED,)
    return KeyColumns(headings, tuple(facts), longest, shown, domains)


def _find_domains(
    report: Report, points: Sequence[DataPoint], positions: Sequence[int]
) -> dict[int, str]:
    """The domain shared by all addresses of a key column, by position, where stating it pays."""
    request = report.request
    shown = points[request.offset :][: request.limit]
    # From 20 rows on it saves a tenth of the tokens.
    if len(shown) < 20 or request.format == "exact":
        return {}
    found = {}
    for i in positions:
        texts = [str(point.keys[i]) for point in points]
        if not all("@" in text for text in texts):
            continue
        matches = [re.fullmatch(_DOMAIN, text) for text in texts]
        domains = {None if match is None else match[1] for match in matches}
        domain = domains.pop()
        if not domains and domain is not None:
            found[i] = domain
    return found
