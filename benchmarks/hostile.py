"""Hostile rows for the tokens benchmark: keys that a tokenizer cuts into many pieces."""

from __future__ import annotations

import base64
import random
import string
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

WEEK: Final = {"startTs": "2025-11-03", "endTs": "2025-11-10"}
DAY: Final = timedelta(days=1)
SHAPES: Final = ("table", "timeseries", "json", "comparison", "10,000 rows", "nothing")
"""The kinds of answer that hostile names appear in."""


def _letters(*ranges: str | tuple[int, int]) -> list[str]:
    return [
        letter
        for part in ranges
        for letter in (part if isinstance(part, str) else map(chr, range(*part)))
    ]


def hostile_keys() -> dict[str, list[str]]:
    """Sixty keys of each kind; the same in each run."""
    chance = random.Random(7)  # noqa: S311 - the same keys in each run

    def of(*ranges: str | tuple[int, int]) -> Callable[[], str]:
        letters = _letters(*ranges)
        return lambda: "".join(chance.choices(letters, k=chance.randint(8, 80)))

    kinds: dict[str, Callable[[], str]] = {
        "random lower case": of(string.ascii_lowercase),
        "random upper case": of(string.ascii_uppercase),
        "random letters and digits": of(string.ascii_letters + string.digits),
        "uuids": lambda: str(uuid.UUID(int=chance.getrandbits(128))),
        "hexadecimal": of("0123456789abcdef"),
        "base 64": lambda: base64.b64encode(chance.randbytes(48)).decode(),
        "base 32": lambda: base64.b32encode(chance.randbytes(40)).decode(),
        "punctuation": of(string.punctuation),
        "emoji": of((0x1F300, 0x1F64F), (0x1F680, 0x1F6C5), (0x1F900, 0x1F9FF)),
        "Chinese": of((0x4E00, 0x9FA5)),
        "Korean": of((0xAC00, 0xD7A3)),
        "Cyrillic": of((0x410, 0x44F)),
        "accents": of((0xC0, 0x17F)),
        "combining marks": of((0x300, 0x36F)),
        "cuneiform": of((0x12000, 0x12399)),
        "symbols": of((0x2190, 0x27BF)),
        "hidden characters": of("\u202e\u200b\u2066\ufeff\x07"),
        "tag characters": of((0xE0020, 0xE007F)),
    }
    return {kind: [make() for _ in range(60)] for kind, make in kinds.items()}


def hostile_question(kind: str, keys: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A response body with these keys in two columns, and the tool's arguments for it."""
    arguments: dict[str, Any] = {**WEEK, "groupBy": ["modelName", "metadata.x"]}
    arguments["aggregations"] = ["sum costInUSD"]
    start = datetime(2025, 11, 3, tzinfo=UTC)
    rows = [
        {"modelName": key, "metadata.x": keys[n // 2], "total": n + 1, "sumCostInUSD": n * 0.0371}
        for n, key in enumerate(keys)
    ]
    if kind.endswith("json"):
        arguments["format"] = "json"
    if kind.endswith("comparison"):
        arguments["compareTo"] = "1 week"
    if kind.endswith("10,000 rows"):
        rows = [
            {**row, "metadata.x": f"{n}{row['metadata.x']}"} for n in range(167) for row in rows
        ]
    if kind.endswith("nothing"):
        named = {"fieldName": "modelName", "operator": "IN", "value": list(keys)}
        return {"data": {"dataPoints": []}}, {**arguments, "filters": [named]}
    if kind.endswith("timeseries"):
        arguments |= {"interval": "1 hour", "startTs": f"{start}", "endTs": f"{start + DAY}"}
        rows = [
            {**row, "startTimestamp": (start + timedelta(hours=hour)).isoformat()}
            for hour in range(24)
            for row in rows
        ]
    return {"data": {"dataPoints": rows}}, arguments
