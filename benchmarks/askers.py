"""Processes that benchmarks keep and ask in turn: builds of this package, and other engines.

Each is started once, with the Python of its environment, and answers orders on stdin, one JSON
object a line, with the seconds that it took. While one works the others wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import io
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Final, Self

NOW: Final = datetime(2026, 7, 15, 9, 30, tzinfo=UTC)
TRIES: Final = 3
Answer = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
Ask = Callable[[], float]


class Asker:
    """A kept process: `python script role ...`."""

    def __init__(self, python: str, *arguments: str | Path, script: str = __file__) -> None:
        self._command = [python, script, *map(str, arguments)]
        self._process = subprocess.Popen(  # noqa: S603 - ours
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **order: object) -> dict[str, Any]:
        """What the process answers."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("it has no pipes")
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(self._command)}: status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def seconds(self, **order: object) -> float:
        """How long the order took, by the process's own clock."""
        return float(self.ask(**order)["seconds"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()


def take_turns(
    asks: Mapping[str, Ask], rounds: int, chance: random.Random
) -> dict[str, list[float]]:
    """The seconds of each, asked once a round in random order, after a round that warms up."""
    found: dict[str, list[float]] = {name: [] for name in asks}
    for number in range(rounds + 1):
        for name in chance.sample(sorted(asks), len(asks)):
            seconds = asks[name]()
            if number:
                found[name].append(seconds)
    return found


# These run in the kept process.


async def serve(answer: Answer) -> None:
    """Answer the orders of stdin until it ends."""
    gc.collect()
    gc.freeze()  # as our command does
    orders, answers = sys.stdin, sys.stdout
    sys.stdout = sys.stderr  # what the measured code prints is no answer
    for line in orders:
        print(json.dumps(await answer(json.loads(line))), file=answers, flush=True)


async def ask_backend(directory: str, memory: str, *options: str) -> None:
    """Answer `{"body": ...}` by the embedded engine, without a cache.

    The options are `name=value`, the value in JSON, for the engine's constructor.
    """
    from gateway_metrics_mcp.query.catalog import load_catalog
    from layouts import load_backend, load_caller, load_read_query

    catalog, local = load_catalog(), load_caller()
    pairs = (option.split("=", 1) for option in options)
    more = {name: json.loads(value) for name, value in pairs}
    backend = load_backend()(Path(directory), catalog, memory_limit=memory, **more)
    read_query = load_read_query()

    async def answer(order: dict[str, Any]) -> dict[str, Any]:
        query = read_query(order["body"], catalog)
        start = time.perf_counter()
        result = await backend.query(query, local)
        found: dict[str, Any] = {"seconds": time.perf_counter() - start}
        if order.get("show"):
            found |= {"rows": result.rows(query), "notes": list(result.notes)}
        if order.get("memory"):
            found["peak"] = peak_memory()
        return found

    await serve(answer)
    await backend.aclose()


async def ask_tool(directory: str, memory: str) -> None:
    """Call tools with a client in memory: `do` is call, cached, or slowest.

    `slowest` is the engine query of the call that takes longest, by itself.
    """
    from mcp.client import Client

    from layouts import load_backend, load_build_server, load_settings

    backend, settings = load_backend(), load_settings()
    query_of = backend.query
    recorded: list[tuple[Any, ...]] = []
    slowest: dict[str, tuple[Any, ...]] = {}

    async def record(self: Any, query: Any, caller: Any) -> Any:
        recorded.append((self, query, caller))
        return await query_of(self, query, caller)

    backend.query = record
    build, common = load_build_server(), {"backend": directory, "memory": memory}

    def open_client(**more: object) -> Client:
        return Client(build(settings(**common, **more), clock=lambda: NOW))

    async with open_client(cache_bytes=0) as fresh, open_client() as cached:

        async def call(client: Client, order: dict[str, Any]) -> float:
            recorded.clear()
            start = time.perf_counter()
            result = await client.call_tool(order["tool"], order["arguments"])
            seconds = time.perf_counter() - start
            if result.is_error:
                raise RuntimeError(f"no answer: {result.content}")
            return seconds

        async def time_query(asked: tuple[Any, ...]) -> float:
            start = time.perf_counter()
            await query_of(*asked)
            return time.perf_counter() - start

        async def answer(order: dict[str, Any]) -> dict[str, Any]:
            if order["do"] != "slowest":
                client = cached if order["do"] == "cached" else fresh
                return {"seconds": await call(client, order)}
            name = json.dumps(order)
            if name not in slowest:
                await call(fresh, order)
                times = {
                    number: median([await time_query(asked) for _ in range(TRIES)])
                    for number, asked in enumerate(recorded)
                }
                slowest[name] = recorded[max(times, key=lambda number: times[number])]
            return {"seconds": await time_query(slowest[name])}

        await serve(answer)


async def ask_import() -> None:
    """Import `{"file": ..., "into": ...}` in this process."""
    from layouts import load_main

    main = load_main()

    async def answer(order: dict[str, Any]) -> dict[str, Any]:
        start = time.perf_counter()
        said = io.BytesIO()
        with contextlib.redirect_stdout(io.TextIOWrapper(said, write_through=True)):
            status = main(["import", order["file"], "--into", order["into"], "--strict"])
        if status:
            raise RuntimeError(said.getvalue().decode())
        return {"seconds": time.perf_counter() - start, "peak": peak_memory()}

    await serve(answer)


def peak_memory() -> float:
    """The most memory of this process so far, in MB."""
    (line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x)
    return int(line.split()[1]) / 1e3


def digest_of(*folders: Path) -> str:
    """A digest of the source files below the folders."""
    digest = hashlib.sha256()
    for file in sorted(f for folder in folders for f in folder.rglob("*") if f.is_file()):
        if "__pycache__" not in file.parts:
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


ROLES: Final[dict[str, Callable[..., Awaitable[None]]]] = {
    "backend": ask_backend,
    "tool": ask_tool,
    "import": ask_import,
}

if __name__ == "__main__":
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    asyncio.run(ROLES[sys.argv[1]](*sys.argv[2:]))  # type: ignore[arg-type]
