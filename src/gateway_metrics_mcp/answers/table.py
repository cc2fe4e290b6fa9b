"""A distribution as a table: rows, the rest, and ALL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway_metrics_mcp.answers.asked import Asked
from gateway_metrics_mcp.answers.budget import Room
from gateway_metrics_mcp.answers.cells import NOT_APPLICABLE, format_key
from gateway_metrics_mcp.answers.empty import write_empty
from gateway_metrics_mcp.answers.header import write_header
from gateway_metrics_mcp.answers.notes import write_notes
from gateway_metrics_mcp.answers.series import add_up
from gateway_metrics_mcp.answers.sorting import order_column, sort_points
from gateway_metrics_mcp.result import TOTAL, DataPoint, Number

ALL: Final = "ALL"


def write_distribution(asked: Asked, budget: int) -> str:
    """The answer's text, within `budget` estimated tokens."""
    points = sort_points(asked)
    if not points or (len(points) == 1 and _is_nothing(asked, points[0])):
        return write_empty(asked)
    if len(points) == 1 and asked.question.offset == 0:
        return _write_one(asked, points[0])
    return _Table(asked, points).write(budget)


def _is_nothing(asked: Asked, point: DataPoint) -> bool:
    """An ungrouped row that counts no rows at all (R1)."""
    names = asked.result.value_names
    return not asked.result.key_names and TOTAL in names and point.values[names.index(TOTAL)] == 0


def _write_one(asked: Asked, point: DataPoint) -> str:
    """A single row, a value a line."""
    result = asked.result
    lines = [write_header(asked), *write_notes(asked)]
    lines += [
        f"{name}: {format_key(key)}" for name, key in zip(result.key_names, point.keys, strict=True)
    ]
    lines += [
        f"{label_of(asked, name)}: {asked.format(value, name)}"
        for name, value in zip(result.value_names, point.values, strict=True)
    ]
    return "\n".join(lines)


def label_of(asked: Asked, name: str) -> str:
    """A value's column name; its unit is added where the name has none."""
    unit = asked.unit_of(name)
    if unit is None or unit.rstrip("s").lower() in name.lower():
        return name
    return f"{name} ({unit})"


class _Table:
    """The writing of one table with more than one row."""

    def __init__(self, asked: Asked, points: Sequence[DataPoint]) -> None:
        self._asked = asked
        self._points = points
        self._names = asked.result.value_names
        self._equal = equal_to_total(asked)
        keys = range(len(asked.result.key_names))
        self._constant = [i for i in keys if len({p.keys[i] for p in points}) == 1]
        self._keys = [i for i in keys if i not in self._constant]
        self._values = [i for i, name in enumerate(self._names) if name not in self._equal]

    def write(self, budget: int) -> str:
        asked, count = self._asked, len(self._points)
        head = [self._header(count, count), *write_notes(asked), *self._facts()]
        columns = [asked.result.key_names[i] for i in self._keys]
        columns += [label_of(asked, self._names[i]) for i in self._values]
        head += ["|".join(columns), "|".join(["---"] * len(columns))]
        tail = [] if asked.totals is None else [self._line([ALL], asked.totals)]
        room = Room(budget)
        room.take(*head, *tail, self._rest_line(self._points), self._next_line(count))
        first = min(asked.question.offset, count)
        last = count if asked.question.limit is None else min(first + asked.question.limit, count)
        rows: list[str] = []
        for point in self._points[first:last]:
            line = self._row(point)
            if not room.fits(line):
                break
            rows.append(line)
        shown = len(rows)
        head[0] = self._header(first + 1, first + shown)
        hidden = [*self._points[:first], *self._points[first + shown :]]
        if hidden:
            rows.append(self._rest_line(hidden))
        if first + shown < count:
            tail.append(self._next_line(first + shown))
        return "\n".join([*head, *rows, *tail])

    def _header(self, first: int, last: int) -> str:
        asked = self._asked
        direction = "desc" if asked.question.is_descending else "asc"
        rows = f"rows {first}-{last}" if last >= first else "rows none"
        order = f"sorted by {order_column(asked)} {direction}"
        return write_header(asked, order, f"{rows} of {len(self._points)}")

    def _facts(self) -> list[str]:
        """Columns that would say the same in every row are said once."""
        lines = []
        if self._constant:
            names, keys = self._asked.result.key_names, self._points[0].keys
            constant = ", ".join(f"{names[i]}={format_key(keys[i])}" for i in self._constant)
            lines.append(f"# all rows: {constant}")
        if self._equal:
            lines.append(f"# {', '.join(self._equal)} equals total in every row")
        return lines

    def _row(self, point: DataPoint) -> str:
        return self._line([format_key(point.keys[i]) for i in self._keys], point.values)

    def _line(self, keys: Sequence[str], values: Sequence[Number | None]) -> str:
        asked = self._asked
        cells = [*keys, *[""] * (len(self._keys) - len(keys))]
        cells += [asked.format(values[i], self._names[i]) for i in self._values]
        return "|".join(cells)

    def _rest_line(self, hidden: Sequence[DataPoint]) -> str:
        """The rows that are not shown, added up where that is right."""
        asked = self._asked
        cells = [f"other ({count_rows(len(hidden))})", *[""] * (len(self._keys) - 1)]
        for i in self._values:
            name = self._names[i]
            if asked.rows_overlap or not asked.is_additive(name):
                cells.append(NOT_APPLICABLE)
                continue
            value = add_up([point.values[i] for point in hidden])
            cells.append(asked.format(value, name))
        return "|".join(cells)

    def _next_line(self, offset: int) -> str:
        limit = self._asked.question.limit
        size = "" if limit is None else f", limit={limit}"
        return (
            f"# {count_rows(len(self._points) - offset)} more: same arguments with"
            f" offset={offset}{size}"
        )


def count_rows(count: int) -> str:
    """`1 row`, `2 rows`."""
    return f"{count} row{'' if count == 1 else 's'}"


def equal_to_total(asked: Asked) -> list[str]:
    """Requested counts that say the same as `total` in every row and in ALL."""
    names = asked.result.value_names
    if TOTAL not in names:
        return []
    position = names.index(TOTAL)
    rows = [point.values for point in asked.result.points]
    if asked.totals is not None:
        rows.append(asked.totals)
    return [
        a.key
        for a in asked.question.query.aggregations
        if a.type == "count" and all(row[names.index(a.key)] == row[position] for row in rows)
    ]
