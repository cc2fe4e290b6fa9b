"""What a careful reader takes from an answer's text; written without looking at its writer."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

Row = dict[str, str]

NO_FIGURE: Final = ("null", "n/a")
_ROUNDED: Final = 0.0006
"""Four significant digits are never off by more than 0.05 %."""
_EXACT: Final = 1e-9
_ONE_DECIMAL: Final = 0.00051
_UNIT: Final = re.compile(r" \([^()]*\)$")
_DOMAIN: Final = re.compile(
    r"^# every (\S+) ending in @ below continues with ([^\s:]+)", flags=re.MULTILINE
)
_RULE: Final = re.compile(r"---(\|---)*")


def read_rows(text: str) -> list[Row]:
    """The rows of an answer, by heading; those of a grouped timeseries have `time` and `series`."""
    lines, constants, block = text.splitlines(), _constants(text), None
    rows: list[Row] = []
    single: Row = {}
    headings: list[str] | None = None
    for number, line in enumerate(lines):
        if line.startswith("## "):
            block, headings = _name(line.removeprefix("## ")), None
        elif line.startswith("# ") or _RULE.fullmatch(line):
            continue
        elif number + 1 < len(lines) and _RULE.fullmatch(lines[number + 1]):
            headings = [*map(_name, _cells(line))]
        elif headings is None:
            name, _, value = line.partition(": ")
            single[_name(name)] = value
        else:
            row = dict(zip(headings, _cells(line), strict=True))
            _complete_time(row, rows)
            rows += [constants | row] if block is None else _unpivot(row, block)
    return [_with_domain(row, text) for row in ([*rows, constants | single] if single else rows)]


def find_row(rows: Sequence[Row], keys: Mapping[str, Any], values: Sequence[str]) -> Row:
    """The one row of these keys that has these values; `ALL` is ours and has no other key."""
    found = [
        row
        for row in rows
        if set(values) <= row.keys() and all(_is(row.get(name), key) for name, key in keys.items())
    ]
    if "ALL" in keys.values():
        found = [row for row in rows if "ALL" in row.values()]
    assert len(found) == 1, f"{len(found)} rows of {keys} with {values} in {rows}"
    return found[0]


def is_figure(cell: str, name: str, expected: float | None, *, is_exact: bool) -> bool:
    """Whether a cell says the expected figure as precisely as the format promises."""
    if expected is None:
        return cell in NO_FIGURE
    if cell in NO_FIGURE:
        return False
    number = read_number(cell)
    if cell.endswith("%"):
        return abs(number - expected) <= _ONE_DECIMAL
    if name.endswith("%"):
        return abs(number / 100 - expected) <= max(_ONE_DECIMAL, _ROUNDED * abs(expected))
    if isinstance(expected, int):
        return number == expected
    return math.isclose(number, expected, rel_tol=_EXACT if is_exact else _ROUNDED, abs_tol=1e-12)


def read_number(cell: str) -> float:
    """The number that a cell says; 12.5% is 0.125."""
    plain = cell.strip().removeprefix("+").replace("\u2212", "-")
    return float(plain.removesuffix("%")) / (100 if plain.endswith("%") else 1)


def _cells(line: str) -> list[str]:
    return re.split(r"(?<!\\)\|", line)


def _name(heading: str) -> str:
    """A heading without the unit that was added to it."""
    return _unquote(_UNIT.sub("", heading))


def _is(cell: str | None, key: Any) -> bool:
    """Whether a key's cell says that value."""
    if cell is None or key is None:
        return cell == "null"
    if isinstance(key, bool):
        return cell == str(key).lower()
    return _unquote(cell) == str(key)


def _unquote(cell: str) -> str:
    return str(json.loads(cell.replace("\\|", "|"))) if cell.startswith('"') else cell


def _constants(text: str) -> Row:
    """The keys that all rows share, which stand above the table."""
    line = re.search(r"^# all rows: (.*)$", text, flags=re.MULTILINE)
    return {} if line is None else dict(re.findall(r"([^\s,=]+)=([^,]+)", line[1]))


def _with_domain(row: Row, text: str) -> Row:
    """Addresses whose one domain stands above the table."""
    line = re.search(
        r"^# every (\S+) ending in @ below continues with ([^\s:]+)", text, re.MULTILINE
    )
    if line is not None and row.get(line[1], "").endswith("@"):
        return row | {line[1]: row[line[1]] + line[2]}
    return row


def _complete_time(row: Row, above: Sequence[Row]) -> None:
    """`01:00` belongs to the date above it; `(partial)` is no part of a label."""
    time = row.get("time", "").removesuffix(" (partial)")
    if time:
        row["time"] = time
    if above and re.fullmatch(r"\d\d:\d\d(:\d\d)?", time):
        row["time"] = f"{above[-1]['time'][:10]} {time}"


def _unpivot(row: Row, block: str) -> Iterator[Row]:
    """A row of a block as a row for each series."""
    for series, cell in row.items():
        if series != "time":
            yield {"time": row["time"], "series": series, block: cell}
