"""The throughput, latency and memory of one server with 64 concurrent callers.

The gateway takes 20 ms. The server is a separate process over streamable HTTP, with its cache off
and every question different. The yardstick, run before and after, is a trivial tool of the same
SDK that sends one request to the same gateway with httpx; ours sends two, for the rows and for
ALL. A tool that only sleeps 20 ms shows what the SDK itself can do. Then ours runs with the cache
on, where each caller repeats a few questions. Usage:
python benchmarks/load.py [--seconds 60] [--callers 64]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import mean, quantiles
from typing import Any, Final

from callers import Caller, Reply, question
from loopback import Process, start

MOST_TAIL: Final = 4.0
"""p99 over p50."""
LEAST_SHARE: Final = 0.6
"""The least share of the yardstick's throughput."""
MOST_GROWTH: Final = 1.05
"""The most that memory may grow: the mean of the last quarter over the second's."""
WARM_UP_S: Final = 2.0
FEW: Final = 5
"""How many questions a caller repeats with the cache on."""

Ask = Callable[[Caller, int], Any]


@dataclass
class Run:
    """The measurements of one server."""

    seconds: float = 0.0
    cpu_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)
    peak_mb: float = 0.0

    @property
    def throughput(self) -> float:
        """Answers per second."""
        return len(self.latencies_s) / self.seconds

    def percentile(self, part: int) -> float:
        """A percentile of the latencies, in milliseconds."""
        return quantiles(self.latencies_s, n=100)[part - 1] * 1e3

    @property
    def growth(self) -> float:
        """Mean memory of the last quarter over the second's."""
        quarter = max(1, len(self.memory_mb) // 4)
        return mean(self.memory_mb[-quarter:]) / mean(self.memory_mb[quarter : 2 * quarter])

    def show(self, name: str) -> None:
        """Print one line."""
        p50, p99 = self.percentile(50), self.percentile(99)
        print(
            f"{name:22} {self.throughput:6.0f}/s  p50 {p50:5.0f} ms  p99 {p99:5.0f} ms"
            f"  p99/p50 {p99 / p50:.2f}  CPU {self.cpu_s / len(self.latencies_s) * 1e3:.2f} ms each"
            f"  errors {len(self.failures)}  memory {self.memory_mb[-1]:.0f} MB"
        )


def ask_yardstick(number: int, _caller: str) -> tuple[str, dict[str, Any], list[str]]:
    """A call of the trivial tool that queries the gateway, and the texts its answer must hold."""
    body = {"groupBy": ["modelName"], "filters": [{"value": [f"q-{number}-q"]}]}
    return "ask", {"question": json.dumps(body)}, [f"q-{number}-q"]


def ask_yardstick_twice(number: int, caller: str) -> tuple[str, dict[str, Any], list[str]]:
    """A call of the trivial tool that sends two queries: one with groups, and one without."""
    _, arguments, wanted = ask_yardstick(number, caller)
    return "ask_twice", {**arguments, "second": json.dumps({"filters": []})}, wanted


def wait(number: int, _caller: str) -> tuple[str, dict[str, Any], list[str]]:
    """A call of the trivial tool that only sleeps."""
    return "wait", {"question": f"q-{number}-q"}, [f"q-{number}-q"]


def ask_ours(number: int, caller: str) -> tuple[str, dict[str, Any], list[str]]:
    """A question, and the texts its answer must hold: rows of this caller and this question."""
    return "query_distribution", question(number), [f"\nq-{number}-q|", f"\n{caller}|", "\nALL|"]


def ask_again(number: int, caller: str) -> tuple[str, dict[str, Any], list[str]]:
    """One of a few repeated questions."""
    return ask_ours(number % FEW, caller)


def explain(reply: Reply, wanted: list[str]) -> str | None:
    """What is wrong with a reply; None if nothing."""
    if reply.status != 200 or reply.is_error:
        return f"{reply.status}: {reply.text[:200]}"
    missing = [part for part in wanted if part not in reply.text]
    return f"{missing[0]!r} is not in the answer: {reply.text[:600]}" if missing else None


async def measure(
    process: Process,
    make: Callable[[int, str], tuple[str, dict[str, Any], list[str]]],
    callers: int,
    seconds: float,
) -> Run:
    """Let all callers ask without a pause; measured after the warm-up."""
    run, numbers = Run(), itertools.count()
    begin = time.perf_counter() + WARM_UP_S
    end = begin + seconds

    async def call(name: str, numbers: Iterator[int]) -> None:
        caller = Caller(process.address, name)
        while (sent := time.perf_counter()) < end:
            tool, arguments, wanted = make(next(numbers), name)
            wrong = explain(await caller.ask(tool, arguments), wanted)
            took = time.perf_counter() - sent
            if wrong is not None:
                run.failures.append(wrong)
            if sent >= begin:
                run.latencies_s.append(took)
        caller.close()

    async def watch() -> None:
        await asyncio.sleep(WARM_UP_S)
        cpu_s = process.cpu_s
        while time.perf_counter() < end:
            run.memory_mb.append(process.rss_mb)
            await asyncio.sleep(min(1.0, seconds / 20))
        run.cpu_s = process.cpu_s - cpu_s

    tasks = [call(f"caller-{number}", numbers) for number in range(callers)]
    await asyncio.gather(watch(), *tasks)
    run.seconds = time.perf_counter() - begin
    return run


def run_yardsticks(callers: int, seconds: float) -> tuple[Run, Run]:
    """Measure the trivial tools: the one that queries the gateway, and the one that sleeps."""
    with (
        start("gateway", "0") as gateway,
        start("yardstick", f"http://127.0.0.1:{gateway.address}") as process,
    ):
        asking = asyncio.run(measure(process, ask_yardstick, callers, seconds))
        waiting = asyncio.run(measure(process, wait, callers, seconds / 2))
    asking.show("trivial, asks")
    waiting.show("trivial, sleeps")
    return asking, waiting


def run_ours(callers: int, seconds: float, *, has_cache: bool, python: str = sys.executable) -> Run:
    make = ask_again if has_cache else ask_ours
    # More upstream calls than the callers make: the limiter is not what is measured here.
    settings = ["--transport", "http", "--port", "0", "--upstream-calls", str(4 * callers)]
    settings += [] if has_cache else ["--cache-bytes", "0"]
    with start("gateway", "0") as gateway:
        backend = f"http://127.0.0.1:{gateway.address}"
        with start("server", "--backend", backend, *settings, python=python) as process:
            run = asyncio.run(measure(process, make, callers, seconds))
            run.peak_mb = process.peak_mb
    return run


def judge(ours: Run, cached: Run, asking: float, waiting: float) -> bool:
    """Print each limit and whether it holds; whether all do."""
    tail = ours.percentile(99) / ours.percentile(50)
    failures = [*ours.failures, *cached.failures]
    findings = {
        f"{len(failures)} errors of none": not failures,
        f"p99 {tail:.2f} times p50, at most {MOST_TAIL}": tail < MOST_TAIL,
        f"{ours.throughput / asking:.2f} of the throughput of the trivial tool that asks the"
        f" gateway, at least {LEAST_SHARE}": ours.throughput / asking >= LEAST_SHARE,
        f"memory {ours.growth:.3f} of itself, at most {MOST_GROWTH}": ours.growth <= MOST_GROWTH,
    }
    for wrong in failures[:5]:
        print(wrong)
    for finding, is_good in findings.items():
        print(f"{'ok' if is_good else 'FAIL'}: {finding}")
    print(
        f"beside the trivial tool that only sleeps: {ours.throughput / waiting:.2f} of its"
        f" throughput, {cached.throughput / waiting:.2f} from the cache"
    )
    return all(findings.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--callers", type=int, default=64)
    flags = parser.parse_args()
    before = run_yardsticks(flags.callers, flags.seconds / 4)
    ours = run_ours(flags.callers, flags.seconds, has_cache=False)
    ours.show("ours, cache off")
    after = run_yardsticks(flags.callers, flags.seconds / 4)
    cached = run_ours(flags.callers, flags.seconds / 3, has_cache=True)
    cached.show("ours, cache on")
    asking, waiting = (
        mean(run.throughput for run in runs) for runs in zip(before, after, strict=True)
    )
    return 0 if judge(ours, cached, asking, waiting) else 1


if __name__ == "__main__":
    sys.exit(main())
