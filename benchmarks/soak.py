"""A soak test of one server with faults: a tenth of the gateway's answers fail, for 10 minutes.

Callers of both protocol eras ask without a pause; one call in fifty is aborted. Every call must be
answered in time, with the caller's own rows or an error in words. Memory, tasks, open files and
connections must not grow. Usage: python benchmarks/soak.py [--minutes 10]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import mean
from typing import Final

from callers import HANDSHAKE, STATELESS, Caller, Reply, question
from loopback import Process, start

FAULTS: Final = 0.1
CALLERS: Final = 24
BROKEN_OFF: Final = 0.02
TIMEOUT_S: Final = 4
MOST_S: Final = TIMEOUT_S + 4
"""The longest allowed call: the server's timeout, plus its turn on a busy machine."""
CACHE_BYTES: Final = 2_000_000
"""Small, so that the cache is full within seconds: memory that grows later is a leak."""
MOST_GROWTH: Final = 1.05
"""The most that memory may grow: the mean of the last quarter over the second's."""
REST_S: Final = TIMEOUT_S + 3
"""The wait after the last call, after which nothing is in flight."""
REFUSAL: Final = re.compile(r"Error \(([a-z_]+)\): .{20,}", re.DOTALL)
FAULTS_OF_OURS: Final = ("internal", "settings")


@dataclass
class Tally:
    """The outcomes of the calls, and samples of the server's resources."""

    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    longest_s: float = 0.0
    memory_mb: list[float] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    tasks: list[int] = field(default_factory=list)

    def take(self, reply: Reply, name: str, number: int) -> None:
        """Count a reply, or record what is wrong with it."""
        refusal = REFUSAL.fullmatch(reply.text)
        if reply.status == 200 and reply.is_error and refusal is not None:
            self.outcomes[f"refused: {refusal[1]}"] += 1
            if refusal[1] in FAULTS_OF_OURS:
                self.wrong.append(reply.text)
        elif reply.status == 200 and not reply.is_error and _is_own(reply.text, name, number):
            self.outcomes["answered"] += 1
        else:
            self.wrong.append(f"{reply.status} for {name}, q-{number}-q: {reply.text[:300]}")


def _is_own(text: str, name: str, number: int) -> bool:
    """Whether an answer is complete and has the rows of this caller and this question."""
    return all(part in text for part in (f"\nq-{number}-q|", f"\n{name}|", "\nALL|"))


async def call(
    process: Process, name: str, version: str, numbers: Iterator[int], end: float, tally: Tally
) -> None:
    """Ask as one caller without a pause; some calls are aborted."""
    caller = Caller(process.address, name, version)
    chance = random.Random(name)  # noqa: S311 - the same in each run
    while (sent := time.perf_counter()) < end:
        number = next(numbers)
        if chance.random() < BROKEN_OFF:
            await caller.send("query_distribution", question(number))
            await asyncio.sleep(chance.random() * 0.05)
            caller.close()
            tally.outcomes["broken off by the caller"] += 1
            continue
        try:
            async with asyncio.timeout(MOST_S):
                reply = await caller.ask("query_distribution", question(number))
        except (OSError, EOFError, TimeoutError) as error:
            tally.wrong.append(f"no reply for {name}: {type(error).__name__}")
            caller.close()
            continue
        tally.longest_s = max(tally.longest_s, time.perf_counter() - sent)
        tally.take(reply, name, number)
    caller.close()


async def watch(process: Process, end: float, tally: Tally) -> None:
    """Sample the server's resources each second."""
    while time.perf_counter() < end:
        tally.memory_mb.append(process.rss_mb)
        tally.files.append(process.files)
        tally.tasks.append(await process.count_tasks())
        await asyncio.sleep(1)


async def soak(process: Process, seconds: float) -> tuple[Tally, tuple[int, int], tuple[int, int]]:
    """Run all callers; the tally, and the idle server's tasks and files before and after."""
    for version in (STATELESS, HANDSHAKE):  # the first call of each starts tasks that stay
        first = Caller(process.address, "first", version)
        await first.ask("list_fields", {})
        first.close()
    await asyncio.sleep(1)
    before = await process.count_tasks(), process.files
    tally, numbers = Tally(), itertools.count()
    end = time.perf_counter() + seconds
    callers = [
        call(process, f"caller-{n}", (STATELESS, HANDSHAKE)[n % 2], numbers, end, tally)
        for n in range(CALLERS)
    ]
    await asyncio.gather(watch(process, end, tally), *callers)
    await asyncio.sleep(REST_S)
    return tally, before, (await process.count_tasks(), process.files)


def growth(values: list[float] | list[int]) -> float:
    """The mean of the last quarter over the second's."""
    quarter = max(1, len(values) // 4)
    return mean(values[-quarter:]) / mean(values[quarter : 2 * quarter])


def judge(tally: Tally, before: tuple[int, int], after: tuple[int, int]) -> bool:
    """Print the outcomes and each limit; whether all hold."""
    for outcome, count in tally.outcomes.most_common():
        print(f"{count:8} {outcome}")
    answered, calls = tally.outcomes["answered"], sum(tally.outcomes.values()) + len(tally.wrong)
    findings = {
        f"{len(tally.wrong)} of {calls} calls neither answered nor refused": not tally.wrong,
        f"{answered} answered, more than half": answered > calls / 2,
        f"some refused: {calls - answered}": any("refused" in name for name in tally.outcomes),
        f"longest call {tally.longest_s:.1f} s, at most {MOST_S}": tally.longest_s <= MOST_S,
        f"memory {tally.memory_mb[-1]:.0f} MB, {growth(tally.memory_mb):.3f} of itself, at most"
        f" {MOST_GROWTH}": growth(tally.memory_mb) <= MOST_GROWTH,
        f"tasks under load {min(tally.tasks)} to {max(tally.tasks)}; at rest {before[0]} before,"
        f" {after[0]} after": after[0] <= before[0],
        f"open files under load {min(tally.files)} to {max(tally.files)}; at rest {before[1]}"
        f" before, {after[1]} after": after[1] <= before[1] + 2 * CALLERS,
    }
    for wrong in tally.wrong[:5]:
        print(wrong)
    for finding, is_good in findings.items():
        print(f"{'ok' if is_good else 'FAIL'}: {finding}")
    return all(findings.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    flags = parser.parse_args()
    settings = ["--transport", "http", "--port", "0", "--timeout", str(TIMEOUT_S)]
    settings += ["--cache-bytes", str(CACHE_BYTES)]
    with start("gateway", str(FAULTS)) as gateway:
        backend = f"http://127.0.0.1:{gateway.address}"
        with start("server", "--backend", backend, *settings) as process:
            found = asyncio.run(soak(process, flags.minutes * 60))
            is_good = judge(*found)
            process.popen.terminate()
            ended = process.popen.wait(timeout=15)
    has_ended_well = ended in (0, -signal.SIGTERM)  # uvicorn raises the signal again after draining
    print(f"{'ok' if has_ended_well else 'FAIL'}: ended with {ended} at a SIGTERM")
    return 0 if is_good and has_ended_well else 1


if __name__ == "__main__":
    sys.exit(main())
