"""Finds texts that are no UTF-8, which the client writes as hexadecimal digits."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from gateway_metrics_mcp.errors import EngineError
from gateway_metrics_mcp.query import Result

_HEXADECIMAL: Final = re.compile(r"(?:[0-9a-f]{2})+")


def refuse_bytes(
    result: Result, table: str, first_key: int, ask_bytes: Callable[[], Sequence[Sequence[Any]]]
) -> None:
    """Refuse a result with keys that are no text; what only looks so is asked for once more.

    `first_key` is the column of the first key in the engine's rows.

    Raises:
        EngineError: that names the keys.
    """
    rows = result.plain_rows()
    suspects = [
        (number, name)
        for number, name in enumerate(result.key_names, first_key)
        if any(map(_may_be_bytes, {keys[number - first_key] for keys, _, _ in rows}))
    ]
    if not suspects:
        return
    raw = ask_bytes()
    found = [name for number, name in suspects if not all(_is_text(row[number]) for row in raw)]
    if found:
        raise EngineError(
            f"{' and '.join(found)} of {table} has bytes that are no UTF-8 text. Convert the column"
            " (convertCharset has other encodings), or read it through a view that does"
        )


def _may_be_bytes(key: object) -> bool:
    is_written_so = isinstance(key, str) and _HEXADECIMAL.fullmatch(key)
    return bool(is_written_so) and not _is_text(bytes.fromhex(str(key)))


def _is_text(value: object) -> bool:
    if isinstance(value, bytes):
        try:
            value.decode()
        except UnicodeDecodeError:
            return False
    return True
