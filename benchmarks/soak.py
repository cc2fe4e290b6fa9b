"""A soak test of two servers with faults: a tenth of the gateway's answers fail, for 10 minutes.

Callers of both protocol eras, and some over SSE, ask without a pause; one call in fifty is aborted.
Every call must be answered in time, with the caller's own rows or an error in words, beside slow
and broken clients of every kind. `/readyz` must say ready, and at the end, when all places are
taken, that they are. Memory, tasks, open files, connections and the log must not grow.
Usage: python benchmarks/soak.py [--minutes 10]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import mean
from typing import Final

from mcp import Client
from mcp.client.sse import sse_client
from mcp_types import TextContent

from callers import HANDSHAKE, STATELESS, Caller, Reply, question
from loopback import Process, start
from slow_clients import BROKEN_BODY, SIZE, SlowClient, list_kinds

FAULTS: Final = 0.1
CALLERS: Final = 24
SSE_CALLERS: Final = 4
CALLS_OF_A_SESSION: Final = 5
PLACES: Final = 80
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
READY: Final = "ready"
MOST_LOG_LINES: Final = 60
"""A minute, of each server."""


@dataclass
class Server:
    """A server, and samples of its resources."""

    transport: str
    process: Process
    memory_mb: list[float] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    tasks: list[int] = field(default_factory=list)
    said: Counter[str] = field(default_factory=Counter)
    """What `/readyz` said under load."""
    at_rest: list[tuple[int, int]] = field(default_factory=list)
    """Tasks and files, before and after."""
    told_crowd: str = ""

    async def count(self) -> tuple[int, int]:
        """The tasks and the open files now."""
        return await self.process.count_tasks(), self.process.files

    async def is_ready(self) -> str:
        """What `/readyz` says: ready, or the reason why not."""
        host = self.process.address.removeprefix("http://").partition("/")[0]
        name, _, port = host.partition(":")
        reader, writer = await asyncio.open_connection(name, int(port))
        writer.write(f"GET /readyz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        said = json.loads((await reader.read(-1)).partition(b"\r\n\r\n")[2])
        writer.close()
        return str(said.get("reason", said["status"]))


@dataclass
class Tally:
    """The outcomes of the calls, and of the slow clients' visits."""

    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    slow: Counter[str] = field(default_factory=Counter)
    longest_s: float = 0.0

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


async def call_over_sse(
    process: Process, name: str, numbers: Iterator[int], end: float, tally: Tally
) -> None:
    """Ask as one caller over SSE, in sessions of a few calls."""
    while time.perf_counter() < end:
        try:
            stream = sse_client(process.address, headers={"X-TFY-API-Key": name})
            async with Client(stream, mode="legacy") as client:
                for number in itertools.islice(numbers, CALLS_OF_A_SESSION):
                    sent = time.perf_counter()
                    async with asyncio.timeout(MOST_S):
                        found = await client.call_tool("query_distribution", question(number))
                    tally.longest_s = max(tally.longest_s, time.perf_counter() - sent)
                    (content,) = (c for c in found.content if isinstance(c, TextContent))
                    tally.take(Reply(200, content.text, bool(found.is_error)), name, number)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller had no answer
            tally.wrong.append(f"no reply for {name} over SSE: {error!r}")


async def watch(server: Server, end: float) -> None:
    """Sample the server's resources, and whether it is ready, each second."""
    while time.perf_counter() < end:
        server.memory_mb.append(server.process.rss_mb)
        tasks, files = await server.count()
        server.files.append(files)
        server.tasks.append(tasks)
        server.said[await server.is_ready()] += 1
        await asyncio.sleep(1)


async def take_all_places(server: Server, tally: Tally) -> None:
    """Take them by callers of one request each; `/readyz` must say so, and ready afterwards."""
    crowd = [
        SlowClient(server.process.address, f"crowd-{n}", Counter(), tally.wrong)
        for n in range(PLACES + 4)
    ]
    for client in crowd:
        if server.transport == "sse":
            await client.begin("GET")
        else:
            await client.begin(content=BROKEN_BODY, size=SIZE)
    full = await until(server, lambda said: "places" in said)
    for client in crowd:
        client.hang_up()
    server.told_crowd = f"{full}; then {await until(server, lambda said: said == READY)}"


async def until(server: Server, is_wanted: Callable[[str], bool]) -> str:
    """What `/readyz` says as soon as it is what is wanted, or after three seconds."""
    end = time.perf_counter() + 3
    while not is_wanted(said := await server.is_ready()) and time.perf_counter() < end:  # noqa: ASYNC110 - no event
        await asyncio.sleep(0.1)
    return said


