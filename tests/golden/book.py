"""The exchanges as they are written down: without paths, ports and what is different each time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_VARYING: Final = (
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:<port>"),
    (re.compile(r"(import-\d{8}T\d{6}Z)-[0-9a-f]{12}"), r"\1-<run>"),
    (re.compile(r"from the cache, [^,;|]* old"), "from the cache, <age> old"),
    (re.compile(r"gmm_[A-Za-z0-9_-]{20,}"), "<token>"),
    (
        re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (WARNING|ERROR) [\w.]+:"),
        r"<time> \1 <logger>:",
    ),
    (re.compile(r"rules \d{4}[a-z]+ of"), "rules <version> of"),
    (re.compile(r'sha256 = "[0-9a-f]{64}"'), 'sha256 = "<digest>"'),
)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and the lines of what came back, by the name of each block of them."""

    kind: str
    key: str
    blocks: Mapping[str, list[str]]


@dataclass(slots=True)
class Book:
    """All exchanges; `masks` are texts of this run and what stands for them."""

    masks: Mapping[str, str]
    exchanges: list[Exchange] = field(default_factory=list)
    _keys: set[str] = field(default_factory=set)

    def add(self, kind: str, asked: Any, **blocks: str | Iterable[str]) -> None:
        """Note one; each block is a text, or its lines. What was asked twice is numbered."""
        text = asked if isinstance(asked, str) else json.dumps(asked, ensure_ascii=False)
        first = self._mask(f"{kind} {text}")
        key, number = first, 1
        while key in self._keys:
            number += 1
            key = f"{first} ({number})"
        self._keys.add(key)
        masked = {
            name: self._mask(block if isinstance(block, str) else "\n".join(block)).split("\n")
            for name, block in blocks.items()
            if block
        }
        self.exchanges.append(Exchange(kind, key, masked))

    def _mask(self, text: str) -> str:
        for found, shown in sorted(self.masks.items(), key=lambda pair: -len(pair[0])):
            text = text.replace(found, shown)
        for pattern, shown in _VARYING:
            text = pattern.sub(shown, text)
        return text
