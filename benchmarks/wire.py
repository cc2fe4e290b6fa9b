"""What HTTP and the call cost, each as a ratio to a yardstick of the same run.

one        p50 of one caller's cached call over HTTP, to the same call in memory
cached     calls per second of 64 callers with the cache on, to another build's
uncached   the same with the cache off: each call makes two upstream requests
cpu        processor time per answer at 16 callers with the cache off, to that of a trivial tool of
           the SDK that posts two questions side by side with httpx

Each round measures the yardstick, ours, and the yardstick again, in random order; the last two make
the control. A limit is missed if the whole 95 % interval of the median ratio lies beyond it.
Usage: python benchmarks/wire.py OTHER_PYTHON [THIS_PYTHON] [--rounds 10] [--seconds 4]
       [--only FIGURE ...]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Final

from against import interval
from callers import Caller, question
from layouts import load_build_server, load_settings
from load import Run, ask_yardstick_twice, explain, measure, run_ours
from loopback import start

MANY: Final = 64
SOME: Final = 16
CALLS: Final = 150
WARM_UP: Final = 50
LIMITS: Final = {
    "one": (2.5, "at most"),
    "cached": (1.5, "at least"),
    "uncached": (1.5, "at least"),
    "cpu": (0.9, "at most"),
}
Measure = Callable[[], float]


async def time_one() -> tuple[float, float]:
    """Seconds at the median of a cached call over HTTP and in memory, asked in turn."""
    from mcp.client import Client

    arguments = question(0)
    times: tuple[list[float], list[float]] = ([], [])
    with start("gateway", "0") as gateway:
        backend = f"http://127.0.0.1:{gateway.address}"
        settings = load_settings()(backend=backend, token="caller")  # noqa: S106 - for our gateway
        with start("server", "--backend", backend, "--transport", "http", "--port", "0") as process:
            caller = Caller(process.address, "caller")
            async with Client(load_build_server()(settings)) as client:
                gc.freeze()  # as our command does
                for number in range(WARM_UP + CALLS):
                    begun = time.perf_counter()
                    reply = await caller.ask("query_distribution", arguments)
                    asked = time.perf_counter()
                    result = await client.call_tool("query_distribution", arguments)
                    ended = time.perf_counter()
                    wrong = explain(reply, ["\nq-0-q|"])
                    if wrong is not None or result.is_error:
                        raise RuntimeError(wrong or f"no answer: {result.content}")
                    if number >= WARM_UP:
                        times[0].append(asked - begun)
                        times[1].append(ended - asked)
            caller.close()
    return median(times[0]), median(times[1])


def count_calls(python: str, seconds: float, *, has_cache: bool) -> float:
    """Answers per second of 64 callers."""
    return _checked(run_ours(MANY, seconds, has_cache=has_cache, python=python)).throughput


def time_cpu(python: str, seconds: float) -> float:
    """Our processor time per answer in ms, at 16 callers without a cache."""
    return _cpu_ms(run_ours(SOME, seconds, has_cache=False, python=python))


def time_yardstick_cpu(seconds: float) -> float:
    """The same of the trivial tool that asks twice."""
    with (
        start("gateway", "0") as gateway,
        start("yardstick", f"http://127.0.0.1:{gateway.address}") as process,
    ):
        return _cpu_ms(asyncio.run(measure(process, ask_yardstick_twice, SOME, seconds)))


def _cpu_ms(run: Run) -> float:
    return _checked(run).cpu_s / len(run.latencies_s) * 1e3


def _checked(run: Run) -> Run:
    if run.failures:
        raise RuntimeError(run.failures[0])
    return run


def take_one(python: str) -> list[float]:
    """Both times of one caller, in a process of the build: it needs its packages."""
    command = [python, __file__, "--one"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
    http, memory = map(float, done.stdout.split())
    return [memory, http]


def take_turns(yardstick: Measure, ours: Measure) -> list[float]:
    """The values of the yardstick, ours, and the yardstick again."""
    subjects = (yardstick, ours, yardstick)
    taken = {place: subjects[place]() for place in random.sample(range(3), 3)}
    return [taken[place] for place in range(3)]


def show(name: str, rounds: list[list[float]]) -> bool:
    """Print a figure; whether it is within its limit."""
    limit, side = LIMITS[name]
    ratios = [values[1] / values[0] for values in rounds]
    low, high, certainty = interval(ratios)
    is_good = low <= limit if side == "at most" else high >= limit
    line = f"{name:9} {median(ratios):.3f} [{low:.3f}, {high:.3f}], {side} {limit}"
    if len(rounds[0]) > 2:
        control = [again / first for first, _, again in rounds]
        low, high, _ = interval(control)
        line += f"  control {median(control):.3f} [{low:.3f}, {high:.3f}]"
    medians = [median(values) for values in zip(*rounds, strict=True)]
    scale = 1e3 if name == "one" else 1
    print(
        f"{'ok  ' if is_good else 'FAIL'} {line}"
        f"  yardstick {medians[0] * scale:.2f}, ours {medians[1] * scale:.2f}  ({certainty:.0%})"
    )
    return is_good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", help="the Python of the other build's environment")
    parser.add_argument("this", nargs="?", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=4, help="of load, each time")
    parser.add_argument("--only", nargs="+", choices=[*LIMITS], default=[*LIMITS])
    flags = parser.parse_args()
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH"):
        os.environ.pop(name, None)  # as users start it: byte code is written once and read
    this, other, seconds = flags.this, flags.other, flags.seconds
    probes: dict[str, Callable[[], list[float]]] = {"one": partial(take_one, this)}
    for name in ("cached", "uncached"):
        count = partial(count_calls, seconds=seconds, has_cache=name == "cached")
        probes[name] = partial(take_turns, partial(count, other), partial(count, this))
    yardstick = partial(time_yardstick_cpu, seconds)
    probes["cpu"] = partial(take_turns, yardstick, partial(time_cpu, this, seconds))
    found: dict[str, list[list[float]]] = {name: [] for name in LIMITS if name in flags.only}
    for number in range(flags.rounds):
        for name, rounds in found.items():
            rounds.append(probes[name]())
        print(f"round {number + 1} of {flags.rounds}", file=sys.stderr, flush=True)
    results = [show(name, rounds) for name, rounds in found.items()]
    return 0 if all(results) else 1


if __name__ == "__main__":
    if sys.argv[1:] == ["--one"]:
        print(*asyncio.run(time_one()))
    else:
        sys.exit(main())