async def soak(servers: list[Server], seconds: float) -> Tally:
    """Run all callers and slow clients."""
    tally, numbers = Tally(), itertools.count()
    http, sse = (server.process for server in servers)
    for version in (STATELESS, HANDSHAKE):  # the first call of each starts tasks that stay
        first = Caller(http.address, "first", version)
        await first.ask("query_distribution", question(next(numbers)))
        first.close()
    await call_over_sse(sse, "first", numbers, time.perf_counter() + 0.001, tally)
    await asyncio.sleep(1)
    for server in servers:
        server.at_rest.append(await server.count())
    end = time.perf_counter() + seconds
    callers = [
        call(http, f"caller-{n}", (STATELESS, HANDSHAKE)[n % 2], numbers, end, tally)
        for n in range(CALLERS)
    ]
    callers += [
        call_over_sse(sse, f"sse-caller-{n}", numbers, end, tally) for n in range(SSE_CALLERS)
    ]
    slow = [
        SlowClient(server.process.address, "slow", tally.slow, tally.wrong).visit_again_and_again(
            kind, end
        )
        for server in servers
        for kind in list_kinds(PLACES)
        if server.transport == "http" or "answer" not in kind
    ]
    await asyncio.gather(*(watch(server, end) for server in servers), *callers, *slow)
    for server in servers:
        await take_all_places(server, tally)
    await asyncio.sleep(REST_S)
    for server in servers:
        server.at_rest.append(await server.count())
    return tally


def growth(values: list[float] | list[int]) -> float:
    """The mean of the last quarter over the second's."""
    quarter = max(1, len(values) // 4)
    return mean(values[-quarter:]) / mean(values[quarter : 2 * quarter])


def judge(tally: Tally) -> dict[str, bool]:
    """Print the outcomes; what was found of the calls, and whether it is good."""
    for outcome, count in (*tally.outcomes.most_common(), *sorted(tally.slow.items())):
        print(f"{count:8} {outcome}")
    for wrong in tally.wrong[:5]:
        print(wrong)
    answered, calls = tally.outcomes["answered"], sum(tally.outcomes.values()) + len(tally.wrong)
    return {
        f"{len(tally.wrong)} of {calls} calls neither answered nor refused, or slow clients not"
        " ended": not tally.wrong,
        f"{answered} answered, more than half": answered > calls / 2,
        f"some refused: {calls - answered}": any("refused" in name for name in tally.outcomes),
        f"longest call {tally.longest_s:.1f} s, at most {MOST_S}": tally.longest_s <= MOST_S,
    }


def judge_server(server: Server, minutes: float) -> dict[str, bool]:
    """What was found of a server, and whether it is good."""
    name, (before, after) = server.transport, server.at_rest
    log, grown = server.process.log, growth(server.memory_mb)
    lines = [line for line in log if "Traceback" in line or " ERROR " in line]
    for line in lines[:5]:
        print(line, end="")
    return {
        f"{name}: memory {server.memory_mb[-1]:.0f} MB, {grown:.3f} of itself, at most"
        f" {MOST_GROWTH}": grown <= MOST_GROWTH,
        f"{name}: tasks under load {min(server.tasks)} to {max(server.tasks)}; at rest {before[0]}"
        f" before, {after[0]} after": after[0] <= before[0],
        f"{name}: open files under load {min(server.files)} to {max(server.files)}; at rest"
        f" {before[1]} before, {after[1]} after": after[1] <= before[1] + 2 * CALLERS,
        f"{name}: under load {dict(server.said)}": list(server.said) == [READY],
        f"{name}: with all places taken {server.told_crowd!r}": server.told_crowd.startswith("all ")
        and server.told_crowd.endswith(f"; then {READY}"),
        f"{name}: {len(log)} lines in the log, {len(lines)} of them faults": not lines
        and len(log) <= MOST_LOG_LINES * max(minutes, 1),
    }


def end_at_a_signal(process: Process) -> dict[str, bool]:
    """How it ended at a SIGTERM, and whether that is good."""
    process.popen.terminate()
    ended = process.popen.wait(timeout=15)
    # uvicorn raises the signal again after draining
    return {f"{process.address}: ended with {ended} at a SIGTERM": ended in (0, -signal.SIGTERM)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    minutes = parser.parse_args().minutes
    settings = ["--port", "0", "--timeout", str(TIMEOUT_S), "--cache-bytes", str(CACHE_BYTES)]
    settings += ["--connections", str(PLACES)]
    with start("gateway", str(FAULTS)) as gateway:
        settings += ["--backend", f"http://127.0.0.1:{gateway.address}"]
        with (
            start("server", *settings, "--transport", "http") as http,
            start("server", *settings, "--transport", "sse") as sse,
        ):
            servers = [Server("http", http), Server("sse", sse)]
            findings = judge(asyncio.run(soak(servers, minutes * 60)))
            for server in servers:
                findings |= judge_server(server, minutes) | end_at_a_signal(server.process)
    for finding, is_good in findings.items():
        print(f"{'ok' if is_good else 'FAIL'}: {finding}")
    return 0 if all(findings.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
