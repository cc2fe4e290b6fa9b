"""Compares this build with another for speed and memory, in interleaved pairs with a control.

A build is the Python of an environment that has it installed. Both environments must hold the same
packages, or libraries take other code paths. Each round measures the other build, this one, and
the other again, in random order: the ratio is this over other, the control other over other. A
figure fails if the whole 95 % interval of its median ratio is above the limit.
Usage: python benchmarks/against.py OTHER_PYTHON [THIS_PYTHON] [--pairs 30] [--seconds 5]
       [--only FIGURE ...]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine
from math import comb
from pathlib import Path
from statistics import median
from typing import Any, Final

MOST: Final = 1.05
CERTAINTY: Final = 0.95
CALLERS: Final = 64
STARTS: Final = 3
CALLS: Final = 150
WARM_UP: Final = 20
FIGURES: Final = {
    "start": "s from the start over stdio to the answered tools/list",
    "duckdb": "ms each call over DuckDB, from a client in memory",
    "gateway": "times a bare POST each call over a gateway on loopback",
    "load": f"ms each call at {CALLERS} callers over HTTP: the inverse of calls per second",
    "load_cpu": f"ms of processor time each call at {CALLERS} callers",
    "memory": f"MB of memory at most, at {CALLERS} callers",
}
LOAD: Final = ("load", "load_cpu", "memory")
PROBES: Final = {
    "start": ("start",),
    "duckdb": ("duckdb",),
    "gateway": ("gateway",),
    "load": LOAD,
    "load_cpu": LOAD,
    "memory": LOAD,
}
"""The figures that one run measures together, by figure."""


# These run in a process of the build under test.


async def time_duckdb() -> float:
    """The median time of a call in ms; each call queries another window, with the cache off."""
    from mcp.client import Client

    from layouts import load_build_server, load_settings
    from road import NOW, arguments_of, write_day

    with tempfile.TemporaryDirectory() as folder:
        write_day(Path(folder))
        settings = load_settings()(backend=folder, cache_bytes=0)
        async with Client(load_build_server()(settings, clock=lambda: NOW)) as client:
            gc.freeze()  # as our command does
            times = []
            for number in range(WARM_UP + CALLS):
                start = time.perf_counter()
                result = await client.call_tool("query_distribution", arguments_of(number % 23 + 1))
                times.append(time.perf_counter() - start)
                if result.is_error:
                    raise RuntimeError(f"no answer: {result.content}")
    return median(times[WARM_UP:]) * 1e3


async def time_gateway() -> float:
    """The median time of a call over that of a bare request in the same run."""
    from overhead import GATED, measure

    times = await measure(CALLS)
    return median(times[GATED]) / median(times["bare POST"])


# These run in this process.


def measure(figure: str, python: str, seconds: float) -> dict[str, float]:
    """Run one probe with a build's Python; the figures by name."""
    from load import run_ours
    from startup import HANDSHAKE, SERVER
    from startup import measure as measure_start

    if figure == "start":
        return {figure: median(measure_start(SERVER, HANDSHAKE, python) for _ in range(STARTS))}
    if figure in ("duckdb", "gateway"):
        return {figure: ask_child(figure, python)}
    run = run_ours(CALLERS, seconds, has_cache=False, python=python)
    if run.failures:
        raise RuntimeError(f"{python}: {run.failures[0]}")
    return {
        "load": 1e3 / run.throughput,
        "load_cpu": run.cpu_s / len(run.latencies_s) * 1e3,
        "memory": run.peak_mb,
    }


def ask_child(figure: str, python: str) -> float:
    done = subprocess.run(  # noqa: S603 - this file
        [python, __file__, "--probe", figure], check=True, stdout=subprocess.PIPE, text=True
    )
    number: float = json.loads(done.stdout)
    return number


def interval(ratios: list[float]) -> tuple[float, float, float]:
    """A confidence interval of the median: two of the ratios, and its certainty (0 to 1).

    Each ratio is above the true median with probability 1/2, so their number is binomial. This
    needs no assumption on how times are distributed.
    """
    ordered, many = sorted(ratios), len(ratios)

    def certainty(skipped: int) -> float:
        below = sum(comb(many, k) for k in range(skipped + 1))
        return float(1 - 2 * below / 2**many)

    skipped = max((k for k in range(many // 2) if certainty(k) >= CERTAINTY), default=0)
    return ordered[skipped], ordered[many - 1 - skipped], certainty(skipped)


def take_turns(
    probes: list[str], other: str, this: str, flags: Any
) -> dict[str, list[list[float]]]:
    """Per figure a list of rounds, each with the values of other, this, and other again."""
    found: dict[str, list[list[float]]] = defaultdict(list)
    chance = random.Random(1)  # noqa: S311 - an order
    subjects = (other, this, other)
    for number in range(flags.pairs):
        for probe in probes:
            taken: dict[int, dict[str, float]] = {}
            # In random order, so that a machine that slows down does not favour one build.
            for place in chance.sample(range(3), 3):
                taken[place] = measure(probe, subjects[place], flags.seconds)
            for figure in PROBES[probe]:
                found[figure].append([taken[place][figure] for place in range(3)])
        print(f"round {number + 1} of {flags.pairs}", file=sys.stderr, flush=True)
    return found


def show(figure: str, rounds: list[list[float]], unit: str, limit: float) -> bool:
    """Print a figure; whether it is within the limit."""
    ratios = [this / other for other, this, _ in rounds]
    low, high, certainty = interval(ratios)
    control = [again / other for other, _, again in rounds]
    control_low, control_high, _ = interval(control)
    is_good = low <= limit
    print(
        f"{'ok  ' if is_good else 'FAIL'} {figure:15} {median(ratios):.3f} [{low:.3f}, {high:.3f}]"
        f"  control {median(control):.3f} [{control_low:.3f}, {control_high:.3f}]"
        f"  other {median(r[0] for r in rounds):.2f}, this {median(r[1] for r in rounds):.2f}"
        f" {unit}  (at most {limit}, {certainty:.0%})"
    )
    return is_good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", help="the Python of the other build's environment")
    parser.add_argument("this", nargs="?", default=sys.executable)
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=5, help="of load, each time")
    parser.add_argument("--only", nargs="+", choices=sorted(FIGURES), default=[*FIGURES])
    flags = parser.parse_args()
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH"):
        os.environ.pop(name, None)  # as users start it: byte code is written once and read
    probes = [*dict.fromkeys(PROBES[figure][0] for figure in flags.only)]
    found = take_turns(probes, flags.other, flags.this, flags)
    results = [
        show(figure, found[figure], unit, MOST)
        for figure, unit in FIGURES.items()
        if figure in found
    ]
    print(f"{flags.pairs} pairs; a figure fails if its whole interval is above its limit")
    return 0 if all(results) else 1


PROBE_OF: Final[dict[str, Callable[[], Coroutine[Any, Any, float]]]] = {
    "duckdb": time_duckdb,
    "gateway": time_gateway,
}

if __name__ == "__main__":
    if sys.argv[1:2] == ["--probe"]:
        print(json.dumps(asyncio.run(PROBE_OF[sys.argv[2]]())))
    else:
        sys.exit(main())
