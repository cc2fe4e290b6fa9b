"""Command lines run in process: their exit code, what they print and what they say on stderr."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from book import Book
from commands import IMPORTS, INSTALLS, OTHERS, SHOWN, list_asked
from product import run_command, run_installer


class _Output(io.TextIOWrapper):
    """What is printed; a terminal on demand."""

    def __init__(self, *, is_terminal: bool) -> None:
        self._is_terminal = is_terminal
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    def isatty(self) -> bool:
        return self._is_terminal

    def read_all(self) -> str:
        self.flush()
        kept = self.buffer
        assert isinstance(kept, io.BytesIO)
        return kept.getvalue().decode("utf-8").rstrip("\n")


def record_commands(book: Book, place: Path) -> None:
    """All command lines, in an environment of their own."""
    os.environ |= {
        "GATEWAY_METRICS_BACKEND": str(place / "data"),
        "GATEWAY_METRICS_THREADS": "1",
    }
    for words in list_asked():
        is_terminal = words[:1] == (SHOWN,)
        given = [_fill(word, place) for word in (words[1:] if is_terminal else words)]
        kind = "ask on a terminal" if is_terminal else "ask"
        _run(book, kind, given, lambda: run_command(["ask", *given]), is_terminal=is_terminal)  # noqa: B023
    for words in OTHERS:
        given = [_fill(word, place) for word in words]
        _run(book, "command", given, lambda: run_command(given))  # noqa: B023
    for name in ("GATEWAY_METRICS_BACKEND", "GATEWAY_METRICS_THREADS"):
        del os.environ[name]
    for words in IMPORTS:
        given = [_fill(word, place) for word in words]
        _run(book, "import", given, lambda: run_command(["import", *given]))  # noqa: B023
    for platform, environ, words in INSTALLS:
        given = [_fill(word, place) for word in words]
        home = {"HOME": str(place / "home"), "PATH": "/usr/bin:/bin", **environ}
        kind = f"install on {platform} with {[*environ]}"
        _run(book, kind, given, lambda: run_installer([*given, "--no-try"], home, platform))  # noqa: B023


def _run(
    book: Book,
    kind: str,
    words: Sequence[str],
    run: Callable[[], int],
    *,
    is_terminal: bool = False,
) -> None:
    printed, said = _Output(is_terminal=is_terminal), _Output(is_terminal=False)
    logging.getLogger().handlers.clear()
    with redirect_stdout(printed), redirect_stderr(said):
        try:
            code = run()
        except SystemExit as end:
            code = int(end.code or 0)
    asked = " ".join(map(repr, words))
    blocks = {"code": str(code), "stdout": printed.read_all(), "stderr": said.read_all()}
    book.add(kind, asked, **blocks)


def _fill(word: str, place: Path) -> str:
    """A word, in which names in capitals stand for places of this run."""
    places = {"LOGS/": "logs/", "HOME/": "home/", "INTO": "into", "KEY": "key", "PART": "part",
              "NOWHERE": "nowhere", "DATA": "data"}  # fmt: skip
    for name, path in places.items():
        if word == name or (name.endswith("/") and word.startswith(name)):
            return f"{place}/{path}{word.removeprefix(name)}"
    return word
