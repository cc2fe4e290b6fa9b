"""The key columns of a table: what every row repeats is said once, above."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway_metrics_mcp.answers.asked import Asked
from gateway_metrics_mcp.answers.cells import format_key, quote_text
from gateway_metrics_mcp.result import DataPoint, Key

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


def arrange_keys(asked: Asked, points: Sequence[DataPoint], longest: int) -> KeyColumns:
    """The columns for rows of which there are at least two."""
    names = [quote_text(name) for name in asked.result.key_names]
    # By type as well: True, 1 and 1.0 are equal in Python, and three groups here.
    kinds = [{(type(p.keys[i]), p.keys[i]) for p in points} for i in range(len(names))]
    constant = [i for i in range(len(names)) if len(kinds[i]) == 1]
    # Rows that are equal in all keys still need a column to stand in.
    constant = constant[1:] if len(constant) == len(names) else constant
    shown = tuple(i for i in range(len(names)) if i not in constant)
    domains = _find_domains(asked, points, shown)
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
    asked: Asked, points: Sequence[DataPoint], positions: Sequence[int]
) -> dict[int, str]:
    """The one domain of a column of e-mail addresses, where it pays to say it once."""
    question = asked.question
    shown = points[question.offset :][: question.limit]
    if len(shown) < _FEWEST_ROWS or question.format == "exact":
        return {}
    found = {}
    for i in positions:
        matches = [_DOMAIN.fullmatch(str(point.keys[i])) for point in points]
        domains = {None if match is None else match[1] for match in matches}
        domain = domains.pop()
        if not domains and domain is not None:
            found[i] = domain
    return found
