"""A distribution as a table: rows, the rest, and ALL."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway_metrics_mcp.query.model import Aggregation
from gateway_metrics_mcp.query.result import TOTAL, DataPoint, Key, Number, add_up, subtract
from gateway_metrics_mcp.rendering.budget import TokenBudget, write_link_line
from gateway_metrics_mcp.rendering.cells import (
    LONGEST_NAME,
    NOT_APPLICABLE,
    SHORT_NAME,
    add_unit,
    cell_formatter,
    format_cell,
    format_key,
    quote_text,
)
from gateway_metrics_mcp.rendering.header import pin_window, write_header
from gateway_metrics_mcp.rendering.no_data import write_empty
from gateway_metrics_mcp.rendering.notes import write_notes
from gateway_metrics_mcp.rendering.sorting import describe_order, sort_points
from gateway_metrics_mcp.reports.columns import CHANGE
from gateway_metrics_mcp.reports.report import Report, is_empty

_FEWEST_ROWS: Final = 20
"""From so many rows on, one domain of all addresses is said once: that saves a tenth."""

_DOMAIN: Final = re.compile(r"[^@]+(@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)")


@dataclass(frozen=True, slots=True)
class KeyColumns:
    """The key columns that differ between rows, and the facts about the others."""

    names: tuple[str, ...]
    """The headings; `row` where the rows have no key at all."""
    facts: tuple[str, ...]
    longest: int
    """The characters of a key before it is cut."""
    _positions: tuple[int, ...]
    _domains: dict[int, str] = field(default_factory=dict)

    def cells(self, point: DataPoint, number: int) -> list[str]:
        """The row's key cells."""
        if not self._positions:
            return [str(number)]
        return [self._cell(point.keys[i], i) for i in self._positions]

    def label(self, text: str) -> list[str]:
        """The key cells of a row of ours: its label, the rest empty."""
        return [text, *[""] * (len(self.names) - 1)]

    def _cell(self, key: Key, position: int) -> str:
        domain = self._domains.get(position)
        if domain is not None and isinstance(key, str):
            return quote_text(key.removesuffix(domain[1:]), self.longest)
        return format_key(key, self.longest)


def arrange_keys(report: Report, points: Sequence[DataPoint], longest: int) -> KeyColumns:
    """The columns for rows of which there are at least two."""
    names = [quote_text(name) for name in report.result.key_names]
    # By type as well: True, 1 and 1.0 are equal in Python, and three groups here.
    kinds = [{(type(p.keys[i]), p.keys[i]) for p in points} for i in range(len(names))]
    constant = [i for i in range(len(names)) if len(kinds[i]) == 1]
    # Rows that are equal in all keys still need a column to stand in.
    constant = constant[1:] if len(constant) == len(names) else constant
    shown = tuple(i for i in range(len(names)) if i not in constant)
    domains = _find_domains(report, points, shown)
    facts = []
    if constant:
        same = [f"{names[i]}={format_key(points[0].keys[i], longest)}" for i in constant]
        facts.append(f"all rows: {', '.join(same)}")
    facts += [
        f"every {names[i]} that ends with @ below goes on with {domain[1:]}: filters need it"
        for i, domain in domains.items()
    ]
    headings = tuple(names[i] for i in shown) or ("row",)
    return KeyColumns(headings, tuple(facts), longest, shown, domains)


def _find_domains(
    report: Report, points: Sequence[DataPoint], positions: Sequence[int]
) -> dict[int, str]:
    """The one domain of a column of e-mail addresses, where it pays to say it once."""
    request = report.request
    shown = points[request.offset :][: request.limit]
    if len(shown) < _FEWEST_ROWS or request.format == "exact":
        return {}
    found = {}
    for i in positions:
        matches = [_DOMAIN.fullmatch(str(point.keys[i])) for point in points]
        domains = {None if match is None else match[1] for match in matches}
        domain = domains.pop()
        if not domains and domain is not None:
            found[i] = domain
    return found


ALL: Final = "ALL"

_FEW_ROWS: Final = 100
_LONGER_SUM_TOKENS: Final = 4
"""By so much the sum of some rows can be longer than that of all, for which room is kept."""


def write_distribution(report: Report, budget: int) -> str:
    """The answer's text, within `budget` estimated tokens."""
    if is_empty(report):
        return write_empty(report, budget)
    points = sort_points(report)
    is_one = len(points) == 1 and report.request.offset == 0 and report.totals is None
    text = ""
    for longest in (LONGEST_NAME, SHORT_NAME):
        if is_one:
            text, is_within = _write_one(report, points[0], budget, longest)
        else:
            text, is_within = _Table(report, points, longest).write(budget)
        if is_within:
            break
    return text


def _write_one(report: Report, point: DataPoint, budget: int, longest: int) -> tuple[str, bool]:
    """A single row, a value a line; and whether it is within the budget."""
    result = report.result
    lines = [write_header(report), *write_notes(report, budget)]
    lines += [
        f"{quote_text(name)}: {format_key(key, longest)}"
        for name, key in zip(result.key_names, point.keys, strict=True)
    ]
    lines += [
        f"{label_of(report, name)}: {format_cell(report, value, name)}"
        for name, value in zip(result.value_names, point.values, strict=True)
    ]
    room = TokenBudget(budget)
    room.take(*lines)
    return "\n".join(lines), not room.is_overspent


def label_of(report: Report, name: str) -> str:
    """A value's column name; its unit is added where the name has none."""
    return add_unit(name, report.unit_of(name))


