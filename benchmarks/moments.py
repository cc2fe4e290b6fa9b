"""Compares moments that a user waits for with those of another build, in interleaved pairs.

A build is the Python of an environment that has it installed. Each round measures the other build,
this one, and the other again, in random order: the ratio is this over other, the control other
over other. A figure fails if the whole 95 % interval of its median ratio is above its limit.
Usage: python benchmarks/moments.py OTHER_PYTHON [THIS_PYTHON] [--pairs 15] [--only FIGURE ...]
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

from against import interval
from startup import HANDSHAKE

PICTURES: Final = 5
LIMITS: Final = {"picture": 0.3, "demo": 0.4}
MEANINGS: Final = {
    "picture": "s each picture from the second on, over the same question as text",
    "demo": "s from the start to the first answer of demo:, on a new machine",
}
QUESTION: Final = {
    "aggregations": ["sum costInUSD"],
    "groupBy": ["modelName"],
    "startTs": "last 7 days",
}


class Session:
    """A client of a server over stdio."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        for message in HANDSHAKE[:2]:
            self._send(message)
        self._receive(0)

    def ask(self, number: int, arguments: dict[str, Any]) -> float:
        """The seconds that a question takes."""
        begun = time.perf_counter()
        params = {"name": "query_distribution", "arguments": arguments}
        self._send({"id": number, "method": "tools/call", "params": params})
        result = self._receive(number)["result"]
        has_picture = len(result["content"]) == 2
        if result.get("isError") or has_picture != (arguments.get("format") == "chart"):
            raise RuntimeError(f"no answer: {result['content'][0]}")
        return time.perf_counter() - begun

    def _send(self, message: dict[str, Any]) -> None:
        if self._process.stdin is None:
            raise RuntimeError("no pipe")
        self._process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self._process.stdin.flush()

    def _receive(self, number: int) -> dict[str, Any]:
        for line in self._process.stdout or ():
            message: dict[str, Any] = json.loads(line)
            if message.get("id") == number:
                return message
        raise RuntimeError("the server ended")


@contextmanager
def connect(python: str, backend: str, cache: str) -> Iterator[Session]:
    """A session with a new server of a build."""
    variables = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    with subprocess.Popen(  # noqa: S603 - a Python of ours
        [python, "-m", "gateway_metrics_mcp", "--backend", backend],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**variables, "XDG_CACHE_HOME": cache},
    ) as process:
        yield Session(process)


def time_picture(python: str) -> float:
    """The median time of a picture after the first, without that of its question."""
    from road import arguments_of, write_day

    asked = arguments_of(23)
    with tempfile.TemporaryDirectory() as folder:
        write_day(Path(folder))
        with connect(python, folder, folder) as session:
            session.ask(1, {**asked, "format": "chart"})
            pairs = [
                session.ask(number, {**asked, "format": "chart"})
                - session.ask(number + 1, {**asked, "format": "table"})
                for number in range(2, 2 + 2 * PICTURES, 2)
            ]
    return median(pairs)


def time_demo(python: str) -> float:
    """The time from the start of a server to its first answer, with an empty cache directory."""
    with tempfile.TemporaryDirectory() as cache:
        begun = time.perf_counter()
        with connect(python, "demo:", cache) as session:
            session.ask(1, QUESTION)
            return time.perf_counter() - begun


MEASURE: Final[dict[str, Callable[[str], float]]] = {"picture": time_picture, "demo": time_demo}


def show(figure: str, rounds: list[list[float]]) -> bool:
    """Print a figure; whether it is within its limit."""
    low, high, certainty = interval([this / other for other, this, _ in rounds])
    control_low, control_high, _ = interval([again / other for other, _, again in rounds])
    is_good = low <= LIMITS[figure]
    print(
        f"{'ok  ' if is_good else 'FAIL'} {figure:8}"
        f" {median(this / other for other, this, _ in rounds):.3f} [{low:.3f}, {high:.3f}]"
        f"  control {median(again / other for other, _, again in rounds):.3f}"
        f" [{control_low:.3f}, {control_high:.3f}]"
        f"  other {median(r[0] for r in rounds):.2f}, this {median(r[1] for r in rounds):.2f}"
        f" {MEANINGS[figure]}; at most {LIMITS[figure]} ({certainty:.0%})"
    )
    return is_good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", help="the Python of the other build's environment")
    parser.add_argument("this", nargs="?", default=sys.executable)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--only", nargs="+", choices=sorted(MEASURE), default=[*MEASURE])
    flags = parser.parse_args()
    chance = random.Random(1)  # noqa: S311 - an order
    builds = (flags.other, flags.this, flags.other)
    results = []
    for figure in flags.only:
        rounds = []
        for _ in range(flags.pairs):
            taken = {place: MEASURE[figure](builds[place]) for place in chance.sample(range(3), 3)}
            rounds.append([taken[place] for place in range(3)])
        results.append(show(figure, rounds))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
