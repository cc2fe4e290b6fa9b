"""A bar on the terminal while the engine works."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TextIO

import duckdb

_EVERY_S: Final = 0.2
_WIDTH: Final = 30


@contextmanager
def show_progress(engine: duckdb.DuckDBPyConnection, label: str, stream: TextIO) -> Iterator[None]:
    """Draw the share of the statement at work, on a terminal alone; wiped out afterwards."""
    if not stream.isatty():
        yield
        return
    done = threading.Event()

    def draw() -> None:
        is_over = False
        while not is_over:
            share = min(max(engine.query_progress(), 0), 100) / 100
            bar = "#" * round(share * _WIDTH)
            stream.write(f"\r{label} [{bar:<{_WIDTH}}] {share:4.0%}\x1b[K")
            stream.flush()
            is_over = done.wait(_EVERY_S)

    thread = threading.Thread(target=draw, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        stream.write("\r\x1b[K")
        stream.flush()
