"""Compares this build with another for what a start costs: `ask`, `tools/list` over stdio, memory.

As in against.py, a build is the Python of an environment that has it installed, and each round
measures the other build, this one, and the other again, in random order. `start_second` compares
with Python importing the SDK instead: no server on that SDK can be faster without its front, which
answers from what the first start has kept. Each start has a cache directory of its own.
Usage: python benchmarks/starts.py OTHER_PYTHON [THIS_PYTHON] [--pairs 30] [--only FIGURE ...]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from against import show
from road import DAY, arguments_of, write_day
from startup import HANDSHAKE, SERVER, YARDSTICK

FIGURES: Final = {
    "ask": (0.5, "s for `ask distribution` over a directory"),
    "start_first": (1.0, "s from the start over stdio to tools/list, nothing kept"),
    "start_second": (0.1, "s likewise after such a start; other: import mcp.server.mcpserver"),
    "list_memory": (1.0, "MB resident after tools/list"),
    "question_memory": (0.9, "MB resident after a first question over a directory"),
}
"""The limit of each ratio, and what is measured."""
QUESTION: Final = {
    "id": 2,
    "method": "tools/call",
    "params": {"name": "query_distribution", "arguments": arguments_of(9)},
}
SETTLE_S: Final = 1.0
"""After an answer, until memory is read: threads end, and what the start keeps is written."""


def environment(cache: Path) -> dict[str, str]:
    """An environment without variables that change Python's start, so byte code is cached."""
    names = ("PATH", "HOME")
    return {n: os.environ[n] for n in names if n in os.environ} | {"XDG_CACHE_HOME": str(cache)}


class Session:
    """A process over stdio, and the lines it is sent and answers."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("no pipes")
        self._process = process
        self._sent, self._answers = process.stdin, process.stdout

    def ask(self, messages: Sequence[dict[str, Any]]) -> Any:
        """Send the messages; the result of the last request."""
        lines = [json.dumps({"jsonrpc": "2.0", **message}) for message in messages]
        self._sent.write("".join(f"{line}\n" for line in lines).encode())
        self._sent.flush()
        answers = [self._answers.readline() for message in messages if "id" in message]
        return json.loads(answers[-1])["result"]

    def resident_mb(self) -> float:
        """The process's resident memory, the pages of shared libraries included."""
        text = Path(f"/proc/{self._process.pid}/smaps_rollup").read_text("ascii")
        return int(text.split("Rss:")[1].split()[0]) / 1024


@contextmanager
def serve(python: str, cache: Path, *flags: str) -> Iterator[Session]:
    with subprocess.Popen(  # noqa: S603 - a build's Python, our arguments
        [python, *SERVER, *flags],
        env=environment(cache),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        session = Session(process)
        yield session
        process.stdin.close()  # type: ignore[union-attr]  # checked by Session


def time_run(arguments: Sequence[str], cache: Path) -> float:
    """The seconds that a command takes."""
    start = time.perf_counter()
    subprocess.run(arguments, env=environment(cache), check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - likewise
    return time.perf_counter() - start


def time_ask(python: str, data: Path, cache: Path) -> dict[str, float]:
    words = f"ask distribution --range {DAY} --sum costInUSD --by modelName --backend".split()
    return {"ask": time_run([python, *SERVER, *words, str(data)], cache)}


def time_list(python: str, cache: Path) -> float:
    start = time.perf_counter()
    with serve(python, cache) as session:
        tools = session.ask(HANDSHAKE)["tools"]
        seconds = time.perf_counter() - start
    if not tools:
        raise RuntimeError("no tools")
    return seconds


def time_first(python: str, _data: Path, cache: Path) -> dict[str, float]:
    return {"start_first": time_list(python, cache)}


def time_second(python: str, _data: Path, cache: Path) -> dict[str, float]:
    """The second start; the yardstick's time where `python` is the other build's place."""
    if python == "":
        return {"start_second": time_run([sys.executable, *YARDSTICK], cache)}
    time_list(python, cache)
    return {"start_second": time_list(python, cache)}


def weigh(python: str, data: Path, cache: Path) -> dict[str, float]:
    with serve(python, cache, "--backend", str(data)) as session:
        session.ask(HANDSHAKE)
        time.sleep(SETTLE_S)
        listed = session.resident_mb()
        result = session.ask([QUESTION])
        time.sleep(SETTLE_S)
        asked = session.resident_mb()
    if result.get("isError") or "rows 1-" not in result["content"][0]["text"]:
        raise RuntimeError(f"no answer: {result}")
    return {"list_memory": listed, "question_memory": asked}


PROBES: Final[dict[str, Callable[[str, Path, Path], dict[str, float]]]] = {
    "ask": time_ask,
    "start_first": time_first,
    "start_second": time_second,
    "list_memory": weigh,
    "question_memory": weigh,
}


def take_turns(
    figures: Sequence[str], other: str, this: str, pairs: int
) -> dict[str, list[list[float]]]:
    """Per figure a list of rounds, each with the values of other, this, and other again."""
    found: dict[str, list[list[float]]] = defaultdict(list)
    chance = random.Random(1)  # noqa: S311 - an order
    with tempfile.TemporaryDirectory() as folder:
        write_day(Path(folder))
        for number in range(-1, pairs):  # the first round writes byte code and is not counted
            for probe in dict.fromkeys(PROBES[figure] for figure in figures):
                before = "" if probe is time_second else other
                subjects = (before, this, before)
                taken: dict[int, dict[str, float]] = {}
                for place in chance.sample(range(3), 3):
                    with tempfile.TemporaryDirectory() as cache:
                        taken[place] = probe(subjects[place], Path(folder), Path(cache))
                if number >= 0:
                    for figure in taken[0]:
                        found[figure].append([taken[place][figure] for place in range(3)])
            print(f"round {number + 1} of {pairs}", file=sys.stderr, flush=True)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", help="the Python of the other build's environment")
    parser.add_argument("this", nargs="?", default=sys.executable)
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--only", nargs="+", choices=sorted(FIGURES), default=[*FIGURES])
    flags = parser.parse_args()
    found = take_turns(flags.only, flags.other, flags.this, flags.pairs)
    results = [
        show(figure, found[figure], unit, limit)
        for figure, (limit, unit) in FIGURES.items()
        if figure in flags.only
    ]
    print(f"{flags.pairs} pairs; a figure fails if its whole interval is above its limit")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