class _Table:
    """The writing of one table with more than one row."""

    def __init__(self, report: Report, points: Sequence[DataPoint], longest: int) -> None:
        self._report = report
        self._points = points
        self._equal = equal_to_total(report)
        self._keys = arrange_keys(report, points, longest)
        names = report.result.value_names
        self._shown = [(i, name) for i, name in enumerate(names) if name not in self._equal]
        self._formats = [(i, cell_formatter(report, name)) for i, name in self._shown]

    def write(self, budget: int) -> tuple[str, bool]:
        """The text, and whether it is within the budget."""
        report, count = self._report, len(self._points)
        header = self._header()
        notes = [*write_notes(report, budget), *self._facts()]
        columns = [*self._keys.names, *(label_of(report, name) for _, name in self._shown)]
        notes += ["|".join(columns), "|".join(["---"] * len(columns))]
        tail = [] if report.totals is None else [self._line(self._keys.label(ALL), report.totals)]
        first = min(report.request.offset, count)
        room = TokenBudget(budget)
        room.take(header, self._extent(count, count), *notes, *tail)
        rows = self._rows(first, room)
        link: list[str] = []
        if len(rows) < count:
            link = write_link_line(f"all {count_rows(count)}", report.link, budget)
            room = TokenBudget(budget)
            room.take(header, self._extent(count, count), *notes, *tail)
            room.take(self._rest_line(self._points), self._next_line(count - 1), *link)
            room.reserve(_LONGER_SUM_TOKENS * len(self._shown))
            rows = self._rows(first, room)
        last = first + len(rows)
        head = header + self._extent(first + 1, last)
        hidden = [*self._points[:first], *self._points[last:]]
        if hidden:
            rows.append(self._rest_line(hidden))
        if last < count:
            tail += [self._next_line(last), *link]
        return "\n".join([head, *notes, *rows, *tail]), not room.is_overspent

    def _rows(self, first: int, room: TokenBudget) -> list[str]:
        """The rows that were asked for and fit; at least one, so that the next call gets on."""
        limit = self._report.request.limit
        last = None if limit is None else first + limit
        report = self._points[first:last]
        if len(report) <= _FEW_ROWS:  # nearly always all of them fit
            numbered = enumerate(report, first + 1)
            lines = [self._line(self._keys.cells(p, n), p.values) for n, p in numbered]
            if room.fits("\n".join(lines)):
                return lines
        rows: list[str] = []
        for number, point in enumerate(report, first + 1):
            line = self._line(self._keys.cells(point, number), point.values)
            if not room.fits(line):
                if rows:
                    break
                room.take(line)
            rows.append(line)
        return rows

    def _header(self) -> str:
        order = describe_order(self._report)
        return write_header(self._report, *([order] if order else []))

    def _extent(self, first: int, last: int) -> str:
        """The header's last part: which rows of how many."""
        count = len(self._points)
        if first > count:
            return f" | rows none: offset is past the last of {count}"
        return f" | rows {first}-{last} of {count}"

    def _facts(self) -> list[str]:
        """Columns that would say the same in every row are said once."""
        facts = [*self._keys.facts]
        if self._equal:
            facts.append(f"{', '.join(map(quote_text, self._equal))} equals total in every row")
        return [f"# {fact}" for fact in facts]

    def _line(self, keys: Sequence[str], values: Sequence[Number | None]) -> str:
        return "|".join([*keys, *[form(values[i]) for i, form in self._formats]])

    def _rest_line(self, hidden: Sequence[DataPoint]) -> str:
        """The rows that are not shown, added up where that is right."""
        report = self._report
        cells = self._keys.label(f"other ({count_rows(len(hidden))})")
        for i, name in self._shown:
            if report.rows_overlap or not report.is_additive(name):
                cells.append(NOT_APPLICABLE)
            else:
                cells.append(format_cell(report, self._add_up(i, name, hidden), name))
        return "|".join(cells)

    def _add_up(self, i: int, name: str, hidden: Sequence[DataPoint]) -> Number | None:
        """The sum of the rows that are not shown; of a change, what their sums differ by."""
        if self._report.request.earlier is None or not name.endswith(CHANGE):
            return add_up(point.values[i] for point in hidden)
        # It stands after the value now and before.
        now, before = (add_up(point.values[j] for point in hidden) for j in (i - 2, i - 1))
        return subtract(now, before)

    def _next_line(self, offset: int) -> str:
        """The arguments that continue; a window that ends at now is held where it is."""
        request = self._report.request
        changes = [f"offset={offset}"]
        if request.limit is not None:
            changes.append(f"limit={request.limit}")
        if request.window.is_to_now:
            changes += [f"{name}={text}" for name, text in pin_window(request).items()]
        rest = count_rows(len(self._points) - offset)
        return f"# {rest} more: same arguments with {', '.join(changes)}"


def count_rows(count: int) -> str:
    """`1 row`, `2 rows`."""
    return f"{count} row{'' if count == 1 else 's'}"


def equal_to_total(report: Report) -> list[str]:
    """Requested counts that say the same as `total` in every row and in ALL."""
    names = report.result.value_names
    if TOTAL not in names:
        return []
    position = names.index(TOTAL)
    rows = [point.values for point in report.result.points]
    if report.totals is not None:
        rows.append(report.totals)
    return [
        value.name
        for value in report.values
        if isinstance(value.source, Aggregation)
        and value.source.type == "count"
        and all(row[names.index(value.name)] == row[position] for row in rows)
    ]
